//! What Redis says.

/// A reply, a push, or a part of one. Attributes are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `_`, and the `$-1` and `*-1` of RESP 2: nothing. And a bulk string that is too long for us,
    /// or an aggregate inside another that has too many elements.
    Null,
    /// The end of an aggregate inside another: there was no room for the rest of it. See
    /// [`RespLimits::max_value`](super::RespLimits::max_value).
    Omitted,
    /// `+`: a short string without line ends, such as `OK`.
    Simple(Vec<u8>),
    /// `-` and `!`: what Redis refuses, and why. Begins with a code, see [`error_code`].
    ///
    /// [`error_code`]: Self::error_code
    Error(Vec<u8>),
    /// `:`: a number.
    Integer(i64),
    /// `#`: `t` or `f`.
    Boolean(bool),
    /// `,`: a floating-point number as it was written.
    Double(Vec<u8>),
    /// `(`: an integer of any length as it was written.
    BigNumber(Vec<u8>),
    /// `$`: any bytes.
    Bulk(Vec<u8>),
    /// `=`: text that says what it is.
    Verbatim {
        /// `txt`, `mkd`, or another one.
        format: [u8; 3],
        /// The text, without its format.
        text: Vec<u8>,
    },
    /// `*`: values in order.
    Array(Vec<Value>),
    /// `~`: values that Redis says are unordered and different.
    Set(Vec<Value>),
    /// `%`: keys with their values, in the order of their arrival.
    Map(Vec<(Value, Value)>),
    /// `>`: what answers no command, such as a message of a channel.
    Push(Vec<Value>),
}

impl Value {
    /// The bytes of a string of any sort. An error is none.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::Verbatim { text: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The text of a string of any sort, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The bytes of a string of any sort, without copying them.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::Verbatim { text: bytes, .. } => {
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The number that this is.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push, without copying them.
    pub fn into_array(self) -> Option<Vec<Value>> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// What a map has for a key: the first, should there be several. RESP 2 writes a map as an
    /// array in which keys and values take turns, which will do as well.
    pub fn map_get(&self, key: &[u8]) -> Option<&Value> {
        match self {
            Self::Map(pairs) => {
                let mut pairs = pairs.iter();
                pairs.find_map(|(name, value)| (name.as_bytes() == Some(key)).then_some(value))
            }
            Self::Array(elements) => {
                let mut pairs = elements.chunks_exact(2);
                pairs.find_map(|pair| (pair[0].as_bytes() == Some(key)).then_some(&pair[1]))
            }
            _ => None,
        }
    }

    /// Whether this is nothing.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Whether this is `OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == b"OK")
    }

    /// Whether Redis refuses something. An error may also stand inside another value.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The whole of an error, its code included.
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The first word of an error: `ERR`, `MOVED`, `NOAUTH`, ….
    pub fn error_code(&self) -> Option<&[u8]> {
        self.as_error()?.split(|byte| *byte == b' ').next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn simple(text: &str) -> Value {
        Value::Simple(text.as_bytes().to_vec())
    }

    fn error(text: &str) -> Value {
        Value::Error(text.as_bytes().to_vec())
    }

    #[test]
    fn strings_of_any_sort_are_bytes_and_nothing_else_is() {
        let verbatim = Value::Verbatim {
            format: *b"txt",
            text: b"a".to_vec(),
        };
        for value in [simple("a"), bulk("a"), verbatim] {
            assert_eq!(value.as_bytes(), Some(b"a".as_slice()));
            assert_eq!(value.as_str(), Some("a"));
            assert_eq!(value.into_bytes(), Some(b"a".to_vec()));
        }
        let not_text = Value::Bulk(vec![0xFF]);
        assert_eq!(not_text.as_bytes(), Some([0xFF].as_slice()));
        assert_eq!(not_text.as_str(), None);
        let number = |text: &str| Value::BigNumber(text.as_bytes().to_vec());
        for value in [error("a"), Value::Null, Value::Integer(1), number("1")] {
            assert_eq!(value.as_bytes(), None);
            assert_eq!(value.into_bytes(), None);
        }
    }

    #[test]
    fn a_number_is_no_text() {
        assert_eq!(Value::Integer(-1).as_int(), Some(-1));
        assert_eq!(bulk("1").as_int(), None);
        assert_eq!(Value::Boolean(true).as_int(), None);
    }

    #[test]
    fn arrays_sets_and_pushes_have_elements() {
        let elements = vec![bulk("a"), Value::Null];
        for value in [Value::Array, Value::Set, Value::Push].map(|kind| kind(elements.clone())) {
            assert_eq!(value.as_array(), Some(elements.as_slice()));
            assert_eq!(value.into_array(), Some(elements.clone()));
        }
        assert_eq!(bulk("a").as_array(), None);
        assert_eq!(Value::Map(Vec::new()).into_array(), None);
    }

    #[test]
    fn a_map_is_asked_by_its_keys() {
        let map = Value::Map(vec![
            (bulk("role"), bulk("master")),
            (simple("proto"), Value::Integer(3)),
            (Value::Integer(1), bulk("of a number")),
            (bulk("role"), bulk("second")),
        ]);
        assert_eq!(map.map_get(b"role"), Some(&bulk("master")));
        assert_eq!(map.map_get(b"proto"), Some(&Value::Integer(3)));
        assert_eq!(map.map_get(b"master"), None, "a value is no key");
        assert_eq!(map.map_get(b"1"), None);
        assert_eq!(bulk("role").map_get(b"role"), None);
    }

    #[test]
    fn an_array_in_pairs_is_a_map_as_well() {
        let array = Value::Array(vec![bulk("a"), bulk("b"), bulk("b"), bulk("c"), bulk("d")]);
        assert_eq!(array.map_get(b"a"), Some(&bulk("b")));
        assert_eq!(array.map_get(b"b"), Some(&bulk("c")), "not the value");
        assert_eq!(array.map_get(b"d"), None, "nothing belongs to it");
    }

    #[test]
    fn an_error_has_a_code() {
        let moved = error("MOVED 3999 127.0.0.1:6381");
        assert!(moved.is_error());
        assert_eq!(moved.error_code(), Some(b"MOVED".as_slice()));
        assert_eq!(
            moved.as_error(),
            Some(b"MOVED 3999 127.0.0.1:6381".as_slice())
        );
        assert_eq!(error("LOADING").error_code(), Some(b"LOADING".as_slice()));
        assert_eq!(error("").error_code(), Some(b"".as_slice()));
        assert!(!simple("ERR").is_error());
        assert_eq!(simple("ERR").error_code(), None);
    }

    #[test]
    fn ok_and_null_are_themselves_alone() {
        assert!(simple("OK").is_ok());
        assert!(!simple("ok").is_ok());
        assert!(!bulk("OK").is_ok());
        assert!(Value::Null.is_null());
        assert!(!bulk("").is_null());
    }
}
