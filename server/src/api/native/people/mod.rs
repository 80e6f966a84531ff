//! Who uses the server: members and invitations, API keys, and secrets.

mod keys;
mod members;
mod secrets;

use crate::api::http::route::Route;

pub fn routes() -> Vec<Route> {
    [members::routes(), keys::routes(), secrets::routes()].into_iter().flatten().collect()
}
