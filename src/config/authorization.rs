//! Who may call: `IDENTITY_AUTH`, `IDENTITY_TLS_CALLERS`, `IDENTITY_SERVICE_TOKEN_INTERVAL`,
//! `IDENTITY_RATE_LIMIT_PER_SERVICE`, `IDENTITY_RATE_LIMIT_PER_USER`.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::listen::ListenSettings;
use super::variable::{Reader, Variable};
use crate::domain::{Scope, Scopes};
use crate::listener::PeerName;

const AUTH: Variable = Variable::new(
    "IDENTITY_AUTH",
    "on",
    "Whether callers have to show who they are (on or off); off only where IDENTITY_LISTEN is a loopback address",
);
const TLS_CALLERS: Variable = Variable::new(
    "IDENTITY_TLS_CALLERS",
    "",
    "Services known by the name in their client certificate, and their scopes: \
     spiffe://example.org/todo=users.read,auth.sign_in;gateway.internal=admin",
);
const SERVICE_TOKEN_INTERVAL: Variable = Variable::new(
    "IDENTITY_SERVICE_TOKEN_INTERVAL",
    "2s",
    "How often a server looks for service tokens that were made or revoked elsewhere",
);
const RATE_LIMIT_PER_SERVICE: Variable = Variable::new(
    "IDENTITY_RATE_LIMIT_PER_SERVICE",
    "off",
    "The most calls that one service makes to one server, such as 5000/s or 1000/m; off for no limit",
);
const RATE_LIMIT_PER_USER: Variable = Variable::new(
    "IDENTITY_RATE_LIMIT_PER_USER",
    "50/s",
    "The most calls that one user makes to one server with access tokens, such as 50/s; off for no limit",
);

pub(super) const VARIABLES: &[Variable] = &[
    AUTH,
    TLS_CALLERS,
    SERVICE_TOKEN_INTERVAL,
    RATE_LIMIT_PER_SERVICE,
    RATE_LIMIT_PER_USER,
];

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationSettings {
    /// Whether callers have to show who they are.
    pub is_required: bool,
    /// The services that are known by their client certificate.
    pub tls_callers: HashMap<PeerName, Scopes>,
    /// How often service tokens are read again.
    pub service_token_interval: Duration,
    /// How often each service may call.
    pub rate_limit_per_service: Option<RateLimit>,
    /// How often each user may call.
    pub rate_limit_per_user: Option<RateLimit>,
}

/// So many calls in so much time, all of which may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The calls.
    pub calls: NonZeroU32,
    /// The time.
    pub period: Duration,
}

impl AuthorizationSettings {
    pub(super) fn read(reader: &mut Reader<'_>, listen: Option<&ListenSettings>) -> Option<Self> {
        let is_required = reader.switch(&AUTH);
        let is_exposed = listen.is_some_and(|listen| !listen.grpc.ip().is_loopback());
        if is_required == Some(false) && is_exposed {
            reader.note(&AUTH, "can be off only if IDENTITY_LISTEN is a loopback address");
        }
        let tls_callers = reader.parse_optional(&TLS_CALLERS, parse_callers);
        let service_token_interval = reader.duration(
            &SERVICE_TOKEN_INTERVAL,
            Duration::from_millis(100)..=Duration::from_secs(3600),
        );
        let rate_limit_per_service = reader.parse(&RATE_LIMIT_PER_SERVICE, parse_rate_limit);
        let rate_limit_per_user = reader.parse(&RATE_LIMIT_PER_USER, parse_rate_limit);
        Some(Self {
            is_required: is_required?,
            tls_callers: tls_callers?.unwrap_or_default(),
            service_token_interval: service_token_interval?,
            rate_limit_per_service: rate_limit_per_service?,
            rate_limit_per_user: rate_limit_per_user?,
        })
    }
}

fn parse_callers(text: &str) -> Result<HashMap<PeerName, Scopes>, String> {
    let mut callers = HashMap::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, scopes) = entry
            .rsplit_once('=')
            .ok_or_else(|| format!("{entry}: must be a name, = and scopes"))?;
        let scopes = scopes
            .split(',')
            .map(|scope| Scope::parse(scope.trim()))
            .collect::<Result<Scopes, _>>()
            .map_err(|invalid| format!("{name}: a scope {}", invalid.description))?;
        let known = callers.insert(parse_peer_name(name.trim())?, scopes);
        if known.is_some() {
            return Err(format!("{name}: is there twice"));
        }
    }
    Ok(callers)
}

fn parse_peer_name(text: &str) -> Result<PeerName, String> {
    /// What tells a URI from a DNS name.
    const AFTER_SCHEME: &str = "://";
    /// The width of what is on record about a caller.
    const MAX_BYTES: usize = 255;
    if text.is_empty() || text.len() > MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a name must have 1 to 255 ASCII characters".to_owned());
    }
    if text.contains('*') {
        return Err(format!("{text}: a wildcard is nobody's name"));
    }
    Ok(if text.contains(AFTER_SCHEME) {
        PeerName::Uri(text.to_owned())
    } else {
        PeerName::Dns(text.to_ascii_lowercase())
    })
}

fn parse_rate_limit(text: &str) -> Result<Option<RateLimit>, String> {
    if text == "off" {
        return Ok(None);
    }
    let parse = || {
        let (calls, unit) = text.split_once('/')?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        Some(RateLimit {
            calls: calls.parse().ok()?,
            period: Duration::from_secs(seconds),
        })
    };
    parse()
        .map(Some)
        .ok_or_else(|| "must be a number of calls per s, m or h, such as 50/s, or off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{parse_callers, parse_rate_limit};
    use crate::domain::Scope;
    use crate::listener::PeerName;

    #[test]
    fn callers() {
        let text = "spiffe://example.org/a=b=users.read, auth.sign_in; GATEWAY.internal = admin;";
        let callers = parse_callers(text).expect("callers");
        let todo = callers.get(&PeerName::Uri("spiffe://example.org/a=b".to_owned()));
        assert!(todo.is_some_and(|scopes| scopes.grant(Scope::AUTH_SIGN_IN)));
        let gateway = callers.get(&PeerName::Dns("gateway.internal".to_owned()));
        assert!(gateway.is_some_and(|scopes| scopes.grant(Scope::USERS_DELETE)));
        for wrong in [
            "todo",
            "todo=",
            "todo=all",
            "=admin",
            "*.org=admin",
            "a=admin;A=admin",
            "ä=admin",
        ] {
            assert!(parse_callers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rate_limits() {
        let limit = parse_rate_limit("50/s").expect("a limit").expect("a limit");
        assert_eq!((limit.calls.get(), limit.period.as_secs()), (50, 1));
        assert_eq!(parse_rate_limit("off"), Ok(None));
        for text in ["", "50", "0/s", "-1/s", "1/d", "1/s/s", "50 /s"] {
            assert!(parse_rate_limit(text).is_err(), "{text}");
        }
    }
}
