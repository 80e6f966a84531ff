//! `fanfold job quote`: what a job is expected to cost, and on what that is based.

use serde::Deserialize;

use super::url;
use crate::client::failure::Failure;
use crate::client::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quote {
    chunks: Option<u64>,
    basis: String,
    basis_runs: u64,
    basis_tasks: u64,
    task_price: String,
    total: Option<String>,
    total_at_most: Option<String>,
    task_secs: u64,
    task_hour_price: String,
    prices: Prices,
    hold: Hold,
    available: String,
    affordable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    cpu_hour: String,
    memory_gib_hour: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hold {
    amount: String,
    per_task: String,
    task_secs: u64,
    tasks: u64,
}

pub async fn run(id: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(url(session, &[id, "quote"])).await?;
    let quote: Quote = answer.read()?;
    session.output.result(&answer.text, || lines(&quote))
}

fn lines(quote: &Quote) -> Vec<String> {
    let Quote { task_price, task_secs, task_hour_price, prices, hold, available, .. } = quote;
    let Hold { amount, per_task, task_secs: reserved, tasks } = hold;
    let (runs, paid) = (quote.basis_runs, quote.basis_tasks);
    let basis = match quote.basis.as_str() {
        "history" => {
            format!("the mean of {paid} paid tasks of the last {runs} runs of the template")
        }
        "sample" => format!("the mean of {paid} paid tasks of this run"),
        _ => format!("assumed, without earlier runs: all that a task may use, for {reserved} s"),
    };
    let expected = match (&quote.total, quote.chunks) {
        (Some(total), Some(chunks)) => format!("{total} credits for {chunks} chunks"),
        _ => format!("{task_price} credits a chunk; only the run will tell how many there are"),
    };
    let mut lines = vec![format!("expected   {expected}"), format!("basis      {basis}")];
    if let Some(most) = &quote.total_at_most {
        lines.push(format!("at most    {most} credits, if every task ran for {task_secs} s"));
    }
    let is_covered = if quote.affordable { "enough" } else { "too little" };
    lines.extend([
        format!("held       {amount} credits: {per_task} for each of {tasks} tasks that run"),
        format!("available  {available} credits: {is_covered}"),
        format!(
            "prices     {} a vCPU·h, {} a GiB·h; a task at most {task_hour_price} an hour",
            prices.cpu_hour, prices.memory_gib_hour
        ),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_names_its_basis() {
        let text = r#"{"chunks":17,"basis":"history","basisRuns":2,"basisTasks":34,
            "taskPrice":"0.00008798","singlePrice":"0.00000000","total":"0.00149558",
            "totalAtMost":"34.00000000","taskSecs":3600,"taskSecsIsLimit":false,
            "taskHourPrice":"2.00000000",
            "prices":{"cpuHour":"0.90110316","memoryGibHour":"0.09889684"},
            "hold":{"amount":"0.03333333","perTask":"0.03333333","taskSecs":60,"tasks":1},
            "available":"9.00000000","affordable":true}"#;

        let lines = lines(&serde_json::from_str(text).unwrap());

        assert_eq!(lines[0], "expected   0.00149558 credits for 17 chunks");
        assert!(lines[1].contains("34 paid tasks of the last 2 runs"), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("0.90110316 a vCPU·h")), "{lines:?}");
    }
}
