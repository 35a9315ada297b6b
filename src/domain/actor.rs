//! Who does something.

use std::fmt;

use super::{ServiceName, UserId};

/// Who does something, as it is on record. Never taken from a request, only from the credential of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever calls where nobody has to say who it is.
    Anonymous,
    /// A service, by the name of its token.
    Service(ServiceName),
    /// A service, by the name in its client certificate.
    Certificate(String),
    /// A user, for itself.
    User(UserId),
    /// Whoever runs commands beside the server.
    Operator,
    /// The service itself.
    System,
}

impl Actor {
    /// Returns the kind, as it is stored.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Service(_) => "service",
            Self::Certificate(_) => "certificate",
            Self::User(_) => "user",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Service(name) => write!(f, "{kind}:{}", name.as_str()),
            Self::Certificate(name) => write!(f, "{kind}:{name}"),
            Self::User(id) => write!(f, "{kind}:{id}"),
            Self::Anonymous | Self::Operator | Self::System => f.write_str(kind),
        }
    }
}
