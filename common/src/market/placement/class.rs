//! Stages that ask for the same kind of node, in the order in which they get one.
//!
//! Within a class each named queue has a line of its own, and the runs without a queue have one
//! together. A line whose queue hands out nothing is closed as a whole, however many wait in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::kind::Kind;
use super::queue::Place;
use crate::ids::QueueId;

#[derive(Debug)]
pub(super) struct Class {
    pub kind: Kind,
    /// The open stages of this class, whether they have something to hand out or not.
    pub stages: usize,
    lines: BTreeMap<Option<QueueId>, BTreeSet<Place>>,
    /// The first place of each line that is not closed.
    heads: BTreeSet<(Place, Option<QueueId>)>,
}

/// What putting a place into a line, or taking it out, has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineChange {
    /// The line has its first place, or no place any more.
    Appeared,
    Vanished,
    Kept,
}

impl Class {
    pub const fn new(kind: Kind) -> Self {
        Self { kind, stages: 0, lines: BTreeMap::new(), heads: BTreeSet::new() }
    }

    /// The first place of all lines that are not closed.
    pub fn head(&self) -> Option<Place> {
        self.heads.first().map(|(place, _)| *place)
    }

    /// How many wait in this line.
    pub fn len(&self, line: Option<QueueId>) -> usize {
        self.lines.get(&line).map_or(0, BTreeSet::len)
    }

    pub fn line(&self, line: Option<QueueId>) -> impl Iterator<Item = Place> {
        self.lines.get(&line).into_iter().flatten().copied()
    }

    /// Puts a place into a line; `None` if it is there already.
    pub fn put(
        &mut self,
        line: Option<QueueId>,
        place: Place,
        is_closed: bool,
    ) -> Option<LineChange> {
        let places = self.lines.entry(line).or_default();
        let before = places.first().copied();
        if !places.insert(place) {
            return None;
        }
        if !is_closed && before.is_none_or(|before| place < before) {
            before.map(|before| self.heads.remove(&(before, line)));
            self.heads.insert((place, line));
        }
        Some(if before.is_none() { LineChange::Appeared } else { LineChange::Kept })
    }

    /// Takes a place out of a line; `None` if it is not there.
    pub fn remove(
        &mut self,
        line: Option<QueueId>,
        place: Place,
        is_closed: bool,
    ) -> Option<LineChange> {
        let places = self.lines.get_mut(&line)?;
        let was_first = places.first() == Some(&place);
        if !places.remove(&place) {
            return None;
        }
        let next = places.first().copied();
        if was_first && !is_closed {
            self.heads.remove(&(place, line));
            self.heads.extend(next.map(|next| (next, line)));
        }
        if next.is_some() {
            return Some(LineChange::Kept);
        }
        self.lines.remove(&line);
        Some(LineChange::Vanished)
    }

    /// Closes a line. Gives how many wait in it.
    pub fn close(&mut self, line: Option<QueueId>) -> usize {
        let first = self.line(line).next();
        first.map(|first| self.heads.remove(&(first, line)));
        self.len(line)
    }

    /// Opens a closed line. Gives how many wait in it.
    pub fn reopen(&mut self, line: Option<QueueId>) -> usize {
        let first = self.line(line).next();
        self.heads.extend(first.map(|first| (first, line)));
        self.len(line)
    }

    /// The first place between these two that is `fit`, of all lines that are not closed.
    pub fn first(
        &self,
        after: Option<Place>,
        before: Option<Place>,
        fit: impl Fn(&Place) -> bool,
    ) -> Option<Place> {
        let mut best = None;
        for (head, line) in &self.heads {
            let before = best.or(before);
            if before.is_some_and(|before| before < *head) {
                break;
            }
            best = self.first_of(*line, after, before, &fit).or(best);
        }
        best
    }

    /// The first place between these two that is `fit`, of one line.
    pub fn first_of(
        &self,
        line: Option<QueueId>,
        after: Option<Place>,
        before: Option<Place>,
        fit: impl Fn(&Place) -> bool,
    ) -> Option<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.lines.get(&line)?.range((from, Bound::Unbounded)).copied();
        places
            .take_while(|place| before.is_none_or(|before| *place < before))
            .find(|place| fit(place))
    }

    /// The first places of the lines that are not closed, in no order.
    pub fn places(&self, limit: usize) -> impl Iterator<Item = Place> {
        self.heads.iter().flat_map(move |(_, line)| self.line(*line).take(limit))
    }

    /// Each line with how many wait in it.
    pub fn lines(&self) -> impl Iterator<Item = (Option<QueueId>, usize)> {
        self.lines.iter().map(|(line, places)| (*line, places.len()))
    }

    /// Compares the heads with the lines. `is_closed` tells of each line whether it is.
    pub fn check(&self, is_closed: impl Fn(Option<QueueId>) -> bool) -> Result<(), String> {
        let open = self.lines.iter().filter(|(line, _)| !is_closed(**line));
        let heads: BTreeSet<(Place, Option<QueueId>)> =
            open.filter_map(|(line, places)| Some((*places.first()?, *line))).collect();
        if heads == self.heads && self.lines.values().all(|places| !places.is_empty()) {
            Ok(())
        } else {
            Err(format!("the heads of lines are {heads:?}, kept {:?}", self.heads))
        }
    }
}
