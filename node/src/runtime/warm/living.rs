//! How many containers there are of each shape, with or without a task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::protocol::Work;

use super::shape::{Origin, Shape};
use crate::runtime::docker::Image;

/// All containers of a node that stay.
#[derive(Debug, Clone, Default)]
pub struct Living(Arc<Mutex<Vec<Kind>>>);

/// The containers of one shape.
#[derive(Debug)]
struct Kind {
    shape: Shape,
    /// Where its image comes from, where that says which one it is.
    origin: Option<Origin>,
    image: Image,
    count: usize,
}

/// Counts a container as long as it is there.
#[derive(Debug)]
pub struct Alive {
    living: Living,
    shape: Shape,
}

impl Living {
    /// Counts a container more.
    pub fn count(&self, shape: &Shape, work: &Work, image: &Image) -> Alive {
        let mut kinds = self.lock();
        match kinds.iter_mut().find(|kind| kind.shape == *shape) {
            Some(kind) => kind.count += 1,
            None => {
                let (shape, origin, image) = (shape.clone(), Origin::of(work), image.clone());
                kinds.push(Kind { shape, origin, image, count: 1 });
            }
        }
        Alive { living: self.clone(), shape: shape.clone() }
    }

    pub fn has(&self, shape: &Shape) -> bool {
        self.lock().iter().any(|kind| kind.shape == *shape)
    }

    /// The image that containers of this work hold; `None` where there are none, or where the same
    /// name may be another image by now.
    pub fn image(&self, work: &Work) -> Option<Image> {
        let origin = Some(Origin::of(work)?);
        let kinds = self.lock();
        kinds.iter().find(|kind| kind.origin == origin).map(|kind| kind.image.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut kinds = self.living.lock();
        if let Some(kind) = kinds.iter_mut().find(|kind| kind.shape == self.shape) {
            kind.count -= 1;
        }
        kinds.retain(|kind| kind.count > 0);
    }
}
