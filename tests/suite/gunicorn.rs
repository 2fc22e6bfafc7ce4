//! The real gunicorn, which as PID 1 took every orphan for a worker of its own (benoitc/gunicorn#3566): under foster
//! the orphans are foster's, the workers gunicorn's, and the signals that steer gunicorn reach it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::mpsc::{TryRecvError, channel};

use crate::harness::{
    DEADLINE, End, Foster, Place, Run, Scratch, children, everywhere, namespaces, only_child, poll, send, skipped,
};

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

/// What the workers run. It says on stdout that it is loaded, which is after the worker has its signal handlers.
const APP: &str = r#"
import os
import time
from urllib.parse import parse_qsl


def orphan(exit=None, signal=None):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        middle = os.getpid()
        grandchild = os.fork()
        if grandchild == 0:
            with open("/proc/self/comm", "w") as comm:
                comm.write("stray")
            # Not before it is an orphan: until then it is not PID 1's to reap.
            while os.getppid() == middle:
                os.sched_yield()
            if signal:
                os.kill(os.getpid(), int(signal))
            os._exit(int(exit))
        os.write(writer, str(grandchild).encode())
        os._exit(0)
    pid = os.read(reader, 20).decode()
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    return pid


def hang():
    while True:
        time.sleep(1000)


def exists(pid):
    try:
        os.kill(int(pid), 0)
        return "yes"
    except ProcessLookupError:
        return "no"


def app(environ, start_response):
    views = {"/": lambda: "hello", "/hang": hang, "/orphan": orphan, "/exists": exists}
    body = views[environ["PATH_INFO"]](**dict(parse_qsl(environ["QUERY_STRING"]))).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


os.write(1, b"worker %d\n" % os.getpid())
"#;

/// An orphan: how the app is asked for it, and what foster says of it.
struct Orphan {
    query: &'static str,
    death: &'static str,
}

const EXITS_23: Orphan = Orphan { query: "exit=23", death: "exited with status 23" };
/// What a worker exits with that could not boot, for which gunicorn gives up.
const EXITS_3: Orphan = Orphan { query: "exit=3", death: "exited with status 3" };
const KILLED: Orphan = Orphan { query: "signal=9", death: "killed by SIGKILL (signal 9)" };

/// Where `make test` installs what it needs from PyPI.
pub fn venvs() -> PathBuf {
    match std::env::var_os("TEST_VENVS") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv"),
    }
}

/// Pythons with a gunicorn: 23.0.0, which has the bug, and the newest, which has not. In CI they must be there.
pub fn pythons() -> &'static [PathBuf] {
    static FOUND: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
        let venvs = venvs();
        let pythons = ["23.0.0", "latest"].map(|version| venvs.join(format!("gunicorn-{version}/bin/python")));
        if pythons.iter().all(|python| python.exists()) {
            return pythons.into();
        }
        assert!(std::env::var_os("CI").is_none(), "CI, and no gunicorn in {}", venvs.display());
        skipped(&format!("no gunicorn in {} (make test installs it), so foster is not run with it", venvs.display()));
        Vec::new()
    });
    &FOUND
}

/// The gunicorn that has the bug.
fn gunicorn_23() -> Option<&'static Path> {
    namespaces().then(|| pythons().first().map(PathBuf::as_path)).flatten()
}

/// Runs a test with every gunicorn under every foster in every place.
fn under_foster(test: impl Fn(Foster, &Path)) {
    everywhere(|binary, place| pythons().iter().for_each(|python| test(Foster::new(binary, place), python)));
}

/// A gunicorn that runs. Dropping it ends it before its files are removed.
struct Gunicorn {
    run: Run,
    /// Its PID outside its namespace.
    master: i32,
    socket: PathBuf,
    _files: Scratch,
}

impl Gunicorn {
    /// As foster's command.
    fn under(foster: Foster, python: &Path) -> Gunicorn {
        Gunicorn::under_with(foster, python, &[])
    }

    fn under_with(foster: Foster, python: &Path, options: &[&str]) -> Gunicorn {
        Gunicorn::start(foster, &[python.as_os_str()], options, |run| only_child(run.foster_pid()))
    }

    /// As PID 1 itself, where foster would be.
    fn alone(python: &Path) -> Gunicorn {
        Gunicorn::start(Foster::new(python, Place::Pid1), &[], &[], Run::foster_pid)
    }

    fn start(foster: Foster, python: &[&OsStr], options: &[&str], master: impl Fn(&Run) -> i32) -> Gunicorn {
        let files = Scratch::new("gunicorn");
        files.file("app.py", APP.as_bytes(), "644");
        let socket = files.path("sock");
        let bind = format!("unix:{}", socket.display());
        // Its debug level, because that is where a newer gunicorn mentions a child that it does not know.
        let words = ["-m", "gunicorn", "--workers=2", "--graceful-timeout=5", "--log-level=debug", "app:app"];
        let directory = files.path("");
        let more = [OsStr::new("--bind"), bind.as_ref(), "--chdir".as_ref(), directory.as_os_str()];
        let command: Vec<&OsStr> = python
            .iter()
            .copied()
            .chain(words.map(OsStr::new))
            .chain(options.iter().map(OsStr::new))
            .chain(more)
            .collect();
        // Newer versions put a control socket below the home directory.
        let foster = ["HOME", "XDG_RUNTIME_DIR"].iter().fold(foster, |foster, name| foster.env(name, &directory));
        let run = foster.env("PYTHONDONTWRITEBYTECODE", "1").run(&command);
        // Each worker once: so both are there, and gunicorn's PID is known.
        let booted = BTreeSet::from([next_worker(&run), next_worker(&run)]);
        let gunicorn = Gunicorn { master: master(&run), run, socket, _files: files };
        gunicorn.has_workers(&booted);
        gunicorn
    }

    fn get(&self, path: &str) -> String {
        get(&self.socket, path)
    }

    /// Makes an orphan, which dies at once; returns its PID.
    fn orphan(&self, orphan: &Orphan) -> i32 {
        self.get(&format!("/orphan?{}", orphan.query)).parse().expect("a pid")
    }

    /// Waits until somebody has reaped an orphan: until then its PID is taken, if only by a zombie.
    fn reaped(&self, pid: i32) {
        poll(&format!("orphan {pid} is reaped"), || self.get(&format!("/exists?pid={pid}")) == "no");
    }

    /// The workers that gunicorn has: PIDs inside and outside its namespace.
    fn workers(&self) -> Vec<(i32, i32)> {
        let inside = |outside: i32| {
            let status = std::fs::read_to_string(format!("/proc/{outside}/status")).ok()?;
            let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            pids.split_whitespace().next_back()?.parse().ok()
        };
        children(self.master).into_iter().filter_map(|outside| Some((inside(outside)?, outside))).collect()
    }

    fn worker_pids(&self) -> BTreeSet<i32> {
        self.workers().into_iter().map(|(inside, _)| inside).collect()
    }

    fn has_workers(&self, expected: &BTreeSet<i32>) {
        poll(&format!("workers are {expected:?}"), || self.worker_pids() == *expected);
    }

    /// Kills a real worker, as the OOM killer would; waits for the next one and returns the PID of the dead.
    fn kill_a_worker(&self) -> i32 {
        let mut workers = self.workers();
        let (dead, outside) = workers.remove(0);
        send(outside, SIGKILL);
        let next = next_worker(&self.run);
        self.has_workers(&workers.iter().map(|(inside, _)| *inside).chain([next]).collect());
        dead
    }

    /// One worker more. Its line comes after anything that gunicorn had to say of an orphan reaped before: a SIGCHLD
    /// is taken before a SIGTTIN.
    fn grow(&self) -> i32 {
        self.run.signal(SIGTTIN);
        let pid = next_worker(&self.run);
        self.says(&format!("Booting worker with pid: {pid}"));
        pid
    }

    fn says(&self, text: &str) {
        self.run.says(text);
    }

    /// Ends gunicorn gracefully with the first process of its namespace, and returns all that was on stderr.
    fn stop(self) -> String {
        assert_eq!(self.get("/"), "hello");
        self.run.signal(SIGTERM);
        let finished = self.run.finish();
        assert_eq!(finished.end, End::Exited(0), "{finished:?}");
        let stderr = finished.stderr;
        assert!(stderr.contains("Handling signal: term") && stderr.contains("Shutting down: Master"), "{stderr}");
        stderr
    }
}

/// The PID of the next worker that is ready.
fn next_worker(run: &Run) -> i32 {
    let line = run.line();
    let pid = line.strip_prefix("worker ").unwrap_or_else(|| panic!("{line}; stderr: {}", run.stderr()));
    pid.parse().expect("a pid")
}

/// One HTTP request, which must be answered.
pub fn get(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("gunicorn listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
    assert!(head.lines().next().is_some_and(|status| status.ends_with(" 200 OK")), "{path}: {answer:?}");
    body.into()
}

/// Sends one request after the other while something else goes on. Each must be answered.
fn answered_throughout(socket: &Path, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        // Dropped by a panic of `meanwhile` too, so that the client ends in any case.
        let (stop, stopped) = channel::<()>();
        let client = scope.spawn(move || {
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                assert_eq!(get(socket, "/"), "hello");
            }
        });
        meanwhile();
        drop(stop);
        client.join().expect("every request was answered");
    });
}

/// The messages of gunicorn's lines with a level that wakes somebody up.
fn alarms(stderr: &str) -> Vec<&str> {
    let levels = ["] [WARNING] ", "] [ERROR] ", "] [CRITICAL] "];
    stderr.lines().filter_map(|line| levels.iter().find_map(|level| Some(line.split_once(level)?.1))).collect()
}

/// Lines of gunicorn's, at any level, that speak of a process.
fn mentions(stderr: &str, pid: i32) -> Vec<&str> {
    let speaks = |line: &&str| {
        let message = line.splitn(4, "] ").last().unwrap_or_default();
        message.contains("pid") && message.split(|c: char| !c.is_ascii_digit()).any(|word| word == pid.to_string())
    };
    stderr.lines().filter(|line| !line.starts_with("foster[")).filter(speaks).collect()
}

fn fosters_lines(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("foster[")).collect()
}

/// What foster says of an orphan at debug, with nothing left out.
fn assert_said_in_full(stderr: &str, pid: i32, orphan: &Orphan) {
    let start = format!("]: debug: reaped orphan {pid} (stray): {}, age ", orphan.death);
    let lines: Vec<&str> = fosters_lines(stderr).into_iter().filter(|line| line.contains(&start)).collect();
    let full = |line: &str| line.contains(" s, CPU 0.") && line.contains(" s, max RSS ") && line.ends_with(" KiB");
    assert!(lines.len() == 1 && full(lines[0]), "once and in full, {start:?}: {stderr}");
}

/// Makes orphans, and perhaps kills a worker while they die, under a foster that says it and under one that does not.
fn orphans_are_fosters(orphans: &[Orphan], with_a_worker: bool) {
    under_foster(|foster, python| orphans_are_said(foster.option("-vv"), python, orphans, with_a_worker, true));
    under_foster(|foster, python| orphans_are_said(foster, python, orphans, with_a_worker, false));
}

fn orphans_are_said(foster: Foster, python: &Path, orphans: &[Orphan], with_a_worker: bool, aloud: bool) {
    let gunicorn = Gunicorn::under(foster, python);
    let pids: Vec<i32> = orphans.iter().map(|orphan| gunicorn.orphan(orphan)).collect();
    let dead = with_a_worker.then(|| gunicorn.kill_a_worker());
    pids.iter().for_each(|pid| gunicorn.reaped(*pid));
    gunicorn.grow();
    let stderr = gunicorn.stop();

    // gunicorn's own worker is gunicorn's to report, and nothing else is.
    let expected: Vec<_> = dead.iter().map(|pid| format!("Worker (pid:{pid}) was sent SIGKILL")).collect();
    let alarms = alarms(&stderr);
    assert_eq!(alarms.len(), expected.len(), "{stderr}");
    assert!(alarms.iter().zip(expected).all(|(alarm, start)| alarm.starts_with(&start)), "{stderr}");
    pids.iter().for_each(|pid| assert_eq!(mentions(&stderr, *pid), [""; 0], "{stderr}"));

    if !aloud {
        assert_eq!(fosters_lines(&stderr), [""; 0], "nothing is said at the default level");
        return;
    }
    pids.iter().zip(orphans).for_each(|(pid, orphan)| assert_said_in_full(&stderr, *pid, orphan));
    let reaped = fosters_lines(&stderr).iter().filter(|line| line.contains("reaped orphan")).count();
    assert_eq!(reaped, pids.len(), "the orphans alone: {stderr}");
}

/// What foster is for: so the tests below can fail. One real worker and two strangers, and nobody can tell which.
#[test]
fn gunicorn_23_as_pid_1_reports_orphans_as_its_workers() {
    let Some(python) = gunicorn_23() else { return };
    let gunicorn = Gunicorn::alone(python);
    let workers = gunicorn.worker_pids();
    let exited = gunicorn.orphan(&EXITS_23);
    gunicorn.says(&format!("[ERROR] Worker (pid:{exited}) exited with code 23"));
    let killed = gunicorn.orphan(&KILLED);
    gunicorn.says(&format!("[ERROR] Worker (pid:{killed}) was sent SIGKILL!"));
    assert_eq!(gunicorn.worker_pids(), workers, "they still run, and the orphans were never among them");
    let dead = gunicorn.kill_a_worker();
    gunicorn.says(&format!("[ERROR] Worker (pid:{dead}) was sent SIGKILL!"));
    let stderr = gunicorn.stop();
    for pid in [exited, killed, dead] {
        assert!(alarms(&stderr).iter().any(|alarm| alarm.contains(&format!("(pid:{pid})"))), "{stderr}");
        assert_ne!(mentions(&stderr, pid), [""; 0], "{stderr}");
    }
    assert!(stderr.contains("Starting gunicorn 23.0.0"), "{stderr}");
}

/// The same mistake is an outage when the orphan's status is the one by which a worker says that it cannot boot.
#[test]
fn an_orphan_that_exits_with_3_ends_gunicorn_23_as_pid_1() {
    let Some(python) = gunicorn_23() else { return };
    let gunicorn = Gunicorn::alone(python);
    gunicorn.orphan(&EXITS_3);
    let finished = gunicorn.run.finish();
    assert_eq!(finished.end, End::Exited(3), "{finished:?}");
    assert!(finished.stderr.contains("Worker failed to boot."), "{finished:?}");
}

#[test]
fn an_orphan_that_exits_is_fosters() {
    orphans_are_fosters(&[EXITS_23, EXITS_3], false);
}

#[test]
fn an_orphan_that_is_killed_is_fosters() {
    orphans_are_fosters(&[KILLED], false);
}

#[test]
fn a_worker_that_is_killed_among_orphans_is_gunicorns() {
    orphans_are_fosters(&[EXITS_23, KILLED, EXITS_3, KILLED], true);
}

#[test]
fn sighup_to_foster_reloads_gunicorn_without_losing_a_request() {
    under_foster(|foster, python| {
        let gunicorn = Gunicorn::under(foster, python);
        let (socket, old) = (gunicorn.socket.clone(), gunicorn.worker_pids());
        answered_throughout(&socket, || {
            gunicorn.run.signal(SIGHUP);
            let new = BTreeSet::from([next_worker(&gunicorn.run), next_worker(&gunicorn.run)]);
            assert!(new.is_disjoint(&old), "{new:?} are new, not {old:?}");
            gunicorn.has_workers(&new);
        });
        let stderr = gunicorn.stop();
        assert!(stderr.contains("Handling signal: hup") && stderr.contains("Hang up: Master"), "{stderr}");
    });
}

/// Signals of the terminal's, which stop a process that does not handle them: neither foster nor gunicorn.
#[test]
fn sigttin_and_sigttou_to_foster_add_and_remove_a_worker() {
    under_foster(|foster, python| {
        let gunicorn = Gunicorn::under(foster, python);
        let two = gunicorn.worker_pids();
        let socket = gunicorn.socket.clone();
        answered_throughout(&socket, || {
            let three = two.iter().copied().chain([gunicorn.grow()]).collect();
            gunicorn.has_workers(&three);
            gunicorn.run.signal(SIGTTOU);
            gunicorn.says("Handling signal: ttou");
            poll("one worker less", || gunicorn.workers().len() == 2);
            assert!(gunicorn.worker_pids().is_subset(&three), "none is new");
        });
        gunicorn.stop();
    });
}

/// The other alarm that operators ask about: that is gunicorn's own doing, to a worker of its own, and foster has nothing
/// to add, at any level that tells of deaths.
#[test]
fn a_worker_that_hangs_is_gunicorns_to_end() {
    under_foster(|foster, python| {
        let gunicorn = Gunicorn::under_with(foster.option("-vv"), python, &["--timeout=1"]);
        let mut hanging = UnixStream::connect(&gunicorn.socket).expect("gunicorn listens");
        hanging.write_all(b"GET /hang HTTP/1.0\r\n\r\n").expect("a request");
        gunicorn.says("[CRITICAL] WORKER TIMEOUT (pid:");
        let next = next_worker(&gunicorn.run);
        poll("there are two workers again", || gunicorn.workers().len() == 2 && gunicorn.worker_pids().contains(&next));
        let stderr = gunicorn.stop();
        assert!(!stderr.contains("reaped orphan") && !stderr.contains("nobody asked"), "{stderr}");
    });
}
