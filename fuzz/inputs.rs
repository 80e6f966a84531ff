//! What strangers send, given to what reads it. Whatever the bytes are, nothing panics, hangs or
//! takes more memory than its limit; what is accepted reads back as it was.
#![allow(dead_code, reason = "each fuzz target uses one of them, the replay of the corpus all")]

use common::data::chunk_table::ChunkTable;
use common::expression::{self, Fixed, Scope, Template};
use common::order::workflow::WorkflowWork;
use common::package::archive;
use common::package::manifest::Manifest;
use common::protocol::frame::{self, HEAD_BYTES};
use common::protocol::{BlobReply, BlobRequest, InputFile, Receipt, ReceiptSignature};

/// Frames of the blob protocol, as both sides read them.
pub fn frames(bytes: &[u8]) {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return };
    let _ = frame::length(*head);
    if let Ok(request) = frame::decode::<BlobRequest>(body) {
        let again = frame::encode(&request).expect("what was read from a frame fits one");
        let read = frame::decode::<BlobRequest>(&again[HEAD_BYTES..]);
        assert_eq!(read.as_ref().ok(), Some(&request));
    }
    let _ = frame::decode::<BlobReply>(body);
    let _ = frame::decode::<InputFile>(body);
}

/// Receipts, once their signature is good, and what stands beside them as their signature.
pub fn receipts(bytes: &[u8]) {
    if let Some(signature) = ReceiptSignature::read(bytes) {
        let _ = signature.signed_bytes(bytes);
    }
    let Ok((receipt, [])) = postcard::take_from_bytes::<Receipt>(bytes) else { return };
    let again = postcard::to_stdvec(&receipt).expect("what was read can be written");
    assert_eq!(postcard::from_bytes::<Receipt>(&again).as_ref(), Ok(&receipt));
}

/// A package's manifest.json.
pub fn manifests(bytes: &[u8]) {
    let _ = Manifest::parse(bytes);
}

/// A package's archive, as it is checked at the push.
pub fn archives(bytes: &[u8]) {
    let Ok(checked) = archive::check(bytes) else { return };
    if let Some(rewritten) = checked.rewritten {
        let again = archive::check(&rewritten).expect("what is kept is an archive");
        assert!(again.login.is_none(), "no login is kept");
    }
    let _ = archive::sample(bytes);
}

/// Job files, as the server and the command line read them.
pub fn job_files(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(work) = WorkflowWork::read(text) else { return };
    let ordered = work.ordered();
    let _ = ordered.plan.estimate(&ordered.scope.inputs, 60);
    let again = serde_json::to_vec(&work).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<WorkflowWork>(&again).ok(), Some(work));
}

/// Texts with expressions, over values that they may read.
pub fn expressions(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(template) = Template::new(text) else { return };
    let mut scope = Scope::default();
    scope.set("inputs", serde_json::json!({"n": "7", "name": "anna", "list": "[1, \"b\"]"}));
    scope.set("tasks", serde_json::json!({"template": "{{ secrets.key }}"}));
    scope.set("item", serde_json::json!({"index": 3, "value": {"size": 5, "none": null}}));
    let fixed = Fixed::default();
    let given = expression::evaluate_text(&template, &scope, &fixed);
    if let Ok(given) = &given {
        assert!(template.is_plain() || given.len() <= expression::RESULT_BYTES_MAX);
    }
    assert_eq!(given, expression::evaluate_text(&template, &scope, &fixed));
    let _ = expression::evaluate_items(&template, &scope, &fixed);
    assert_eq!(Template::new(template.source()).as_ref(), Ok(&template));
}

/// Chunk tables, as the database gives them back.
pub fn chunk_tables(bytes: &[u8]) {
    let Ok(table) = postcard::from_bytes::<ChunkTable>(bytes) else { return };
    let chunks = table.len();
    for index in (0..chunks.min(64)).chain(chunks.saturating_sub(64)..=chunks) {
        let _ = table.get(index);
    }
}
