//! Which rows of a list are asked for, and in what order: told in the list's own fields, answered
//! by the database.

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, LikeExpr, NullOrdering, Order, SimpleExpr};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult as _, PaginatorTrait,
    QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait as _, Select,
};
use uuid::Uuid;

/// The most that the texts of one page's rows are, in characters as stored; one row is always
/// given.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// Something that a list can be filtered and sorted by.
pub trait Field: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    /// What no two rows of a list have alike: it breaks the ties that an order leaves.
    const TIES: &'static [(Self, bool)];

    /// How much a row's texts are, as an SQL expression of a BIGINT: it bounds a page.
    const WEIGHT: &'static str;

    fn kind(self) -> Kind;

    /// Whether rows may have no value of it.
    fn is_optional(self) -> bool;

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
    Count,
    /// Credits, kept as units of 1e-8.
    Amount,
    /// One of a few values; its number is kept, and is their order.
    Choice,
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
    pub start: Start,
    pub limit: u64,
}

/// Where a part of a list starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After this many rows, which the database has to count.
    Offset(u64),
    /// After this place, or at the beginning: as quick at the end of a list as at its start, and
    /// no row is seen twice or left out because others came or went.
    Place(Option<Place>),
}

/// A row's place in an order: its value of each of the order's fields, `None` where it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub Vec<Option<Operand>>);

/// The rows of a selection, and what is known of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    pub rows: Vec<T>,
    pub rest: Rest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// This many rows in all, for a selection by offset.
    Total(u64),
    /// The place after which there are more, for one by place.
    After(Option<Place>),
}

impl<F: Field> Selection<F> {
    /// The order with what breaks its ties.
    pub fn strict_order(&self) -> Vec<(F, bool)> {
        let mut order = self.order.clone();
        let untied = |tie: &&(F, bool)| !self.order.iter().any(|(field, _)| *field == tie.0);
        order.extend(F::TIES.iter().filter(untied));
        order
    }
}

impl<T> Found<T> {
    pub fn try_map<U, E>(self, read: impl FnMut(T) -> Result<U, E>) -> Result<Found<U>, E> {
        let rows = self.rows.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Found { rows, rest: self.rest })
    }
}

/// The rows of a selection among `all`.
pub async fn fetch<E: EntityTrait<Model: Send + Sync>, F: Field>(
    db: &impl ConnectionTrait,
    all: Select<E>,
    selection: &Selection<F>,
) -> Result<Found<E::Model>, DbErr> {
    let backend = db.get_database_backend();
    let mut query = all;
    for (field, test) in &selection.tests {
        query = query.filter(holds(field.expr(backend), test, backend));
    }
    let order = selection.strict_order();
    let limit = selection.limit;
    match &selection.start {
        Start::Offset(offset) => {
            let total = query.clone().count(db).await?;
            let query = sorted(query, &order, backend).offset(*offset);
            let n = fitting::<E, F>(db, &query, limit).await?.n;
            Ok(Found { rows: query.limit(n).all(db).await?, rest: Rest::Total(total) })
        }
        Start::Place(place) => {
            if let Some(Place(values)) = place {
                query = query.filter(is_after(&order, values, backend));
            }
            query = sorted(query, &order, backend);
            let Fitting { n, more } = fitting::<E, F>(db, &query, limit).await?;
            for (n, (field, _)) in order.iter().enumerate() {
                query = query.expr_as(read_as(*field, backend), place_column(n));
            }
            let rows = db.query_all(query.limit(n).as_query()).await?;
            let last = rows.last().filter(|_| more);
            let after = last.map(|row| place_of(row, &order)).transpose()?;
            let rows = rows.iter().map(|row| E::Model::from_query_result(row, ""));
            Ok(Found { rows: rows.collect::<Result<_, _>>()?, rest: Rest::After(after) })
        }
    }
}

/// How many rows of a page are given.
struct Fitting {
    n: u64,
    /// Whether there are more behind them.
    more: bool,
}

/// Finds how many rows fit on a page, before any of them is read: a row can have a MiB.
async fn fitting<E: EntityTrait<Model: Send + Sync>, F: Field>(
    db: &impl ConnectionTrait,
    sorted: &Select<E>,
    limit: u64,
) -> Result<Fitting, DbErr> {
    let weights = sorted.clone().select_only().expr_as(Expr::cust(F::WEIGHT), "weight");
    // One more tells whether there are more.
    let rows = db.query_all(weights.limit(limit.saturating_add(1)).as_query()).await?;
    let (mut n, mut bytes) = (0, 0u64);
    for row in &rows {
        let weight: i64 = row.try_get("", "weight")?;
        bytes = bytes.saturating_add(weight.unsigned_abs());
        // A page of one is always given, so that there is a way past every row.
        if n == limit || (n > 0 && bytes > PAGE_BYTES_MAX) {
            break;
        }
        n += 1;
    }
    Ok(Fitting { n, more: rows.len() as u64 > n })
}

fn sorted<E: EntityTrait, F: Field>(
    mut query: Select<E>,
    order: &[(F, bool)],
    backend: DbBackend,
) -> Select<E> {
    for (field, descending) in order {
        let (field, expr) = (*field, field.expr(backend));
        let order = if *descending { Order::Desc } else { Order::Asc };
        query = if field.is_optional() {
            query.order_by_with_nulls(expr, order, NullOrdering::Last)
        } else {
            query.order_by(expr, order)
        };
    }
    query
}

/// Whether a row comes after these values of the order's fields. The first comparison of each
/// field follows from the others, and is what an index can start at.
fn is_after<F: Field>(
    order: &[(F, bool)],
    values: &[Option<Operand>],
    backend: DbBackend,
) -> SimpleExpr {
    let (Some(((field, descending), order)), Some((operand, values))) =
        (order.split_first(), values.split_first())
    else {
        return Expr::value(false);
    };
    let rest = is_after(order, values, backend);
    let expr = || field.expr(backend);
    // Rows without a value are last.
    let Some(operand) = operand else { return expr().is_null().and(rest) };
    let (from, beyond) = if *descending {
        (Comparison::LessOrEqual, Comparison::Less)
    } else {
        (Comparison::GreaterOrEqual, Comparison::Greater)
    };
    let holds = |how| {
        let test = compare(expr(), how, value(operand));
        if field.is_optional() { test.or(expr().is_null()) } else { test }
    };
    holds(from).and(holds(beyond).or(rest))
}

fn place_column(n: usize) -> String {
    format!("place_{n}")
}

/// A field in the one type that its kind is read as.
fn read_as<F: Field>(field: F, backend: DbBackend) -> SimpleExpr {
    let expr = field.expr(backend);
    match field.kind() {
        Kind::Uuid => expr,
        Kind::Text | Kind::Texts => expr.cast_as("text"),
        Kind::Time | Kind::Count | Kind::Amount | Kind::Choice => expr.cast_as("bigint"),
    }
}

fn place_of<F: Field>(row: &QueryResult, order: &[(F, bool)]) -> Result<Place, DbErr> {
    let value = |(n, (field, _)): (usize, &(F, bool))| {
        let column = place_column(n);
        Ok(match field.kind() {
            Kind::Uuid => row.try_get::<Option<_>>("", &column)?.map(Operand::Uuid),
            Kind::Text | Kind::Texts => row.try_get::<Option<_>>("", &column)?.map(Operand::Text),
            Kind::Time | Kind::Count | Kind::Amount | Kind::Choice => {
                row.try_get::<Option<_>>("", &column)?.map(Operand::Number)
            }
        })
    };
    order.iter().enumerate().map(value).collect::<Result<_, _>>().map(Place)
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
