//! Who does something.

use std::fmt;

use super::{ServiceName, UserId};

/// Who does something, as it is on record. Never taken from a request, only from the credential of its caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// The kinds of [`Actor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// [`Actor::Anonymous`].
    Anonymous,
    /// [`Actor::Service`].
    Service,
    /// [`Actor::Certificate`].
    Certificate,
    /// [`Actor::User`].
    User,
    /// [`Actor::Operator`].
    Operator,
    /// [`Actor::System`].
    System,
}

impl ActorKind {
    /// Returns the name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Service => "service",
            Self::Certificate => "certificate",
            Self::User => "user",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

impl Actor {
    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> ActorKind {
        match self {
            Self::Anonymous => ActorKind::Anonymous,
            Self::Service(_) => ActorKind::Service,
            Self::Certificate(_) => ActorKind::Certificate,
            Self::User(_) => ActorKind::User,
            Self::Operator => ActorKind::Operator,
            Self::System => ActorKind::System,
        }
    }

    /// Returns which one of its kind it is, unless the kind has one only.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Service(name) => Some(name.as_str().to_owned()),
            Self::Certificate(name) => Some(name.clone()),
            Self::User(id) => Some(id.to_string()),
            Self::Anonymous | Self::Operator | Self::System => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().as_str();
        match self {
            Self::Service(name) => write!(f, "{kind}:{}", name.as_str()),
            Self::Certificate(name) => write!(f, "{kind}:{name}"),
            Self::User(id) => write!(f, "{kind}:{id}"),
            Self::Anonymous | Self::Operator | Self::System => f.write_str(kind),
        }
    }
}
