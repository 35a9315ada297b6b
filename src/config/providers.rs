//! Accounts at providers: `IDENTITY_GOOGLE_*`, `IDENTITY_APPLE_*`, `IDENTITY_OIDC_PROVIDERS`, `IDENTITY_PROVIDER_*`,
//! `IDENTITY_FRESH_SIGN_IN`.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use url::Url;

use super::variable::{Reader, Variable, to_span};
use crate::domain::ProviderName;
use crate::id_tokens::{
    APPLE_ISSUER, EmailTrust, GOOGLE_ISSUER, KeySource, ProviderConfig, may_be_fetched,
};

const GOOGLE_CLIENT_IDS: Variable = Variable::new(
    "IDENTITY_GOOGLE_CLIENT_IDS",
    "",
    "The ids of your applications at Google, separated by commas; sign-in with Google is off without one",
);
const GOOGLE_KEYS_URL: Variable = Variable::new(
    "IDENTITY_GOOGLE_KEYS_URL",
    "https://www.googleapis.com/oauth2/v3/certs",
    "Where Google's keys are, for deployments that reach them through a mirror",
);
const APPLE_CLIENT_IDS: Variable = Variable::new(
    "IDENTITY_APPLE_CLIENT_IDS",
    "",
    "The ids of your applications at Apple, separated by commas; sign-in with Apple is off without one",
);
const APPLE_KEYS_URL: Variable = Variable::new(
    "IDENTITY_APPLE_KEYS_URL",
    "https://appleid.apple.com/auth/keys",
    "Where Apple's keys are, for deployments that reach them through a mirror",
);
const OIDC_PROVIDERS: Variable = Variable::new(
    "IDENTITY_OIDC_PROVIDERS",
    "",
    "Other OpenID Connect issuers, each with a name of your choice, separated by semicolons: \
     corp issuer=https://id.example.org clients=web,app. Also keys=URL if there is no discovery document, and \
     emails=authoritative if every address there is one that the issuer gives out itself",
);
const SIGN_UP: Variable = Variable::new(
    "IDENTITY_PROVIDER_SIGN_UP",
    "off",
    "Whether a user is created for an account at a provider that is nobody's (on or off)",
);
const CA_FILE: Variable = Variable::new(
    "IDENTITY_PROVIDER_CA_FILE",
    "",
    "A file with authorities that vouch for providers beside those of this machine (PEM)",
);
const TIMEOUT: Variable = Variable::new(
    "IDENTITY_PROVIDER_TIMEOUT",
    "3s",
    "How long fetching the keys of a provider may take",
);
const KEYS_LIFETIME: Variable = Variable::new(
    "IDENTITY_PROVIDER_KEYS_LIFETIME",
    "1h",
    "How long the keys of a provider are fresh; after that they are fetched anew while they are still used, for a day at \
     most",
);
const KEYS_INTERVAL: Variable = Variable::new(
    "IDENTITY_PROVIDER_KEYS_INTERVAL",
    "10s",
    "How often a provider is asked for its keys at most, however many tokens name unknown ones",
);
const FRESH_SIGN_IN: Variable = Variable::new(
    "IDENTITY_FRESH_SIGN_IN",
    "10m",
    "How long ago users may have signed in who link or unlink an account themselves",
);

pub(super) const VARIABLES: &[Variable] = &[
    GOOGLE_CLIENT_IDS,
    GOOGLE_KEYS_URL,
    APPLE_CLIENT_IDS,
    APPLE_KEYS_URL,
    OIDC_PROVIDERS,
    SIGN_UP,
    CA_FILE,
    TIMEOUT,
    KEYS_LIFETIME,
    KEYS_INTERVAL,
    FRESH_SIGN_IN,
];

/// Accounts at providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// The providers.
    pub providers: Vec<ProviderConfig>,
    /// Whether users are created for accounts that are nobody's.
    pub sign_up: bool,
    /// Who vouches for providers beside the authorities of this machine.
    pub ca_file: Option<PathBuf>,
    /// How long fetching keys may take.
    pub timeout: Duration,
    /// How keys are kept.
    pub keys: KeyTimes,
    /// How long ago users may have signed in who change their accounts themselves.
    pub fresh_sign_in: TimeDelta,
}

/// How the keys of a provider are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTimes {
    /// How long they are fresh.
    pub lifetime: TimeDelta,
    /// The least time between two questions for them.
    pub interval: TimeDelta,
}

impl ProviderSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        let presets = [
            (
                ProviderName::GOOGLE,
                GOOGLE_ISSUER,
                EmailTrust::Google,
                reader.parse(&GOOGLE_CLIENT_IDS, client_ids),
                reader.parse(&GOOGLE_KEYS_URL, fetched_url),
            ),
            (
                ProviderName::APPLE,
                APPLE_ISSUER,
                EmailTrust::Apple,
                reader.parse(&APPLE_CLIENT_IDS, client_ids),
                reader.parse(&APPLE_KEYS_URL, fetched_url),
            ),
        ];
        let others = reader.parse(&OIDC_PROVIDERS, parse_providers);
        let sign_up = reader.switch(&SIGN_UP);
        let ca_file = reader.parse_optional(&CA_FILE, |text| Ok(PathBuf::from(text)));
        let timeout = reader.duration(&TIMEOUT, Duration::from_millis(100)..=30 * SECOND);
        // A key that a provider gives up is good for another day at most.
        let lifetime = reader.duration(&KEYS_LIFETIME, SECOND..=12 * HOUR);
        let interval = reader.duration(&KEYS_INTERVAL, SECOND..=HOUR);
        let fresh_sign_in = reader.duration(&FRESH_SIGN_IN, SECOND..=24 * HOUR);
        let mut providers = Vec::new();
        for (name, issuer, emails, ids, keys_url) in presets {
            let (ids, keys_url) = (ids?, keys_url?);
            if !ids.is_empty() {
                providers.push(ProviderConfig {
                    name: ProviderName::parse(name).ok()?,
                    issuer: issuer.to_owned(),
                    client_ids: ids,
                    keys: KeySource::Jwks(keys_url),
                    emails,
                });
            }
        }
        providers.extend(others?);
        Some(Self {
            providers,
            sign_up: sign_up?,
            ca_file: ca_file?,
            timeout: timeout?,
            keys: KeyTimes {
                lifetime: to_span(lifetime?),
                interval: to_span(interval?),
            },
            fresh_sign_in: to_span(fresh_sign_in?),
        })
    }
}

fn client_ids(text: &str) -> Result<BTreeSet<String>, String> {
    /// The longest id that a provider is known to give is a quarter of that.
    const MAX_BYTES: usize = 255;
    text.split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(|id| {
            let is_id = id.len() <= MAX_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
            is_id.then(|| id.to_owned())
        })
        .collect::<Option<_>>()
        .ok_or_else(|| {
            "must be ids of 1 to 255 visible ASCII characters, separated by commas".to_owned()
        })
}

fn fetched_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| may_be_fetched(url) && url.fragment().is_none())
        .ok_or_else(|| {
            "must be an https URL without a password, or an http URL of this machine".to_owned()
        })
}

fn parse_providers(text: &str) -> Result<Vec<ProviderConfig>, String> {
    let mut providers = Vec::new();
    let (mut names, mut issuers) = (HashSet::new(), HashSet::new());
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let provider = parse_provider(entry)?;
        let name = provider.name.as_str();
        if !names.insert(provider.name.clone()) || !issuers.insert(provider.issuer.clone()) {
            return Err(format!("{name}: its name or its issuer is there twice"));
        }
        providers.push(provider);
    }
    Ok(providers)
}

fn parse_provider(entry: &str) -> Result<ProviderConfig, String> {
    /// The width of the column.
    const MAX_ISSUER_CHARACTERS: usize = 255;
    let mut words = entry.split_whitespace();
    let first = words.next().unwrap_or_default();
    let name = ProviderName::parse(first)
        .map_err(|invalid| format!("the name of a provider {}", invalid.description))?;
    let of_provider = |mistake: String| format!("{first}: {mistake}");
    if [ProviderName::GOOGLE, ProviderName::APPLE].contains(&first) {
        return Err(of_provider("has settings of its own".to_owned()));
    }
    let (mut issuer, mut ids, mut keys, mut emails) = (None, None, None, None);
    for word in words {
        let (field, value) = word.split_once('=').unwrap_or((word, ""));
        let is_known = match field {
            "issuer" => issuer.replace(value).is_none(),
            "clients" => ids.replace(value).is_none(),
            "keys" => keys.replace(value).is_none(),
            "emails" => emails.replace(value).is_none(),
            _ => false,
        };
        if !is_known {
            return Err(of_provider(format!(
                "{field}: must be one of issuer, clients, keys and emails, given once"
            )));
        }
    }
    let issuer = issuer.unwrap_or_default();
    let base = fetched_url(issuer).map_err(|mistake| of_provider(format!("issuer {mistake}")))?;
    let is_of_preset = [GOOGLE_ISSUER, APPLE_ISSUER].contains(&issuer.trim_end_matches('/'));
    if is_of_preset || issuer.len() > MAX_ISSUER_CHARACTERS || base.query().is_some() {
        return Err(of_provider(
            "issuer must be a URL of at most 255 characters without a query, and neither Google's nor Apple's".to_owned(),
        ));
    }
    let ids = client_ids(ids.unwrap_or_default())
        .map_err(|mistake| of_provider(format!("clients {mistake}")))?;
    if ids.is_empty() {
        return Err(of_provider("clients must be given".to_owned()));
    }
    let keys = match keys {
        Some(address) => {
            let address = fetched_url(address);
            KeySource::Jwks(address.map_err(|mistake| of_provider(format!("keys {mistake}")))?)
        }
        // OpenID Connect Discovery 1.0 §4.1.
        None => KeySource::Discovery(
            fetched_url(&format!(
                "{}/.well-known/openid-configuration",
                issuer.trim_end_matches('/')
            ))
            .map_err(|mistake| of_provider(format!("issuer {mistake}")))?,
        ),
    };
    let emails = match emails {
        None => EmailTrust::None,
        Some("authoritative") => EmailTrust::All,
        Some(_) => {
            return Err(of_provider(
                "emails must be authoritative, or not be given".to_owned(),
            ));
        }
    };
    Ok(ProviderConfig {
        name,
        // As it is written: it is compared byte by byte.
        issuer: issuer.to_owned(),
        client_ids: ids,
        keys,
        emails,
    })
}

#[cfg(test)]
mod tests {
    use super::parse_providers;
    use crate::id_tokens::{EmailTrust, KeySource};

    #[test]
    fn providers() {
        let text = "corp issuer=https://id.example.org/ clients=web,app emails=authoritative; \
                    local issuer=http://127.0.0.1:8080 clients=x keys=http://[::1]:8080/keys;";
        let providers = parse_providers(text).expect("providers");
        let [corp, local] = providers.as_slice() else {
            panic!("{providers:?}");
        };
        assert_eq!(corp.issuer, "https://id.example.org/");
        assert_eq!(corp.client_ids.len(), 2);
        assert_eq!(corp.emails, EmailTrust::All);
        let KeySource::Discovery(address) = &corp.keys else {
            panic!("{corp:?}");
        };
        assert_eq!(
            address.as_str(),
            "https://id.example.org/.well-known/openid-configuration"
        );
        assert_eq!(local.emails, EmailTrust::None);
        assert!(matches!(&local.keys, KeySource::Jwks(keys) if keys.port() == Some(8080)));
        assert_eq!(parse_providers(""), Ok(Vec::new()));
    }

    #[test]
    fn wrong_providers() {
        for wrong in [
            "corp",
            "corp issuer=https://id.example.org",
            "corp clients=web",
            "corp issuer=http://id.example.org clients=web",
            "corp issuer=ftp://id.example.org clients=web",
            "corp issuer=https://user:word@id.example.org clients=web",
            "corp issuer=https://id.example.org?x=1 clients=web",
            "corp issuer=https://id.example.org clients=web keys=http://10.0.0.1/keys",
            "corp issuer=https://id.example.org clients=web emails=yes",
            "corp issuer=https://id.example.org clients=web secret=x",
            "corp issuer=https://id.example.org clients=web clients=app",
            "google issuer=https://id.example.org clients=web",
            "corp issuer=https://accounts.google.com clients=web",
            "a b issuer=https://id.example.org clients=web",
            "a issuer=https://id.example.org clients=x; a issuer=https://other.example.org clients=x",
            "a issuer=https://id.example.org clients=x; b issuer=https://id.example.org clients=x",
        ] {
            assert!(parse_providers(wrong).is_err(), "{wrong}");
        }
    }
}
