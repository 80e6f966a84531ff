//! What a year's ended jobs were, by the template that they were made of.

use std::collections::BTreeMap;

use crate::app::App;
use crate::clock;
use crate::error::Result;
use crate::jobs::draft::find_template;
use crate::people::caller::Caller;
use crate::store::money::usage;
use crate::store::money::usage::Month;

/// Months before this one.
const MONTHS: u32 = 11;

/// The jobs of one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFigures {
    pub template: String,
    pub jobs: u64,
    pub tasks: u64,
}

/// A year's figures of each template.
pub async fn all(app: &App, caller: &Caller) -> Result<Vec<TemplateFigures>> {
    let last = Month::of(clock::now());
    let rows = usage::by_month(&app.db, caller.workspace, last.minus(MONTHS), last).await?;
    let mut by_template = BTreeMap::<String, (u64, u64)>::new();
    for row in rows {
        let (jobs, tasks) = by_template.entry(row.template).or_default();
        *jobs += row.jobs.unsigned_abs();
        *tasks += row.tasks.unsigned_abs();
    }
    let one = |(template, (jobs, tasks))| TemplateFigures { template, jobs, tasks };
    Ok(by_template.into_iter().map(one).collect())
}

/// A year's figures of one template.
pub async fn of(app: &App, caller: &Caller, template: &str) -> Result<TemplateFigures> {
    let mut all = all(app, caller).await?.into_iter();
    if let Some(found) = all.find(|one| one.template == template) {
        return Ok(found);
    }
    find_template(app, caller, template).await?;
    Ok(TemplateFigures { template: template.to_owned(), jobs: 0, tasks: 0 })
}
