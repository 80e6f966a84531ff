//! Runs the escape kit in containers exactly as a task of a stranger's.

use common::compute::container::{Isolation, Profile};

use crate::guest::ESCAPE_KIT;
use crate::own_task::{self, OwnTask};
use crate::runtime::Ending;

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    /// What the try got, where it was not held.
    pub out: Option<String>,
}

/// The kit did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Task(#[from] own_task::Error),
    #[error("the kit did not come to its end: {0}")]
    Ended(String),
}

/// Runs the escape kit in a container of this profile, and gives what came of each try. A sealed
/// one it tries again where several tasks follow one another in it.
///
/// # Errors
///
/// Where a container cannot be made, or ends before all was tried.
pub async fn escape_kit(profile: Profile) -> Result<Vec<Outcome>, Error> {
    let kit = OwnTask::new(ESCAPE_KIT, profile).await?;
    let tried = tried(&kit, profile).await;
    kit.end().await;
    tried
}

async fn tried(kit: &OwnTask, profile: Profile) -> Result<Vec<Outcome>, Error> {
    let ended = kit.run_apart().await?;
    let mut tried = judged(ended.ending, &kit.said())?;
    if profile == Profile::Sealed
        && let Some(ended) = kit.run_supervised(Isolation::Warm).await?
    {
        let warm = judged(ended.ending, &kit.said())?.into_iter();
        tried.extend(warm.map(|tried| Outcome { name: format!("warm-{}", tried.name), ..tried }));
    }
    Ok(tried)
}

/// What came of each try, if the kit came to its end.
fn judged(ending: Ending, text: &[String]) -> Result<Vec<Outcome>, Error> {
    let tried: Vec<_> = text.iter().map(|line| outcome(line)).collect();
    let any_out = tried.iter().any(|outcome| outcome.out.is_some());
    // One of the tries wants too much memory, and only a failure is judged by that.
    let is_whole =
        matches!(ending, Ending::Exited(0 | 1)) || (ending == Ending::OutOfMemory && any_out);
    if is_whole {
        return Ok(tried);
    }
    Err(Error::Ended(format!("{ending:?} after {:?}", text.last())))
}

/// A line of the kit's: `held NAME`, or `out NAME WHY`.
fn outcome(line: &str) -> Outcome {
    if let Some(name) = line.strip_prefix("held ") {
        return Outcome { name: name.to_owned(), out: None };
    }
    let rest = line.strip_prefix("out ").unwrap_or(line);
    let (name, why) = rest.split_once(' ').unwrap_or((rest, "it does not say why"));
    Outcome { name: name.to_owned(), out: Some(why.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_outcome_is_held_only_if_its_line_says_so() {
        assert_eq!(outcome("held mount"), Outcome { name: "mount".into(), out: None });
        for (line, why) in [("out bpf it is made", "it is made"), ("panic", "it does not say why")]
        {
            assert_eq!(outcome(line).out.as_deref(), Some(why), "{line}");
        }
    }
}
