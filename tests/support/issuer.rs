//! An OpenID Connect issuer on this machine, with real keys, that can also be wrong, slow or gone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use identity::clock::Clock;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::Test;

/// The id of the deployment at every issuer.
pub const CLIENT_ID: &str = "app.example";

/// What the shared issuer is called.
pub const PROVIDER: &str = "corp";

/// Keys of RSA, which ring cannot make. They are good for nothing but these tests.
const RSA_KEYS: [&[u8]; 2] = [
    include_bytes!("keys/for_tests_only_rsa_a.pk8"),
    include_bytes!("keys/for_tests_only_rsa_b.pk8"),
];

/// A key that signs ID tokens.
pub struct IssuerKey {
    /// Its id.
    pub kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl IssuerKey {
    /// Takes the first or the second of the RSA keys.
    pub fn rsa(kid: &str, number: usize) -> Self {
        Self {
            kid: kid.to_owned(),
            pair: Pair::Rsa(RsaKeyPair::from_pkcs8(RSA_KEYS[number]).unwrap()),
        }
    }

    /// Makes a key of P-256.
    pub fn ec(kid: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
                .unwrap();
        Self {
            kid: kid.to_owned(),
            pair: Pair::Ec(pair),
        }
    }

    /// Makes a key of Ed25519.
    pub fn ed(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self {
            kid: kid.to_owned(),
            pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()),
        }
    }

    /// The name of its algorithm.
    pub fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// The public key, as a JWK.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg());
        jwk["use"] = json!("sig");
        jwk
    }

    /// The header that an issuer writes.
    pub fn header(&self) -> Value {
        json!({ "alg": self.alg(), "kid": self.kid, "typ": "JWT" })
    }

    /// Signs claims as an issuer does.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_texts(&self.header().to_string(), &claims.to_string())
    }

    /// Signs claims under any header.
    pub fn sign_under(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// Signs two texts, which need not be JSON.
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// How an issuer answers when it is asked for its keys.
#[derive(Clone)]
pub enum Answer {
    /// With these keys.
    Keys(Value),
    /// With a status and an empty body.
    Status(u16),
    /// With a text.
    Text(String),
    /// With so many bytes of white space before the keys.
    Padded(usize),
    /// That they are elsewhere.
    Redirect(String),
    /// Not at all; the connection stays open.
    Silence,
    /// By hanging up.
    HangUp,
}

/// An issuer. It is gone when it is dropped.
pub struct Issuer {
    /// Its keys: of RSA, of P-256 and of Ed25519.
    pub keys: [IssuerKey; 3],
    address: SocketAddr,
    is_tls: bool,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    /// What the document of the issuer says, if it is not what it should.
    document: Mutex<Option<Value>>,
    /// How often it was asked for its keys.
    fetches: AtomicUsize,
    /// How often it was asked for anything else than its keys and its document.
    strange: AtomicUsize,
    is_over: AtomicBool,
}

/// The issuer for tests that want a good one. It is there for as long as the tests run.
pub fn shared_issuer() -> &'static Issuer {
    static SHARED: LazyLock<Issuer> = LazyLock::new(Issuer::start);
    &SHARED
}

/// The settings of a server that lets people in whom the shared issuer vouches for, and creates users for them.
pub fn with_shared_issuer() -> [(&'static str, &'static str); 2] {
    static PROVIDERS: LazyLock<String> = LazyLock::new(|| shared_issuer().setting(PROVIDER, ""));
    [
        ("IDENTITY_OIDC_PROVIDERS", PROVIDERS.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ]
}

impl Issuer {
    /// Starts an issuer.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts an issuer that speaks TLS.
    pub fn start_with_tls(config: ServerConfig) -> Self {
        Self::start_with(Some(Arc::new(config)))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let keys = [
            IssuerKey::rsa("rsa-1", 0),
            IssuerKey::ec("ec-1"),
            IssuerKey::ed("ed-1"),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(Answer::Keys(set_of(&keys.each_ref()))),
            document: Mutex::new(None),
            fetches: AtomicUsize::new(0),
            strange: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let issuer = Self {
            keys,
            address,
            is_tls: tls.is_some(),
            shared: Arc::clone(&shared),
        };
        let url = issuer.url();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, tls, url) = (Arc::clone(&shared), tls.clone(), url.clone());
                // What goes wrong with a connection is a matter of whoever asks.
                thread::spawn(move || match tls {
                    None => drop(serve(stream, &shared, &url)),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        drop(serve(StreamOwned::new(connection, stream), &shared, &url));
                    }
                });
            }
        });
        issuer
    }

    /// Returns what it calls itself.
    pub fn url(&self) -> String {
        if self.is_tls {
            format!("https://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    /// Returns where its keys are.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url())
    }

    /// Returns an entry of `IDENTITY_OIDC_PROVIDERS`, with something added.
    pub fn setting(&self, name: &str, more: &str) -> String {
        format!("{name} issuer={} clients={CLIENT_ID} {more}", self.url())
    }

    /// Has it answer in another way.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Has it answer with its own keys and others.
    pub fn publish(&self, more: &[&IssuerKey]) {
        let keys: Vec<&IssuerKey> = self.keys.iter().chain(more.iter().copied()).collect();
        self.answer(Answer::Keys(set_of(&keys)));
    }

    /// Has its document say something else.
    pub fn declare(&self, document: Value) {
        *self.shared.document.lock().unwrap() = Some(document);
    }

    /// Returns how often it was asked for its keys.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Returns how often it was asked for what nobody should ask it for.
    pub fn strange_requests(&self) -> usize {
        self.shared.strange.load(Ordering::SeqCst)
    }

    /// Returns the claims of a token about an account, for the deployment, good for an hour from the time of the test.
    pub fn claims(&self, t: &Test, subject: &str) -> Value {
        claims_at(t.clock.now(), &self.url(), subject)
    }

    /// Returns such claims with an address.
    pub fn claims_with_email(&self, t: &Test, subject: &str, email: &str, is_verified: bool) -> Value {
        let mut claims = self.claims(t, subject);
        claims["email"] = json!(email);
        claims["email_verified"] = json!(is_verified);
        claims
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.keys[0].sign(claims)
    }

    /// Returns a token about an account, with a verified address.
    pub fn token(&self, t: &Test, subject: &str, email: &str) -> String {
        self.sign(&self.claims_with_email(t, subject, email, true))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(self.address));
    }
}

/// Returns the claims of a token of an issuer, good for an hour.
pub fn claims_at(now: DateTime<Utc>, issuer: &str, subject: &str) -> Value {
    json!({
        "iss": issuer,
        "aud": CLIENT_ID,
        "sub": subject,
        "iat": now.timestamp(),
        "exp": now.timestamp() + 3600,
    })
}

/// Returns the claims that Google writes.
pub fn google_claims(now: DateTime<Utc>, subject: &str, email: &str) -> Value {
    let mut claims = claims_at(now, "https://accounts.google.com", subject);
    claims["azp"] = json!(CLIENT_ID);
    claims["email"] = json!(email);
    claims["email_verified"] = json!(true);
    claims["at_hash"] = json!("HK6E_P6Dh8Y93mRNtsDB1Q");
    claims["nonce"] = json!("0394852-3190485-2490358");
    claims["name"] = json!("Ada Lovelace");
    claims["picture"] = json!("https://lh3.googleusercontent.com/a/picture");
    claims["given_name"] = json!("Ada");
    claims["family_name"] = json!("Lovelace");
    claims
}

fn set_of(keys: &[&IssuerKey]) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys })
}

/// Answers one request.
fn serve(mut stream: impl Read + Write, shared: &Shared, url: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    match request.split(' ').nth(1).unwrap_or_default() {
        "/.well-known/openid-configuration" => {
            let document = shared.document.lock().unwrap().clone();
            let honest = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
            respond(&mut stream, 200, "", &document.unwrap_or(honest).to_string())
        }
        "/keys" => {
            shared.fetches.fetch_add(1, Ordering::SeqCst);
            let answer = shared.answer.lock().unwrap().clone();
            give(&mut stream, answer)
        }
        _ => {
            shared.strange.fetch_add(1, Ordering::SeqCst);
            respond(&mut stream, 404, "", "")
        }
    }
}

fn give(mut stream: impl Read + Write, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Keys(keys) => respond(stream, 200, "", &keys.to_string()),
        Answer::Text(text) => respond(stream, 200, "", &text),
        Answer::Status(status) => respond(stream, status, "", ""),
        Answer::Padded(bytes) => respond(stream, 200, "", &format!("{}{{}}", " ".repeat(bytes))),
        Answer::Redirect(to) => respond(stream, 302, &format!("Location: {to}\r\n"), ""),
        Answer::HangUp => Ok(()),
        Answer::Silence => {
            // Until whoever asked hangs up.
            while stream.read(&mut [0; 1]).is_ok_and(|length| length > 0) {}
            Ok(())
        }
    }
}

fn respond(mut stream: impl Write, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}
