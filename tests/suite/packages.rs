//! The Debian packages that `make deb` builds, installed into a directory and removed again; and what all packages say of
//! foster. `channels` has the other ways to have it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::architectures::architectures;
use crate::documents::{documents, read};
use crate::harness::{Scratch, namespaces, plainly, skipped};

const LINKS: [&str; 6] = [
    "usr/bin/tini",
    "usr/bin/tini-static",
    "usr/bin/dumb-init",
    "usr/bin/catatonit",
    "usr/libexec/podman/catatonit",
    "usr/libexec/foster/docker-init",
];

fn packages() -> Option<[PathBuf; 2]> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deb");
    let packages = ["foster.deb", "foster-compat.deb"].map(|name| root.join(name));
    let built = packages.iter().all(|package| package.exists());
    if !built {
        assert!(std::env::var_os("CI").is_none(), "CI, and no packages in {}", root.display());
        skipped("no Debian packages (make deb builds them), so none is installed");
    }
    built.then_some(packages)
}

/// dpkg with a database of its own, in a directory that it takes for the root.
fn dpkg(root: &Path, args: &[&str]) {
    let mut dpkg = Command::new("unshare");
    dpkg.args(["--user", "--map-root-user", "--", "dpkg", "--root"]).arg(root).args(args);
    dpkg.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()));
    let output = plainly(&mut dpkg);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "dpkg {args:?}: {said}");
}

fn version(program: &Path) -> String {
    String::from_utf8(plainly(Command::new(program).arg("--version")).stdout).unwrap()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let output =
        plainly(Command::new("find").arg(root).args(["-path", "*/var/*", "-prune", "-o", "!", "-type", "d", "-print"]));
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

#[test]
fn they_install_and_leave_nothing_behind() {
    let Some(packages) = packages() else { return };
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("packages");
    let root = scratch.path("");
    for dir in ["info", "updates"] {
        std::fs::create_dir_all(root.join("var/lib/dpkg").join(dir)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    for package in &packages {
        dpkg(&root, &["--install", package.to_str().unwrap()]);
    }

    assert_eq!(version(&root.join("usr/bin/foster")), concat!("foster ", env!("CARGO_PKG_VERSION"), "\n"));
    for file in ["share/man/man1/foster.1.gz", "share/doc/foster/copyright", "share/bash-completion/completions/foster"]
    {
        assert!(root.join("usr").join(file).exists(), "{file}");
    }
    for link in LINKS {
        assert_eq!(
            std::fs::canonicalize(root.join(link)).unwrap(),
            root.join("usr/bin/foster").canonicalize().unwrap()
        );
    }
    assert!(version(&root.join("usr/bin/tini")).starts_with("tini version "));

    dpkg(&root, &["--purge", "foster-compat", "foster"]);
    assert_eq!(files(&root), Vec::<PathBuf>::new());
}

/// A release is built from a tag, and the packages name the version again.
#[test]
fn every_version_is_the_crates() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("Cargo.toml").contains(&format!("\ndepends = \"foster (= {version}-1)\"\n")));
    assert!(read("CHANGELOG.md").contains(&format!("## [{version}]")));
}

/// Cargo.toml's `repository` is the only place to change: the documents follow it by `UPDATE=1 cargo test packages`, and
/// what is published reads it from there.
#[test]
fn the_repositorys_url_is_cargo_tomls_everywhere() {
    const RELEASES: &str = "/releases/latest/download/";
    let repository = env!("CARGO_PKG_REPOSITORY");
    let mut seen = 0;
    for (path, text) in documents() {
        let pieces: Vec<&str> = text.split(RELEASES).collect();
        let (rest, before) = pieces.split_last().unwrap();
        let mut expected = String::new();
        for piece in before {
            // The URL is the last word before it.
            let start = piece.rfind("https://").unwrap_or_else(|| panic!("{path}: no URL before {RELEASES}"));
            expected += &format!("{}{repository}{RELEASES}", &piece[..start]);
            seen += 1;
        }
        expected += rest;
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path), expected).unwrap();
        } else {
            assert!(text == expected, "{path} has another URL than Cargo.toml: {repository}");
        }
    }
    assert!(seen > 0, "no document says where a release is");
    for file in ["packaging/image.py", "packaging/wheel.py", "packaging/pkgbuild.py", "packaging/release"] {
        assert!(!read(file).contains(repository), "{file} has the URL again");
    }
    assert_eq!(read("Cargo.toml").matches(repository).count(), 1);
}

/// cargo binstall goes by Rust's names of a machine, the release by the kernel's.
#[test]
fn binstall_takes_the_releases_file_for_each_architecture() {
    let output =
        plainly(Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--offline", "--format-version=1"]));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "foster").unwrap();
    let binstall = &package["metadata"]["binstall"];
    for one in architectures() {
        // A machine with glibc asks by that name first.
        for target in [one.target.clone(), one.target.replace("-musl", "-gnu")] {
            let own = binstall["overrides"][&target]["pkg-url"].as_str();
            let url = own.or(binstall["pkg-url"].as_str()).unwrap();
            let url =
                url.replace("{ repo }", env!("CARGO_PKG_REPOSITORY")).replace("{ version }", env!("CARGO_PKG_VERSION"));
            let url = url.replace("{ target-arch }", target.split('-').next().unwrap());
            let file = format!("/releases/download/v{}/foster-{}", env!("CARGO_PKG_VERSION"), one.name);
            assert_eq!(url, format!("{}{file}", env!("CARGO_PKG_REPOSITORY")), "{target}");
        }
    }
    let format = (binstall["pkg-fmt"].as_str(), binstall["overrides"].as_object().unwrap().len());
    assert_eq!(format, (Some("bin"), 4), "the file is the program itself");
}
