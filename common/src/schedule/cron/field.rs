//! The grammar of one field of a cron pattern. What croner would accept in silence (a month's name
//! among the minutes, an empty part of a list) is refused here, with the field's name.

/// One of the five fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub name: &'static str,
    least: u32,
    most: u32,
    /// The names of its values, from `named` on.
    names: &'static [&'static str],
    named: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// `L`, `LW` and `15W`.
    DayOfMonth,
    /// `5L` and `1#2`.
    DayOfWeek,
}

/// The nth weekday of a month.
const NTH_MAX: u32 = 5;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The fields in their order.
pub(super) const FIELDS: [Field; 5] = [
    Field::plain("minute", 0, 59),
    Field::plain("hour", 0, 23),
    Field { kind: Kind::DayOfMonth, ..Field::plain("day of month", 1, 31) },
    Field { names: &MONTHS, named: 1, ..Field::plain("month", 1, 12) },
    Field { names: &WEEKDAYS, kind: Kind::DayOfWeek, ..Field::plain("day of week", 0, 7) },
];

impl Field {
    const fn plain(name: &'static str, least: u32, most: u32) -> Self {
        Self { name, least, most, names: &[], named: 0, kind: Kind::Plain }
    }

    /// Checks the field's text, which is in capitals; says what is wrong with it.
    pub fn check(&self, text: &str) -> Result<(), String> {
        text.split(',').try_for_each(|part| self.check_part(part))
    }

    fn check_part(&self, part: &str) -> Result<(), String> {
        if part.is_empty() {
            return Err("has an empty part in its list".to_owned());
        }
        let Some((range, step)) = part.split_once('/') else {
            return self.check_range(part);
        };
        if range != "*" && !range.contains('-') {
            return Err(format!(
                "`{part}`: a step follows `*` or a range, as in `*/5` or `0-30/5`"
            ));
        }
        let most = self.most;
        if !number(step).is_some_and(|step| (1..=most).contains(&step)) {
            return Err(format!("`{part}`: the step must be a number from 1 to {most}"));
        }
        self.check_range(range)
    }

    fn check_range(&self, text: &str) -> Result<(), String> {
        if text == "*" {
            return Ok(());
        }
        let Some((from, to)) = text.split_once('-') else {
            return self.check_single(text);
        };
        let (from, mut to) = (self.value(from)?, self.value(to)?);
        if self.kind == Kind::DayOfWeek && to == 0 {
            // Sunday ends a week as well as it begins one.
            to = self.most;
        }
        if from > to {
            return Err(format!("`{text}`: the range ends before it begins"));
        }
        Ok(())
    }

    /// A value, or what stands for one in a certain month.
    fn check_single(&self, text: &str) -> Result<(), String> {
        match self.kind {
            Kind::Plain => {}
            Kind::DayOfMonth => {
                if text == "L" || text == "LW" {
                    return Ok(());
                }
                if let Some(day) = text.strip_suffix('W') {
                    return self.value(day).map(|_| ());
                }
            }
            Kind::DayOfWeek => {
                if let Some(day) = text.strip_suffix('L').filter(|day| !day.is_empty()) {
                    return self.value(day).map(|_| ());
                }
                if let Some((day, nth)) = text.split_once('#') {
                    if !number(nth).is_some_and(|nth| (1..=NTH_MAX).contains(&nth)) {
                        let what = format!("a number from 1 to {NTH_MAX} must follow the `#`");
                        return Err(format!("`{text}`: {what}"));
                    }
                    return self.value(day).map(|_| ());
                }
            }
        }
        self.value(text).map(|_| ())
    }

    /// The number that a number or a name stands for.
    fn value(&self, text: &str) -> Result<u32, String> {
        let named = (self.named..).zip(self.names).find(|(_, name)| **name == text);
        let value = named.map(|(value, _)| value).or_else(|| number(text));
        let (least, most) = (self.least, self.most);
        value.filter(|value| (least..=most).contains(value)).ok_or_else(|| {
            let or_name = self
                .names
                .first()
                .map_or(String::new(), |name| format!(", or a name such as {name}"));
            format!("`{text}`: must be a number from {least} to {most}{or_name}")
        })
    }
}

/// A number of few digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}
