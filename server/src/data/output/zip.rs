//! The format of a zip archive whose files are stored as they are, for streams: every piece is
//! final when it is written. No clock is asked, so the same files give the same bytes.

/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 0x0021;
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// Names are UTF-8.
const FLAG_UTF8: u16 = 1 << 11;
/// The checksum follows the data.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Written under Unix, as a plain file that its owner may write and all may read.
const MADE_BY_UNIX: u16 = 0x0300;
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// An archive that is being written: what has gone out, and the directory that comes last.
#[derive(Default)]
pub struct Zip {
    offset: u64,
    directory: Vec<u8>,
    entries: u64,
}

/// A file whose data is going out; it must be ended.
pub struct Entry {
    name: Vec<u8>,
    size: u64,
    offset: u64,
    flags: u16,
}

impl Entry {
    fn version(&self) -> u16 {
        if self.is_zip64() { VERSION_ZIP64 } else { VERSION }
    }

    fn is_zip64(&self) -> bool {
        self.size >= u64::from(u32::MAX)
    }
}

impl Zip {
    /// A whole small file: header and data in one.
    pub fn whole(&mut self, name: &str, data: &[u8]) -> Vec<u8> {
        let crc = crc32fast::hash(data);
        let (mut out, entry) = self.header(name, data.len() as u64, Some(crc));
        out.extend_from_slice(data);
        self.list(&entry, crc);
        out
    }

    /// Starts a file of a known size whose checksum is not known yet. The caller sends the
    /// header, exactly `size` bytes, and then what [`Self::end`] gives.
    pub fn begin(&mut self, name: &str, size: u64) -> (Vec<u8>, Entry) {
        self.header(name, size, None)
    }

    /// Ends a file that was begun.
    pub fn end(&mut self, entry: &Entry, crc: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        put32(&mut out, 0x0807_4b50);
        put32(&mut out, crc);
        for _ in ["compressed", "plain"] {
            if entry.is_zip64() {
                put64(&mut out, entry.size);
            } else {
                put32(&mut out, clamp32(entry.size));
            }
        }
        self.offset += out.len() as u64;
        self.list(entry, crc);
        out
    }

    /// The directory and the records behind it.
    pub fn finish(mut self) -> Vec<u8> {
        let (start, bytes) = (self.offset, self.directory.len() as u64);
        let mut out = std::mem::take(&mut self.directory);
        let small = self.entries < u64::from(u16::MAX)
            && start < u64::from(u32::MAX)
            && bytes < u64::from(u32::MAX);
        if !small {
            self.zip64_end(&mut out, start, bytes);
        }
        let entries = u16::try_from(self.entries).unwrap_or(u16::MAX);
        put32(&mut out, 0x0605_4b50);
        put16(&mut out, 0);
        put16(&mut out, 0);
        put16(&mut out, entries);
        put16(&mut out, entries);
        put32(&mut out, clamp32(bytes));
        put32(&mut out, clamp32(start));
        put16(&mut out, 0);
        out
    }

    fn zip64_end(&self, out: &mut Vec<u8>, start: u64, bytes: u64) {
        put32(out, 0x0606_4b50);
        put64(out, 44);
        put16(out, MADE_BY_UNIX | VERSION_ZIP64);
        put16(out, VERSION_ZIP64);
        put32(out, 0);
        put32(out, 0);
        put64(out, self.entries);
        put64(out, self.entries);
        put64(out, bytes);
        put64(out, start);
        // The locator of the record above.
        put32(out, 0x0706_4b50);
        put32(out, 0);
        put64(out, start + bytes);
        put32(out, 1);
    }

    /// A file's header, and the offset behind its data.
    fn header(&mut self, name: &str, size: u64, crc: Option<u32>) -> (Vec<u8>, Entry) {
        let mut end = name.len().min(usize::from(u16::MAX));
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = name.as_bytes()[..end].to_vec();
        let flags = FLAG_UTF8 | if crc.is_none() { FLAG_DESCRIPTOR } else { 0 };
        let entry = Entry { name, size, offset: self.offset, flags };

        let mut out = Vec::with_capacity(64 + entry.name.len());
        put32(&mut out, 0x0403_4b50);
        put16(&mut out, entry.version());
        put_common(&mut out, &entry, crc.unwrap_or(0));
        put16(&mut out, if entry.is_zip64() { 20 } else { 0 });
        out.extend_from_slice(&entry.name);
        if entry.is_zip64() {
            put16(&mut out, 1);
            put16(&mut out, 16);
            put64(&mut out, size);
            put64(&mut out, size);
        }
        self.offset += out.len() as u64 + size;
        (out, entry)
    }

    /// Adds a file to the directory.
    fn list(&mut self, entry: &Entry, crc: u32) {
        // Only what does not fit the plain fields stands in the extra one, in this order.
        let mut extra = Vec::new();
        if entry.is_zip64() {
            put64(&mut extra, entry.size);
            put64(&mut extra, entry.size);
        }
        if entry.offset >= u64::from(u32::MAX) {
            put64(&mut extra, entry.offset);
        }
        let extra_bytes = u16::try_from(extra.len()).expect("at most three numbers");
        let version = if extra.is_empty() { VERSION } else { VERSION_ZIP64 };

        let out = &mut self.directory;
        put32(out, 0x0201_4b50);
        put16(out, MADE_BY_UNIX | version);
        put16(out, version);
        put_common(out, entry, crc);
        put16(out, if extra.is_empty() { 0 } else { extra_bytes + 4 });
        put16(out, 0);
        put16(out, 0);
        put16(out, 0);
        put32(out, ATTRIBUTES);
        put32(out, clamp32(entry.offset));
        out.extend_from_slice(&entry.name);
        if !extra.is_empty() {
            put16(out, 1);
            put16(out, extra_bytes);
            out.extend_from_slice(&extra);
        }
        self.entries += 1;
    }
}

/// The fields that a file's header and its line in the directory share: flags to name length.
fn put_common(out: &mut Vec<u8>, entry: &Entry, crc: u32) {
    put16(out, entry.flags);
    put16(out, 0);
    put16(out, 0);
    put16(out, DATE);
    put32(out, crc);
    put32(out, clamp32(entry.size));
    put32(out, clamp32(entry.size));
    put16(out, u16::try_from(entry.name.len()).expect("the header cut the name"));
}

/// The number, or the mark that it stands in the extra field.
fn clamp32(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn put16(out: &mut Vec<u8>, n: u16) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zip64_fields_hold_large_files_and_offsets() {
        let size = 5 << 30;
        let mut zip = Zip::default();

        let (header, entry) = zip.begin("large", size);
        let end = zip.end(&entry, 7);
        let second = zip.whole("second", b"x");
        let directory = zip.finish();

        let offset = header.len() as u64 + size + end.len() as u64;
        assert_eq!(header.len(), 30 + 5 + 20);
        assert_eq!(header[18..26], [0xff; 8]);
        assert_eq!(header[39..47], size.to_le_bytes());
        assert_eq!(end.len(), 24);
        assert_eq!(end[8..16], size.to_le_bytes());
        // The second line of the directory carries its offset alone.
        let line = &directory[46 + 5 + 20..];
        assert_eq!(line[..4], 0x0201_4b50_u32.to_le_bytes());
        assert_eq!(line[42..46], [0xff; 4]);
        assert_eq!(line[46 + 6..46 + 6 + 12], [&[1, 0, 8, 0][..], &offset.to_le_bytes()].concat());
        let record = &line[46 + 6 + 12..];
        assert_eq!(record[..4], 0x0606_4b50_u32.to_le_bytes());
        assert_eq!(record[48..56], (offset + second.len() as u64).to_le_bytes());
    }
}
