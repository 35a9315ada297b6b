//! Compiles the protos with protox (no protoc on the machine), generates the tonic code, and writes the
//! descriptor set that reflection serves.
//!
//! A message with a field marked `debug_redact` gets a `Debug` that prints that field as `[redacted]`,
//! so that a password cannot reach a log by way of a derived one.

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

const PROTOS: [&str; 13] = [
    "identity/v1/access.proto",
    "identity/v1/auth_service.proto",
    "identity/v1/credential_service.proto",
    "identity/v1/error_reason.proto",
    "identity/v1/oauth_account.proto",
    "identity/v1/oauth_account_service.proto",
    "identity/v1/security_service.proto",
    "identity/v1/session_service.proto",
    "identity/v1/status_service.proto",
    "identity/v1/user_event.proto",
    "identity/v1/user_service.proto",
    "identity/v1/watch_users.proto",
    "grpc/health/v1/health.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;
    // Encoded by protox itself, because prost's own types would drop the custom options.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out_dir.join("descriptor_set.bin"), &encoded)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    let redacted = redacted_messages(&pool);
    fs::write(out_dir.join("redacted_debug.rs"), redacted_debug(&redacted))?;
    let accesses = accesses(&pool)?;
    fs::write(out_dir.join("access.rs"), access_table(&accesses))?;
    fs::write(out_dir.join("scopes.rs"), scope_list(&accesses))?;

    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::grpc::Codec")
        .include_file("protos.rs")
        .extern_path(
            ".grpc.health.v1.HealthCheckRequest",
            "::tonic_health::pb::HealthCheckRequest",
        )
        .extern_path(
            ".grpc.health.v1.HealthCheckResponse",
            "::tonic_health::pb::HealthCheckResponse",
        )
        .skip_debug(redacted.iter().map(|message| message.full_name().to_owned()))
        .compile_fds(compiler.file_descriptor_set())?;
    embed_migrations(&out_dir)
}

/// Returns the messages that have a field marked `debug_redact`.
fn redacted_messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages()
        .filter(|message| message.fields().any(|field| is_redacted(&field)))
        .collect()
}

fn is_redacted(field: &prost_reflect::FieldDescriptor) -> bool {
    field
        .options()
        .get_field_by_name("debug_redact")
        .is_some_and(|value| value.as_bool() == Some(true))
}

/// Writes a `Debug` implementation for each message, for the module of `identity.v1`.
fn redacted_debug(messages: &[MessageDescriptor]) -> String {
    let mut code = String::new();
    for message in messages {
        let name = message.name();
        let _ = writeln!(
            code,
            "impl ::core::fmt::Debug for {name} {{\n    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        f.debug_struct({name:?})"
        );
        for field in message.fields() {
            let field_name = field.name();
            if is_redacted(&field) {
                let _ = writeln!(code, "            .field({field_name:?}, &\"[redacted]\")");
            } else {
                let _ = writeln!(code, "            .field({field_name:?}, &self.{field_name})");
            }
        }
        let _ = writeln!(code, "            .finish()\n    }}\n}}");
    }
    code
}

/// What the option `identity.v1.access` says of a method.
struct MethodAccess {
    path: String,
    scope: String,
    own: bool,
    own_repeat: bool,
    public: bool,
}

/// Returns who may call each method of `identity.v1`. A method that does not say so fails the build.
fn accesses(pool: &DescriptorPool) -> Result<Vec<MethodAccess>, Box<dyn Error>> {
    pool.services()
        .filter(|service| service.package_name() == "identity.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| access_of(pool, &method))
        .collect()
}

fn access_of(pool: &DescriptorPool, method: &MethodDescriptor) -> Result<MethodAccess, Box<dyn Error>> {
    let option = pool
        .get_extension_by_name("identity.v1.access")
        .ok_or("there is no option identity.v1.access")?;
    let options = method.options();
    let name = method.full_name();
    if !options.has_extension(&option) {
        return Err(format!("{name} does not say who may call it").into());
    }
    let said = options.get_extension(&option);
    let access = said.as_message().ok_or("identity.v1.access is not a message")?;
    let flag = |field| {
        let value = access.get_field_by_name(field);
        value.and_then(|set| set.as_bool()).unwrap_or_default()
    };
    let scope = access.get_field_by_name("scope");
    let found = MethodAccess {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        scope: scope
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default(),
        own: flag("own"),
        own_repeat: flag("own_repeat"),
        public: flag("public"),
    };
    if found.scope.is_empty() && !found.own && !found.public {
        return Err(format!("nobody may call {name}").into());
    }
    Ok(found)
}

/// Writes the methods and who may call them, for `src/grpc/access.rs`.
fn access_table(accesses: &[MethodAccess]) -> String {
    let mut code = "const METHODS: &[(&str, Access)] = &[\n".to_owned();
    for access in accesses {
        let services = if access.scope.is_empty() {
            "Services::None".to_owned()
        } else {
            format!("Services::With(Scope::{})", constant_name(&access.scope))
        };
        let _ = writeln!(
            code,
            "    ({:?}, Access {{ services: {services}, own: {}, own_repeat: {}, public: {} }}),",
            access.path, access.own, access.own_repeat, access.public
        );
    }
    code.push_str("];\n");
    code
}

/// Writes the scopes that methods need, for `src/domain/scope.rs`.
fn scope_list(accesses: &[MethodAccess]) -> String {
    let scopes: BTreeSet<&str> = accesses
        .iter()
        .map(|access| access.scope.as_str())
        .filter(|scope| !scope.is_empty())
        .collect();
    let mut constants = String::new();
    let mut all = String::new();
    for scope in &scopes {
        let name = constant_name(scope);
        let _ = writeln!(
            constants,
            "    /// `{scope}`\n    pub const {name}: Self = Self({scope:?});"
        );
        let _ = write!(all, "Self::{name}, ");
    }
    let count = scopes.len() + 1;
    format!(
        "impl Scope {{\n{constants}    /// Every scope.\n    pub const ALL: [Self; {count}] = [Self::ADMIN, {all}];\n}}\n"
    )
}

fn constant_name(scope: &str) -> String {
    scope.replace('.', "_").to_uppercase()
}

/// Writes the list of migrations as constants, with their texts, so that the binary carries them.
fn embed_migrations(out_dir: &Path) -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut code = String::new();
    for (constant, directory) in [("POSTGRES", "postgres"), ("SQLITE", "sqlite")] {
        let mut names: Vec<String> = fs::read_dir(root.join("migrations").join(directory))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_, std::io::Error>>()?;
        names.sort();
        let _ = writeln!(code, "pub(crate) const {constant}: &[EmbeddedMigration] = &[");
        for name in names {
            // Where the project lies is asked for when the code is compiled: what was generated may be kept while it moves.
            let text_of = |file| {
                format!(
                    "include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/migrations/{directory}/{name}/{file}\"))"
                )
            };
            let (up, down) = (text_of("up.sql"), text_of("down.sql"));
            let _ = writeln!(
                code,
                "    EmbeddedMigration {{ directory: {name:?}, up: {up}, down: {down} }},"
            );
        }
        let _ = writeln!(code, "];");
    }
    fs::write(out_dir.join("migrations.rs"), code)?;
    Ok(())
}
