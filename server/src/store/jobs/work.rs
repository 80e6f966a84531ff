//! What a job does. What only jobs of templates have lies in columns of its own; what those of
//! other kinds do is one document.

use std::borrow::Cow;

use common::data::location::{Destination, DraftSource};
use common::digest::Digest;
use common::order::call::CallWork;
use common::order::container::ContainerWork;
use common::order::ordered_plan::OrderedPlan;
use common::package::config::JobConfig;
use common::package::template::{PhaseParams, Template};
use sea_orm::{DbErr, Set};

use super::row;
use super::{Change, Upload};
use crate::store::corrupt;
use crate::store::query::document;

/// What a job does.
#[derive(Debug, Clone, PartialEq)]
pub enum JobWork {
    /// Cuts data into chunks, and runs the packages of a template on them.
    Template(Box<TemplateWork>),
    /// Makes an HTTP request.
    Call(Box<CallWork>),
    /// Runs programs of images, as one task.
    Container(Box<ContainerWork>),
    /// Runs a whole plan that its customer has ordered.
    Plan(Box<OrderedPlan>),
}

/// The kinds of `JobWork`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    Template,
    Call,
    Container,
    Plan,
}

/// What a customer has said of a job of a template; the template, as it was when the job was made,
/// fills in the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateWork {
    pub template: Template,
    pub source: Option<DraftSource>,
    pub destination: Option<Destination>,
    pub params: PhaseParams,
    pub config: JobConfig,
    /// The uploaded file, once the customer has said that it is complete.
    pub upload: Option<Upload>,
    /// Of the file that the server took in last; `None` where the bucket took it directly.
    pub received: Option<Digest>,
}

impl JobKind {
    pub const ALL: [Self; 4] = [Self::Template, Self::Call, Self::Container, Self::Plan];

    /// The name that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Call => "call",
            Self::Container => "container",
            Self::Plan => "plan",
        }
    }

    /// Whether a job of this kind runs each time that it is started, and can be changed between
    /// its runs.
    pub const fn is_repeatable(self) -> bool {
        match self {
            Self::Template => false,
            Self::Call | Self::Container | Self::Plan => true,
        }
    }
}

impl JobWork {
    /// Work of a template of which nothing else is known.
    pub fn of(template: Template) -> Self {
        Self::Template(Box::new(TemplateWork::new(template)))
    }

    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Template(_) => JobKind::Template,
            Self::Call(_) => JobKind::Call,
            Self::Container(_) => JobKind::Container,
            Self::Plan(_) => JobKind::Plan,
        }
    }

    pub fn template(&self) -> Option<&TemplateWork> {
        match self {
            Self::Template(work) => Some(work),
            Self::Call(_) | Self::Container(_) | Self::Plan(_) => None,
        }
    }

    pub fn call(&self) -> Option<&CallWork> {
        match self {
            Self::Call(work) => Some(work),
            Self::Template(_) | Self::Container(_) | Self::Plan(_) => None,
        }
    }

    pub fn container(&self) -> Option<&ContainerWork> {
        match self {
            Self::Container(work) => Some(work),
            Self::Template(_) | Self::Call(_) | Self::Plan(_) => None,
        }
    }

    pub fn plan(&self) -> Option<&OrderedPlan> {
        match self {
            Self::Plan(work) => Some(work),
            Self::Template(_) | Self::Call(_) | Self::Container(_) => None,
        }
    }

    /// What a job is called that has no name: its template's id, its app, what it calls, or its
    /// image.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Template(work) if work.template.id.is_empty() => {
                work.template.app.as_str().into()
            }
            Self::Template(work) => work.template.id.as_str().into(),
            Self::Call(work) => work.name().into(),
            Self::Container(work) => work.main.image.name.as_str().into(),
            Self::Plan(_) => "plan".into(),
        }
    }
}

impl TemplateWork {
    pub fn new(template: Template) -> Self {
        Self {
            template,
            source: None,
            destination: None,
            params: PhaseParams::default(),
            config: JobConfig::default(),
            upload: None,
            received: None,
        }
    }

    pub fn source(&self) -> Option<&DraftSource> {
        self.source.as_ref().or(self.template.source.as_ref())
    }

    pub fn destination(&self) -> Option<&Destination> {
        self.destination.as_ref().or(self.template.destination.as_ref())
    }

    pub fn params(&self) -> PhaseParams {
        self.template.params.overlaid(&self.params)
    }

    pub fn config(&self) -> JobConfig {
        self.template.config.overlaid(self.config)
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Template(template) => self.template = *template,
            Change::Source(source) => {
                self.source = Some(source);
                self.upload = None;
            }
            Change::Destination(to) => self.destination = Some(to),
            Change::Params(params) => self.params = params,
            Change::Config(config) => self.config = config,
            Change::Uploaded(upload) => self.upload = Some(upload),
            Change::Name(_)
            | Change::Description(_)
            | Change::Priority(_)
            | Change::Regions(_)
            | Change::Tags(_)
            | Change::StartAt(_)
            | Change::Queue(_)
            | Change::Call(_)
            | Change::Container(_)
            | Change::AutoDelete(_)
            | Change::Callbacks(_) => {}
        }
    }
}

/// The columns of the work.
pub(super) fn write(work: &JobWork) -> Result<row::ActiveModel, DbErr> {
    let kind = Set(work.kind().as_str().to_owned());
    match work {
        JobWork::Template(work) => Ok(row::ActiveModel {
            kind,
            work: Set(None),
            template: Set(document::write(&work.template)?),
            source: Set(work.source.as_ref().map(document::write).transpose()?),
            destination: Set(work.destination.as_ref().map(document::write).transpose()?),
            params: Set(document::write(&work.params)?),
            config: Set(document::write(&work.config)?),
            upload_bytes: Set(work.upload.as_ref().map(|upload| upload.size.cast_signed())),
            upload_version: Set(work.upload.as_ref().and_then(Upload::version)),
            received: Set(work.received.map(|digest| digest.to_string())),
            ..unset()
        }),
        JobWork::Call(work) => {
            Ok(row::ActiveModel { kind, work: Set(Some(document::write(work)?)), ..no_template()? })
        }
        JobWork::Plan(work) => {
            Ok(row::ActiveModel { kind, work: Set(Some(document::write(work)?)), ..no_template()? })
        }
        JobWork::Container(work) => {
            Ok(row::ActiveModel { kind, work: Set(Some(document::write(work)?)), ..no_template()? })
        }
    }
}

/// The columns of a template, of a job that has none.
fn no_template() -> Result<row::ActiveModel, DbErr> {
    let template = Template::of(String::new(), String::new(), String::new());
    Ok(row::ActiveModel {
        template: Set(document::write(&template)?),
        source: Set(None),
        destination: Set(None),
        params: Set(document::write(&PhaseParams::default())?),
        config: Set(document::write(&JobConfig::default())?),
        upload_bytes: Set(None),
        upload_version: Set(None),
        received: Set(None),
        ..unset()
    })
}

pub(super) fn read(row: &row::Model) -> Result<JobWork, DbErr> {
    let kind = JobKind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
    match kind.ok_or_else(|| corrupt("kind of job"))? {
        JobKind::Template => Ok(JobWork::Template(Box::new(TemplateWork {
            template: document::read(&row.template)?,
            source: row.source.as_deref().map(document::read).transpose()?,
            destination: row.destination.as_deref().map(document::read).transpose()?,
            params: document::read(&row.params)?,
            config: document::read(&row.config)?,
            upload: row
                .upload_bytes
                .map(|size| Upload::read(size.unsigned_abs(), row.upload_version.as_deref())),
            received: row.received.as_deref().and_then(|digest| digest.parse().ok()),
        }))),
        JobKind::Call => {
            let work = row.work.as_deref().ok_or_else(|| corrupt("work of a job"))?;
            Ok(JobWork::Call(Box::new(document::read(work)?)))
        }
        JobKind::Container => {
            let work = row.work.as_deref().ok_or_else(|| corrupt("work of a job"))?;
            Ok(JobWork::Container(document::read(work)?))
        }
        JobKind::Plan => {
            let work = row.work.as_deref().ok_or_else(|| corrupt("work of a job"))?;
            Ok(JobWork::Plan(document::read(work)?))
        }
    }
}

/// No column: what a job is beside its work is written by `super::write`.
fn unset() -> row::ActiveModel {
    <row::ActiveModel as sea_orm::ActiveModelTrait>::default()
}
