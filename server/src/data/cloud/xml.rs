//! The keys in a listing's XML, as they are.

use std::borrow::Cow;

/// The listing with another text in the place of each key; `None` where a key cannot be read.
pub fn replace_keys(xml: &str, mut name: impl FnMut(String) -> String) -> Option<String> {
    // Azure's listings are the only ones with this root.
    let (open, close) =
        if xml.contains("<EnumerationResults") { ("<Name", "</Name>") } else { ("<Key", "</Key>") };
    let mut out = String::with_capacity(xml.len());
    let mut left = xml;
    while let Some(at) = left.find(open) {
        let tag = &left[at + open.len()..];
        let (tag_end, attributes) = tag.find('>').map(|end| (end, &tag[..end]))?;
        let is_key = attributes.is_empty() || attributes.starts_with([' ', '\t', '\r', '\n']);
        let begin = at + open.len() + tag_end + 1;
        out.push_str(&left[..at]);
        if !is_key || attributes.ends_with('/') {
            // Another tag that begins so, such as KeyCount.
            out.push_str(&left[at..begin]);
            left = &left[begin..];
            continue;
        }
        let end = begin + left[begin..].find(close)?;
        let key = unescape(&left[begin..end])?;
        // Azure says so where a name has characters that XML has not.
        let key = if attributes.contains("Encoded=\"true\"") {
            let decoded = percent_encoding::percent_decode_str(&key).decode_utf8();
            Cow::Owned(decoded.ok()?.into_owned())
        } else {
            key
        };
        out.push_str(open);
        out.push('>');
        out.push_str(&name(key.into_owned()));
        out.push_str(close);
        left = &left[end + close.len()..];
    }
    out.push_str(left);
    Some(out)
}

/// A text without its references to characters.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if let Some(plain) = text.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")) {
        return (!plain.contains("]]>")).then_some(Cow::Borrowed(plain));
    }
    if text.contains('<') {
        return None;
    }
    if !text.contains('&') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut left = text;
    while let Some((plain, rest)) = left.split_once('&') {
        let (name, rest) = rest.split_once(';')?;
        out.push_str(plain);
        out.push(character(name)?);
        left = rest;
    }
    out.push_str(left);
    Some(Cow::Owned(out))
}

fn character(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(xml: &str) -> Option<Vec<String>> {
        let mut keys = Vec::new();
        let replaced = replace_keys(xml, |key| {
            keys.push(key);
            "N".to_owned()
        })?;
        assert_eq!(replaced.matches(">N<").count(), keys.len());
        Some(keys)
    }

    #[test]
    fn listing_keys_are_read_unchanged() {
        let xml = "<ListBucketResult><Name>main</Name><KeyCount>4</KeyCount><KeyMarker/>\
                   <Contents><Key>/in//a</Key><Size>1</Size></Contents>\
                   <Contents><Key> b &amp;lt;&#x9;&#233;&quot;</Key></Contents>\
                   <Contents><Key xml:space=\"preserve\"><![CDATA[c&d]]></Key></Contents>\
                   <Contents><Key>d/</Key></Contents></ListBucketResult>";
        assert_eq!(keys(xml).unwrap(), ["/in//a", " b &lt;\t\u{e9}\"", "c&d", "d/"]);

        let azure = "<EnumerationResults ContainerName=\"c\"><Blobs><Blob><Name>a//b</Name>\
                     <Key>no</Key></Blob><Blob><Name Encoded=\"true\">c%FE%0Ad</Name></Blob></Blobs>";
        assert_eq!(keys(azure), None, "no UTF-8");
        assert_eq!(keys(&azure.replace("%FE", "")).unwrap(), ["a//b", "c\nd"]);
    }

    #[test]
    fn listing_keys_that_cannot_be_read_are_refused() {
        for key in ["a&b", "a&nope;", "a&#xffffffff;", "a&#xd800;", "<b>x</b>", "open"] {
            let close = if key == "open" { "" } else { "</Key>" };
            assert_eq!(keys(&format!("<Key>{key}{close}")), None, "{key}");
        }
    }
}
