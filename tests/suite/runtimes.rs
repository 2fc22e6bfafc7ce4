//! foster in the runtimes that people have: the scripts in tests/runtimes, each of which reports its checks as TAP does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Scratch, binaries, fixture, runs_as_root, skipped};
use crate::programs::{self, program};
use crate::{gunicorn, masters};

/// For one script: they take a minute or two, those that compile longer on a machine that has other things to do.
const DEADLINE: Duration = Duration::from_secs(600);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether these programs are there, and root to run them. In CI they must be.
pub fn possible(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        !Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status().unwrap().success()
    });
    let reason = match missing {
        Some(program) => format!("no {program} (make test installs it)"),
        None if !root_can_be_had() => "not root, and no sudo without a password".to_owned(),
        None => return true,
    };
    assert!(std::env::var_os("CI").is_none(), "CI, and {reason}");
    skipped(&format!("{reason}, so foster is not run under it: {programs:?}"));
    false
}

fn root_can_be_had() -> bool {
    as_root().arg("true").output().is_ok_and(|output| output.status.success())
}

fn as_root() -> Command {
    let mut command = Command::new(if runs_as_root() { "env" } else { "sudo" });
    // crun and runc leave a file `oom` where they were started, when memory has run out.
    command.current_dir(std::env::temp_dir());
    if !runs_as_root() {
        command.args(["-n", "env"]);
    }
    command
}

/// Runs a script in namespaces of its own, and expects that every one of its checks is ok, and that there are as many as
/// docs/reliability.md says.
pub fn script(name: &str, args: &[&str], environment: &[(&str, PathBuf)]) {
    // A script that ended early would have fewer.
    assert_eq!(checks_of(name, args, environment).to_string(), listed(name), "{name} {args:?} and docs/reliability.md");
}

/// How many checks it has, all of them ok.
fn checks_of(name: &str, args: &[&str], environment: &[(&str, PathBuf)]) -> usize {
    let scratch = Scratch::new(&format!("{name}-{}", args.join("-")));
    let (out, path) = (scratch.path("out"), std::env::var("PATH").unwrap());
    let mut command = as_root();
    command.arg(format!("PATH={path}")).arg(format!("FOSTER={}", binaries()[0].display()));
    command.arg(format!("FIXTURE={}", fixture().display()));
    // What the documents have for it.
    std::fs::write(scratch.path("typed"), crate::commands::for_runtime(name)).unwrap();
    command.arg(format!("TYPED={}", scratch.path("typed").display()));
    command.args(environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
    // The PID namespace ends with the script, and with it everything that a script which fails leaves behind.
    command.args(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "bash"]);
    command.arg(root().join("tests/runtimes").join(name)).args(args).stdin(Stdio::null());
    let file = std::fs::File::create(&out).unwrap();
    let mut child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < DEADLINE && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let said = std::fs::read_to_string(&out).unwrap();
    assert!(child.wait().unwrap().success(), "{name} {args:?}:\n{said}");
    assert!(said.contains("\nok 2 - ") && !said.contains("not ok"), "{name} {args:?}:\n{said}");
    said.lines().filter(|line| line.starts_with("ok ")).count()
}

/// How many checks a script has, as docs/reliability.md says: the cell behind its name.
fn listed(script: &str) -> String {
    let document = crate::documents::read("docs/reliability.md");
    let (_, row) = document.split_once(&format!("| `{script}` | ")).expect("a row");
    row.split(' ').next().expect("a cell").to_owned()
}

#[test]
fn crun() {
    if possible(&["crun"]) {
        script("oci.sh", &["crun"], &[]);
    }
}

#[test]
fn runc() {
    if possible(&["runc"]) {
        script("oci.sh", &["runc"], &[]);
    }
}

/// podman builds Dockerfile.example with the compiler, the crates and the gunicorn that are here.
#[test]
fn podman() {
    let Some(materials) = materials() else {
        return skipped("no gunicorn (make test installs it), so foster is not run under podman");
    };
    if possible(&["podman", "runc", "busybox", "gcc", "rustc"]) {
        script("podman.sh", &[], &materials);
    }
}

/// Behind a shell, with something to lose: under foster and under tini. The first two always.
#[test]
fn servers_in_podman() {
    const SERVERS: [&str; 8] = ["celery", "nginx", "supervisord", "gunicorn", "uwsgi", "php_fpm", "redis", "postgres"];
    let all = std::env::var_os("TEST_ALL").is_some();
    let run = if all { &SERVERS[..] } else { &SERVERS[..2] };
    let (Some(tini), Some(_), Some(_)) = (program("usr/bin/tini"), masters::python(), program("usr/sbin/nginx")) else {
        return;
    };
    if possible(&["podman", "runc", "python3"]) {
        let environment = [("TINI", tini), ("VENVS", gunicorn::venvs()), ("SERVERS", programs::servers())];
        let checks = checks_of("servers.sh", run, &environment);
        assert_eq!(checks, 2 * run.len(), "two for each of {run:?}");
        assert_eq!((2 * SERVERS.len()).to_string(), listed("servers.sh"), "docs/reliability.md");
        if !all {
            skipped(&format!("{:?} are not run in podman (TEST_ALL=1 make test)", &SERVERS[2..]));
        }
    }
}

/// What tests/runtimes/images.sh makes images of.
fn materials() -> Option<[(&'static str, PathBuf); 3]> {
    let lib = gunicorn::venvs().join("gunicorn-23.0.0/lib");
    let python = std::fs::read_dir(&lib).ok().and_then(|mut entries| entries.next()?.ok());
    assert!(python.is_some() || std::env::var_os("CI").is_none(), "CI, and no gunicorn in {}", lib.display());
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap().stdout;
    let toolchain = PathBuf::from(String::from_utf8(sysroot).unwrap().trim_end());
    let cargo = std::env::var("CARGO_HOME").unwrap_or(std::env::var("HOME").unwrap() + "/.cargo");
    let registry = Path::new(&cargo).join("registry");
    Some([("TOOLCHAIN", toolchain), ("REGISTRY", registry), ("SITE", python?.path().join("site-packages"))])
}

/// Whether those runtimes are to be run too that take longer.
fn all() -> bool {
    let all = std::env::var_os("TEST_ALL").is_some();
    if !all {
        skipped(
            "a Docker Engine, a machine with cgroup v2 alone and other architectures' kernels are not run (TEST_ALL=1 make test)",
        );
    }
    all
}

#[test]
fn docker() {
    if all() && possible(&["busybox", "python3"]) {
        let unpacked = root().join("target/docker/usr");
        let path = format!("{0}/sbin:{0}/bin:{1}", unpacked.display(), std::env::var("PATH").unwrap());
        let materials = materials().expect("gunicorn, which make test installs");
        script("docker.sh", &[], &[&materials[..], &[("PATH", path.into())]].concat());
    }
}

#[test]
fn cgroup_v2_alone() {
    if all() && possible(&["crun", "busybox", "qemu-system-x86_64"]) {
        let boot = std::fs::read_dir(root().join("target/kernel/boot")).expect("target/kernel, which make test makes");
        let mut files = boot.map(|entry| entry.unwrap().path());
        let kernel = files.find(|path| path.to_str().is_some_and(|path| path.contains("/vmlinuz-"))).expect("a kernel");
        script("cgroup2.sh", &[], &[("KERNEL", kernel)]);
    }
}

/// Where the shared memory of a vfork, the subreaper and the terminal are another architecture's own. qemu-user has none of them.
#[test]
fn foreign_kernels() {
    if all() && possible(&["busybox"]) {
        let target = root().join("target");
        let [foreign, machines] = ["foreign", "machines"].map(|name| target.join(name));
        if std::fs::read_dir(&foreign).expect("target/foreign, which make test makes").next().is_none() {
            return skipped("not Debian, so there are no kernels of other architectures to be had");
        }
        for arch in ["armv7", "aarch64", "s390x", "ppc64le"] {
            let builds = std::env::var_os("TEST_BUILDS").expect("TEST_BUILDS, which make test sets");
            let environment = [("FOREIGN", foreign.clone()), ("MACHINES", machines.clone()), ("BUILDS", builds.into())];
            script("machine.sh", &[arch], &environment);
        }
    }
}
