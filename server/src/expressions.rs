//! Expressions of definitions, evaluated on threads of their own. Each takes a bounded amount of
//! work (`common::expression`), so that a hostile one delays others and harms nothing.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many evaluations are done at once.
const THREADS: usize = 2;

/// Evaluates what only takes work. Clones share its threads; who asks waits for a turn.
#[derive(Clone)]
pub struct Evaluator {
    turns: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
#[error("the evaluation of an expression has failed")]
pub struct Error(#[source] tokio::task::JoinError);

impl Default for Evaluator {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(THREADS)) }
    }
}

impl Evaluator {
    /// What the work gives.
    ///
    /// # Errors
    /// It has ended unexpectedly.
    pub async fn evaluate<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        // The thread holds the turn, so that it counts even where nobody waits for its answer.
        let working = spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await.map_err(Error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::expression::{Fault, Fixed, Scope, Template, evaluate_text};

    use super::*;

    fn text(source: &str) -> impl FnOnce() -> Result<String, Fault> + Send + 'static {
        let template = Template::new(source).unwrap();
        move || evaluate_text(&template, &Scope::default(), &Fixed::default())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn evaluator_delays_others_for_a_bounded_time_by_hostile_expressions() {
        let evaluator = Evaluator::default();
        let hostile = |_| {
            let evaluator = evaluator.clone();
            let source = "{{ map(1..100000, map(1..100000, #)) }}";
            tokio::spawn(async move { evaluator.evaluate(text(source)).await })
        };
        let hostile: Vec<_> = (0..4).map(hostile).collect();

        let other = evaluator.evaluate(text("{{ 1 }}"));
        let answer = tokio::time::timeout(Duration::from_secs(30), other).await.unwrap().unwrap();

        assert_eq!(answer, Ok("1".to_owned()));
        for hostile in hostile {
            assert_eq!(hostile.await.unwrap().unwrap(), Err(Fault::TooMuchWork));
        }
    }

    #[tokio::test]
    async fn evaluator_goes_on_after_work_that_panics() {
        let evaluator = Evaluator::default();
        for _ in 0..4 {
            assert!(evaluator.evaluate(|| panic!("on purpose")).await.is_err());
        }

        assert_eq!(evaluator.evaluate(|| 1).await.ok(), Some(1));
    }
}
