//! Bytes that are no request: every one of them gets an answer that programs can rely on, and does no harm.

use std::iter::repeat_n;

use identity::proto::identity::v1::{CreateUserResponse, GetUserRequest, User};
use prost::Message;
use tonic::Code;

use super::raw::{RawAnswer, RawCall, frame};
use crate::support::{Behaviour, Clients, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        v11_text_that_is_not_utf_8_is_refused,
        v11_bytes_that_are_not_a_message_are_refused,
        v20_unknown_fields_and_groups_are_ignored,
        v20_groups_nested_too_deep_are_refused,
        v20_the_last_of_duplicated_singular_fields_counts,
        x03_a_message_that_is_announced_too_large_is_refused_before_it_is_sent,
        x03_the_limit_on_messages_is_exact,
        x04_compressed_messages_are_not_supported,
        frames_that_are_not_a_request_are_refused,
        malformed_timeouts_are_refused_and_name_the_header,
        paths_that_are_not_methods_are_not_implemented,
        every_method_refuses_what_is_not_a_message,
        methods_that_only_read_need_no_message_bytes,
    ]
}

const CREATE: &str = "/identity.v1.UserService/CreateUser";
const GET: &str = "/identity.v1.UserService/GetUser";

/// A field of an encoded message whose value is counted in bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(number < 16 && length < 128);
    [&[number << 3 | 2, length], value].concat()
}

/// A `CreateUserRequest` whose user has these bytes as its full name.
fn user_named(name: &[u8]) -> Vec<u8> {
    field(1, &[field(2, b"ada@example.com"), field(5, name)].concat())
}

async fn v11_text_that_is_not_utf_8_is_refused(t: Test) {
    let server = t.start().await;
    let texts: [&[u8]; 9] = [
        b"\xc3\x28",
        // Lone surrogates, and a pair of them (CESU-8).
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80",
        // Overlong forms of "/" and of NUL.
        b"\xc0\xaf",
        b"\xc0\x80",
        // Beyond U+10FFFF, cut off, and no beginning.
        b"\xf4\x90\x80\x80",
        b"Ada\xe2\x82",
        b"\x80",
    ];
    for text in texts {
        let answers = [
            RawCall::new(CREATE, &user_named(text)).send(&server).await,
            RawCall::new(GET, &field(1, text)).send(&server).await,
        ];
        for answer in answers {
            assert_refused(
                answer,
                Code::InvalidArgument,
                "MALFORMED_REQUEST",
                &format!("{text:x?}"),
            );
        }
    }
    assert_serves(&server).await;
    assert_eq!(count_users(&t).await, "0");
}

async fn v11_bytes_that_are_not_a_message_are_refused(t: Test) {
    let server = t.start().await;
    let whole = user_named(b"Ada");
    let mut messages: Vec<(&str, Vec<u8>)> = vec![
        ("a text as a varint", vec![1 << 3, 1]),
        (
            "a message as 64 bits",
            [[1 << 3 | 1_u8].as_slice(), &[0; 8]].concat(),
        ),
        (
            "a text as 32 bits",
            [[3 << 3 | 5_u8].as_slice(), &[0; 4]].concat(),
        ),
        ("a text as a group", vec![3 << 3 | 3, 3 << 3 | 4]),
        ("wire type 6", vec![1 << 3 | 6, 0]),
        ("wire type 7", vec![1 << 3 | 7, 0]),
        ("field number 0", vec![2, 0]),
        ("the end of a group that did not begin", vec![9 << 3 | 4]),
        ("a group that does not end", vec![9 << 3 | 3, 9 << 3, 1]),
        (
            "a group that ends with another number",
            vec![9 << 3 | 3, 10 << 3 | 4],
        ),
        ("a tag that does not end", vec![0x80; 11]),
        (
            "a length that does not end",
            [[3 << 3 | 2_u8].as_slice(), &[0xff; 11]].concat(),
        ),
        ("a length beyond the message", vec![3 << 3 | 2, 100, b'a']),
        (
            "a length of 2^63",
            [[3 << 3 | 2_u8].as_slice(), &[0xff; 9], &[1]].concat(),
        ),
        ("an error page", b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
    ];
    messages
        .extend((1..whole.len()).map(|length| ("a message that was cut off", whole[..length].to_vec())));
    for (what, message) in messages {
        let answer = RawCall::new(CREATE, &message).send(&server).await;
        assert_refused(
            answer,
            Code::InvalidArgument,
            "MALFORMED_REQUEST",
            &format!("{what}: {message:x?}"),
        );
    }
    assert_serves(&server).await;
    assert_eq!(count_users(&t).await, "0");
}

async fn v20_unknown_fields_and_groups_are_ignored(t: Test) {
    let server = t.start().await;
    let group = |depth: usize| -> Vec<u8> {
        repeat_n(15 << 3 | 3, depth)
            .chain(repeat_n(15 << 3 | 4, depth))
            .collect()
    };
    let unknown: [(&str, Vec<u8>); 5] = [
        ("a varint", vec![15 << 3, 0xff, 0x01]),
        ("64 bits", [[15 << 3 | 1_u8].as_slice(), &[7; 8]].concat()),
        ("bytes that are not UTF-8", field(15, b"\xff\xfe")),
        ("an empty group", group(1)),
        ("groups inside each other", group(50)),
    ];
    for (number, (what, extra)) in unknown.into_iter().enumerate() {
        let email = format!("user{number}@example.com");
        let message = [field(1, &field(2, email.as_bytes())), extra].concat();
        let answer = RawCall::new(CREATE, &message).send(&server).await;
        assert_eq!(created(answer, what).email, email);
    }
}

/// Each level takes stack; without a limit a short message could use all of it.
async fn v20_groups_nested_too_deep_are_refused(t: Test) {
    let server = t.start().await;
    for depth in [101, 1000, 100_000] {
        let begins = repeat_n(15 << 3 | 3, depth);
        let message: Vec<u8> = begins.chain(repeat_n(15 << 3 | 4, depth)).collect();
        let answer = RawCall::new(CREATE, &message).send(&server).await;
        assert_refused(
            answer,
            Code::InvalidArgument,
            "MALFORMED_REQUEST",
            &depth.to_string(),
        );
    }
    assert_serves(&server).await;
}

async fn v20_the_last_of_duplicated_singular_fields_counts(t: Test) {
    let server = t.start().await;
    // Texts replace each other; messages are merged.
    let duplicated = [field(2, b"first@example.com"), field(2, b"last@example.com")].concat();
    let message = [field(1, &duplicated), field(1, &field(5, b"Ada"))].concat();

    let user = created(RawCall::new(CREATE, &message).send(&server).await, "duplicates");

    assert_eq!(
        (user.email.as_str(), user.full_name.as_str()),
        ("last@example.com", "Ada")
    );
}

async fn x03_a_message_that_is_announced_too_large_is_refused_before_it_is_sent(t: Test) {
    let server = t.start().await;
    for length in [262_145, 1 << 31, u32::MAX] {
        let header = [[0_u8].as_slice(), &length.to_be_bytes()].concat();
        let answer = RawCall::unfinished(CREATE, header).send(&server).await;
        assert_refused(
            answer,
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            &length.to_string(),
        );
    }
    assert_serves(&server).await;
}

async fn x03_the_limit_on_messages_is_exact(t: Test) {
    let server = t.start_with(&[("IDENTITY_MAX_REQUEST_BYTES", "1024")]).await;
    let paths = [
        CREATE,
        "/identity.v1.StatusService/GetStatus",
        "/grpc.health.v1.Health/Check",
    ];
    for path in paths {
        for (length, is_refused) in [(1024, false), (1025, true), (100_000, true)] {
            // An unknown field fills the message.
            let head = [15_u8 << 3 | 2];
            let rest = varint(length - 1 - varint(length).len());
            let filler = length - head.len() - rest.len();
            let message = [head.as_slice(), &rest, &vec![0; filler]].concat();
            assert_eq!(message.len(), length);

            let answer = RawCall::new(path, &message).send(&server).await;

            let reason = answer.err().map(|failure| failure.reason());
            assert_eq!(
                reason.as_deref() == Some("MESSAGE_TOO_LARGE"),
                is_refused,
                "{path} {length} {reason:?}"
            );
        }
    }
    assert_serves(&server).await;
}

fn varint(value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::try_from(value).unwrap(), &mut bytes);
    bytes
}

async fn x04_compressed_messages_are_not_supported(t: Test) {
    let server = t.start().await;
    let body = || [[1_u8, 0, 0, 0, 4].as_slice(), b"\x1f\x8b\x08\x00"].concat();

    let undeclared = RawCall::framed(CREATE, body()).send(&server).await;
    let identity = RawCall::framed(CREATE, body()).header("grpc-encoding", "identity");
    let identity = identity.send(&server).await;

    for answer in [undeclared, identity] {
        assert_refused(
            answer,
            Code::InvalidArgument,
            "MALFORMED_REQUEST",
            "compressed, no encoding",
        );
    }
    for encoding in ["gzip", "zstd", "deflate", "snappy", "nope"] {
        let call = RawCall::framed(CREATE, body()).header("grpc-encoding", encoding);
        assert_refused(
            call.send(&server).await,
            Code::Unimplemented,
            "NOT_IMPLEMENTED",
            encoding,
        );
    }
    assert_serves(&server).await;
}

async fn frames_that_are_not_a_request_are_refused(t: Test) {
    let server = t.start().await;
    let request = user_named(b"Ada");
    let bodies: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("half a header", vec![0, 0, 0]),
        ("a header without its message", vec![0, 0, 0, 0, 10]),
        ("a message that was cut off", frame(&request)[..10].to_vec()),
        (
            "an unknown flag",
            [[2_u8, 0, 0, 0, 0].as_slice(), &request].concat(),
        ),
        (
            "all bits of the flag",
            [[0xff_u8, 0, 0, 0, 0].as_slice(), &request].concat(),
        ),
        ("a message without a header", b"{\"user\": {}}".to_vec()),
    ];
    for (what, body) in bodies {
        let failure = RawCall::framed(CREATE, body).send(&server).await.unwrap_err();
        let answer = (failure.code(), failure.reason());
        let is_documented = [
            (Code::InvalidArgument, "MALFORMED_REQUEST".to_owned()),
            // The first bytes of what is no frame may be read as a length.
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()),
        ]
        .contains(&answer);
        assert!(is_documented, "{what}: {failure:?}");
    }
    assert_serves(&server).await;
    assert_eq!(count_users(&t).await, "0");
}

async fn malformed_timeouts_are_refused_and_name_the_header(t: Test) {
    let server = t.start().await;
    for timeout in [
        "",
        "S",
        "1",
        "1s",
        "1x",
        "-1S",
        "+1S",
        "1.5S",
        "123456789S",
        "1 S",
        "S1",
        "0x1S",
        "∞",
    ] {
        let answer = RawCall::new(CREATE, &user_named(b"Ada")).header("grpc-timeout", timeout);
        let failure = answer.send(&server).await.expect_err(timeout);
        assert_eq!(failure.code(), Code::InvalidArgument, "{timeout:?} {failure:?}");
        assert_eq!(
            failure.fields(),
            [("grpc-timeout".to_owned(), "INVALID_FORMAT".to_owned())],
            "{timeout:?}"
        );
    }
    assert_eq!(count_users(&t).await, "0");
    for timeout in ["1H", "99999999H", "1M", "10S", "00000010S", "10000m"] {
        let answer = RawCall::new("/grpc.health.v1.Health/Check", &[]).header("grpc-timeout", timeout);
        assert!(answer.send(&server).await.is_ok(), "{timeout}");
    }
}

async fn paths_that_are_not_methods_are_not_implemented(t: Test) {
    let server = t.start().await;
    let paths = [
        "/",
        "/identity.v1.UserService",
        "/identity.v1.UserService/",
        "/identity.v1.UserService/createUser",
        "/identity.v1.UserService/CreateUser/",
        "/identity.v1.UserService/CreateUser/x",
        "//identity.v1.UserService/CreateUser",
        "/identity.v1.UserService//CreateUser",
        "/identity.v1.UserService/%43reateUser",
        "/identity.v1.UserService/../UserService/CreateUser",
        "/identity.v1.UserService/Nope",
        "/identity.v2.UserService/CreateUser",
        "/IDENTITY.V1.USERSERVICE/CREATEUSER",
        "/grpc.health.v1.Health/Nope",
        "/grpc.reflection.v1.ServerReflection/Nope",
        "/metrics",
        "/identity.v1.UserService/CreateUser?",
        "/identity.v1.UserService/CreateUser?a=b",
        "/grpc.health.v1.Health/Check?x",
    ];
    for path in paths {
        let answer = RawCall::new(path, &user_named(b"Ada")).send(&server).await;
        assert_refused(answer, Code::Unimplemented, "NOT_IMPLEMENTED", path);
    }
    assert_eq!(count_users(&t).await, "0");
    assert_serves(&server).await;
}

async fn every_method_refuses_what_is_not_a_message(t: Test) {
    let server = t.start().await;
    let mut methods = identity::grpc::method_paths();
    // Reflection is a stream of requests, and ends it without an answer.
    methods.retain(|path| !path.contains("reflection"));
    assert!(methods.len() >= 15, "{methods:?}");
    for path in methods {
        for message in [b"\x0f\xff".as_slice(), b"\xff\xff\xff"] {
            let answer = RawCall::new(path, message).send(&server).await;
            assert_refused(answer, Code::InvalidArgument, "MALFORMED_REQUEST", path);
        }
    }
    assert_serves(&server).await;
}

/// An empty message has no bytes, but it has a frame.
async fn methods_that_only_read_need_no_message_bytes(t: Test) {
    let server = t.start().await;
    for path in [
        "/identity.v1.StatusService/GetStatus",
        "/identity.v1.UserService/ListUsers",
    ] {
        let answer = RawCall::framed(path, frame(&[])).send(&server).await;
        assert!(answer.is_ok(), "{path}: {answer:?}");
    }
    let failure = RawCall::framed(GET, frame(&[])).send(&server).await.unwrap_err();
    assert_eq!(
        failure.fields(),
        [("user_id".to_owned(), "FIELD_REQUIRED".to_owned())]
    );
}

/// The call was refused with this code and reason, and with nothing of what was sent.
fn assert_refused(answer: RawAnswer, code: Code, reason: &str, what: &str) {
    let failure = answer.err().unwrap_or_else(|| panic!("accepted: {what}"));
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (code, reason),
        "{what}: {failure:?}"
    );
    assert!(
        !failure.message().contains("Ada") && !failure.message().contains("example.com"),
        "{failure:?}"
    );
}

/// Other calls on the same connection, and on a new one, are answered.
async fn assert_serves(clients: &Clients) {
    assert!(clients.is_serving().await);
    let request = GetUserRequest {
        user_id: "0190a6e1-7d5c-7abc-8def-0123456789ab".to_owned(),
    };
    let failure = RawCall::new(GET, &request.encode_to_vec())
        .send(clients)
        .await
        .unwrap_err();
    assert_eq!(failure.reason(), "USER_NOT_FOUND");
    let (_, metrics) = clients.http_get("/metrics").await;
    assert!(metrics.contains("identity_panics_total 0"), "a panic was counted");
}

fn created(answer: RawAnswer, what: &str) -> User {
    let message = answer.unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
    let response = CreateUserResponse::decode(message.as_slice()).unwrap();
    response.user.unwrap()
}

async fn count_users(t: &Test) -> String {
    t.sql_value("SELECT count(*) AS value FROM users").await.unwrap()
}
