//! The file of tokens: who has one, and what it is good for.

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::role::Role;
use super::rooms::RoomPattern;
use crate::small_file;

/// The longest file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The most tokens: each is looked at for each credential that is shown, which holds up the loop.
const MAX_TOKENS: usize = 4096;

/// The longest line in bytes.
const MAX_LINE: usize = 4096;

/// The longest name in bytes.
const MAX_NAME: usize = 64;

/// What stands before the digits of a hash.
const ALGORITHM: &str = "sha256:";

/// All tokens. Of a secret there is its SHA-256 alone: that suffices for one of 256 random bits,
/// which nobody can guess.
#[derive(PartialEq, Eq)]
pub(super) struct Tokens(Vec<Token>);

impl fmt::Debug for Tokens {
    /// Tells nothing of the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// One token: a line of the file.
#[derive(PartialEq, Eq)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) role: Role,
    rooms: Vec<RoomPattern>,
    /// In words: so it is compared eight bytes at a time.
    hash: [u64; 4],
}

impl Token {
    /// Whether it is for this room.
    pub(super) fn covers(&self, room: &str) -> bool {
        self.rooms.iter().any(|pattern| pattern.matches(room))
    }

    /// Reads `NAME ROLE ROOMS SECRET-HASH`. The error repeats nothing of the line: who mixes up the
    /// fields must not find the hash in a log.
    pub(super) fn parse(line: &str) -> Result<Self, &'static str> {
        if line.len() > MAX_LINE {
            return Err("longer than 4096 bytes");
        }
        let mut fields = line.split_ascii_whitespace();
        let (Some(name), Some(role), Some(rooms), Some(hash), None) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            return Err("not four fields: NAME ROLE ROOMS SECRET-HASH");
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.len() > MAX_NAME || !name.bytes().all(is_plain) {
            return Err("the name is not 1 to 64 letters, digits, dots, underscores and dashes");
        }
        let role = Role::from_word(role);
        let rooms: Result<Vec<RoomPattern>, _> = rooms.split(',').map(str::parse).collect();
        let hash = hash.strip_prefix(ALGORITHM).and_then(from_hex);
        Ok(Self {
            name: name.to_owned(),
            role: role.ok_or("the role is none of subscribe, publish, both")?,
            rooms: rooms?,
            hash: hash.ok_or("the hash is not sha256: and 64 hexadecimal digits")?,
        })
    }
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file and the line.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let bytes =
            small_file::read(path, MAX_FILE).map_err(|why| format!("{}: {why}", path.display()))?;
        let path = path.display();
        let text = String::from_utf8(bytes).map_err(|_| format!("{path}: not UTF-8"))?;
        Self::parse(&text).map_err(|(line, why)| match line {
            None => format!("{path}: {why}"),
            Some(line) => format!("{path}:{line}: {why}"),
        })
    }

    /// Reads the text of a file; an error may be of one line.
    fn parse(text: &str) -> Result<Self, (Option<usize>, &'static str)> {
        let mut tokens: Vec<Token> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let token = Token::parse(line).map_err(|why| (Some(number), why))?;
            // Which of the two would hold?
            if tokens.iter().any(|other| other.name == token.name) {
                return Err((Some(number), "the name of an earlier line"));
            }
            if tokens.iter().any(|other| other.hash == token.hash) {
                return Err((Some(number), "the hash of an earlier line"));
            }
            if tokens.len() == MAX_TOKENS {
                return Err((Some(number), "more than 4096 tokens"));
            }
            tokens.push(token);
        }
        if tokens.is_empty() {
            // A file that was cut off, rather than a server for nobody.
            return Err((None, "there is no token in it"));
        }
        Ok(Self(tokens))
    }

    /// The token that has this secret. All are looked at, and each in the same time, so that the
    /// time of an answer tells nothing of any hash.
    pub(super) fn find(&self, secret: &[u8]) -> Option<&Token> {
        let hash = hash(secret);
        let mut found = u32::MAX;
        for (index, token) in (0_u32..).zip(&self.0) {
            found.conditional_assign(&index, token.hash.as_slice().ct_eq(&hash));
        }
        self.0.get(usize::try_from(found).ok()?)
    }
}

fn hash(secret: &[u8]) -> [u64; 4] {
    words(Sha256::digest(secret).into())
}

fn words(bytes: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    }
    words
}

/// How the hash of a secret is written.
pub(super) fn written_hash(secret: &[u8]) -> String {
    let [a, b, c, d] = hash(secret);
    format!("{ALGORITHM}{a:016x}{b:016x}{c:016x}{d:016x}")
}

fn from_hex(digits: &str) -> Option<[u64; 4]> {
    let mut hash = [0; 32];
    let pairs = digits.as_bytes().chunks_exact(2);
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(words(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1: of `abc`.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn complaint(text: &str) -> (Option<usize>, &'static str) {
        Tokens::parse(text).expect_err("it is refused")
    }

    #[test]
    fn a_line_says_who_what_and_where() {
        let text = format!(
            "# people\n\n  alice both * {ABC}\r\nbob\tsubscribe  news/*,.,a%2Cb \t{}\n#\n",
            written_hash(b"bob's").to_uppercase().replace("SHA", "sha"),
        );
        let tokens = Tokens::parse(&text).expect("it is fine");
        let alice = tokens.find(b"abc").unwrap();
        assert_eq!((alice.name.as_str(), alice.role), ("alice", Role::Both));
        assert!(alice.covers("") && alice.covers("anything/at all"));
        let bob = tokens.find(b"bob's").unwrap();
        assert_eq!((bob.name.as_str(), bob.role), ("bob", Role::Subscribe));
        for (room, covered) in [("news/a", true), ("", true), ("a,b", true), ("news", false)] {
            assert_eq!(bob.covers(room), covered, "{room}");
        }
        for secret in ["", "ab", "abcd", "ABC", "bob", ABC] {
            assert!(tokens.find(secret.as_bytes()).is_none(), "{secret}");
        }
    }

    #[test]
    fn hashes_are_written_as_they_are_read() {
        assert_eq!(written_hash(b"abc"), ABC);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_never_shown() {
        let digits = &ABC["sha256:".len()..];
        for (line, why) in [
            ("alice".to_owned(), "four fields"),
            (format!("alice both {ABC}"), "four fields"),
            (format!("alice both * {ABC} x"), "four fields"),
            (format!("al/ice both * {ABC}"), "the name"),
            (format!("{} both * {ABC}", "x".repeat(65)), "the name"),
            (format!("alice {ABC} * both"), "the role"),
            (format!("alice Both * {ABC}"), "the role"),
            (format!("alice both a,,b {ABC}"), "an empty name"),
            (format!("alice both a* {ABC}"), "an asterisk"),
            (format!("alice both {ABC} *"), "the hash"),
            (format!("alice both * {digits}"), "the hash"),
            (
                format!("alice both * {}", &ABC[..ABC.len() - 1]),
                "the hash",
            ),
            (format!("alice both * {ABC}0"), "the hash"),
            (
                format!("alice both * {}g", &ABC[..ABC.len() - 1]),
                "the hash",
            ),
            (format!("alice both * md5:{digits}"), "the hash"),
            (
                format!("bob both * {}", written_hash(b"x")),
                "the name of an earlier",
            ),
            (
                format!("alice both * {}", written_hash(b"b")),
                "the hash of an earlier",
            ),
            (format!("alice both {} {ABC}", "a,".repeat(2048)), "longer"),
        ] {
            let text = format!("# one\nbob both * {}\n\n{line}\n", written_hash(b"b"));
            let (number, said) = complaint(&text);
            assert_eq!(number, Some(4), "{line}");
            assert!(said.contains(why), "{line}: {said}");
        }
        assert_eq!(complaint("# nothing\n"), (None, "there is no token in it"));
    }

    #[test]
    fn both_sides_of_the_number_of_tokens() {
        let lines = |count: usize| -> String {
            let line = |i: usize| format!("n{i} both * {}\n", written_hash(&i.to_be_bytes()));
            (0..count).map(line).collect()
        };
        let most = Tokens::parse(&lines(4096)).expect("it is the limit");
        let last = most.find(&4095_usize.to_be_bytes()).expect("it is there");
        assert_eq!(last.name, "n4095");
        assert_eq!(most.find(&0_usize.to_be_bytes()).unwrap().name, "n0");
        assert_eq!(
            complaint(&lines(4097)),
            (Some(4097), "more than 4096 tokens")
        );
    }
}
