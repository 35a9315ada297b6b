//! TLS on the gRPC port.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{check, refused};
use crate::support::certificates::{Authority, connect_tls};
use crate::support::http2::Http2;
use crate::support::{AUTH, Behaviour, Process, Test, TestServer, eventually, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        b03_tls_1_3_is_preferred_and_1_2_is_spoken,
        b03_older_versions_and_weak_suites_are_refused,
        b03_without_h2_there_is_no_connection,
        b03_no_session_can_be_resumed,
        b06_a_key_that_everyone_can_read_is_refused,
        new_certificates_are_taken_without_a_restart,
        new_certificates_are_taken_on_sighup,
        o05_wrong_files_stop_the_start_and_name_the_variable,
        beyond_loopback_there_is_tls_or_it_is_said_aloud,
        the_healthcheck_works_with_tls,
    ]
}

/// Returns the variables that switch TLS on, for a server that `authority` vouches for.
pub(super) fn variables(authority: &Authority, folder: &Path) -> Vec<(&'static str, String)> {
    let (certificate, key) = authority.identity(&["localhost"], &[]).write(folder);
    vec![
        ("IDENTITY_TLS_CERT_FILE", certificate.display().to_string()),
        ("IDENTITY_TLS_KEY_FILE", key.display().to_string()),
    ]
}

/// Starts a server with TLS.
pub(super) async fn start(t: &Test, variables: &[(&'static str, String)]) -> TestServer {
    let borrowed: Vec<(&str, &str)> = borrow(variables);
    let server = t.launch(&borrowed).await.expect("the server starts");
    eventually("the server is healthy", async || {
        server.http_get("/health").await.0 == 200
    })
    .await;
    server
}

fn borrow<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Makes a call over TLS.
pub(super) async fn call(server: &TestServer, config: ClientConfig) -> std::io::Result<()> {
    let secured = connect_tls(server.grpc_address(), config).await?;
    let mut client = Http2::over(secured, &[]).await?;
    let stream = client
        .call(super::CHECK, &tonic_health::pb::HealthCheckRequest::default())
        .await?;
    // With TLS 1.3 a client learns only now that its certificate was refused.
    while let Some(frame) = client.next().await {
        if frame.stream == stream && frame.ends_stream() {
            return Ok(());
        }
    }
    Err(std::io::ErrorKind::ConnectionAborted.into())
}

async fn b03_tls_1_3_is_preferred_and_1_2_is_spoken(t: Test) {
    let authority = Authority::new();
    let server = start(&t, &variables(&authority, t.directory())).await;
    let old_only = {
        let provider = rustls::crypto::ring::default_provider();
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    };
    for (config, expected) in [
        (authority.client(None), TLS13.version),
        (old_only, ProtocolVersion::TLSv1_2),
    ] {
        let stream = connect_tls(server.grpc_address(), config).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        check(&mut Http2::over(stream, &[]).await.unwrap()).await;
    }
}

/// Writes a ClientHello (RFC 5246 §7.4.1.2) that offers one version and one suite.
fn hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let random = [7; 32];
    // Curves, formats of points, signatures, and h2: what the server needs of one that it could accept.
    let extensions: &[u8] = b"\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0b\x00\x02\x01\x00\
        \x00\x0d\x00\x06\x00\x04\x04\x03\x08\x04\x00\x10\x00\x05\x00\x03\x02h2";
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [
        &version[..],
        &random,
        &[0, 0, 2],
        &suite,
        &[1, 0],
        &length,
        extensions,
    ]
    .concat();
    let body_length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &body_length[1..], &body].concat();
    let record_length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &record_length, &message].concat()
}

async fn b03_older_versions_and_weak_suites_are_refused(t: Test) {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const GOOD_SUITE: [u8; 2] = [0xc0, 0x2b];
    let authority = Authority::new();
    let server = start(&t, &variables(&authority, t.directory())).await;
    let first_byte = async |hello: Vec<u8>| {
        let mut stream = TcpStream::connect(server.grpc_address()).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        stream.read_u8().await.unwrap()
    };
    assert_eq!(
        first_byte(hello([3, 3], GOOD_SUITE)).await,
        HANDSHAKE,
        "the hello itself is in order"
    );
    for old in [[3, 0], [3, 1], [3, 2]] {
        assert_eq!(first_byte(hello(old, GOOD_SUITE)).await, ALERT, "{old:?}");
    }
    // RSA without forward secrecy, CBC, RC4, 3DES, NULL, export.
    for weak in [
        [0x00, 0x9c],
        [0x00, 0x2f],
        [0xc0, 0x09],
        [0xc0, 0x07],
        [0xc0, 0x08],
        [0xc0, 0x06],
        [0x00, 0x03],
    ] {
        assert_eq!(first_byte(hello([3, 3], weak)).await, ALERT, "{weak:?}");
    }
}

async fn b03_without_h2_there_is_no_connection(t: Test) {
    let authority = Authority::new();
    let server = start(&t, &variables(&authority, t.directory())).await;
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = authority.client(None);
        config.alpn_protocols = protocols;
        call(&server, config).await.unwrap_err();
    }
    eventually("both are counted", async || refused(&server, "tls").await == 2).await;
    call(&server, authority.client(None)).await.unwrap();
}

/// What cannot be resumed cannot have early data (0-RTT), and is verified anew each time.
async fn b03_no_session_can_be_resumed(t: Test) {
    let authority = Authority::new();
    let server = start(&t, &variables(&authority, t.directory())).await;
    let mut config = authority.client(None);
    config.enable_early_data = true;
    for _ in 0..2 {
        let stream = connect_tls(server.grpc_address(), config.clone()).await.unwrap();
        let (_, session) = stream.get_ref();
        assert!(!session.is_early_data_accepted());
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let mut client = Http2::over(stream, &[]).await.unwrap();
        check(&mut client).await;
    }
}

async fn b06_a_key_that_everyone_can_read_is_refused(t: Test) {
    let variables = variables(&Authority::new(), t.directory());
    let key = t.directory().join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();

    let (code, _, stderr) = t.run(&borrow(&variables), &["serve"]).await;

    assert_eq!(code, 1);
    assert!(stderr.contains("IDENTITY_TLS_KEY_FILE"), "{stderr}");
}

async fn new_certificates_are_taken_without_a_restart(t: Test) {
    let (before, after) = (Authority::new(), Authority::new());
    let mut variables = variables(&before, t.directory());
    variables.push(("IDENTITY_TLS_RELOAD_INTERVAL", "20ms".to_owned()));
    let server = start(&t, &variables).await;
    let stream = connect_tls(server.grpc_address(), before.client(None))
        .await
        .unwrap();
    let mut open = Http2::over(stream, &[]).await.unwrap();
    check(&mut open).await;

    let failures = "identity_tls_reloads_total{outcome=\"failure\"}";
    fs::write(t.directory().join("server.pem"), "not a certificate").unwrap();
    eventually("the broken file is noticed", async || {
        server.metric(failures).await >= 1.0
    })
    .await;
    call(&server, before.client(None)).await.unwrap();

    after.identity(&["localhost"], &[]).write(t.directory());
    eventually("the new certificate is shown", async || {
        call(&server, after.client(None)).await.is_ok()
    })
    .await;
    call(&server, before.client(None)).await.unwrap_err();
    check(&mut open).await;
}

async fn new_certificates_are_taken_on_sighup(t: Test) {
    let (before, after) = (Authority::new(), Authority::new());
    let mut variables = variables(&before, t.directory());
    variables.push(("IDENTITY_TLS_RELOAD_INTERVAL", "1h".to_owned()));
    let server: Process = t.spawn(&borrow(&variables), &["serve"]);
    server.wait_until_healthy().await;
    connect_tls(server.grpc_address(), before.client(None))
        .await
        .unwrap();

    after.identity(&["localhost"], &[]).write(t.directory());
    server.hang_up();

    eventually("the new certificate is shown", async || {
        connect_tls(server.grpc_address(), after.client(None))
            .await
            .is_ok()
    })
    .await;
}

async fn o05_wrong_files_stop_the_start_and_name_the_variable(t: Test) {
    let good = variables(&Authority::new(), t.directory());
    let folder = t.directory().display().to_string();
    let other = tempfile::tempdir().unwrap();
    let (_, other_key) = Authority::new().identity(&["localhost"], &[]).write(other.path());
    let other_key = other_key.display().to_string();
    let empty = t.directory().join("empty");
    fs::write(&empty, "").unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o600)).unwrap();
    let empty = empty.display().to_string();
    for (variable, value, blamed) in [
        (
            "IDENTITY_TLS_CERT_FILE",
            "/nowhere/server.pem",
            "IDENTITY_TLS_CERT_FILE",
        ),
        ("IDENTITY_TLS_CERT_FILE", &empty, "IDENTITY_TLS_CERT_FILE"),
        ("IDENTITY_TLS_CERT_FILE", "", "IDENTITY_TLS_CERT_FILE"),
        (
            "IDENTITY_TLS_KEY_FILE",
            "/nowhere/server.key",
            "IDENTITY_TLS_KEY_FILE",
        ),
        ("IDENTITY_TLS_KEY_FILE", &empty, "IDENTITY_TLS_KEY_FILE"),
        ("IDENTITY_TLS_KEY_FILE", "", "IDENTITY_TLS_KEY_FILE"),
        ("IDENTITY_TLS_KEY_FILE", &other_key, "IDENTITY_TLS_CERT_FILE"),
        (
            "IDENTITY_TLS_CLIENT_CA_FILE",
            &folder,
            "IDENTITY_TLS_CLIENT_CA_FILE",
        ),
        (
            "IDENTITY_TLS_CLIENT_CA_FILE",
            &empty,
            "IDENTITY_TLS_CLIENT_CA_FILE",
        ),
        ("IDENTITY_TLS_CLIENT_CERT", "perhaps", "IDENTITY_TLS_CLIENT_CERT"),
        ("IDENTITY_TLS", "off", "IDENTITY_TLS"),
    ] {
        let mut wrong = borrow(&good);
        wrong.push((variable, value));
        let (code, stdout, stderr) = t.run(&wrong, &["serve"]).await;
        assert!(matches!(code, 1 | 64), "{variable}={value}: {code}");
        assert_eq!(stdout, "");
        let said: Vec<&str> = stderr.lines().filter(|line| line.contains(blamed)).collect();
        assert_eq!(said.len(), 1, "{variable}={value}: {stderr}");
    }
}

async fn beyond_loopback_there_is_tls_or_it_is_said_aloud(t: Test) {
    let plain = t
        .start_with(&[AUTH, ("IDENTITY_LISTEN", "0.0.0.0:0"), ("IDENTITY_TLS", "off")])
        .await;
    assert!(plain.is_serving().await);
    plain.shutdown().await;

    let authority = Authority::new();
    let mut variables = variables(&authority, t.directory());
    variables.push(("IDENTITY_AUTH", "on".to_owned()));
    variables.push(("IDENTITY_LISTEN", "0.0.0.0:0".to_owned()));
    variables.push(("IDENTITY_OPERATIONS_LISTEN", "0.0.0.0:0".to_owned()));
    variables.push(("IDENTITY_OPERATIONS_TLS", "off".to_owned()));
    let server = start(&t, &variables).await;
    call(&server, authority.client(None)).await.unwrap();
}

async fn the_healthcheck_works_with_tls(t: Test) {
    let variables = variables(&Authority::new(), t.directory());
    let server = t.spawn(&borrow(&variables), &["serve"]);
    server.wait_until_healthy().await;
    let operations = server.operations_address().to_string();
    let mut asking = borrow(&variables);
    asking.push(("IDENTITY_OPERATIONS_LISTEN", &operations));

    assert_eq!(
        t.run(&asking, &["healthcheck"]).await,
        (0, "serving\n".to_owned(), String::new())
    );

    drop(server);
    let (code, _, stderr) = t.run(&asking, &["healthcheck"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("does not answer"), "{stderr}");
}
