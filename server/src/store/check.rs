//! Looks through every table that holds documents for rows that cannot be read.

use common::device::Device;
use common::package::template::Template;
use common::wallet::{PayoutState, State as _, TopUpState};
use sea_orm::DbErr;

use super::accounts::Profile;
use super::rows::{self, UnreadableRow};
use super::{
    Db, accounts, api_keys, attempts, chunk_tables, codes, devices, document, imports, invitations,
    jobs, ledger, logs, members, packages, plans, requests, runs, secrets, stages, tasks,
    templates, wallet,
};

/// The rows that cannot be read, table by table. Reads everything; changes nothing.
pub async fn check(db: &Db) -> Result<Vec<UnreadableRow>, DbErr> {
    let mut found = Vec::new();
    check_runs(db, &mut found).await?;
    check_catalogue(db, &mut found).await?;
    check_people(db, &mut found).await?;
    ledger::check(db, &mut found).await?;
    wallet::check(db, &mut found).await?;
    rows::check::<requests::Entity, _>(db, &mut found, |row| match row.kind.as_str() {
        TopUpState::REQUEST => requests::read::<TopUpState>(row).map(drop),
        _ => requests::read::<PayoutState>(row).map(drop),
    })
    .await?;
    Ok(found)
}

async fn check_runs(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    runs::check(db, found).await?;
    plans::check(db, found).await?;
    stages::check(db, found).await?;
    chunk_tables::check(db, found).await?;
    tasks::check(db, found).await?;
    rows::check::<attempts::Entity, _>(db, found, attempts::view).await?;
    rows::check::<logs::Entity, _>(db, found, |row| logs::read(&row).map(drop)).await?;
    rows::check::<devices::Entity, _>(db, found, |row| document::read::<Device>(&row.device)).await
}

async fn check_catalogue(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<jobs::row::Entity, _>(db, found, |row| jobs::read(&row)).await?;
    rows::check::<templates::row::Entity, _>(db, found, |row| {
        document::read::<Template>(&row.document)
    })
    .await?;
    rows::check::<packages::row::Entity, _>(db, found, |row| packages::read(&row)).await?;
    rows::check::<imports::row::Entity, _>(db, found, |row| {
        document::read::<Vec<String>>(&row.secrets)
    })
    .await?;
    rows::check::<secrets::row::Entity, _>(db, found, |row| secrets::read(&row)).await
}

async fn check_people(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<accounts::user::Entity, _>(db, found, accounts::read).await?;
    rows::check::<members::row::Entity, _>(db, found, |row| members::read_role(&row)).await?;
    rows::check::<invitations::row::Entity, _>(db, found, invitations::read).await?;
    rows::check::<api_keys::row::Entity, _>(db, found, api_keys::read).await?;
    rows::check::<codes::row::Entity, _>(db, found, |row| {
        row.profile.as_deref().map(document::read::<Profile>).transpose()
    })
    .await
}
