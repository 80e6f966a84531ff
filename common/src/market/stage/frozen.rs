//! What the expressions of a stage are evaluated over: all that was known when it was opened. So
//! each attempt, each retry and each restart of the server gets the same texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::Call;
use crate::compute::container::ContainerSpec;
use crate::digest::Digest;
use crate::expression::{
    Fixed, Items, Reads, Scope, Template, evaluate_items, evaluate_text, is_false,
};
use crate::ids::RunId;
use crate::plan::{BlockId, Body, Code, List, Name};
use crate::run::spec::RunSpec;
use crate::run::task::StageNo;
use crate::secret::SecretId;

/// What is decided when a block is opened, as it is stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// Its condition is false.
    #[serde(default)]
    pub is_skipped: bool,
    /// The elements of its list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// What the run is given that it starts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<Name, String>,
    /// Where its call goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the run gives that ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Everything that the expressions of a stage may read.
#[derive(Debug, Clone)]
pub struct Frozen {
    pub run: RunId,
    pub spec: Arc<RunSpec>,
    pub stage: StageNo,
    pub block: BlockId,
    pub(in crate::market) opened_at: DateTime<Utc>,
    /// Everything in the run has ended, and what it gives is asked for.
    pub(in crate::market) is_end: bool,
    /// The values of blocks that have ended.
    pub(in crate::market) values: BTreeMap<Name, Arc<str>>,
    /// The elements that it is in, the innermost last.
    pub(in crate::market) items: Vec<Element>,
    /// The list whose elements its tasks are.
    pub(in crate::market) list: Option<(String, Option<Arc<Resolution>>)>,
}

/// An element of a list.
#[derive(Debug, Clone)]
pub(in crate::market) struct Element {
    /// What expressions call it.
    pub name: String,
    pub index: u32,
    /// The list that it is of; `None` where it has no values.
    pub of: Option<Arc<Resolution>>,
}

/// An expression cannot be evaluated, or gives what its place cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("block {block:?}: {place}: {why}")]
pub struct Fault {
    pub block: String,
    pub place: &'static str,
    pub why: String,
}

impl Resolution {
    /// The element of this number.
    fn value(&self, index: u32) -> Value {
        self.items.as_ref().and_then(|items| items.get(index)).unwrap_or(Value::Null)
    }
}

impl Element {
    fn value(&self) -> Value {
        let value = self.of.as_ref().map_or(Value::Null, |of| of.value(self.index));
        json!({ "index": self.index, "value": value })
    }
}

impl Frozen {
    /// Evaluates what decides how the block is opened, or what its run gives at its end.
    ///
    /// # Errors
    /// An expression fails, or gives what cannot be there.
    pub fn resolve(&self) -> Result<Resolution, Fault> {
        let (scope, fixed) = (self.scope(None, &BTreeMap::new()), self.fixed(None));
        let text = |place: &'static str, template: &Template| {
            evaluate_text(template, &scope, &fixed).map_err(|fault| self.fault(place, &fault))
        };
        let mut resolution = Resolution::default();
        if self.is_end {
            let output = self.spec.plan.output().map(|output| text("output", output));
            resolution.output = output.transpose()?;
            return Ok(resolution);
        }
        let block = self.spec.plan.block(self.block);
        if let Some(when) = &block.when
            && is_false(&text("its condition", when)?)
        {
            resolution.is_skipped = true;
            return Ok(resolution);
        }
        match &block.body {
            Body::Each(each) => {
                if let List::Items(list) = &each.list {
                    let items = evaluate_items(list, &scope, &fixed);
                    let items = items.map_err(|fault| self.fault("its list", &fault))?;
                    resolution.items = Some(items);
                }
            }
            Body::Child(child) => {
                for (name, template) in &child.inputs {
                    resolution.inputs.insert(name.clone(), text("an input", template)?);
                }
            }
            Body::Call(call) => {
                if let Some(url) = call.late_url() {
                    let url = text("its address", url)?;
                    let mut whole = call.call.clone();
                    whole.url.clone_from(&url);
                    whole.check().map_err(|invalid| self.fault("its address", &invalid))?;
                    resolution.url = Some(url);
                }
            }
            Body::Group(_) | Body::Container(_) | Body::Data(_) => {}
        }
        Ok(resolution)
    }

    /// What a node runs for one task of the stage. `secrets` are the values of those that
    /// [`Self::secrets`] names.
    ///
    /// # Errors
    /// An expression fails, or gives what no container can have.
    pub fn container(
        &self,
        index: u32,
        secrets: &BTreeMap<Name, String>,
    ) -> Result<ContainerSpec, Fault> {
        const PLACE: &str = "its container";

        let plan = &self.spec.plan;
        let code = plan.container_task(self.block).map(|task| &task.container.code);
        let (Some(Code::Images(code)), Some(spec)) = (code, plan.container_spec(self.block)) else {
            return Err(self.fault(PLACE, &"has no texts of its own"));
        };
        let (scope, fixed) = (self.scope(Some(index), secrets), self.fixed(Some(index)));
        let texts = code.late.iter().map(|late| evaluate_text(&late.text, &scope, &fixed));
        let texts = texts.collect::<Result<Vec<_>, _>>();
        let texts = texts.map_err(|fault| self.fault(PLACE, &fault))?;
        code.filled(spec, texts).map_err(|error| self.fault(PLACE, &error))
    }

    /// The request that a call of the stage makes, to this address where it is a template.
    ///
    /// # Errors
    /// An expression fails, or gives what no request can have.
    pub fn call(&self, url: Option<&str>, secrets: &BTreeMap<Name, String>) -> Result<Call, Fault> {
        const PLACE: &str = "its call";

        let Some(call) = self.spec.plan.call_task(self.block) else {
            return Err(self.fault(PLACE, &"is not there"));
        };
        let (scope, fixed) = (self.scope(None, secrets), self.fixed(None));
        let texts = call.late_texts().map(|late| evaluate_text(&late.text, &scope, &fixed));
        let texts = texts.collect::<Result<Vec<_>, _>>();
        let texts = texts.map_err(|fault| self.fault(PLACE, &fault))?;
        call.filled(url, texts).map_err(|error| self.fault(PLACE, &error))
    }

    /// The secrets that texts of its tasks read, by the names that its run gives them.
    pub fn secrets(&self) -> Vec<(&Name, &SecretId)> {
        let plan = &self.spec.plan;
        let container = plan.container_task(self.block).map(|task| task.container.late());
        let texts = container.unwrap_or_default().iter().map(|late| &late.text);
        let calls = plan.call_task(self.block).into_iter();
        let calls = calls.flat_map(|call| call.late_texts().map(|late| &late.text));
        let mut names = BTreeSet::new();
        for template in texts.chain(calls) {
            match template.reads("secrets") {
                Reads::Nothing => {}
                Reads::Members(members) => names.extend(members),
                Reads::All => return self.spec.scope.secrets.iter().collect(),
            }
        }
        let own = self.spec.scope.secrets.iter();
        own.filter(|(name, _)| names.contains(name.as_str())).collect()
    }

    fn scope(&self, index: Option<u32>, secrets: &BTreeMap<Name, String>) -> Scope {
        let spec = &self.spec;
        let mut scope = Scope::default();
        scope.set("inputs", json!(spec.scope.inputs));
        scope.set("secrets", json!(secrets));
        let values = self.values.iter().map(|(name, value)| (name.to_string(), json!(**value)));
        scope.set("tasks", Value::Object(values.collect()));
        scope.set("job", json!({ "id": spec.job.to_string(), "name": spec.name }));
        scope.set("event", json!(spec.scope.event));
        let nominal = spec.origin.nominal();
        let nominal = nominal.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        scope.set("run", json!({ "id": self.run.to_string(), "scheduled_for": nominal }));
        for item in &self.items {
            scope.set(&item.name, item.value());
        }
        if let (Some((name, of)), Some(index)) = (&self.list, index) {
            let item = Element { name: name.clone(), index, of: of.clone() };
            scope.set(name, item.value());
        }
        scope
    }

    /// What expressions get for the time and for chance.
    fn fixed(&self, index: Option<u32>) -> Fixed {
        let text = format!("fanfold chance {} {} {index:?}", self.run, self.stage);
        Fixed { now: self.opened_at, seed: *Digest::of(text.as_bytes()).bytes() }
    }

    fn fault(&self, place: &'static str, why: &impl ToString) -> Fault {
        let block = self.spec.plan.block(self.block).name.clone();
        Fault { block, place, why: why.to_string() }
    }
}
