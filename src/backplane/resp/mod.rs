//! RESP, the protocol of Redis: version 3, and what of version 2 is spoken before `HELLO 3`.
//!
//! ```
//! use fanfare::backplane::resp::{Decoder, RespLimits, Value, encode};
//!
//! let mut output = Vec::new();
//! encode::command(&[b"PUBLISH", b"news", b"hi"], &mut output);
//! assert_eq!(output, b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
//!
//! let mut decoder = Decoder::new(RespLimits::new(1024, 1));
//! let mut input: &[u8] = b":3\r\n+O";
//! assert_eq!(decoder.decode(&mut input), Ok(Some(Value::Integer(3))));
//! assert_eq!(decoder.decode(&mut input), Ok(None));
//! let mut input: &[u8] = b"K\r\n";
//! assert_eq!(decoder.decode(&mut input), Ok(Some(Value::Simple(b"OK".to_vec()))));
//! ```

mod aggregate;
mod bulk;
mod decoder;
pub mod encode;
mod error;
mod head;
mod limits;
mod line;
mod value;

pub use decoder::Decoder;
pub use error::RespError;
pub use limits::RespLimits;
pub use value::Value;
