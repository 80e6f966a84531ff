//! Reads the write-ahead log (WAL) of an SQLite database as SQLite would at its next start.
//!
//! SQLite takes the first frame whose checksum is wrong as the end of the log, because a power cut
//! leaves such frames of a transaction that was never acknowledged. Each acknowledged transaction
//! was synced before the next began. So where more than one transaction ends behind a bad frame,
//! acknowledged ones would be lost.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sea_orm::sqlx::sqlite::SqliteConnectOptions;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says in which order the checksum reads its words.
const MAGIC: u32 = 0x377f_0682;
const PAGE_BYTES_MAX: u32 = 65_536;
/// So many logs of a database may lie behind one another in its file.
const OLDER_LOGS_MAX: u32 = 65_536;

/// A WAL with a damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedWal {
    pub file: PathBuf,
    /// Transactions that end behind the damaged place; unknown where the header is damaged.
    pub transactions: Option<u64>,
}

/// The file of an SQLite database; none for another database.
pub fn database_file(url: &str) -> Option<PathBuf> {
    let options =
        SqliteConnectOptions::from_str(url).ok().filter(|_| url.starts_with("sqlite:"))?;
    Some(options.get_filename().to_owned())
}

/// Whether SQLite would silently leave out acknowledged transactions of this database. To be asked
/// before the database is opened.
pub fn damage(url: &str) -> io::Result<Option<DamagedWal>> {
    database_file(url).map_or(Ok(None), |database| damage_of(&database))
}

fn damage_of(database: &Path) -> io::Result<Option<DamagedWal>> {
    let mut file = database.as_os_str().to_owned();
    file.push("-wal");
    let file = PathBuf::from(file);
    let wal = match File::open(&file) {
        Ok(wal) => wal,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match scan(BufReader::with_capacity(1 << 20, wal))? {
        Scan::Header => Some(DamagedWal { file, transactions: None }),
        Scan::Behind(transactions) if transactions > 1 => {
            Some(DamagedWal { file, transactions: Some(transactions) })
        }
        Scan::Behind(_) => None,
    })
}

#[derive(Debug)]
enum Scan {
    /// The header is damaged, and something lies behind it.
    Header,
    /// Transactions that end at or behind the first frame with a wrong checksum.
    Behind(u64),
}

fn scan(mut wal: impl Read) -> io::Result<Scan> {
    let mut header = [0; HEADER];
    if !filled(&mut wal, &mut header)? {
        return Ok(Scan::Behind(0));
    }
    let (magic, page) = (word(&header, 0, true), word(&header, 8, true));
    let big = magic & 1 == 1;
    let mut sum = checksum((0, 0), &header[..24], big);
    let is_header = magic & !1 == MAGIC
        && page.is_power_of_two()
        && (512..=PAGE_BYTES_MAX).contains(&page)
        && sum == (word(&header, 24, true), word(&header, 28, true));
    if !is_header {
        // Of a log that has just been made, a power cut may leave nothing but zeros.
        let is_empty = all_zero(wal)?;
        return Ok(if is_empty { Scan::Behind(0) } else { Scan::Header });
    }
    let (mut intact, mut behind, mut unsalted) = (true, 0, 0);
    let mut frame = vec![0; FRAME_HEADER + page as usize];
    while filled(&mut wal, &mut frame)? {
        let ends_a_transaction = u64::from(word(&frame, 4, true) != 0);
        if is_of_older_log(&header, &frame) {
            // Behind the end of this log, or a frame of its last transaction that a power cut has
            // left unwritten between others of it.
            intact = false;
            continue;
        }
        if frame[8..16] != header[16..24] {
            // Its salt is damaged: where a frame of this log follows, it was one of this log too.
            intact = false;
            unsalted += ends_a_transaction;
            continue;
        }
        if intact {
            sum = checksum(checksum(sum, &frame[..8], big), &frame[FRAME_HEADER..], big);
            intact = sum == (word(&frame, 16, true), word(&frame, 20, true));
        }
        if !intact {
            behind += ends_a_transaction + std::mem::take(&mut unsalted);
        }
    }
    Ok(Scan::Behind(behind))
}

/// Whether a frame was written before the log was started again: each time, the first number of the salt
/// rises by one, and the second is drawn.
fn is_of_older_log(header: &[u8], frame: &[u8]) -> bool {
    let logs_ago = word(header, 16, true).wrapping_sub(word(frame, 8, true));
    (1..=OLDER_LOGS_MAX).contains(&logs_ago) && header[20..24] != frame[12..16]
}

fn all_zero(mut wal: impl Read) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match wal.read(&mut buffer)? {
            0 => return Ok(true),
            n if buffer[..n].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// Four bytes as a number.
fn word(bytes: &[u8], at: usize, big: bool) -> u32 {
    let four = bytes[at..at + 4].try_into().expect("four bytes were taken");
    if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

fn checksum((mut a, mut b): (u32, u32), bytes: &[u8], big: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(pair, 0, big)).wrapping_add(b);
        b = b.wrapping_add(word(pair, 4, big)).wrapping_add(a);
    }
    (a, b)
}

/// Fills the whole buffer; false where the log ends before that.
fn filled(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
