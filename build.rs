//! Compiles the protos with protox (no protoc on the machine), generates the tonic code, and writes the
//! descriptor set that reflection serves.
//!
//! A message with a field marked `debug_redact` gets a `Debug` that prints that field as `[redacted]`,
//! so that a password cannot reach a log by way of a derived one.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, MessageDescriptor};

const PROTOS: [&str; 8] = [
    "identity/v1/auth_service.proto",
    "identity/v1/credential_service.proto",
    "identity/v1/error_reason.proto",
    "identity/v1/security_service.proto",
    "identity/v1/session_service.proto",
    "identity/v1/status_service.proto",
    "identity/v1/user_service.proto",
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

    tonic_prost_build::configure()
        .build_transport(false)
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
            let path = root.join("migrations").join(directory).join(&name);
            let _ = writeln!(
                code,
                "    EmbeddedMigration {{ directory: {name:?}, up: include_str!({:?}), down: include_str!({:?}) }},",
                path.join("up.sql"),
                path.join("down.sql"),
            );
        }
        let _ = writeln!(code, "];");
    }
    fs::write(out_dir.join("migrations.rs"), code)?;
    Ok(())
}
