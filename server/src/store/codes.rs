//! One-time codes that prove who reads an e-mail address. Only their hashes are kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use common::digest::Digest;
use rand::Rng as _;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, Set,
};

use super::accounts::Profile;
use super::{document, micros};
use crate::clock;

const CODE_LIVES: TimeDelta = TimeDelta::minutes(10);
/// A code of six digits is guessed in so many tries with a chance of 1 in 200,000.
const TRIES_MAX: i32 = 5;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub nonce: String,
        pub email: String,
        pub hash: String,
        pub profile: Option<String>,
        pub tries: i32,
        pub expires_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// A code as it goes to its reader. It has no `Debug`, so that no log shows it by accident.
pub struct Issued {
    pub nonce: String,
    pub code: String,
    pub sent_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Makes a code for an address; with a profile it also signs up.
pub async fn issue(
    db: &impl ConnectionTrait,
    email: &str,
    profile: Option<&Profile>,
) -> Result<Issued, DbErr> {
    let sent_at = clock::now();
    let over = row::Entity::delete_many().filter(C::ExpiresUs.lte(micros(sent_at)));
    over.exec(db).await?;
    let mut random = [0u8; 18];
    rand::rng().fill(&mut random);
    let nonce = URL_SAFE_NO_PAD.encode(random);
    let code = format!("{:06}", rand::rng().random_range(0..1_000_000u32));
    let expires_at = sent_at + CODE_LIVES;
    row::ActiveModel {
        nonce: Set(nonce.clone()),
        email: Set(email.to_owned()),
        hash: Set(hash(&nonce, &code)),
        profile: Set(profile.map(document::write).transpose()?),
        tries: Set(0),
        expires_us: Set(micros(expires_at)),
    }
    .insert(db)
    .await?;
    Ok(Issued { nonce, code, sent_at, expires_at })
}

/// What a right code proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub email: String,
    /// Where the code was asked for to sign up.
    pub profile: Option<Profile>,
}

/// Uses a code up; `None` where it is wrong, too late, used, or tried too often.
pub async fn redeem(
    db: &impl ConnectionTrait,
    email: &str,
    nonce: &str,
    code: &str,
) -> Result<Option<Proof>, DbErr> {
    // The try is counted before the code is looked at, so that tries side by side count too.
    let counted = row::Entity::update_many()
        .col_expr(C::Tries, Expr::col(C::Tries).add(1))
        .filter(C::Nonce.eq(nonce))
        .filter(C::Email.eq(email))
        .filter(C::Tries.lt(TRIES_MAX))
        .filter(C::ExpiresUs.gt(micros(clock::now())))
        .exec(db)
        .await?;
    if counted.rows_affected != 1 {
        return Ok(None);
    }
    // The hash is compared by the database: how long that takes tells nothing about the code,
    // since the nonce in it is secret to all but the one who asked.
    let Some(row) = row::Entity::find_by_id(nonce.to_owned()).one(db).await? else {
        return Ok(None);
    };
    if row.hash != hash(nonce, code) {
        return Ok(None);
    }
    let used = row::Entity::delete_many().filter(C::Nonce.eq(nonce)).exec(db).await?;
    if used.rows_affected != 1 {
        return Ok(None);
    }
    let profile = row.profile.as_deref().map(document::read).transpose()?;
    Ok(Some(Proof { email: row.email, profile }))
}

fn hash(nonce: &str, code: &str) -> String {
    Digest::of(format!("{nonce}/{code}").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn a_code_works_once_for_its_address_and_nonce() {
        for fresh in databases().await {
            let db = &fresh.db;
            let issued = issue(db, "a@b.c", None).await.unwrap();
            let (nonce, code) = (issued.nonce.as_str(), issued.code.as_str());
            let redeemed = async |email, nonce| redeem(db, email, nonce, code).await.unwrap();

            assert_eq!(redeemed("x@y.z", nonce).await, None);
            assert_eq!(redeemed("a@b.c", "other").await, None);
            let proof = Proof { email: "a@b.c".to_owned(), profile: None };
            assert_eq!(redeemed("a@b.c", nonce).await, Some(proof));
            assert_eq!(redeemed("a@b.c", nonce).await, None);
        }
    }

    #[tokio::test]
    async fn a_code_cannot_be_guessed() {
        for fresh in databases().await {
            let issued = issue(&fresh.db, "a@b.c", None).await.unwrap();
            for _ in 0..TRIES_MAX {
                let guess = redeem(&fresh.db, "a@b.c", &issued.nonce, "guess").await;
                assert_eq!(guess, Ok(None));
            }

            let right = redeem(&fresh.db, "a@b.c", &issued.nonce, &issued.code).await;

            assert_eq!(right, Ok(None), "{}", fresh.name);
        }
    }
}
