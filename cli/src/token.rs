//! `fanfold token`: a one-time token with which a node joins this workspace.

use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

pub async fn run(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Issued {
        token: String,
    }
    let url = session.client.url("/v1/dev/nodes/tokens", &[]);
    let answer = session.client.post(url, &json!({})).await?;
    let issued: Issued = answer.read()?;
    session.output.result(&answer.text, || vec![issued.token])
}
