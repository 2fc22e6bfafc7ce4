//! The examples are what their platforms take: tests/examples.py knows the platforms' own schemas, hadolint Dockerfiles.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{plainly, skipped};

/// Runs a program of the virtual environment that `make test` makes; None where there is none.
fn tool(name: &str, args: &[&str]) -> Option<String> {
    let venvs = std::env::var("TEST_VENVS").map_or_else(|_| PathBuf::from("target/venv"), PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(venvs).join("examples/bin").join(name);
    if !program.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI, and no {}", program.display());
        skipped(&format!("no {} (make test installs it), so the examples are not checked", program.display()));
        return None;
    }
    let output = plainly(Command::new(program).args(args).current_dir(root));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{name} {args:?}: {text}");
    Some(text)
}

#[test]
fn they_are_valid_and_fosters_times_fit_into_the_platforms() {
    if let Some(text) = tool("python", &["tests/examples.py", "docs/examples"]) {
        assert_eq!(text, "5 examples\n");
    }
}

#[test]
fn hadolint_has_nothing_to_say_of_the_dockerfile() {
    if let Some(text) = tool("hadolint", &["Dockerfile.example"]) {
        assert_eq!(text, "");
    }
}
