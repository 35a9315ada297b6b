//! Who may call which method: what the option `identity.v1.access` says in the protos.

use crate::domain::Scope;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// Which services may call it.
    pub(crate) services: Services,
    /// Whether users may call it for themselves.
    pub(crate) own: bool,
    /// Whether users may repeat it with an access token that it made inactive.
    pub(crate) own_repeat: bool,
    /// Whether anybody may call it.
    pub(crate) public: bool,
}

/// Which services may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Services {
    /// None.
    None,
    /// Those with a scope.
    With(Scope),
    /// All that are known, whatever their scopes.
    All,
}

impl Access {
    /// Everybody, also without a credential.
    const PUBLIC: Self = Self {
        services: Services::All,
        own: false,
        own_repeat: false,
        public: true,
    };

    /// Every service that is known.
    const SERVICES: Self = Self {
        public: false,
        ..Self::PUBLIC
    };
}

// The methods of `identity.v1`.
include!(concat!(env!("OUT_DIR"), "/access.rs"));

/// The methods of protocols that others define.
const STANDARD_METHODS: [(&str, Access); 5] = [
    // Kubernetes probes have no credential.
    ("/grpc.health.v1.Health/Check", Access::PUBLIC),
    ("/grpc.health.v1.Health/List", Access::PUBLIC),
    ("/grpc.health.v1.Health/Watch", Access::PUBLIC),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Access::SERVICES,
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Access::SERVICES,
    ),
];

/// A method of the API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// Its path, such as `/identity.v1.UserService/GetUser`.
    pub(crate) path: &'static str,
    /// Who may call it.
    pub(crate) access: Access,
}

/// Returns the full name of the service of a method.
pub(crate) fn service_of(path: &str) -> Option<&str> {
    path.strip_prefix('/')?
        .split_once('/')
        .map(|(service, _)| service)
}

/// Returns all methods. What is not among them may be called by nobody.
pub(crate) fn methods() -> impl Iterator<Item = Method> {
    let methods = METHODS.iter().chain(&STANDARD_METHODS).copied();
    methods.map(|(path, access)| Method { path, access })
}
