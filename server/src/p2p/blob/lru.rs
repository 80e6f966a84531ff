//! A few things that were used last.

use std::collections::VecDeque;

/// Remembers `max` values, the last used first.
pub struct Recent<K, V> {
    entries: VecDeque<(K, V)>,
    max: usize,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    pub fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), max }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        let at = self.entries.iter().position(|(other, _)| other == key)?;
        let entry = self.entries.remove(at)?;
        let value = entry.1.clone();
        self.entries.push_front(entry);
        Some(value)
    }

    pub fn put(&mut self, key: K, value: V) {
        self.entries.retain(|(other, _)| *other != key);
        self.entries.push_front((key, value));
        self.entries.truncate(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lru_forgets_the_least_recently_used_first() {
        let mut recent = Recent::new(2);
        recent.put('a', 1);
        recent.put('b', 2);

        assert_eq!(recent.get(&'a'), Some(1));
        recent.put('c', 3);

        assert_eq!(
            (recent.get(&'a'), recent.get(&'b'), recent.get(&'c')),
            (Some(1), None, Some(3))
        );
    }
}
