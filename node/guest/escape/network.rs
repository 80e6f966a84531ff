//! Ways to other machines, to the host, and to parts of the kernel behind a socket.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::calls::{self, call, refused_with};
use crate::{Held, Try};

const STREAM: usize = 1;
const DATAGRAM: usize = 2;
const RAW: usize = 3;
const SEQUENCED: usize = 5;
const CONGESTION: usize = 6;
const INTERNET: usize = 2;
const INTERNET_6: usize = 10;
const NETLINK: usize = 16;
const VIRTUAL_MACHINES: usize = 40;

pub const TRIES: &[Try] = &[
    ("network-interfaces", interfaces),
    ("network-world", || unreachable("1.1.1.1:443")),
    ("network-world-6", || unreachable("[2606:4700:4700::1111]:443")),
    ("network-cloud-metadata", || unreachable("169.254.169.254:80")),
    ("network-engine-gateway", || unreachable("172.17.0.1:2375")),
    ("network-loopback-of-the-host", || unreachable("127.0.0.1:2375")),
    ("network-datagram", datagram),
    ("network-abstract-sockets", abstract_sockets),
    ("network-firewall", firewall),
    ("network-settings", settings),
    ("socket-raw", || no_socket(INTERNET, RAW, 1)),
    ("socket-raw-6", || no_socket(INTERNET_6, RAW, 58)),
    ("socket-packet", || no_socket(17, RAW, 0)),
    ("socket-virtual-machines", || no_socket(VIRTUAL_MACHINES, STREAM, 0)),
    ("socket-virtual-machines-high-bits", || no_socket(1 << 32 | VIRTUAL_MACHINES, STREAM, 0)),
    ("socket-crypto", || no_socket(38, SEQUENCED, 0)),
    ("socket-key", || no_socket(15, RAW, 2)),
    ("socket-bluetooth", || no_socket(31, RAW, 1)),
    ("socket-can", || no_socket(29, RAW, 1)),
    ("socket-tipc", || no_socket(30, STREAM, 0)),
    ("socket-express-data", || no_socket(44, RAW, 0)),
    ("socket-shared-memory", || no_socket(43, STREAM, 0)),
    ("socket-rds", || no_socket(21, SEQUENCED, 0)),
    ("socket-streams-of-messages", || no_socket(INTERNET, SEQUENCED, 132)),
    ("socket-congestion-control", || no_socket(INTERNET, CONGESTION, 0)),
    ("socket-multipath", || no_socket(INTERNET, STREAM, 262)),
    ("netlink-sockets-of-others", || no_socket(NETLINK, RAW, 4)),
    ("netlink-transformations", || no_socket(NETLINK, RAW, 6)),
    ("netlink-audit", || no_socket(NETLINK, RAW, 9)),
    ("netlink-firewall", || no_socket(NETLINK, RAW, 12)),
    ("netlink-events", || no_socket(NETLINK, RAW, 15)),
    ("netlink-generic", || no_socket(NETLINK, RAW, 16)),
];

fn no_socket(family: usize, kind: usize, protocol: usize) -> Held {
    let refusals = [calls::EPERM, calls::EACCES, calls::EAFNOSUPPORT];
    refused_with(calls::SOCKET, [family, kind, protocol, 0, 0, 0], &refusals)
}

fn interfaces() -> Held {
    for entry in fs::read_dir("/sys/class/net").map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name();
        if name != "lo" {
            return Err(format!("there is an interface {}", name.to_string_lossy()));
        }
    }
    Ok(())
}

fn unreachable(address: &str) -> Held {
    let address: SocketAddr = address.parse().map_err(|_| "no address".to_owned())?;
    match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Err(format!("packets to {address} go somewhere"))
        }
        Err(_) => Ok(()),
        Ok(_) => Err(format!("{address} answers")),
    }
}

fn datagram() -> Held {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
    match socket.send_to(b"x", "8.8.8.8:53") {
        Err(_) => Ok(()),
        Ok(_) => Err("a datagram goes out".to_owned()),
    }
}

/// Such sockets are in a network namespace: those of the host's services must not be seen.
fn abstract_sockets() -> Held {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let found = sockets.lines().find(|line| line.contains(" @"));
    found.map_or(Ok(()), |line| Err(format!("a socket of others is seen: {line}")))
}

fn firewall() -> Held {
    const REPLACE: usize = 64;
    let Ok(socket) = call(calls::SOCKET, [INTERNET, DATAGRAM, 0, 0, 0, 0]) else { return Ok(()) };
    let rules = [0u8; 128];
    let args = [socket, 0, REPLACE, (&raw const rules) as usize, rules.len(), 0];
    let refusals = [calls::EPERM, calls::ENOPROTOOPT];
    refused_with(calls::SETSOCKOPT, args, &refusals)
}

fn settings() -> Held {
    match fs::OpenOptions::new().write(true).open("/sys/class/net/lo/mtu") {
        Err(_) => Ok(()),
        Ok(_) => Err("an interface can be changed".to_owned()),
    }
}
