//! What this API calls the values of our own types.

use common::access::{Denied, Role};
use common::run::scheduling::Priority;

/// The documented names of priorities, in the order of their numbers.
pub const PRIORITIES: [&str; Priority::ALL.len()] = {
    let mut names = [""; Priority::ALL.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = of_priority(Priority::ALL[n]);
        n += 1;
    }
    names
};

const PRIORITY_PREFIX: &str = "EXECUTION_PRIORITY_";
const ROLE_PREFIX: &str = "ROLE_";

pub const fn of_priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Undefined => "EXECUTION_PRIORITY_UNDEFINED",
        Priority::Cheap => "EXECUTION_PRIORITY_CHEAP",
        Priority::Balanced => "EXECUTION_PRIORITY_BALANCED",
        Priority::Fast => "EXECUTION_PRIORITY_FAST",
    }
}

/// Reads the documented name of a priority, or its last word.
pub fn priority(name: &str) -> Option<Priority> {
    let name = name.to_uppercase();
    let word = name.strip_prefix(PRIORITY_PREFIX).unwrap_or(&name);
    let known = |known: &Priority| of_priority(*known).strip_prefix(PRIORITY_PREFIX) == Some(word);
    Priority::ALL.into_iter().find(known)
}

pub const fn of_role(role: Role) -> &'static str {
    match role {
        Role::None => "ROLE_NONE",
        Role::User => "ROLE_USER",
        Role::Developer => "ROLE_DEVELOPER",
        Role::Admin => "ROLE_ADMIN",
    }
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be ROLE_NONE, ROLE_USER, ROLE_DEVELOPER or ROLE_ADMIN")]
pub struct NotARole;

/// Reads the documented name of a role, and its last word as people write it.
pub fn role(text: &str) -> Result<Role, NotARole> {
    let is = |role: &Role| {
        let name = of_role(*role);
        let short = name.trim_start_matches(ROLE_PREFIX);
        name.eq_ignore_ascii_case(text) || short.eq_ignore_ascii_case(text)
    };
    Role::ALL.into_iter().find(is).ok_or(NotARole)
}

/// What a caller is told who may not do something.
pub fn of_denial(denied: Denied) -> String {
    match denied {
        Denied::Role { needed, role } => format!(
            "this takes the role {} in the workspace, and yours is {}: ask one of its admins",
            of_role(needed.least_role()),
            of_role(role)
        ),
        Denied::Scope(_) => denied.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use common::access::{self, Scope, Scopes};

    use super::*;

    #[test]
    fn priority_names_read_back_in_both_spellings() {
        for (number, known) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority(of_priority(known)), Some(known));
            assert_eq!(PRIORITIES[number], of_priority(known));
            assert_eq!(usize::try_from(known.number()), Ok(number));
        }
        assert_eq!(priority("fast"), Some(Priority::Fast));
        assert_eq!(priority(""), None);
        assert_eq!(priority("PRIORITY_FAST"), None);
    }

    #[test]
    fn role_names_read_back_in_both_spellings() {
        for known in Role::ALL {
            assert_eq!(role(of_role(known)), Ok(known));
        }
        assert_eq!(role("developer"), Ok(Role::Developer));
        assert_eq!(role("root"), Err(NotARole));
    }

    #[test]
    fn denial_names_the_missing_role_or_scope() {
        let role = access::check(Role::User, Scopes::ALL, Scope::PackagesWrite).unwrap_err();
        let scope = access::check(Role::Admin, Scopes::NONE, Scope::WalletRead).unwrap_err();

        assert_eq!(
            of_denial(role),
            "this takes the role ROLE_DEVELOPER in the workspace, and yours is ROLE_USER: ask one \
             of its admins"
        );
        assert!(of_denial(scope).contains("wallet:read"));
    }
}
