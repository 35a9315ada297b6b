//! The peers: what each is asked, and how it is started (`benches/peers/README.md`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::http1::{Http1, Response};
use crate::support::people::PASSWORD;
use crate::support::server::DEADLINE;
use crate::support::{Answer, Database, population, processes, system};

/// Between two looks at a peer that ends.
const PAUSE: Duration = Duration::from_millis(1);

/// How a peer likes to be asked.
pub struct Peer {
    pub name: &'static str,
    pub folder: &'static str,
    pub create: &'static str,
    pub sign_in: &'static str,
    pub who_am_i: &'static str,
    pub login: fn(&str) -> (&'static str, String),
    pub credential: fn(&Response) -> (&'static str, String),
}

/// The kind of most bodies.
pub const JSON: &str = "application/json";

/// All of them.
pub const PEERS: [Peer; 3] = [
    Peer {
        name: "fastapi-users",
        folder: "fastapi_users",
        create: "/auth/register",
        sign_in: "/auth/jwt/login",
        who_am_i: "/users/me",
        login: |email| {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("username", email)
                .append_pair("password", PASSWORD)
                .finish();
            ("application/x-www-form-urlencoded", form)
        },
        credential: |answer| {
            let token = field(&answer.body, "access_token");
            ("authorization", format!("Bearer {token}"))
        },
    },
    Peer {
        name: "Django REST framework",
        folder: "django_drf",
        create: "/users",
        sign_in: "/sign-in",
        who_am_i: "/me",
        login: |email| {
            (
                JSON,
                json!({ "username": email, "password": PASSWORD }).to_string(),
            )
        },
        credential: |answer| ("authorization", format!("Token {}", field(&answer.body, "token"))),
    },
    Peer {
        name: "better-auth",
        folder: "better_auth",
        create: "/api/auth/sign-up/email",
        sign_in: "/api/auth/sign-in/email",
        who_am_i: "/api/auth/get-session",
        login: |email| (JSON, json!({ "email": email, "password": PASSWORD }).to_string()),
        credential: |answer| {
            let set = answer.headers.get_all("set-cookie").iter();
            let cookies: Vec<&str> = set
                .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
                .collect();
            ("cookie", cookies.join("; "))
        },
    },
];

fn field(body: &[u8], name: &str) -> String {
    let value: Value = serde_json::from_slice(body).expect("JSON");
    value[name].as_str().expect("a token").to_owned()
}

impl Peer {
    /// Returns the folder with what it needs.
    pub fn installation(&self) -> PathBuf {
        let home = std::env::var_os("IDENTITY_BENCH_PEERS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"),
            PathBuf::from,
        );
        home.join(self.folder)
    }

    /// Starts it, on a database in which its tables are or are not.
    pub fn start(&self, database: &Database, address: SocketAddr, has_tables: bool) -> Processes {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/peers")
            .join(self.folder)
            .join("start");
        let mut command = Command::new(script);
        command
            .arg(self.installation())
            .env("PORT", address.port().to_string())
            .env(
                "DATABASE_URL",
                database.url.replacen("postgres://", "postgresql://", 1),
            )
            // The same after every start, so that what is measured is not a start with new secrets.
            .env(
                "PEER_SECRET",
                "a secret of the bench, which nobody else should use",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if has_tables {
            command.env("PEER_TABLES", "existing");
        }
        Processes(command.spawn().expect(self.name), None)
    }
}

/// A peer's first process, which ends the others.
pub struct Processes(Child, Option<processes::Guard>);

impl Processes {
    /// Returns the id of the first one.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Has them end with the bench, however that ends. Not a part of their start, which is timed.
    pub fn guard(&mut self) {
        self.1 = Some(processes::Guard::of(self.id()));
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let members = processes::family(self.0.id());
        system::send_signal(self.0.id(), "TERM");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && self.0.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(PAUSE);
        }
        // Who has work left after that is not waited for, whether the first one is there or has left it behind: it would
        // go on beside the next one that is measured.
        for member in members.into_iter().skip(1) {
            system::send_signal(member, "KILL");
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes the request with which a user signs in.
pub fn login(peer: &Peer, address: SocketAddr, user: usize) -> Request<String> {
    let (kind, body) = (peer.login)(&population::email(user));
    let request = Request::post(peer.sign_in)
        .header("host", address.to_string())
        .header("content-type", kind)
        .body(body);
    request.expect("a request")
}

/// Makes a call to a peer, within the deadline that calls to this service have, too. An answer has to contain a text: one
/// peer says nothing, with a good status, to somebody whom it does not know.
pub async fn ask(client: &Http1, request: &Request<String>, text: &str) -> Answer {
    match timeout(DEADLINE, client.call(request)).await {
        Err(_) => Answer::Late,
        Ok(Err(error)) => Answer::Failed(error),
        Ok(Ok(answer)) => match answer.status.as_u16() {
            200..300 if String::from_utf8_lossy(&answer.body).contains(text) => Answer::Good,
            429 | 503 => Answer::Refused,
            status => Answer::Failed(format!("{status} {}", String::from_utf8_lossy(&answer.body))),
        },
    }
}
