//! What every client command needs.

use crate::client::Client;
use crate::client::credentials::Access;
use crate::client::failure::Failure;
use crate::client::output::Output;

/// A server to talk to, and how to print what it says.
#[derive(Debug, Clone)]
pub struct Session {
    pub client: Client,
    pub output: Output,
}

impl Session {
    pub fn open(access: &Access, output: Output) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(access.login()?)?, output })
    }

    /// For what is asked before there are credentials.
    pub fn stranger(access: &Access, output: Output) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(access.stranger()?)?, output })
    }
}
