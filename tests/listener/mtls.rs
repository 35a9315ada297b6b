//! Certificates of clients.

use std::fs;

use super::refused;
use super::tls::{call, start, variables};
use crate::support::certificates::{Authority, Identity};
use crate::support::{Behaviour, Test, TestServer, eventually, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        a05_a_client_that_the_authority_vouches_for_is_served,
        a05_everybody_else_is_refused_in_the_handshake,
        a05_names_that_the_authority_may_not_vouch_for_are_refused,
        a05_without_a_certificate_is_refused_unless_it_is_optional,
        a05_another_authority_is_taken_without_a_restart,
    ]
}

/// Starts a server that asks clients for certificates of an authority.
async fn start_for(
    t: &Test,
    server: &Authority,
    clients: &Authority,
    more: &[(&'static str, &str)],
) -> TestServer {
    let file = t.directory().join("clients.pem");
    fs::write(&file, clients.pem()).unwrap();
    let mut variables = variables(server, t.directory());
    variables.push(("IDENTITY_TLS_CLIENT_CA_FILE", file.display().to_string()));
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    start(t, &variables).await
}

async fn assert_refused(
    server: &TestServer,
    authority: &Authority,
    identity: Option<&Identity>,
    what: &str,
) {
    let before = refused(server, "tls").await;
    let outcome = call(server, authority.client(identity)).await;
    assert!(outcome.is_err(), "{what}");
    eventually("it is counted", async || refused(server, "tls").await > before).await;
}

async fn a05_a_client_that_the_authority_vouches_for_is_served(t: Test) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = start_for(&t, &authority, &clients, &[]).await;
    for (hosts, uris) in [
        (&["todo.example.com"][..], &["spiffe://example.com/todo"][..]),
        (&["todo.example.com"], &[]),
        (&[], &["spiffe://example.com/todo"]),
    ] {
        let todo = clients.identity(hosts, uris);
        call(&server, authority.client(Some(&todo))).await.unwrap();
    }
}

async fn a05_everybody_else_is_refused_in_the_handshake(t: Test) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = start_for(&t, &authority, &clients, &[]).await;
    let hosts = ["todo.example.com"];
    for (identity, what) in [
        (Authority::new().identity(&hosts, &[]), "another authority"),
        (authority.identity(&hosts, &[]), "the authority of the server"),
        (clients.expired(&hosts), "expired"),
        (clients.identity(&["*.example.com"], &[]), "a wildcard"),
        (
            clients.identity(&[], &["spiffe://example.com/*"]),
            "a wildcard in a URI",
        ),
    ] {
        assert_refused(&server, &authority, Some(&identity), what).await;
    }
    let todo = clients.identity(&hosts, &[]);
    call(&server, authority.client(Some(&todo))).await.unwrap();
}

async fn a05_names_that_the_authority_may_not_vouch_for_are_refused(t: Test) {
    let authority = Authority::new();
    let clients = Authority::limited_to(&["example.com"]);
    let server = start_for(&t, &authority, &clients, &[]).await;

    let inside = clients.identity(&["todo.example.com"], &[]);
    call(&server, authority.client(Some(&inside))).await.unwrap();

    let outside = clients.identity(&["todo.example.org"], &[]);
    assert_refused(&server, &authority, Some(&outside), "outside").await;
    let both = clients.identity(&["todo.example.com", "todo.example.org"], &[]);
    assert_refused(&server, &authority, Some(&both), "one of two").await;
}

async fn a05_without_a_certificate_is_refused_unless_it_is_optional(t: Test) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let strict = start_for(&t, &authority, &clients, &[]).await;
    assert_refused(&strict, &authority, None, "none").await;
    strict.shutdown().await;

    let optional = [("IDENTITY_TLS_CLIENT_CERT", "optional")];
    let server = start_for(&t, &authority, &clients, &optional).await;
    call(&server, authority.client(None)).await.unwrap();
    // Who shows one shows a good one.
    let stranger = Authority::new().identity(&["todo.example.com"], &[]);
    assert_refused(&server, &authority, Some(&stranger), "a bad one").await;
}

async fn a05_another_authority_is_taken_without_a_restart(t: Test) {
    let (authority, before, after) = (Authority::new(), Authority::new(), Authority::new());
    let often = [("IDENTITY_TLS_RELOAD_INTERVAL", "20ms")];
    let server = start_for(&t, &authority, &before, &often).await;
    let old = before.identity(&["todo.example.com"], &[]);
    let new = after.identity(&["todo.example.com"], &[]);
    call(&server, authority.client(Some(&old))).await.unwrap();

    fs::write(t.directory().join("clients.pem"), after.pem()).unwrap();

    eventually("the new authority counts", async || {
        call(&server, authority.client(Some(&new))).await.is_ok()
    })
    .await;
    assert_refused(&server, &authority, Some(&old), "the old authority").await;
}
