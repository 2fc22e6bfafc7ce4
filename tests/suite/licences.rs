//! What foster is made of: few crates, each with a reason, all under licences that anybody may use.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(["metadata", "--format-version=1", "--locked"]).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The words in quotes after `allow = [`.
fn allowed_licences() -> BTreeSet<String> {
    let policy = read(".cargo/deny.toml");
    let list = policy.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("an allow list");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_crate_has_an_allowed_licence_and_comes_from_the_registry() {
    let allowed = allowed_licences();
    assert!(allowed.contains("MIT") && allowed.len() > 3, "{allowed:?}");
    for package in metadata()["packages"].as_array().expect("packages") {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or_default());
        // Of alternatives one is enough, of what goes together all are needed.
        let is_allowed = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice.split(" AND ").all(|part| allowed.contains(part.trim_matches(|c| c == '(' || c == ')' || c == ' ')))
        });
        assert!(is_allowed, "{name}: {licence:?}");
        let from_registry = package["source"].as_str().is_some_and(|source| source.starts_with("registry+"));
        assert!(from_registry || name == "foster", "{name}: {}", package["source"]);
    }
}

#[test]
fn every_crate_of_the_binary_has_its_reason_in_cargo_toml() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("\n[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next()).expect("some");
    let mut reasoned = BTreeSet::new();
    let mut has_reason = false;
    for line in section.lines() {
        match line.split_once(" = ") {
            Some((name, _)) if !line.starts_with('#') => {
                assert!(has_reason, "{name} has no reason above it");
                reasoned.insert(name.to_owned());
                has_reason = false;
            }
            _ => has_reason = line.starts_with('#'),
        }
    }
    let metadata = metadata();
    let foster = metadata["packages"].as_array().expect("packages").iter().find(|package| package["name"] == "foster");
    let dependencies = foster.expect("foster")["dependencies"].as_array().expect("dependencies").iter();
    let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
    let normal: BTreeSet<String> = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasoned, normal);
}

/// cargo package takes what is in the list and nothing else: no fixture, no corpus, no bench.
#[test]
fn the_package_holds_what_a_user_needs_alone() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(["package", "--list", "--allow-dirty", "--offline"]).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = String::from_utf8(output.stdout).expect("UTF-8");
    let tops: BTreeSet<&str> = files.lines().filter_map(|file| file.split('/').next()).collect();
    for needed in ["src", "README.md", "LICENSE", "CHANGELOG.md", "Cargo.toml", "docs"] {
        assert!(tops.contains(needed), "{needed} in {files}");
    }
    for unwanted in ["tests", "benches", "target", "Makefile", ".github", ".ci"] {
        assert!(!tops.contains(unwanted), "{unwanted} in {files}");
    }
}
