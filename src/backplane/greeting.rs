//! The first commands of a link, and what must be in the answers.

use super::config::{BackplaneConfig, Credentials, Endpoint};
use super::loss::{Loss, Refusal};
use super::request::Request;
use super::resp::Value;

/// What the first commands of every link say: who we are, and where we want to be.
#[derive(Debug)]
pub(super) struct Greeting {
    name: String,
    credentials: Option<Credentials>,
    database: Option<String>,
}

impl Greeting {
    pub(super) fn new(config: &BackplaneConfig, origin: u64) -> Self {
        Self {
            name: format!("fanfare-{origin:016x}"),
            credentials: config.credentials.clone(),
            database: (config.database != 0).then(|| config.database.to_string()),
        }
    }

    /// Writes the commands by which a Redis learns of us: one after the other, without waiting.
    pub(super) fn write(&self, mut send: impl FnMut(Request, &[&[u8]])) {
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(Credentials { user, password }) = &self.credentials {
            hello.extend([b"AUTH", user.as_bytes(), password.as_bytes()]);
        }
        hello.extend([b"SETNAME".as_slice(), self.name.as_bytes()]);
        send(Request::Hello, &hello);
        if let Some(database) = &self.database {
            send(Request::Select, &[b"SELECT", database.as_bytes()]);
        }
    }
}

/// Whether the answer to `HELLO 3` is that of a master. What does not say its role is believed: not
/// everything that speaks RESP has replicas.
pub(super) fn check_hello(reply: &Value) -> Result<(), Loss> {
    let Value::Map(_) = reply else {
        return Err(Loss::Unexpected("no map after HELLO 3"));
    };
    // A sentinel takes subscriptions too, and brings nothing.
    for (key, wrong) in [
        (b"mode".as_slice(), [b"sentinel".as_slice(); 2]),
        (b"role", [b"replica", b"slave"]),
    ] {
        let says = reply.map_get(key).and_then(Value::as_bytes);
        if let Some(says) = says.filter(|says| wrong.contains(says)) {
            return Err(Loss::Role(Refusal::new(says)));
        }
    }
    Ok(())
}

/// The address in a sentinel's answer: host and port, both as strings.
pub(super) fn located(reply: &Value) -> Option<Endpoint> {
    let [host, port] = reply.as_array()? else {
        return None;
    };
    let port = port.as_str()?.parse().ok().filter(|port| *port != 0)?;
    Endpoint::named(host.as_str()?, port)
}
