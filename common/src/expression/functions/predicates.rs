//! Functions that apply a predicate to the elements of a list.

use super::super::Fault;
use super::super::evaluator::{Applied, Evaluation, truth};
use super::super::number;
use super::super::syntax::{Arithmetic, Node};
use super::super::value::Value;
use super::elements::sorted;
use super::{Call, Function, Predicate, Run};

pub(super) const FUNCTIONS: &[Function] = &[
    of_elements("all", |e, call| Ok(positions(e, call)?.is_full().into())),
    of_elements("none", |e, call| Ok(positions(e, call)?.found.is_empty().into())),
    of_elements("any", |e, call| Ok((!positions(e, call)?.found.is_empty()).into())),
    of_elements("one", |e, call| Ok((positions(e, call)?.found.len() == 1).into())),
    of_elements("filter", |e, call| {
        let Positions { found, elements } = positions(e, call)?;
        e.made_list(found.into_iter().map(|place| elements[place].clone()).collect())
    }),
    of_elements("map", |e, call| {
        let mapped = mapped(e, call)?;
        e.made_list(mapped)
    }),
    of_elements("find", |e, call| Ok(positions(e, call)?.first().1)),
    of_elements("findIndex", |e, call| Ok(positions(e, call)?.first().0)),
    of_elements("findLast", |e, call| Ok(positions(e, call)?.last().1)),
    of_elements("findLastIndex", |e, call| Ok(positions(e, call)?.last().0)),
    Function {
        predicate: Predicate::Optional,
        ..of_elements("count", |e, call| Ok(number::of_len(positions(e, call)?.found.len())))
    },
    Function { predicate: Predicate::Optional, ..of_elements("sum", sum) },
    of_elements("groupBy", group_by),
    Function { most: 2, ..of_elements("sortBy", sort_by) },
    Function { most: 2, ..of_elements("reduce", reduce) },
];

const fn of_elements(name: &'static str, run: Run) -> Function {
    Function { name, least: 1, most: 1, predicate: Predicate::Always, run }
}

/// The places of the elements for which a predicate holds.
struct Positions {
    found: Vec<usize>,
    elements: Vec<Value>,
}

impl Positions {
    fn is_full(&self) -> bool {
        self.found.len() == self.elements.len()
    }

    fn at(&self, place: Option<&usize>) -> (Value, Value) {
        place.map_or((Value::Int(-1), Value::Nil), |place| {
            (number::of_len(*place), self.elements[*place].clone())
        })
    }

    fn first(&self) -> (Value, Value) {
        self.at(self.found.first())
    }

    fn last(&self) -> (Value, Value) {
        self.at(self.found.last())
    }
}

fn positions(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Positions, Fault> {
    let elements = call.list(evaluation, 0)?;
    evaluation.spend_items(elements.len())?;
    let elements = elements.to_vec();
    let mut found = Vec::new();
    for (index, value) in elements.iter().enumerate() {
        let holds = apply(evaluation, call.predicate, index, value)?;
        if truth(call.function, &holds)? {
            found.push(index);
        }
    }
    Ok(Positions { found, elements })
}

/// The value of a predicate for an element; the element itself where there is no predicate.
fn apply(
    evaluation: &mut Evaluation<'_>,
    predicate: Option<&Node>,
    index: usize,
    value: &Value,
) -> Result<Value, Fault> {
    let Some(predicate) = predicate else { return Ok(value.clone()) };
    let applied = Applied { value: value.clone(), index, accumulated: Value::Nil };
    evaluation.apply(predicate, applied)
}

fn mapped(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Vec<Value>, Fault> {
    let elements = call.list(evaluation, 0)?;
    let values = elements.iter().enumerate();
    values.map(|(index, value)| apply(evaluation, call.predicate, index, value)).collect()
}

fn sum(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let mut sum = Value::Int(0);
    for value in mapped(evaluation, call)? {
        sum = number::arithmetic(Arithmetic::Add, &sum, &value)
            .unwrap_or_else(|| Err(call.fault("an element is no number")))?;
    }
    Ok(sum)
}

fn group_by(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let elements = call.list(evaluation, 0)?;
    let mut groups = std::collections::BTreeMap::<String, Vec<Value>>::new();
    for (index, value) in elements.iter().enumerate() {
        let key = apply(evaluation, call.predicate, index, value)?;
        let key = evaluation.print(&key)?;
        evaluation.spend_items(1)?;
        groups.entry(key).or_default().push(value.clone());
    }
    let groups = groups.into_iter().map(|(key, group)| Ok((key, Value::list(group)?)));
    Value::map(groups.collect::<Result<_, Fault>>()?)
}

fn sort_by(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let keys = mapped(evaluation, call)?;
    let elements = call.list(evaluation, 0)?;
    let sorted =
        sorted(evaluation, call, keys.into_iter().zip(elements.iter().cloned()).collect())?;
    evaluation.made_list(sorted)
}

fn reduce(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let elements = call.list(evaluation, 0)?;
    let predicate = call.predicate.ok_or_else(|| call.fault("a predicate is missing"))?;
    let (mut accumulated, skipped) = if call.has(1) {
        (call.get(1).clone(), 0)
    } else {
        let first = elements.first().ok_or_else(|| call.fault("the list is empty"))?;
        (first.clone(), 1)
    };
    for (index, value) in elements.iter().enumerate().skip(skipped) {
        let applied = Applied { value: value.clone(), index, accumulated };
        accumulated = evaluation.apply(predicate, applied)?;
    }
    Ok(accumulated)
}
