//! Every rule that the protos state about a field is enforced, and the violation names that field.
//!
//! The rules are read from the descriptors. A rule that is written there and not in the code fails here,
//! and so does one that nobody has said how to violate.

use std::collections::BTreeSet;

use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::{
    Actor, ActorKind, CreateUserRequest, ImportUsersRequest, ListUserEventsRequest, ListUsersRequest,
    LookupOAuthAccount, LookupUserRequest, SignUpRequest, UpdateUserRequest, User, UserEventFilter,
    lookup_user_request::Identifier,
};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage, Value,
};
use tonic::Code;

use super::violating::{Breach, allows_empty, breaches, is_required};
use super::{files, pool};
use crate::security::raw::{RawAnswer, RawCall};
use crate::support::issuer::{PROVIDER, with_shared_issuer};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours};
use crate::user_service::import_users::with_email;
use crate::user_service::watch_users::watching::from_now;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        every_rule_of_a_field_is_enforced_and_names_the_field,
        fields_whose_rules_spare_the_empty_value_may_be_empty,
        values_that_are_ignored_are_not_checked
    ]
}

/// Nobody has it: what passes the rules is answered with NOT_FOUND.
const UNKNOWN_ID: &str = "0190a6e1-7d5c-7abc-8def-0123456789ab";

/// Fields of a nested message that a request ignores, as its comment says, whatever their value.
const IGNORED: [&str; 7] = [
    "SignUp user.id",
    "SignUp user.etag",
    "SignInWithIdToken user.id",
    "SignInWithIdToken user.email",
    "SignInWithIdToken user.etag",
    "CreateUser user.id",
    "CreateUser user.etag",
];

/// So that the many attempts to sign in are all looked at.
const PATIENT: [(&str, &str); 3] = [
    ("IDENTITY_SIGN_UP", "on"),
    ("IDENTITY_LOCKOUT_FAILURES", "1000"),
    ("IDENTITY_LOCKOUT_FREE_FAILURES", "100000"),
];

/// That, and a provider whose name requests can give.
fn patient() -> Vec<(&'static str, &'static str)> {
    [PATIENT.as_slice(), &with_shared_issuer()].concat()
}

/// What must be among the rules that were tried, lest the test should pass because it found none.
const MUST_BE_TRIED: [&str; 21] = [
    "ListUserEvents filter.actor.kind enum.defined_only",
    "ListUserEvents filter.actor.kind enum.not_in",
    "ListUserEvents filter.types repeated.items.enum",
    "ListUserEvents filter.types repeated.max_items",
    "ChangePassword new_password string.max_bytes",
    "GetLockout subject oneof.required",
    "RefreshTokens client.client_id string.pattern",
    "SetPassword password string.min_len",
    "SignInWithPassword client.ip_address string.ip",
    "BatchGetUsers user_ids repeated.items.string.uuid",
    "BatchGetUsers user_ids repeated.max_items",
    "BatchGetUsers user_ids repeated.min_items",
    "BlockUser reason string.max_len",
    "CreateUser password string.max_bytes",
    "CreateUser password string.min_len",
    "CreateUser user required",
    "CreateUser user.username string.pattern",
    "GetUser user_id string.uuid",
    "ListUsers filter.email_prefix string.max_bytes",
    "LookupUser identifier oneof.required",
    "UpdateUser user.email string.max_bytes",
];

async fn every_rule_of_a_field_is_enforced_and_names_the_field(t: Test) {
    let server = t.start_with(&patient()).await;
    let pool = pool();
    let mut tried = BTreeSet::new();
    for method in methods(&pool) {
        assert_base_is_valid(&server, &method).await;
        for field in fields(&method).iter().filter(|field| !is_ignored(&method, field)) {
            for breach in breaches(&pool, field.last()) {
                tried.insert(format!("{} {} {}", method.name(), field.name(), breach.rule));
                assert_refused(&server, &method, field, &breach).await;
            }
        }
        for oneof in method.input().oneofs().filter(|oneof| is_required(&pool, oneof)) {
            tried.insert(format!("{} {} oneof.required", method.name(), oneof.name()));
            let answer = call(&server, &method, &DynamicMessage::new(method.input())).await;
            assert_violation(answer, oneof.name(), &format!("{} empty", method.name()));
        }
    }

    for rule in MUST_BE_TRIED {
        assert!(tried.contains(rule), "{rule} is not among {tried:#?}");
    }
    assert!(tried.len() >= 45, "{}: {tried:#?}", tried.len());
}

async fn fields_whose_rules_spare_the_empty_value_may_be_empty(t: Test) {
    let server = t.start_with(&patient()).await;
    let pool = pool();
    let mut count = 0;
    for method in methods(&pool) {
        let of_messages = fields(&method);
        let optional = of_messages
            .iter()
            // Without its id, UpdateUser does not know whom to change.
            .filter(|field| !(method.name() == "UpdateUser" && field.name() == "user.id"))
            .filter(|field| allows_empty(&pool, field.last()));
        for field in optional {
            let mut request = base(&method);
            // Whoever has no email has a username.
            set(&mut request, field, None);
            if field.name() == "user.email" {
                let username = Value::String(r"\corp\ada".to_owned());
                let siblings = fields(&method);
                let sibling = siblings.iter().find(|sibling| sibling.name() == "user.username");
                set(&mut request, sibling.unwrap(), Some(username));
            }
            let answer = call(&server, &method, &request).await;
            assert!(
                is_valid(&answer),
                "{} without {}: {answer:?}",
                method.name(),
                field.name()
            );
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

async fn values_that_are_ignored_are_not_checked(t: Test) {
    let server = t.start_with(&patient()).await;
    let pool = pool();
    let mut found = Vec::new();
    for method in methods(&pool) {
        for field in fields(&method).iter().filter(|field| is_ignored(&method, field)) {
            found.push(format!("{} {}", method.name(), field.name()));
            for (number, breach) in breaches(&pool, field.last()).into_iter().enumerate() {
                let mut request = base(&method);
                let mut user = request
                    .get_field_by_name("user")
                    .unwrap()
                    .as_message()
                    .unwrap()
                    .clone();
                user.set_field_by_name("email", Value::String(format!("{number}.{}@x.io", found.len())));
                request.set_field_by_name("user", Value::Message(user));
                set(&mut request, field, breach.value);
                let answer = call(&server, &method, &request).await;
                assert!(is_valid(&answer), "{} {answer:?}", field.name());
            }
        }
    }
    assert_eq!(found, IGNORED);
}

/// The methods of the API, but for those that take nothing.
fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    files(pool)
        .iter()
        .flat_map(|file| file.services().collect::<Vec<_>>())
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(|method| method.input().fields().len() > 0)
        .collect()
}

/// A field of a request, or of a message inside it: the way to it.
struct FieldPath(Vec<FieldDescriptor>);

impl FieldPath {
    fn last(&self) -> &FieldDescriptor {
        self.0.last().unwrap()
    }

    /// The name as violations have it.
    fn name(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(FieldDescriptor::name).collect();
        names.join(".")
    }
}

fn fields(method: &MethodDescriptor) -> Vec<FieldPath> {
    let mut found = Vec::new();
    let mut pending: Vec<Vec<FieldDescriptor>> =
        method.input().fields().map(|field| vec![field]).collect();
    while let Some(path) = pending.pop() {
        let kind = path.last().unwrap().kind();
        if let Some(message) = kind
            .as_message()
            .filter(|message| message.package_name() == "identity.v1")
        {
            pending.extend(message.fields().map(|field| [path.clone(), vec![field]].concat()));
        }
        found.push(FieldPath(path));
    }
    found.sort_by_key(|path| path.0.iter().map(FieldDescriptor::number).collect::<Vec<_>>());
    found
}

fn is_ignored(method: &MethodDescriptor, field: &FieldPath) -> bool {
    IGNORED.contains(&format!("{} {}", method.name(), field.name()).as_str())
}

/// Texts that no rule is against, by the names of their fields.
const TEXTS: [(&str, &str); 10] = [
    ("password", PASSWORD),
    ("current_password", "another password"),
    ("new_password", PASSWORD),
    ("identifier", "nobody@example.com"),
    ("refresh_token", "nobody's"),
    ("token", "nobody's"),
    ("session_id", UNKNOWN_ID),
    ("provider", PROVIDER),
    ("id_token", "nobody's"),
    ("account_id", UNKNOWN_ID),
];

/// A request of the method that no rule is against.
fn base(method: &MethodDescriptor) -> DynamicMessage {
    let user = User {
        id: UNKNOWN_ID.to_owned(),
        email: "ada@example.com".to_owned(),
        birth_date: Some(Date {
            year: 1815,
            month: 12,
            day: 10,
        }),
        ..User::default()
    };
    let encoded = match method.name() {
        "CreateUser" => CreateUserRequest {
            user: Some(user),
            ..CreateUserRequest::default()
        }
        .encode_to_vec(),
        "UpdateUser" => UpdateUserRequest {
            user: Some(user),
            ..UpdateUserRequest::default()
        }
        .encode_to_vec(),
        "LookupUser" => {
            let identifier = Some(Identifier::Email("nobody@example.com".to_owned()));
            LookupUserRequest { identifier }.encode_to_vec()
        }
        "ListUserEvents" => {
            // Whose doings are asked for, of some kind.
            let actor = Some(Actor {
                kind: ActorKind::Service.into(),
                name: String::new(),
            });
            let filter = Some(UserEventFilter {
                actor,
                ..UserEventFilter::default()
            });
            ListUserEventsRequest {
                filter,
                ..ListUserEventsRequest::default()
            }
            .encode_to_vec()
        }
        "ListUsers" => ListUsersRequest::default().encode_to_vec(),
        "ImportUsers" => ImportUsersRequest {
            users: vec![with_email("ada@example.com")],
            ..ImportUsersRequest::default()
        }
        .encode_to_vec(),
        "WatchUsers" => from_now().encode_to_vec(),
        "SignUp" => SignUpRequest {
            user: Some(user),
            ..SignUpRequest::default()
        }
        .encode_to_vec(),
        _ => Vec::new(),
    };
    let mut request = DynamicMessage::decode(method.input(), encoded.as_slice()).unwrap();
    for (name, text) in TEXTS {
        if request
            .descriptor()
            .get_field_by_name(name)
            .is_some_and(|field| field.kind() == Kind::String)
            && method.name() != "CreateUser"
        {
            request.set_field_by_name(name, Value::String(text.to_owned()));
        }
    }
    let id = Value::String(UNKNOWN_ID.to_owned());
    if request.descriptor().get_field_by_name("user_id").is_some() && method.name() != "CreateUser" {
        request.set_field_by_name("user_id", id.clone());
    }
    if request.descriptor().get_field_by_name("user_ids").is_some() {
        request.set_field_by_name("user_ids", Value::List(vec![id]));
    }
    request
}

/// A request of LookupUser that names an account.
fn base_with_account(method: &MethodDescriptor) -> DynamicMessage {
    let identifier = Some(Identifier::OauthAccount(LookupOAuthAccount {
        provider: PROVIDER.to_owned(),
        subject: "nobody".to_owned(),
    }));
    let encoded = LookupUserRequest { identifier }.encode_to_vec();
    DynamicMessage::decode(method.input(), encoded.as_slice()).unwrap()
}

/// Sets a field, wherever it is, or clears it.
fn set(request: &mut DynamicMessage, field: &FieldPath, value: Option<Value>) {
    let (last, parents) = field.0.split_last().unwrap();
    let mut message = request;
    for parent in parents {
        message = message.get_field_mut(parent).as_message_mut().unwrap();
    }
    match value {
        Some(value) => message.set_field(last, value),
        None => message.clear_field(last),
    }
}

async fn call(clients: &Clients, method: &MethodDescriptor, request: &DynamicMessage) -> RawAnswer {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    RawCall::new(&path, &request.encode_to_vec()).send(clients).await
}

fn is_valid(answer: &RawAnswer) -> bool {
    /// What a call is answered with whose fields are in order.
    const OTHERWISE: [Code; 3] = [Code::NotFound, Code::AlreadyExists, Code::Unauthenticated];
    answer
        .as_ref()
        .map_or_else(|failure| OTHERWISE.contains(&failure.code()), |_| true)
}

async fn assert_base_is_valid(clients: &Clients, method: &MethodDescriptor) {
    let answer = call(clients, method, &base(method)).await;
    assert!(
        is_valid(&answer),
        "base() knows no valid request of {}: {answer:?}",
        method.name()
    );
}

async fn assert_refused(
    clients: &Clients,
    method: &MethodDescriptor,
    field: &FieldPath,
    breach: &Breach,
) {
    let mut request = base(method);
    if field.name().starts_with("oauth_account.") {
        request = base_with_account(method);
    }
    set(&mut request, field, breach.value.clone());
    let answer = call(clients, method, &request).await;
    let what = format!(
        "{} {} {} {:?}",
        method.name(),
        field.name(),
        breach.rule,
        breach.value
    );
    assert_violation(answer, &format!("{}{}", field.name(), breach.suffix), &what);
}

/// The one violation is of this field.
fn assert_violation(answer: RawAnswer, field: &str, what: &str) {
    let failure = answer.err().unwrap_or_else(|| panic!("accepted: {what}"));
    assert_eq!(failure.code(), Code::InvalidArgument, "{what}: {failure:?}");
    let fields = failure.fields();
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [field], "{what}: {failure:?}");
    assert!(!fields[0].1.is_empty(), "{what}: {failure:?}");
}
