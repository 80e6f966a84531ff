//! Coupons and who has redeemed them. Of a code only its hash is kept.

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{RedemptionId, WorkspaceId};
use common::money::credits::Credits;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};

use crate::store::{corrupt, micros, time};

mod coupon {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "coupons")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hash: String,
        pub units: i64,
        pub uses: i32,
        pub uses_max: i32,
        pub expires_us: Option<i64>,
        pub created_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod redemption {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "redemptions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub coupon: String,
        pub workspace: Uuid,
        pub units: i64,
        pub at_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coupon {
    pub hash: Digest,
    pub amount: Credits,
    pub uses: u32,
    pub uses_max: u32,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

impl Coupon {
    /// Whether both give the same, whether redeemed or not.
    pub fn is_like(&self, other: &Self) -> bool {
        let terms = |coupon: &Self| (coupon.amount, coupon.uses_max, coupon.expires_at.map(micros));
        terms(self) == terms(other)
    }

    /// Whether one more workspace can redeem it.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.uses < self.uses_max && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A coupon redeemed by a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redemption {
    pub id: RedemptionId,
    pub coupon: Digest,
    pub workspace: WorkspaceId,
    pub amount: Credits,
    pub at: DateTime<Utc>,
}

/// The name of a code in the tables, in whatever case it is written.
pub fn hash(code: &str) -> Digest {
    Digest::of(format!("coupon {}", code.trim().to_ascii_uppercase()).as_bytes())
}

/// Stores a new coupon, unless there is one of its code already.
pub(in crate::store) async fn create(
    db: &impl ConnectionTrait,
    new: &Coupon,
) -> Result<bool, DbErr> {
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let row = coupon::ActiveModel {
        hash: Set(new.hash.to_string()),
        units: Set(new.amount.units()),
        uses: Set(count(new.uses)),
        uses_max: Set(count(new.uses_max)),
        expires_us: Set(new.expires_at.map(micros)),
        created_us: Set(micros(new.created_at)),
    };
    let first = OnConflict::column(coupon::Column::Hash).do_nothing().to_owned();
    let made = coupon::Entity::insert(row).on_conflict(first).exec_without_returning(db).await?;
    Ok(made == 1)
}

/// A part of all coupons, newest first, and how many there are.
pub async fn list(
    db: &impl ConnectionTrait,
    offset: u64,
    limit: u64,
) -> Result<(Vec<Coupon>, u64), DbErr> {
    let total = coupon::Entity::find().count(db).await?;
    let rows = coupon::Entity::find()
        .order_by_desc(coupon::Column::CreatedUs)
        .offset(offset)
        .limit(limit)
        .all(db)
        .await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}

pub async fn find(db: &impl ConnectionTrait, hash: Digest) -> Result<Option<Coupon>, DbErr> {
    coupon::Entity::find_by_id(hash.to_string()).one(db).await?.as_ref().map(read).transpose()
}

/// What a workspace has redeemed a coupon as.
pub async fn redeemed(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    coupon: Digest,
) -> Result<Option<Redemption>, DbErr> {
    let row = redemption::Entity::find()
        .filter(redemption::Column::Coupon.eq(coupon.to_string()))
        .filter(redemption::Column::Workspace.eq(owner.uuid()))
        .one(db)
        .await?;
    let read = |row: redemption::Model| {
        Ok(Redemption {
            id: RedemptionId::new(row.id),
            coupon,
            workspace: owner,
            amount: Credits::from_units(row.units).ok_or_else(|| corrupt("amount"))?,
            at: time(row.at_us),
        })
    };
    row.map(read).transpose()
}

/// Uses a coupon once, unless it is used up.
pub(in crate::store) async fn redeem(
    db: &impl ConnectionTrait,
    new: &Redemption,
) -> Result<bool, DbErr> {
    let used = coupon::Entity::update_many()
        .col_expr(coupon::Column::Uses, Expr::col(coupon::Column::Uses).add(1))
        .filter(coupon::Column::Hash.eq(new.coupon.to_string()))
        .filter(Expr::col(coupon::Column::Uses).lt(Expr::col(coupon::Column::UsesMax)))
        .exec(db)
        .await?;
    let row = redemption::ActiveModel {
        id: Set(new.id.uuid()),
        coupon: Set(new.coupon.to_string()),
        workspace: Set(new.workspace.uuid()),
        units: Set(new.amount.units()),
        at_us: Set(micros(new.at)),
    };
    redemption::Entity::insert(row).exec_without_returning(db).await?;
    Ok(used.rows_affected == 1)
}

fn read(row: &coupon::Model) -> Result<Coupon, DbErr> {
    let count = |n: i32| u32::try_from(n).map_err(|_| corrupt("count of uses"));
    Ok(Coupon {
        hash: row.hash.parse().map_err(|_| corrupt("hash of a coupon"))?,
        amount: Credits::from_units(row.units).ok_or_else(|| corrupt("amount"))?,
        uses: count(row.uses)?,
        uses_max: count(row.uses_max)?,
        expires_at: row.expires_us.map(time),
        created_at: time(row.created_us),
    })
}
