//! `make` on a fresh machine: tests/needs.sh says in one line all that is missing, or installs it; and `make demo` shows
//! what is lost without foster.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Scratch, binaries, namespaces, plainly};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A machine with these programs and no others, which say what they are called with.
struct Machine {
    files: Scratch,
}

impl Machine {
    fn with(programs: &[&str]) -> Machine {
        let machine = Machine { files: Scratch::new("needs") };
        // What the script itself uses.
        for tool in ["bash", "sed", "awk", "env", "rm", "chmod"] {
            let found = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(tool));
            let found = found.iter().find(|path| path.exists()).expect("a basic tool");
            symlink(found, machine.files.path(tool)).expect("a link");
        }
        for program in programs {
            machine.files.file(program, format!("#!/bin/sh\necho \"{program} $*\"\n").as_bytes(), "755");
        }
        machine
    }

    fn needs(&self, uid: u32, args: &[&str]) -> Output {
        let mut unshare = Command::new("/usr/bin/env");
        unshare.arg("unshare").args(["--user", &format!("--map-user={uid}"), "--mount", "--"]);
        unshare.arg("/usr/bin/env").arg(format!("PATH={}", self.files.path("").display()));
        plainly(unshare.arg(root().join("tests/needs.sh")).args(args).env("HOME", self.files.path("home")))
    }
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const APT: &str = "as root: apt-get update && apt-get install --no-install-recommends";

#[test]
fn where_nothing_is_missing_it_is_silent() {
    if !namespaces() {
        return;
    }
    let machine = Machine::with(&["cargo", "rustup", "apt-get", "foo", "python3"]);
    let nothing = (Some(0), String::new(), String::new());
    assert_eq!(said(&machine.needs(1000, &["foo=foo", "python3:venv=python3-venv", "bar=bar?"])), nothing);
    // Only root could run that.
    assert_eq!(said(&machine.needs(1000, &["root:podman=podman"])), nothing);
}

#[test]
fn a_user_without_sudo_gets_one_line_with_all_of_it() {
    if !namespaces() {
        return;
    }
    let machine = Machine::with(&["cargo", "rustup", "apt-get"]);
    let args =
        ["cc=gcc", "libc.so=libc6-dev", "python3=python3", "python3:venv=python3-venv", "b=python3,make", "c=c?"];
    let packages = format!("packages ({APT} gcc libc6-dev python3 python3-venv make)\n");
    assert_eq!(said(&machine.needs(1000, &args)), (Some(1), String::new(), format!("missing: {packages}")));

    let machine = Machine::with(&["apt-get", "cargo"]);
    let rust = "Rust, from rustup (https://rustup.rs)";
    assert_eq!(said(&machine.needs(1000, &args)).2, format!("missing: {rust}; {packages}"));
    assert_eq!(said(&machine.needs(1000, &[])), (Some(1), String::new(), format!("missing: {rust}\n")));
    // Root could install the packages, but that alone does not help.
    assert_eq!(said(&machine.needs(0, &args)).2, format!("missing: {rust}; {packages}"));
    // rustup has just been installed, and this shell does not know yet.
    std::fs::create_dir_all(machine.files.path("home/.cargo/bin")).expect("a directory");
    symlink("/bin/true", machine.files.path("home/.cargo/bin/rustup")).expect("a link");
    assert_eq!(said(&machine.needs(1000, &[])).2, "missing: Rust in PATH (. ~/.cargo/env)\n");
}

/// Another make goal is never to install anything.
#[test]
fn asked_only_to_say_it_installs_nothing() {
    if !namespaces() {
        return;
    }
    let machine = Machine::with(&["cargo", "rustup", "apt-get", "sudo"]);
    for uid in [0, 1000] {
        let expected = (Some(1), String::new(), format!("missing: packages ({APT} gcc)\n"));
        assert_eq!(said(&machine.needs(uid, &["--only-say", "cc=gcc"])), expected);
    }
}

#[test]
fn with_sudo_it_installs_what_is_missing_and_no_recommends() {
    if !namespaces() {
        return;
    }
    let machine = Machine::with(&["cargo", "rustup", "apt-get", "sudo", "foo"]);
    let (code, stdout, stderr) = said(&machine.needs(1000, &["foo=foo", "cc=gcc", "root:crun=crun", "kubectl=kube?"]));
    let script = root().join("tests/needs.sh");
    assert_eq!((code, &*stderr), (Some(0), "installing gcc crun kube\n"));
    assert_eq!(stdout, format!("sudo bash {} --install gcc crun kube?\n", script.display()));

    // What sudo would run. /usr/sbin is this machine's, so its policy for services is not touched.
    let log = machine.files.path("log");
    let apt = format!("#!/bin/sh\necho \"$DEBIAN_FRONTEND $*\" >>'{}'\n", log.display());
    std::fs::remove_file(machine.files.path("apt-get")).expect("the stub");
    machine.files.file("apt-get", apt.as_bytes(), "755");
    machine.files.file("apt-cache", b"#!/bin/sh\n[ $2 = kube ]\n", "755");
    let install = machine.install(&["gcc", "kube?", "nowhere?"]);
    assert_eq!(said(&install), (Some(0), String::new(), String::new()));
    let calls = std::fs::read_to_string(log).expect("apt-get's calls");
    assert_eq!(calls, " update -qq\nnoninteractive install -qq -y --no-install-recommends gcc kube\n");
}

impl Machine {
    /// As root of a namespace in which /usr/sbin is an empty directory.
    fn install(&self, packages: &[&str]) -> Output {
        let script = "mount -t tmpfs none /usr/sbin && PATH=$1 && shift && exec \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c", script, "sh"]);
        unshare.arg(self.files.path("")).arg(root().join("tests/needs.sh")).arg("--install").args(packages);
        plainly(unshare.env_remove("DEBIAN_FRONTEND"))
    }
}

#[test]
fn the_demo_shows_what_is_lost_without_foster() {
    if !namespaces() {
        return;
    }
    let foster: PathBuf = binaries().remove(0);
    let output = plainly(Command::new(root().join("docs/demo.sh")).arg(foster).env_remove("FOSTER_LOG"));
    let (code, shown, stderr) = said(&output);
    assert_eq!((code, &*stderr), (Some(0), ""), "{shown}");
    let scenes: Vec<&str> = shown.split("\n== ").skip(1).collect();
    assert_eq!(scenes.len(), 5, "{shown}");
    for (scene, runs) in [(scenes[0], 3), (scenes[1], 2)] {
        // Under foster the orders are saved, and nowhere else. Without tini there is a run less.
        let (others, under_foster) = scene.split_once("$ foster ").expect("a run under foster");
        assert!(under_foster.contains("=> the 3 orders are on the disk") && !under_foster.contains("LOST"), "{scene}");
        let lost = others.matches("=> the 3 orders are LOST").count() + others.matches("tini is not installed").count();
        assert!(lost == runs - 1 && !others.contains("on the disk"), "{scene}");
    }
    assert!(scenes[2].contains("zombies in /proc: 4"), "{shown}");
    assert!(scenes[3].contains("zombies in /proc: 0") && scenes[3].matches("reaped orphan").count() == 4, "{shown}");
    assert!(
        scenes[4].contains(" (sh")
            && scenes[4].contains(", uid 0) forwarded to command python3")
            && scenes[4].contains("exit code 0"),
        "{shown}"
    );
}
