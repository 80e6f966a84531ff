//! Texts of containers that are known only when a task begins.
//!
//! A specification has any valid text at the place of such a text. So it is checked as any other
//! when the plan is made, and again when the texts are put in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ImageCode, Uncompilable};
use crate::compute::container::{Command, ContainerPath, ContainerSpec, Parts, Program};
use crate::compute::environment::Environment;
use crate::expression::Template;

/// The most such texts of a container.
const TEXTS_MAX: usize = 1_024;

/// A text of a container's specification that is evaluated when its task begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateText {
    pub place: TextPlace,
    pub text: Template,
}

/// Where in a specification a text stands. Programs are numbered from 0: the steps, then those
/// beside them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TextPlace {
    /// A variable of one program, or of all.
    Variable { program: Option<u8>, name: String },
    /// A word of a program's command.
    Word { program: u8, n: u16 },
    /// What is in a file.
    File(ContainerPath),
}

impl TextPlace {
    /// Whether secrets may be put there: a file is written to a node's disk.
    pub(super) const fn may_be_secret(&self) -> bool {
        match self {
            Self::Variable { .. } | Self::Word { .. } => true,
            Self::File(_) => false,
        }
    }
}

impl ImageCode {
    /// The specification with these texts at the places of [`Self::late`], in their order.
    ///
    /// # Errors
    /// A container cannot have such texts.
    pub fn filled(
        &self,
        spec: &ContainerSpec,
        texts: Vec<String>,
    ) -> Result<ContainerSpec, Uncompilable> {
        let mut parts = Parts::clone(spec);
        for (late, text) in self.late.iter().zip(texts) {
            put(&mut parts, &late.place, text)?;
        }
        Ok(ContainerSpec::new(parts)?)
    }

    /// Every place of a late text is in the specification, once.
    pub(super) fn check_late(&self) -> Result<(), Uncompilable> {
        let mut places: Vec<&TextPlace> = self.late.iter().map(|late| &late.place).collect();
        places.sort_unstable();
        if places.len() > TEXTS_MAX || places.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Uncompilable::Late);
        }
        let mut parts = Parts::clone(&self.spec);
        places.into_iter().try_for_each(|place| put(&mut parts, place, "x".to_owned()))
    }
}

fn put(parts: &mut Parts, place: &TextPlace, text: String) -> Result<(), Uncompilable> {
    match place {
        TextPlace::Variable { program: None, name } => {
            set_variable(&mut parts.environment, name, text)
        }
        TextPlace::Variable { program: Some(n), name } => {
            let program = program(parts, *n).ok_or(Uncompilable::Late)?;
            set_variable(&mut program.environment, name, text)
        }
        TextPlace::Word { program: n, n: word } => {
            let command = program(parts, *n).map(|program| &mut program.command);
            let Some(Command::Line(words)) = command else { return Err(Uncompilable::Late) };
            let word = words.get_mut(usize::from(*word)).ok_or(Uncompilable::Late)?;
            *word = text;
            Ok(())
        }
        TextPlace::File(path) => {
            let file = parts.files.get_mut(path).ok_or(Uncompilable::Late)?;
            *file = text;
            Ok(())
        }
    }
}

fn program(parts: &mut Parts, n: u8) -> Option<&mut Program> {
    let sides = parts.sides.iter_mut().map(|side| &mut side.program);
    parts.steps.iter_mut().chain(sides).nth(n.into())
}

fn set_variable(
    environment: &mut Environment,
    name: &str,
    text: String,
) -> Result<(), Uncompilable> {
    let mut variables: BTreeMap<String, String> =
        environment.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.insert(name.to_owned(), text);
    *environment = variables.try_into()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn code(late: Vec<(TextPlace, &str)>) -> ImageCode {
        let text =
            |(place, text): (TextPlace, &str)| LateText { place, text: text.parse().unwrap() };
        ImageCode { late: late.into_iter().map(text).collect(), ..testing::image_code() }
    }

    #[test]
    fn late_texts_are_put_at_their_places() {
        let path: ContainerPath = "/in/a".parse().unwrap();
        let mut code = code(vec![
            (TextPlace::Variable { program: None, name: "ALL".to_owned() }, "{{ tasks.a }}"),
            (TextPlace::Variable { program: Some(0), name: "ONE".to_owned() }, "{{ tasks.a }}"),
            (TextPlace::Word { program: 0, n: 1 }, "{{ tasks.a }}"),
            (TextPlace::File(path.clone()), "{{ tasks.a }}"),
        ]);
        let mut parts = Parts::clone(&code.spec);
        parts.files.insert(path.clone(), String::new());
        code.spec = ContainerSpec::new(parts).unwrap();
        assert_eq!(code.check_late(), Ok(()));

        let texts = ["1", "2", "3", "4"].map(str::to_owned).to_vec();
        let spec = code.filled(&code.spec, texts).unwrap();

        assert_eq!(spec.environment.get("ALL"), Some("1"));
        assert_eq!(spec.steps[0].environment.get("ONE"), Some("2"));
        assert!(matches!(&spec.steps[0].command, Command::Line(words) if words[1] == "3"));
        assert_eq!(spec.files[&path], "4");
        assert!(code.filled(&code.spec, vec!["a\0".to_owned()]).is_err());
    }

    #[test]
    fn late_texts_have_places_that_are_there_once() {
        let variable = |name: &str| TextPlace::Variable { program: None, name: name.to_owned() };
        for places in [
            vec![variable("A"), variable("A")],
            vec![variable("A=")],
            vec![TextPlace::Variable { program: Some(1), name: "A".to_owned() }],
            vec![TextPlace::Word { program: 0, n: 99 }],
            vec![TextPlace::File("/nowhere".parse().unwrap())],
        ] {
            let late = places.into_iter().map(|place| (place, "{{ 1 }}")).collect();
            assert!(code(late).check_late().is_err());
        }
    }
}
