//! TLS of the gRPC server: `IDENTITY_TLS`, `IDENTITY_TLS_CERT_FILE`, `IDENTITY_TLS_KEY_FILE`,
//! `IDENTITY_TLS_CLIENT_CA_FILE`, `IDENTITY_TLS_CLIENT_CERT`, `IDENTITY_TLS_RELOAD_INTERVAL`.

use std::path::PathBuf;
use std::time::Duration;

use super::variable::{Reader, Variable};

const TLS: Variable = Variable::new(
    "IDENTITY_TLS",
    "",
    "Whether the gRPC server speaks TLS (on or off); on if files are given. Beyond loopback, plain text has to be \
     asked for with off",
);
const CERT_FILE: Variable = Variable::new(
    "IDENTITY_TLS_CERT_FILE",
    "",
    "The file with the certificate of the server and those of the authorities between (PEM)",
);
const KEY_FILE: Variable = Variable::new(
    "IDENTITY_TLS_KEY_FILE",
    "",
    "The file with the private key of the certificate (PEM), which others must not be able to read",
);
const CLIENT_CA_FILE: Variable = Variable::new(
    "IDENTITY_TLS_CLIENT_CA_FILE",
    "",
    "The file with the authorities that vouch for clients (PEM); clients are asked for certificates if it is set",
);
const CLIENT_CERT: Variable = Variable::new(
    "IDENTITY_TLS_CLIENT_CERT",
    "required",
    "Whether a client without a certificate is refused, if clients are asked for one (required or optional)",
);
const RELOAD_INTERVAL: Variable = Variable::new(
    "IDENTITY_TLS_RELOAD_INTERVAL",
    "1m",
    "How often the files of TLS are looked at; SIGHUP has them looked at at once",
);

pub(super) const VARIABLES: &[Variable] = &[
    TLS,
    CERT_FILE,
    KEY_FILE,
    CLIENT_CA_FILE,
    CLIENT_CERT,
    RELOAD_INTERVAL,
];

/// TLS of the gRPC server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSettings {
    /// Nothing was said about it: plain text, which is for loopback only.
    Unset,
    /// Plain text was asked for.
    Off,
    /// TLS.
    On(TlsFiles),
}

/// The files that TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server and those of the authorities between.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// Who vouches for clients, if they are asked for certificates.
    pub clients: Option<ClientCertificates>,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// How clients are asked for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities that vouch for clients.
    pub authorities: PathBuf,
    /// Whether a client without a certificate is refused.
    pub is_required: bool,
}

impl TlsSettings {
    /// Returns the files, if TLS is on.
    #[must_use]
    pub const fn files(&self) -> Option<&TlsFiles> {
        match self {
            Self::On(files) => Some(files),
            Self::Unset | Self::Off => None,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let path = |text: &str| Ok(PathBuf::from(text));
        let switch = reader.parse_optional(&TLS, |text| match text {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => Err("must be on or off".to_owned()),
        });
        let certificate = reader.parse_optional(&CERT_FILE, path)?;
        let key = reader.parse_optional(&KEY_FILE, path)?;
        let authorities = reader.parse_optional(&CLIENT_CA_FILE, path)?;
        let is_required = reader.parse(&CLIENT_CERT, |text| match text {
            "required" => Ok(true),
            "optional" => Ok(false),
            _ => Err("must be required or optional".to_owned()),
        });
        let reload_interval = reader.duration(
            &RELOAD_INTERVAL,
            Duration::from_millis(10)..=Duration::from_secs(24 * 3600),
        );
        let has_files = certificate.is_some() || key.is_some() || authorities.is_some();
        match switch? {
            Some(false) if has_files => {
                reader.note(&TLS, "must not be off while there are files for it; unset them");
                None
            }
            Some(false) => Some(Self::Off),
            None if !has_files => Some(Self::Unset),
            Some(true) | None => {
                if certificate.is_none() {
                    reader.note(&CERT_FILE, "must be set for TLS");
                }
                if key.is_none() {
                    reader.note(&KEY_FILE, "must be set for TLS");
                }
                let is_required = is_required?;
                Some(Self::On(TlsFiles {
                    certificate: certificate?,
                    key: key?,
                    clients: authorities.map(|authorities| ClientCertificates {
                        authorities,
                        is_required,
                    }),
                    reload_interval: reload_interval?,
                }))
            }
        }
    }
}
