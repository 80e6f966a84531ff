//! From an order to the plan of a run.

use std::collections::BTreeMap;

use super::{ContainerWork, InvalidOrder, OrderedProgram};
use crate::compute::container::{ContainerSpec, Content, Parts, Program, Side};
use crate::compute::environment::Environment;
use crate::data::location::Destination;
use crate::expression::Template;
use crate::plan::{
    Block, BlockId, Body, Code, Container, ContainerTask, DataTask, Group, Image, ImageCode,
    LateText, Phase, Plan, Reads, TextPlace,
};
use crate::run::scheduling::TaskPriority;

/// The name of the variable that holds the path of the folder for results.
pub const RESULTS_VARIABLE: &str = "FANFOLD_RESULTS";
/// Where results lie where the order says nothing.
pub const RESULTS: &str = "/fanfold/results";
/// The name of the block, and of the program among several, that does the work.
const MAIN: &str = "main";

impl ContainerWork {
    /// The plan of a run. `images` are what its names mean now, in the order of
    /// [`Self::images`]; `timeout_secs` is what an attempt has where the order says nothing.
    ///
    /// # Panics
    /// There is not an image for each name.
    pub fn plan(&self, images: Vec<Image>, timeout_secs: u32) -> Plan {
        let task = self.task(images, timeout_secs);
        let block = |phase, body| Block { phase: Some(phase), ..Block::new(MAIN, body) };
        let task = block(Phase::Process, Body::Container(Box::new(task)));
        let blocks = if self.results.is_none() {
            vec![task]
        } else {
            let [of, delivery] = [1, 2].map(BlockId::new);
            let (assembler, destination) = (None, Destination::Bucket);
            let deliver = DataTask::Deliver { of, assembler, destination };
            let root = Body::Group(Group::sequence(vec![of, delivery]));
            vec![
                Block::new("run", root),
                task,
                Block {
                    phase: Some(Phase::Deliver),
                    ..Block::new("delivery", Body::Data(Box::new(deliver)))
                },
            ]
        };
        Plan::new(blocks).expect("a task and its delivery make a plan")
    }

    /// What nodes run of it, with what [`Self::plan`] is given.
    ///
    /// # Panics
    /// There is not an image for each name.
    pub(in crate::order) fn task(&self, images: Vec<Image>, timeout_secs: u32) -> ContainerTask {
        assert_eq!(images.len(), self.images().len(), "each name of an image means one");
        let spec = self.spec().expect("it was checked when it was made");
        let is_local = |image: &Image| matches!(image, Image::Local { .. });
        ContainerTask {
            container: Container {
                own_nodes: self.own_nodes || images.iter().any(is_local),
                code: Code::Images(ImageCode { images, spec, late: self.late_texts() }),
                secrets: self.secrets.iter().map(|id| id.as_str().to_owned()).collect(),
                needs: self.beside.iter().fold(self.needs, |sum, side| sum.plus(side.needs)),
                gpus: self.gpus.clone(),
            },
            reads: Reads::Nothing,
            queue: None,
            timeout_secs: self.timeout_secs.unwrap_or(timeout_secs),
            retries: self.retries,
            waits: None,
            require_results: false,
            deterministic: false,
            priority: TaskPriority::default(),
            is_reserved: false,
        }
    }

    fn late_texts(&self) -> Vec<LateText> {
        let main = u8::try_from(self.before.len()).unwrap_or(u8::MAX);
        let place = |name: &String| TextPlace::Variable { program: Some(main), name: name.clone() };
        let each = |(name, text): (&String, &Template)| LateText {
            place: place(name),
            text: text.clone(),
        };
        self.late.iter().map(each).collect()
    }

    /// What nodes run.
    pub(super) fn spec(&self) -> Result<ContainerSpec, InvalidOrder> {
        let images = self.images();
        let program = |ordered: &OrderedProgram, name: String| -> Result<_, InvalidOrder> {
            let place = images.iter().position(|image| **image == ordered.image);
            let image = place.and_then(|place| u8::try_from(place).ok());
            Ok(Program {
                name: ordered.name.clone().unwrap_or(name),
                image: image.ok_or(InvalidOrder::Images)?,
                command: ordered.command.clone(),
                working_dir: ordered.working_dir.clone(),
                environment: ordered.environment.clone(),
            })
        };
        let numbered = |programs: &[OrderedProgram], name: &str| {
            let programs = (1..).zip(programs);
            let named =
                programs.map(|(n, ordered): (u32, _)| program(ordered, format!("{name}-{n}")));
            named.collect::<Result<Vec<_>, _>>()
        };
        let is_alone = self.programs().count() == 1;
        let main = if is_alone { String::new() } else { MAIN.to_owned() };
        let mut steps = numbered(&self.before, "before")?;
        let mut worker = program(&self.main, main)?;
        if !self.late.is_empty() {
            let known =
                worker.environment.pairs().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let late = self.late.keys().map(|name| (name.clone(), String::new()));
            worker.environment = known.chain(late).collect::<BTreeMap<_, _>>().try_into()?;
        }
        steps.push(worker);
        steps.extend(numbered(&self.after, "after")?);
        let sides = (1..).zip(&self.beside).map(|(n, side): (u32, _)| {
            let program = program(&side.program, format!("beside-{n}"))?;
            Ok(Side { program, needs: side.needs, port: side.port })
        });
        let sides = sides.collect::<Result<_, InvalidOrder>>()?;
        let results = self
            .results
            .clone()
            .unwrap_or_else(|| RESULTS.parse().expect("the folder for results is a plain path"));
        let environment = Environment::of(vec![(RESULTS_VARIABLE, results.as_str().to_owned())])?;
        Ok(ContainerSpec::new(Parts {
            steps,
            sides,
            environment,
            mounts: BTreeMap::from([(Content::Results, results)]),
            shared: self.shared.clone(),
            value: None,
            files: self.files.clone(),
            profile: self.profile,
            network: self.network,
            isolation: self.isolation,
        })?)
    }
}
