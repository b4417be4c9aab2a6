//! A client's side of TLS: whom to believe that it is who we want to speak to.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls_pki_types::{CertificateDer, ServerName};

use super::stream::{TlsStream, Transport};
use super::{Authorities, Identity, TlsError, provider};

/// The authorities that sign the certificates of whom we connect to, and our own certificate if
/// that is asked for: TLS 1.2 and 1.3.
///
/// Cheap to clone. Two are equal if they have the same certificates.
#[derive(Clone)]
pub struct TlsClientConfig {
    rustls: Arc<rustls::ClientConfig>,
    certificates: Arc<Certificates>,
}

#[derive(PartialEq, Eq)]
struct Certificates {
    authorities: Vec<CertificateDer<'static>>,
    own: Vec<CertificateDer<'static>>,
}

impl TlsClientConfig {
    /// Reads the certificates of the authorities; and a certificate chain and its key, if whom we
    /// connect to wants to see one (mTLS). All in PEM; the chain begins with our own.
    ///
    /// # Errors
    /// If a file cannot be read, holds something else, or the key is not that of the certificate.
    pub fn from_pem_files(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Self, TlsError> {
        let authorities = Authorities::from_pem_file(ca)?;
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError::unusable(ca, &error))?
            .with_root_certificates(authorities.roots);
        let (own, rustls) = match own {
            None => (Vec::new(), builder.with_no_client_auth()),
            Some((cert, key)) => Identity::from_pem_files(cert, key)?
                .show(|chain, key| builder.with_client_auth_cert(chain, key))?,
        };
        Ok(Self {
            rustls: Arc::new(rustls),
            certificates: Arc::new(Certificates {
                authorities: authorities.certificates,
                own,
            }),
        })
    }

    /// A client's side over a socket, to somebody whose certificate must be for `host`. Nothing is
    /// said before the stream is [resumed](TlsStream::resume).
    pub(in crate::server) fn connect<S: Transport>(
        &self,
        socket: S,
        host: &str,
    ) -> io::Result<TlsStream<S>> {
        let invalid = |error| io::Error::new(ErrorKind::InvalidInput, error);
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        let connection = ClientConnection::new(Arc::clone(&self.rustls), name);
        Ok(TlsStream::over(
            socket,
            connection.map_err(io::Error::other)?,
        ))
    }

    /// How the SHA-1 fingerprint of the first authority's certificate begins.
    pub(in crate::server) fn fingerprint(&self) -> String {
        super::fingerprint(self.certificates.authorities.first())
    }
}

impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig").finish_non_exhaustive()
    }
}

impl PartialEq for TlsClientConfig {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for TlsClientConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/tls/certificates")
            .join(name)
    }

    #[test]
    fn authorities_alone_or_with_a_certificate_of_our_own_make_a_configuration() {
        let alone = TlsClientConfig::from_pem_files(&file("ca.pem"), None).unwrap();
        let (cert, key) = (file("client.pem"), file("client.key"));
        let own = Some((cert.as_path(), key.as_path()));
        let with_own = TlsClientConfig::from_pem_files(&file("ca.pem"), own).unwrap();
        assert!(alone == alone.clone() && alone != with_own);
        // No key gets into a log by accident.
        assert_eq!(format!("{with_own:?}"), "TlsClientConfig { .. }");
    }

    #[test]
    fn what_makes_none_is_named() {
        let complaint = |ca: &str, own: Option<(&str, &str)>| {
            let own = own.map(|(cert, key)| (file(cert), file(key)));
            let own = own.as_ref().map(|(cert, key)| (&**cert, &**key));
            let config = TlsClientConfig::from_pem_files(&file(ca), own);
            let text = config.expect_err("it was to be refused").to_string();
            text.replace(&file("").display().to_string(), "")
        };
        for (said, start) in [
            (complaint("none.pem", None), "cannot read none.pem"),
            (complaint("server.key", None), "server.key: no certificate"),
            (
                complaint("ca.pem", Some(("client.pem", "make"))),
                "make: no private key",
            ),
            (
                complaint("ca.pem", Some(("client.pem", "server.key"))),
                "the key in server.key is not that of the first certificate in client.pem",
            ),
        ] {
            assert!(said.starts_with(start), "{said}");
        }
    }
}
