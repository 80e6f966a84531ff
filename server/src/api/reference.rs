//! `docs/reference/scopes-and-roles.md`, from the table of routes, and `errors.md`, from the table of
//! reasons.

use common::access::{Role, Scope};
use pages::{head, row};

use super::bytenite::wire::error::code;
use super::http::problem::status;
use super::http::reasons::{REASONS, Reason};
use super::http::route::Access;
use super::table::apis;

const SCOPES: &str = "\
# Roles and scopes

A member of a workspace has a role, which allows scopes. An API key has the scopes that it was made
with (all that its maker has, where none were named), and never more than the role of its maker. An
operation needs one scope; a caller without it gets 403 `FORBIDDEN`, with the scope or role that is
missing.

`secrets:use` is asked for beside the operation's own scope wherever a job, a template or a package
names a stored secret, and when such a job is run.

The owner of a server is an admin of its first workspace. Coupons, the confirmation of top-ups and
payouts, the reconciliation of the ledger and the shared cache are for admins of that workspace alone.

The API names the roles `ROLE_NONE`, `ROLE_USER`, `ROLE_DEVELOPER` and `ROLE_ADMIN` where it follows
ByteNite's.

";

const ERRORS: &str = "\
# Errors

Every failure has a reason, a word for programs that never changes, and a message for people: what is
wrong, with the field or value, and what to do. Others may be added: a program treats a reason that it
does not know by the status.

| API | media type | the reason is in | the field is in |
|---|---|---|---|
| Fanfold's own (`/v1/jobs`, `/v1/runs`, …) and what belongs to none | `application/problem+json` (RFC 9457) | `code` | `field` |
| ByteNite's (`/v1/customer`, `/v1/auth`, `/v1/dev`, `/v1/wallet`) | `application/json`, an `rpcStatus` | `details[0].reason` | `details[0].metadata.field` |

With status 429 and 503, `Retry-After` says after how many seconds another try makes sense.

";

/// The operations of the APIs that this kind of caller may use, as a list.
fn operations(access: Access) -> String {
    let mut list = String::new();
    for api in apis() {
        let prefix = api.prefixes.first().copied().unwrap_or_default();
        for route in api.routes.iter().filter(|route| !route.deprecated) {
            if api.access(route) == access {
                let (method, path) = (&route.method, &route.path);
                list += &format!("- {}: `{method} {prefix}{path}`\n", route.summary);
            }
        }
    }
    list
}

fn scopes_page() -> String {
    let mut page = SCOPES.to_owned();
    let [none, user, developer, admin] = Role::ALL.map(Role::name);
    page += &head(&["scope", none, user, developer, admin]);
    for scope in Scope::ALL {
        let has = Role::ALL.map(|role| if role.scopes().has(scope) { "yes" } else { "" });
        let [none, user, developer, admin] = has;
        page += &row(&[&format!("`{scope}`"), none, user, developer, admin]);
    }
    page += &format!("\n## Without credentials\n\n{}", operations(Access::Open));
    page += &format!("\n## Every member\n\n{}", operations(Access::AnyRole));
    for scope in Scope::ALL {
        let operations = operations(Access::Scope(scope));
        if !operations.is_empty() {
            page += &format!("\n## `{scope}`\n\n{operations}");
        }
    }
    page
}

fn errors_page() -> String {
    let mut page = ERRORS.to_owned();
    page += &head(&["reason", "HTTP status", "code of `rpcStatus`", "meaning"]);
    for Reason { word, kind, meaning } in REASONS {
        let (status, code) = (status(*kind).as_u16().to_string(), code(*kind).to_string());
        page += &row(&[&format!("`{word}`"), &status, &code, meaning]);
    }
    page
}

#[test]
fn scopes_page_is_current() {
    pages::check("scopes-and-roles.md", &scopes_page());
}

#[test]
fn scopes_page_lists_every_operation_once() {
    let page = scopes_page();

    let listed = page.lines().filter(|line| line.starts_with("- ")).count();

    let routes: usize =
        apis().iter().map(|api| api.routes.iter().filter(|route| !route.deprecated).count()).sum();
    assert_eq!(listed, routes);
}

#[test]
fn errors_page_is_current() {
    pages::check("errors.md", &errors_page());
}
