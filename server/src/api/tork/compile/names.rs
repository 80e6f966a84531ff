//! What a document names: secrets, images and queues, and texts that are known when its job is made.

use std::collections::BTreeMap;

use common::compute::image::Reference;
use common::expression::{Fixed, Scope, evaluate_text};
use common::order::container::ImageName;
use common::plan::Name;
use common::run::queue::{InQueue, Label};
use common::secret::{Purpose, SecretId};

use super::{Compiler, Part, QUEUE, read_name, refused, template};
use crate::api::tork::document::{Registry, Task, text};
use crate::error::Result;
use crate::jobs::plans::Secret;

impl Compiler<'_> {
    /// A text that is known when the job is made: its expressions read inputs alone.
    pub(super) fn fixed(&self, part: Part<'_>, place: &str, source: &str) -> Result<String> {
        let template = template(place, source)?;
        if template.is_plain() {
            return Ok(source.to_owned());
        }
        if template.roots().iter().any(|root| *root != "inputs") {
            let why =
                format!("{source:?} must be known when the job is made: it may name inputs only");
            return Err(refused(place, why));
        }
        let mut scope = Scope::default();
        scope.set("inputs", serde_json::json!(part.inputs));
        evaluate_text(&template, &scope, &Fixed::default()).map_err(|fault| refused(place, fault))
    }

    /// The queue that a task stands in; `None` for the one that is always there.
    pub(super) fn queue(
        &mut self,
        part: Part<'_>,
        place: &str,
        task: &Task,
    ) -> Result<Option<InQueue>> {
        let own = Some(text(task.queue.as_ref())).filter(|name| !name.is_empty());
        let name = self.fixed(part, place, own.unwrap_or(text(part.defaults.queue.as_ref())))?;
        if name.is_empty() {
            return Ok(None);
        }
        let name: Label = name.parse().map_err(|error| refused(place, format!("queue {error}")))?;
        let known = self.queues.get(&name).copied();
        if known.is_none() && name.as_str() != QUEUE {
            self.unknown_queues.insert(name);
        }
        Ok(known.map(|id| InQueue { id, timeout_secs: None, pools: Vec::new() }))
    }

    /// Keeps a secret of the job.
    pub(super) fn secret(&mut self, name: &str, value: &str) -> Result<()> {
        let known = read_name("secrets", name)?;
        let id = SecretId::of_order(self.job, &format!("value/{name}"));
        self.names.insert(known, id.clone());
        self.keep(id, Purpose::Other, "", value);
        Ok(())
    }

    /// A sub-job knows the secrets of its job, and more under names of its own.
    pub(super) fn secret_of_child(&mut self, place: &str, name: &str, value: &str) -> Result<()> {
        let known = read_name(place, name)?;
        let plain: String = value.split_whitespace().collect();
        let alias = plain.strip_prefix("{{secrets.").and_then(|rest| rest.strip_suffix("}}"));
        let alias = alias.and_then(|alias| alias.parse::<Name>().ok());
        let id = match alias {
            Some(alias) => self.names.get(&alias).cloned(),
            None if value.contains("{{") => None,
            None => Some(SecretId::of_order(self.job, &format!("value/{name}"))),
        };
        let Some(id) = id else {
            let why = format!("the secret {name} must be a text or one of the job's secrets");
            return Err(refused(place, why));
        };
        match self.names.get(&known) {
            Some(other) if *other != id || !value.contains("{{") => Err(refused(
                place,
                format!("the job has another secret {name}: choose another name"),
            )),
            Some(_) => Ok(()),
            None if value.contains("{{") => {
                self.names.insert(known, id);
                Ok(())
            }
            None => self.secret(name, value),
        }
    }

    pub(super) fn keep(&mut self, id: SecretId, purpose: Purpose, user: &str, value: &str) {
        let secret = Secret {
            id,
            purpose,
            name: String::new(),
            access_key: user.to_owned(),
            params: BTreeMap::new(),
            expires_at: None,
        };
        self.secrets.push((secret, value.to_owned()));
    }

    /// The place of an image among those of the plan.
    pub(super) fn image(
        &mut self,
        part: Part<'_>,
        place: &str,
        name: &str,
        registry: Option<&Registry>,
    ) -> Result<usize> {
        // The published example has a comma behind its image, where no image can have one.
        let name = self.fixed(part, place, name)?.trim_end_matches(',').to_owned();
        let secret = match registry {
            None => None,
            Some(registry) => {
                let image: Reference = name.parse().map_err(|error| refused(place, error))?;
                let purpose = Purpose::Registry { host: image.host };
                let id = SecretId::of_order(self.job, &format!("login/{}", self.secrets.len()));
                let [user, password] =
                    [&registry.username, &registry.password].map(|field| text(field.as_ref()));
                self.keep(id.clone(), purpose, user, password);
                Some(id)
            }
        };
        let image = ImageName { name, secret };
        let known = self.images.iter().position(|known| *known == image);
        Ok(known.unwrap_or_else(|| {
            self.images.push(image);
            self.images.len() - 1
        }))
    }
}
