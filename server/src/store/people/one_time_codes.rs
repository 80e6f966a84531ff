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

use super::workspaces::Profile;
use crate::clock;
use crate::store::micros;
use crate::store::query::document;

const CODE_LIVES: TimeDelta = TimeDelta::minutes(10);
const TRIES_MAX: i32 = 5;
/// Letters and digits that nobody takes for one another.
const ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 6.5e11 codes: guessing has no chance, for any number of addresses.
const LETTERS: usize = 8;

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub nonce: String,
        pub email: String,
        pub hash: String,
        pub profile: Option<String>,
        pub access: Option<String>,
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
    issue_for(db, email, profile, None).await
}

/// The same, with the access code that signing up uses once.
pub async fn issue_for(
    db: &impl ConnectionTrait,
    email: &str,
    profile: Option<&Profile>,
    access: Option<Digest>,
) -> Result<Issued, DbErr> {
    let sent_at = clock::now();
    let over = row::Entity::delete_many().filter(C::ExpiresUs.lte(micros(sent_at)));
    over.exec(db).await?;
    let mut random = [0u8; 18];
    rand::rng().fill(&mut random);
    let nonce = URL_SAFE_NO_PAD.encode(random);
    let code = made_up();
    let expires_at = sent_at + CODE_LIVES;
    row::ActiveModel {
        nonce: Set(nonce.clone()),
        email: Set(email.to_owned()),
        hash: Set(hash(&nonce, &code)),
        profile: Set(profile.map(document::write).transpose()?),
        access: Set(access.map(|code| code.to_string())),
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
    /// The access code that signing up uses once.
    pub access: Option<Digest>,
}

/// What a code turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    Right(Proof),
    /// The nonce was issued for the address, and the code is not the one that went with it.
    Wrong,
    /// No such nonce was issued for the address, or it is too old, used, or was tried too often:
    /// who tries need not have anything to do with the address.
    Unknown,
}

/// Uses a code up, if it is the right one. It may be written in small letters, and with spaces
/// and dashes or without.
pub async fn redeem(
    db: &impl ConnectionTrait,
    email: &str,
    nonce: &str,
    code: &str,
) -> Result<Redeemed, DbErr> {
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
        return Ok(Redeemed::Unknown);
    }
    // The hash is compared by the database: how long that takes tells nothing about the code,
    // since the nonce in it is secret to all but the one who asked.
    let Some(row) = row::Entity::find_by_id(nonce.to_owned()).one(db).await? else {
        return Ok(Redeemed::Unknown);
    };
    if row.hash != hash(nonce, code) {
        return Ok(Redeemed::Wrong);
    }
    let used = row::Entity::delete_many().filter(C::Nonce.eq(nonce)).exec(db).await?;
    if used.rows_affected != 1 {
        return Ok(Redeemed::Unknown);
    }
    let profile = row.profile.as_deref().map(document::read).transpose()?;
    let access = row.access.as_deref().and_then(|hash| hash.parse().ok());
    Ok(Redeemed::Right(Proof { email: row.email, profile, access }))
}

/// A new code, in two halves for eyes.
fn made_up() -> String {
    let mut random = rand::rng();
    let mut letter = || char::from(ALPHABET[random.random_range(0..ALPHABET.len())]);
    let mut half = || (0..LETTERS / 2).map(|_| letter()).collect::<String>();
    format!("{}-{}", half(), half())
}

fn hash(nonce: &str, code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    Digest::of(format!("{nonce}/{plain}").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn one_time_code_works_once_for_its_address_and_nonce() {
        for fresh in databases().await {
            let db = &fresh.db;
            let issued = issue(db, "a@b.c", None).await.unwrap();
            let (nonce, code) = (issued.nonce.as_str(), issued.code.as_str());
            let redeemed = async |email, nonce| redeem(db, email, nonce, code).await.unwrap();

            assert_eq!(redeemed("x@y.z", nonce).await, Redeemed::Unknown);
            assert_eq!(redeemed("a@b.c", "other").await, Redeemed::Unknown);
            let proof = Proof { email: "a@b.c".to_owned(), profile: None, access: None };
            assert_eq!(redeemed("a@b.c", nonce).await, Redeemed::Right(proof));
            assert_eq!(redeemed("a@b.c", nonce).await, Redeemed::Unknown);
        }
    }

    #[tokio::test]
    async fn one_time_code_cannot_be_guessed() {
        for fresh in databases().await {
            let issued = issue(&fresh.db, "a@b.c", None).await.unwrap();
            for _ in 0..TRIES_MAX {
                let guess = redeem(&fresh.db, "a@b.c", &issued.nonce, "guess").await;
                assert_eq!(guess, Ok(Redeemed::Wrong));
            }

            let right = redeem(&fresh.db, "a@b.c", &issued.nonce, &issued.code).await;

            assert_eq!(right, Ok(Redeemed::Unknown), "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn one_time_code_is_eight_letters_in_any_spelling() {
        for fresh in databases().await {
            let issued = issue(&fresh.db, "a@b.c", None).await.unwrap();
            let letters = issued.code.replace('-', "");
            assert_eq!((letters.len(), issued.code.len()), (LETTERS, LETTERS + 1));
            assert!(letters.bytes().all(|letter| ALPHABET.contains(&letter)));

            let typed = format!(" {} {} ", &letters[..3].to_lowercase(), &letters[3..]);
            let redeemed = redeem(&fresh.db, "a@b.c", &issued.nonce, &typed).await.unwrap();

            assert!(matches!(redeemed, Redeemed::Right(_)), "{}", fresh.name);
        }
    }
}
