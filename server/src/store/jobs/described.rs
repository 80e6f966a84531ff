//! What a customer says of a job that its work does not need.

/// How urgent a job is. It is kept and shown; placement treats all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Undefined,
    Cheap,
    Balanced,
    Fast,
}

/// Where a job may run. It is kept and shown; nodes do not say where they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Regions {
    pub whitelist: Vec<String>,
    pub blacklist: Vec<String>,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Undefined, Self::Cheap, Self::Balanced, Self::Fast];
    /// The documented names, in the order of `ALL`.
    pub const NAMES: [&'static str; 4] = [
        "EXECUTION_PRIORITY_UNDEFINED",
        "EXECUTION_PRIORITY_CHEAP",
        "EXECUTION_PRIORITY_BALANCED",
        "EXECUTION_PRIORITY_FAST",
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undefined => Self::NAMES[0],
            Self::Cheap => Self::NAMES[1],
            Self::Balanced => Self::NAMES[2],
            Self::Fast => Self::NAMES[3],
        }
    }

    /// Reads the documented name, or its last word.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_uppercase();
        let word = format!("EXECUTION_PRIORITY_{name}");
        Self::ALL.into_iter().find(|known| [&name, &word].iter().any(|is| *is == known.as_str()))
    }

    pub(super) const fn number(self) -> i16 {
        match self {
            Self::Undefined => 0,
            Self::Cheap => 1,
            Self::Balanced => 2,
            Self::Fast => 3,
        }
    }

    pub(super) fn from_number(number: i16) -> Self {
        Self::ALL.into_iter().find(|known| known.number() == number).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_reads_back_in_both_spellings() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_name(priority.as_str()), Some(priority));
            assert_eq!(Priority::from_number(priority.number()), priority);
        }
        assert_eq!(Priority::from_name("fast"), Some(Priority::Fast));
        assert_eq!(Priority::from_name(""), None);
        assert_eq!(Priority::from_name("PRIORITY_FAST"), None);
    }
}
