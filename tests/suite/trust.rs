//! Nothing that the command does can turn foster against others, or hold it up: one test for each fault of that kind which
//! foster once had. `hostile.rs` looks for more of them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    End, Finished, Foster, Place, Run, Scratch, binaries, everywhere, example, fixture, name, namespaces, only_child,
    plainly, poll, runs_as_root, send, skipped, state, waited_for_a_processor, with_all_processors,
};
use crate::terminal::{PROMPT, Terminal};

const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTRAP: i32 = 5;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGTSTP: i32 = 20;

/// What a loaded machine may need beyond a deadline of foster's: a fault of this kind misses it by far.
const SLACK: Duration = Duration::from_secs(5);
/// And what foster may wait for a processor meanwhile. In a flood it is one of a hundred that want one.
const STARVED_AT_MOST: Duration = Duration::from_secs(15);

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
        let signals = (1..=64).filter(|signal| ![5, 9, 19, 20, 21, 22, 32, 33].contains(signal));
        let expected: Vec<String> = signals.map(|signal| format!("got {signal}")).collect();
        assert_eq!((end, lines, stderr.as_str()), (End::Exited(7), expected, ""));
    });
}

/// Also by a SIGTRAP, which is not taken for ptrace's own.
#[test]
fn a_traced_command_is_stopped_by_sigterm() {
    everywhere(|binary, place| {
        for (options, signal) in [(&[][..], SIGTERM), (&["-g"], SIGTERM), (&["-k", "20"], SIGTERM), (&[], SIGTRAP)] {
            let run = hostile(Foster::new(binary, place).options(options), &["traced-wait"]);
            run.expect("ready");
            run.signal(signal);
            run.finish().assert_ended_by(place, signal);
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

/// foster has to do with one thing for ever while a deadline passes. The kernel hands out the pending signal with the lowest
/// number first, so a flood of SIGALRM or SIGUSR1 also hides the SIGTERM behind it.
#[test]
fn no_flood_keeps_a_stop_request_and_its_grace_away() {
    let _alone = with_all_processors();
    everywhere(|binary, place| {
        let mut late = Vec::new();
        for kind in ["sigqueue", "timer", "sigio", "senders", "deaths", "all"] {
            let run = flood(binary, place, &["-k", "1"], &["flood", kind]);
            let start = Instant::now();
            run.signal(SIGTERM);
            let Some(Finished { end, stderr, .. }) = ends_within(run, Duration::from_secs(1) + SLACK) else {
                late.push(kind);
                continue;
            };
            let expected = if place == Place::Pid1 { End::Exited(137) } else { End::Killed(9) };
            assert_eq!(end, expected, "{kind}: {stderr}");
            assert!(start.elapsed() >= Duration::from_secs(1), "{kind}: killed before the grace was over");
        }
        assert!(late.is_empty(), "alive {SLACK:?} after the end of the grace: {late:?}");
    });
}

/// The 10 s that leftovers have when nobody asked for a stop.
#[test]
fn no_flood_keeps_the_end_of_leftovers_away() {
    let _alone = with_all_processors();
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
    let waited = |run: &Run| run.foster_pid_if_any().map_or(Duration::ZERO, waited_for_a_processor);
    let waited_before = waited(&run);
    while !run.has_ended() {
        // With hundreds of others that want a processor foster gets one only now and then. That is not its doing.
        if start.elapsed() > within {
            let starved = waited(&run).saturating_sub(waited_before).min(STARVED_AT_MOST);
            if start.elapsed() > within + starved {
                return None;
            }
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

/// A command of another user, who owns the directory of the termination log, does something there and ends with 3.
struct LogDirectory {
    programs: Reachable,
    directory: String,
}

impl LogDirectory {
    fn new(binary: &Path) -> LogDirectory {
        let programs = Reachable::new(binary);
        programs.0.file("precious", b"precious\n", "600");
        for (name, mode, owner) in [("logs", "755", "65534"), ("private", "700", "0")] {
            let path = programs.0.path(name);
            assert!(plainly(Command::new("install").args(["-d", "-m", mode, "-o", owner]).arg(path)).status.success());
        }
        let directory = programs.0.path("").to_str().unwrap().to_owned();
        LogDirectory { programs, directory }
    }

    fn run(&self, place: Place, script: &str) {
        let log = self.programs.0.path("logs/log");
        let script = format!("cd {}logs || exit 9; {script}; exit 3", self.directory);
        let foster = Foster::new(self.programs.foster().as_ref(), place).with_machines_users();
        let run = foster.option("--termination-log").option(&log).options(&["-u", NOBODY]).run(&["sh", "-c", &script]);
        let start = Instant::now();
        let Some(Finished { end, stderr, .. }) = ends_within(run, SLACK) else {
            panic!("{script}: alive {:?} later", start.elapsed())
        };
        assert_eq!(end, End::Exited(3), "{script}: {stderr}");
        self.nobody_was_written_to(&script);
    }

    fn nobody_was_written_to(&self, script: &str) {
        let precious = std::fs::read_to_string(self.programs.0.path("precious")).unwrap();
        assert_eq!(precious, "precious\n", "{script}");
        let private = std::fs::read_dir(self.programs.0.path("private")).unwrap().count();
        assert_eq!(private, 0, "{script}: something was made in root's directory");
    }

    fn log(&self) -> PathBuf {
        self.programs.0.path("logs/log")
    }
}

/// What was opened or made at the start is what is written to in the end.
#[test]
fn a_termination_log_that_another_user_has_replaced_is_not_written_through() {
    if !is_root() {
        return;
    }
    for binary in binaries() {
        for place in crate::harness::PLACES {
            for is_there_before in [false, true] {
                for script in [
                    "rm -f log; ln -s ../precious log",
                    "rm -f log; ln -s ../private/new log",
                    "rm -f log; mkfifo log",
                    "rm -f log; mkdir log",
                    "rm -f log",
                ] {
                    let directory = LogDirectory::new(&binary);
                    if is_there_before {
                        directory.programs.0.file("logs/log", b"of the application\n", "666");
                    }
                    directory.run(place, script);
                    if script == "rm -f log" {
                        assert!(!directory.log().exists(), "it was made anew");
                    }
                }
            }
        }
    }
}

/// As Kubernetes has it, the file is there before; elsewhere foster makes it.
#[test]
fn a_termination_log_that_is_left_alone_is_written() {
    if !is_root() {
        return;
    }
    for binary in binaries() {
        for place in crate::harness::PLACES {
            for before in [None, Some("of the application\n")] {
                let directory = LogDirectory::new(&binary);
                if let Some(text) = before {
                    directory.programs.0.file("logs/log", text.as_bytes(), "666");
                }
                directory.run(place, "true");
                let text = std::fs::read_to_string(directory.log()).unwrap();
                let own = text.strip_prefix(before.unwrap_or_default()).unwrap_or_else(|| panic!("{text}"));
                assert!(own.contains("exited with status 3") && own.lines().count() <= 2, "{text}");
            }
        }
    }
}

/// They are rights of the file's, as a set-user-ID bit is, and not of the one who runs it.
#[test]
fn a_foster_with_file_capabilities_gives_nobody_another_user() {
    if !is_root() {
        return;
    }
    for binary in binaries() {
        let programs = Reachable::new(&binary);
        let mut setcap = Command::new("setcap");
        setcap.arg("cap_setuid,cap_setgid+ep").arg(programs.foster());
        if !setcap.output().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI, and no file can be given capabilities");
            skipped("setcap(8) is missing, or cannot give a file in the temporary directory capabilities");
            return;
        }
        let ordinary = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"];
        for spec in ["root", "4712:4712", "4711:4711"] {
            let foster = Foster::new(programs.foster().as_ref(), Place::Pid1).with_machines_users().after(&ordinary);
            let Finished { end, lines, stderr } = foster.options(&["-u", spec]).run(&["id", "-u"]).finish();
            assert_eq!((end, lines), (End::Exited(125), vec![]), "{spec}: {stderr}");
            assert!(stderr.contains("--user is refused") && stderr.lines().count() == 1, "{spec}: {stderr}");
        }
    }
}

/// Ambient capabilities survive a change of the user, unless that is from or to root.
#[test]
fn another_user_gets_no_capabilities_of_fosters() {
    if !is_root() {
        return;
    }
    let rights = "--inh-caps=+setuid,+setgid,+kill";
    let ambient = "--ambient-caps=+setuid,+setgid,+kill";
    everywhere(|binary, place| {
        let programs = Reachable::new(binary);
        let ordinary = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", rights, ambient];
        let foster = Foster::new(programs.foster().as_ref(), place).with_machines_users().after(&ordinary);
        let script = "grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; setpriv --reuid=0 id -u 2>/dev/null; id -u";
        let Finished { end, lines, stderr } = foster.options(&["-u", "1234:1234"]).run(&["sh", "-c", script]).finish();
        let none = ["CapPrm", "CapEff", "CapAmb"].map(|name| format!("{name}:\t0000000000000000"));
        let expected: Vec<String> = none.into_iter().chain(["1234".to_owned()]).collect();
        assert_eq!((end, lines, stderr.as_str()), (End::Exited(0), expected, ""));
    });
}

/// /proc is read in ascending order, and the newest process comes last: gone when it is to be signalled. Several times, since
/// now and then one is found by luck.
#[test]
fn among_a_thousand_others_chains_of_forks_do_not_get_away() {
    let _alone = with_all_processors();
    if !namespaces() {
        return;
    }
    let program = example("hostile");
    for binary in binaries() {
        for count in ["1", "1", "1", "1", "2", "2", "3", "10"] {
            let before = [program.to_str().unwrap(), "crowd", "1400"];
            let foster = Foster::new(&binary, Place::Subreaper).after(&before).options(&["-k", "500ms"]);
            let run = hostile(foster, &["chains", count]);
            run.says("the grace is over, SIGKILL to ");
            let start = Instant::now();
            // Long enough for a loaded machine. A chain that gets away goes on for ever.
            let Some(Finished { end, stderr, .. }) = ends_within(run, Duration::from_secs(5)) else {
                panic!("{count} chains: foster is there {:?} after the first SIGKILL", start.elapsed())
            };
            assert_eq!(end, End::Exited(4), "{count} chains: {stderr}");
            assert!(!stderr.contains("did not end"), "{count} chains: {stderr}");
        }
    }
}

/// Four times as many places to look at take four times as long, and not sixteen times.
#[test]
fn a_long_path_is_searched_in_linear_time() {
    let search = |binary: &Path, colons: usize| {
        let mut foster = Command::new(binary);
        foster.arg("no-such-command").env_clear().env("PATH", ":".repeat(colons)).stderr(Stdio::null());
        processor_time(&mut foster, 127)
    };
    for binary in binaries() {
        // The smaller one is long enough to be measured; the best of three, as others are at work.
        let best = |colons| (0..3).map(|_| search(&binary, colons)).min().unwrap();
        let (short, long) = (best(4_000), best(16_000));
        assert!(long < short * 8, "4,000 colons take {short:?}, 16,000 take {long:?}");
        // As long as an environment variable can be.
        search(&binary, 131_000);
    }
}

/// Runs a command that ends with this code, and returns the time that it had on a processor.
// It is waited for, by the call that also tells its time.
#[allow(unsafe_code, clippy::zombie_processes)]
fn processor_time(command: &mut Command, code: i32) -> Duration {
    let child = command.spawn().expect("spawned");
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let mut status = 0;
    // SAFETY: both live through the call, and the child is nobody else's to wait for.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, child.id() as i32);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == code, "status {status:#x}");
    // SAFETY: the kernel has written it, and all zeroes is one too.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// With rt_sigqueueinfo(2) a process says of itself what it likes: that it is foster, the kernel, or outside.
#[test]
fn a_forged_sender_is_said_to_claim_so_and_its_signal_is_forwarded() {
    everywhere(|binary, place| {
        let run = hostile(Foster::new(binary, place).option("-v"), &["forged"]);
        let Finished { end, lines, stderr } = run.finish();
        let all: Vec<String> = (41..=47).map(|signal| format!("got {signal}")).collect();
        assert_eq!((end, lines), (End::Exited(7), all), "{stderr}");
        for name in (7..=13).map(|n| format!("SIGRTMIN+{n} ")) {
            let about: Vec<&str> = stderr.lines().filter(|line| line.contains(&name)).collect();
            assert!(about.len() == 1 && about[0].contains("claims to be "), "{name}: {about:?} of {stderr}");
        }
    });
}

#[test]
fn user_files_that_are_no_files_are_one_line_and_125() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("user-files");
    assert!(plainly(Command::new("mkfifo").arg(scratch.path("fifo"))).status.success());
    std::fs::create_dir(scratch.path("directory")).unwrap();
    let (fifo, directory) = (scratch.path("fifo"), scratch.path("directory"));
    for binary in binaries() {
        for (file, option) in [("/etc/passwd", "somebody"), ("/etc/group", "0:somebody")] {
            for other in [fifo.to_str().unwrap(), "/dev/zero", "/dev/null", directory.to_str().unwrap()] {
                // A directory can only stand where one stands.
                let bind = match other == directory.to_str().unwrap() {
                    true => format!("mount -t tmpfs none /etc; mkdir {file}"),
                    false => format!("mount --bind {other} {file}"),
                };
                let script = format!("set -e; {bind}; exec \"$@\"");
                let foster = Foster::new(&binary, Place::Pid1).after(&["sh", "-c", &script, "sh"]);
                let run = foster.options(&["-u", option]).run(&["echo", "started"]);
                let Some(Finished { end, lines, stderr }) = ends_within(run, SLACK) else {
                    panic!("{file} is {other}, and foster hangs")
                };
                assert_eq!((end, lines), (End::Exited(125), vec![]), "{file} is {other}: {stderr}");
                let is_said = stderr.contains(file) && (stderr.contains("regular") || stderr.contains("directory"));
                assert!(is_said && stderr.lines().count() == 1, "{file} is {other}: {stderr}");
            }
        }
    }
}

/// A line has 4,096 bytes at most, and a character has up to four.
#[test]
fn a_line_that_is_cut_off_ends_in_a_whole_character() {
    for binary in binaries() {
        for character in ["é", "€", "🦀"] {
            for before in 0..4 {
                let name = format!("./{}{}", "x".repeat(before), character.repeat(6000 / character.len()));
                let output = plainly(Command::new(&binary).arg(name));
                assert_eq!(output.stderr.last(), Some(&b'\n'));
                assert!(output.stderr.len() <= 4096, "{} bytes", output.stderr.len());
                let text = String::from_utf8(output.stderr);
                assert!(text.is_ok(), "{before} bytes before {character}: {:?}", text.unwrap_err().utf8_error());
            }
        }
    }
}

/// The first child is PID 1 of the namespace, and when it has ended there can be no second one.
#[test]
fn in_the_parent_of_a_pid_namespace_a_text_file_runs_under_the_shell() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("text");
    let script = scratch.file("script", b"exit 7\n", "755");
    for binary in binaries() {
        let foster = Foster::new(&binary, Place::Subreaper).after(&["unshare", "--pid"]);
        let Finished { end, stderr, .. } = foster.run(&[&script]).finish();
        assert_eq!((end, stderr.as_str()), (End::Exited(7), ""));
    }
}

/// Of the builds that are shipped: a debug build's frames are large. Where the kernel does not begin the stack at random: it
/// may take 8 KiB of the 12 for that, and then hardly any program runs (tini-static crashes more often than foster).
#[test]
fn a_stack_of_12_kib_is_enough() {
    let shipped: Vec<PathBuf> = binaries().into_iter().filter(|path| path.ends_with("release/foster")).collect();
    if shipped.is_empty() {
        skipped("no release build is in TEST_BINARIES, so none is run with a small stack");
    }
    for binary in shipped {
        for run in 0..10 {
            let mut shell = Command::new("setarch");
            // A command that needs no more of it than foster does.
            let script = "ulimit -s 12; exec \"$0\" \"$0\" --version";
            shell.args(["-R", "/bin/sh", "-c", script]).arg(&binary).env_clear();
            let output = plainly(&mut shell);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("foster"), "run {run}: {output:?}");
        }
    }
}

/// The kernel keeps it for its tracer, so it is not foster that does not reap it.
#[test]
fn a_zombie_that_is_traced_is_put_down_to_its_tracer() {
    everywhere(|binary, place| {
        let run = hostile(Foster::new(binary, place), &["tracer-of-an-orphan"]);
        run.expect("ready");
        let check = run.exec(binary, &["--check"]);
        let said = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
        assert!(said.contains("the-tracer"), "{said}");
        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(0));
    });
}

/// It would end foster alone and leave the command to nobody.
#[test]
fn sigkill_is_no_signal_for_a_parents_death() {
    for binary in binaries() {
        for words in [&["-p", "KILL"][..], &["-p", "9"], &["--parent-death=SIGKILL"]] {
            let output = plainly(Command::new(&binary).args(words).args(["echo", "started"]));
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{words:?}: {stderr}");
            assert!(stderr.contains("KILL") && stderr.lines().count() == 1, "{words:?}: {stderr}");
        }
    }
}

/// What stands still takes no signal but SIGKILL and SIGCONT: the request is not lost, and is obeyed when foster goes on.
#[test]
fn a_suspended_foster_obeys_a_stop_request_when_it_is_continued() {
    if !namespaces() {
        return;
    }
    let hostile_program = example("hostile");
    for binary in binaries() {
        let job = ["setsid", "--wait", hostile_program.to_str().unwrap(), "job"];
        let run = Foster::new(&binary, Place::Subreaper).after(&job).fixture(&["wait-to-die"]);
        run.expect("ready");
        let foster = only_child(run.foster_pid());
        assert_eq!(name(foster), binary.file_name().unwrap().to_str().unwrap());
        send(foster, SIGTSTP);
        poll("foster stands still", || state(foster) == 'T');
        send(foster, SIGTERM);
        send(foster, SIGCONT);
        run.expect("job killed 15");
        run.finish();
    }
}

/// Its own tests have it: with -c the child is not in a session of its own, and both of them are suspended.
#[test]
fn dumb_init_for_one_child_forwards_sigtstp_and_is_suspended_too() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let scratch = Scratch::new("dumb-init");
        let link = scratch.path("dumb-init");
        std::os::unix::fs::symlink(&binary, &link).unwrap();
        for init in [Path::new("/usr/bin/dumb-init"), &link] {
            if !init.exists() {
                skipped("no dumb-init to compare with");
                continue;
            }
            for (option, variable) in [("-c", "1"), ("-v", "0")] {
                let run = Foster::new(init, Place::Subreaper).option(option).env("DUMB_INIT_SETSID", variable);
                let run = run.fixture(&["signals"]);
                run.expect("command ready");
                let dumb_init = run.foster_pid();
                send(dumb_init, SIGTSTP);
                run.expect("command got 20");
                poll(&format!("{} stands still", init.display()), || state(dumb_init) == 'T');
                send(dumb_init, SIGCONT);
                poll("it goes on", || state(dumb_init) == 'S');
            }
        }
    }
}

/// SIGKILL that the kernel has refused is nothing to wait for.
#[test]
fn without_cap_kill_a_leftover_of_another_user_is_named_and_not_waited_for() {
    if !is_root() {
        return;
    }
    let setpriv = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--"];
    everywhere(|binary, place| {
        for options in [&["-v"][..], &["-v", "-k", "2"]] {
            let start = Instant::now();
            let foster = Foster::new(binary, place).with_machines_users().after(&setpriv).options(options);
            let run = hostile(foster, &["leave-another-users"]);
            let Some(Finished { end, stderr, .. }) = ends_within(run, SLACK) else {
                panic!("{options:?}: waits for it, {:?}", start.elapsed())
            };
            assert_eq!(end, End::Exited(4), "{options:?}: {stderr}");
            assert!(start.elapsed() < Duration::from_secs(2), "{options:?}: waited for it, {:?}", start.elapsed());
            assert!(!stderr.contains("sent to all of them"), "{options:?}: {stderr}");
            let names_it = |line: &str| {
                line.contains(" (hostile") && line.contains("may not signal 1 process (it needs cap_kill)")
            };
            assert!(stderr.lines().any(|line| names_it(&line.to_lowercase())), "{options:?}: {stderr}");
        }
    });
}

/// And when they have ended, the other user's is not.
#[test]
fn without_cap_kill_those_whom_foster_may_signal_are_waited_for_all_the_same() {
    if !is_root() {
        return;
    }
    let setpriv = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--"];
    everywhere(|binary, place| {
        let foster = Foster::new(binary, place).with_machines_users().after(&setpriv);
        let run = hostile(foster, &["leave-another-users-and-own"]);
        run.expect("own has ended");
        let Some(Finished { end, stderr, .. }) = ends_within(run, SLACK) else { panic!("waits for the other user's") };
        assert_eq!(end, End::Exited(4), "{stderr}");
        assert!(stderr.contains("foster may not signal 1 process (it needs CAP_KILL): "), "{stderr}");
    });
}

/// When a signal of tgkill(2), or a real-time signal, finds the queue full, the kernel drops who sent it: what is left looks
/// as if it came from outside.
#[test]
fn a_sender_that_the_kernel_has_dropped_is_not_said_to_be_outside() {
    everywhere(|binary, place| {
        for (act, name) in [("kill", "SIGRTMIN+6"), ("tgkill", "SIGUSR1")] {
            let foster = Foster::new(binary, place).after(&["prlimit", "--sigpending=0"]).option("-v");
            let Finished { end, stderr, .. } = hostile(foster, &["send-to-foster", act]).finish();
            assert_eq!(end, End::Exited(7), "{stderr}");
            assert!(stderr.contains(&format!("{name} ")), "{stderr}");
            assert!(!stderr.contains(&format!("{name} from {} forwarded", place.outside())), "{stderr}");
        }
    });
}
