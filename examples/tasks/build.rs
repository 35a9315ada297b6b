//! Compiles the contract of this service and that of identity with protox: no protoc is needed.
//!
//! A service elsewhere has a copy of `proto/identity` and whatever those files import; here they are next door.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

const IDENTITY: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed={IDENTITY}");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto", IDENTITY])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files([
        "tasks/v1/error_reason.proto",
        "tasks/v1/task_service.proto",
        "identity/v1/auth_service.proto",
        "identity/v1/user_service.proto",
    ])?;
    fs::write(
        out_dir.join("descriptor_set.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .include_file("protos.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
