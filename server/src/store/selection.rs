//! Which rows of a list are asked for, and in what order: told in the list's own fields, answered
//! by the database.

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, LikeExpr, NullOrdering, Order, SimpleExpr};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use uuid::Uuid;

/// Something that a list can be filtered and sorted by.
pub trait Field: Copy + 'static {
    const ALL: &'static [Self];

    /// As the API calls it.
    fn name(self) -> &'static str;

    fn kind(self) -> Kind;

    /// Its value in a row.
    fn expr(self, backend: DbBackend) -> SimpleExpr;
}

/// What a field holds, and so what it can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Uuid,
    /// A time, kept as microseconds since 1970.
    Time,
    /// A time, kept as text that sorts as the times do.
    WrittenTime,
    Count,
    /// Credits, kept as units of 1e-8.
    Amount,
    /// One of these names; its number is kept, and is their order.
    Choice(&'static [&'static str]),
    /// A JSON list of texts.
    Texts,
}

/// A value that a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Text(String),
    Number(i64),
    Uuid(Uuid),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What must hold of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    Compare(Comparison, Operand),
    Unset,
    Set,
    In(Vec<Operand>),
    NotIn(Vec<Operand>),
    /// A pattern with `%` and `_`, without regard to case; `\` escapes.
    Like(String),
    /// Of a list: it has each of these, or one of them.
    HasAll(Vec<String>),
    HasAny(Vec<String>),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection<F> {
    /// All of them must hold.
    pub tests: Vec<(F, Test)>,
    /// The first decides, the next where it leaves a tie; `true` is descending.
    pub order: Vec<(F, bool)>,
    pub offset: u64,
    pub limit: u64,
}

/// The rows of a selection among `all`, and how many there are beyond its page. `last` breaks the
/// ties that are left.
pub async fn fetch<E: EntityTrait<Model: Send + Sync>, F: Field>(
    db: &impl ConnectionTrait,
    all: Select<E>,
    selection: &Selection<F>,
    last: (SimpleExpr, Order),
) -> Result<(Vec<E::Model>, u64), DbErr> {
    let backend = db.get_database_backend();
    let mut query = all;
    for (field, test) in &selection.tests {
        query = query.filter(holds(field.expr(backend), test, backend));
    }
    let total = query.clone().count(db).await?;
    for (field, descending) in &selection.order {
        let order = if *descending { Order::Desc } else { Order::Asc };
        query = query.order_by_with_nulls(field.expr(backend), order, NullOrdering::Last);
    }
    let rows = query
        .order_by(last.0, last.1)
        .offset(selection.offset)
        .limit(selection.limit)
        .all(db)
        .await?;
    Ok((rows, total))
}

fn holds(field: SimpleExpr, test: &Test, backend: DbBackend) -> SimpleExpr {
    let all = |parts: Vec<SimpleExpr>, of: fn(SimpleExpr, SimpleExpr) -> SimpleExpr, none: bool| {
        parts.into_iter().reduce(of).unwrap_or_else(|| Expr::value(none))
    };
    match test {
        Test::Compare(how, operand) => compare(field, *how, value(operand)),
        Test::Unset => field.is_null(),
        Test::Set => field.is_not_null(),
        Test::In(operands) => field.is_in(operands.iter().map(value)),
        // What is unset is none of them.
        Test::NotIn(operands) => {
            let none = field.clone().is_not_in(operands.iter().map(value));
            field.is_null().or(none)
        }
        Test::Like(pattern) => {
            // As far as the database's own `lower` goes.
            let pattern = if backend == DbBackend::Postgres {
                pattern.to_lowercase()
            } else {
                pattern.to_ascii_lowercase()
            };
            SimpleExpr::from(Func::lower(field)).like(LikeExpr::new(pattern).escape('\\'))
        }
        Test::HasAll(texts) => {
            let parts = texts.iter().map(|text| has(&field, text, backend)).collect();
            all(parts, SimpleExpr::and, true)
        }
        Test::HasAny(texts) => {
            let parts = texts.iter().map(|text| has(&field, text, backend)).collect();
            all(parts, SimpleExpr::or, false)
        }
    }
}

fn compare(field: SimpleExpr, how: Comparison, value: SimpleExpr) -> SimpleExpr {
    match how {
        Comparison::Equal => field.eq(value),
        Comparison::NotEqual => field.clone().is_null().or(field.ne(value)),
        Comparison::Greater => field.gt(value),
        Comparison::GreaterOrEqual => field.gte(value),
        Comparison::Less => field.lt(value),
        Comparison::LessOrEqual => field.lte(value),
    }
}

fn value(operand: &Operand) -> SimpleExpr {
    match operand {
        Operand::Text(text) => Expr::value(text.clone()),
        Operand::Number(number) => Expr::value(*number),
        Operand::Uuid(uuid) => Expr::value(*uuid),
    }
}

fn has(list: &SimpleExpr, text: &str, backend: DbBackend) -> SimpleExpr {
    let each = if backend == DbBackend::Postgres {
        "$1 IN (SELECT json_array_elements_text(($2)::json))"
    } else {
        "? IN (SELECT value FROM json_each(?))"
    };
    Expr::cust_with_exprs(each, [Expr::value(text), list.clone()])
}

/// A text inside a column's JSON document, at keys that are ours and never a caller's. It is
/// compared by its bytes.
pub fn json_text(document: &str, key: &str, backend: DbBackend) -> SimpleExpr {
    Expr::cust(if backend == DbBackend::Postgres {
        format!("((({document})::json->>'{key}') COLLATE \"C\")")
    } else {
        format!("json_extract({document}, '$.{key}')")
    })
}
