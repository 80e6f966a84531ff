//! What of a plan depends on expressions, and on which values.

use super::{BlockId, Body, Code, Each, List, Plan};
use crate::expression::Template;

/// A template of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used<'a> {
    pub template: &'a Template,
    /// Secrets may be put into its text.
    pub may_be_secret: bool,
}

impl super::Block {
    /// All its templates.
    pub(super) fn templates(&self) -> Vec<Used<'_>> {
        let open = |template| Used { template, may_be_secret: false };
        let mut found: Vec<Used<'_>> = self.when.iter().map(open).collect();
        match &self.body {
            Body::Each(Each { list: List::Items(list), .. }) => found.push(open(list)),
            Body::Each(Each { list: List::Chunks(_) | List::Copies(_), .. })
            | Body::Group(_)
            | Body::Data(_) => {}
            Body::Child(child) => found.extend(child.inputs.values().map(open)),
            Body::Call(call) => {
                found.extend(call.late_url().map(open));
                let texts = call.late_texts().map(|late| &late.text);
                found.extend(texts.map(|template| Used { template, may_be_secret: true }));
            }
            Body::Container(task) => found.extend(task.container.late().iter().map(|late| Used {
                template: &late.text,
                may_be_secret: late.place.may_be_secret(),
            })),
        }
        found
    }

    /// Whether something of it must be evaluated before it is known what to open.
    fn is_resolved(&self) -> bool {
        let by_body = match &self.body {
            Body::Each(each) => matches!(each.list, List::Items(_)),
            Body::Child(child) => !child.inputs.is_empty(),
            Body::Call(call) => call.late_url().is_some(),
            Body::Group(_) | Body::Container(_) | Body::Data(_) => false,
        };
        self.when.is_some() || by_body
    }

    /// Whether its end has a value, which blocks after it can read.
    pub(super) fn has_value(&self) -> bool {
        match &self.body {
            Body::Container(task) => matches!(task.container.code, Code::Images(_)),
            Body::Call(_) => true,
            Body::Child(child) => !child.detached,
            Body::Group(_) | Body::Each(_) | Body::Data(_) => false,
        }
    }
}

impl Plan {
    /// Whether something of a block must be evaluated before it is known what to open.
    pub fn is_resolved(&self, id: BlockId) -> bool {
        self.block(id).is_resolved()
    }

    /// Whether the elements of a list are tasks of one stage: their body is one task in a
    /// container, and nothing of it is decided for each element.
    pub fn is_collapsed(&self, each: &Each) -> bool {
        let body = self.block(each.body);
        matches!(body.body, Body::Container(_)) && body.when.is_none()
    }

    /// Whether anything of a block's own stage reads values: what is evaluated when it is opened,
    /// or the texts of its tasks.
    pub fn reads_values(&self, id: BlockId) -> bool {
        let inner = match &self.block(id).body {
            Body::Each(each) if self.is_collapsed(each) => {
                !self.block(each.body).templates().is_empty()
            }
            Body::Each(_)
            | Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => false,
        };
        let at_end = id == BlockId::ROOT && self.output().is_some();
        inner || at_end || !self.block(id).templates().is_empty()
    }
}
