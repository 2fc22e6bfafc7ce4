//! An operator who reads only foster's lines knows who asked it to stop, whether a death is a deployment or an incident,
//! what was lost, and where to look next.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::cgroups::{Cgroup, words};
use crate::harness::{End, Finished, Foster, Place, Scratch, binaries, everywhere, fixture};

const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;

/// A directory of one test's own: tests run at the same time.
fn scratch() -> Scratch {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    Scratch::new(&format!("telling-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// The one line that has this text.
fn line_with<'a>(finished: &'a Finished, text: &str) -> &'a str {
    let lines: Vec<&str> = finished.stderr.lines().filter(|line| line.contains(text)).collect();
    assert_eq!(lines.len(), 1, "one line with {text:?}: {finished:?}");
    lines[0]
}

#[test]
fn at_the_default_level_a_crash_is_an_error_and_a_requested_stop_is_silent() {
    everywhere(|binary, place| {
        let finished = Foster::new(binary, place).run(&["sh", "-c", "ulimit -c 0; kill -SEGV $$"]).finish();
        finished.assert_ended_by(place, 11);
        let line = line_with(&finished, "error: ");
        let how = "error: incident: command sh was killed by SIGSEGV (signal 11), which foster did not send; no core dump, ran 0.";
        assert!(line.contains(how) && line.contains(" s, pid "), "{line}");

        let finished = Foster::new(binary, place).run(&["sh", "-c", "kill -TERM $PPID; exec sleep 30"]).finish();
        finished.assert_ended_by(place, SIGTERM);
        assert_eq!(finished.stderr, "", "that was asked for");
    });
}

#[test]
fn the_last_line_sums_up() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("-v").fixture(&["orphans", "4", "1", "apart"]);
        run.expect("reaped 4 zombies 0");
        let finished = run.finish();
        let summary = finished.stderr.lines().last().unwrap_or_default();
        let end = "]: info: finished: exit code 0; orphans reaped: 4; leftovers stopped: 0, killed: 0";
        assert!(summary.ends_with(end), "{finished:?}");

        let run = Foster::new(binary, place).options(&["-v", "-k1"]).fixture(&["leave", "stubborn", "plain", "setsid"]);
        let finished = run.finish();
        let summary = line_with(&finished, "info: finished: ");
        let end = "finished: exit code 4, the grace was over; orphans reaped: 0; leftovers stopped: 2, killed: 1";
        assert!(summary.ends_with(end), "{finished:?}");

        let run = Foster::new(binary, place).option("-v").run(&["sh", "-c", "kill -TERM $PPID; exec sleep 30"]);
        let finished = run.finish();
        let end = line_with(&finished, "info: asked to stop by SIGTERM from pid ");
        assert!(
            end.contains("): command sleep") || end.contains("): command sh was killed by SIGTERM (signal 15) after "),
            "{end}"
        );
        let how = if place == Place::Pid1 { "exit code 143" } else { "foster ends by SIGTERM too" };
        line_with(&finished, &format!("info: finished: {how}; orphans reaped: 0; "));
    });
}

/// In that /proc foster's numbers are other processes': no name and no age is better than theirs.
/// What an orphan used is the kernel's answer to wait4(2). On some machines the C library's has zeros in it.
#[test]
fn an_orphans_figures_are_its_own() {
    everywhere(|binary, place| an_orphan_with_figures(Foster::new(binary, place)));
}

/// An orphan that computes for a while: foster tells how long, and that a shell takes some memory.
pub fn an_orphan_with_figures(foster: Foster) {
    let orphan = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; exit 23";
    let finished = foster.options(&["-vv", "--wait"]).run(&["sh", "-c", &format!("(sh -c '{orphan}' &)")]).finish();
    let line = line_with(&finished, "exited with status 23");
    let figure = |before: &str, after: &str| {
        let rest = line.split_once(before).unwrap_or_else(|| panic!("{before:?} in {line}")).1;
        rest.split_once(after).unwrap().0.parse::<f64>().unwrap()
    };
    let (age, cpu, rss) = (figure("age ", " s"), figure("CPU ", " s"), figure("max RSS ", " KiB"));
    // A shell that computes takes the time that it lives, or less where it has to share the machine.
    assert!(cpu >= 0.005 && cpu <= age + 0.02, "{line}");
    assert!((300.0..100_000.0).contains(&rss), "{line}");
}

/// Everything may be called `sh`.
#[test]
fn shells_are_told_apart_by_what_they_run() {
    everywhere(|binary, place| {
        // No shell here starts a program: while it does, it is in an uninterruptible sleep (vfork(2)), and named alone. The
        // command goes on when the job says that it ignores SIGTERM, and is there until the signal comes back to it.
        let job = "sh -c 'trap \"\" TERM; echo ready; while :; do :; done' &";
        let script =
            format!("trap 'exit 0' USR1; {{ {job} }} | {{ read ready; }}; kill -USR1 $PPID; while :; do :; done");
        let run = |options: &[&str]| Foster::new(binary, place).options(options).run(&["sh", "-c", &script]).finish();
        let finished = run(&["-v", "--grace=200ms"]);
        let killed = line_with(&finished, "the grace is over, SIGKILL to ");
        assert!(killed.contains(" (sh -c trap \"\" TERM; echo ready; while "), "{killed}");
        assert!(killed.chars().count() < 160, "{killed}");
        let sent = line_with(&finished, "info: SIGUSR1 from pid ");
        assert!(sent.contains(" (sh -c ") && sent.chars().count() < 160, "{sent}");

        let finished = run(&["-v", "--grace=200ms", "--log-format=json"]);
        let lines = parsed(&finished.stderr);
        let killed = &event(&lines, "grace_over")["processes"];
        let shell = killed.as_array().unwrap().iter().find(|process| process["name"] == "sh").expect("a shell");
        assert!(shell["arguments"].as_str().unwrap().starts_with("-c trap \"\" TERM; "), "{killed}");
        let sent = event(&lines, "forwarded");
        assert_eq!(sent["sender_name"], "sh", "{sent}");
        assert!(sent["sender_arguments"].as_str().unwrap().starts_with("-c "), "{sent}");
    });
}

#[test]
fn with_another_namespaces_proc_nobody_is_named() {
    everywhere(|binary, place| {
        let inner = ["unshare", "--pid", "--fork", "--kill-child"];
        let new = || Foster::new(binary, place).after(&inner);
        // It ends when foster has sent the signal on, and so has had it.
        let script = "trap 'had=1' USR1; kill -USR1 $PPID; until [ \"$had\" ]; do :; done; (sh -c 'exit 3' &)";
        let finished = new().option("-vvv").run(&["sh", "-c", script]).finish();
        assert_eq!(finished.end, End::Exited(0));
        let received = line_with(&finished, "received SIGUSR1 ");
        assert!(received.ends_with(": trace: received SIGUSR1 from pid 2 (uid 0)"), "{received}");
        let orphan = line_with(&finished, "reaped orphan ");
        assert!(orphan.contains("reaped orphan 4: ") && !orphan.contains(" age "), "{orphan}");

        let finished = new().option("-k0").fixture(&["leave", "stubborn"]).finish();
        assert_eq!(finished.end, End::Exited(4));
        line_with(&finished, "the grace is over, SIGKILL to processes that could not be named");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    });
}

#[test]
fn the_termination_log_has_the_reason_of_an_abnormal_end_alone() {
    everywhere(|binary, place| {
        let files = scratch();
        let log = files.path("log");
        let reason = |options: &[&str], command: &[&str]| {
            std::fs::write(&log, "the app's own words").unwrap();
            // Found from the directory that foster was started in, which is / a moment later.
            let directory = files.path("");
            let start = ["sh", "-c", "cd \"$0\" && exec \"$@\"", directory.to_str().unwrap()];
            Foster::new(binary, place)
                .after(&start)
                .option("--termination-log=log")
                .options(options)
                .run(command)
                .finish();
            let written = std::fs::read_to_string(&log).unwrap();
            written.strip_prefix("the app's own words").expect("what was there stays").to_owned()
        };
        let because = reason(&[], &["sh", "-c", "kill -KILL $$"]);
        assert!(
            because.starts_with(
                "\nfoster: incident: command sh was killed by SIGKILL (signal 9), which foster did not send; ran 0."
            ),
            "{because}"
        );
        let summary = "\nfoster: finished: exit code 137; orphans reaped: 0; leftovers stopped: 0, killed: 0\n";
        let by_signal =
            "\nfoster: finished: foster ends by SIGKILL too; orphans reaped: 0; leftovers stopped: 0, killed: 0\n";
        assert!(because.ends_with(if place == Place::Pid1 { summary } else { by_signal }), "{because}");
        let failed = reason(&[], &["sh", "-c", "exit 3"]);
        assert!(failed.starts_with("\nfoster: command sh exited with status 3; ran "), "{failed}");
        assert!(failed.lines().all(|line| line.chars().count() < 160) && failed.lines().count() == 3, "{failed}");
        let not_run = "\nfoster: cannot run '/nonexistent/app': no such file or directory\n";
        assert_eq!(reason(&[], &["/nonexistent/app"]), not_run);
        // The request was still held, so nobody had asked the command.
        let held = reason(&["--stop-delay=600s"], &["sh", "-c", "kill -TERM $PPID; exit 3"]);
        assert!(held.starts_with("\nfoster: command sh exited with status 3; "), "{held}");
        let program = fixture();
        let stubborn = reason(&["-k", "0.2"], &[program.to_str().unwrap(), "leave", "stubborn"]);
        assert!(
            stubborn.contains("finished: exit code 4, the grace was over; ") && stubborn.ends_with("killed: 1\n"),
            "{stubborn}"
        );

        assert_eq!(reason(&[], &["true"]), "");
        assert_eq!(reason(&["-e3"], &["sh", "-c", "exit 3"]), "");
        assert_eq!(reason(&[], &["sh", "-c", "kill -TERM $PPID; exec sleep 30"]), "", "a requested stop");
    });
}

#[test]
fn a_termination_log_that_cannot_be_written_is_a_warning() {
    everywhere(|binary, place| {
        let files = scratch();
        let fifo = files.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Nobody reads the FIFO: opening it as usual would wait for ever.
        for (path, why) in
            [("/nonexistent/log", "No such file or directory"), (fifo.to_str().unwrap(), "No such device or address")]
        {
            let run = Foster::new(binary, place).options(&["--termination-log", path]).run(&["sh", "-c", "exit 5"]);
            let finished = run.finish();
            assert_eq!(finished.end, End::Exited(5));
            let line = line_with(&finished, "warning: ");
            assert!(line.ends_with(&format!("the termination log {path} cannot be written: {why}")), "{line}");
            let run =
                Foster::new(binary, place).options(&["--log-format=json", "--termination-log", path]).run(&["true"]);
            assert_eq!(event(&parsed(&run.finish().stderr), "degraded")["path"], path);
        }
    });
}

/// Every line of stderr as JSON; none may be anything else.
fn parsed(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn event<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event} in {lines:?}"))
}

#[test]
fn json_lines_parse_whatever_the_names_are() {
    everywhere(|binary, place| {
        let files = scratch();
        let name = std::ffi::OsStr::from_bytes(b"a \"b\"\n\\\xff\t");
        // An orphan with a name of that kind, a stop request, and an end by it.
        let script = "#!/bin/sh\n(sh -c 'printf \"q\\\"\\\\\\\\\\n\\377\" >/proc/$$/comm; exit 3' &)\nkill -TERM $PPID; exec sleep 30\n";
        let path = files.path("x").with_file_name(name);
        std::fs::rename(files.file("plain", script.as_bytes(), "755"), &path).unwrap();
        let run =
            Foster::new(binary, place).options(&["-vvv", "--log-format=json", "--stop-delay=100ms"]).run(&[&path]);
        let finished = run.finish();
        finished.assert_ended_by(place, SIGTERM);
        let lines = parsed(&finished.stderr);
        let shown = format!("{}/a \"b\"\\n\\\\xff\\t", path.parent().unwrap().display());
        let orphan = event(&lines, "orphan");
        assert_eq!((&orphan["name"], &orphan["exit_status"]), (&"q\"\\\\n\\xff".into(), &3.into()), "{orphan}");
        assert!(orphan["age_s"].is_f64() && orphan["cpu_s"].is_f64() && orphan["max_rss_kib"].is_u64(), "{orphan}");
        let held = event(&lines, "held");
        assert_eq!(
            (&held["sender"], &held["sender_uid"], &held["delay_s"]),
            (&"process".into(), &0.into(), &0.1.into())
        );
        let ended = event(&lines, "command_ended");
        assert_eq!((&ended["command"], &ended["signal_number"]), (&shown.into(), &SIGTERM.into()), "{ended}");
        assert_eq!((&ended["cause"], &ended["stop_signal"]), (&"stop_request".into(), &"SIGTERM".into()), "{ended}");
        let finished = event(&lines, "finished");
        assert_eq!((&finished["orphans_reaped"], &finished["grace_over"]), (&1.into(), &false.into()), "{finished}");
        for line in &lines {
            assert!(line["time"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{line}");
            assert!(line["level"].is_string() && line["message"].is_string() && line["foster_pid"].is_u64(), "{line}");
        }
    });
}

#[test]
fn json_is_what_a_refusal_and_a_failed_start_are_too() {
    for binary in binaries() {
        let run = |args: &[&str], env: &[(&str, &str)]| {
            let mut foster = Command::new(&binary);
            foster.args(args).env_remove("FOSTER_LOG").envs(env.iter().copied());
            let output = crate::harness::plainly(&mut foster);
            let [line] = &parsed(&String::from_utf8(output.stderr).unwrap())[..] else { panic!("one line") };
            (output.status.code(), line.clone())
        };
        for (args, env) in [
            (&["--log-format=json", "--grace=x", "true"][..], &[][..]),
            (&["--grace=x", "true"], &[("FOSTER_LOG_FORMAT", "json")]),
        ] {
            let (code, line) = run(args, env);
            assert_eq!(
                (code, &line["event"], &line["level"]),
                (Some(125), &"refused".into(), &"error".into()),
                "{line}"
            );
        }
        let (code, line) = run(&["--log-format", "json", "/nonexistent/app"], &[]);
        assert_eq!(
            (code, &line["event"], &line["exit_code"]),
            (Some(127), &"not_started".into(), &127.into()),
            "{line}"
        );
    }
}

/// A FIFO that is foster's stderr, with room for one page.
struct SmallPipe {
    path: PathBuf,
    reader: File,
}

impl SmallPipe {
    #[allow(unsafe_code)]
    fn new(files: &Scratch) -> SmallPipe {
        let path = files.path("stderr");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // For reading and writing, so that the open does not wait; nothing is ever written here.
        let reader = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        // SAFETY: no pointer is passed.
        assert_eq!(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) }, 4096);
        SmallPipe { path, reader }
    }

    fn read(&mut self) -> String {
        let mut text = Vec::new();
        // EAGAIN once it is empty.
        let _ = self.reader.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    }
}

#[test]
fn lines_that_were_lost_are_counted_and_said_later() {
    everywhere(|binary, place| {
        let files = scratch();
        let mut stderr = SmallPipe::new(&files);
        let start = ["sh", "-c", "exec 2>\"$0\" \"$@\"", stderr.path.to_str().unwrap()];
        let run = Foster::new(binary, place).after(&start).option("-vvv").fixture(&["delay"]);
        run.expect("ready");
        // Far more than the pipe holds; each round is over when its orphans are reaped.
        for _ in 0..20 {
            run.signal(SIGUSR1);
            run.expect("reaped 5 zombies 0");
        }
        // What it holds is not the end: a short line may have fitted where a long one had not.
        let mut said = stderr.read();
        assert!(said.len() > 3000, "{said}");
        run.signal(SIGUSR2);
        assert_eq!(run.finish().end, End::Exited(7));
        said.push_str(&stderr.read());
        let lost = said.lines().filter_map(|line| line.split_once("lines lost because stderr was full or broken: "));
        let lost: usize = lost.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
        // Each round has five orphans, and a signal that is received and forwarded.
        assert!(said.lines().count() + lost > 20 * 7 && lost > 50, "{lost} lost: {said}");
        assert!(said.contains("info: finished: "), "{said}");
    });
}

/// Where foster has to look for its cgroup.
#[derive(Clone, Copy)]
enum Seen {
    /// It is all that is seen of v2's hierarchy, as in a container.
    Alone,
    /// /proc says where in v2's.
    InV2,
    /// /proc says where in v1's.
    InV1,
}

/// A cgroup tree that is none: ordinary files.
fn fake_cgroup(files: &Scratch, seen: Seen) -> (String, PathBuf) {
    let place = files.path("cg");
    std::fs::create_dir_all(place.join("app")).unwrap();
    let (kind, line, counter, content) = match seen {
        Seen::InV1 => ("cgroup cgroup rw,memory", "4:memory:/app\n", "memory.oom_control", "under_oom 0\noom_kill 2\n"),
        _ => ("cgroup2 cgroup2 rw", "0::/app\n", "memory.events", "low 0\noom 2\noom_kill 2\n"),
    };
    let mountinfo = format!("35 24 0:30 / {} rw shared:9 - {kind}\n", place.display());
    std::fs::write(files.path("mountinfo"), mountinfo).unwrap();
    std::fs::write(files.path("cgroup"), line).unwrap();
    std::fs::write(place.join("app/cgroup.controllers"), "cpu memory\n").unwrap();
    let counter = place.join("app").join(counter);
    std::fs::write(&counter, content).unwrap();
    // The shell's pid is going to be foster's.
    let prepare = match seen {
        Seen::Alone => {
            "echo $$ >\"$0/cg/app/cgroup.procs\" && mount --bind \"$0/cg/app\" /sys/fs/cgroup && exec \"$@\""
        }
        Seen::InV2 | Seen::InV1 => {
            "mount -t tmpfs none /sys/fs/cgroup && mount --bind \"$0/mountinfo\" /proc/$$/mountinfo && \
             mount --bind \"$0/cgroup\" /proc/$$/cgroup && exec \"$@\""
        }
    };
    (prepare.to_owned(), counter)
}

#[test]
fn an_end_by_sigkill_says_whether_the_oom_killer_was_at_work_meanwhile() {
    everywhere(|binary, place| {
        for seen in [Seen::Alone, Seen::InV2, Seen::InV1] {
            let ended = |count_rises: bool, script: &str| {
                let files = scratch();
                let (prepare, counter) = fake_cgroup(&files, seen);
                let directory = files.path("");
                let start = ["sh", "-c", &prepare, directory.to_str().unwrap()];
                let count = if count_rises { 5 } else { 2 };
                // Only foster's sleep for signals is an interruptible one: then it has looked at the count.
                let foster_sleeps = "until grep -q '^State:.S' /proc/$PPID/status; do :; done";
                let script = format!("{foster_sleeps}; echo oom_kill {count} >{}; {script}", counter.display());
                Foster::new(binary, place).after(&start).option("-vv").run(&["sh", "-c", &script]).finish()
            };
            let finished = ended(true, "kill -KILL $$");
            let rose = "out of memory (oom_kill rose by 3): ";
            line_with(&finished, &format!("error: {rose}command sh was killed by SIGKILL (signal 9); ran "));

            let finished = ended(true, "exit 137");
            line_with(&finished, &format!("warning: {rose}command sh exited with status 137; ran "));

            let orphans = format!("exec {} orphans 4 1 apart", fixture().display());
            let finished = ended(true, &orphans);
            let orphan = line_with(&finished, "): killed by SIGKILL");
            assert!(orphan.contains(&format!("debug: {rose}reaped orphan ")), "{finished:?}");
            assert_eq!(finished.stderr.matches("oom_kill").count(), 1, "of no other end: {finished:?}");

            let finished = ended(false, "kill -KILL $$");
            assert!(!finished.stderr.contains("oom"), "just SIGKILL: {finished:?}");
        }
    });
}

#[test]
fn a_real_oom_kill_is_called_one() {
    everywhere(|binary, place| {
        let Some(limit) = Cgroup::with_memory(&format!("{place:?}"), 33_554_432) else { return };
        let entering = limit.entering();
        let new = || Foster::new(binary, place).with_machines_users().after(&words(&entering));
        let finished = new().fixture(&["eat-memory"]).finish();
        finished.assert_ended_by(place, 9);
        let rose = "out of memory (oom_kill rose by 1): ";
        let line = line_with(&finished, &format!("error: {rose}command "));
        assert!(line.contains(" was killed by SIGKILL (signal 9); ran "), "{line}");

        let finished = new().option("-vv").fixture(&["orphan-eats-memory"]).finish();
        assert_eq!(finished.end, End::Exited(0));
        line_with(&finished, &format!("debug: {rose}reaped orphan "));
    });
}
