//! Who uses the server: the workspace, members and invitations, API keys, and secrets.

mod keys;
mod members;
mod secrets;
mod workspace;

use crate::api::http::route::Route;

pub fn routes() -> Vec<Route> {
    [members::routes(), keys::routes(), secrets::routes(), workspace::routes()]
        .into_iter()
        .flatten()
        .collect()
}
