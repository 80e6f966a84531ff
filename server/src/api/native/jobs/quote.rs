//! What a run is expected to cost, as it is shown.

use common::ids::JobId;
use common::money::credits::Credits;
use common::plan::OpenList;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::error::Result;
use crate::jobs::quote::{Basis, Quote, quote};

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_QuoteJob", "/jobs/{job}/quote", read)
            .summary("Estimates what a run of a job costs, or what the run that it has will cost"),
    ]
}

/// What a run is expected to cost, in credits.
#[derive(Serialize, ToSchema)]
#[schema(as = RunQuote)]
pub struct QuoteOut {
    /// Null where only the run will show it: a partitioner of the customer's own.
    chunks: Option<u64>,
    /// What the price of a task is taken from.
    basis: BasisOut,
    /// Tasks of a job without a template; null for others.
    tasks: Option<u64>,
    /// Calls of a job without a template; null for others.
    calls: Option<u64>,
    /// Lists whose lengths only the run shows. Each counts as one element of the total.
    open_lists: Vec<OpenListOut>,
    /// Of one task.
    #[schema(value_type = String)]
    task_price: Credits,
    /// Of the whole run, where no step is skipped; null where its chunks are not known.
    #[schema(value_type = Option<String>)]
    total: Option<Credits>,
    /// The same if every task used all that it may until its timeout; null where lists are open.
    #[schema(value_type = Option<String>)]
    total_at_most: Option<Credits>,
    /// What is held when it starts.
    #[schema(value_type = String)]
    hold: Credits,
    /// What the wallet has.
    #[schema(value_type = String)]
    available: Credits,
    /// Whether the wallet covers the hold and, where the basis is no assumption, the total.
    affordable: bool,
}

/// A list whose length only the run shows.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenList)]
struct OpenListOut {
    /// The name of its step.
    name: String,
    /// What each element costs beyond the first.
    #[schema(value_type = String)]
    element: Credits,
}

/// What the price of a task is taken from: earlier runs of the template, the tasks of the run that
/// are done, or the assumption that a task uses all that it may.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = QuoteBasis)]
enum BasisOut {
    History,
    Sample,
    Assumption,
}

async fn read(job: Segment, call: Call) -> Result<QuoteOut> {
    let caller = call.caller().await?;
    Ok(quote(call.app(), &caller, job.id::<JobId>("job")?).await?.into())
}

impl From<Quote> for QuoteOut {
    fn from(quote: Quote) -> Self {
        let estimate = quote.estimate.as_ref();
        let open = |list: &OpenList| OpenListOut { name: list.name.clone(), element: list.element };
        Self {
            tasks: estimate.map(|estimate| estimate.tasks),
            calls: estimate.map(|estimate| estimate.calls),
            open_lists: estimate
                .map_or_else(Vec::new, |of| of.open_lists.iter().map(open).collect()),
            chunks: quote.chunks,
            basis: match quote.forecast.basis {
                Basis::History => BasisOut::History,
                Basis::Sample => BasisOut::Sample,
                Basis::Assumption => BasisOut::Assumption,
            },
            task_price: quote.forecast.task_price,
            total: quote.total,
            total_at_most: quote.total_at_most,
            hold: quote.hold.amount,
            available: quote.available,
            affordable: quote.affordable,
        }
    }
}
