//! What the texts of a location must be, whichever API they come from. A check takes the field's
//! name in the caller's words.

use super::pattern::Pattern;
use crate::net::origin::Origin;
use crate::package::loose::{Invalid, check_line};

/// The most characters of an address.
pub const URL_CHARS_MAX: usize = 4096;
const PATH_CHARS_MAX: usize = 1024;
/// The most characters of a storage account's name.
pub const ACCOUNT_CHARS_MAX: usize = 64;
/// The most paths of one source.
pub const PATHS_MAX: usize = 1_000;
/// The most of them that are folders or patterns: for each of these the bucket is listed.
const LISTED_MAX: usize = 32;

/// Refuses what is no plain http address. Whether it may be reached is decided when it is.
pub fn check_url(field: &str, url: &str) -> Result<(), Invalid> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if host.is_empty() || url.contains(char::is_whitespace) || Origin::of(url).is_err() {
        return Err(Invalid::new(field, "must be an http:// or https:// address"));
    }
    if host.contains('@') {
        let problem = "must not contain a user name or password: they have fields of their own";
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

/// Refuses what is no path of an object or of a folder in a bucket.
pub fn check_path(field: &str, path: &str) -> Result<(), Invalid> {
    check_line(field, path, PATH_CHARS_MAX)?;
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        // Every client on the way takes them out of a URL.
        return Err(Invalid::new(field, "must not contain . or .. as a folder"));
    }
    Ok(())
}

/// Refuses paths that a source cannot be read by. Each stands beside its field's name; `all` is
/// the name of the whole list.
pub fn check_source_paths(all: &str, paths: &[(String, String)]) -> Result<(), Invalid> {
    let mut listed = 0;
    for (field, path) in paths {
        check_path(field, path)?;
        if path.trim_matches('/').is_empty() {
            return Err(Invalid::new(field, "is missing: the path of an input file in the bucket"));
        }
        let pattern = Pattern::parse(path).map_err(|bad| Invalid::new(field, bad.to_string()))?;
        listed += usize::from(!matches!(pattern, Pattern::Key(_)));
    }
    if listed > LISTED_MAX {
        let problem = format!("must have at most {LISTED_MAX} folders and patterns");
        return Err(Invalid::new(all, problem));
    }
    Ok(())
}

/// Refuses what no bucket is called. Azure's own containers begin with a dollar.
pub fn check_bucket(field: &str, name: &str, is_azure: bool) -> Result<(), Invalid> {
    let plain = name.strip_prefix('$').filter(|_| is_azure).unwrap_or(name);
    if plain.contains(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))) {
        return Err(Invalid::new(field, "must be letters, digits, - . and _"));
    }
    Ok(())
}

/// Refuses what no storage account is called: the name becomes part of an address.
pub fn check_account(field: &str, account: &str) -> Result<(), Invalid> {
    let plain = account.bytes().all(|b| b.is_ascii_alphanumeric());
    if !plain || account.len() > ACCOUNT_CHARS_MAX {
        let problem = format!("must be letters and digits, at most {ACCOUNT_CHARS_MAX} of them");
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

/// Refuses what is no name of an uploaded file.
pub fn check_file_name(field: &str, name: &str) -> Result<(), Invalid> {
    if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        return Err(Invalid::new(field, "must be a file name without folders"));
    }
    Ok(())
}
