//! Looks through every table that holds documents for rows that cannot be read.

use common::compute::device::Device;
use common::money::wallet_request::{PayoutState, State as _, TopUpState};
use common::package::template::Template;
use sea_orm::DbErr;

use crate::store::catalogue::{imports, packages, templates};
use crate::store::logs::{segments, tail};
use crate::store::market::stages::{chunk_tables, resolutions, values};
use crate::store::market::tasks::{attempts, call_answers, small_results};
use crate::store::market::{plans, runs, stages, tasks};
use crate::store::money::{ledger, statement, wallet_requests};
use crate::store::nodes::devices;
use crate::store::people::workspaces::Profile;
use crate::store::people::{api_keys, invitations, members, one_time_codes, workspaces};
use crate::store::query::document;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::{Db, definitions, jobs, pools, queues, schedules, secrets};

/// The rows that cannot be read, table by table. Reads everything; changes nothing.
pub async fn check(db: &Db) -> Result<Vec<UnreadableRow>, DbErr> {
    let mut found = Vec::new();
    check_runs(db, &mut found).await?;
    check_catalogue(db, &mut found).await?;
    check_people(db, &mut found).await?;
    ledger::check(db, &mut found).await?;
    statement::check(db, &mut found).await?;
    rows::check::<wallet_requests::Entity, _>(db, &mut found, |row| match row.kind.as_str() {
        TopUpState::REQUEST => wallet_requests::read::<TopUpState>(row).map(drop),
        _ => wallet_requests::read::<PayoutState>(row).map(drop),
    })
    .await?;
    Ok(found)
}

async fn check_runs(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    runs::check(db, found).await?;
    plans::check(db, found).await?;
    stages::check(db, found).await?;
    resolutions::check(db, found).await?;
    values::check(db, found).await?;
    chunk_tables::check(db, found).await?;
    tasks::check(db, found).await?;
    small_results::check(db, found).await?;
    rows::check::<attempts::Entity, _>(db, found, attempts::view).await?;
    rows::check::<segments::Entity, _>(db, found, |row| segments::read(&row)).await?;
    rows::check::<tail::Entity, _>(db, found, |row| tail::read(&row)).await?;
    call_answers::check(db, found).await?;
    rows::check::<devices::Entity, _>(db, found, |row| document::read::<Device>(&row.device)).await
}

async fn check_catalogue(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<jobs::record::row::Entity, _>(db, found, |row| jobs::record::read(&row)).await?;
    rows::check::<queues::Entity, _>(db, found, |row| queues::read(&row)).await?;
    rows::check::<pools::Entity, _>(db, found, |row| pools::read(&row)).await?;
    rows::check::<definitions::Entity, _>(db, found, |row| definitions::read(&row)).await?;
    rows::check::<schedules::Entity, _>(db, found, |row| schedules::read(&row)).await?;
    rows::check::<schedules::skips::Entity, _>(db, found, schedules::skips::read).await?;
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
    rows::check::<workspaces::user::Entity, _>(db, found, workspaces::read).await?;
    rows::check::<members::row::Entity, _>(db, found, |row| members::read_role(&row)).await?;
    rows::check::<invitations::row::Entity, _>(db, found, invitations::read).await?;
    rows::check::<api_keys::row::Entity, _>(db, found, api_keys::read).await?;
    rows::check::<one_time_codes::row::Entity, _>(db, found, |row| {
        row.profile.as_deref().map(document::read::<Profile>).transpose()
    })
    .await
}
