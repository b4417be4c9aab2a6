//! The certificate and the key that the flags name.

use fanfare::ServerConfig;

use crate::config::TlsFiles;

/// Has the server speak TLS if flags say so.
///
/// # Errors
/// What is wrong with the flags, or with the files.
#[cfg(feature = "tls")]
pub(crate) fn load(files: &TlsFiles, server: &mut ServerConfig) -> Result<(), String> {
    let (cert, key) = match (&files.cert, &files.key, &files.client_ca) {
        (None, None, None) => return Ok(()),
        (Some(cert), Some(key), _) => (cert, key),
        (Some(_), None, _) => return Err("--tls-cert needs --tls-key".to_owned()),
        (None, Some(_), _) => return Err("--tls-key needs --tls-cert".to_owned()),
        (None, None, Some(_)) => {
            return Err("--tls-client-ca needs --tls-cert and --tls-key".to_owned());
        }
    };
    if server.hub.proxy_protocol {
        // The header would stand in front of TLS, which is out of the hub's sight.
        return Err("--proxy-protocol contradicts --tls-cert".to_owned());
    }
    let tls = fanfare::TlsConfig::from_pem_files(cert, key, files.client_ca.as_deref());
    server.tls = Some(tls.map_err(|error| error.to_string())?);
    Ok(())
}

/// Says that there is no TLS if flags ask for it.
///
/// # Errors
/// Whenever they do.
#[cfg(not(feature = "tls"))]
pub(crate) fn load(files: &TlsFiles, _: &mut ServerConfig) -> Result<(), String> {
    let flags = [
        ("--tls-cert", &files.cert),
        ("--tls-key", &files.key),
        ("--tls-client-ca", &files.client_ca),
    ];
    match flags.iter().find(|(_, file)| file.is_some()) {
        Some((flag, _)) => Err(format!(
            "{flag}: this binary was built without the feature tls"
        )),
        None => Ok(()),
    }
}
