//! Expressions of definitions, evaluated on threads of their own. Each takes a bounded amount of
//! work (`common::expression`), so that a hostile one delays others and harms nothing.

use std::sync::Arc;

use common::expression::{
    Fault, Fixed, Items, Scope, Template, evaluate_items, evaluate_text, evaluate_value,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many lists of questions are answered at once.
const THREADS: usize = 2;
/// How many lists of questions may wait or be answered.
const QUEUE_MAX: usize = 1_024;

/// Answers questions for the values of templates. Clones share its threads.
#[derive(Clone)]
pub struct Evaluator {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// What a template gives over a scope.
pub struct Question {
    pub template: Template,
    pub wanted: Wanted,
    pub scope: Arc<Scope>,
    pub fixed: Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Text,
    Value,
    Items,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Text(String),
    Value(serde_json::Value),
    Items(Items),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("too many expressions wait for their evaluation")]
    Busy,
    #[error("the evaluation of an expression has failed")]
    Failed(#[source] tokio::task::JoinError),
}

impl Default for Evaluator {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(QUEUE_MAX)),
            turns: Arc::new(Semaphore::new(THREADS)),
        }
    }
}

impl Evaluator {
    /// The answers to questions, in their order.
    ///
    /// # Errors
    /// Too many wait already, or the evaluation has ended unexpectedly.
    pub async fn evaluate(
        &self,
        questions: Vec<Question>,
    ) -> Result<Vec<Result<Answer, Fault>>, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        // The thread holds the turn, so that it counts even where nobody waits for its answers.
        let answering = spawn_blocking(move || {
            let answers = questions.iter().map(answer).collect();
            drop((turn, place));
            answers
        });
        answering.await.map_err(Error::Failed)
    }
}

fn answer(question: &Question) -> Result<Answer, Fault> {
    let Question { template, wanted, scope, fixed } = question;
    match wanted {
        Wanted::Text => evaluate_text(template, scope, fixed).map(Answer::Text),
        Wanted::Value => evaluate_value(template, scope, fixed).map(Answer::Value),
        Wanted::Items => evaluate_items(template, scope, fixed).map(Answer::Items),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn question(source: &str, wanted: Wanted) -> Question {
        let template = Template::new(source).unwrap();
        Question { template, wanted, scope: Arc::default(), fixed: Fixed::default() }
    }

    #[tokio::test]
    async fn evaluator_answers_in_order() {
        let questions = vec![
            question("a {{ 1 + 1 }}", Wanted::Text),
            question("{{ [1] }}", Wanted::Value),
            question("{{ 1..3 }}", Wanted::Items),
            question("{{ nosuch }}", Wanted::Text),
        ];

        let answers = Evaluator::default().evaluate(questions).await.unwrap();

        let expected = [
            Ok(Answer::Text("a 2".to_owned())),
            Ok(Answer::Value(serde_json::json!([1]))),
            Ok(Answer::Items(Items::Numbers { from: 1, len: 3 })),
            Err(Fault::UnknownName("nosuch".to_owned())),
        ];
        assert_eq!(answers, expected);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hostile_expressions_delay_others_for_a_bounded_time() {
        let evaluator = Evaluator::default();
        let hostile = |_| {
            let evaluator = evaluator.clone();
            let source = "{{ map(1..100000, map(1..100000, #)) }}";
            tokio::spawn(
                async move { evaluator.evaluate(vec![question(source, Wanted::Text)]).await },
            )
        };
        let hostile: Vec<_> = (0..4).map(hostile).collect();

        let other = evaluator.evaluate(vec![question("{{ 1 }}", Wanted::Text)]);
        let answers = tokio::time::timeout(Duration::from_secs(30), other).await.unwrap().unwrap();

        assert_eq!(answers, [Ok(Answer::Text("1".to_owned()))]);
        for hostile in hostile {
            assert_eq!(hostile.await.unwrap().unwrap(), [Err(Fault::TooMuchWork)]);
        }
    }

    #[tokio::test]
    async fn evaluator_refuses_what_exceeds_its_queue() {
        let evaluator = Evaluator { places: Arc::new(Semaphore::new(0)), ..Evaluator::default() };

        let refused = evaluator.evaluate(vec![question("1", Wanted::Text)]).await;

        assert!(matches!(refused, Err(Error::Busy)));
    }
}
