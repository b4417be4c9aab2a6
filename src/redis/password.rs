//! The password of Redis: in the URL, in a file, or in the environment, and in one of them alone.

use std::path::Path;

use fanfare::backplane::{BackplaneConfig, Credentials};

use crate::config::{REDIS_PASSWORD, RedisSettings, Secret};
use crate::small_file;

/// The longest file of a password, in bytes.
const MAX_FILE: u64 = 4096;

/// The ACL user of whoever gives a password and no name.
const DEFAULT_USER: &str = "default";

/// Puts the password from where it is to where it is needed.
///
/// # Errors
/// A file that holds none, or two places that say one.
pub(super) fn fill_in(redis: &RedisSettings, config: &mut BackplaneConfig) -> Result<(), String> {
    const FILE: &str = "--redis-password-file";

    let has_password = |credentials: &Credentials| !credentials.password.is_empty();
    let in_url = config.credentials.as_ref().is_some_and(has_password);
    let places = [
        ("--redis", in_url),
        (FILE, redis.password_file.is_some()),
        (REDIS_PASSWORD, redis.password.is_some()),
    ];
    let mut said = places.iter().filter(|(_, is_said)| *is_said);
    if let (Some((one, _)), Some((other, _))) = (said.next(), said.next()) {
        return Err(format!(
            "the password of Redis is in {one} and in {other}: say it once"
        ));
    }
    let password = match (&redis.password_file, &redis.password) {
        (Some(path), _) => {
            read(path).map_err(|why| format!("{FILE}: {}: {why}", path.display()))?
        }
        (None, Some(password)) => Secret::reveal(password).to_owned(),
        (None, None) => return Ok(()),
    };
    let user = config
        .credentials
        .take()
        .map(|credentials| credentials.user);
    config.credentials = Some(Credentials {
        user: user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        password,
    });
    Ok(())
}

/// The only line of a file.
fn read(path: &Path) -> Result<String, String> {
    let bytes = small_file::read(path, MAX_FILE).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("empty".to_owned());
    }
    if line.contains('\n') {
        return Err("more than one line".to_owned());
    }
    Ok(line.to_owned())
}
