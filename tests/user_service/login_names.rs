//! Emails and usernames: which are accepted, and which are the same. `CreateUser` and `LookupUser` must
//! agree on both, on both databases.

use identity::proto::identity::v1::User;
use tonic::Code;

use super::calls::{assert_failed, assert_refused, lookup_email, lookup_username};
use crate::support::{Behaviour, Clients, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        v01_case_of_an_email_does_not_matter,
        v01_case_of_a_username_does_not_matter,
        v02_letters_that_look_like_ascii_stay_apart_and_those_that_fold_into_it_are_refused,
        v04_unicode_forms_of_a_name_are_one_account,
        v05_v07_emails_that_only_resemble_each_other_are_different_accounts,
        v12_lengths_of_an_email,
        v12_a_username_has_at_most_255_characters,
        v13_a_username_has_two_parts_after_backslashes,
        v15_forms_of_an_email_that_are_accepted,
        v15_forms_of_an_email_that_are_refused,
        v15_characters_that_show_nothing_are_refused,
    ]
}

async fn create_username(clients: &Clients, username: &str) -> User {
    clients
        .create(new_user().username(username))
        .await
        .expect(username)
}

async fn v01_case_of_an_email_does_not_matter(t: Test) {
    let server = t.start().await;
    let user = server.create_user("A@Ex.com").await;

    let second = server.create(new_user().email("a@eX.com")).await;

    let failure = second.unwrap_err();
    assert_eq!(
        (failure.code(), failure.fields()),
        (
            Code::AlreadyExists,
            vec![("user.email".to_owned(), "EMAIL_TAKEN".to_owned())]
        )
    );
    assert_eq!(user.email, "A@Ex.com", "stored as typed");
    for email in ["A@Ex.com", "a@ex.com", "A@EX.COM"] {
        assert_eq!(lookup_email(&server, email).await.unwrap(), user);
    }
}

async fn v01_case_of_a_username_does_not_matter(t: Test) {
    let server = t.start().await;
    let user = create_username(&server, r"\Corp\Ada").await;

    let failure = server
        .create(new_user().username(r"\CORP\ADA"))
        .await
        .unwrap_err();

    assert_eq!(
        (failure.code(), failure.fields()),
        (
            Code::AlreadyExists,
            vec![("user.username".to_owned(), "USERNAME_TAKEN".to_owned())]
        )
    );
    assert_eq!(user.username, r"\Corp\Ada", "stored as typed");
    assert_eq!(lookup_username(&server, r"\cORP\aDA").await.unwrap(), user);
}

async fn v02_letters_that_look_like_ascii_stay_apart_and_those_that_fold_into_it_are_refused(t: Test) {
    let server = t.start().await;
    // Dotless i, i with a dot in both cases, and i: `lower()` of one database or another mixes them up.
    let names = ["ıvan", "İvan", "ivan"];
    let mut users = Vec::new();
    for name in names {
        let user = new_user()
            .email(&format!("{name}@x.io"))
            .username(&format!(r"\d\{name}"));
        users.push(server.create(user).await.expect(name));
    }
    for (name, user) in names.iter().zip(&users) {
        assert_eq!(
            &lookup_email(&server, &format!("{name}@x.io")).await.unwrap(),
            user
        );
        assert_eq!(
            &lookup_username(&server, &format!(r"\d\{name}")).await.unwrap(),
            user
        );
    }

    // The Kelvin sign and the long s become k and s when their case is folded.
    server.create_user("kate@x.io").await;
    server.create_user("sam@x.io").await;
    for name in ["\u{212A}ate", "\u{17F}am"] {
        let email = format!("{name}@x.io");
        let by_email = new_user().email(&email);
        assert_refused(server.create(by_email).await, "user.email", "INVALID_FORMAT");
        assert_refused(lookup_email(&server, &email).await, "email", "INVALID_FORMAT");
        let username = format!(r"\d\{name}");
        let by_username = new_user().username(&username);
        assert_refused(
            server.create(by_username).await,
            "user.username",
            "INVALID_FORMAT",
        );
        assert_refused(
            lookup_username(&server, &username).await,
            "username",
            "INVALID_FORMAT",
        );
    }
}

async fn v04_unicode_forms_of_a_name_are_one_account(t: Test) {
    let server = t.start().await;
    for forms in [
        ["jos\u{e9}", "jose\u{301}", "JOS\u{c9}", "JOSE\u{301}"],
        ["\u{fb01}n", "fin", "FIN", "\u{ff46}in"],
        ["\u{ff41}da", "ada", "ADA", "\u{ff21}da"],
        ["οδος", "ΟΔΟΣ", "οδοσ", "Οδος"],
    ] {
        let name = forms[0];
        let user = new_user()
            .email(&format!("{name}@x.io"))
            .username(&format!(r"\d\{name}"));
        let user = server.create(user).await.unwrap();
        for form in forms {
            let email = format!("{form}@x.io");
            assert_eq!(lookup_email(&server, &email).await.unwrap(), user, "{email}");
            let username = format!(r"\d\{form}");
            let found = lookup_username(&server, &username).await.unwrap();
            assert_eq!(found, user, "{username}");
            let same_email = server.create(new_user().email(&email)).await;
            assert_failed(same_email, Code::AlreadyExists, "EMAIL_TAKEN");
            let same_username = server.create(new_user().username(&username)).await;
            assert_failed(same_username, Code::AlreadyExists, "USERNAME_TAKEN");
        }
    }

    // A domain is the same in Unicode and in the form of the DNS.
    let user = server.create_user("a@Bücher.example").await;
    for email in [
        "a@bücher.example",
        "a@bu\u{308}cher.example",
        "A@XN--BCHER-KVA.example",
    ] {
        assert_eq!(lookup_email(&server, email).await.unwrap(), user, "{email}");
    }
}

async fn v05_v07_emails_that_only_resemble_each_other_are_different_accounts(t: Test) {
    let server = t.start().await;
    let emails = [
        "apple@x.io",
        "\u{430}pple@x.io",
        "appl\u{435}@x.io",
        "a@x.io",
        "a+tag@x.io",
        "a.b@gmail.com",
        "ab@gmail.com",
        "ab@googlemail.com",
        "strasse@x.io",
        "straße@x.io",
    ];
    for email in emails {
        server.create_user(email).await;
    }
    for email in emails {
        assert_eq!(lookup_email(&server, email).await.unwrap().email, email);
    }
}

/// Labels of a domain of `length` bytes.
fn domain(length: usize) -> String {
    let mut labels = vec!["d".repeat(63); length / 64];
    labels.push("d".repeat(length % 64));
    let domain = labels.join(".");
    assert_eq!(domain.len(), length);
    domain
}

async fn v12_lengths_of_an_email(t: Test) {
    let server = t.start().await;
    let local = |length: usize| "a".repeat(length);
    for email in [
        format!("{}@x.io", local(64)),
        format!("{}@x.io", "\u{e9}".repeat(32)),
        format!("a@{}.io", local(63)),
        format!("a@{}", domain(252)),
        format!("{}@{}", local(64), domain(189)),
    ] {
        let user = server.create_user(&email).await;
        assert_eq!(lookup_email(&server, &email).await.unwrap(), user);
        assert_eq!(user.email, email);
    }

    for (email, limit) in [
        (format!("{}@x.io", local(65)), Some("64")),
        (format!("{}@x.io", "\u{e9}".repeat(33)), Some("64")),
        // Six signs of three bytes, each of which stands for four of them.
        (format!("{}@x.io", "\u{337F}".repeat(6)), Some("64")),
        (format!("a@{}.io", local(64)), None),
        (format!("a@{}", domain(253)), Some("254")),
        (format!("{}@{}", local(64), domain(190)), Some("254")),
        (format!("{}@{}.io", local(64), "d".repeat(100_000)), Some("254")),
    ] {
        for failure in [
            server.create(new_user().email(&email)).await.unwrap_err(),
            lookup_email(&server, &email).await.unwrap_err(),
        ] {
            assert_eq!(failure.code(), Code::InvalidArgument, "{failure:?}");
            assert_eq!(failure.metadata("limit").as_deref(), limit, "{failure:?}");
        }
    }
}

async fn v12_a_username_has_at_most_255_characters(t: Test) {
    let server = t.start().await;
    // Of four bytes each: characters are counted, also by the databases.
    let longest = format!(r"\d\{}", "\u{10348}".repeat(252));
    let user = create_username(&server, &longest).await;
    assert_eq!(lookup_username(&server, &longest).await.unwrap(), user);

    for username in [
        format!("{longest}a"),
        // Short as typed, long once normalised.
        format!(r"\d\{}", "\u{337F}".repeat(64)),
    ] {
        for failure in [
            server.create(new_user().username(&username)).await.unwrap_err(),
            lookup_username(&server, &username).await.unwrap_err(),
        ] {
            assert_eq!(failure.code(), Code::InvalidArgument, "{failure:?}");
            assert_eq!(failure.metadata("limit").as_deref(), Some("255"), "{failure:?}");
        }
    }
}

async fn v13_a_username_has_two_parts_after_backslashes(t: Test) {
    let server = t.start().await;
    for username in [
        r"\d\u",
        r"\Domain\User.Name",
        r"\türkiye\ışık",
        r"\d\u@x.io",
        r"\d\';--",
        r"\d\[a]*?",
        r"\%\_",
    ] {
        let user = create_username(&server, username).await;
        assert_eq!(lookup_username(&server, username).await.unwrap(), user);
        assert_eq!(user.username, username);
    }

    for username in [
        r"\",
        r"\\",
        r"\\\",
        r"\\d\u",
        r"d\u",
        r"\d",
        r"\d\",
        r"\\u",
        r"\d\\u",
        r"\d\u\v",
        r"\d\u\",
        r"\ \ ",
        r"\d\ ",
        r"\d\u ",
        r" \d\u",
        r"\d\a b",
        "/d/u",
        "\\d\\u\u{a0}",
        "\\d\\u\t",
        "\\d\\u\n",
        "\\d\\u\u{7f}",
        "\\d\\u\u{85}",
        "\\d\\\0",
        // Characters that become a backslash when normalised, or show nothing.
        "\\d\\u\u{ff3c}v",
        "\\d\u{fe68}u",
        "\\d\\u\u{200b}",
        "\\d\\\u{3164}",
    ] {
        let user = new_user().username(username);
        assert_refused(server.create(user).await, "user.username", "INVALID_FORMAT");
        let found = lookup_username(&server, username).await;
        assert_refused(found, "username", "INVALID_FORMAT");
    }
}

async fn v15_forms_of_an_email_that_are_accepted(t: Test) {
    let server = t.start().await;
    for email in [
        "a@x.io",
        "a.b.c@x.io",
        "0@x.io",
        "-@x.io",
        "o'brien@x.io",
        "100%@x.io",
        "under_score@x.io",
        "a!#$%&'*+-/=?^_`{|}~z@x.io",
        "a@sub.domain.x.io",
        "a@1.io",
        "a@x-y.io",
        "a@xn--bcher-kva.example",
        "b@bücher.example",
        "用户@例子.广告",
        "अजय@डाटा.भारत",
        "ñandú@x.io",
    ] {
        let user = server.create_user(email).await;
        assert_eq!(user.email, email, "stored as typed");
        assert_eq!(lookup_email(&server, email).await.unwrap(), user);
    }
}

async fn v15_forms_of_an_email_that_are_refused(t: Test) {
    let server = t.start().await;
    for email in [
        "@",
        "a",
        "a@",
        "@x.io",
        "a@@x.io",
        "a@b@x.io",
        "a b@x.io",
        "\"a b\"@x.io",
        "\"a\"@x.io",
        "a(comment)@x.io",
        "(comment)a@x.io",
        "Ada <a@x.io>",
        "<a@x.io>",
        "mailto:a@x.io ",
        "a,b@x.io",
        "a;b@x.io",
        "a:b@x.io",
        "a\\b@x.io",
        "a@[127.0.0.1]",
        "a@[IPv6:::1]",
        "a@127.0.0.1",
        "a@1",
        "a@x.1",
        "a@localhost",
        "a@x.io.",
        "a@.x.io",
        "a@x..io",
        "a@-x.io",
        "a@x-.io",
        "a@x_y.io",
        "a@x y.io",
        "a@x.io/path",
        "a@x.io:25",
        "a@%x.io",
        ".a@x.io",
        "a.@x.io",
        "a..b@x.io",
        " a@x.io",
        "a@x.io ",
        "\ta@x.io",
        "a@x.io\n",
        "a\r\nBcc: b@x.io",
        "\u{a0}a@x.io",
        "a@x.io\u{a0}",
        "\u{3000}a@x.io",
        "a@x.io\u{3000}",
        "a\0@x.io",
        "a@x\0.io",
        "a\u{7f}@x.io",
        "a\u{85}@x.io",
        "\u{1b}[2J@x.io",
        // Characters that become an "@" when normalised.
        "a\u{ff20}x.io",
        "a\u{ff20}b@x.io",
        "a@b\u{fe6b}x.io",
    ] {
        let user = new_user().email(email);
        assert_refused(server.create(user).await, "user.email", "INVALID_FORMAT");
        assert_refused(lookup_email(&server, email).await, "email", "INVALID_FORMAT");
    }
}

async fn v15_characters_that_show_nothing_are_refused(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    for character in [
        '\u{ad}',
        '\u{34f}',
        '\u{115f}',
        '\u{180b}',
        '\u{200b}',
        '\u{200d}',
        '\u{202e}',
        '\u{2060}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{e0100}',
    ] {
        let email = format!("ada{character}@example.com");
        let user = new_user().email(&email);
        assert_refused(server.create(user).await, "user.email", "INVALID_FORMAT");
        assert_refused(lookup_email(&server, &email).await, "email", "INVALID_FORMAT");
    }
}
