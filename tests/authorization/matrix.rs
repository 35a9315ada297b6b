//! Every method × every kind of caller, from the descriptors.

use identity::proto::DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::Code;

use crate::security::raw::RawCall;
use crate::support::{AUTH, Behaviour, Clients, Test, behaviours, plain};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            a01_every_method_lets_in_whom_its_option_names_and_nobody_else,
            a01_what_does_not_exist_is_not_implemented_for_everybody,
            a06_permission_is_refused_before_the_request_is_looked_at,
            a07_reflection_is_for_services_that_are_known,
            h01_the_health_is_for_everybody,
        ],
        plain![
            a01_every_method_says_who_may_call_it,
            every_method_says_the_same_in_its_comment
        ],
    ]
    .concat()
}

/// What the option of a method says.
struct Access {
    path: String,
    scope: String,
    own: bool,
    public: bool,
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let methods: Vec<MethodDescriptor> = pool
        .services()
        .filter(|service| service.package_name() == "identity.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() >= 35, "only {} methods were found", methods.len());
    methods
}

fn access_of(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Access> {
    let option = pool.get_extension_by_name("identity.v1.access").unwrap();
    let options = method.options();
    if !options.has_extension(&option) {
        return None;
    }
    let value = options.get_extension(&option);
    let message = value.as_message().unwrap();
    let flag = |name| message.get_field_by_name(name).unwrap().as_bool().unwrap();
    let scope = message.get_field_by_name("scope").unwrap();
    Some(Access {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        scope: scope.as_str().unwrap().to_owned(),
        own: flag("own"),
        public: flag("public"),
    })
}

fn accesses() -> Vec<Access> {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    methods(&pool)
        .iter()
        .filter_map(|method| access_of(&pool, method))
        .collect()
}

fn a01_every_method_says_who_may_call_it() {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    for method in methods(&pool) {
        let name = method.full_name();
        let access = access_of(&pool, &method).unwrap_or_else(|| panic!("{name} has no option"));
        let is_closed = access.scope.is_empty() && !access.own;
        assert_eq!(access.public, is_closed, "{name}");
        assert_ne!(access.scope, "admin", "{name}: a scope of its own says more");
    }
}

fn every_method_says_the_same_in_its_comment() {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    for method in methods(&pool) {
        let name = method.full_name().to_owned();
        let access = access_of(&pool, &method).unwrap();
        let mut callers = Vec::new();
        if access.public {
            callers.push("anybody".to_owned());
        }
        if !access.scope.is_empty() {
            callers.push(format!("services with the scope \"{}\"", access.scope));
        }
        if access.own {
            callers.push("users for themselves".to_owned());
        }
        let line = format!(" Access: {}.", callers.join(" and "));
        let file = method.parent_file().file_descriptor_proto().clone();
        let locations = file.source_code_info.unwrap_or_default().location;
        let is_said = locations.iter().any(|location| {
            location.path == method.path()
                && location.leading_comments().lines().any(|text| text == line)
        });
        assert!(is_said, "{name} does not say{line}");
    }
}

/// How a call without a message ends. Whoever is let in is told that the message is wrong, or answered.
async fn verdict(clients: &Clients, path: &str, token: Option<&str>) -> &'static str {
    let mut call = RawCall::new(path, &[]);
    if let Some(token) = token {
        call = call.header("authorization", &format!("Bearer {token}"));
    }
    match call.send(clients).await {
        Ok(_) => "in",
        Err(failure) => match (failure.code(), failure.reason().as_str()) {
            (Code::Unauthenticated, "TOKEN_REQUIRED") => "who are you",
            (Code::Unauthenticated, "TOKEN_INVALID") => "not a token",
            (Code::PermissionDenied, "PERMISSION_DENIED") => "not you",
            (Code::InvalidArgument, _) => "in",
            other => panic!("{path}: {other:?}"),
        },
    }
}

async fn a01_every_method_lets_in_whom_its_option_names_and_nobody_else(t: Test) {
    let setting = [AUTH, ("IDENTITY_SIGN_UP", "on")];
    let server = t.start_with(&setting).await;
    let admin = t.service_token("admin", &["admin"]).await;
    let (_, tokens) = server.with_token(&admin).signed_in("ada@example.com").await;
    let accesses = accesses();
    let mut scopes: Vec<&str> = accesses.iter().map(|access| access.scope.as_str()).collect();
    scopes.retain(|scope| !scope.is_empty());
    scopes.sort_unstable();
    scopes.dedup();

    for access in &accesses {
        let path = access.path.as_str();
        // Every scope there is but the right one.
        let wrong: Vec<&str> = scopes
            .iter()
            .copied()
            .filter(|scope| *scope != access.scope)
            .collect();
        let with_wrong = t.service_token("wrong", &wrong).await;
        let service = |allowed| match allowed {
            _ if access.public => "in",
            true => "in",
            false => "not you",
        };
        let is_for_services = !access.scope.is_empty();
        let expected_of_user = if access.own || access.public {
            "in"
        } else {
            "not you"
        };
        let expected_of_nobody = if access.public { "in" } else { "who are you" };

        assert_eq!(
            verdict(&server, path, None).await,
            expected_of_nobody,
            "{path}: nobody"
        );
        assert_eq!(
            verdict(&server, path, Some(&with_wrong)).await,
            service(false),
            "{path}: every other scope"
        );
        if is_for_services {
            let with_right = t.service_token("right", &[&access.scope]).await;
            let right = verdict(&server, path, Some(&with_right)).await;
            assert_eq!(right, service(true), "{path}: the right scope");
        }
        assert_eq!(
            verdict(&server, path, Some(&admin)).await,
            service(is_for_services),
            "{path}: admin"
        );
        assert_eq!(
            verdict(&server, path, Some(&tokens.access_token)).await,
            expected_of_user,
            "{path}: a user"
        );
        if !access.public {
            for token in ["", "x", "ids_", "ids_00", &tokens.refresh_token] {
                let refused = verdict(&server, path, Some(token)).await;
                assert_eq!(refused, "not a token", "{path}: {token}");
            }
        }
    }
}

async fn a01_what_does_not_exist_is_not_implemented_for_everybody(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let admin = t.service_token("admin", &["admin"]).await;
    for path in [
        "/identity.v1.UserService/Nope",
        "/identity.v1.UserService/getuser",
        "/identity.v1.UserService/GetUser/",
        "//identity.v1.UserService/GetUser",
        "/identity.v1.Nope/GetUser",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/",
    ] {
        for token in [None, Some(&admin)] {
            let mut call = RawCall::new(path, &[]);
            if let Some(token) = token {
                call = call.header("authorization", &format!("Bearer {token}"));
            }
            let failure = call.send(&server).await.unwrap_err();
            assert_eq!(failure.code(), Code::Unimplemented, "{path}");
            assert_eq!(failure.reason(), "NOT_IMPLEMENTED");
        }
    }
}

async fn a06_permission_is_refused_before_the_request_is_looked_at(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let admin = t.service_token("admin", &["admin"]).await;
    let ada = server.with_token(&admin).create_user("ada@example.com").await;
    let token = t.service_token("gateway", &["auth.sign_in"]).await;
    let gateway = server.with_token(&token);

    let of_ada = gateway.get(&ada.id).await.unwrap_err();
    let of_nobody = gateway
        .get("0190a5c3-0000-7000-8000-000000000000")
        .await
        .unwrap_err();
    let of_nonsense = gateway.get("nonsense").await.unwrap_err();

    for failure in [&of_ada, &of_nobody, &of_nonsense] {
        assert_eq!(failure.code(), Code::PermissionDenied);
        assert_eq!(failure.metadata("scope").as_deref(), Some("users.read"));
        assert_eq!(failure.status().details(), of_ada.status().details());
        assert_eq!(failure.message(), of_ada.message());
    }
    // Not even bytes that are no message.
    let path = "/identity.v1.UserService/DeleteUser";
    let call = RawCall::framed(path, vec![9; 7]).header("authorization", &format!("Bearer {token}"));
    assert_eq!(
        call.send(&server).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

async fn a07_reflection_is_for_services_that_are_known(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let token = t.service_token("todo", &["users.read"]).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        assert_eq!(verdict(&server, &path, None).await, "who are you");
        assert_eq!(verdict(&server, &path, Some("ids_0")).await, "not a token");
        let call = RawCall::new(&path, &[]).header("authorization", &format!("Bearer {token}"));
        let answer = call.send(&server).await;
        assert!(
            answer
                .as_ref()
                .err()
                .is_none_or(|failure| failure.code() != Code::Unauthenticated),
            "{answer:?}"
        );
    }
}

async fn h01_the_health_is_for_everybody(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    assert!(server.is_serving().await);
    let wrong = server.with_token("ids_0");
    assert!(wrong.is_serving().await);
    let (status, _) = server.http_get("/.well-known/jwks.json").await;
    assert_eq!(status, 200);
    assert_eq!(server.signing_keys().await.len(), 1);
}
