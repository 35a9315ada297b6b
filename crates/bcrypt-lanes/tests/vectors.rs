//! What others have published, and the `bcrypt` crate.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a failed expectation fails the test"
)]

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use bcrypt_lanes::{CostNotAllowed, Job};

/// Passwords and what became of them: of jBCrypt, of crypt_blowfish's tests for `$2a$`, `$2b$` and `$2y$` with bytes
/// beyond ASCII, and of OpenBSD for 72 bytes.
const PUBLISHED: [(&[u8], &str); 11] = [
    (b"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
    (b"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    (b"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
    (
        b"abcdefghijklmnopqrstuvwxyz",
        "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz.",
    ),
    (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (b"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    (b"\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
    (b"\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
    (b"\xff\xa3345", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.nRht2l/HRhr6zmCp9vYUvvsqynflf9e"),
    (
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored",
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
    ),
    (
        b"\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaachars after 72 are ignored as usual",
        "$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6",
    ),
];

#[test]
fn published_hashes_are_computed() {
    for (password, text) in PUBLISHED {
        let published: bcrypt::HashParts = text.parse().expect(text);
        let digest = Job::new(published.get_cost(), published.get_salt_raw(), password)
            .expect(text)
            .run();
        let ours = GeneralPurpose::new(&BCRYPT, NO_PAD).encode(digest);
        assert_eq!(ours, text.chars().skip(29).collect::<String>(), "{text}");
    }
}

#[test]
fn every_length_of_password_gives_the_digest_of_the_reference() {
    let bytes: Vec<u8> = (0..=80_u8).map(|n| n.wrapping_mul(37) | 0x81).collect();
    for length in 0..=bytes.len() {
        let password = &bytes[..length];
        let salt = [u8::try_from(length).expect("short"); 16];
        let mut terminated = password.to_vec();
        terminated.push(0);
        terminated.truncate(72);
        let reference = bcrypt::bcrypt(4, salt, &terminated);
        let digest = Job::new(4, salt, password).expect("cost").run();
        assert_eq!(digest, reference[..23], "{length} bytes");
    }
}

#[test]
fn a_cost_that_no_hash_has_is_refused() {
    for cost in [0, 3, 32, u32::MAX] {
        assert_eq!(Job::new(cost, [0; 16], b"").err(), Some(CostNotAllowed(cost)));
    }
    assert!(Job::new(31, [0; 16], b"").is_ok());
}

#[test]
fn nothing_of_a_password_is_shown() {
    let job = Job::new(12, [1; 16], b"canary").expect("cost");
    assert_eq!(format!("{job:?}"), "Job { cost: 12, .. }");
}
