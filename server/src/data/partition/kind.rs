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

const TAR_BLOCK: usize = 512;
/// How many control characters make a file no text: this many, and more than one in this many bytes.
const CONTROLS_MIN: usize = 8;
const CONTROLS_PART: usize = 128;

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
    if is_packed(head) || is_tar(head) || is_noise(head) {
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
    (0, b"\x89LZO\0\r\n\x1a\n"),
    (0, b"MSWIM\0\0\0"),
    // Tables and numbers.
    (0, b"Obj\x01"),
    (0, b"ARROW1\0\0"),
    (0, b"\x89HDF\r\n\x1a\n"),
    (0, b"CDF\x01"),
    (0, b"CDF\x02"),
    (0, b"\x93NUMPY"),
    (0, b"SQLite format 3\0"),
    (0, b"SIMPLE  ="),
    (0, b"\xd4\xc3\xb2\xa1"),
    (0, b"\xa1\xb2\xc3\xd4"),
    (0, b"\n\r\r\n"),
    (0, b"\x80\x02"),
    (0, b"\x80\x03"),
    (0, b"\x80\x04\x95"),
    (0, b"\x80\x05\x95"),
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
    (0, b"\x76\x2f\x31\x01"),
    (0, b"\0\0\0\x0cjP  "),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    (0, b"\0\0\x01\xba"),
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
    b"MZ", b"8BPS", b"FORM", b"PACK", b"MATLAB", b"GRIB", b"BUFR", b"LASF", b"070701", b"070702",
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

/// Whether it begins as an archive of any tar does: with the sum of its first block's bytes, where
/// the sum itself counts as spaces.
pub fn is_tar(head: &[u8]) -> bool {
    let Some((before, rest)) = head.get(..TAR_BLOCK).and_then(|block| block.split_at_checked(148))
    else {
        return false;
    };
    let (sum, after) = rest.split_at(8);
    let bytes = before.iter().chain(after).map(|byte| u64::from(*byte)).sum::<u64>();
    let sum = std::str::from_utf8(sum).unwrap_or_default();
    let sum = u64::from_str_radix(sum.trim_matches([' ', '\0']), 8);
    sum == Ok(bytes + 8 * u64::from(b' '))
}

/// Whether it has so many control characters that it is no text in any encoding that is read by
/// bytes. Of packed bytes one in eighteen is such a one; those that are not counted here divide
/// tables and switch character sets.
fn is_noise(head: &[u8]) -> bool {
    let controls = head.iter().filter(|byte| matches!(byte, 4..=6 | 16..=26)).count();
    controls >= CONTROLS_MIN && controls * CONTROLS_PART > head.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::noise;

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn text_has_its_kind_of_line_ends() {
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
    fn archives_of_every_tar_are_no_text() {
        for old in [true, false] {
            let mut header = if old { tar::Header::new_old() } else { tar::Header::new_ustar() };
            header.set_path("a.csv").unwrap();
            header.set_size(8);
            header.set_cksum();
            let archive = [&header.as_bytes()[..], b"1,2\n3,4\n"].concat();

            assert_eq!(kind(&archive), Kind::NoText);

            let mut text = archive;
            text[0] = b'b';
            assert_eq!(kind(&text), Kind::Text(LineEnd::Lf), "its sum is wrong");
        }
    }

    #[test]
    fn binary_bytes_make_a_file_no_text_whatever_it_begins_with() {
        let numbers: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
        let shorts: Vec<u8> = (0..200u16).flat_map(u16::to_le_bytes).collect();
        let cyrillic = utf16("Имя;Цена\nхлеб;12\nмолоко;7\n", u16::to_le_bytes);
        for head in [noise(4096), noise(300), numbers, shorts, cyrillic] {
            assert_eq!(kind(&head), Kind::NoText);
        }
        let latin1: Vec<u8> = (1u8..=255).filter(|byte| !is_no_text(*byte)).collect();
        for text in [
            // Tables of Hive, messages of FIX, records of JSON, colours, the end of a DOS text.
            b"a\x01b\x02c\x03d\n".repeat(50),
            b"8=FIX.4.2\x019=65\x0135=A\x01\n".repeat(50),
            b"\x1e{}\n".repeat(50),
            b"\x1b[1mx\x1b[0m\n".repeat(50),
            b"a,b\r\n\x1a".to_vec(),
            latin1.repeat(4),
        ] {
            assert_eq!(kind(&text), Kind::Text(LineEnd::Lf), "{text:?}");
        }
    }

    #[test]
    fn line_ends_are_found_at_borders_of_units_only() {
        assert_eq!(LineEnd::Lf.find(b"ab\ncd\n"), Some(3));
        assert_eq!(LineEnd::Cr.find(b"ab\rcd"), Some(3));
        // U+0A00 and U+4E0A have the bytes of a line feed in the wrong place.
        assert_eq!(LineEnd::Utf16Le.find(b"\0\n\0x\n\0"), Some(6));
        assert_eq!(LineEnd::Utf16Be.find(b"x\0\n\0\0\n"), Some(6));
        assert_eq!(LineEnd::Utf32Le.find(b"\0\0\n\0\n\0\0\0"), Some(8));
        assert_eq!(LineEnd::Utf16Le.find(b"a\0b\0\n"), None);
    }
}
