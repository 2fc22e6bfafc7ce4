//! Every orphan is reaped, whatever it is and however many there are, and each is said in full at debug.

use crate::harness::{End, Finished, Foster, everywhere, number_of_the_sleep};

/// Runs the orphan fixture; it checks that each orphan came to foster and was reaped.
fn all_reaped(count: u32, waves: u32, how: &str) {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["orphans", &count.to_string(), &waves.to_string(), how]);
        run.expect(&format!("reaped {} zombies 0", count * waves));
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(0), ""), "nothing is said at the default level");
    });
}

/// The incident in which a job runner lost its SIGCHLD handler asked for exactly this.
#[test]
fn a_hundred_orphans_are_reaped() {
    all_reaped(100, 1, "apart");
}

#[test]
fn orphans_that_left_their_session_are_reaped() {
    all_reaped(100, 1, "setsid");
}

#[test]
fn four_thousand_orphans_in_waves_are_reaped() {
    all_reaped(500, 8, "apart");
}

/// One SIGCHLD may stand for all of them.
#[test]
fn two_thousand_orphans_that_die_in_the_same_instant_are_reaped() {
    all_reaped(2000, 1, "together");
}

/// A log driver that hangs costs lines, not reaping: the orphans' own are lost, and everything goes on.
#[test]
fn with_a_stderr_that_nobody_reads_orphans_are_reaped_and_signals_forwarded() {
    everywhere(|binary, place| {
        let fixture = crate::harness::fixture();
        let foster = || {
            let before = [fixture.to_str().unwrap(), "full-stderr"];
            Foster::new(binary, place).after(&before).option("-vvv").option("--grace=5s")
        };
        let run = foster().fixture(&["orphans", "1000", "10", "together"]);
        run.expect("reaped 10000 zombies 0");
        assert_eq!(run.finish().end, End::Exited(0));
        let run = foster().fixture(&["wait-for-term"]);
        run.expect("ready");
        run.signal(15);
        assert_eq!(run.finish().end, End::Exited(42));
    });
}

/// Nothing wakes foster while nothing happens: it sits in one rt_sigtimedwait without a timeout.
#[test]
fn idle_foster_sleeps_in_one_call_without_a_timer() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--grace=9s").option("--stop-delay=1s").fixture(&["wait-for-term"]);
        run.expect("ready");
        let syscall = format!("/proc/{}/syscall", run.foster_pid());
        let sleeps = || {
            let state = std::fs::read_to_string(&syscall).unwrap();
            let words: Vec<&str> = state.split(' ').collect();
            // Number, mask, siginfo, timeout.
            words[0] == number_of_the_sleep(binary) && words[3] == "0x0"
        };
        crate::harness::poll("it sleeps without a timeout", sleeps);
        run.signal(10);
        assert_eq!(run.finish().end, End::Exited(43));
    });
}

/// The check itself can fail: without an init that reaps, the same fixture reports zombies.
#[test]
fn the_orphan_check_notices_an_init_that_does_not_reap() {
    everywhere(|_, place| {
        // A shell that waits for its one child alone, as the job runner of the incident did.
        let never_reaps = "import os, sys\npid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])\n\
                           sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)";
        if place == crate::harness::Place::Subreaper {
            return;
        }
        let run = Foster::new(std::path::Path::new("python3"), place)
            .option("-c")
            .option(never_reaps)
            .env("FIXTURE_DEADLINE_MS", "1500")
            .fixture(&["orphans", "10", "1", "apart"]);
        let Finished { end, stderr, .. } = run.finish();
        assert_ne!(end, End::Exited(0));
        assert!(stderr.contains("deadline: wave 0: orphans are reaped"), "{stderr}");
    });
}

/// A child that was there before foster, dead already: its SIGCHLD went to the program that foster replaced.
#[test]
fn zombies_from_before_the_exec_are_reaped() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place)
            .after(&[crate::harness::fixture().to_str().unwrap(), "exec-with-children", "20"])
            .option("-vv")
            .fixture(&["no-zombies"]);
        run.expect("zombies 0");
        let finished = run.finish();
        assert_eq!(finished.end, End::Exited(0));
        let lines = finished.stderr.lines().filter(|l| l.contains("reaped orphan")).count();
        assert_eq!(lines, 20, "{}", finished.stderr);
    });
}

#[test]
fn an_orphan_is_said_in_full_at_debug_and_not_at_all_by_default() {
    everywhere(|binary, place| {
        let orphans = |foster: Foster| {
            let run = foster.fixture(&["orphans", "4", "1", "apart"]);
            run.expect("reaped 4 zombies 0");
            run.finish().stderr
        };
        let new = || Foster::new(binary, place);
        for quiet in [new(), new().option("-v"), new().env("FOSTER_LOG", "info"), new().env("RUST_LOG", "debug")] {
            let stderr = orphans(quiet);
            assert!(!stderr.contains("reaped orphan"), "{stderr}");
        }
        for (foster, level) in [
            (new().option("-vv"), "debug"),
            (new().env("FOSTER_LOG", "debug"), "debug"),
            (new().env("FOSTER_LOG", "foster=debug"), "debug"),
            (new().env("FOSTER_VERBOSE", "2"), "debug"),
            (new().option("-w"), "warning"),
            (new().env("FOSTER_WARN_ON_REAP", "1"), "warning"),
        ] {
            let stderr = orphans(foster);
            let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("reaped orphan")).collect();
            // The four ends of the fixture's orphans; the process in the middle is the command's own child.
            assert_eq!(lines.len(), 4, "{stderr}");
            for (end, count) in [
                ("(fixture): exited with status 0, age ", 1),
                ("(fixture): exited with status 23, age ", 1),
                ("(fixture): killed by SIGKILL (signal 9), age ", 1),
                ("(fixture): killed by SIGRTMIN+2 (signal 36), age ", 1),
            ] {
                assert_eq!(lines.iter().filter(|line| line.contains(end)).count(), count, "{end}: {stderr}");
            }
            for line in lines {
                assert!(line.contains(&format!("]: {level}: reaped orphan ")), "{line}");
                let has_all = line.contains(" s, CPU 0.") && line.contains(" s, max RSS ") && line.ends_with(" KiB");
                assert!(has_all, "{line}");
            }
        }
    });
}

/// Without `nix`'s WaitStatus, which loses the pid and the status of such a process.
#[test]
fn a_command_killed_by_a_real_time_signal_is_noticed() {
    everywhere(|binary, place| {
        for signal in [34, 36, 64] {
            let run = Foster::new(binary, place).fixture(&["die", &signal.to_string()]);
            run.finish().assert_ended_by(place, signal);
        }
    });
}

#[test]
fn a_stopped_and_continued_command_is_not_taken_for_dead() {
    everywhere(|binary, place| {
        for options in [&[][..], &["-vv"]] {
            let foster = options.iter().fold(Foster::new(binary, place), |foster, option| foster.option(option));
            let run = foster.fixture(&["stop-self"]);
            run.expect("continued");
            assert_eq!(run.finish().end, End::Exited(7));
        }
    });
}

/// tini and catatonit hang for ever here: the kernel reaps, and the status is lost.
#[test]
fn with_sigchld_inherited_as_ignored_the_status_is_kept() {
    everywhere(|binary, place| {
        let fixture = crate::harness::fixture();
        let run =
            Foster::new(binary, place).after(&[fixture.to_str().unwrap(), "ignoring", "17"]).fixture(&["exit", "9"]);
        assert_eq!(run.finish().end, End::Exited(9));
    });
}
