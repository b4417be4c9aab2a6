//! TLS: a certificate and a key, and the stream that they make of a socket.

#[cfg(feature = "redis")]
mod client;
mod stream;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha1::{Digest, Sha1};

#[cfg(feature = "redis")]
pub use client::TlsClientConfig;
pub(super) use stream::{STREAM_BYTES, TlsStream};

/// The longest file of certificates or of a key.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Who we are, and of whom we ask the same: TLS 1.2 and 1.3, with ALPN `http/1.1` for clients that
/// ask for it.
///
/// Cheap to clone. Two are equal if they have the same certificates, which the key belongs to.
#[derive(Clone)]
pub struct TlsConfig {
    rustls: Arc<rustls::ServerConfig>,
    certificates: Arc<Certificates>,
}

#[derive(PartialEq, Eq)]
struct Certificates {
    own: Vec<CertificateDer<'static>>,
    client_ca: Vec<CertificateDer<'static>>,
}

impl TlsConfig {
    /// Reads a certificate chain, its key, and, if clients must have certificates (mTLS), those of
    /// the authorities that sign them. All in PEM; the chain begins with the server's own.
    ///
    /// # Errors
    /// If a file cannot be read, holds something else, or the key is not that of the certificate.
    pub fn from_pem_files(
        cert: &Path,
        key: &Path,
        client_ca: Option<&Path>,
    ) -> Result<Self, TlsError> {
        let identity = Identity::from_pem_files(cert, key)?;
        let authorities = client_ca.map(Authorities::from_pem_file).transpose()?;
        let verifier = authorities
            .as_ref()
            .map(Authorities::verifier)
            .transpose()?;
        let builder = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError::unusable(cert, &error))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let (own, mut rustls) = identity.show(|chain, key| builder.with_single_cert(chain, key))?;
        rustls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            rustls: Arc::new(rustls),
            certificates: Arc::new(Certificates {
                own,
                client_ca: authorities.map_or(Vec::new(), |authorities| authorities.certificates),
            }),
        })
    }
}

impl TlsConfig {
    /// How the SHA-1 fingerprint of the certificate begins, as `openssl x509 -fingerprint` prints
    /// it: enough to tell two apart.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(self.certificates.own.first())
    }
}

fn fingerprint(certificate: Option<&CertificateDer<'_>>) -> String {
    let digest = Sha1::digest(certificate.map_or(&[][..], |certificate| certificate));
    let bytes: Vec<String> = digest[..4]
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for TlsConfig {}

/// Whoever signs the certificates of those whom we believe.
struct Authorities<'p> {
    path: &'p Path,
    certificates: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
}

impl<'p> Authorities<'p> {
    fn from_pem_file(path: &'p Path) -> Result<Self, TlsError> {
        let certificates = certificates(path)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| TlsError::unusable(path, &error))?;
        }
        Ok(Self {
            path,
            certificates,
            roots,
        })
    }

    /// Who checks the certificates of clients: they must come from these authorities.
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let roots = Arc::new(self.roots.clone());
        WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| TlsError::unusable(self.path, &error))
    }
}

/// A certificate chain, and the key of its first certificate.
struct Identity<'p> {
    cert: &'p Path,
    key: &'p Path,
    chain: Vec<CertificateDer<'static>>,
    private_key: PrivateKeyDer<'static>,
}

impl<'p> Identity<'p> {
    fn from_pem_files(cert: &'p Path, key: &'p Path) -> Result<Self, TlsError> {
        Ok(Self {
            cert,
            key,
            chain: certificates(cert)?,
            private_key: private_key(key)?,
        })
    }

    /// The chain, and what takes it and the key: whether they belong together shows there.
    fn show<T>(
        self,
        take: impl FnOnce(
            Vec<CertificateDer<'static>>,
            PrivateKeyDer<'static>,
        ) -> Result<T, rustls::Error>,
    ) -> Result<(Vec<CertificateDer<'static>>, T), TlsError> {
        let taken = take(self.chain.clone(), self.private_key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::KeyMismatch {
                    cert: self.cert.to_owned(),
                    key: self.key.to_owned(),
                }
            }
            // What it says of the key is general; what it says of the certificate is not.
            rustls::Error::General(_) => TlsError::unusable(self.key, &error),
            error => TlsError::unusable(self.cert, &error),
        })?;
        Ok((self.chain, taken))
    }
}

/// Who does the arithmetic.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates in a file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(pem::Error::NoItemsFound) => Err(TlsError::NoCertificate(path.to_owned())),
        Err(error) => Err(TlsError::unusable(path, &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => TlsError::unusable(path, &error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut text = Vec::new();
    open(path)
        .and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut text))
        .map_err(|error| TlsError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    if text.len() as u64 > MAX_PEM_BYTES {
        return Err(TlsError::TooLong(path.to_owned()));
    }
    Ok(text)
}

/// Opens a regular file: what is none, a pipe for example, could let a server that runs wait for
/// ever.
fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        let why = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    File::open(path)
}

/// Files that make no [`TlsConfig`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of over 1 MiB.
    TooLong(PathBuf),
    /// A file without a certificate.
    NoCertificate(PathBuf),
    /// A file without a key, or with one that only a password opens.
    NoKey(PathBuf),
    /// A file whose content cannot be used.
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The key belongs to another certificate.
    KeyMismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

impl TlsError {
    fn unusable(path: &Path, why: &dyn fmt::Display) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => {
                write!(f, "cannot read {}: {error}", path.display())
            }
            Self::TooLong(path) => write!(
                f,
                "{}: over {MAX_PEM_BYTES} bytes, which is no file of certificates or keys",
                path.display()
            ),
            Self::NoCertificate(path) => write!(
                f,
                "{}: no certificate in it; it must be in PEM (-----BEGIN CERTIFICATE-----)",
                path.display()
            ),
            Self::NoKey(path) => write!(
                f,
                "{}: no private key in it; it must be in PEM (-----BEGIN PRIVATE KEY-----) and \
                 without a password (openssl pkey -in FILE -out FILE takes one off)",
                path.display()
            ),
            Self::Unusable { path, why } => write!(f, "{}: {why}", path.display()),
            Self::KeyMismatch { cert, key } => write!(
                f,
                "the key in {} is not that of the first certificate in {}; the server's own must \
                 come first, and both must be of one renewal",
                key.display(),
                cert.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/tls/certificates")
            .join(name)
    }

    fn complaint(cert: &str, key: &str, client_ca: Option<&str>) -> String {
        let client_ca = client_ca.map(file);
        let config = TlsConfig::from_pem_files(&file(cert), &file(key), client_ca.as_deref());
        let text = config.expect_err("it was to be refused").to_string();
        text.replace(&file("").display().to_string(), "")
    }

    #[test]
    fn a_certificate_and_its_key_make_a_configuration() {
        for name in ["server", "server-rsa", "renewed"] {
            let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
            let config = TlsConfig::from_pem_files(&cert, &key, None).unwrap();
            assert_eq!(config, config.clone());
            let again = TlsConfig::from_pem_files(&cert, &key, Some(&file("ca.pem"))).unwrap();
            assert_ne!(config, again);
            // No key gets into a log by accident.
            assert_eq!(format!("{again:?}"), "TlsConfig { .. }");
        }
    }

    #[test]
    fn what_makes_none_is_named_and_what_to_do_as_well() {
        let cases = [
            (
                ("none.pem", "server.key", None),
                "cannot read none.pem: No such file",
            ),
            (
                ("server.pem", "none.key", None),
                "cannot read none.key: No such file",
            ),
            (
                ("server.pem", "server.key", Some("none.pem")),
                "cannot read none.pem",
            ),
            (
                ("server.key", "server.key", None),
                "server.key: no certificate in it; it must",
            ),
            (("make", "server.key", None), "make: no certificate in it"),
            (
                ("server.pem", "server.pem", None),
                "server.pem: no private key in it; it must",
            ),
            (
                ("server.pem", "server.key", Some("make")),
                "make: no certificate in it",
            ),
            (
                ("server.pem", "renewed.key", None),
                "the key in renewed.key is not that of the first certificate in server.pem",
            ),
            (
                ("server.pem", "server-rsa.key", None),
                "the key in server-rsa.key is not that of the first certificate in server.pem",
            ),
        ];
        for ((cert, key, client_ca), start) in cases {
            let said = complaint(cert, key, client_ca);
            assert!(said.starts_with(start), "{said}");
        }
    }

    #[test]
    fn files_without_an_end_and_files_of_junk_are_refused() {
        let endless = TlsConfig::from_pem_files(Path::new("/dev/zero"), &file("server.key"), None);
        let said = endless.expect_err("there is no end").to_string();
        assert_eq!(said, "cannot read /dev/zero: not a regular file");
        let folder = std::env::temp_dir().join(format!("fanfare-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let junk = folder.join("junk.pem");
        // As long as it is allowed to be, and a byte longer; of zeros that take no room.
        for (len, said) in [
            (MAX_PEM_BYTES, "no certificate in it"),
            (
                MAX_PEM_BYTES + 1,
                "over 1048576 bytes, which is no file of certificates or keys",
            ),
        ] {
            File::create(&junk).unwrap().set_len(len).unwrap();
            let config = TlsConfig::from_pem_files(&junk, &file("server.key"), None);
            let error = config.expect_err("it is too long, or empty").to_string();
            assert!(
                error.starts_with(&format!("{}: {said}", junk.display())),
                "{error}"
            );
        }
        for (content, start) in [
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "",
            ),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", ""),
        ] {
            std::fs::write(&junk, content).unwrap();
            let config = TlsConfig::from_pem_files(&junk, &file("server.key"), None);
            let said = config.expect_err(content).to_string();
            assert!(
                said.starts_with(&format!("{}: {start}", junk.display())),
                "{said}"
            );
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
