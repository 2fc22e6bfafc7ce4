//! What stops whom: foster asks the command alone, and what is left of it once the command has ended. Seen with a server
//! that a shell started without `exec`, a master whose workers are not to be signalled, and a daemon.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::gunicorn::{get, pythons};
use crate::harness::{DEADLINE, End, Foster, Place, Run, Scratch, everywhere, namespaces, poll};
use crate::programs::program;

const SIGTERM: i32 = 15;

/// /slow says on stdout that it is being worked on, and is answered once there is a file `gate`: so it is the test that
/// decides when.
const APP: &str = r#"
import os
import time


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        os.write(1, b"in flight\n")
        while not os.path.exists("gate"):
            time.sleep(0.002)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


os.write(1, b"loaded\n")
"#;

/// A gunicorn's directory.
struct Home {
    files: Scratch,
    directory: String,
    socket: PathBuf,
}

impl Home {
    fn new(name: &str) -> Home {
        let files = Scratch::new(name);
        files.file("app.py", APP.as_bytes(), "644");
        Home { directory: files.path("").to_str().expect("UTF-8").into(), socket: files.path("sock"), files }
    }

    /// Runs a gunicorn here, its command line as the last arguments of another command or of none.
    fn run(&self, init: Foster, before: &[&str], python: &Path, options: &[&str]) -> Run {
        let python = python.to_str().expect("UTF-8");
        let words = [python, "-m", "gunicorn", "--bind=unix:sock", "--chdir", &self.directory, "app:app"];
        // Newer versions put a control socket below the home directory.
        let init = init.env("HOME", &self.directory).env("XDG_RUNTIME_DIR", &self.directory);
        init.env("PYTHONDONTWRITEBYTECODE", "1").run(&[before, &words, options].concat())
    }

    /// A gunicorn that a shell started without `exec`, with a request in flight when the init is asked to stop.
    fn stop_in_flight(&self, init: Foster, python: &Path) -> (Run, UnixStream) {
        let run = self.run(init, &["sh", "-c", "\"$@\"; :", "sh"], python, &["--workers=2"]);
        run.expect("loaded");
        run.expect("loaded");
        let mut client = UnixStream::connect(&self.socket).expect("gunicorn listens");
        client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        client.write_all(b"GET /slow HTTP/1.0\r\n\r\n").expect("a request");
        run.expect("in flight");
        run.signal(SIGTERM);
        (run, client)
    }
}

/// All that comes until the server's end of the connection is closed, in whatever way.
fn answer(mut client: UnixStream) -> String {
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).expect("UTF-8")
}

/// Those processes that a process has at this moment.
fn children_now(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().expect("a pid")).collect()
}

/// A process, its children, and theirs, dead or alive.
fn family(pid: i32) -> Vec<i32> {
    [pid].into_iter().chain(children_now(pid).into_iter().flat_map(family)).collect()
}

fn assert_gone(pids: &[i32]) {
    let left: Vec<_> = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
    assert!(left.is_empty(), "of {pids:?} there are left: {left:?}");
}

#[test]
fn a_server_behind_a_shell_answers_the_request_in_flight() {
    everywhere(|binary, place| {
        for python in pythons() {
            let home = Home::new("behind-a-shell");
            let (run, client) = home.stop_in_flight(Foster::new(binary, place), python);
            run.says("Handling signal: term");
            let processes = family(run.foster_pid());
            assert!(processes.len() >= 3, "foster, master and the busy worker: {processes:?}");
            home.files.file("gate", b"", "644");
            let answer = answer(client);
            assert!(answer.ends_with("\r\n\r\nhello"), "{answer:?}, stderr: {}", run.stderr());
            let finished = run.finish();
            finished.assert_ended_by(place, SIGTERM);
            assert!(finished.stderr.contains("Shutting down: Master"), "{}", finished.stderr);
            assert_gone(&processes);
        }
    });
}

/// So the test above can fail: these end with the shell, and the kernel kills the server with them.
#[test]
fn behind_a_shell_the_peers_lose_the_request_in_flight() {
    if !namespaces() {
        return;
    }
    for init in ["tini", "dumb-init", "catatonit"].iter().filter_map(|name| program(&format!("usr/bin/{name}"))) {
        for python in pythons() {
            let home = Home::new("behind-a-shell-of-a-peer");
            let peer = Foster::new(&init, Place::Pid1).option("--");
            let (run, client) = home.stop_in_flight(peer, python);
            let finished = run.finish();
            finished.assert_ended_by(Place::Pid1, SIGTERM);
            assert_eq!(answer(client), "", "{} {finished:?}", init.display());
            assert!(!finished.stderr.contains("Shutting down: Master"), "{}", finished.stderr);
        }
    }
}

/// Stops a master of celery's kind while its worker has a task. Returns what the two say from then on, if the task can be
/// done from the moment on in which the master stops.
fn stop_in_a_task(init: Foster) -> Vec<String> {
    let files = Scratch::new("warm");
    let run = init.fixture(&["warm".as_ref(), files.path("gate").as_os_str()]);
    run.expect("worker: task started");
    run.signal(SIGTERM);
    run.expect("master: warm shutdown");
    // A worker that was signalled too is dead or about to die of it: nothing gets done with a signal pending.
    files.file("gate", b"", "644");
    let finished = run.finish();
    assert_eq!(finished.end, End::Exited(0), "{finished:?}");
    finished.lines
}

#[test]
fn a_masters_worker_finishes_its_task() {
    everywhere(|binary, place| assert_eq!(stop_in_a_task(Foster::new(binary, place)), ["worker: task done"]));
}

/// What happens to celery's tasks (celery/celery#4795), under dumb-init by default.
#[test]
fn with_the_whole_group_signalled_a_masters_worker_loses_its_task() {
    if !namespaces() {
        return;
    }
    let lost = ["master: task lost, worker killed by signal 15"];
    everywhere(|binary, place| assert_eq!(stop_in_a_task(Foster::new(binary, place).option("-g")), lost));
    if let Some(dumb_init) = program("usr/bin/dumb-init") {
        assert_eq!(stop_in_a_task(Foster::new(&dumb_init, Place::Pid1)), lost);
    }
}

/// Waits until foster has one child and that has four, none with children of its own: all of them.
fn master_and_four_workers(foster: i32) -> Vec<i32> {
    let mut all = Vec::new();
    poll("1 master and 4 workers", || {
        all = family(foster);
        let master = children_now(foster);
        all.len() == 6 && master.len() == 1 && children_now(master[0]).len() == 4
    });
    all
}

#[test]
fn a_daemon_stays_until_it_is_stopped_and_stops_whole_five_times_in_a_row() {
    everywhere(|binary, place| {
        for python in pythons() {
            let home = Home::new("daemon");
            (1..=5).for_each(|start| daemon(Foster::new(binary, place), &home, python, start));
        }
    });
}

fn daemon(foster: Foster, home: &Home, python: &Path, start: usize) {
    let options = ["--daemon", "--enable-stdio-inheritance", "--workers=4", "--pid=pid", "--log-file=log"];
    let run = home.run(foster.option("--wait").option("-v"), &[], python, &options);
    let awaited = "has ended and left processes behind; waiting for them, as --wait says";
    run.says(awaited);
    // Until it has loaded the app a worker has the master's signal handlers, and loses a SIGTERM. (Not foster's: from
    // whomever.) The master then kills it, after 30 s.
    (1..=4).for_each(|_| run.expect("loaded"));
    let processes = master_and_four_workers(run.foster_pid());
    assert_eq!(get(&home.socket, "/"), "hello");
    assert_eq!(family(run.foster_pid()), processes, "the same all the while");
    run.signal(SIGTERM);
    let finished = run.finish();
    assert_eq!(finished.end, End::Exited(0), "{finished:?}");
    assert_gone(&processes);
    // Gracefully, to the end: nothing that a next start could stumble over.
    let log = std::fs::read_to_string(home.files.path("log")).expect("gunicorn's log");
    assert_eq!(log.matches("Shutting down: Master").count(), start, "{log}");
    assert!(!home.socket.exists() && !home.files.path("pid").exists(), "{log}");
}
