//! What Redis says.

/// A reply, a push, or a part of one. Attributes are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `_`, and the `$-1` and `*-1` of RESP 2: nothing.
    Null,
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
