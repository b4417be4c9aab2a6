//! What is open to more people than may have been meant.

use std::net::SocketAddr;

use fanfare::ListenAddress;

use super::Settings;

/// A warning if the operators' address can be reached from other machines, and anybody who reaches
/// it may publish.
pub(super) fn warning(settings: &Settings) -> Option<String> {
    let ListenAddress::Tcp(address) = settings.server.admin.as_ref()? else {
        return None;
    };
    let is_open = settings.access.tokens.is_none() && !is_loopback(address);
    is_open.then(|| {
        format!(
            "admin={address} can be reached from other machines, and everybody there may publish: \
             see --tokens"
        )
    })
}

fn is_loopback(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().is_loopback(),
        Err(_) => address
            .rsplit_once(':')
            .is_some_and(|(host, _)| host == "localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_at_home_is_loopback() {
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(address), "{address}");
        }
        for address in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "example.com:1",
            "localhost.a:1",
        ] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
