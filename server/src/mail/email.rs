//! E-mail addresses, in the one spelling under which they are kept and compared.

use std::fmt;

use common::input::text::is_plain;
use lettre::Address;
use url::Host;

const CHARS_MAX: usize = 254;
/// They are one service, which reads no dots in names.
const DOTLESS: [&str; 2] = ["gmail.com", "googlemail.com"];

/// An address as a mail server takes it: one name at one domain, both in small letters, the domain
/// in ASCII. It has no display name and no quotes, so it is what it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Reads an address. `None` where a mail server could take it for another one, or for several.
    pub fn parse(text: &str) -> Option<Self> {
        let address: Address = text.trim().parse().ok()?;
        let user = address.user();
        if !user.chars().all(|c| is_plain(c) && !c.is_whitespace() && c != '"') {
            return None;
        }
        // An address of the network in the place of a name is not a domain.
        let Ok(Host::Domain(domain)) = Host::parse(address.domain()) else { return None };
        let whole = format!("{}@{domain}", user.to_lowercase());
        (whole.chars().count() <= CHARS_MAX).then_some(Self(whole))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The mailbox that an address leads to, as far as that is known. What follows a `+` in the name
/// is its reader's own mark, and Google's mail reads no dots.
pub fn mailbox(email: &str) -> String {
    let (user, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let user = user.split('+').next().unwrap_or(user);
    if DOTLESS.contains(&domain) {
        return format!("{}@{}", user.replace('.', ""), DOTLESS[0]);
    }
    format!("{user}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_address_has_one_spelling() {
        for (text, kept) in [
            ("Ada@Example.com ", "ada@example.com"),
            ("ada+x@EXAMPLE.com", "ada+x@example.com"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("o'neil_1@mail.example.org", "o'neil_1@mail.example.org"),
        ] {
            assert_eq!(Email::parse(text).map(|email| email.0).as_deref(), Some(kept), "{text}");
        }
    }

    #[test]
    fn email_address_that_is_ambiguous_or_several_is_refused() {
        for text in [
            "x<victim@example.com>",
            "victim@corp.com<me@evil>",
            "Victim <victim@example.com>",
            "<victim@example.com>",
            "a@b.c,d@e.f",
            "a@b.c;d@e.f",
            "a@b.c d@e.f",
            "a@b@c.d",
            "\"a b\"@c.d",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a\u{202e}b@c.d",
            "a\r\nbcc:x@c.d",
            "a@b.c\0",
            "@x",
            "x@",
            "x",
            "",
        ] {
            assert_eq!(Email::parse(text), None, "{text}");
        }
        assert_eq!(Email::parse(&format!("{}@b.c", "x".repeat(255))), None);
    }

    #[test]
    fn mailbox_is_the_same_in_all_spellings() {
        assert_eq!(mailbox("ada+1@example.com"), mailbox("ada@example.com"));
        assert_eq!(mailbox("a.d.a+1@googlemail.com"), "ada@gmail.com");
        assert_ne!(mailbox("a.da@example.com"), mailbox("ada@example.com"));
        assert_ne!(mailbox("ada@example.com"), mailbox("ada@example.org"));
    }
}
