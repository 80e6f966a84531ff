//! `fanfold node list`, `status`, `remove` and `token`: the nodes of the workspace, wherever they
//! run.

use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::{Table, moment, note};
use crate::client::session::Session;

const PATH: &str = "/v1/dev/nodes";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: String,
    label: String,
    state: String,
    joined_at: String,
    heard_at: Option<String>,
    region: String,
    lends: Option<Resources>,
    used: Option<Resources>,
    gpus: Vec<String>,
    tasks_running: u64,
    tasks_done: u64,
    earned: String,
    idle_reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    cpu_millis: u32,
    memory_mib: u32,
}

impl Resources {
    fn shown(&self) -> String {
        let Self { cpu_millis, memory_mib } = self;
        format!("{}.{:03} CPUs, {memory_mib} MiB", cpu_millis / 1000, cpu_millis % 1000)
    }
}

impl Node {
    fn state(&self) -> String {
        match (self.state.as_str(), &self.heard_at) {
            ("silent", Some(at)) => format!("silent since {}", moment(at)),
            (state, _) => state.to_owned(),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.label.clone(),
            self.state(),
            self.lends.as_ref().map_or_else(String::new, Resources::shown),
            self.tasks_running.to_string(),
            self.tasks_done.to_string(),
            self.earned.clone(),
            self.idle_reason.clone(),
        ]
    }

    fn lines(&self) -> Vec<String> {
        let resources =
            |of: &Option<Resources>| of.as_ref().map_or_else(|| "-".to_owned(), Resources::shown);
        let gpus = if self.gpus.is_empty() { "none".to_owned() } else { self.gpus.join(", ") };
        let mut lines = vec![
            format!("node     {}  {}", self.id, self.label),
            format!("state    {}", self.state()),
            format!("joined   {}", moment(&self.joined_at)),
            format!("region   {}", if self.region.is_empty() { "-" } else { &self.region }),
            format!("lends    {}, GPUs: {gpus}", resources(&self.lends)),
            format!("in use   {}", resources(&self.used)),
            format!("tasks    {} now, {} done", self.tasks_running, self.tasks_done),
            format!(
                "earned   {} credits in all (fanfold wallet balance: what is pending)",
                self.earned
            ),
        ];
        if !self.idle_reason.is_empty() {
            lines.push(format!("no work  {}", self.idle_reason));
        }
        lines
    }
}

pub async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        nodes: Vec<Node>,
    }
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let list: List = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["id", "label", "state", "lends", "running", "done", "earned", "why no work"],
        rows: list.nodes.iter().map(Node::row).collect(),
        empty: "no nodes yet: fanfold node token prints the command with which one joins",
    })
}

/// Shows one node, or all of them where none is named.
pub async fn status(id: Option<&str>, session: &Session) -> Result<(), Failure> {
    let Some(id) = id else { return list(session).await };
    let answer = session.client.get(session.client.url(PATH, &[id])).await?;
    let node: Node = answer.read()?;
    session.output.result(&answer.text, || node.lines())
}

pub async fn remove(id: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.delete(session.client.url(PATH, &[id])).await?;
    session.output.result(&answer.text, || {
        vec![format!("node {id} is removed: the server refuses it from now on")]
    })
}

/// Issues a one-time token, and prints the command with which a node joins by it.
pub async fn token(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Issued {
        token: String,
        servers: Vec<String>,
    }
    let answer = session.client.post(session.client.url(PATH, &["tokens"]), &json!({})).await?;
    let issued: Issued = answer.read()?;
    let is_alone = issued.servers.iter().all(|server| is_local(server));
    let servers: Vec<String> = issued
        .servers
        .iter()
        .filter(|server| is_alone || !is_local(server))
        .map(|server| format!("--server {server} "))
        .collect();
    session.output.result(&answer.text, || {
        let (servers, token) = (servers.concat(), &issued.token);
        vec![format!("fanfold node {servers}--token {token} --data-dir fanfold-node")]
    })?;
    note("run this on the machine of the node within an hour; the token is good for one node");
    if is_alone {
        note(
            "the server listens for nodes of its own machine only: start it with --node-listen (or \
             p2p_listen) /ip4/0.0.0.0/tcp/8701 for others",
        );
    }
    Ok(())
}

/// Whether only nodes of the server's own machine get to this address.
pub fn is_local(address: &str) -> bool {
    ["/ip4/127.", "/ip6/::1/"].iter().any(|local| address.starts_with(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_line_shows_activity_and_reason_for_idleness() {
        let text = r#"{"id":"n","label":"attic","state":"silent","joinedAt":"2026-11-28T10:00:00Z",
            "heardAt":"2026-11-28T11:00:00Z","region":"","lends":null,"used":null,"gpus":[],
            "tasksRunning":0,"tasksDone":3,"earned":"0.5","idleReason":"it is silent"}"#;

        let node: Node = serde_json::from_str(text).unwrap();

        let silent = "silent since 2026-11-28 11:00:00";
        assert_eq!(node.row(), ["n", "attic", silent, "", "0", "3", "0.5", "it is silent"]);
        assert_eq!(node.lines().last().unwrap(), "no work  it is silent");
        let lends = Resources { cpu_millis: 1500, memory_mib: 512 };
        assert_eq!(lends.shown(), "1.500 CPUs, 512 MiB");
    }

    #[test]
    fn address_of_the_own_machine_is_recognised() {
        assert!(is_local("/ip4/127.0.0.1/tcp/8701") && is_local("/ip6/::1/tcp/1"));
        assert!(!is_local("/ip4/192.0.2.1/tcp/8701") && !is_local("/dns4/a/tcp/1"));
    }
}
