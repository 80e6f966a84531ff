//! Every line of every statement, one after the other: only its own code can make its hash again.

use common::money::statement::Head;
use sea_orm::{ConnectionTrait, DbErr};

use crate::store::money::statement;

const PAGE: u64 = 4_096;

/// Counts the lines whose balance, and those whose hash, is not what the line before makes it. A
/// line that cannot be read is both.
pub(super) async fn look(db: &impl ConnectionTrait) -> Result<[(&'static str, u64); 2], DbErr> {
    let (mut balances, mut hashes) = (0, 0);
    let (mut after, mut owner, mut head) = (None, None, Head::default());
    loop {
        let page = statement::lines_after(db, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for ((of, _), line) in page {
            if owner != Some(of) {
                (owner, head) = (Some(of), Head::default());
            }
            let Some(line) = line else {
                (balances, hashes) = (balances + 1, hashes + 1);
                continue;
            };
            balances += u64::from(!line.continues(&head));
            hashes += u64::from(line.hash != line.chained(head.hash));
            head = Head::at(&line);
        }
    }
    Ok([
        ("the balance of every line is that of the line before and its amount", balances),
        ("every line is bound to the line before by its hash", hashes),
    ])
}
