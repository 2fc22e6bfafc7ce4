//! The architectures that foster is released for, as packaging/architectures has them; and the core of this suite on each
//! that is not this machine's, under qemu-user. The commands are this machine's own programs, which the emulator has the
//! kernel run.
//!
//! qemu-user makes a fork of foster's vfork and knows no subreaper (Debian's 7.2), so foster is PID 1 here, and what a
//! failed exec leaves is its exit code.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{Context, End, Foster, Place, Scratch, namespaces, runs_as_root, skipped};

/// A row of that table.
#[derive(Debug)]
pub struct Architecture {
    pub name: String,
    pub target: String,
    pub debian: String,
    pub rpm: String,
    /// Arch Linux's name for it, where there is one.
    pub arch: Option<String>,
    /// None where this machine runs its programs itself.
    pub emulator: Option<String>,
    pub wheel_tags: Vec<String>,
}

pub fn architectures() -> Vec<Architecture> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/architectures");
    let table = std::fs::read_to_string(path).expect("packaging/architectures");
    let known = |word: &str| (word != "-").then(|| word.to_owned());
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[name, target, _image, debian, rpm, arch, emulator, tags] = &words[..] else { panic!("{line}") };
        Architecture {
            name: name.into(),
            target: target.into(),
            debian: debian.into(),
            rpm: rpm.into(),
            arch: known(arch),
            emulator: known(emulator),
            wheel_tags: tags.split('.').map(str::to_owned).collect(),
        }
    };
    table.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

/// Where the builds are: TARGET/release/foster below it. `make test` makes them.
static BUILDS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let builds = std::env::var_os("TEST_BUILDS").map(PathBuf::from);
    if builds.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI, and no builds for other architectures (TEST_BUILDS)");
        skipped("no builds for other architectures (make test makes them), so none is run");
    }
    builds.filter(|_| namespaces())
});

/// Runs a test with the foster of each emulated architecture, and says which one failed. A build or an emulator that is
/// missing fails too: otherwise nothing would have been tested, in no time.
fn emulated(test: impl Fn(&dyn Fn() -> Foster, &Path)) {
    let Some(builds) = &*BUILDS else { return };
    for one in architectures() {
        let Some(emulator) = &one.emulator else { continue };
        let context = Context(format!("{} under {emulator}", one.name));
        let works = Command::new(emulator).arg("--version").output().is_ok_and(|output| output.status.success());
        assert!(works, "no {emulator}: make test installs qemu-user-static");
        let build = builds.join(&one.target).join("release/foster");
        assert!(build.exists(), "no {}: packaging/cargo {} build --release", build.display(), one.name);
        test(&|| Foster::new(&build, Place::Pid1).after(&[emulator]), Path::new(emulator));
        drop(context);
    }
}

#[test]
fn orphans_are_reaped_and_said() {
    emulated(|foster, _| {
        let run = foster().option("-vv").fixture(&["orphans", "100", "2", "apart"]);
        run.expect("reaped 200 zombies 0");
        let finished = run.finish();
        assert_eq!(finished.end, End::Exited(0));
        let lines = finished.stderr.lines().filter(|line| line.contains("debug: reaped orphan ")).count();
        assert_eq!(lines, 200, "{}", finished.stderr);
        // Which real-time signal it was the emulator tells wrongly, each version in its own way: it keeps two for itself.
        let is_real_time = |said: &str| said.contains("killed by SIGRTMIN") || said.contains("killed by signal 32 ");
        assert!(is_real_time(&finished.stderr), "{}", finished.stderr);
    });
}

#[test]
fn an_orphans_figures_are_its_own() {
    emulated(|foster, _| crate::telling::an_orphan_with_figures(foster()));
}

#[test]
fn signals_are_forwarded_and_the_end_is_the_commands() {
    emulated(|foster, _| {
        let run = foster().option("-rINT:TERM").fixture(&["wait-for-term"]);
        run.expect("ready");
        run.signal(libc::SIGINT);
        assert_eq!(run.finish().end, End::Exited(42));
        for (command, code) in [(&["sh", "-c", "exit 7"][..], 7), (&["sh", "-c", "kill -KILL $$"], 137)] {
            assert_eq!(foster().run(command).finish().end, End::Exited(code), "{command:?}");
        }
    });
}

/// The emulator numbers them two or three lower for foster, and back again for the command, and keeps some for itself: 7.2
/// lets 36 to 62 through, 10.0 lets 38 to 64.
#[test]
fn real_time_signals_are_forwarded() {
    emulated(|foster, _| {
        let run = foster().fixture(&["signals"]);
        run.expect("command ready");
        for signal in 38..=62 {
            run.signal(signal);
            run.expect(&format!("command got {signal}"));
        }
        for _ in 0..2 {
            run.signal(libc::SIGUSR1);
            run.expect("command got 10");
        }
        assert_eq!(run.finish().end, End::Exited(0));
    });
}

#[test]
fn what_the_command_left_is_stopped_and_then_killed() {
    emulated(|foster, _| {
        let run = foster().option("--grace=1s").fixture(&["leave", "plain", "setsid", "stubborn"]);
        let finished = run.finish();
        assert_eq!(finished.end, End::Exited(4), "{finished:?}");
        assert!(finished.lines.contains(&"plain got 15".to_owned()), "{finished:?}");
        assert!(finished.stderr.contains("the grace is over, SIGKILL to 1 process: "), "{finished:?}");
    });
}

#[test]
fn failures_have_their_codes() {
    emulated(|foster, _| {
        for (options, command, code) in
            [(&[][..], "/nonexistent", 127), (&[], "/etc/passwd", 126), (&["--grace=x"], "true", 125)]
        {
            assert_eq!(foster().options(options).run(&[command]).finish().end, End::Exited(code), "{command}");
        }
    });
}

/// More groups than one, and ids that 16 bits do not hold.
#[test]
fn the_command_is_another_user_with_all_groups() {
    if !runs_as_root() {
        return skipped("not root, so no command can be given another user (--user)");
    }
    emulated(|foster, emulator| {
        let scratch = Scratch::new("foreign-user");
        scratch.file("passwd", b"app:x:100000:200000::/:/bin/sh\n", "644");
        scratch.file("group", b"a:x:1500:app\nb:x:1600:app\nc:x:170000:app\n", "644");
        let script = format!(
            "set -e; mount --bind {0}passwd /etc/passwd; mount --bind {0}group /etc/group; exec \"$@\"",
            scratch.path("").display()
        );
        let foster = foster().with_machines_users().after(&["sh", "-c", &script, "sh", emulator.to_str().unwrap()]);
        let run = foster.option("-uapp").run(&["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"]);
        run.expect("100000 200000 200000 1500 1600 170000");
        assert_eq!(run.finish().end, End::Exited(0));
    });
}
