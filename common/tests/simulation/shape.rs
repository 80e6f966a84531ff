//! Plans of all shapes: pipelines of templates, and trees of groups, lists and parts.

use std::collections::BTreeMap;

use common::call::{CallPlace, Flow, LateCallText, Rate, Waits};
use common::compute::resources::Resources;
use common::data::location::{Destination, Source};
use common::expression::Template;
use common::ids::WorkspaceId;
use common::plan::{
    Assemble, Assembler, Block, BlockId, Body, Child, Code, Container, ContainerTask, DataTask,
    Each, Group, LateText, Limits, List, Partition, Partitioner, Pipeline, Plan, Reads, TextPlace,
};
use common::run::scheduling::TaskPriority;
use common::testing;

use crate::queues;
use crate::random::Random;

/// Blocks deeper than this are tasks.
const DEPTH: u32 = 3;

/// The plan of a template's run with this many chunks.
pub fn pipeline(chunks: u32, limits: Limits, is_test: bool, random: &mut Random) -> Plan {
    let process = container(random);
    let partition = if random.chance(400) {
        Partition::Custom(Box::new(container(random)))
    } else {
        Partition::Builtin(Partitioner::Replicate { copies: chunks })
    };
    let assemble = if random.chance(400) {
        Assemble::Custom(Box::new(container(random)))
    } else {
        Assemble::Builtin(Assembler::Passthrough)
    };
    let source = source(random);
    let destination = if random.chance(300) { Destination::Bypass } else { Destination::Bucket };
    Pipeline { source, destination, partition, process, assemble, limits, is_test }.plan()
}

/// Without data, the server's steps end as they begin.
fn source(random: &mut Random) -> Source {
    if random.chance(300) { Source::Bypass } else { testing::pipeline().source }
}

/// A tree of anything.
pub fn tree(limits: Limits, workspace: WorkspaceId, random: &mut Random) -> Plan {
    let mut builder = Builder { blocks: Vec::new(), limits, workspace };
    builder.add(DEPTH, false, random);
    Plan::new(builder.blocks).expect("what is built reads only what is there")
}

struct Builder {
    blocks: Vec<Block>,
    limits: Limits,
    workspace: WorkspaceId,
}

fn template(text: &str) -> Template {
    text.parse().expect("a plain expression")
}

impl Builder {
    fn reserve(&mut self) -> BlockId {
        let id = BlockId::new(u16::try_from(self.blocks.len()).expect("a few blocks"));
        let body = Body::Group(Group::parallel(Vec::new()));
        self.blocks.push(Block::new(format!("block {}", id.number()), body));
        id
    }

    fn put(&mut self, id: BlockId, body: Body) {
        self.blocks[usize::from(id.number())].body = body;
    }

    /// Adds a block with everything in it. What is in a list cuts no data.
    fn add(&mut self, depth: u32, in_list: bool, random: &mut Random) -> BlockId {
        let id = self.reserve();
        let body = match random.between(0, 9) {
            0..=3 if depth > 0 => self.group(depth, in_list, random),
            4..=6 if depth > 0 => {
                let body = self.add(depth - 1, true, random);
                Body::Each(each(list(random), body, random))
            }
            7 if depth > 0 && !in_list => part(tree(self.limits, self.workspace, random), random),
            8 if depth > 0 && !in_list => self.cut(random),
            _ if random.chance(350) => call(random),
            _ => self.task(Reads::Nothing, random),
        };
        self.put(id, body);
        if random.chance(100) {
            let when = if random.chance(500) { "{{ 1 > 2 }}" } else { "{{ run.id }}" };
            self.blocks[usize::from(id.number())].when = Some(template(when));
        }
        id
    }

    fn group(&mut self, depth: u32, in_list: bool, random: &mut Random) -> Body {
        let of: Vec<BlockId> =
            (0..random.between(1, 4)).map(|_| self.add(depth - 1, in_list, random)).collect();
        // Each may come after any of those before it.
        let mut all = Vec::new();
        for n in 0..of.len() {
            let before = 0..u16::try_from(n).expect("a few blocks");
            let after: Vec<u16> = before.filter(|_| random.chance(400)).collect();
            if let Some(first) = after.first() {
                self.pass_on(of[usize::from(*first)], of[n], random);
            }
            all.push(after);
        }
        Body::Group(Group { after: all, of })
    }

    /// Lets a block read the value of one before it, where that has one.
    fn pass_on(&mut self, first: BlockId, then: BlockId, random: &mut Random) {
        let name = format!("v{}", first.number());
        let of = |id: BlockId| usize::from(id.number());
        let is_list = |body: &Body| matches!(body, Body::Each(_));
        let has_value = match &self.blocks[of(first)].body {
            Body::Each(each) => gives(&self.blocks[of(each.body)].body),
            body @ (Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_)) => gives(body),
        };
        if !has_value || random.chance(300) {
            return;
        }
        self.blocks[of(first)].var = Some(name.parse().expect("a plain name"));
        let text = format!("{{{{ tasks.{name} }}}}");
        let then = &mut self.blocks[of(then)];
        match &mut then.body {
            Body::Container(task) => {
                if let Code::Images(code) = &mut task.container.code {
                    let place = TextPlace::Variable { program: None, name: "A".to_owned() };
                    code.late = vec![LateText { place, text: template(&text) }];
                }
            }
            Body::Each(each) if matches!(each.list, List::Copies(_)) => {
                each.list = List::Items(template(&text));
            }
            Body::Child(child) => {
                child.inputs.insert("a".parse().expect("a plain name"), template(&text));
            }
            body @ (Body::Group(_) | Body::Each(_) | Body::Data(_) | Body::Call(_)) => {
                let when = format!("{{{{ tasks.{name} != '' }}}}");
                then.when = then.when.take().or_else(|| (!is_list(body)).then(|| template(&when)));
            }
        }
    }

    /// Data is cut, and each chunk worked on.
    fn cut(&mut self, random: &mut Random) -> Body {
        let (cut, list, work) = (self.reserve(), self.reserve(), self.reserve());
        let (source, partitioner) = (source(random), Partitioner::File);
        let task = DataTask::Cut { source, partitioner };
        self.put(cut, Body::Data(Box::new(task)));
        self.put(list, Body::Each(each(List::Chunks(cut), work, random)));
        let body = self.task(Reads::Element, random);
        self.put(work, body);
        Body::Group(Group::sequence(vec![cut, list]))
    }

    fn task(&self, reads: Reads, random: &mut Random) -> Body {
        let code = if reads == Reads::Nothing && random.chance(700) {
            Code::Images(testing::image_code())
        } else {
            testing::container().code
        };
        Body::Container(Box::new(ContainerTask {
            container: Container { code, ..container(random) },
            reads,
            queue: queues::of_task(self.workspace, random),
            timeout_secs: self.limits.task_timeout_secs,
            retries: self.limits.task_retries,
            waits: None,
            require_results: false,
            deterministic: self.limits.deterministic,
            priority: TaskPriority::default(),
            is_reserved: false,
        }))
    }
}

/// Whether a block of this body has a value.
fn gives(body: &Body) -> bool {
    match body {
        Body::Container(task) => task.container.package().is_none(),
        Body::Call(_) => true,
        Body::Child(child) => !child.detached,
        Body::Group(_) | Body::Each(_) | Body::Data(_) => false,
    }
}

fn list(random: &mut Random) -> List {
    match random.between(0, 3) {
        0 => List::Items(template("{{ ['a', 'b', 'c'] }}")),
        1 => List::Items(template("{{ 1..4 }}")),
        _ => List::Copies(random.between(0, 5)),
    }
}

fn part(plan: Plan, random: &mut Random) -> Body {
    let plan = match random.between(0, 2) {
        0 => plan.with_output(template("[1, {{ run.id == '' }}]")).expect("it names what is there"),
        _ => plan,
    };
    let detached = random.chance(200);
    Body::Child(Box::new(Child { name: None, plan, inputs: BTreeMap::new(), detached }))
}

fn call(random: &mut Random) -> Body {
    let host = random.between(0, 2);
    let retries = random.between(0, 6) as usize;
    let mut task = testing::call(&format!("https://host{host}.example/"), retries);
    if let Waits::Table(waits) = &mut task.retry.waits {
        waits.iter_mut().for_each(|secs| *secs = random.between(0, 120));
    }
    if random.chance(300) {
        let number = |n: u32| n.try_into().expect("not zero");
        let rate = Rate { calls: number(random.between(1, 3)), per_secs: number(10) };
        let at_once = Some(number(random.between(1, 2)));
        task.call.flow = Flow { key: None, at_once, rate: Some(rate) };
    }
    if random.chance(200) {
        let text = |place, text| LateCallText { place, text: template(text) };
        task.late = vec![
            text(CallPlace::Url, "https://late.example/{{ job.name }}"),
            text(CallPlace::Body, "{{ secrets.s }}"),
        ];
    }
    Body::Call(Box::new(task))
}

fn each(list: List, body: BlockId, random: &mut Random) -> Each {
    let at_once = random.chance(300).then(|| random.between(1, 3).try_into().expect("not zero"));
    Each { list, item: "item".to_owned(), body, at_once, first: None }
}

fn container(random: &mut Random) -> Container {
    Container {
        needs: Resources::new(random.between(1, 8) * 250, random.between(1, 8) * 128),
        gpus: if random.chance(80) { vec!["Tesla T4".to_owned()] } else { Vec::new() },
        ..testing::container()
    }
}
