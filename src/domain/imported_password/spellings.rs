//! The ways in which systems write down the hashes of passwords.

use base64::Engine as _;
use serde_json::Value;

use super::{Argon2Variant, BASE64, Digest, ForeignPasswordHash, HashParts, Scheme};
use crate::domain::{Invalid, PasswordHash};

impl ForeignPasswordHash {
    /// The most bytes of a hash in any spelling.
    pub const MAX_BYTES: usize = 1024;

    /// Accepts a hash as a text: one of bcrypt (`$2a$`, `$2b$`, `$2y$`), a PHC string of Argon2i, Argon2id, scrypt or
    /// PBKDF2, or as Django writes them.
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        let bcrypt = text.strip_prefix("bcrypt$").unwrap_or(text);
        if bcrypt.starts_with("$2") {
            return parse_bcrypt(bcrypt).map(Self::Bcrypt);
        }
        let phc = text.strip_prefix("argon2").filter(|rest| rest.starts_with('$'));
        let parts = match phc {
            Some(rest) => parse_phc(rest)?,
            None if text.starts_with('$') => parse_phc(text)?,
            None => parse_django(text)?,
        };
        Ok(Self::Other(parts.check()?.spell()))
    }

    /// Accepts a credential as Keycloak exports it: two texts of JSON.
    fn parse_keycloak(secret_data: &str, credential_data: &str) -> Result<Self, Invalid> {
        if secret_data.len() + credential_data.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        let parts = keycloak(secret_data, credential_data)
            .ok_or_else(|| Invalid::format("must be a password that Keycloak has exported"))?;
        Ok(Self::Other(parts.check()?.spell()))
    }

    /// Accepts a password as Firebase exports it, with the parameters of the project.
    fn parse_firebase(password: FirebasePassword<'_>) -> Result<Self, Invalid> {
        let longest = [
            password.hash,
            password.salt,
            password.signer_key,
            password.salt_separator,
        ];
        if longest.iter().map(|text| text.len()).sum::<usize>() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        let parts = HashParts {
            scheme: Scheme::FirebaseScrypt {
                log_n: u8::try_from(password.memory_cost).unwrap_or(u8::MAX),
                block_size: password.rounds,
                salt_separator: decode(password.salt_separator)?,
                signer_key: decode(password.signer_key)?,
            },
            salt: decode(password.salt)?,
            hash: decode(password.hash)?,
        };
        Ok(Self::Other(parts.check()?.spell()))
    }
}

/// A password in the spelling in which somebody brings it along.
#[derive(Clone, Copy)]
pub struct ForeignPassword<'a> {
    /// As a text; none if empty.
    pub text: &'a str,
    /// As Keycloak exports it: `secretData` and `credentialData`.
    pub keycloak: Option<(&'a str, &'a str)>,
    /// As Firebase exports it.
    pub firebase: Option<FirebasePassword<'a>>,
}

impl ForeignPassword<'_> {
    /// Accepts the hash in the one spelling that is used, if any is.
    pub fn parse(self) -> Result<Option<ForeignPasswordHash>, Invalid> {
        match (self.text, self.keycloak, self.firebase) {
            ("", None, None) => Ok(None),
            (text, None, None) => ForeignPasswordHash::parse(text).map(Some),
            ("", Some((secret_data, credential_data)), None) => {
                ForeignPasswordHash::parse_keycloak(secret_data, credential_data).map(Some)
            }
            ("", None, Some(firebase)) => ForeignPasswordHash::parse_firebase(firebase).map(Some),
            _ => Err(Invalid::format("must be the only password")),
        }
    }
}

/// A password as Firebase exports it: texts in base 64.
#[derive(Clone, Copy)]
pub struct FirebasePassword<'a> {
    /// `passwordHash` of the user.
    pub hash: &'a str,
    /// `salt` of the user.
    pub salt: &'a str,
    /// `base64_signer_key` of the project.
    pub signer_key: &'a str,
    /// `base64_salt_separator` of the project.
    pub salt_separator: &'a str,
    /// `rounds` of the project.
    pub rounds: u32,
    /// `mem_cost` of the project.
    pub memory_cost: u32,
}

fn no_hash() -> Invalid {
    Invalid::format("must be a hash of bcrypt, Argon2, scrypt or PBKDF2")
}

fn decode(text: &str) -> Result<Vec<u8>, Invalid> {
    // passlib writes a dot for a plus; Firebase exports for the web are in the other alphabet.
    let standard = text.replace(['.', '-'], "+").replace('_', "/");
    BASE64
        .decode(standard)
        .map_err(|_| Invalid::format("must be in base 64"))
}

fn parse_bcrypt(text: &str) -> Result<PasswordHash, Invalid> {
    /// What bcrypt writes.
    const CHARACTERS: usize = 60;
    /// Each step doubles the work; beyond this, verifying one takes seconds.
    const COSTS: std::ops::RangeInclusive<u32> = 4..=15;
    let mut pieces = text.split('$').skip(1);
    let (version, digits, rest) = (pieces.next(), pieces.next(), pieces.next().unwrap_or_default());
    let is_known = version.is_some_and(|version| ["2a", "2b", "2y"].contains(&version));
    let is_base64 = rest
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || [b'.', b'/'].contains(&byte));
    let has_cost = digits.is_some_and(|cost| cost.len() == 2);
    if text.len() != CHARACTERS || !is_known || !is_base64 || !has_cost || pieces.next().is_some() {
        return Err(no_hash());
    }
    let hash = PasswordHash::new(text.to_owned());
    match hash.cost() {
        Some(cost) if COSTS.contains(&cost) => Ok(hash),
        Some(cost) if cost > *COSTS.end() => Err(Invalid::too_long(15, "as the cost")),
        _ => Err(no_hash()),
    }
}

/// Reads a PHC string, or the spelling in which hashes are kept.
pub(super) fn parse_phc(text: &str) -> Result<HashParts, Invalid> {
    let pieces: Vec<&str> = text.split('$').collect();
    let (scheme, salt, hash) = match pieces.as_slice() {
        [
            "",
            name @ ("argon2i" | "argon2id"),
            version,
            parameters,
            salt,
            hash,
        ] => {
            let version = version.strip_prefix("v=").ok_or_else(no_hash)?;
            (argon2(name, version, parameters)?, salt, hash)
        }
        ["", name @ ("argon2i" | "argon2id"), parameters, salt, hash] => {
            // What version 1.0 wrote had no version in it.
            (argon2(name, "16", parameters)?, salt, hash)
        }
        ["", "scrypt", parameters, salt, hash] => {
            let read = Parameters::read(parameters)?;
            let scheme = Scheme::Scrypt {
                log_n: u8::try_from(read.number("ln")?).unwrap_or(u8::MAX),
                block_size: read.number("r")?,
                parallelism: read.number("p")?,
            };
            (scheme, salt, hash)
        }
        [
            "",
            "firebase-scrypt",
            parameters,
            separator,
            signer_key,
            salt,
            hash,
        ] => {
            let read = Parameters::read(parameters)?;
            let scheme = Scheme::FirebaseScrypt {
                log_n: u8::try_from(read.number("ln")?).unwrap_or(u8::MAX),
                block_size: read.number("r")?,
                salt_separator: decode(separator)?,
                signer_key: decode(signer_key)?,
            };
            (scheme, salt, hash)
        }
        ["", name, parameters, salt, hash] => (pbkdf2(name, parameters)?, salt, hash),
        _ => return Err(no_hash()),
    };
    Ok(HashParts {
        scheme,
        salt: decode(salt)?,
        hash: decode(hash)?,
    })
}

fn argon2(name: &str, version: &str, parameters: &str) -> Result<Scheme, Invalid> {
    /// Versions 1.0 and 1.3 of the reference implementation.
    const VERSIONS: [u32; 2] = [0x10, 0x13];
    let version: u32 = version.parse().map_err(|_| no_hash())?;
    if !VERSIONS.contains(&version) {
        return Err(no_hash());
    }
    let read = Parameters::read(parameters)?;
    Ok(Scheme::Argon2 {
        variant: if name == "argon2i" {
            Argon2Variant::I
        } else {
            Argon2Variant::Id
        },
        version,
        memory_kibibytes: read.number("m")?,
        passes: read.number("t")?,
        lanes: read.number("p")?,
    })
}

/// Reads the name and the iterations of PBKDF2, which passlib writes without a name.
fn pbkdf2(name: &str, parameters: &str) -> Result<Scheme, Invalid> {
    let digest = match name {
        "pbkdf2" => Some(Digest::Sha1),
        _ => name.strip_prefix("pbkdf2-").and_then(Digest::from_name),
    };
    let iterations = match parameters.parse() {
        Ok(iterations) => iterations,
        Err(_) => Parameters::read(parameters)?.number("i")?,
    };
    Ok(Scheme::Pbkdf2 {
        digest: digest.ok_or_else(no_hash)?,
        iterations: positive(iterations)?,
    })
}

fn positive(number: u32) -> Result<u32, Invalid> {
    if number == 0 { Err(no_hash()) } else { Ok(number) }
}

/// The parameters of a PHC string, such as `m=65536,t=3,p=4`.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    fn read(text: &'a str) -> Result<Self, Invalid> {
        let pairs = text.split(',').map(|pair| pair.split_once('='));
        pairs.collect::<Option<Vec<_>>>().map(Self).ok_or_else(no_hash)
    }

    fn number(&self, name: &str) -> Result<u32, Invalid> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let number = found.and_then(|(_, value)| value.parse().ok());
        positive(number.ok_or_else(no_hash)?)
    }
}

/// Reads what Django writes for PBKDF2 and scrypt. Its salts are texts.
fn parse_django(text: &str) -> Result<HashParts, Invalid> {
    let pieces: Vec<&str> = text.split('$').collect();
    let number = |digits: &str| digits.parse().map_err(|_| no_hash()).and_then(positive);
    let (scheme, salt, hash) = match pieces.as_slice() {
        ["scrypt", n, salt, block_size, parallelism, hash] => {
            let n = number(n)?;
            if !n.is_power_of_two() {
                return Err(no_hash());
            }
            let scheme = Scheme::Scrypt {
                log_n: u8::try_from(n.ilog2()).unwrap_or(u8::MAX),
                block_size: number(block_size)?,
                parallelism: number(parallelism)?,
            };
            (scheme, salt, hash)
        }
        [name, iterations, salt, hash] => {
            let digest = name.strip_prefix("pbkdf2_").and_then(Digest::from_name);
            let scheme = Scheme::Pbkdf2 {
                digest: digest.ok_or_else(no_hash)?,
                iterations: number(iterations)?,
            };
            (scheme, salt, hash)
        }
        _ => return Err(no_hash()),
    };
    Ok(HashParts {
        scheme,
        salt: salt.as_bytes().to_vec(),
        hash: decode(hash)?,
    })
}

fn keycloak(secret_data: &str, credential_data: &str) -> Option<HashParts> {
    let secret: Value = serde_json::from_str(secret_data).ok()?;
    let credential: Value = serde_json::from_str(credential_data).ok()?;
    let bytes = |name: &str| decode(secret.get(name)?.as_str()?).ok();
    let iterations = u32::try_from(credential.get("hashIterations")?.as_u64()?).ok()?;
    let iterations = positive(iterations).ok()?;
    let algorithm = credential.get("algorithm")?.as_str()?;
    let parameter = |name: &str| {
        let values = credential.get("additionalParameters")?.get(name)?;
        values.as_array()?.first()?.as_str()
    };
    let scheme = if algorithm == "argon2" {
        Scheme::Argon2 {
            variant: match parameter("type")? {
                "id" => Argon2Variant::Id,
                "i" => Argon2Variant::I,
                _ => return None,
            },
            version: match parameter("version")? {
                "1.3" => 0x13,
                "1.0" => 0x10,
                _ => return None,
            },
            memory_kibibytes: parameter("memory")?.parse().ok()?,
            passes: iterations,
            lanes: parameter("parallelism")?.parse().ok()?,
        }
    } else {
        let digest = match algorithm {
            // What Keycloak called the first of them.
            "pbkdf2" => Digest::Sha1,
            name => Digest::from_name(name.strip_prefix("pbkdf2-")?)?,
        };
        Scheme::Pbkdf2 { digest, iterations }
    };
    Some(HashParts {
        scheme,
        salt: bytes("salt")?,
        hash: bytes("value")?,
    })
}
