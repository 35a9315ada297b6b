//! Input that is hostile in the same way for every method.

use std::fmt::Debug;

use identity::proto::identity::v1::{
    BlockUserRequest, CreateUserRequest, ListUsersRequest, UpdateUserRequest, User, UserFilter,
};
use prost_types::FieldMask;
use tonic::Code;

use super::calls::{
    Change, Method, assert_refused, batch_get, count, emails_of, list, lookup_email, lookup_username,
};
use crate::security::raw::{RawAnswer, RawCall};
use crate::support::{Behaviour, Clients, Failure, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        v08_nul_is_refused_in_every_field_that_is_read,
        v09_control_characters_are_refused_in_names,
        no_character_is_an_internal_error_or_stored_differently,
        v20_unknown_fields_and_repeated_ones_have_their_proto3_meaning,
        v20_deeply_nested_groups_are_refused,
        ids_of_requests_must_be_uuids,
        a_user_must_be_given,
    ]
}

/// Calls a method of the user service with bytes, which need not be a message.
pub async fn call_raw(clients: &Clients, method: &str, request: &[u8]) -> RawAnswer {
    let path = format!("/identity.v1.UserService/{method}");
    RawCall::new(&path, request).send(clients).await
}

/// Asserts that a call was refused and that the field is named.
#[track_caller]
fn assert_names<T: Debug>(result: Result<T, Failure>, field: &str) {
    let failure = result.expect_err(field);
    let fields: Vec<String> = failure.fields().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        (failure.code(), fields),
        (Code::InvalidArgument, vec![field.to_owned()]),
        "{failure:?}"
    );
}

async fn v08_nul_is_refused_in_every_field_that_is_read(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let id_with_nul = format!("{}\0", &ada.id[..35]);
    let new = || new_user().email("bob@example.com");

    assert_names(server.create(new_user().email("a\0@x.io")).await, "user.email");
    assert_names(server.create(new_user().email("a@x\0.io")).await, "user.email");
    assert_names(server.create(new().username("\\d\\\0")).await, "user.username");
    assert_names(server.create(new().full_name("A\0")).await, "user.full_name");
    assert_names(server.create(new().user_id(&id_with_nul)).await, "user_id");
    let password = "correct horse\0battery";
    assert_names(server.create(new().password(password)).await, "password");
    assert_names(server.create(new().request_id("\0")).await, "request_id");

    assert_names(server.get(&id_with_nul).await, "user_id");
    assert_names(lookup_email(&server, "ada@example.com\0").await, "email");
    assert_names(lookup_username(&server, "\\d\\\0").await, "username");
    assert_names(batch_get(&server, &[&ada.id, "\0"]).await, "user_ids[1]");

    let filter = UserFilter {
        email_prefix: "a\0".to_owned(),
        ..UserFilter::default()
    };
    assert_names(emails_of(&server, filter).await, "filter.email_prefix");
    let by_order = ListUsersRequest {
        order_by: "create_time\0".to_owned(),
        ..ListUsersRequest::default()
    };
    assert_names(list(&server, by_order).await, "order_by");
    let by_token = ListUsersRequest {
        page_token: "\0".to_owned(),
        ..ListUsersRequest::default()
    };
    assert_names(list(&server, by_token).await, "page_token");

    for method in Method::ALL {
        let by_id = method.call(&server, Change::of(&id_with_nul)).await;
        assert_names(by_id, method.id_field());
        let by_etag = method.call(&server, Change::of(&ada.id).etag("\0")).await;
        assert_names(by_etag, method.etag_field());
        let by_request = method.call(&server, Change::of(&ada.id).request_id("\0")).await;
        assert_names(by_request, "request_id");
    }
    for (field, user) in [
        (
            "email",
            User {
                email: "a\0@x.io".to_owned(),
                ..User::default()
            },
        ),
        (
            "username",
            User {
                username: "\\d\\\0".to_owned(),
                ..User::default()
            },
        ),
        (
            "full_name",
            User {
                full_name: "A\0".to_owned(),
                ..User::default()
            },
        ),
    ] {
        let user = User {
            id: ada.id.clone(),
            ..user
        };
        let updated = super::calls::update(&server, user, &[field]).await;
        assert_names(updated, &format!("user.{field}"));
    }
    let path = super::calls::update(&server, ada.clone(), &["email\0"]).await;
    assert_names(path, "update_mask.paths[0]");
    let block = BlockUserRequest {
        user_id: ada.id.clone(),
        reason: "\0".to_owned(),
        ..BlockUserRequest::default()
    };
    let blocked = server.users().block_user(block).await.map_err(Failure::from);
    assert_names(blocked, "reason");

    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    assert_eq!(count(&t, "users").await, "1");
}

async fn v09_control_characters_are_refused_in_names(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    for name in [
        "A\r\nB",
        "\u{1b}[2J",
        "A\u{7f}",
        "A\u{80}",
        "A\u{9b}31m",
        "A\u{b}",
        "A\u{2028}B",
        "A\u{2029}B",
        " ",
        "\u{a0}\u{3000}",
    ] {
        let bob = new_user().email("bob@example.com").full_name(name);
        assert_refused(server.create(bob).await, "user.full_name", "INVALID_FORMAT");
        let user = User {
            id: ada.id.clone(),
            full_name: name.to_owned(),
            ..User::default()
        };
        let updated = super::calls::update(&server, user, &["full_name"]).await;
        assert_refused(updated, "user.full_name", "INVALID_FORMAT");
    }
}

/// Spaces, controls, format characters, and whatever else programs tend to disagree on.
fn odd_characters() -> Vec<char> {
    let ranges = [
        0x00..=0x23,
        0x5b..=0x5e,
        0x7b..=0xa0,
        0xad..=0xad,
        0x130..=0x131,
        0x149..=0x149,
        0x17f..=0x17f,
        0x300..=0x301,
        0x345..=0x345,
        0x34f..=0x34f,
        0x3c2..=0x3c3,
        0x61c..=0x61c,
        0x85f..=0x85f,
        0x115f..=0x1160,
        0x1680..=0x1680,
        0x17b4..=0x17b4,
        0x180e..=0x180e,
        0x1e9e..=0x1e9e,
        0x1fff..=0x2010,
        0x2024..=0x2030,
        0x205f..=0x2064,
        0x2126..=0x212b,
        0x3000..=0x3002,
        0x3164..=0x3164,
        0xe000..=0xe000,
        0xfb00..=0xfb06,
        0xfdfa..=0xfdfa,
        0xfe0f..=0xfe0f,
        0xfe52..=0xfe52,
        0xfe68..=0xfe6b,
        0xfeff..=0xfeff,
        0xff0e..=0xff0e,
        0xff20..=0xff21,
        0xff3c..=0xff3c,
        0xff61..=0xff61,
        0xffa0..=0xffa0,
        0xfff9..=0xffff,
        0x1d173..=0x1d173,
        0x1f511..=0x1f511,
        0xe0001..=0xe0001,
        0xe0100..=0xe0100,
        0x10ffff..=0x10ffff,
    ];
    ranges.into_iter().flatten().filter_map(char::from_u32).collect()
}

/// The rules of the program must be at least as strict as the checks of either database: a value that
/// passes one and not the other would be an internal error.
async fn no_character_is_an_internal_error_or_stored_differently(t: Test) {
    let server = t.start().await;
    for (number, character) in odd_characters().into_iter().enumerate() {
        let code = u32::from(character);
        for (user, own) in [
            (new_user().email(&format!("a{character}{number}@x.io")), "email"),
            (new_user().email(&format!("b{number}@x{character}y.io")), "email"),
            (
                new_user().username(&format!("\\d\\{character}{number}")),
                "username",
            ),
            (
                new_user().username(&format!("\\{character}{number}\\u")),
                "username",
            ),
            (
                new_user()
                    .email(&format!("c{number}@x.io"))
                    .full_name(&format!("A{character}B")),
                "full_name",
            ),
        ] {
            match server.create(user).await {
                Ok(created) => {
                    let found = server.get(&created.id).await.unwrap();
                    assert_eq!(found, created, "U+{code:04X}");
                }
                Err(failure) => assert_names::<()>(Err(failure), &format!("user.{own}")),
            }
        }
    }
}

/// Encodes a field whose value has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 0x80 && number < 16);
    [&[number << 3 | 2, length], value].concat()
}

async fn v20_unknown_fields_and_repeated_ones_have_their_proto3_meaning(t: Test) {
    let server = t.start().await;

    // The last of several values of a singular field counts, messages are merged, and a field that is not
    // known is ignored.
    let repeated = [
        field(1, &field(2, b"first@example.com")),
        field(1, &field(2, b"last@example.com")),
        field(1, &field(5, b"Last")),
        field(15, b"nobody knows this"),
    ]
    .concat();
    call_raw(&server, "CreateUser", &repeated).await.unwrap();
    let user = lookup_email(&server, "last@example.com").await.unwrap();
    assert_eq!(user.full_name, "Last");

    // The last member of a oneof counts.
    let both = [field(1, b"not an email"), field(2, br"\d\nobody")].concat();
    let failure = call_raw(&server, "LookupUser", &both).await.unwrap_err();
    assert_eq!(failure.code(), Code::NotFound);

    // An enum value that is not known, in a field that is ignored.
    let request = CreateUserRequest {
        user: Some(User {
            email: "enum@example.com".to_owned(),
            auth_provider: 9999,
            ..User::default()
        }),
        ..CreateUserRequest::default()
    };
    let created = server.users().create_user(request).await.unwrap().into_inner();
    assert_eq!(created.user.unwrap().auth_provider, 0);
}

async fn v20_deeply_nested_groups_are_refused(t: Test) {
    let server = t.start().await;
    const START_OF_GROUP_15: u8 = 15 << 3 | 3;
    const END_OF_GROUP_15: u8 = 15 << 3 | 4;
    for depth in [101, 10_000, 100_000] {
        let request = [vec![START_OF_GROUP_15; depth], vec![END_OF_GROUP_15; depth]].concat();
        let failure = call_raw(&server, "GetUser", &request).await.unwrap_err();
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::InvalidArgument, "MALFORMED_REQUEST")
        );
    }
    assert!(server.is_serving().await);
}

async fn ids_of_requests_must_be_uuids(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    for request_id in [
        "1",
        "7c9e66797425 40de944be07fc1f90ae7",
        "{7c9e6679-7425-40de-944b-e07fc1f90ae7}",
    ] {
        let user = new_user().email("bob@example.com").request_id(request_id);
        assert_refused(server.create(user).await, "request_id", "INVALID_FORMAT");
        for method in Method::ALL {
            let change = Change::of(&ada.id).request_id(request_id);
            let result = method.call(&server, change).await;
            assert_refused(result, "request_id", "INVALID_FORMAT");
        }
    }
}

async fn a_user_must_be_given(t: Test) {
    let server = t.start().await;
    let request = UpdateUserRequest {
        user: None,
        update_mask: Some(FieldMask::default()),
        request_id: String::new(),
    };
    let updated = server.users().update_user(request).await;
    assert_refused(updated.map_err(Failure::from), "user", "FIELD_REQUIRED");
    let created = server.users().create_user(CreateUserRequest::default()).await;
    assert_refused(created.map_err(Failure::from), "user", "FIELD_REQUIRED");
}
