//! The client that a person uses, as the calling service sees it.

use std::net::{IpAddr, Ipv6Addr};

use super::Invalid;
use super::text::parse_plain_name;

/// Where a sign-in comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The address, if known.
    pub ip_address: Option<IpAddr>,
    /// What the client calls itself, if known.
    pub user_agent: Option<UserAgent>,
    /// The application that the person signs in to.
    pub client_id: ClientId,
}

impl Client {
    /// Returns the network that attempts of this client count for.
    #[must_use]
    pub fn network(&self) -> Network {
        Network::of(self.ip_address)
    }
}

/// Parses an address. An IPv4 address that is written as an IPv6 one is that IPv4 address.
pub fn parse_ip_address(text: &str) -> Result<IpAddr, Invalid> {
    text.parse::<IpAddr>()
        .map(|address| address.to_canonical())
        .map_err(|_| Invalid::format("must be an IPv4 or IPv6 address"))
}

/// What a client calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAgent(String);

impl UserAgent {
    /// The most characters that are kept: enough to recognise a browser, and the width of the column.
    pub const MAX_CHARACTERS: usize = 512;

    /// Accepts text without control characters, and cuts it: a sign-in does not fail because of a long name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.chars().any(char::is_control) {
            return Err(Invalid::format("must not contain control characters"));
        }
        Ok(Self(text.chars().take(Self::MAX_CHARACTERS).collect()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a text that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// The application a session belongs to: the claim `client_id` of RFC 9068.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientId(String);

impl ClientId {
    /// The most characters of an id.
    pub const MAX_CHARACTERS: usize = 64;

    /// Accepts 1 to 64 ASCII letters, digits, dots, hyphens and underscores.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_plain_name(text, Self::MAX_CHARACTERS).map(Self)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes an id that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl Default for ClientId {
    /// The id of clients that name none.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// The network that attempts to sign in are counted for: an IPv4 address, or the /64 of an IPv6 address, which is
/// what one household gets and can move around in freely. All clients whose address is not known are one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(Option<IpAddr>);

impl Network {
    /// Returns the network of an address.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        /// The first 64 of 128 bits.
        const PREFIX: u128 = !0 << 64;
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & PREFIX)),
        }))
    }

    /// Returns bytes that no other network has.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self.0 {
            None => Vec::new(),
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientId, Network, UserAgent, parse_ip_address};

    fn network(text: &str) -> Network {
        Network::of(Some(parse_ip_address(text).expect("an address")))
    }

    #[test]
    fn networks() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("0.0.0.0"), Network::of(None));
    }

    #[test]
    fn what_clients_say_is_bounded() {
        let long = "x".repeat(UserAgent::MAX_CHARACTERS + 1);
        let kept = UserAgent::parse(&long).expect("a long name is cut");
        assert_eq!(kept.as_str().len(), UserAgent::MAX_CHARACTERS);
        assert!(UserAgent::parse("a\nb").is_err());
        assert!(ClientId::parse("web-app_1.0").is_ok());
        for text in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(ClientId::parse(text).is_err(), "{text}");
        }
        for text in ["", "1.2.3", "1.2.3.4/8", "fe80::1%eth0", "host", "01.2.3.4"] {
            assert!(parse_ip_address(text).is_err(), "{text}");
        }
    }
}
