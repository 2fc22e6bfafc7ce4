//! Stop the command; then stop what it left behind: asked first, killed when the grace is over, nothing ever left.

use crate::harness::{
    End, Finished, Foster, Place, Scratch, everywhere, namespaces, only_child, poll, runs_as_root, send, state,
    with_all_processors,
};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const SIGTSTP: i32 = 20;

#[test]
fn leftovers_are_asked_and_then_foster_ends_as_the_command_did() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["leave", "plain", "setsid", "daemon", "stopped"]);
        let Finished { end, mut lines, stderr } = run.finish();
        lines.sort();
        let asked = ["daemon got 15", "plain got 15", "setsid got 15", "stopped got 15"];
        // SIGCONT, which follows, may still be heard by those that SIGTERM has not ended yet, or not at all.
        lines.retain(|line| !line.ends_with(" got 18"));
        assert_eq!((end, stderr.as_str()), (End::Exited(4), ""));
        assert_eq!(lines, asked);
    });
}

/// Its main thread has ended, so that /proc calls it a zombie, but another one lives on and has to be asked.
#[test]
fn a_leftover_without_its_main_thread_is_stopped_too() {
    everywhere(|binary, place| {
        let Finished { end, lines, stderr } = Foster::new(binary, place).fixture(&["leave", "headless"]).finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(4), ""));
        assert_eq!(lines.first().map(String::as_str), Some("headless got 15"));
    });
}

/// One that stands still takes no other signal, and would be waited for without end.
#[test]
fn a_stop_request_continues_leftovers_that_were_stopped() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).options(&["-k", "20s"]).fixture(&["leave", "patient"]);
        run.expect("patient got 15");
        run.expect("patient got 18");
        let leftover = only_child(run.foster_pid());
        send(leftover, SIGSTOP);
        poll("it stands still", || state(leftover) == 'T');
        if place == Place::Subreaper {
            // As PID 1 foster would undo that.
            send(leftover, SIGCONT);
            run.expect("patient got 18");
            run.signal(SIGTSTP);
            poll("it stands still", || state(leftover) == 'T');
        }
        run.signal(SIGINT);
        let Finished { end, lines, .. } = run.finish();
        assert_eq!((end, lines.as_slice()), (End::Exited(4), &["patient got 2".to_owned()][..]));
    });
}

#[test]
fn a_leftover_that_ignores_sigterm_is_named_and_killed() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--grace=3s").fixture(&["leave", "stubborn", "plain"]);
        let Finished { end, lines, stderr } = run.finish();
        assert_eq!(end, End::Exited(4), "the command's own code: {stderr}");
        assert!(lines.contains(&"stubborn got 15".to_owned()), "{lines:?}");
        // After a second the one that is left, and at the end of the grace the same one.
        let named = |start: &str| stderr.lines().any(|line| line.contains(start) && line.contains(" (fixture, "));
        let waiting = named("waiting for 1 process, SIGKILL in ");
        let killed = named("warning: the grace is over, SIGKILL to 1 process: ");
        assert!(waiting && killed && stderr.lines().count() == 2, "{stderr}");
    });
}

#[test]
fn a_grace_of_0_kills_at_once() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("-k0").fixture(&["leave", "stubborn", "setsid"]);
        let Finished { end, lines, stderr } = run.finish();
        assert_eq!((end, lines), (End::Exited(4), vec![]), "nobody was asked");
        assert!(stderr.contains("SIGKILL to 2 processes: "), "{stderr}");
    });
}

/// The last call is for whoever is below the command, and is said if there was somebody.
#[test]
fn one_grace_covers_a_command_that_does_not_end() {
    everywhere(|binary, place| {
        for (act, ready, alive) in [
            (&["signals", "with-grandchild"][..], &["command ready", "grandchild ready"][..], "2 processes: "),
            (&["signals"], &["command ready"], "1 process: "),
        ] {
            let run = Foster::new(binary, place).option("-v").env("FOSTER_GRACE", "300ms").fixture(act);
            let mut lines: Vec<String> = ready.iter().map(|_| run.line()).collect();
            lines.sort();
            assert_eq!(lines, ready);
            run.signal(SIGTERM);
            run.expect("command got 15");
            let finished = run.finish();
            finished.assert_ended_by(place, 9);
            let stderr = &finished.stderr;
            assert!(stderr.contains(&format!("the grace is over, SIGKILL to {alive}")), "{stderr}");
            let last_calls: Vec<&str> = stderr.lines().filter(|line| line.contains("last call: ")).collect();
            match &last_calls[..] {
                [] => assert_eq!(ready.len(), 1, "{stderr}"),
                [said] => assert!(
                    ready.len() == 2
                        && said.contains("last call: SIGTERM sent to 1 process that nobody had asked to end"),
                    "{stderr}"
                ),
                _ => panic!("{stderr}"),
            }
            assert!(!stderr.contains("error"), "it was asked for: {stderr}");
        }
    });
}

#[test]
fn a_leftover_of_another_user_is_stopped_too() {
    if !namespaces() {
        return;
    }
    if !runs_as_root() {
        eprintln!("SKIPPED: not root, so no leftover can have another user");
        return;
    }
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).with_machines_users().fixture(&["leave", "user"]);
        let Finished { end, lines, stderr } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(4), ""));
        assert_eq!(lines.first().map(String::as_str), Some("user got 15"));
    });
}

/// Each of them forks a successor and ends, so what was found is gone when the signal comes, and another is there.
#[test]
fn a_fork_bomb_is_gone_when_foster_is() {
    let _alone = with_all_processors();
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--grace=500ms").fixture(&["bomb", "200"]);
        run.expect("bomb ready");
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(4), "{stderr}");
        assert!(stderr.contains("the grace is over, SIGKILL to ") && !stderr.contains("did not end"), "{stderr}");
    });
}

#[test]
fn a_stop_request_is_held_while_reaping_goes_on_and_a_second_one_cuts_that_short() {
    everywhere(|binary, place| {
        let start = || {
            let run = Foster::new(binary, place).option("--stop-delay=600s").option("-v").fixture(&["delay"]);
            run.expect("ready");
            run.signal(SIGTERM);
            crate::harness::signals_taken(run.foster_pid());
            // Not held: what is no stop request.
            run.signal(10);
            run.expect("reaped 5 zombies 0");
            run
        };
        let again = start();
        // SIGTERM again would be the same request for a second.
        again.signal(libc::SIGINT);
        let Finished { end, stderr, .. } = again.finish();
        assert_eq!(end, End::Exited(42));
        assert!(stderr.contains(&format!("SIGTERM from {} held for 10 min 0 s", place.outside())), "{stderr}");
        let ended = start();
        ended.signal(12);
        assert_eq!(ended.finish().end, End::Exited(7), "the command's end cuts it short as well");
    });
}

#[test]
fn a_held_stop_request_is_forwarded_in_the_end() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--stop-delay=200ms").fixture(&["delay"]);
        run.expect("ready");
        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(42));
    });
}

#[test]
fn with_wait_foster_outlives_the_command_until_its_daemon_is_stopped() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--wait").option("-v").fixture(&["leave", "daemon"]);
        let awaited = "has ended and left processes behind; waiting for them, as --wait says";
        crate::harness::poll("foster waits", || run.stderr().contains(awaited));
        run.signal(1);
        run.expect("daemon got 1");
        run.signal(SIGTERM);
        run.expect("daemon got 15");
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!(end, End::Exited(4), "the command's own: {stderr}");
        assert!(stderr.contains(&format!("SIGTERM from {} forwarded to what command", place.outside())), "{stderr}");
    });
}

#[test]
fn with_wait_foster_ends_when_the_last_daemon_has() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--wait").fixture(&["leave", "ends", "ends"]);
        let Finished { end, lines, stderr } = run.finish();
        assert_eq!((end, lines, stderr.as_str()), (End::Exited(4), vec![], ""));
    });
}

/// As a subreaper without /proc the leftovers cannot be found: foster says so and does not wait for them.
#[test]
fn without_proc_a_subreaper_says_so_and_ends() {
    if !namespaces() {
        return;
    }
    for binary in crate::harness::binaries() {
        let hide = "mount -t tmpfs none /proc && exec \"$@\"";
        let fixture = crate::harness::fixture();
        // PID 1 is a shell that has nothing to do with it; foster is its child.
        let script = format!("{}; echo \"foster ended $?\"", "\"$@\"");
        let run = Foster::new("unshare".as_ref(), Place::Pid1).option("--mount").run(&[
            "sh",
            "-c",
            hide,
            "sh",
            "sh",
            "-c",
            &script,
            "sh",
            binary.to_str().unwrap(),
            "-c",
            "--",
            fixture.to_str().unwrap(),
            "leave",
            "plain",
        ]);
        run.expect("foster ended 4");
        let Finished { stderr, .. } = run.finish();
        let lost = "cannot be found and stays alive: /proc: No such file or directory";
        assert_eq!(stderr.matches(lost).count(), 1, "{stderr}");
    }
}

/// As PID 1 without /proc it cannot be told who is whose child: all are asked at once, and nobody again when one of them dies.
#[test]
fn without_proc_an_init_asks_all_at_once_and_once() {
    if !namespaces() {
        return;
    }
    let hide = "mount -t tmpfs none /proc && exec \"$@\"";
    // The first ends when it is asked; the second says each time that it is, and ends when the first has been reaped for long.
    let script = "(trap 'echo first asked; exit 0' TERM; : >$0/1; while :; do sleep 0.01; done) &\n\
                  (trap 'echo second asked' TERM; : >$0/2; for i in $(seq 40); do sleep 0.05; done) &\n\
                  until [ -e $0/1 ] && [ -e $0/2 ]; do sleep 0.01; done; exit 4";
    for binary in crate::harness::binaries() {
        let scratch = Scratch::new("all-at-once");
        let foster = [binary.to_str().unwrap(), "-v", "--", "bash", "-c", script];
        let words = [&["sh", "-c", hide, "sh"][..], &foster].concat();
        let place = scratch.path("");
        let run = Foster::new("unshare".as_ref(), Place::Pid1).option("--mount");
        let run = run.run(&[&words[..], &[place.to_str().unwrap()]].concat());
        let Finished { end, mut lines, stderr } = run.finish();
        lines.sort();
        assert_eq!(
            (end, lines),
            (End::Exited(4), vec!["first asked".to_owned(), "second asked".to_owned()]),
            "{stderr}"
        );
        assert_eq!(stderr.matches("sent to all that command bash left behind at once").count(), 1, "{stderr}");
    }
}

/// With a /proc of another PID namespace the numbers in it are other processes': here those of foster's siblings, which are
/// none of its leftovers.
#[test]
fn with_another_namespaces_proc_a_subreaper_signals_no_stranger() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("strangers");
    let gate = scratch.path("gate");
    // foster is the shell's first child, so its number is the shell's own in that /proc; its command ends when the strangers
    // are there.
    let script = "\"$1\" sh -c 'read -r _ <\"$0\"; sleep 600 & exit 4' \"$2\" & foster=$!\n\
                  for _ in 1 2 3 4; do sleep 600 & strangers=\"$strangers $!\"; done\n\
                  echo go >\"$2\"; wait $foster; echo \"foster ended $?\"\n\
                  for stranger in $strangers; do kill -USR1 $stranger; wait $stranger; echo \"stranger ended $?\"; done";
    for binary in crate::harness::binaries() {
        let _ = std::fs::remove_file(&gate);
        assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let inner = ["--pid", "--fork", "--kill-child"];
        let words = ["bash", "-c", script, "bash", binary.to_str().unwrap(), gate.to_str().unwrap()];
        let run = Foster::new("unshare".as_ref(), Place::Pid1).options(&inner).run(&words);
        let Finished { lines, stderr, .. } = run.finish();
        let mut expected = vec!["foster ended 4"];
        expected.extend(["stranger ended 138"; 4]);
        assert_eq!(lines, expected, "{stderr}");
        assert_eq!(stderr.matches("stays alive: /proc: it is another PID namespace's").count(), 1, "{stderr}");
    }
}

#[test]
fn a_thousand_starts_and_stops_leave_nothing() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("cycles");
    let socket = scratch.path("socket");
    let socket = socket.to_str().unwrap();
    for binary in crate::harness::binaries() {
        for place in ["pid1", "subreaper"] {
            let fixture = crate::harness::fixture();
            let fixture = fixture.to_str().unwrap();
            let binary = binary.to_str().unwrap();
            let run = Foster::new(fixture.as_ref(), Place::Pid1)
                .option("cycles")
                .run(&["500", place, socket, binary, "--", fixture, "server", socket]);
            run.expect("cycles 500");
            assert_eq!(run.finish().end, End::Exited(0));
        }
    }
}
