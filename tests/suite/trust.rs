//! Nothing that the command does can turn foster against others, or hold it up: one test for each fault of that kind which
//! foster once had. `hostile.rs` looks for more of them.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{
    End, Finished, Foster, Place, Run, Scratch, binaries, everywhere, example, fixture, namespaces, runs_as_root,
    skipped,
};
use crate::terminal::{PROMPT, Terminal};

const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;

/// What a loaded machine may need beyond a deadline of foster's: a fault of this kind misses it by far.
const SLACK: Duration = Duration::from_secs(5);

/// A user who is nobody here.
const NOBODY: &str = "65534:65534";

/// The programs under test where every user can run them.
struct Reachable(Scratch);

impl Reachable {
    fn new(binary: &Path) -> Reachable {
        let scratch = Scratch::new("trust");
        scratch.file("foster", &std::fs::read(binary).unwrap(), "755");
        scratch.file("hostile", &std::fs::read(example("hostile")).unwrap(), "755");
        Reachable(scratch)
    }

    fn foster(&self) -> String {
        self.0.path("foster").to_str().unwrap().to_owned()
    }

    fn hostile(&self) -> String {
        self.0.path("hostile").to_str().unwrap().to_owned()
    }
}

/// As root there are other users to change to.
fn is_root() -> bool {
    let is_root = namespaces() && runs_as_root();
    if !is_root {
        skipped("not root, so no command can have another user");
    }
    is_root
}

fn hostile(foster: Foster, args: &[&str]) -> Run {
    let program = example("hostile");
    let words = [program.as_os_str()].into_iter().chain(args.iter().map(OsStr::new));
    foster.run(&words.collect::<Vec<_>>())
}

/// Every signal comes to a traced command as a stop with that number first, and a stop with the number of SIGUSR1 is no
/// reason to stop oneself with SIGUSR1.
#[test]
fn a_traced_command_of_another_user_gets_its_own_signals_and_foster_none_of_them() {
    if !is_root() {
        return;
    }
    everywhere(|binary, place| {
        let programs = Reachable::new(binary);
        for signal in ["10", "15", "36"] {
            let foster = Foster::new(programs.foster().as_ref(), place).with_machines_users().options(&["-u", NOBODY]);
            let Finished { end, lines, stderr } = foster.run(&[&programs.hostile(), "traced-raise", signal]).finish();
            assert_eq!((end, lines, stderr.as_str()), (End::Exited(7), vec![format!("got {signal}")], ""), "{signal}");
        }
    });
}

#[test]
fn a_traced_command_gets_every_signal_as_if_it_were_not_traced() {
    everywhere(|binary, place| {
        let Finished { end, lines, stderr } = hostile(Foster::new(binary, place), &["traced-raise-all"]).finish();
        let signals = (1..=64).filter(|signal| ![9, 19, 20, 21, 22, 32, 33].contains(signal));
        let expected: Vec<String> = signals.map(|signal| format!("got {signal}")).collect();
        assert_eq!((end, lines, stderr.as_str()), (End::Exited(7), expected, ""));
    });
}

#[test]
fn a_traced_command_is_stopped_by_sigterm() {
    everywhere(|binary, place| {
        for options in [&[][..], &["-g"], &["-k", "20"]] {
            let run = hostile(Foster::new(binary, place).options(options), &["traced-wait"]);
            run.expect("ready");
            run.signal(SIGTERM);
            run.finish().assert_ended_by(place, SIGTERM);
        }
    });
}

/// The kernel stops it with a SIGTRAP, which is for the tracer alone.
#[test]
fn a_traced_command_that_executes_another_goes_on() {
    everywhere(|binary, place| {
        let run = hostile(Foster::new(binary, place), &["traced-exec", "sh", "-c", "exit 5"]);
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(5), ""));
    });
}

/// foster is their tracer as soon as it is their parent. They are asked to end as any others, and end at once.
#[test]
fn traced_orphans_get_their_signals_and_are_stopped_like_others() {
    everywhere(|binary, place| {
        let start = Instant::now();
        let run = hostile(Foster::new(binary, place), &["traced-orphans", "10"]);
        (0..3).for_each(|_| run.expect("got 10"));
        let Finished { end, stderr, .. } = run.finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(4), ""));
        assert!(start.elapsed() < SLACK, "they were waited for: {:?}", start.elapsed());
    });
}

/// What the terminal did not send is not passed on to the script around foster.
#[test]
fn on_a_terminal_a_traced_command_of_another_user_harms_no_script_around_foster() {
    if !is_root() {
        return;
    }
    for binary in binaries() {
        let programs = Reachable::new(&binary);
        for signal in [10, 15, 36] {
            let act = format!("{} traced-raise {signal}", programs.hostile());
            let lines = on_a_terminal(&programs, &act);
            assert_eq!(lines, [format!("got {signal}"), "script goes on after 7".to_owned()]);
        }
    }
}

/// Runs a script of root's with a foster in it whose command is another user's, on a terminal; returns what was on the
/// screen.
fn on_a_terminal(programs: &Reachable, act: &str) -> Vec<String> {
    let script = format!("{} -u {NOBODY} -- {act}; echo script goes on after $?", programs.foster());
    let words = ["-qec", &script, "/dev/null"];
    // script(1) makes the terminal and runs the script in a session on it.
    let run = Foster::new(Path::new("script"), Place::Pid1).with_machines_users().env("SHELL", "/bin/sh").run(&words);
    run.finish().lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// foster has nothing to do, or has to do with one thing for ever, while a deadline passes.
#[test]
fn no_flood_keeps_the_grace_away() {
    if !namespaces() {
        return;
    }
    everywhere(|binary, place| {
        for kind in ["sigqueue", "timer", "sigio", "senders", "deaths", "all"] {
            let run = flood(binary, place, &["-k", "1"], &["flood", kind]);
            let start = Instant::now();
            run.signal(SIGTERM);
            let ended = ends_within(run, Duration::from_secs(1) + SLACK);
            let Some(Finished { end, stderr, .. }) = ended else { panic!("{kind}: alive {:?} later", start.elapsed()) };
            let expected = if place == Place::Pid1 { End::Exited(137) } else { End::Killed(9) };
            assert_eq!(end, expected, "{kind}: {stderr}");
            assert!(start.elapsed() >= Duration::from_secs(1), "{kind}: killed before the grace was over");
        }
    });
}

/// The 10 s that leftovers have when nobody asked for a stop.
#[test]
fn no_flood_keeps_the_end_of_leftovers_away() {
    if !namespaces() {
        return;
    }
    everywhere(|binary, place| {
        let start = Instant::now();
        let kinds = ["sigqueue", "sigio", "senders", "all"];
        // The same 10 s for all of them.
        let runs = kinds.map(|kind| (kind, flood(binary, place, &[], &["flood", kind, "leave"])));
        for (kind, run) in runs {
            let left = (Duration::from_secs(10) + 2 * SLACK).saturating_sub(start.elapsed());
            let ended = ends_within(run, left);
            let Some(Finished { end, stderr, .. }) = ended else { panic!("{kind}: alive {:?} later", start.elapsed()) };
            assert_eq!(end, End::Exited(4), "{kind}: {stderr}");
        }
    });
}

/// A flood in a namespace that holds at most 500 processes, dead or alive, and has room for 20,000 signals: with
/// less foster comes to the end of them again and again. It has begun.
fn flood(binary: &Path, place: Place, options: &[&str], act: &[&str]) -> Run {
    const SCRIPT: &str = "echo 500 >/proc/sys/kernel/pid_max; exec prlimit --sigpending=20000 \"$@\"";
    let hostile_program = example("hostile");
    let mut before = vec!["sh", "-c", SCRIPT, "sh"];
    if act.contains(&"timer") || act.contains(&"all") {
        before.extend([hostile_program.to_str().unwrap(), "under-a-timer"]);
    }
    let run = hostile(Foster::new(binary, place).after(&before).options(options), act);
    run.expect("flooding");
    run
}

/// How it ended, or that it did not: then all of it is ended here.
fn ends_within(mut run: Run, within: Duration) -> Option<Finished> {
    let start = Instant::now();
    while !run.has_ended() {
        if start.elapsed() > within {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Some(run.finish_whatever_is_left().0)
}

/// The terminal sends its SIGINT to the whole group, but this one came from the command itself.
#[test]
fn on_a_terminal_a_signal_of_another_users_own_making_ends_no_script_around_foster() {
    if !is_root() {
        return;
    }
    for binary in binaries() {
        let programs = Reachable::new(&binary);
        for signal in [SIGINT, SIGQUIT] {
            let act = format!("{} raise {signal}", programs.hostile());
            let lines = on_a_terminal(&programs, &act);
            assert_eq!(lines.last(), Some(&format!("script goes on after {}", 128 + signal)), "{lines:?}");
        }
    }
}

/// Without any terminal: it stops itself, continues foster, which everybody in the session may, and sends itself a SIGINT.
#[test]
fn without_a_terminal_a_stop_and_a_sigint_of_the_commands_own_end_no_script_around_foster() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let programs = Reachable::new(&binary);
        let hostile = programs.hostile();
        for options in [&[][..], &["-u", NOBODY]] {
            if !options.is_empty() && !is_root() {
                continue;
            }
            for signal in [SIGINT, SIGQUIT] {
                let script = "\"$@\"; echo script goes on after $?";
                let job = ["setsid", "--wait", &hostile, "job", "sh", "-c", script, "sh"];
                let foster = Foster::new(programs.foster().as_ref(), Place::Subreaper).after(&job);
                let foster = if options.is_empty() { foster } else { foster.with_machines_users() };
                let run = foster.options(options).run(&[&hostile, "stop-then-raise", &signal.to_string()]);
                let goes_on = format!("script goes on after {}", 128 + signal);
                assert_eq!(run.lines_before("job exited 0"), [goes_on], "{options:?}");
                run.finish();
            }
        }
    }
}

/// Seen from within the namespace, the group in the foreground and foster's own are both 0, and not the same.
#[test]
fn started_in_the_background_of_another_namespace_foster_takes_no_terminal() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let foster = binary.display();
        let mut shell = Terminal::shell();
        let fixture = fixture();
        shell.line(&format!("unshare --pid --fork --kill-child {foster} {} wait-to-die &", fixture.display()));
        shell.expect("ready");
        shell.keys("\n");
        shell.expect(PROMPT);
        shell.line("echo the shell is th\"\"ere");
        shell.expect("the shell is there");
        shell.expect_foreground("bash");
    }
}
