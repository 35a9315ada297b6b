//! TLS to PostgreSQL: each `sslmode` does what its name says, and is never weakened.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{Behaviour, PostgresCluster, Test, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![
        todo_02_require_encrypts_to_whoever_answers,
        todo_02_verify_ca_wants_the_right_authority_and_any_name,
        todo_02_verify_full_wants_the_right_authority_and_the_right_name,
        d13_a_server_without_tls_is_refused,
        d13_a_wrong_password_is_refused_without_being_told,
        d13_roots_that_cannot_be_read_are_refused,
    ]
}

/// A password that no message may repeat.
const PASSWORD: &str = "hunter2-is-secret";

/// A certificate authority and a server that it vouches for.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Starts a cluster with a certificate for a host name or address.
    async fn cluster_for(&self, name: &str) -> PostgresCluster {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let cluster = PostgresCluster::start_with_password(PASSWORD).await;
        cluster.enable_tls(&certificate.pem(), &key.serialize_pem()).await;
        cluster
    }

    /// Writes the certificate of the authority into a file.
    fn root_file(&self, t: &Test, name: &str) -> PathBuf {
        let path = t.directory().join(name);
        fs::write(&path, self.issuer.pem()).unwrap();
        path
    }
}

fn url(cluster: &PostgresCluster, host: &str, parameters: &str) -> String {
    let url = cluster.url("postgres").replace("127.0.0.1", host);
    assert!(url.contains(host));
    format!("{url}?{parameters}")
}

/// Starts a server, uses it, and checks that every connection is encrypted.
async fn assert_accepted(t: &Test, cluster: &PostgresCluster, url: &str) {
    let server = t.start_with(&[("DATABASE_URL", url)]).await;
    let user = server
        .create(crate::support::new_user().email("ada@example.com"))
        .await;
    assert!(user.is_ok_and(|user| !user.id.is_empty()), "{url}");
    let rows = cluster
        .psql(
            "postgres",
            "SELECT count(*) > 0, bool_and(ssl), string_agg(DISTINCT version, ' ')
             FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = 'identity'",
        )
        .await
        .unwrap();
    let expected = ["t", "t", "TLSv1.3"].map(|text| Some(text.to_owned()));
    assert_eq!(rows, [expected], "{url}");
    server.shutdown().await;
    cluster.psql("postgres", "DELETE FROM users").await.unwrap();
}

/// Checks that a server does not start, says which variable is to blame, and keeps the password to itself.
/// Returns what it said.
async fn assert_refused(t: &Test, url: &str) -> String {
    let variables = [
        ("DATABASE_URL", url),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "1s"),
        ("IDENTITY_LOG", "trace"),
    ];
    let (code, stdout, stderr) = t.run(&variables, &["serve"]).await;
    assert_eq!(code, 1, "{url}: {stderr}");
    let last_line = stderr.lines().last().unwrap().to_owned();
    assert!(last_line.contains("DATABASE_URL"), "{url}: {last_line}");
    for secret in [PASSWORD, "wrong-guess"] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stderr}");
    }
    last_line
}

async fn todo_02_require_encrypts_to_whoever_answers(t: Test) {
    let cluster = Authority::new().cluster_for("elsewhere.example").await;

    for host in ["127.0.0.1", "localhost"] {
        assert_accepted(&t, &cluster, &url(&cluster, host, "sslmode=require")).await;
    }
}

async fn todo_02_verify_ca_wants_the_right_authority_and_any_name(t: Test) {
    let authority = Authority::new();
    let cluster = authority.cluster_for("elsewhere.example").await;
    let right = authority.root_file(&t, "right.pem");
    let other = Authority::new().root_file(&t, "other.pem");
    let verify_ca = |root: &str| url(&cluster, "127.0.0.1", &format!("sslmode=verify-ca{root}"));

    assert_accepted(
        &t,
        &cluster,
        &verify_ca(&format!("&sslrootcert={}", right.display())),
    )
    .await;

    let message = assert_refused(&t, &verify_ca(&format!("&sslrootcert={}", other.display()))).await;
    assert!(message.contains("certificate"), "{message}");
    // The authorities that this machine trusts have never heard of ours.
    assert_refused(&t, &verify_ca("")).await;
}

async fn todo_02_verify_full_wants_the_right_authority_and_the_right_name(t: Test) {
    let authority = Authority::new();
    let right = authority.root_file(&t, "right.pem");
    let other = Authority::new().root_file(&t, "other.pem");
    let parameters = |root: &PathBuf| format!("sslmode=verify-full&sslrootcert={}", root.display());

    for (name, wrong_name) in [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")] {
        let cluster = authority.cluster_for(name).await;

        assert_accepted(&t, &cluster, &url(&cluster, name, &parameters(&right))).await;

        let message = assert_refused(&t, &url(&cluster, wrong_name, &parameters(&right))).await;
        assert!(message.contains("not valid for name"), "{message}");
        let other_message = assert_refused(&t, &url(&cluster, name, &parameters(&other))).await;
        assert!(other_message.contains("certificate"), "{other_message}");
    }
}

async fn d13_a_server_without_tls_is_refused(t: Test) {
    let cluster = PostgresCluster::start_with_password(PASSWORD).await;
    let root = Authority::new().root_file(&t, "root.pem");
    let root = root.display();

    for parameters in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={root}"),
        format!("sslmode=verify-full&sslrootcert={root}"),
    ] {
        let message = assert_refused(&t, &url(&cluster, "127.0.0.1", &parameters)).await;
        assert!(message.contains("TLS"), "{message}");
    }
    let plain = url(&cluster, "127.0.0.1", "sslmode=disable");
    let server = t.start_with(&[("DATABASE_URL", &plain)]).await;
    server.create_user("ada@example.com").await;
}

async fn d13_a_wrong_password_is_refused_without_being_told(t: Test) {
    let cluster = PostgresCluster::start_with_password(PASSWORD).await;
    let wrong = cluster.url("postgres").replace(PASSWORD, "wrong-guess");

    let message = assert_refused(&t, &wrong).await;

    assert!(message.contains("password authentication failed"), "{message}");
}

async fn d13_roots_that_cannot_be_read_are_refused(t: Test) {
    let folder = t.directory().display().to_string();
    fs::write(t.directory().join("empty.pem"), "").unwrap();
    fs::write(t.directory().join("text.pem"), "no certificate").unwrap();

    for file in ["absent.pem", "empty.pem", "text.pem"] {
        for mode in ["verify-ca", "verify-full"] {
            let url = format!(
                "postgres://ada:{PASSWORD}@127.0.0.1:1/x?sslmode={mode}&sslrootcert={folder}/{file}"
            );
            let message = assert_refused(&t, &url).await;
            assert!(
                message.contains("sslrootcert") && message.contains(file),
                "{message}"
            );
        }
    }
}
