//! What packages are sorted by.

use sea_orm::DbBackend;
use sea_orm::sea_query::{Expr, SimpleExpr};

use super::row::Column as C;
use crate::store::query::selection::{Field, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageField {
    Id,
    Name,
    Version,
    Status,
    CreatedAt,
    UpdatedAt,
}

impl Field for PackageField {
    const ALL: &'static [Self] =
        &[Self::Id, Self::Name, Self::Version, Self::Status, Self::CreatedAt, Self::UpdatedAt];

    const TIES: &'static [(Self, bool)] = &[(Self::Id, false)];

    const WEIGHT: &'static str =
        "CAST(LENGTH(manifest) + LENGTH(COALESCE(params_schema, '')) AS BIGINT)";

    fn kind(self) -> Kind {
        match self {
            Self::Id => Kind::Uuid,
            Self::Name => Kind::Text,
            Self::Version => Kind::Count,
            Self::Status => Kind::Choice,
            Self::CreatedAt | Self::UpdatedAt => Kind::Time,
        }
    }

    fn is_optional(self) -> bool {
        false
    }

    fn expr(self, _: DbBackend) -> SimpleExpr {
        match self {
            Self::Id => Expr::col(C::Id),
            Self::Name => Expr::col(C::Name),
            // Both parts in one number, which sorts as versions do.
            Self::Version => Expr::cust("(CAST(major AS BIGINT) * 4294967296 + minor)"),
            Self::Status => Expr::cust("(CASE WHEN active THEN 1 ELSE 0 END)"),
            Self::CreatedAt => Expr::col(C::CreatedUs),
            Self::UpdatedAt => Expr::col(C::UpdatedUs),
        }
    }
}
