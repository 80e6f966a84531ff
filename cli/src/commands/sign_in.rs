//! `fanfold sign-in`: an e-mail address, a code, and an hour of being let in.

use std::io::BufRead as _;

use serde::Deserialize;
use serde_json::json;

use crate::client::credentials::{Access, Credentials};
use crate::client::failure::Failure;
use crate::client::output::{Output, note};
use crate::client::session::Session;

#[derive(Debug, clap::Args)]
pub struct Args {
    email: String,
    /// Create a user with a workspace
    #[arg(long)]
    sign_up: bool,
    /// Access code that this server asks for
    #[arg(long, requires = "sign_up", value_name = "CODE")]
    access_code: Option<String>,
    /// Workspace to act in, for users with several
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
}

/// A code that is on its way to its reader.
pub struct Sent {
    pub nonce: String,
    pub code: String,
}

pub async fn run(args: Args, access: &Access, output: Output) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct SignedIn {
        token: String,
        workspace_id: String,
    }
    access.check_replaceable()?;
    let session = Session::stranger(access, output)?;
    let ask = json!({
        "email": args.email,
        "isNewUser": args.sign_up,
        "accessCode": args.access_code,
    });
    let sent = code(&session, &ask).await?;
    let body = json!({
        "email": args.email,
        "nonce": sent.nonce,
        "code": sent.code,
        "workspaceId": args.workspace,
    });
    let answer = session.client.post(session.client.url("/v1/auth/authenticate", &[]), &body);
    let answer = answer.await?;
    let signed_in: SignedIn = answer.read()?;
    let path = access.keep(&Credentials {
        url: access.stranger()?.url,
        api_key: signed_in.token,
        workspace_id: signed_in.workspace_id,
    })?;
    session.output.result(&answer.text, || {
        let path = path.display();
        vec![format!("signed in for an hour; `fanfold key create` makes a lasting key ({path})")]
    })
}

/// Has a code sent, and reads it from stdin.
pub async fn code(session: &Session, ask: &serde_json::Value) -> Result<Sent, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        nonce: String,
        #[serde(default)]
        sent_by_mail: bool,
    }
    let answer = session.client.post(session.client.url("/v1/auth/signin", &[]), ask).await?;
    let Answer { nonce, sent_by_mail } = answer.read()?;
    note(if sent_by_mail {
        "a code is on its way by e-mail; type it here:"
    } else {
        "mail is not set up on this server: the code is in the server's log; type it here:"
    });
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::Usage(format!("cannot read the code: {error}")))?;
    match line.trim() {
        "" => Err(Failure::Usage("no code was given on stdin".to_owned())),
        code => Ok(Sent { nonce, code: code.to_owned() }),
    }
}
