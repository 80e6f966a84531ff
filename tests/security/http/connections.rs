//! More connections than there are files for.

use anyhow::Result;
use tokio::io::AsyncWriteExt as _;

use super::server::{Server, until};

/// Half of these are for connections.
const FILES: u32 = 256;

#[tokio::test]
async fn connections_of_one_address_leave_all_others_served() -> Result<()> {
    server::limits::open_files::raise_limit();
    let server = Server::start_with_files(&[], Some(FILES)).await?;
    let key = server.owner_key()?;
    let request = format!("GET /v1/auth/user HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n\r\n");
    let mut known = server.connect_from(1).await?;
    known.write_all(request.as_bytes()).await?;
    until(&mut known, "HTTP/1.1 200").await?;

    let mut flood = Vec::new();
    for _ in 0..1100 {
        flood.push(server.connect_from(1).await?);
    }

    server.serves(2).await?;
    server.serves(1).await?;
    known.write_all(request.as_bytes()).await?;
    until(&mut known, "HTTP/1.1 200").await?;
    assert!(!server.log()?.contains("Too many open files"));
    Ok(())
}

#[tokio::test]
async fn connections_of_many_addresses_leave_authenticated_ones_open() -> Result<()> {
    server::limits::open_files::raise_limit();
    let server = Server::start_with_files(&[], Some(FILES)).await?;
    let key = server.owner_key()?;
    let request = format!("GET /v1/auth/user HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n\r\n");
    let mut known = server.connect_from(1).await?;
    known.write_all(request.as_bytes()).await?;
    until(&mut known, "HTTP/1.1 200").await?;

    let mut flood = Vec::new();
    for n in 0..600_usize {
        flood.push(server.connect_from(u8::try_from(n % 100)? + 10).await?);
    }

    server.serves(2).await?;
    known.write_all(request.as_bytes()).await?;
    until(&mut known, "HTTP/1.1 200").await?;
    assert!(!server.log()?.contains("Too many open files"));
    Ok(())
}
