//! The documents of jobs, as their customers write them.
//!
//! Both generations of the format are taken: `volumes`, and `mounts`. What is `None` is not there,
//! or null.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Texts by names; a null is an empty text.
pub type Texts = BTreeMap<String, Option<String>>;

macro_rules! documents {
    ($($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[$attribute])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$kind>,
            )*
        }
    )*};
}

documents! {
    /// A job, or one with a schedule.
    Job {
        name: String,
        description: String,
        tags: Vec<String>,
        schedule: Schedule,
        tasks: Vec<Task>,
        inputs: Texts,
        secrets: Texts,
        output: String,
        defaults: Defaults,
        webhooks: Vec<Webhook>,
        permissions: Vec<Permission>,
        auto_delete: AutoDelete,
        wait: Wait,
    }
    Schedule { cron: String, }
    Wait { timeout: String, }
    AutoDelete { after: String, }
    /// What tasks have that do not say otherwise.
    Defaults {
        retry: Retry,
        limits: Limits,
        timeout: String,
        queue: String,
        priority: i64,
    }
    Retry {
        limit: i64,
        initial_delay: String,
        scaling_factor: i64,
    }
    Limits { cpus: String, memory: String, }
    Webhook {
        url: String,
        headers: Texts,
        event: String,
        #[serde(rename = "if")]
        condition: String,
    }
    Permission { user: String, role: String, }
    Task {
        name: String,
        description: String,
        cmd: Vec<String>,
        entrypoint: Vec<String>,
        run: String,
        image: String,
        registry: Registry,
        env: Texts,
        files: Texts,
        queue: String,
        pre: Vec<Step>,
        post: Vec<Step>,
        sidecars: Vec<Step>,
        mounts: Vec<Mount>,
        volumes: Vec<String>,
        networks: Vec<String>,
        retry: Retry,
        limits: Limits,
        timeout: String,
        var: String,
        #[serde(rename = "if")]
        condition: String,
        parallel: Parallel,
        each: Box<Each>,
        subjob: SubJob,
        gpus: String,
        tags: Vec<String>,
        workdir: String,
        priority: i64,
    }
    /// What runs before, after or beside a task, in a container of its own.
    Step {
        name: String,
        description: String,
        cmd: Vec<String>,
        entrypoint: Vec<String>,
        run: String,
        image: String,
        registry: Registry,
        env: Texts,
        files: Texts,
        timeout: String,
        probe: Probe,
    }
    Probe { path: String, port: i64, timeout: String, }
    Registry { username: String, password: String, }
    Mount {
        #[serde(rename = "type")]
        kind: String,
        source: String,
        target: String,
        opts: Texts,
    }
    Parallel { tasks: Vec<Task>, }
    Each {
        var: String,
        list: String,
        task: Task,
        concurrency: i64,
    }
    SubJob {
        name: String,
        description: String,
        tasks: Vec<Task>,
        inputs: Texts,
        secrets: Texts,
        auto_delete: AutoDelete,
        output: String,
        detached: bool,
        webhooks: Vec<Webhook>,
    }
}

impl Task {
    /// Whether it consists of other tasks.
    pub fn is_composite(&self) -> bool {
        self.parallel.is_some() || self.each.is_some() || self.subjob.is_some()
    }
}

/// A text that may be missing.
pub fn text(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

/// A list that may be missing.
pub fn list<T>(list: Option<&Vec<T>>) -> &[T] {
    list.map_or(&[], Vec::as_slice)
}

/// Texts that may be missing.
pub fn texts(texts: Option<&Texts>) -> impl Iterator<Item = (&str, &str)> {
    let all = texts.into_iter().flatten();
    all.map(|(name, value)| (name.as_str(), text(value.as_ref())))
}
