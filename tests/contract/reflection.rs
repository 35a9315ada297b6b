//! Server reflection: what a client learns that knows nothing but the port.

use identity::proto::grpc::health::v1::health_client::HealthClient;
use prost::Message;
use prost_types::FileDescriptorProto;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;

use crate::support::{Behaviour, Clients, Failure, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_client_that_knows_the_port_alone_finds_every_service,
        the_files_of_a_service_are_returned_with_their_comments,
        what_is_not_there_is_not_found,
        reflection_can_be_switched_off,
    ]
}

/// Asks both versions of the protocol the same.
macro_rules! ask {
    ($clients:expr, $version:ident, $requests:expr) => {{
        use pb::server_reflection_request::MessageRequest as Request;
        use pb::server_reflection_response::MessageResponse as Response;
        use tonic_reflection::pb::$version as pb;
        let mut client = pb::server_reflection_client::ServerReflectionClient::new($clients.channel());
        let requests = $requests.into_iter().map(|request| pb::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(match request {
                Ask::Services => Request::ListServices(String::new()),
                Ask::Symbol(name) => Request::FileContainingSymbol(name.to_owned()),
            }),
        });
        let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
        match client.server_reflection_info(requests).await {
            Err(status) => Err(Failure::from(status)),
            Ok(response) => {
                let mut stream = response.into_inner();
                let mut answers = Vec::new();
                loop {
                    let answer = match stream.message().await {
                        Ok(Some(answer)) => answer,
                        Ok(None) => break Ok(answers),
                        Err(status) => break Err(Failure::from(status)),
                    };
                    answers.push(match answer.message_response.unwrap() {
                        Response::ListServicesResponse(list) => Answer::Services(
                            list.service.into_iter().map(|service| service.name).collect(),
                        ),
                        Response::FileDescriptorResponse(files) => {
                            Answer::Files(files.file_descriptor_proto)
                        }
                        Response::ErrorResponse(error) => Answer::Error(error.error_code),
                        other => panic!("{other:?}"),
                    });
                }
            }
        }
    }};
}

#[derive(Clone, Copy)]
enum Ask {
    Services,
    Symbol(&'static str),
}

#[derive(Debug, PartialEq)]
enum Answer {
    Services(Vec<String>),
    Files(Vec<Vec<u8>>),
    Error(i32),
}

/// Asks with `v1` and with `v1alpha`.
async fn ask_both(clients: &Clients, requests: &[Ask]) -> [Result<Vec<Answer>, Failure>; 2] {
    let requests = requests.to_vec();
    [
        ask!(clients, v1, requests.clone()),
        ask!(clients, v1alpha, requests),
    ]
}

async fn a_client_that_knows_the_port_alone_finds_every_service(t: Test) {
    let server = t.start().await;

    for answers in ask_both(&server, &[Ask::Services]).await {
        let Answer::Services(mut services) = answers.unwrap().remove(0) else {
            panic!("not a list of services");
        };
        services.sort();
        services.retain(|name| !name.starts_with("grpc.reflection."));
        assert_eq!(
            services,
            [
                "grpc.health.v1.Health",
                "identity.v1.AuthService",
                "identity.v1.CredentialService",
                "identity.v1.OAuthAccountService",
                "identity.v1.SecurityService",
                "identity.v1.SessionService",
                "identity.v1.StatusService",
                "identity.v1.UserService"
            ]
        );
    }
}

async fn the_files_of_a_service_are_returned_with_their_comments(t: Test) {
    let server = t.start().await;
    let names = [
        "identity.v1.UserService",
        "identity.v1.User",
        "identity.v1.ErrorReason",
    ];

    for answers in ask_both(&server, &names.map(Ask::Symbol)).await {
        let answers = answers.unwrap();
        assert_eq!(answers.len(), names.len());
        for (name, answer) in names.into_iter().zip(answers) {
            let Answer::Files(files) = answer else {
                panic!("{name}: {answer:?}");
            };
            let file = FileDescriptorProto::decode(files[0].as_slice()).unwrap();
            assert_eq!(file.package(), "identity.v1", "{name}");
            assert!(declares(&file, name.rsplit('.').next().unwrap()), "{name}");
            let info = file.source_code_info.expect(name);
            assert!(
                info.location
                    .iter()
                    .any(|location| !location.leading_comments().is_empty())
            );
        }
    }
}

async fn what_is_not_there_is_not_found(t: Test) {
    let server = t.start().await;

    for answers in ask_both(&server, &[Ask::Symbol("identity.v1.Nope")]).await {
        // An answer in the stream, or the end of the call: the protocol allows both.
        let code = match answers.as_deref() {
            Ok([Answer::Error(code)]) => Code::from_i32(*code),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => failure.code(),
        };
        assert_eq!(code, Code::NotFound);
    }
}

async fn reflection_can_be_switched_off(t: Test) {
    let server = t.start_with(&[("IDENTITY_REFLECTION", "off")]).await;

    for answers in ask_both(&server, &[Ask::Services]).await {
        let failure = answers.unwrap_err();
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Unimplemented, "NOT_IMPLEMENTED")
        );
    }
    let health = HealthClient::new(server.channel())
        .check(HealthCheckRequest::default())
        .await;
    assert!(health.is_ok());
}

/// Says whether a file declares something of this name.
fn declares(file: &FileDescriptorProto, name: &str) -> bool {
    file.service.iter().any(|service| service.name() == name)
        || file.message_type.iter().any(|message| message.name() == name)
        || file.enum_type.iter().any(|declared| declared.name() == name)
}
