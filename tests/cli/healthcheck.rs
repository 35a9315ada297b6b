//! `identity healthcheck`, which containers ask whether to go on.

use std::net::TcpListener;

use crate::health::outage::Outage;
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        it_succeeds_while_the_server_serves_and_fails_while_it_does_not,
        it_fails_when_nobody_answers,
    ]
}

async fn it_succeeds_while_the_server_serves_and_fails_while_it_does_not(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;
    let address = server.grpc_address().to_string();
    let ask = async || t.run(&[("IDENTITY_LISTEN", &address)], &["healthcheck"]).await;

    assert_eq!(ask().await, (0, "serving\n".to_owned(), String::new()));

    outage.begin();
    server.wait_until_not_serving().await;
    let (code, stdout, stderr) = ask().await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("is not serving"), "{stderr}");

    outage.end();
    server.wait_until_serving().await;
    assert_eq!(ask().await.0, 0);
}

async fn it_fails_when_nobody_answers(t: Test) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let variables = [("IDENTITY_LISTEN", &*address.to_string())];
        let (code, stdout, stderr) = t.run(&variables, &["healthcheck"]).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains("does not answer"), "{stderr}");
    }
}
