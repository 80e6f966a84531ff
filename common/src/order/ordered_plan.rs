//! A job that is a whole plan. Other documents of orders compile to it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::container::{ImageName, InvalidOrder};
use crate::call::CallTask;
use crate::money::credits::Credits;
use crate::plan::{Block, Body, Child, Code, Container, ContainerTask, Image, ImageCode, Plan};
use crate::run::queue::InQueue;
use crate::run::spec::RunScope;

/// A plan that is complete but for what its images mean: they are names until a run starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderedPlan {
    /// Each of its images is one of [`Self::image`].
    pub plan: Plan,
    pub images: Vec<ImageName>,
    pub scope: RunScope,
    /// What the customer wrote, as it may be shown again: without the values of secrets.
    pub document: Value,
}

impl OrderedPlan {
    /// What stands in the plan for the image of this place in `images`.
    pub fn image(place: usize) -> Image {
        Image::Local { name: place.to_string() }
    }

    /// The plan of a run.
    ///
    /// # Errors
    /// The plan names an image that is not there.
    pub fn pinned(&self, pins: &Pins<'_>) -> Result<Plan, InvalidOrder> {
        pins.plan(&self.plan)
    }
}

/// What becomes of a plan when its run starts.
#[derive(Debug, Clone, Copy)]
pub struct Pins<'a> {
    /// What its images mean now, in their order.
    pub images: &'a [Image],
    /// Its queues as they are now. One that is not there stays as it was ordered.
    pub queues: &'a [InQueue],
    /// What an attempt has whose task says 0.
    pub timeout_secs: u32,
    /// What each call costs.
    pub call_price: Credits,
}

impl Pins<'_> {
    fn plan(&self, plan: &Plan) -> Result<Plan, InvalidOrder> {
        let block =
            |(_, block): (_, &Block)| Ok(Block { body: self.body(&block.body)?, ..block.clone() });
        let blocks = plan.blocks().map(block).collect::<Result<_, InvalidOrder>>()?;
        let pinned = Plan::new(blocks).expect("a plan is one with other images, too");
        Ok(match plan.output() {
            None => pinned,
            Some(output) => pinned
                .with_output(output.clone())
                .expect("a plan gives the same with other images, too"),
        })
    }

    fn body(&self, body: &Body) -> Result<Body, InvalidOrder> {
        Ok(match body {
            Body::Container(task) => Body::Container(Box::new(self.task(task)?)),
            Body::Child(child) => {
                Body::Child(Box::new(Child { plan: self.plan(&child.plan)?, ..*child.clone() }))
            }
            Body::Call(call) => {
                Body::Call(Box::new(CallTask { price: self.call_price, ..*call.clone() }))
            }
            Body::Group(_) | Body::Each(_) | Body::Data(_) => body.clone(),
        })
    }

    fn task(&self, task: &ContainerTask) -> Result<ContainerTask, InvalidOrder> {
        let timeout_secs = match task.timeout_secs {
            0 => self.timeout_secs,
            secs => secs,
        };
        let as_now = |queue: &InQueue| self.queues.iter().find(|now| now.id == queue.id);
        let queue = task.queue.as_ref().map(|queue| as_now(queue).unwrap_or(queue).clone());
        let Code::Images(code) = &task.container.code else {
            return Ok(ContainerTask { timeout_secs, queue, ..task.clone() });
        };
        let pinned = |image: &Image| {
            let Image::Local { name } = image else { return Ok(image.clone()) };
            let place: Option<usize> = name.parse().ok();
            let found = place.and_then(|place| self.images.get(place));
            found.cloned().ok_or(InvalidOrder::Images)
        };
        let images: Vec<Image> = code.images.iter().map(pinned).collect::<Result<_, _>>()?;
        let is_local = |image: &Image| matches!(image, Image::Local { .. });
        let container = Container {
            own_nodes: task.container.own_nodes || images.iter().any(is_local),
            code: Code::Images(ImageCode { images, ..code.clone() }),
            ..task.container.clone()
        };
        Ok(ContainerTask { container, timeout_secs, queue, ..task.clone() })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::compute::resources::Resources;
    use crate::ids::QueueId;
    use crate::plan::Reads;
    use crate::run::queue::Pool;
    use crate::run::scheduling::TaskPriority;
    use crate::testing;

    fn queue(pools: Vec<Pool>) -> InQueue {
        InQueue { id: QueueId::new(Uuid::from_u128(7)), timeout_secs: None, pools }
    }

    fn pins<'a>(images: &'a [Image], queues: &'a [InQueue]) -> Pins<'a> {
        Pins { images, queues, timeout_secs: 60, call_price: Credits::ZERO }
    }

    fn ordered(place: usize) -> OrderedPlan {
        let code = ImageCode { images: vec![OrderedPlan::image(place)], ..testing::image_code() };
        let task = ContainerTask {
            container: Container {
                code: Code::Images(code),
                secrets: Vec::new(),
                needs: Resources::new(1, 1),
                gpus: Vec::new(),
                own_nodes: false,
            },
            reads: Reads::Nothing,
            queue: Some(queue(Vec::new())),
            timeout_secs: 0,
            retries: 0,
            waits: None,
            require_results: false,
            deterministic: false,
            priority: TaskPriority::default(),
            is_reserved: false,
        };
        let leaf = Plan::new(vec![Block::new("a", Body::Container(Box::new(task)))]).unwrap();
        let child = Child { name: None, plan: leaf, inputs: [].into(), detached: false };
        let plan = Plan::new(vec![Block::new("run", Body::Child(Box::new(child)))]).unwrap();
        let images = vec![ImageName { name: "busybox".to_owned(), secret: None }];
        OrderedPlan { plan, images, scope: RunScope::default(), document: Value::Null }
    }

    #[test]
    fn ordered_plan_pins_the_images_and_queues_of_its_parts_too() {
        let local = Image::Local { name: "busybox:1".to_owned() };

        let (images, queues) = ([local.clone()], [queue(vec![Pool::default()])]);

        let plan = ordered(0).pinned(&pins(&images, &queues)).unwrap();

        let Body::Child(child) = &plan.blocks().next().unwrap().1.body else { panic!() };
        let task = child.plan.container_tasks().next().unwrap();
        assert_eq!(task.container.images(), [local]);
        assert_eq!((task.timeout_secs, task.container.own_nodes), (60, true));
        assert_eq!(task.queue.as_ref(), queues.first());
        assert_eq!(ordered(1).pinned(&pins(&[], &[])), Err(InvalidOrder::Images));
        let text = serde_json::to_string(&ordered(0)).unwrap();
        assert_eq!(serde_json::from_str::<OrderedPlan>(&text).unwrap(), ordered(0));
    }
}
