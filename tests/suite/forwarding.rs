//! Every catchable signal reaches the command, once, with its payload; nothing of foster's own does.

use crate::harness::{
    End, Finished, Foster, Place, Run, binaries, everywhere, namespaces, only_child, runs_as_root, send, signals_taken,
};

const SIGUSR1: i32 = 10;

/// All but KILL and STOP, which no process can catch, and CHLD, which is foster's own.
fn forwarded() -> impl Iterator<Item = i32> {
    (1..=31).chain(34..=64).filter(|signal| ![9, 17, 19].contains(signal))
}

/// Sends every signal, waits each time until everybody of `roles` has said it, and then checks the totals: standard
/// signals coalesce when they pend, so one at a time is the only way to see that each came once.
fn every_signal_once(run: &Run, roles: &[&str]) {
    let everybody_says = |whats: &[String]| {
        let mut said: Vec<String> = roles.iter().flat_map(|_| whats).map(|_| run.line()).collect();
        let mut expected: Vec<String> =
            roles.iter().flat_map(|role| whats.iter().map(move |what| format!("{role} {what}"))).collect();
        said.sort();
        expected.sort();
        assert_eq!(said, expected);
    };
    everybody_says(&["ready".to_owned()]);
    for signal in forwarded() {
        run.signal(signal);
        everybody_says(&[format!("got {signal}")]);
    }
    run.signal(SIGUSR1);
    let totals = forwarded().map(|s| format!("{s}:{}", if s == SIGUSR1 { 2 } else { 1 })).collect::<Vec<_>>().join(" ");
    everybody_says(&[format!("got {SIGUSR1}"), format!("total {totals}")]);
}

#[test]
fn every_signal_reaches_the_command_once() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["signals"]);
        every_signal_once(&run, &["command"]);
        assert_eq!(run.finish().end, End::Exited(0));
    });
}

#[test]
fn with_group_every_signal_reaches_a_grandchild_once_too() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("-g").fixture(&["signals", "with-grandchild"]);
        every_signal_once(&run, &["command", "grandchild"]);
        assert_eq!(run.finish().end, End::Exited(0));
    });
}

#[test]
fn without_group_a_grandchild_gets_nothing() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["signals", "with-grandchild"]);
        let mut ready = [run.line(), run.line()];
        ready.sort();
        assert_eq!(ready, ["command ready", "grandchild ready"]);
        for signal in [15, 40, 40, 12] {
            run.signal(signal);
            run.expect(&format!("command got {signal}"));
        }
    });
}

#[test]
fn a_thousand_queued_signals_keep_their_order_and_payload() {
    everywhere(|binary, place| {
        for option in ["-c", "-g"] {
            let run = Foster::new(binary, place).option(option).fixture(&["queue", "1000"]);
            run.expect("in order 1000");
            assert_eq!(run.finish().end, End::Exited(0));
        }
    });
}

#[test]
fn with_the_group_a_queued_signal_reaches_all_of_it() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("-g").fixture(&["signals", "with-grandchild"]);
        let two_lines = || {
            let mut lines = [run.line(), run.line()];
            lines.sort();
            lines
        };
        assert_eq!(two_lines(), ["command ready", "grandchild ready"]);
        queue(run.foster_pid(), 40);
        assert_eq!(two_lines(), ["command got 40", "grandchild got 40"]);
    });
}

#[allow(unsafe_code)]
fn queue(pid: i32, signal: i32) {
    let value = libc::sigval { sival_ptr: std::ptr::null_mut() };
    // SAFETY: takes numbers, and a value that nobody follows.
    assert_eq!(unsafe { libc::sigqueue(pid, signal, value) }, 0);
}

/// What is sent to foster's group while the command is being started reaches the command once, through foster: not at
/// all would be a loss, twice when the child was hit too before it had a group of its own.
#[test]
fn signals_to_fosters_group_during_the_start_arrive_once() {
    everywhere(|binary, place| {
        for _ in 0..20 {
            let fixture = crate::harness::fixture();
            let run = Foster::new(binary, place)
                .after(&[fixture.to_str().unwrap(), "start-storm", "3000"])
                .fixture(&["count-storm", "3000"]);
            run.expect("storm 3000");
            assert_eq!(run.finish().end, End::Exited(0));
        }
    });
}

#[test]
fn a_rewrite_sends_another_signal_or_none() {
    everywhere(|binary, place| {
        let new = || Foster::new(binary, place);
        let spelled = [
            new().option("-r").option("TERM:QUIT").option("-rHUP:0").option("--rewrite=SIGINT:SIGRTMIN+1"),
            new().option("-r").option("15:3").option("-r").option("1:none").option("-r").option("2:35"),
            new().env("FOSTER_REWRITE", "sigterm:quit,HUP:0,INT:RTMIN+1"),
        ];
        for foster in spelled {
            let run = foster.fixture(&["signals"]);
            run.expect("command ready");
            for (sent, seen) in [(15, 3), (2, 35), (12, 12)] {
                run.signal(sent);
                run.expect(&format!("command got {seen}"));
            }
            run.signal(1);
            run.signal(SIGUSR1);
            run.expect("command got 10");
            run.signal(SIGUSR1);
            run.expect("command got 10");
            run.expect("command total 3:1 10:2 12:1 35:1");
            assert_eq!(run.finish().end, End::Exited(0));
        }
    });
}

#[test]
fn a_signal_says_who_sent_it_at_info() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("-v").fixture(&["wait-for-term"]);
        run.expect("ready");
        run.signal(15);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(42));
        let forwarded = format!("info: SIGTERM from {} forwarded to command ", place.outside());
        assert!(stderr.contains(&forwarded), "{stderr}");
        // The name may be cut to make room for who asked.
        let asked = format!("info: asked to stop by SIGTERM from {}: command ", place.outside());
        assert!(stderr.contains(&asked) && stderr.contains("fixture exited with status 42 after "), "{stderr}");

        let run = Foster::new(binary, place).option("-v").run(&["sh", "-c", "kill -TERM $PPID; while :; do :; done"]);
        let finished = run.finish();
        finished.assert_ended_by(place, 15);
        assert!(
            finished.stderr.contains(" (sh -c kill -TERM $PPID; while :; do :; …, uid 0) forwarded to command sh"),
            "{}",
            finished.stderr
        );
        assert!(!finished.stderr.contains("error"), "asked for, so no incident: {}", finished.stderr);
    });
}

/// tini with the same broken stderr sends its command the SIGPIPE that its own log line caused.
#[test]
fn a_sigpipe_that_foster_caused_itself_is_not_forwarded() {
    everywhere(|binary, place| {
        let fixture = crate::harness::fixture();
        let run = Foster::new(binary, place)
            .after(&[fixture.to_str().unwrap(), "broken-stderr"])
            .option("-vvv")
            .fixture(&["signals"]);
        run.expect("command ready");
        // Each is logged, so each causes another SIGPIPE of foster's own.
        for signal in [12, 40, 12, SIGUSR1, 13, SIGUSR1] {
            run.signal(signal);
            run.expect(&format!("command got {signal}"));
        }
        run.expect("command total 10:2 12:2 13:1 40:1");
        assert_eq!(run.finish().end, End::Exited(0));
    });
}

/// The command changed its user, so a foster without privileges may not signal it: one warning, and foster goes on.
#[test]
fn a_forward_that_is_not_permitted_is_one_warning() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        // As root of the machine, where there are other users; setpriv gives foster's own capability to kill away.
        if !runs_as_root() {
            eprintln!("SKIPPED: not root, so no command can change its user");
            return;
        }
        // Without the capability to kill, as in a container that drops them all.
        let run = Foster::new(&binary, Place::Pid1)
            .with_machines_users()
            .after(&["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--"])
            .fixture(&["as-user", "1000"]);
        run.expect("ready");
        for _ in 0..3 {
            run.signal(12);
            signals_taken(run.foster_pid());
        }
        send(only_child(run.foster_pid()), 9);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(137), "{stderr}");
        let warnings = stderr.matches("warning: SIGUSR2 could not be forwarded to command").count();
        assert_eq!(warnings, 1, "one warning for three signals: {stderr}");
    }
}

#[test]
fn the_commands_end_is_foster_s_end() {
    everywhere(|binary, place| {
        for code in [0, 1, 2, 42, 125, 255] {
            let run = Foster::new(binary, place).fixture(&["exit", &code.to_string()]);
            let Finished { end, stderr, .. } = run.finish();
            assert_eq!((end, stderr.as_str()), (End::Exited(code), ""));
        }
        for signal in forwarded().chain([9]).filter(|s| ![18, 20, 21, 22, 23, 28].contains(s)) {
            let finished = Foster::new(binary, place).fixture(&["die", &signal.to_string()]).finish();
            finished.assert_ended_by(place, signal);
            // In a pipeline SIGPIPE is how a writer ends; anywhere else a signal that nobody sent is an incident.
            let quiet = signal == 13 && place == Place::Subreaper;
            assert_eq!(
                finished.stderr.contains("]: error: incident: command "),
                !quiet,
                "signal {signal}: {}",
                finished.stderr
            );
        }
    });
}

/// Inherited as ignored, it has to be made deadly again in foster, and musl's sigaction refuses 34.
#[test]
fn a_signal_that_foster_inherited_as_ignored_can_still_end_it() {
    everywhere(|binary, place| {
        for signal in ["34", "15", "1"] {
            let fixture = crate::harness::fixture();
            let run = Foster::new(binary, place)
                .after(&[fixture.to_str().unwrap(), "ignoring", signal])
                .fixture(&["die", signal]);
            run.finish().assert_ended_by(place, signal.parse().unwrap());
        }
    });
}

#[test]
fn ok_exit_codes_are_reported_as_0() {
    everywhere(|binary, place| {
        let new = || Foster::new(binary, place);
        let ok = |foster: Foster, mode: &str, n: &str| foster.fixture(&[mode, n]).finish().end;
        assert_eq!(ok(new().option("-e").option("3"), "exit", "3"), End::Exited(0));
        assert_eq!(ok(new().option("-e3").option("--ok-exit=7"), "exit", "7"), End::Exited(0));
        assert_eq!(ok(new().option("-e").option("143"), "die", "15"), End::Exited(0));
        assert_eq!(ok(new().env("FOSTER_OK_EXIT", "3,143"), "die", "15"), End::Exited(0));
        assert_eq!(ok(new().option("-e").option("3"), "exit", "4"), End::Exited(4));
    });
}

#[test]
fn with_ok_stop_the_end_by_a_stop_request_is_0_and_no_other() {
    if !namespaces() {
        return;
    }
    const DIES: &[&str] = &["wait-to-die"];
    const CATCHES: &[&str] = &["catch", "143"];
    // Options, command, signal, and the signal that foster ends by.
    type Case = (&'static [&'static str], &'static [&'static str], i32, Option<i32>);
    const CASES: &[Case] = &[
        (&["-e", "stop"], DIES, 15, None),
        (&["-e", "stop"], DIES, 2, None),
        (&["-e", "stop", "-r", "TERM:USR1"], DIES, 15, None),
        (&["-e", "stop"], CATCHES, 15, None),
        (&["-e", "stop"], DIES, 1, Some(1)),
        (&["-e", "3"], DIES, 15, Some(15)),
    ];
    everywhere(|binary, place| {
        for (options, command, signal, ended_by) in CASES {
            let run = Foster::new(binary, place).options(options).fixture(command);
            run.expect("ready");
            run.signal(*signal);
            let finished = run.finish();
            match ended_by {
                Some(signal) => finished.assert_ended_by(place, *signal),
                None => assert_eq!(finished.end, End::Exited(0), "{options:?} {command:?} {signal}: {finished:?}"),
            }
        }
        let unasked = Foster::new(binary, place).env("FOSTER_OK_EXIT", "3,stop").run(&["sh", "-c", "exit 143"]);
        assert_eq!(unasked.finish().end, End::Exited(143), "nobody asked");
    });
}

/// The parent of foster dies: foster gets the signal that it asked for, and passes it on.
#[test]
fn parent_death_is_passed_on() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let fixture = crate::harness::fixture();
        let run = Foster::new(&fixture, Place::Pid1).option("parent-dies").run(&[
            binary.as_os_str(),
            "-p".as_ref(),
            "USR2".as_ref(),
            "--".as_ref(),
            fixture.as_os_str(),
            "wait-for-term".as_ref(),
        ]);
        run.expect("parent exited 0");
        // 43: something other than SIGTERM came.
        run.expect("foster exited 43");
        assert_eq!(run.finish().end, End::Exited(0));
    }
}
