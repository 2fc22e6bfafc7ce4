//! The other machine that foster is built for, emulated: the core on aarch64 under qemu-user. The commands are this
//! machine's own programs, which the emulator has the kernel run.
//!
//! qemu-user makes a fork of foster's vfork and knows no subreaper (Debian's 7.2), so foster is PID 1 here, and what a
//! failed exec leaves is its exit code.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{End, Foster, Place, namespaces, skipped};

const EMULATOR: &str = "qemu-aarch64-static";

/// The build for aarch64, which `make test` makes.
fn foster() -> Option<Foster> {
    let built = std::env::var_os("TEST_AARCH64").map(PathBuf::from).filter(|path| path.exists());
    let emulated = Command::new(EMULATOR).arg("--version").output().is_ok_and(|output| output.status.success());
    if built.is_none() || !emulated {
        assert!(std::env::var_os("CI").is_none(), "CI, and no foster for aarch64 ({built:?}) or no {EMULATOR}");
        skipped("no foster for aarch64 (TEST_AARCH64) or no qemu-aarch64-static, so that build is not run");
    }
    built.filter(|_| emulated && namespaces()).map(|path| Foster::new(&path, Place::Pid1).after(&[EMULATOR]))
}

#[test]
fn orphans_are_reaped_and_said() {
    let Some(foster) = foster() else { return };
    let run = foster.option("-vv").fixture(&["orphans", "100", "4", "apart"]);
    run.expect("reaped 400 zombies 0");
    let finished = run.finish();
    assert_eq!(finished.end, End::Exited(0));
    let lines = finished.stderr.lines().filter(|line| line.contains("debug: reaped orphan ")).count();
    assert_eq!(lines, 400, "{}", finished.stderr);
    // Which real-time signal it was the emulator tells wrongly, each version in its own way: it keeps two for itself.
    let is_real_time =
        |said: &str| said.contains("was killed by SIGRTMIN") || said.contains("was killed by signal 32 ");
    assert!(is_real_time(&finished.stderr), "{}", finished.stderr);
}

#[test]
fn signals_are_forwarded_and_the_end_is_the_commands() {
    let Some(foster) = foster() else { return };
    let run = foster.option("-rINT:TERM").fixture(&["wait-for-term"]);
    run.expect("ready");
    run.signal(libc::SIGINT);
    assert_eq!(run.finish().end, End::Exited(42));
    for (command, code) in [(&["sh", "-c", "exit 7"][..], 7), (&["sh", "-c", "kill -KILL $$"], 137)] {
        let Some(foster) = self::foster() else { return };
        assert_eq!(foster.run(command).finish().end, End::Exited(code), "{command:?}");
    }
}

#[test]
fn what_the_command_left_is_stopped_and_then_killed() {
    let Some(foster) = foster() else { return };
    let run = foster.option("--grace=1s").fixture(&["leave", "plain", "setsid", "stubborn"]);
    let finished = run.finish();
    assert_eq!(finished.end, End::Exited(4), "{finished:?}");
    assert!(finished.lines.contains(&"plain got 15".to_owned()), "{finished:?}");
    assert!(finished.stderr.contains("the grace is over, SIGKILL to 1 process: "), "{finished:?}");
}

#[test]
fn failures_have_their_codes() {
    for (options, command, code) in
        [(&[][..], "/nonexistent", 127), (&[], "/etc/passwd", 126), (&["--grace=x"], "true", 125)]
    {
        let Some(foster) = foster() else { return };
        assert_eq!(foster.options(options).run(&[command]).finish().end, End::Exited(code), "{command}");
    }
}
