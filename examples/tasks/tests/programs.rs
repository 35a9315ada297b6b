//! Both programs as they are started by hand: what the README says.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use identity_tasks::proto::tasks::v1::task_service_client::TaskServiceClient;
use identity_tasks::proto::tasks::v1::{CreateTaskRequest, ListTasksRequest, Task};
use tonic::Request;
use tonic::transport::Endpoint;

use crate::support::{AUTH, Behaviour, Clients, Test, behaviours, eventually};
use crate::world::Place;

pub fn tests() -> Vec<Behaviour> {
    behaviours![both_programs_work_together, wrong_settings_stop_the_start]
}

/// The program `identity-tasks`, which is killed when it is dropped.
struct Program(Child);

impl Program {
    fn start(t: &Test, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_identity-tasks"))
            .args(arguments)
            .current_dir(t.directory())
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.expect("the program"))
    }

    /// Waits until the program has ended. Returns its exit code and what it said.
    async fn end(mut self) -> (i32, String) {
        let status = eventually("the program ends", async || self.0.try_wait().unwrap()).await;
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        (status.code().expect("an exit code rather than a signal"), said)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails only if the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bearing<M>(token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn write(file: &Path, text: &str) -> String {
    std::fs::write(file, text).unwrap();
    file.display().to_string()
}

async fn both_programs_work_together(t: Test) {
    let mut identity = t.spawn(&[AUTH], &["serve"]);
    identity.wait_until_serving().await;
    let service_token = t.service_token("tasks", &["users.read"]).await;
    let admin = t.service_token("admin", &["admin"]).await;
    let service: Clients = identity.with_token(&admin);
    let (_, tokens) = service.signed_in("ada@example.com").await;
    let database = Place::Apart.database(&t).await;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let identity_url = format!("http://{}", identity.grpc_address());
    let token_file = write(&t.directory().join("tasks.token"), &format!("{service_token}\n"));
    let variables = [
        ("TASKS_LISTEN", address.to_string()),
        ("TASKS_DATABASE_URL", database.database_url()),
        ("TASKS_IDENTITY_URL", identity_url),
        ("TASKS_IDENTITY_TOKEN_FILE", token_file),
    ];
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (code, said) = Program::start(&t, &variables, &["migrate", "up"]).end().await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("create_tasks"), "{said}");

    let program = Program::start(&t, &variables, &[]);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = TaskServiceClient::new(endpoint.connect_lazy());
    let created = eventually("the task service serves", async || {
        let request = CreateTaskRequest {
            task: Some(Task {
                title: "try it".to_owned(),
                ..Task::default()
            }),
        };
        client
            .create_task(bearing(&tokens.access_token, request))
            .await
            .ok()
    })
    .await;
    let listed = client
        .list_tasks(bearing(&tokens.access_token, ListTasksRequest::default()))
        .await
        .unwrap();
    assert_eq!(listed.into_inner().tasks, [created.into_inner().task.unwrap()]);
    drop(program);
}

async fn wrong_settings_stop_the_start(t: Test) {
    let variables = [
        ("TASKS_LISTEN", "nowhere"),
        ("TASKS_DATABASE_URL", "mysql://secret@somewhere"),
        ("TASKS_SHARES_DATABASE", "perhaps"),
        ("TASKS_IDENTITY_URL", "not a url"),
    ];
    let (code, said) = Program::start(&t, &variables, &[]).end().await;

    assert_eq!(code, 64, "{said}");
    for (name, _) in variables {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert!(
        said.contains("TASKS_IDENTITY_TOKEN_FILE") && !said.contains("secret"),
        "{said}"
    );
    let (usage, help) = Program::start(&t, &[("TASKS_SHARES_DATABASE", "on")], &["dance"])
        .end()
        .await;
    assert_eq!(usage, 64, "{help}");
}
