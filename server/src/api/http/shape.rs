//! The shapes of what goes in, as the OpenAPI documents show them.
//!
//! Bodies are read more tolerantly than they are documented: any spelling of a key, and texts for
//! numbers, as old clients send them.

use serde_json::{Map, Value};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{Ref, RefOr};

/// A field of a body or of a query.
#[derive(Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub about: &'static str,
    /// A value that the page to try things on begins with; empty for none. JSON, unless the kind
    /// is a text's.
    pub example: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Date,
    Integer,
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    Texts,
    /// An object of any keys.
    Map,
    /// Any JSON value.
    Any,
    /// Any JSON value, which nobody reads: published clients send it.
    Unread,
    One(&'static Shape),
    Many(&'static Shape),
}

/// An object of known fields, under a name of its own.
pub struct Shape {
    pub name: &'static str,
    pub fields: &'static [Field],
}

impl Field {
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, required: false, about, example: "" }
    }

    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The same under another name.
    pub const fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

pub const fn text(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Text, about)
}

pub const fn date(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Date, about)
}

pub const fn integer(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Integer, about)
}

pub const fn flag(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Flag, about)
}

pub const fn texts(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Texts, about)
}

pub const fn map(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Map, about)
}

pub const fn one(name: &'static str, shape: &'static Shape, about: &'static str) -> Field {
    Field::new(name, Kind::One(shape), about)
}

/// A field that may be there and takes no part.
pub const fn unread(name: &'static str, about: &'static str) -> Field {
    Field::new(name, Kind::Unread, about)
}

pub const fn word(
    name: &'static str,
    words: &'static [&'static str],
    about: &'static str,
) -> Field {
    Field::new(name, Kind::Word(words), about)
}

impl Kind {
    pub fn schema(self) -> RefOr<Schema> {
        let of = |kind: Type| ObjectBuilder::new().schema_type(kind);
        let plain = |object: ObjectBuilder| RefOr::T(Schema::Object(object.build()));
        match self {
            Self::Text => plain(of(Type::String)),
            Self::Date => plain(
                of(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
            ),
            Self::Integer => plain(of(Type::Integer)),
            Self::Flag => plain(of(Type::Boolean)),
            Self::Word(words) => plain(of(Type::String).enum_values(Some(words.iter().copied()))),
            Self::Texts => {
                let texts = ArrayBuilder::new().items(Self::Text.schema());
                RefOr::T(Schema::Array(texts.build()))
            }
            Self::Map => plain(
                of(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true))),
            ),
            Self::Any | Self::Unread => RefOr::T(Schema::default()),
            Self::One(shape) => RefOr::Ref(Ref::from_schema_name(shape.name)),
            Self::Many(shape) => {
                let items = Ref::from_schema_name(shape.name);
                RefOr::T(Schema::Array(ArrayBuilder::new().items(items).build()))
            }
        }
    }
}

/// The schema of a text that is one of these.
pub fn one_of(words: impl Iterator<Item = &'static str>, about: String) -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    RefOr::T(Schema::Object(object.description(Some(about)).build()))
}

/// The schema of an object of these fields and no others.
pub fn object(fields: &[Field]) -> Schema {
    let none = Some(AdditionalProperties::FreeForm(false));
    let mut object = ObjectBuilder::new().schema_type(Type::Object).additional_properties(none);
    for field in fields {
        object = object.property(field.name, described(field));
        if field.required {
            object = object.required(field.name);
        }
    }
    Schema::Object(object.build())
}

/// An object of the fields that have an example.
///
/// # Panics
///
/// Where an example is not JSON; the tests make every document.
pub fn example(fields: &[Field]) -> Option<Value> {
    let of = |field: &Field| match (field.kind, field.example) {
        (Kind::One(shape), "") => example(shape.fields),
        (Kind::Many(shape), "") => example(shape.fields).map(|one| Value::Array(vec![one])),
        (_, "") => None,
        (Kind::Text | Kind::Date | Kind::Word(_), text) => Some(Value::String(text.to_owned())),
        (_, json) => Some(serde_json::from_str(json).expect("an example is JSON")),
    };
    let found = fields.iter().filter_map(|field| Some((field.name.to_owned(), of(field)?)));
    let found: Map<_, _> = found.collect();
    (!found.is_empty()).then_some(Value::Object(found))
}

/// The field's schema with its words.
fn described(field: &Field) -> RefOr<Schema> {
    let mut schema = field.kind.schema();
    if field.about.is_empty() {
        return schema;
    }
    let about = Some(field.about.to_owned());
    match &mut schema {
        RefOr::T(Schema::Object(object)) => object.description = about,
        RefOr::T(Schema::Array(array)) => array.description = about,
        RefOr::Ref(reference) => reference.description = field.about.to_owned(),
        RefOr::T(_) => {}
    }
    schema
}

/// The named shapes that these fields lead to, each with its schema.
pub fn named(fields: &[Field], found: &mut Vec<(String, RefOr<Schema>)>) {
    for field in fields {
        if let Kind::One(shape) | Kind::Many(shape) = field.kind {
            found.push((shape.name.to_owned(), RefOr::T(object(shape.fields))));
            named(shape.fields, found);
        }
    }
}
