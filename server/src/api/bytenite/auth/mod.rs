//! Who people are and what they may: signing in, tokens, keys, members, secrets.

mod caller;
mod keys;
mod members;
mod secrets;
mod sign_in;

use crate::api::bytenite::wire::error::ERRORS;
use common::access::Scope;

use crate::api::http::router::Api;
use crate::api::info;

pub fn api() -> Api {
    let routes = [
        caller::routes(),
        sign_in::routes(),
        keys::routes(),
        members::routes(),
        secrets::routes(),
        info::routes("Auth"),
    ];
    Api {
        name: "auth",
        title: "Fanfold auth API",
        prefixes: &["/v1/auth"],
        errors: &ERRORS,
        reads: Scope::MembersRead,
        writes: Scope::MembersWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
