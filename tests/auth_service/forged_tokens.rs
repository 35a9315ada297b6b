//! Access tokens that the service did not write, or did not write like this. Neither `IntrospectToken` nor
//! `GetMe` takes any of them; what is in their claims is in `forged_claims`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use identity::proto::identity::v1::{GetMeRequest, IntrospectTokenResponse};
use ring::hmac;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    Behaviour, Clients, Failure, Forger, Proxy, Test, behaviours, claims_of, header_of, parts_of,
    postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            a_token_signed_with_the_key_of_the_service_is_good,
            t01_unsigned_tokens_are_refused_whatever_they_call_it,
            t02_a_public_key_is_no_secret_to_sign_with,
            t03_the_id_of_a_key_finds_one_of_ours_or_nothing,
            t08_the_header_says_what_the_service_writes_and_nothing_else,
            t10_every_byte_counts,
            t10_signatures_of_any_other_form_are_refused,
            t10_each_token_has_one_spelling,
        ],
        postgres_only![t03_what_no_key_of_ours_signed_is_refused_without_the_database],
    ]
    .concat()
}

/// Checks that a token is not taken, for this reason.
pub async fn assert_refused(server: &Clients, token: &str, reason: &str) {
    let shown: String = token.chars().take(300).collect();
    let answer = server.introspect(token).await.expect("an answer");
    assert_eq!(
        answer,
        IntrospectTokenResponse::default(),
        "introspected: {shown}"
    );
    let mut request = tonic::Request::new(GetMeRequest {});
    let Ok(value) = format!("Bearer {token}").parse() else {
        // It cannot be sent in metadata at all.
        return;
    };
    request.metadata_mut().insert("authorization", value);
    let failure = Failure::from(server.auth().get_me(request).await.expect_err(&shown));
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::Unauthenticated, reason),
        "{shown}"
    );
}

/// Checks that a token is not one of ours.
pub async fn assert_invalid(server: &Clients, token: &str) {
    assert_refused(server, token, "TOKEN_INVALID").await;
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Without this, the other tests could fail to forge and prove nothing.
async fn a_token_signed_with_the_key_of_the_service_is_good(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;
    let forger = Forger::with_key_of_service(&t).await;
    assert_eq!(header_of(&tokens.access_token), forger.header());

    let forged = forger.sign(&claims_of(&tokens.access_token));

    assert_ne!(forged, tokens.access_token);
    assert_eq!(
        server.introspect(&forged).await.unwrap(),
        server.introspect(&tokens.access_token).await.unwrap()
    );
    assert_eq!(server.get_me(&forged).await.unwrap().user.unwrap().id, user.id);
}

async fn t01_unsigned_tokens_are_refused_whatever_they_call_it(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.access_token;
    let forger = Forger::with_key_of_service(&t).await;
    let [header, claims, signature] = parts_of(&token);

    for algorithm in ["none", "None", "NONE", "nOnE", "", "es256", "ES256 ", "null"] {
        let mut unsigned = header_of(&token);
        unsigned["alg"] = json!(algorithm);
        let message = format!("{}.{claims}", encode(&unsigned));
        assert_invalid(&server, &format!("{message}.")).await;
        assert_invalid(&server, &message).await;
        assert_invalid(&server, &format!("{message}.{signature}")).await;
        // Even a good signature does not make up for the name.
        assert_invalid(&server, &forger.sign_encoded(&message)).await;
    }
    for alone in [
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("..{signature}"),
        format!("{claims}.{signature}"),
        "..".to_owned(),
        ".".to_owned(),
    ] {
        assert_invalid(&server, &alone).await;
    }
}

async fn t02_a_public_key_is_no_secret_to_sign_with(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let forger = Forger::with_key_of_service(&t).await;
    /// What precedes the point in a SubjectPublicKeyInfo of P-256 (RFC 5480 §2).
    const SPKI_PREFIX: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
        0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let point = forger.public_key().to_vec();
    let der = [SPKI_PREFIX.as_slice(), &point].concat();
    let lines: Vec<String> = STANDARD
        .encode(&der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    );
    let (_, jwks) = server.http_get("/.well-known/jwks.json").await;
    let set: Value = serde_json::from_str(&jwks).unwrap();
    let jwk = set["keys"][0].to_string();

    for secret in [
        pem.trim_end().as_bytes(),
        pem.as_bytes(),
        &der,
        &point,
        &point[1..],
        jwk.as_bytes(),
        jwks.as_bytes(),
        forger.kid.as_bytes(),
        b"",
    ] {
        for (name, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
            ("ES256", hmac::HMAC_SHA256),
        ] {
            let mut header = forger.header();
            header["alg"] = json!(name);
            let message = format!("{}.{}", encode(&header), parts_of(&tokens.access_token)[1]);
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
            assert_invalid(&server, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))).await;
        }
    }
}

async fn t03_the_id_of_a_key_finds_one_of_ours_or_nothing(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let claims = claims_of(&tokens.access_token);
    let ours = Forger::with_key_of_service(&t).await;
    let other = Forger::with_key_of_its_own();

    // Another issuer's key, under its own name and under ours.
    assert_invalid(&server, &other.sign(&claims)).await;
    assert_invalid(&server, &other.sign_under(&ours.header(), &claims)).await;
    // A good signature does not make up for a name that is not that of the key.
    for kid in [
        json!(""),
        json!("unknown"),
        json!("../../dev/null"),
        json!("/dev/null"),
        json!("' UNION SELECT 'x' --"),
        json!("%"),
        json!(format!("{}\0", ours.kid)),
        json!(format!(" {}", ours.kid)),
        json!(ours.kid.to_lowercase()),
        json!(ours.kid[..42]),
        json!("k".repeat(2000)),
        json!([ours.kid]),
        json!({ "kid": ours.kid }),
        json!(0),
        json!(null),
        json!(other.kid),
    ] {
        let mut header = ours.header();
        header["kid"] = kid;
        assert_invalid(&server, &ours.sign_under(&header, &claims)).await;
    }
    let mut header = ours.header();
    header.as_object_mut().unwrap().remove("kid");
    assert_invalid(&server, &ours.sign_under(&header, &claims)).await;
    // With a fourth member the count is right again, but a key cannot be brought along.
    let (x, y) = other.public_key()[1..].split_at(32);
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    for smuggling in [
        json!({ "alg": "ES256", "typ": "at+jwt", "jwk": jwk }),
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": other.kid, "jwk": jwk }),
        json!({ "alg": "ES256", "typ": "at+jwt", "jku": "http://127.0.0.1:1/jwks.json" }),
        json!({ "alg": "ES256", "typ": "at+jwt", "x5u": "http://127.0.0.1:1/cert.pem" }),
    ] {
        assert_invalid(&server, &other.sign_under(&smuggling, &claims)).await;
    }
}

async fn t03_what_no_key_of_ours_signed_is_refused_without_the_database(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let url = t.database_url_via(proxy.address());
    let server = t.start_with(&[("DATABASE_URL", &url)]).await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let claims = claims_of(&tokens.access_token);

    proxy.refuse();

    assert_invalid(&server, &Forger::with_key_of_its_own().sign(&claims)).await;
    assert_invalid(&server, "garbage").await;
    // A token that may be good is not called bad only because nobody can be asked.
    let failure = server.introspect(&tokens.access_token).await.unwrap_err();
    assert_eq!(failure.reason(), "DATABASE_UNAVAILABLE");
}

async fn t08_the_header_says_what_the_service_writes_and_nothing_else(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let claims = claims_of(&tokens.access_token);
    let forger = Forger::with_key_of_service(&t).await;

    for kind in [
        json!("JWT"),
        json!("jwt"),
        json!("logout+jwt"),
        json!("id+jwt"),
        json!("AT+JWT"),
        json!("at+jwt "),
        json!(""),
        json!(null),
        json!(["at+jwt"]),
    ] {
        let mut header = forger.header();
        header["typ"] = kind;
        assert_invalid(&server, &forger.sign_under(&header, &claims)).await;
    }
    let mut untyped = forger.header();
    untyped.as_object_mut().unwrap().remove("typ");
    assert_invalid(&server, &forger.sign_under(&untyped, &claims)).await;
    for (name, value) in [
        // An extension that must be understood (RFC 7515 §4.1.11), and a payload that is not encoded (RFC 7797).
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("x", json!("y")),
    ] {
        let mut header = forger.header();
        header[name] = value;
        assert_invalid(&server, &forger.sign_under(&header, &claims)).await;
    }
    let claims_text = claims.to_string();
    for header in [
        "",
        "null",
        "[]",
        "\"ES256\"",
        "{",
        "{}",
        "{\"alg\":\"ES256\"",
        "\u{feff}{}",
    ] {
        assert_invalid(&server, &forger.sign_texts(header, &claims_text)).await;
    }
}

async fn t10_every_byte_counts(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.access_token;
    let parts = parts_of(&token);

    for (place, part) in parts.iter().enumerate() {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        for index in 0..bytes.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut flipped = bytes.clone();
                flipped[index] ^= bit;
                let mut changed = parts.map(str::to_owned);
                changed[place] = URL_SAFE_NO_PAD.encode(flipped);
                let changed = changed.join(".");
                assert!(
                    !server.is_active(&changed).await,
                    "{place} {index} {bit}: {changed}"
                );
            }
        }
    }
    for (index, character) in token.char_indices() {
        let replaced = if character == 'A' { 'B' } else { 'A' };
        let changed = format!("{}{replaced}{}", &token[..index], &token[index + 1..]);
        assert!(!server.is_active(&changed).await, "{index}: {changed}");
        let shorter = format!("{}{}", &token[..index], &token[index + 1..]);
        assert!(!server.is_active(&shorter).await, "without {index}: {shorter}");
    }
    assert!(server.is_active(&token).await);
}

async fn t10_signatures_of_any_other_form_are_refused(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let [header, claims, signature] = parts_of(&tokens.access_token);
    let good = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(good.len(), 64);
    let (r, s) = good.split_at(32);
    /// The order of the group of P-256, which as r or s is as good as zero.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let zero = [0_u8; 32];
    let mut one = zero;
    one[31] = 1;
    // ASN.1, as other libraries sign: a sequence of two integers.
    let integer = |number: &[u8]| [&[0x02, 33, 0], number].concat();
    let sequence = [integer(r), integer(s)].concat();
    let asn1 = [&[0x30, 70], sequence.as_slice()].concat();

    for other in [
        [zero, zero].concat(),
        [ORDER, ORDER].concat(),
        [[0xff; 32], [0xff; 32]].concat(),
        [one, one].concat(),
        [r, &zero].concat(),
        [&zero, s].concat(),
        [r, &ORDER].concat(),
        [&ORDER, s].concat(),
        [s, r].concat(),
        good[..63].to_vec(),
        good[1..].to_vec(),
        [good.as_slice(), &[0]].concat(),
        [&[0], good.as_slice()].concat(),
        [good.as_slice(), &good].concat(),
        r.to_vec(),
        vec![0],
        vec![0; 96],
        vec![0; 132],
        asn1,
    ] {
        let token = format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(other));
        assert_invalid(&server, &token).await;
    }
}

async fn t10_each_token_has_one_spelling(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.access_token.as_str();
    let forger = Forger::with_key_of_service(&t).await;
    let bytes = parts_of(token).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());

    let mut spellings = vec![
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("\t{token}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{token}"),
        format!("{token}="),
        format!("Bearer {token}"),
        token.replace('.', ". "),
        token.replacen('.', ".\n", 1),
        token.replacen('.', "..", 1),
        token.replace('.', "%2E"),
        token.to_lowercase(),
        token.replace('.', "\u{ff0e}"),
    ];
    for place in 0..3 {
        // With padding, if this part would have any.
        let padded = URL_SAFE.encode(&bytes[place]);
        // In the other alphabet, if this part has a letter that differs.
        let other_alphabet = STANDARD_NO_PAD.encode(&bytes[place]);
        for part in [padded, other_alphabet] {
            let mut parts = parts_of(token).map(str::to_owned);
            parts[place] = part;
            spellings.push(parts.join("."));
        }
        // With bits in the last character that do not count: 2 of them, 4, or none.
        let part = parts_of(token)[place];
        const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for last in ALPHABET.chars() {
            let mut parts = parts_of(token).map(str::to_owned);
            parts[place] = format!("{}{last}", &part[..part.len() - 1]);
            spellings.push(parts.join("."));
        }
    }
    spellings.retain(|spelling| spelling != token);
    for spelling in &spellings {
        assert!(!server.is_active(spelling).await, "{spelling}");
    }
    // Nor does a good signature make up for how its message is spelt.
    let (good_header, good_claims) = (forger.header().to_string(), claims_of(token).to_string());
    for (header, claims) in [
        (format!("{good_header} "), good_claims.clone()),
        (good_header.clone(), format!("{good_claims}  ")),
    ] {
        let (encoded, padded) = (URL_SAFE_NO_PAD.encode(&header), URL_SAFE.encode(&header));
        let (encoded_claims, padded_claims) =
            (URL_SAFE_NO_PAD.encode(&claims), URL_SAFE.encode(&claims));
        for message in [
            format!("{padded}.{padded_claims}"),
            format!("{encoded}.{encoded_claims}="),
            format!("{encoded}\n.{encoded_claims}"),
            format!("{encoded}.{encoded_claims}\n"),
        ] {
            if message != format!("{encoded}.{encoded_claims}") {
                assert_invalid(&server, &forger.sign_encoded(&message)).await;
            }
        }
    }
}
