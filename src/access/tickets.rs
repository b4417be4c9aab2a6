//! Tickets: what an application signs for its users, `room.expiry.role.signature`.
//!
//! The room is base64url without padding (RFC 4648, section 5), so dots and whatever else in its
//! name do no harm; the expiry is a date in Unix seconds; the role is a word; the signature is the
//! HMAC-SHA256 (RFC 2104), in base64url, of what stands before it without the last dot.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::role::Role;
use crate::small_file;

/// The shortest key in bytes: as many as the hash has (RFC 2104, section 3).
const MIN_KEY: usize = 32;

/// The longest key in bytes.
const MAX_KEY: u64 = 4096;

/// The longest ticket in bytes. One for the longest name of a room has 240 at most.
const MAX_TICKET: usize = 256;

/// What signatures are checked with.
pub(super) struct TicketKey(Hmac<Sha256>);

impl PartialEq for TicketKey {
    /// Whether the keys sign alike.
    fn eq(&self, other: &Self) -> bool {
        self.0.clone().finalize() == other.0.clone().finalize()
    }
}

impl Eq for TicketKey {}

impl fmt::Debug for TicketKey {
    /// Tells nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

/// What a ticket says, once its signature has shown that it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) room: String,
    pub(super) role: Role,
    /// How long from now on.
    pub(super) valid_for: Duration,
}

impl TicketKey {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let bytes =
            small_file::read(path, MAX_KEY).map_err(|why| format!("{}: {why}", path.display()))?;
        Self::new(&bytes).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// A key is one line of text. Bytes that no editor shows, or a space at its end, are what two
    /// languages read differently.
    fn new(bytes: &[u8]) -> Result<Self, &'static str> {
        let key = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let key = key.strip_suffix(b"\r").unwrap_or(key);
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err("not one line of printable ASCII without spaces");
        }
        if key.len() < MIN_KEY {
            return Err("shorter than 32 characters");
        }
        Ok(Self::of(key))
    }

    fn of(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("a key of any length will do"))
    }

    /// What a ticket says; `None` if it was not signed with this key, has expired, or is none.
    pub(super) fn check(&self, ticket: &[u8], now: u64) -> Option<Ticket> {
        if ticket.len() > MAX_TICKET {
            return None;
        }
        let ticket = std::str::from_utf8(ticket).ok()?;
        // 1. Who says it. The comparison takes the same time wherever the signatures differ.
        let (said, signature) = ticket.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let hmac = self.0.clone().chain_update(said);
        hmac.verify_slice(&signature).ok()?;
        // 2. What is said.
        let mut parts = said.split('.');
        let (room, expiry, role) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let left = expiry.parse::<u64>().ok()?.checked_sub(now)?;
        Some(Ticket {
            room: String::from_utf8(URL_SAFE_NO_PAD.decode(room).ok()?).ok()?,
            role: Role::from_word(role)?,
            valid_for: Some(Duration::from_secs(left)).filter(|left| !left.is_zero())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_800_000_000;

    fn key() -> TicketKey {
        TicketKey::new(KEY).expect("it is long enough")
    }

    fn sign(said: &str) -> String {
        let hmac = key().0.chain_update(said).finalize().into_bytes();
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(hmac))
    }

    fn mint(room: &str, expiry: u64, role: &str) -> String {
        sign(&format!("{}.{expiry}.{role}", URL_SAFE_NO_PAD.encode(room)))
    }

    fn check(ticket: &str) -> Option<Ticket> {
        key().check(ticket.as_bytes(), NOW)
    }

    #[test]
    fn the_test_vectors_of_rfc_4231() {
        let long = [0xaa; 131];
        let counting: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 6] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &counting,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long,
                b"This is a test using a larger than block-size key and a larger than \
                  block-size data. The key needs to be hashed before being used by the HMAC \
                  algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, expected) in cases {
            let hmac = TicketKey::of(key).0.chain_update(data).finalize();
            let digits = hmac
                .into_bytes()
                .iter()
                .fold(String::new(), |digits, byte| {
                    digits + &format!("{byte:02x}")
                });
            assert_eq!(digits, expected);
        }
    }

    #[test]
    fn a_ticket_of_another_implementation() {
        // printf %s "$said" | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary
        let ticket = "bmV3cy9hLmI.1800000060.subscribe.l61Inydt8CRWcPkOsmbM4SFlNesEthiGSqArW3xdys8";
        let expected = Ticket {
            room: "news/a.b".to_owned(),
            role: Role::Subscribe,
            valid_for: Duration::from_secs(60),
        };
        assert_eq!(check(ticket), Some(expected));
    }

    #[test]
    fn a_ticket_says_what_it_was_minted_for() {
        let longest = "é".repeat(64);
        for room in ["", "news", "a/b.c d", "büro", &longest] {
            for (word, role) in [
                ("subscribe", Role::Subscribe),
                ("publish", Role::Publish),
                ("both", Role::Both),
            ] {
                let ticket = check(&mint(room, NOW + 7, word)).expect("it is valid");
                assert_eq!((ticket.room.as_str(), ticket.role), (room, role));
                assert_eq!(ticket.valid_for, Duration::from_secs(7));
            }
        }
    }

    #[test]
    fn both_sides_of_the_expiry() {
        let left = |expiry| check(&mint("a", expiry, "both")).map(|ticket| ticket.valid_for);
        assert_eq!(left(NOW + 1), Some(Duration::from_secs(1)));
        assert_eq!(left(NOW), None);
        assert_eq!(left(NOW - 1), None);
        assert_eq!(left(0), None);
        assert_eq!(left(u64::MAX), Some(Duration::from_secs(u64::MAX - NOW)));
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_is_none() {
        let ticket = mint("news", NOW + 60, "subscribe");
        assert!(check(&ticket).is_some());
        for at in 0..ticket.len() {
            let mut bytes = ticket.clone().into_bytes();
            for byte in 0..=u8::MAX {
                bytes[at] = byte;
                let is_same = bytes == ticket.as_bytes();
                assert_eq!(
                    key().check(&bytes, NOW).is_some(),
                    is_same,
                    "{byte:#x} at {at}"
                );
            }
        }
        for end in 0..ticket.len() {
            assert_eq!(check(&ticket[..end]), None, "cut at {end}");
            assert_eq!(check(&ticket[end + 1..]), None, "cut behind {end}");
        }
        assert_eq!(check(&format!("{ticket}=")), None, "padded");
    }

    #[test]
    fn what_is_signed_must_make_sense_as_well() {
        for said in [
            "",
            "bmV3cw",
            "bmV3cw.1900000000",
            "bmV3cw.1900000000.",
            "bmV3cw.1900000000.admin",
            "bmV3cw.1900000000.both.more",
            "bmV3cw..both",
            "bmV3cw.+1900000000.both",
            "bmV3cw.1900000000.0.both",
            "bmV3cw.99999999999999999999.both",
            "bmV3cw==.1900000000.both",
            "news!.1900000000.both",
            // No UTF-8.
            "_w.1900000000.both",
        ] {
            assert_eq!(check(&sign(said)), None, "{said}");
        }
        assert!(check(&sign("bmV3cw.1900000000.both")).is_some());
        let padded = |zeros: usize| sign(&format!("bmV3cw.{}1900000000.both", "0".repeat(zeros)));
        let most = MAX_TICKET - padded(0).len();
        // A number is a number, and a bound is a bound.
        assert!(check(&padded(most)).is_some());
        assert_eq!(check(&padded(most + 1)), None);
    }

    #[test]
    fn another_key_signs_nothing() {
        let other = TicketKey::new(b"0123456789abcdef0123456789abcdeg");
        let ticket = mint("a", NOW + 60, "both");
        assert_eq!(other.expect("fine").check(ticket.as_bytes(), NOW), None);
    }

    #[test]
    fn a_key_is_one_long_line() {
        let ticket = mint("a", NOW + 60, "both");
        for end in ["", "\n", "\r\n"] {
            let key = TicketKey::new(&[KEY, end.as_bytes()].concat());
            assert!(key.expect("fine").check(ticket.as_bytes(), NOW).is_some());
        }
        let complaint = |key: &[u8]| TicketKey::new(key).err();
        assert_eq!(complaint(&KEY[1..]), Some("shorter than 32 characters"));
        assert_eq!(complaint(b""), Some("shorter than 32 characters"));
        for end in [&b"\n\n"[..], b" ", b" \n", b"\0", b"\xff"] {
            let said = complaint(&[KEY, end].concat()).expect("it is refused");
            assert!(said.starts_with("not one line"), "{end:?}: {said}");
        }
    }
}
