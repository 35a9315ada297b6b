//! Both services, and what a person does with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use diesel::connection::InstrumentationEvent;
use identity::clock::Clock as _;
use identity::proto::identity::v1::DeleteUserRequest;
use identity_tasks::Clock;
use identity_tasks::access_tokens::TokenPolicy;
use identity_tasks::config::{DatabaseSettings, DatabaseUrl, ServiceToken, Settings};
use identity_tasks::database::Database;
use identity_tasks::proto::tasks::v1::task_service_client::TaskServiceClient;
use identity_tasks::proto::tasks::v1::{
    ClaimTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest,
    ListUnownedTasksRequest, Task, UpdateTaskRequest,
};
use identity_tasks::server::{self, RunningServer};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{Backend, Clients, Test, TestServer};

/// Where the task service has its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the database of identity.
    Shared,
    /// In one of its own: a file, or a schema that identity does not look into.
    Apart,
}

impl Place {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Shared, Self::Apart];

    /// Returns the database of the task service, to look at it by hand.
    pub async fn database(self, t: &Test) -> Test {
        let url = match (self, t.backend) {
            (Self::Shared, _) => t.database_url(),
            (Self::Apart, Backend::Sqlite) => {
                format!("sqlite://{}", t.directory().join("tasks.db").display())
            }
            (Self::Apart, Backend::Postgres) => {
                t.sql("CREATE SCHEMA IF NOT EXISTS tasks").await.unwrap();
                format!("{}?options=-c%20search_path%3Dtasks", t.database_url())
            }
        };
        Test::new(t.backend, t.directory(), &url)
    }

    /// Returns the settings of the database.
    pub fn settings(self, database: &Test) -> DatabaseSettings {
        DatabaseSettings {
            url: DatabaseUrl::parse(&database.database_url()).unwrap(),
            is_shared: self == Self::Shared,
        }
    }
}

/// Returns the clock of the test's servers.
pub fn clock(t: &Test) -> Clock {
    let shifted = Arc::clone(&t.clock);
    Arc::new(move || shifted.now())
}

/// Both services.
pub struct World {
    /// The identity service.
    pub identity: TestServer,
    /// The task service.
    pub tasks: Tasks,
    /// The database of the task service.
    pub database: Test,
}

impl World {
    /// Starts both, with the tasks in one place or the other.
    pub async fn start(t: &Test, place: Place) -> Self {
        Self::start_with(t, place, &[]).await
    }

    /// Starts both, with some settings of identity changed.
    pub async fn start_with(t: &Test, place: Place, overrides: &[(&str, &str)]) -> Self {
        let identity = t.start_with(overrides).await;
        let database = place.database(t).await;
        let tasks = Tasks::start(t, place, &database, &identity, None).await;
        Self {
            identity,
            tasks,
            database,
        }
    }

    /// Starts both, where there were tasks before tasks had owners. The first title is that of the newest.
    pub async fn start_with_legacy(t: &Test, place: Place, titles: &[&str]) -> Self {
        let identity = t.start().await;
        let database = place.database(t).await;
        with_legacy_tasks(t, place, &database, titles).await;
        let tasks = Tasks::start(t, place, &database, &identity, None).await;
        Self {
            identity,
            tasks,
            database,
        }
    }

    /// Creates a user who signs in, and acts as that user.
    pub async fn person(&self, email: &str) -> Person {
        let (user, tokens) = self.identity.signed_in(email).await;
        Person::new(&self.tasks, user.id, tokens.access_token)
    }

    /// Deletes a user.
    pub async fn delete_user(&self, id: &str) {
        delete_user(&self.identity, id).await;
    }
}

/// Deletes a user.
pub async fn delete_user(identity: &Clients, id: &str) {
    let request = DeleteUserRequest {
        user_id: id.to_owned(),
        ..DeleteUserRequest::default()
    };
    identity.users().delete_user(request).await.unwrap();
}

/// The statements that the databases of this process were sent, with their values.
static STATEMENTS: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// Listens to every connection that is made from now on.
pub fn listen_to_databases() {
    diesel::connection::set_default_instrumentation(|| {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                *STATEMENTS.lock().unwrap().entry(query.to_string()).or_default() += 1;
            }
        }))
    })
    .unwrap();
}

/// Returns the statements that the databases of this process were sent so far and contain a text, without their values,
/// and how often each was.
pub fn sent_statements(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (statement, count) in STATEMENTS.lock().unwrap().iter() {
        if statement.contains(text) {
            // Diesel prints the values after this mark.
            let without_values = statement.split(" -- binds: ").next().unwrap_or_default().trim();
            *found.entry(without_values.to_owned()).or_default() += count;
        }
    }
    found
}

/// The task service.
pub struct Tasks {
    server: Option<RunningServer>,
    channel: Channel,
}

impl Tasks {
    /// Starts the service.
    pub async fn start(
        t: &Test,
        place: Place,
        database: &Test,
        identity: &Clients,
        service_token: Option<&str>,
    ) -> Self {
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            database: place.settings(database),
            identity: Endpoint::from_shared(format!("http://{}", identity.grpc_address())).unwrap(),
            identity_token: service_token.map(|token| ServiceToken::new(token.to_owned())),
            tokens: TokenPolicy {
                issuer: "identity".to_owned(),
                audience: "identity".to_owned(),
            },
        };
        let server = server::start(settings, clock(t))
            .await
            .expect("the task service starts");
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
        Self {
            channel: endpoint.connect_lazy(),
            server: Some(server),
        }
    }

    /// Returns a client that shows an access token.
    pub fn client(&self, access_token: &str) -> Client {
        let value = format!("Bearer {access_token}").parse();
        let bearer = Bearer(value.expect("a header value"));
        TaskServiceClient::with_interceptor(self.channel.clone(), bearer)
    }

    /// Returns a client that shows nothing.
    pub fn stranger(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel.clone())
    }

    /// Stops the service: calls and what it does by itself.
    pub async fn stop(&mut self) {
        let server = self.server.take().expect("a running service");
        server.shutdown().await;
    }
}

/// Adds a token to calls.
#[derive(Clone)]
pub struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = self.0.clone();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// A client that shows an access token.
pub type Client = TaskServiceClient<InterceptedService<Channel, Bearer>>;

/// A user who is signed in.
pub struct Person {
    /// The id of the user.
    pub id: String,
    /// The access token.
    pub access_token: String,
    /// The client that shows it.
    pub client: Client,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The gRPC code.
    pub code: Code,
    /// The name of the reason.
    pub reason: String,
    /// The fields that are wrong, each with its reason.
    pub fields: Vec<(String, String)>,
    /// What it is about.
    pub resource: Option<String>,
    /// Whether calling again is worth it.
    pub has_retry: bool,
    /// The text for developers.
    pub message: String,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details
            .error_info()
            .unwrap_or_else(|| panic!("a failure without ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "tasks", "{status:?}");
        let fields = details.bad_request().map(|bad_request| {
            let violations = bad_request.field_violations.iter();
            violations
                .map(|violation| (violation.field.clone(), violation.reason.clone()))
                .collect()
        });
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            fields: fields.unwrap_or_default(),
            resource: details
                .resource_info()
                .map(|resource| resource.resource_name.clone()),
            has_retry: details.retry_info().is_some(),
            message: status.message().to_owned(),
        }
    }
}

impl Refused {
    /// Returns code and reason.
    pub fn why(&self) -> (Code, &str) {
        (self.code, &self.reason)
    }
}

impl Person {
    /// Takes an access token of a user.
    pub fn new(tasks: &Tasks, id: String, access_token: String) -> Self {
        Self {
            id,
            client: tasks.client(&access_token),
            access_token,
        }
    }

    /// Creates a task.
    pub async fn create(&self, title: &str) -> Result<Task, Refused> {
        let request = CreateTaskRequest {
            task: Some(Task {
                title: title.to_owned(),
                ..Task::default()
            }),
        };
        let response = self.client.clone().create_task(request).await?;
        Ok(response.into_inner().task.expect("a task"))
    }

    /// Returns a task.
    pub async fn get(&self, id: &str) -> Result<Task, Refused> {
        let request = GetTaskRequest {
            task_id: id.to_owned(),
        };
        let response = self.client.clone().get_task(request).await?;
        Ok(response.into_inner().task.expect("a task"))
    }

    /// Returns a page of the person's tasks, and the token of the next.
    pub async fn list(&self, page_size: i32, page_token: &str) -> Result<(Vec<Task>, String), Refused> {
        let request = ListTasksRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let page = self.client.clone().list_tasks(request).await?.into_inner();
        Ok((page.tasks, page.next_page_token))
    }

    /// Returns the titles of the person's tasks, in the order of the list.
    pub async fn titles(&self) -> Vec<String> {
        let (tasks, _) = self.list(0, "").await.expect("a list");
        tasks.into_iter().map(|task| task.title).collect()
    }

    /// Returns a page of the tasks of nobody, and the token of the next.
    pub async fn list_unowned(
        &self,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<Task>, String), Refused> {
        let request = ListUnownedTasksRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let page = self
            .client
            .clone()
            .list_unowned_tasks(request)
            .await?
            .into_inner();
        Ok((page.tasks, page.next_page_token))
    }

    /// Returns the titles of the tasks of nobody, in the order of the list.
    pub async fn unowned_titles(&self) -> Vec<String> {
        let (tasks, _) = self.list_unowned(0, "").await.expect("a list");
        tasks.into_iter().map(|task| task.title).collect()
    }

    /// Changes a task. Without a mask, what is populated counts.
    pub async fn update(&self, task: Task, mask: Option<&[&str]>) -> Result<Task, Refused> {
        let request = UpdateTaskRequest {
            task: Some(task),
            update_mask: mask.map(|paths| prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        };
        let response = self.client.clone().update_task(request).await?;
        Ok(response.into_inner().task.expect("a task"))
    }

    /// Deletes a task.
    pub async fn delete(&self, id: &str) -> Result<(), Refused> {
        let request = DeleteTaskRequest {
            task_id: id.to_owned(),
        };
        self.client.clone().delete_task(request).await?;
        Ok(())
    }

    /// Claims a task of nobody.
    pub async fn claim(&self, id: &str) -> Result<Task, Refused> {
        let request = ClaimTaskRequest {
            task_id: id.to_owned(),
        };
        let response = self.client.clone().claim_task(request).await?;
        Ok(response.into_inner().task.expect("a task"))
    }
}

/// Makes the database what it was before tasks had owners: with tasks.
pub async fn with_legacy_tasks(t: &Test, place: Place, database: &Test, titles: &[&str]) {
    let service = Database::new(&place.settings(database));
    service.migrate_up(clock(t)()).await.unwrap();
    while service
        .migrate_down(false)
        .await
        .unwrap()
        .is_some_and(|name| !name.contains("_add_owner_"))
    {}
    // The first is the newest.
    for (age, title) in titles.iter().enumerate() {
        let created_at = match database.backend {
            Backend::Postgres => format!("now() - interval '{age} minutes'"),
            Backend::Sqlite => {
                format!("CAST(unixepoch('subsec') * 1000000 AS INTEGER) - {age} * 60000000")
            }
        };
        database
            .sql(&format!(
                "INSERT INTO tasks (title, created_at) VALUES ('{title}', {created_at})"
            ))
            .await
            .unwrap();
    }
}

/// Returns every task with everything that is known of it, as text, in a fixed order.
pub async fn all_tasks(database: &Test) -> Vec<String> {
    let query = match database.backend {
        Backend::Postgres => {
            "SELECT concat_ws(' ', id, title, done, user_id, created_at, updated_at) AS value FROM tasks ORDER BY id"
        }
        Backend::Sqlite => {
            "SELECT concat_ws(' ', hex(id), title, done, hex(user_id), created_at, updated_at) AS value
             FROM tasks ORDER BY id"
        }
    };
    database.sql_values(query).await.into_iter().flatten().collect()
}
