//! Real masters that stop their own workers: celery, whose pool must not be signalled, and supervisord, which stops its
//! programs one after the other. As the command, behind a shell and behind two scripts, each beside a run that loses.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::LazyLock;

use crate::gunicorn::venvs;
use crate::harness::{
    End, Finished, Foster, Place, Run, Scratch, binaries, everywhere, fixture, namespaces, poll, skipped,
};
use crate::programs::{ask, connect, program, run};

const SIGTERM: i32 = 15;

/// A Python with celery and supervisor. In CI it must be there.
pub fn python() -> Option<&'static str> {
    static FOUND: LazyLock<Option<String>> = LazyLock::new(|| {
        let python = venvs().join("masters/bin/python");
        if python.exists() {
            return Some(text(&python));
        }
        assert!(std::env::var_os("CI").is_none(), "CI, and no {}", python.display());
        skipped(&format!("no {} (make test installs it), so no celery and no supervisord is run", python.display()));
        None
    });
    FOUND.as_deref()
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").into()
}

/// What stands between the init and the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Nothing,
    AShell,
    TwoScripts,
}

const ALL: [Behind; 3] = [Behind::Nothing, Behind::AShell, Behind::TwoScripts];
const SHELLS: [Behind; 2] = [Behind::AShell, Behind::TwoScripts];

impl Behind {
    /// The words that come before the master's. No shell executes the master in its own place: `:` is still to be run.
    fn words(self, files: &Scratch) -> Vec<String> {
        match self {
            Behind::Nothing => vec![],
            Behind::AShell => ["sh", "-c", "\"$@\"; :", "sh"].map(str::to_owned).into(),
            Behind::TwoScripts => {
                let inner = files.file("inner.sh", b"#!/bin/sh\n\"$@\"\n:\n", "755");
                let script = format!("#!/bin/sh\n{} \"$@\"\n:\n", inner.display());
                vec![text(&files.file("outer.sh", script.as_bytes(), "755"))]
            }
        }
    }

    /// Both masters exit with 0 when they were asked to stop. A shell without a trap is killed by the signal.
    fn assert_end(self, place: Place, finished: &Finished) {
        match self {
            Behind::Nothing => assert_eq!(finished.end, End::Exited(0), "{finished:?}"),
            Behind::AShell | Behind::TwoScripts => finished.assert_ended_by(place, SIGTERM),
        }
    }
}

/// Runs a test behind shells under every peer that there is, as PID 1, where a peer's end is everybody's.
fn behind_shells_of_peers(test: impl Fn(Foster, Behind)) {
    if !namespaces() {
        return;
    }
    for peer in ["tini", "dumb-init", "catatonit"].iter().filter_map(|name| program(&format!("usr/bin/{name}"))) {
        SHELLS.iter().for_each(|behind| test(Foster::new(&peer, Place::Pid1).option("--"), *behind));
    }
}

/// One task, sent when the worker is ready. It says on stdout that it runs, and is done once there is a file `gate`: so it
/// is the test that decides when.
const TASKS: &str = include_str!("../runtimes/servers/tasks.py");

/// A redis with its directory, which is celery's too.
struct Redis {
    run: Run,
    files: Scratch,
}

impl Redis {
    /// In a namespace of its own: it is still there when celery's init has ended.
    fn start(redis: &Path) -> Redis {
        let files = Scratch::new("celery");
        files.file("tasks.py", TASKS.as_bytes(), "644");
        let [directory, socket] = ["", "broker"].map(|name| text(&files.path(name)));
        let options = ["--port", "0", "--unixsocket", &socket, "--dir", &directory, "--save", ""];
        let redis = Redis { run: run(Foster::new(&binaries()[0], Place::Pid1), &[&[&text(redis)], &options]), files };
        redis.connect();
        redis
    }

    fn connect(&self) -> UnixStream {
        connect(&self.run, &self.files.path("broker"))
    }

    /// Those that no worker has taken, and those that one has taken and not acknowledged.
    fn tasks(&self) -> u32 {
        let mut client = self.connect();
        let mut count = |question: &[u8]| -> u32 {
            let answer = String::from_utf8(ask(&mut client, question, b"\r\n")).expect("UTF-8");
            let count = answer.trim_end().strip_prefix(':').and_then(|count| count.parse().ok());
            count.unwrap_or_else(|| panic!("a number, not {answer:?}"))
        };
        count(b"LLEN celery\r\n") + count(b"HLEN unacked\r\n")
    }
}

/// A celery worker with a task that is running.
struct Celery {
    run: Run,
    redis: Redis,
    behind: Behind,
}

impl Celery {
    fn start(init: Foster, behind: Behind, python: &str, redis: &Path) -> Celery {
        let redis = Redis::start(redis);
        let directory = text(&redis.files.path(""));
        let worker = [python, "-m", "celery", "--workdir", &directory, "--app=tasks", "worker", "--concurrency=2"];
        // Without what the workers of one redis tell each other: this one is alone.
        let alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"];
        let before = behind.words(&redis.files);
        let command: Vec<&str> = before.iter().map(String::as_str).chain(worker).chain(alone).collect();
        let run = init.env("HOME", &directory).env("PYTHONDONTWRITEBYTECODE", "1").run(&command);
        run.lines_before("task started");
        // By default celery acknowledges a task when a worker has begun it. From then on nobody else can do it.
        poll("the task is acknowledged", || redis.tasks() == 0);
        Celery { run, redis, behind }
    }

    /// Waits for the end, without the gate.
    fn loses_its_task(self, place: Place) {
        let finished = self.run.finish();
        self.behind.assert_end(place, &finished);
        assert!(!finished.lines.iter().any(|line| line == "task done"), "{:?}: {finished:?}", self.behind);
        assert_eq!(self.redis.tasks(), 0, "nobody will ever do it");
    }
}

#[test]
fn celery_finishes_its_task_as_the_command_behind_a_shell_and_behind_two_scripts() {
    let (Some(python), Some(redis)) = (python(), program("usr/bin/redis-server")) else { return };
    everywhere(|binary, place| {
        for behind in ALL {
            let celery = Celery::start(Foster::new(binary, place), behind, python, &redis);
            celery.run.signal(SIGTERM);
            celery.run.lines_before("worker: Warm shutdown (MainProcess)");
            celery.redis.files.file("gate", b"", "644");
            let finished = celery.run.finish();
            behind.assert_end(place, &finished);
            assert!(finished.lines.iter().any(|line| line == "task done"), "{behind:?}: {finished:?}");
            assert!(!finished.stderr.contains("WorkerLostError"), "{behind:?}: {finished:?}");
        }
    });
}

/// So the test above can fail: these end with the shell, and the kernel kills celery with them.
#[test]
fn behind_a_shell_the_peers_lose_celerys_task() {
    let (Some(python), Some(redis)) = (python(), program("usr/bin/redis-server")) else { return };
    behind_shells_of_peers(|peer, behind| {
        let celery = Celery::start(peer, behind, python, &redis);
        celery.run.signal(SIGTERM);
        celery.loses_its_task(Place::Pid1);
    });
}

/// A signal to the whole group ends celery's pool. Its master says so, stops as it was asked to, and nobody does the task.
#[test]
fn with_the_whole_group_signalled_celery_loses_its_task() {
    let (Some(python), Some(redis)) = (python(), program("usr/bin/redis-server")) else { return };
    let loses = |init: Foster, place, behind| {
        let celery = Celery::start(init, behind, python, &redis);
        celery.run.signal(SIGTERM);
        celery.run.says("WorkerLostError('Worker exited prematurely: signal 15 (SIGTERM)");
        celery.loses_its_task(place);
    };
    everywhere(|binary, place| {
        ALL.iter().for_each(|behind| loses(Foster::new(binary, place).option("-g"), place, *behind))
    });
    if let (true, Some(dumb_init)) = (namespaces(), program("usr/bin/dumb-init")) {
        loses(Foster::new(&dumb_init, Place::Pid1), Place::Pid1, Behind::Nothing);
    }
}

/// supervisord stops the programs with the higher priority first, and asks the next ones when those have ended. What it
/// says itself goes to `log`, so that stdout has the lines of the programs alone.
const SUPERVISORD: &str = "
[supervisord]
nodaemon=true
silent=true
logfile=DIRECTORYlog
pidfile=DIRECTORYpid
childlogdir=DIRECTORY

[program:back]
priority=10
command=FIXTURE warm DIRECTORYback
startsecs=0
stopwaitsecs=60
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0

[program:front]
priority=20
command=FIXTURE warm DIRECTORYfront
startsecs=0
stopwaitsecs=60
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
";

/// Starts supervisord with two programs, each a master whose worker has a task. A worker that is signalled loses it; it is
/// done once there is a file with the program's name.
fn supervisord(init: Foster, behind: Behind, python: &str) -> (Run, Scratch) {
    let files = Scratch::new("supervisord");
    let directory = text(&files.path(""));
    let configuration = SUPERVISORD.replace("DIRECTORY", &directory).replace("FIXTURE", &text(&fixture()));
    files.file("supervisord.conf", configuration.as_bytes(), "644");
    let configuration = text(&files.path("supervisord.conf"));
    let before = behind.words(&files);
    let words = [python, "-m", "supervisor.supervisord", "-c", &configuration];
    let command: Vec<&str> = before.iter().map(String::as_str).chain(words).collect();
    let run = init.env("PYTHONDONTWRITEBYTECODE", "1").run(&command);
    run.expect("worker: task started");
    run.expect("worker: task started");
    (run, files)
}

fn log(files: &Scratch) -> String {
    std::fs::read_to_string(files.path("log")).expect("supervisord's log")
}

/// Lets the tasks be done, of the first program and then of the second, and returns what supervisord has logged.
fn finishes_in_order(run: Run, files: &Scratch, behind: Behind, place: Place) -> String {
    files.file("front", b"", "644");
    run.expect("worker: task done");
    run.expect("master: warm shutdown");
    files.file("back", b"", "644");
    run.expect("worker: task done");
    let finished = run.finish();
    behind.assert_end(place, &finished);
    assert_eq!(finished.lines, [""; 0], "{behind:?}: {finished:?}");
    let log = log(files);
    let [front, back] = ["front", "back"].map(|name| log.find(&format!("stopped: {name} (exit status 0)")));
    assert!(front.is_some() && front < back, "{behind:?}: {log}");
    log
}

#[test]
fn supervisord_stops_its_programs_in_order_as_the_command_and_behind_shells() {
    let Some(python) = python() else { return };
    everywhere(|binary, place| {
        for behind in ALL {
            let (run, files) = supervisord(Foster::new(binary, place), behind, python);
            run.signal(SIGTERM);
            run.expect("master: warm shutdown");
            finishes_in_order(run, &files, behind, place);
        }
    });
}

/// supervisord gives each program a process group of its own, so a signal to foster's command's group reaches no program.
/// Behind a shell it is asked by that signal, and once: it says each time that it is asked.
#[test]
fn with_the_whole_group_signalled_supervisord_is_asked_once_and_stops_its_programs_in_order() {
    let Some(python) = python() else { return };
    everywhere(|binary, place| {
        for behind in ALL {
            let (run, files) = supervisord(Foster::new(binary, place).options(&["-g", "-v"]), behind, python);
            run.signal(SIGTERM);
            run.expect("master: warm shutdown");
            if behind != Behind::Nothing {
                // foster says this a second after it has come to the leftovers, so by now it would have asked again.
                run.says(", and no --grace limits that: ");
            }
            let log = finishes_in_order(run, &files, behind, place);
            assert_eq!(log.matches("received SIGTERM").count(), 1, "{behind:?}: {log}");
        }
    });
}

/// So the test above can fail: a second request is said a second time.
#[test]
fn supervisord_says_each_time_that_it_is_asked() {
    let Some(python) = python() else { return };
    everywhere(|binary, place| {
        let (run, files) = supervisord(Foster::new(binary, place).option("-g"), Behind::AShell, python);
        for count in 1..=2 {
            run.signal(SIGTERM);
            poll("supervisord says that it was asked", || log(&files).matches("received SIGTERM").count() == count);
        }
        files.file("front", b"", "644");
        files.file("back", b"", "644");
        run.finish().assert_ended_by(place, SIGTERM);
    });
}

/// So the test above can fail: these end with the shell, and the kernel kills supervisord and its programs.
#[test]
fn behind_a_shell_the_peers_lose_the_tasks_of_supervisords_programs() {
    let Some(python) = python() else { return };
    behind_shells_of_peers(|peer, behind| {
        let (run, files) = supervisord(peer, behind, python);
        run.signal(SIGTERM);
        let finished = run.finish();
        behind.assert_end(Place::Pid1, &finished);
        assert!(!finished.lines.iter().any(|line| line == "worker: task done"), "{behind:?}: {finished:?}");
        let log = log(&files);
        assert!(!log.contains("stopped: "), "{behind:?}: {log}");
    });
}
