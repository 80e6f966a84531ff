//! Ids as this API writes them: a word, and the UUID in base32.

use common::ids::{JobId, RunId};
use data_encoding::BASE32_NOPAD;
use uuid::Uuid;

const JOB: &str = "job_";
const RUN: &str = "run_";

pub fn job(id: JobId) -> String {
    write(JOB, id.uuid())
}

pub fn run(id: RunId) -> String {
    write(RUN, id.uuid())
}

/// The job of this id; `None` where the text is no id.
pub fn read_job(text: &str) -> Option<JobId> {
    read(JOB, text).map(JobId::new)
}

pub fn read_run(text: &str) -> Option<RunId> {
    read(RUN, text).map(RunId::new)
}

fn write(kind: &str, id: Uuid) -> String {
    format!("{kind}{}", BASE32_NOPAD.encode(id.as_bytes()).to_ascii_lowercase())
}

/// Each id has one spelling.
fn read(kind: &str, text: &str) -> Option<Uuid> {
    let encoded = text.strip_prefix(kind)?;
    if encoded.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(encoded.to_ascii_uppercase().as_bytes()).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quedup_id_reads_back_in_its_one_spelling() {
        let id = JobId::new(Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc));
        let text = job(id);

        assert_eq!(text.len(), "job_".len() + 26);
        assert_eq!(read_job(&text), Some(id));
        let capitals = format!("job_{}", text[4..].to_ascii_uppercase());
        for wrong in
            ["", "job_", "job_a", "run_x", &capitals, &text[..20], &run(RunId::new(id.uuid()))]
        {
            assert_eq!(read_job(wrong), None, "{wrong}");
        }
    }
}
