//! Verifying what other systems have hashed.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use argon2::{Algorithm, Argon2, Version};
use zeroize::Zeroizing;

use super::equality::is_equal;
use crate::domain::{Argon2Variant, Digest, HashParts, ImportedPasswordHash, Scheme};

/// Tells whether a password is the one that was hashed. A hash that cannot be computed is nobody's.
pub(super) fn verify(password: &[u8], hash: &ImportedPasswordHash) -> bool {
    hash.parts().is_some_and(|parts| {
        compute(password, &parts).is_some_and(|computed| is_equal(&computed, &parts.hash))
    })
}

fn compute(password: &[u8], parts: &HashParts) -> Option<Zeroizing<Vec<u8>>> {
    let mut output = Zeroizing::new(vec![0; parts.hash.len()]);
    match &parts.scheme {
        Scheme::Argon2 {
            variant,
            version,
            memory_kibibytes,
            passes,
            lanes,
        } => {
            let algorithm = match variant {
                Argon2Variant::I => Algorithm::Argon2i,
                Argon2Variant::Id => Algorithm::Argon2id,
            };
            let version = Version::try_from(*version).ok()?;
            let length = Some(output.len());
            let parameters = argon2::Params::new(*memory_kibibytes, *passes, *lanes, length).ok()?;
            Argon2::new(algorithm, version, parameters)
                .hash_password_into(password, &parts.salt, &mut output)
                .ok()?;
        }
        Scheme::Scrypt {
            log_n,
            block_size,
            parallelism,
        } => {
            let parameters = scrypt::Params::new(*log_n, *block_size, *parallelism).ok()?;
            scrypt::scrypt(password, &parts.salt, &parameters, &mut output).ok()?;
        }
        Scheme::Pbkdf2 { digest, iterations } => {
            let algorithm = match digest {
                Digest::Sha1 => ring::pbkdf2::PBKDF2_HMAC_SHA1,
                Digest::Sha256 => ring::pbkdf2::PBKDF2_HMAC_SHA256,
                Digest::Sha512 => ring::pbkdf2::PBKDF2_HMAC_SHA512,
            };
            let iterations = std::num::NonZeroU32::new(*iterations)?;
            ring::pbkdf2::derive(algorithm, iterations, &parts.salt, password, &mut output);
        }
        Scheme::FirebaseScrypt {
            log_n,
            block_size,
            salt_separator,
            signer_key,
        } => {
            let salt = [parts.salt.as_slice(), salt_separator].concat();
            let parameters = scrypt::Params::new(*log_n, *block_size, 1).ok()?;
            let mut key = Zeroizing::new([0; FIREBASE_KEY_BYTES]);
            scrypt::scrypt(password, &salt, &parameters, key.as_mut_slice()).ok()?;
            output.copy_from_slice(signer_key.get(..parts.hash.len())?);
            encrypt(&key, &mut output);
        }
    }
    Some(output)
}

/// What Firebase takes of the output of scrypt: a key of AES-256.
const FIREBASE_KEY_BYTES: usize = 32;

/// Encrypts with AES-256 in counter mode (NIST SP 800-38A), counting from zero.
fn encrypt(key: &[u8; FIREBASE_KEY_BYTES], data: &mut [u8]) {
    const BLOCK_BYTES: usize = 16;
    let cipher = Aes256::new(&(*key).into());
    for (counter, chunk) in (0_u128..).zip(data.chunks_mut(BLOCK_BYTES)) {
        let mut block = counter.to_be_bytes().into();
        cipher.encrypt_block(&mut block);
        for (byte, mask) in chunk.iter_mut().zip(block) {
            *byte ^= mask;
        }
    }
}
