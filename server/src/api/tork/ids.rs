//! Ids as this API writes them: the 32 hexadecimal digits of a UUID.

use uuid::Uuid;

pub fn write(id: Uuid) -> String {
    id.simple().to_string()
}

/// The UUID of this text; `None` where it is no id, or another spelling of one.
pub fn read(text: &str) -> Option<Uuid> {
    let id: Uuid = text.parse().ok()?;
    (write(id) == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tork_id_reads_back_in_its_one_spelling() {
        let id = Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc);

        assert_eq!(read(&write(id)), Some(id));
        for wrong in ["", "nope", &id.to_string(), &write(id).to_uppercase()] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
