//! Comma-separated values: the wallet's statement, and what other sheets are made with.
//!
//! A sheet is given as it is to who accepts `text/csv`, and inside JSON to others, as older
//! clients expect it.

use std::sync::Arc;

use bytes::Bytes;
use chrono::SecondsFormat;
use futures::stream::try_unfold;
use futures::{Stream, TryStreamExt as _};
use serde::Serialize;
use sync_wrapper::SyncStream;
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, VARY,
};
use warp::http::{HeaderMap, Method};

use crate::api::http::call::Call;
use crate::api::http::route::{Route, raw};
use crate::api::{Answer, State};
use crate::error::{Error, Result};
use crate::listing::{Place, Rest, Selection, Start};
use crate::people::caller::Caller;
use crate::wallet::statement;
use crate::wallet::statement::{Entry, LineField};

pub const MEDIA: &str = "text/csv";
/// Lines that are read at once.
const PAGE: u64 = 1_000;
/// Lines of an answer in JSON.
const LINES_MAX: usize = 10_000;
/// Newest first: ids rise.
const ORDER: [(LineField, bool); 1] = [(LineField::Id, true)];
/// The first seven are those that older clients know by their places.
const COLUMNS: [&str; 14] = [
    "id",
    "createdAt",
    "transactionType",
    "amount",
    "balance",
    "jobId",
    "description",
    "number",
    "jobTemplate",
    "couponCode",
    "currency",
    "currencyAmount",
    "exchangeRate",
    "hash",
];

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsvOut {
    csv: String,
    /// Whether older lines are left out: with `Accept: text/csv` none are.
    has_more: bool,
}

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Wallet_GetTransactionsCsv", "/transactions/csv", MEDIA, csv)
            .summary("Gets the transactions as comma-separated values, newest first")
            .gives::<CsvOut>()
            .also(MEDIA),
    ]
}

/// The whole statement, or its newest lines inside JSON.
async fn csv(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut pages = Box::pin(pages(call.state().clone(), caller));
    if wants_sheet(&call.headers) {
        return Ok(as_sheet(pages, "transactions.csv"));
    }
    let (mut csv, mut lines, mut has_more) = (Vec::new(), 0, false);
    while let Some(page) = pages.try_next().await.map_err(internal)? {
        if lines >= LINES_MAX {
            has_more = true;
            break;
        }
        lines += page.iter().filter(|byte| **byte == b'\n').count();
        csv.extend_from_slice(&page);
    }
    inside_json(csv, has_more)
}

/// A whole sheet in the form that these headers ask for.
pub fn answer(headers: &HeaderMap, csv: Bytes, file: &str) -> Result<Answer> {
    if wants_sheet(headers) {
        return Ok(as_sheet(futures::stream::iter([Ok(csv)]), file));
    }
    inside_json(csv.into(), false)
}

fn as_sheet(
    pages: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    file: &str,
) -> Answer {
    let mut answer = warp::reply::stream(SyncStream::new(pages)).into_response();
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(file) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        headers.insert(CONTENT_DISPOSITION, file);
    }
    private(answer)
}

fn inside_json(csv: Vec<u8>, has_more: bool) -> Result<Answer> {
    let csv = String::from_utf8(csv).map_err(internal)?;
    Ok(private(warp::reply::json(&CsvOut { csv, has_more }).into_response()))
}

fn private(mut answer: Answer) -> Answer {
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn wants_sheet(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split([',', ';']).any(|media| media.trim().eq_ignore_ascii_case(MEDIA))
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Internal(Box::new(error))
}

/// Where the reading of a statement stands.
enum At {
    Columns,
    Lines(Option<Place>),
    End,
}

/// The statement, a page at a time: what is read meanwhile is neither twice in it nor left out.
fn pages(state: Arc<State>, caller: Caller) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    try_unfold((state, At::Columns), move |(state, at)| async move {
        let place = match at {
            At::Columns => {
                let columns = written(|csv| csv.write_record(COLUMNS))?;
                return Ok(Some((columns, (state, At::Lines(None)))));
            }
            At::Lines(place) => place,
            At::End => return Ok(None),
        };
        let order = ORDER.to_vec();
        let selection =
            Selection { tests: Vec::new(), order, start: Start::Place(place), limit: PAGE };
        let found = {
            let _permit = state.answers.take(caller.workspace).await;
            statement::list(&state.app, &caller, &selection).await.map_err(std::io::Error::other)?
        };
        let lines =
            written(|csv| found.rows.iter().try_for_each(|entry| csv.write_record(cells(entry))))?;
        let next = match found.rest {
            Rest::After(Some(place)) => At::Lines(Some(place)),
            Rest::After(None) | Rest::Total(_) => At::End,
        };
        Ok(Some((lines, (state, next))))
    })
}

/// What is written as comma-separated values.
pub fn written(
    write: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>,
) -> std::io::Result<Bytes> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    write(&mut csv).map_err(std::io::Error::other)?;
    let bytes = csv.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes.into())
}

fn cells(Entry { id, line }: &Entry) -> [String; COLUMNS.len()] {
    let related = &line.related;
    let job = line.run.and(related.id).map_or_else(String::new, |job| job.to_string());
    let text = |text: &Option<String>| marked(text.as_deref().unwrap_or_default());
    let (currency, money, rate) = related.terms.map_or_else(Default::default, |terms| {
        (terms.currency.to_string(), terms.money.to_string(), terms.rate.to_string())
    });
    [
        id.to_string(),
        line.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        line.kind.as_str().to_owned(),
        line.signed_amount(),
        line.balance.to_string(),
        job,
        marked(&line.description),
        line.number.to_string(),
        text(&related.template),
        text(&related.coupon_code),
        currency,
        money,
        rate,
        line.hash.to_string(),
    ]
}

/// A text that a spreadsheet does not take for a formula.
pub fn marked(text: &str) -> String {
    let mark = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{mark}{text}")
}

#[cfg(test)]
mod tests {
    use common::money::credits::Credits;
    use serde_json::json;

    use super::*;
    use crate::api::testing::TestServer;

    async fn sheet(server: &TestServer, key: &str) -> (String, Vec<csv::StringRecord>) {
        let url = format!("{}/v1/wallet/transactions/csv", server.url);
        let asked = server.client.get(url).header("authorization", key).header("accept", MEDIA);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let media = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(rows.headers().unwrap(), &csv::StringRecord::from(COLUMNS.to_vec()));
        (media, rows.records().collect::<std::result::Result<_, _>>().unwrap())
    }

    #[tokio::test]
    async fn statement_sheet_is_complete_and_exact() {
        let server = TestServer::open().await;
        // More than one page of them.
        let n = PAGE + 1;
        for i in 1..=n {
            let amount = Credits::from_units(i.cast_signed()).unwrap();
            let key = format!("grant {i}");
            server.app.coordinator.grant(server.workspace, amount, &key).await.unwrap();
        }

        let (media, rows) = sheet(&server, &server.key).await;
        let (status, inside) = server.get("/v1/wallet/transactions/csv").await;

        assert_eq!((media.as_str(), rows.len() as u64), ("text/csv; charset=utf-8", n));
        let mut balance = 0;
        for (row, i) in rows.iter().rev().zip(1..) {
            balance += i;
            let exact = |units: i64| Credits::from_units(units).unwrap().to_string();
            assert_eq!((&row[3], &row[4]), (exact(i).as_str(), exact(balance).as_str()));
            assert_eq!((&row[2], &row[7]), ("coupon", i.to_string().as_str()));
            assert_eq!(&row[6], "promotional credits");
        }
        assert_eq!((status, &inside["hasMore"]), (200, &json!(false)));
        let lines = inside["csv"].as_str().unwrap().lines().count() as u64;
        assert_eq!(lines, n + 1);
        let stranger = server.stranger().await;
        assert!(sheet(&server, &stranger).await.1.is_empty());
    }

    #[test]
    fn sheet_texts_are_no_formulas() {
        for (text, cell) in
            [("=1+1", "'=1+1"), ("-2", "'-2"), ("@x", "'@x"), ("a, \"b\"", "a, \"b\""), ("", "")]
        {
            assert_eq!(marked(text), cell);
        }
    }

    #[test]
    fn sheet_is_returned_only_on_request() {
        let asked = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            wants_sheet(&headers)
        };

        assert!(asked("text/csv") && asked("application/json;q=0.5, Text/CSV;q=1"));
        assert!(!asked("*/*") && !asked("application/json") && !asked("text/csvx"));
        assert!(!wants_sheet(&HeaderMap::new()));
    }
}
