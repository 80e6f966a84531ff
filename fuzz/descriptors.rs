//! Descriptors of sources and destinations, given to what reads them in the server's API.

use std::fmt::Debug;

use common::package::loose::{Invalid, Loose};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::descriptor::{self, Checked};

/// Whatever the bytes are, nothing panics; what is accepted reads back as it is stored and as it
/// is shown.
pub fn descriptors(bytes: &[u8]) {
    check("dataSource", bytes, descriptor::read_source, descriptor::source_out);
    check("dataDestination", bytes, descriptor::read_destination, descriptor::destination_out);
}

fn check<L: Debug + PartialEq + Serialize + DeserializeOwned>(
    field: &str,
    bytes: &[u8],
    read: fn(Loose) -> Result<Checked<L>, Invalid>,
    out: fn(&L) -> Value,
) {
    let Ok(Checked { location, .. }) = Loose::parse(field, bytes).and_then(read) else { return };

    let stored = serde_json::to_string(&location).expect("a location is JSON");
    let again = serde_json::from_str::<L>(&stored);
    assert_eq!(again.ok().as_ref(), Some(&location), "what is stored reads back");

    let again = Loose::new(field, out(&location)).and_then(read);
    let again = again.map(|checked| checked.location);
    assert_eq!(again.as_ref(), Ok(&location), "what is shown reads back");
}
