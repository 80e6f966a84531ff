//! What an object is, by its first bytes: text and how its lines end, or something that has no
//! lines.

/// What the first bytes of an object say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, as far as can be seen; its lines end so.
    Text(LineEnd),
    /// An archive, an image and the like, which no line end divides.
    NoText,
}

/// The bytes that end a line, and where they can stand: at multiples of their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    Lf,
    /// Of a file that has no line feed at all.
    Cr,
    Utf16Le,
    Utf16Be,
    Utf32Le,
    Utf32Be,
}

impl LineEnd {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Cr => b"\r",
            Self::Utf16Le => b"\n\0",
            Self::Utf16Be => b"\0\n",
            Self::Utf32Le => b"\n\0\0\0",
            Self::Utf32Be => b"\0\0\0\n",
        }
    }

    /// The bytes of one unit of the text.
    pub const fn width(self) -> usize {
        self.bytes().len()
    }

    /// Behind the first line end in a piece that begins at a unit's border.
    pub fn find(self, piece: &[u8]) -> Option<usize> {
        match self.bytes() {
            [byte] => memchr::memchr(*byte, piece).map(|at| at + 1),
            end => {
                let mut units = piece.chunks_exact(end.len());
                units.position(|unit| unit == end).map(|n| (n + 1) * end.len())
            }
        }
    }
}

/// Looks at the first bytes of an object.
pub fn kind(head: &[u8]) -> Kind {
    // The longest mark first: that of UTF-32 begins as one of UTF-16.
    let marks: [(&[u8], LineEnd); 5] = [
        (b"\xff\xfe\0\0", LineEnd::Utf32Le),
        (b"\0\0\xfe\xff", LineEnd::Utf32Be),
        (b"\xff\xfe", LineEnd::Utf16Le),
        (b"\xfe\xff", LineEnd::Utf16Be),
        (b"\xef\xbb\xbf", LineEnd::Lf),
    ];
    if let Some((_, end)) = marks.into_iter().find(|(mark, _)| head.starts_with(mark)) {
        return Kind::Text(end);
    }
    if is_packed(head) {
        return Kind::NoText;
    }
    Kind::Text(without_mark(head))
}

/// The line end of text without a byte order mark: Latin text in UTF-16 has a zero in every
/// second byte.
fn without_mark(head: &[u8]) -> LineEnd {
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), head.len() / 2);
    match (even, odd) {
        (0, high) if pairs > 0 && high * 2 > pairs => LineEnd::Utf16Le,
        (high, 0) if pairs > 0 && high * 2 > pairs => LineEnd::Utf16Be,
        _ => LineEnd::Lf,
    }
}

/// What files begin with that are no text: where, and the bytes.
const MAGIC: &[(usize, &[u8])] = &[
    // Packed files and archives.
    (0, b"\x1f\x8b"),
    (0, b"\x1f\x9d"),
    (0, b"PK\x03\x04"),
    (0, b"PK\x05\x06"),
    (0, b"PK\x07\x08"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x5d\0\0"),
    (0, b"\x04\x22\x4d\x18"),
    (0, b"\x02\x21\x4c\x18"),
    (0, b"\xff\x06\0\0sNaPpY"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\x07"),
    (0, b"!<arch>\n"),
    (0, b"\xed\xab\xee\xdb"),
    (0, b"MSCF\0\0\0\0"),
    (257, b"ustar"),
    // Tables and numbers.
    (0, b"Obj\x01"),
    (0, b"ARROW1\0\0"),
    (0, b"\x89HDF\r\n\x1a\n"),
    (0, b"CDF\x01"),
    (0, b"CDF\x02"),
    (0, b"\x93NUMPY"),
    (0, b"SQLite format 3\0"),
    (128, b"DICM"),
    // Documents and media.
    (0, b"%PDF-"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"\0\0\x01\0"),
    (0, b"\x1a\x45\xdf\xa3"),
    (4, b"ftyp"),
    // Programs.
    (0, b"\x7fELF"),
    (0, b"\0asm"),
    (0, b"\xca\xfe\xba\xbe"),
    (0, b"\xcf\xfa\xed\xfe"),
];

/// The same of those that a text could begin with too.
const LETTERS: &[&[u8]] = &[
    b"PAR1", b"PARE", b"ORC", b"BZh", b"LZIP", b"FEA1", b"RIFF", b"OggS", b"fLaC", b"ID3", b"BM",
    b"MZ", b"8BPS", b"FORM", b"PACK",
];

fn is_packed(head: &[u8]) -> bool {
    let at = |from: usize, magic: &[u8]| head.get(from..).is_some_and(|h| h.starts_with(magic));
    let skippable = head.first().is_some_and(|byte| byte >> 4 == 5) && at(1, b"\x2a\x4d\x18");
    skippable
        || MAGIC.iter().any(|(from, magic)| at(*from, magic))
        || (LETTERS.iter().any(|magic| at(0, magic)) && head.iter().any(|byte| is_no_text(*byte)))
}

/// Control characters that no text has.
const fn is_no_text(byte: u8) -> bool {
    matches!(byte, 0..=6 | 14..=26 | 28..=31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn text_says_how_its_lines_end() {
        let (le, be) = (u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes as _);
        let utf32: Vec<u8> = "\u{feff}a\n".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        let utf32_be: Vec<u8> =
            "\u{feff}a\n".chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
        for (head, end) in [
            (b"a,b\n1,2\n".to_vec(), LineEnd::Lf),
            (Vec::new(), LineEnd::Lf),
            (b"a".to_vec(), LineEnd::Lf),
            ("\u{feff}a;ü\r\n".as_bytes().to_vec(), LineEnd::Lf),
            (utf16("\u{feff}上上\n", le), LineEnd::Utf16Le),
            (utf16("\u{feff}上上\n", be), LineEnd::Utf16Be),
            (utf16("name,price\n", le), LineEnd::Utf16Le),
            (utf16("name,price\n", be), LineEnd::Utf16Be),
            (utf32, LineEnd::Utf32Le),
            (utf32_be, LineEnd::Utf32Be),
            // A log whose end was never written.
            (b"2026-01-01 start\n\0\0\0\0".to_vec(), LineEnd::Lf),
        ] {
            assert_eq!(kind(&head), Kind::Text(end), "{head:?}");
        }
    }

    #[test]
    fn packed_files_and_images_are_no_text() {
        for head in [
            &b"\x1f\x8b\x08\0"[..],
            b"PK\x03\x04\x14\0",
            b"\x28\xb5\x2f\xfd\x24",
            b"\x53\x2a\x4d\x18\0\0",
            b"\xfd7zXZ\0\0",
            b"BZh91AY&SY\x01\x02",
            b"\x04\x22\x4d\x18d",
            b"PAR1\x15\x04\x15",
            b"ORC\x11\0\0",
            b"Obj\x01\x04",
            b"%PDF-1.7\n",
            b"\x89PNG\r\n\x1a\n\0",
            b"\xff\xd8\xff\xe0",
            b"RIFF\x24\0\0\0WAVE",
            b"\0\0\0\x20ftypisom",
        ] {
            assert_eq!(kind(head), Kind::NoText, "{head:?}");
        }
        for text in ["ORCID,name\n1,x\n", "BZh9 is how bzip2 begins\n", "PAR1,PAR2\n", "BM;MZ\n"] {
            assert_eq!(kind(text.as_bytes()), Kind::Text(LineEnd::Lf), "{text}");
        }
    }

    #[test]
    fn line_ends_are_found_at_borders_of_units_alone() {
        assert_eq!(LineEnd::Lf.find(b"ab\ncd\n"), Some(3));
        assert_eq!(LineEnd::Cr.find(b"ab\rcd"), Some(3));
        // U+0A00 and U+4E0A have the bytes of a line feed in the wrong place.
        assert_eq!(LineEnd::Utf16Le.find(b"\0\n\0x\n\0"), Some(6));
        assert_eq!(LineEnd::Utf16Be.find(b"x\0\n\0\0\n"), Some(6));
        assert_eq!(LineEnd::Utf32Le.find(b"\0\0\n\0\n\0\0\0"), Some(8));
        assert_eq!(LineEnd::Utf16Le.find(b"a\0b\0\n"), None);
    }
}
