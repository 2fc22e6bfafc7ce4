//! The Debian packages that `make deb` builds, installed into a directory and removed again.

use std::path::{Path, PathBuf};
use std::process::Command;

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
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("Cargo.toml").contains(&format!("\ndepends = \"foster (= {version}-1)\"\n")));
    assert!(read("CHANGELOG.md").contains(&format!("## [{version}]")));
}
