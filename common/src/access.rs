//! What a member of a workspace may do: a role allows scopes, and a key may have fewer of them.

use std::fmt;
use std::str::FromStr;

/// What somebody is in a workspace. Each role may all that the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees who they are, and nothing else.
    None,
    /// Runs jobs.
    User,
    /// Makes what jobs are made of, and lends machines.
    Developer,
    /// Decides on members and money.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::None, Self::User, Self::Developer, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::User => "user",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }

    /// All that the role allows.
    pub fn scopes(self) -> Scopes {
        Scope::ALL.into_iter().filter(|scope| scope.least_role() <= self).collect()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be none, user, developer or admin")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(NotARole)
    }
}

/// One kind of thing that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    JobsRead,
    JobsWrite,
    /// Apps, engines, templates and images.
    PackagesRead,
    PackagesWrite,
    NodesRead,
    NodesWrite,
    SecretsRead,
    SecretsWrite,
    /// Names secrets where a job, a template or a package uses them.
    SecretsUse,
    WalletRead,
    WalletWrite,
    /// One's own API keys; those of others belong to their members.
    KeysRead,
    KeysWrite,
    MembersRead,
    MembersWrite,
    /// What one says of oneself.
    UserWrite,
}

impl Scope {
    pub const ALL: [Self; 16] = [
        Self::JobsRead,
        Self::JobsWrite,
        Self::PackagesRead,
        Self::PackagesWrite,
        Self::NodesRead,
        Self::NodesWrite,
        Self::SecretsRead,
        Self::SecretsWrite,
        Self::SecretsUse,
        Self::WalletRead,
        Self::WalletWrite,
        Self::KeysRead,
        Self::KeysWrite,
        Self::MembersRead,
        Self::MembersWrite,
        Self::UserWrite,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::JobsRead => "jobs:read",
            Self::JobsWrite => "jobs:write",
            Self::PackagesRead => "packages:read",
            Self::PackagesWrite => "packages:write",
            Self::NodesRead => "nodes:read",
            Self::NodesWrite => "nodes:write",
            Self::SecretsRead => "secrets:read",
            Self::SecretsWrite => "secrets:write",
            Self::SecretsUse => "secrets:use",
            Self::WalletRead => "wallet:read",
            Self::WalletWrite => "wallet:write",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::MembersRead => "members:read",
            Self::MembersWrite => "members:write",
            Self::UserWrite => "user:write",
        }
    }

    /// The least of the roles that allow it.
    pub const fn least_role(self) -> Role {
        match self {
            Self::JobsRead
            | Self::JobsWrite
            | Self::PackagesRead
            | Self::NodesRead
            | Self::SecretsRead
            | Self::SecretsWrite
            | Self::SecretsUse
            | Self::WalletRead
            | Self::KeysRead
            | Self::KeysWrite
            | Self::UserWrite => Role::User,
            Self::PackagesWrite | Self::NodesWrite => Role::Developer,
            Self::WalletWrite | Self::MembersRead | Self::MembersWrite => Role::Admin,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAScope;

impl fmt::Display for NotAScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be one of {}", Scopes::ALL)
    }
}

impl std::error::Error for NotAScope {}

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(NotAScope)
    }
}

/// A set of scopes. As text they stand side by side, as OAuth writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u32);

impl Scopes {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    pub const fn has(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Those that both have.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    const fn bit(scope: Scope) -> u32 {
        1 << scope as u32
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | Self::bit(scope)))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        text.split_whitespace().map(str::parse).collect()
    }
}

/// Why somebody may not do something, and what would let them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "this takes the role {} in the workspace, and yours is {role}: ask one of its admins",
        .needed.least_role()
    )]
    Role { needed: Scope, role: Role },
    #[error("this takes the scope {0}, which this API key or token was made without")]
    Scope(Scope),
}

/// Whether a member of this role may do it by a key of these scopes.
pub fn check(role: Role, key: Scopes, needed: Scope) -> Result<(), Denied> {
    if needed.least_role() > role {
        return Err(Denied::Role { needed, role });
    }
    if !key.has(needed) {
        return Err(Denied::Scope(needed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_includes_the_permissions_of_the_roles_below() {
        assert_eq!(Role::None.scopes(), Scopes::NONE);
        assert_eq!(Role::Admin.scopes(), Scopes::ALL);
        for pair in Role::ALL.windows(2) {
            assert_eq!(pair[0].scopes().and(pair[1].scopes()), pair[0].scopes());
            assert_ne!(pair[0].scopes(), pair[1].scopes());
        }
    }

    #[test]
    fn key_never_exceeds_its_role_or_scopes() {
        for role in Role::ALL {
            for needed in Scope::ALL {
                let by_any_key = check(role, Scopes::ALL, needed).is_ok();
                let by_this_key = check(role, Scopes::from_iter([needed]), needed).is_ok();

                assert_eq!(by_any_key, role.scopes().has(needed));
                assert_eq!(by_this_key, by_any_key);
                assert!(check(role, Scopes::NONE, needed).is_err());
            }
        }
    }

    #[test]
    fn denial_names_the_missing_role_or_scope() {
        let role = check(Role::User, Scopes::ALL, Scope::PackagesWrite).unwrap_err();
        let scope = check(Role::Admin, Scopes::NONE, Scope::WalletRead).unwrap_err();

        assert!(role.to_string().contains("developer"), "{role}");
        assert!(scope.to_string().contains("wallet:read"), "{scope}");
    }

    #[test]
    fn roles_and_scopes_read_back_what_they_print() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(NotARole));
        for scopes in [Scopes::NONE, Scopes::ALL, Role::User.scopes()] {
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
        }
        assert!("jobs:read everything".parse::<Scopes>().is_err());
    }
}
