//! What of a stage with others in it is still to come: the blocks of a group, the elements of a list.

use serde::{Deserialize, Serialize};

/// The blocks of a group that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// For each block, of how many others it still waits for the end.
    unmet: Vec<u16>,
    ended: Vec<bool>,
}

/// The elements of a list whose bodies are stages of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elements {
    len: u32,
    /// The first that was never opened.
    next: u32,
    done: u32,
}

impl Members {
    /// `after` has, for each block, the places of those that it comes after.
    pub fn new(after: &[Vec<u16>]) -> Self {
        let count = |places: &Vec<u16>| u16::try_from(places.len()).unwrap_or(u16::MAX);
        Self { unmet: after.iter().map(count).collect(), ended: vec![false; after.len()] }
    }

    /// The places of the blocks that can begin at once.
    pub fn first(&self) -> impl Iterator<Item = usize> {
        (0..self.unmet.len()).filter(|place| self.unmet[*place] == 0)
    }

    /// The block at this place has ended: gives those that can begin because of it.
    pub fn end(&mut self, place: usize, after: &[Vec<u16>]) -> Vec<usize> {
        self.ended[place] = true;
        let mut freed = Vec::new();
        for (n, before) in after.iter().enumerate() {
            let met = before.iter().filter(|before| usize::from(**before) == place).count();
            if met > 0 {
                self.unmet[n] = self.unmet[n].saturating_sub(u16::try_from(met).unwrap_or(1));
                if self.unmet[n] == 0 {
                    freed.push(n);
                }
            }
        }
        freed
    }

    /// Whether the block at this place has been opened and has not ended.
    pub fn is_open(&self, place: usize) -> bool {
        self.unmet.get(place) == Some(&0) && !self.has_ended(place)
    }

    pub fn has_ended(&self, place: usize) -> bool {
        self.ended.get(place) == Some(&true)
    }

    pub fn is_over(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }

    /// How many have ended, and how many there are.
    pub fn done(&self) -> (usize, usize) {
        (self.ended.iter().filter(|ended| **ended).count(), self.ended.len())
    }

    /// Whether it is of a group of this many blocks.
    pub fn is_of(&self, blocks: usize) -> bool {
        self.unmet.len() == blocks && self.ended.len() == blocks
    }
}

impl Elements {
    pub const fn new(len: u32) -> Self {
        Self { len, next: 0, done: 0 }
    }

    /// The next element that may be opened beside those that are open.
    pub fn open_next(&mut self, at_once: u32) -> Option<u32> {
        let may = self.next < self.len && self.next - self.done < at_once;
        may.then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub const fn has_more(&self) -> bool {
        self.next < self.len
    }

    /// How many elements are open.
    pub const fn open(&self) -> u32 {
        self.next - self.done
    }

    /// How many there are.
    pub const fn total(&self) -> u32 {
        self.len
    }

    pub const fn end_one(&mut self) {
        self.done += 1;
    }

    pub const fn is_over(&self) -> bool {
        self.done == self.len
    }

    pub const fn is_whole(&self) -> bool {
        self.done <= self.next && self.next <= self.len
    }
}
