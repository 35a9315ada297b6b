//! Networks: one of a user's own is not held up by strangers, and strangers share a wait that grows.

use chrono::TimeDelta;
use identity::proto::identity::v1::SignInWithPasswordRequest;
use tonic::Code;

use crate::security_service::calls::lockout_of_user;
use crate::support::{Backend, Behaviour, Clients, PASSWORD, Test, behaviours};
use crate::user_service::calls::assert_failed;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        l06_strangers_do_not_lock_the_owner_out,
        l06_a_network_is_known_for_90_days,
        l06_the_wait_of_strangers_doubles_up_to_its_bound,
        l06_the_wait_of_strangers_is_forgotten_after_a_day,
        l08_one_ipv6_network_is_one_count,
        l08_an_ipv4_address_is_the_same_in_ipv6,
        l08_headers_of_the_caller_are_not_believed,
        l10_the_wait_of_strangers_stays_bounded_when_the_clock_is_set_back,
    ]
}

const EMAIL: &str = "ada@example.com";
const WRONG: &str = "a wrong password";
const HOME: &str = "198.51.100.7";

/// The failures of strangers before they have to wait, unless configured.
const FREE_FAILURES: usize = 10;

/// Strangers fail, each from a network of its own.
async fn fail_from_strangers(clients: &Clients, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_failed(
            clients.sign_in_from(&stranger(number), EMAIL, WRONG).await,
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
        );
    }
}

/// Returns the address of a stranger.
fn stranger(number: usize) -> String {
    format!("203.0.{}.{}", number / 250, number % 250 + 1)
}

async fn assert_locked(clients: &Clients, address: &str) -> TimeDelta {
    let failure = clients
        .sign_in_from(address, EMAIL, PASSWORD)
        .await
        .expect_err("a lock");
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS")
    );
    TimeDelta::from_std(failure.retry_delay().expect("a delay")).unwrap()
}

/// Returns the seconds that strangers have to wait since the last attempt of one of them.
async fn wait_of_strangers(t: &Test) -> i64 {
    let seconds = match t.backend {
        Backend::Sqlite => "(retry_at - updated_at) / 1000000",
        Backend::Postgres => "extract(epoch FROM retry_at - updated_at)::bigint",
    };
    let query = format!("SELECT {seconds} AS value FROM lockouts WHERE length(network) = 0");
    t.sql_value(&query).await.expect("a number").parse().unwrap()
}

async fn l06_strangers_do_not_lock_the_owner_out(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    server.sign_in_from(HOME, EMAIL, PASSWORD).await.unwrap();
    // An hour of one failure every few minutes, each from another network.
    fail_from_strangers(&server, 0..FREE_FAILURES).await;
    for number in 0..10 {
        server.clock.advance(TimeDelta::minutes(5));
        fail_from_strangers(&server, 100 + number..101 + number).await;
    }
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(lockout.failed_attempts, 20);
    assert!(lockout.retry_time.is_some());
    // One stranger who has never tried waits, the owner does not.
    let wait = assert_locked(&server, "192.0.2.200").await;
    assert!(wait <= TimeDelta::minutes(5), "{wait}");
    for _ in 0..3 {
        server.sign_in_from(HOME, EMAIL, PASSWORD).await.unwrap();
    }

    // A success of the owner does not help the strangers.
    assert_locked(&server, "192.0.2.200").await;
    // Nor do failures of the owner count for them, though they count for the owner.
    for _ in 0..5 {
        let failure = server.sign_in_from(HOME, EMAIL, WRONG).await.unwrap_err();
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
    }
    assert_locked(&server, HOME).await;
    let after = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!((after.failed_attempts, after.locked_networks), (20, 1));

    // The owner on the move waits, but not for long.
    server.clock.advance(wait);
    server.sign_in_from("192.0.2.200", EMAIL, PASSWORD).await.unwrap();
}

async fn l06_a_network_is_known_for_90_days(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    server.sign_in_from(HOME, EMAIL, PASSWORD).await.unwrap();
    let minute = TimeDelta::minutes(1);

    server.clock.advance(TimeDelta::days(90) - minute);
    fail_from_strangers(&server, 0..FREE_FAILURES).await;
    server.sign_in_from(HOME, EMAIL, PASSWORD).await.unwrap();

    server.clock.advance(TimeDelta::days(90) + minute);
    fail_from_strangers(&server, 20..20 + FREE_FAILURES).await;
    // So many that the wait is not over before the next line.
    for number in 0..6 {
        server.clock.advance(TimeDelta::minutes(5));
        fail_from_strangers(&server, 50 + number..51 + number).await;
    }
    assert_locked(&server, HOME).await;
}

async fn l06_the_wait_of_strangers_doubles_up_to_its_bound(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    fail_from_strangers(&server, 0..FREE_FAILURES - 1).await;
    assert_eq!(wait_of_strangers(&t).await, 0);

    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300];
    for (number, seconds) in expected.into_iter().enumerate() {
        fail_from_strangers(&server, 100 + number..101 + number).await;
        assert_eq!(wait_of_strangers(&t).await, seconds);
        server.clock.advance(TimeDelta::seconds(seconds));
    }
    server.sign_in_from("192.0.2.9", EMAIL, PASSWORD).await.unwrap();
}

async fn l06_the_wait_of_strangers_is_forgotten_after_a_day(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    fail_from_strangers(&server, 0..FREE_FAILURES - 1).await;
    server.clock.advance(TimeDelta::hours(23));
    let before = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(before.failed_attempts, 9);

    server.clock.advance(TimeDelta::hours(1));

    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(lockout.failed_attempts, 0);
    fail_from_strangers(&server, 20..20 + FREE_FAILURES).await;
    let counted = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(counted.failed_attempts, 10);
    assert_eq!(wait_of_strangers(&t).await, 1);
}

async fn l08_one_ipv6_network_is_one_count(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    for address in [
        "2001:db8:1:2::1",
        "2001:db8:1:2::2",
        "2001:db8:1:2:ffff:ffff:ffff:ffff",
        "2001:0DB8:0001:0002:8000:0000:0000:0000",
        "2001:db8:1:2::",
    ] {
        let failure = server.sign_in_from(address, EMAIL, WRONG).await.unwrap_err();
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{address}");
    }
    assert_locked(&server, "2001:db8:1:2:3:4:5:6").await;
    for neighbour in ["2001:db8:1:3::1", "2001:db8:1:1:ffff:ffff:ffff:ffff", ""] {
        server
            .sign_in_from(neighbour, EMAIL, PASSWORD)
            .await
            .expect(neighbour);
    }
    assert_locked(&server, "2001:db8:1:2:3:4:5:6").await;
}

async fn l08_an_ipv4_address_is_the_same_in_ipv6(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    for address in [
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "::FFFF:c000:201",
        "192.0.2.1",
        "0:0:0:0:0:ffff:192.0.2.1",
    ] {
        let failure = server.sign_in_from(address, EMAIL, WRONG).await.unwrap_err();
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{address}");
    }
    assert_locked(&server, "192.0.2.1").await;
    assert_locked(&server, "::ffff:192.0.2.1").await;
    // Neighbours of IPv4 are networks of their own, however they are written.
    server
        .sign_in_from("::ffff:192.0.2.2", EMAIL, PASSWORD)
        .await
        .unwrap();
    server.sign_in_from("192.0.2.3", EMAIL, PASSWORD).await.unwrap();
}

async fn l08_headers_of_the_caller_are_not_believed(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    let from = async |address: &str| {
        let mut request = tonic::Request::new(SignInWithPasswordRequest {
            identifier: EMAIL.to_owned(),
            password: WRONG.to_owned(),
            client: None,
        });
        for header in ["x-forwarded-for", "x-real-ip", "forwarded"] {
            request.metadata_mut().insert(header, address.parse().unwrap());
        }
        let status = server.auth().sign_in_with_password(request).await.unwrap_err();
        crate::support::Failure::from(status).reason()
    };
    for number in 0..5 {
        assert_eq!(from(&stranger(number)).await, "INVALID_CREDENTIALS");
    }
    assert_eq!(from(&stranger(5)).await, "TOO_MANY_ATTEMPTS");
}

async fn l10_the_wait_of_strangers_stays_bounded_when_the_clock_is_set_back(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    fail_from_strangers(&server, 0..1).await;
    // The clock runs ahead for a while, so that the first failure is in the past after it is put right.
    server.clock.advance(TimeDelta::hours(3));
    fail_from_strangers(&server, 1..FREE_FAILURES).await;
    for number in 0..9 {
        server.clock.advance(TimeDelta::minutes(5));
        fail_from_strangers(&server, 20 + number..21 + number).await;
    }

    server.clock.advance(TimeDelta::hours(-2));

    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(lockout.retry_time, None, "a time that far off was never said");
    fail_from_strangers(&server, 40..41).await;
    let wait = assert_locked(&server, &stranger(41)).await;
    assert!(wait <= TimeDelta::minutes(5), "{wait}");
    server.clock.advance(wait);
    server.sign_in_from(&stranger(41), EMAIL, PASSWORD).await.unwrap();
}
