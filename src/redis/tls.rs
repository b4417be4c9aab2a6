//! Whom to believe that it is Redis, and what to show it.

use fanfare::ServerConfig;
use fanfare::backplane::{BackplaneConfig, Target};

use crate::config::RedisSettings;

/// Has TLS spoken with Redis if the URL says so.
///
/// # Errors
/// Files that are missing, wrong, or not asked for.
pub(super) fn fill_in(
    redis: &RedisSettings,
    config: &BackplaneConfig,
    server: &mut ServerConfig,
) -> Result<(), String> {
    let RedisSettings { ca, cert, key, .. } = redis;
    let scheme = match &config.target {
        Target::Server(_) => "rediss://",
        Target::Sentinel { .. } => "rediss+sentinel://",
    };
    if !config.tls {
        let files = [
            ("--redis-ca", ca),
            ("--redis-cert", cert),
            ("--redis-key", key),
        ];
        return match files.iter().find(|(_, file)| file.is_some()) {
            Some((flag, _)) => Err(format!("{flag} needs --redis with {scheme}")),
            None => Ok(()),
        };
    }
    if !cfg!(feature = "tls") {
        return Err(format!(
            "--redis: {scheme} needs the feature tls, and this binary was built without it"
        ));
    }
    let own = match (cert, key) {
        (Some(cert), Some(key)) => Some((&**cert, &**key)),
        (None, None) => None,
        (Some(_), None) => return Err("--redis-cert needs --redis-key".to_owned()),
        (None, Some(_)) => return Err("--redis-key needs --redis-cert".to_owned()),
    };
    let ca = ca.as_ref();
    let ca = ca.ok_or_else(|| format!("--redis: {scheme} needs --redis-ca"))?;
    #[cfg(feature = "tls")]
    {
        let tls = fanfare::TlsClientConfig::from_pem_files(ca, own);
        server.backplane_tls = Some(tls.map_err(|error| error.to_string())?);
    }
    #[cfg(not(feature = "tls"))]
    let _ = (own, ca, server);
    Ok(())
}
