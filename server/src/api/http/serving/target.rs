//! The target of a request: only a path reaches the routes.

use warp::http::{Method, Uri};

use crate::api::http::problem::Rejected;

/// The most bytes of a path with its query.
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Reads the target as a path with its query. A client may write the whole URL instead of the
/// path, as RFC 9112 has it; the host in it changes nothing.
///
/// # Errors
/// What the request is refused with: a host and port alone, which only proxies take, an asterisk,
/// something else than a path, a target that is too long, and a scheme that is not ours.
pub fn path_of(method: &Method, target: &Uri) -> Result<Uri, Rejected> {
    if method == Method::CONNECT {
        return Err(Rejected::Method);
    }
    if target.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Rejected::Target("its scheme is not http or https"));
    }
    let path = target.path_and_query().ok_or(Rejected::Target("it has no path"))?;
    if path.as_str().len() > TARGET_BYTES_MAX {
        return Err(Rejected::TargetTooLong(TARGET_BYTES_MAX));
    }
    if !path.as_str().starts_with('/') {
        return Err(Rejected::Target("its path does not begin with a slash"));
    }
    if target.scheme().is_none() {
        return Ok(target.clone());
    }
    path.as_str().parse().map_err(|_| Rejected::Target("its path is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::problem::Problem;

    #[test]
    fn target_is_a_path_with_its_query() {
        for (target, path) in [
            ("/v1/info?x=1", Some("/v1/info?x=1")),
            ("/", Some("/")),
            ("http://fanfold.example:80/v1/info?x", Some("/v1/info?x")),
            ("http://fanfold.example", Some("/")),
            ("ftp://fanfold.example/v1/info", None),
            ("fanfold.example:443", None),
            ("*", None),
        ] {
            let uri = target.parse::<Uri>().unwrap();

            let read = path_of(&Method::GET, &uri).ok().map(|uri| uri.to_string());

            assert_eq!(read.as_deref(), path, "{target}");
        }
    }

    #[test]
    fn target_of_connect_is_refused_in_every_form() {
        for target in ["fanfold.example:443", "/v1/info", "*"] {
            let refused = path_of(&Method::CONNECT, &target.parse().unwrap());

            assert_eq!(refused.err().map(|error| Problem::from(error).status.as_u16()), Some(405));
        }
    }

    #[test]
    fn target_has_a_maximum() {
        let long = format!("/{}", "x".repeat(TARGET_BYTES_MAX));

        let refused = path_of(&Method::GET, &long.parse().unwrap());

        assert_eq!(refused.err().map(|error| Problem::from(error).status.as_u16()), Some(414));
    }
}
