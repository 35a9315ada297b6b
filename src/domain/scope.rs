//! Scopes: what a service may call.

use std::collections::BTreeSet;
use std::fmt;

use super::Invalid;

/// What a method asks of a service that calls it. There is one for each that the contract names, and
/// [`Scope::ADMIN`], which stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(&'static str);

// The scopes that the contract names, as constants, and `Scope::ALL`.
include!(concat!(env!("OUT_DIR"), "/scopes.rs"));

impl Scope {
    /// Every scope there is.
    pub const ADMIN: Self = Self("admin");

    /// Accepts the name of a scope.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.0 == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(|scope| scope.0).join(", ");
                Invalid::format(format!("must be one of {names}"))
            })
    }

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// The scopes that a service has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// What separates scopes that are written down, as in OAuth (RFC 6749 §3.3).
    const SEPARATOR: &'static str = " ";

    /// Tells whether a method that asks for a scope may be called.
    #[must_use]
    pub fn grant(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::ADMIN)
    }

    /// Tells whether nothing may be called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes scopes that were valid when they were stored. One that this version does not know grants nothing.
    pub(crate) fn from_stored(text: &str) -> Self {
        text.split(Self::SEPARATOR)
            .filter_map(|name| Scope::parse(name).ok())
            .collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(Self::SEPARATOR))
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Scopes};

    #[test]
    fn scopes_grant_themselves_and_admin_grants_all() {
        let reader: Scopes = [Scope::USERS_READ].into_iter().collect();
        assert!(reader.grant(Scope::USERS_READ));
        assert!(!reader.grant(Scope::USERS_WRITE));
        assert!(!reader.grant(Scope::ADMIN));
        let admin: Scopes = [Scope::ADMIN].into_iter().collect();
        assert!(Scope::ALL.into_iter().all(|scope| admin.grant(scope)));
        assert!(!Scope::ALL.into_iter().any(|scope| Scopes::default().grant(scope)));
    }

    #[test]
    fn scopes_are_stored_as_text() {
        let all: Scopes = Scope::ALL.into_iter().collect();
        assert_eq!(Scopes::from_stored(&all.to_string()), all);
        let known = Scopes::from_stored("users.read nothing.known");
        assert_eq!(known.to_string(), "users.read");
        for text in ["", "*", "Admin", "users", "users.read users.write", "users.*"] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }
}
