//! A service as people write them in Rust, with signal-hook and env_logger (`tests/fixtures/service.rs`), is stopped as
//! gracefully behind a shell as without one, and its log stays its own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::harness::{DEADLINE, End, Foster, Place, Run, Scratch, binaries, everywhere, example, namespaces, poll};

const SIGTERM: i32 = 15;

/// The service alone, and started by a shell that does not exec it, as many images have it.
const DIRECT: &[&str] = &[];
const BEHIND_A_SHELL: &[&str] = &["sh", "-c", "\"$@\"; :", "sh"];

fn start(foster: Foster, before: &[&str], socket: &Path) -> Run {
    let service = example("service");
    let run = foster.run(&[before, &[service.to_str().unwrap(), socket.to_str().unwrap()]].concat());
    run.expect("listening");
    run
}

/// A connection to the service.
struct Client {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Client {
    fn new(socket: &Path) -> Client {
        let stream = UnixStream::connect(socket).expect("the service listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Client { answers: BufReader::new(stream.try_clone().expect("a second handle")), stream }
    }

    fn send(&mut self, line: &str) {
        writeln!(self.stream, "{line}").expect("sent");
    }

    /// The next line; empty when the service has closed the connection, or was killed.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn slow_request(socket: &Path) -> Client {
        let mut client = Client::new(socket);
        client.send("slow");
        assert_eq!(client.answer(), "working");
        client
    }
}

#[test]
fn the_request_in_work_is_answered_before_it_ends() {
    everywhere(|binary, place| {
        for before in [DIRECT, BEHIND_A_SHELL] {
            let files = Scratch::new("service");
            let socket = files.path("socket");
            let run = start(Foster::new(binary, place).env("RUST_LOG", "info"), before, &socket);
            let mut client = Client::slow_request(&socket);
            run.signal(SIGTERM);
            run.says("[INFO  service] signal 15: no new requests\n");
            client.send("now");
            assert_eq!(client.answer(), "done", "{before:?}: {}", run.stderr());
            let finished = run.finish();
            match before {
                [] => assert_eq!(finished.end, End::Exited(0)),
                // The shell has died of it.
                _ => finished.assert_ended_by(place, SIGTERM),
            }
            assert!(finished.stderr.ends_with("[INFO  service] every request is answered\n"), "{finished:?}");
        }
    });
}

/// foster called tini does as tini: it ends when the shell has ended, and the kernel kills the service.
#[test]
fn behind_a_shell_under_tini_the_request_is_lost() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        let files = Scratch::new("service");
        let (socket, tini) = (files.path("socket"), files.path("tini"));
        symlink(std::path::absolute(binary).unwrap(), &tini).unwrap();
        let run = start(Foster::new(&tini, Place::Pid1).env("RUST_LOG", "info"), BEHIND_A_SHELL, &socket);
        let mut client = Client::slow_request(&socket);
        run.signal(SIGTERM);
        assert_eq!(client.answer(), "");
        let finished = run.finish();
        assert_eq!((finished.end, &*finished.stderr), (End::Exited(128 + SIGTERM), ""));
    }
}

/// What both say of one request and the stop after it, with these variables.
fn said(binary: &Path, place: Place, rust_log: Option<&str>, foster_log: Option<&str>) -> (Vec<String>, Vec<String>) {
    let files = Scratch::new("service");
    let socket = files.path("socket");
    let mut foster = Foster::new(binary, place);
    for (name, value) in [("RUST_LOG", rust_log), ("FOSTER_LOG", foster_log)] {
        foster = match value {
            Some(value) => foster.env(name, value),
            None => foster.without_env(name),
        };
    }
    let run = start(foster, DIRECT, &socket);
    let mut client = Client::slow_request(&socket);
    run.signal(SIGTERM);
    client.send("now");
    assert_eq!(client.answer(), "done");
    let finished = run.finish();
    assert_eq!(finished.end, End::Exited(0));
    finished.stderr.lines().map(str::to_owned).partition(|line| line.contains(" service] "))
}

#[test]
fn rust_log_is_its_own_and_foster_log_is_foster_s() {
    everywhere(|binary, place| {
        let of = |rust_log, foster_log| said(binary, place, rust_log, foster_log);
        let debug = ["[DEBUG service] request: slow", "[INFO  service] signal 15: no new requests"];
        let info = [debug[1], "[INFO  service] every request is answered"];
        let all = [debug[0], info[0], info[1]];

        let (service, foster) = of(None, None);
        assert!(service.is_empty() && foster.is_empty(), "{service:?} {foster:?}");
        assert_eq!(of(Some("debug"), None), (all.map(str::to_owned).to_vec(), vec![]));
        assert_eq!(of(Some("service=info"), None), (info.map(str::to_owned).to_vec(), vec![]));
        assert_eq!(of(Some("foster=trace"), None), (vec![], vec![]));
        assert_eq!(of(Some("debug"), Some("off")), (all.map(str::to_owned).to_vec(), vec![]));

        let (service, foster) = of(None, Some("trace"));
        assert!(service.is_empty(), "{service:?}");
        assert!(foster.iter().any(|line| line.contains(": info: finished: ")), "{foster:?}");
        let (service, foster) = of(Some("off"), Some("foster=debug"));
        assert!(service.is_empty() && !foster.is_empty(), "{service:?} {foster:?}");
    });
}

/// As JSON, so that it is plain what a whole line of foster's is.
#[test]
fn its_lines_and_foster_s_do_not_mix() {
    const ORPHANS: usize = 100;
    everywhere(|binary, place| {
        let files = Scratch::new("service");
        let socket = files.path("socket");
        let foster = Foster::new(binary, place).env("RUST_LOG", "debug").env("FOSTER_LOG", "debug");
        let run = start(foster.option("--log-format=json"), DIRECT, &socket);
        let is_service = |line: &str| line.starts_with('[');
        let mut rounds = 0;
        // Both have to write at the same time: until one's lines have often stood among the other's.
        poll("lines of both, by turns", || {
            let mut client = Client::new(&socket);
            client.send(&format!("chatter {ORPHANS}"));
            assert_eq!(client.answer(), "done");
            rounds += 1;
            let lines = run.stderr();
            let kinds: Vec<bool> = lines.lines().map(is_service).collect();
            rounds >= 4 && kinds.windows(2).filter(|pair| pair[0] != pair[1]).count() > 100
        });
        run.signal(SIGTERM);
        let finished = run.finish();
        assert_eq!(finished.end, End::Exited(0));

        assert!(finished.stderr.ends_with('\n'));
        let (service, foster): (Vec<&str>, Vec<&str>) = finished.stderr.lines().partition(|line| is_service(line));
        let mut chatter: Vec<&str> = service.into_iter().filter(|line| line.contains(" orphan ")).collect();
        chatter.sort_unstable();
        let mut expected: Vec<String> = (0..rounds).flat_map(|_| expected_chatter(ORPHANS)).collect();
        expected.sort_unstable();
        let whole = chatter.iter().zip(&expected).take_while(|(line, expected)| line == expected).count();
        assert!(chatter == expected, "{:?}, but {:?}", chatter.get(whole), expected.get(whole));
        let events = foster.iter().map(|line| {
            let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            json["event"].as_str().unwrap_or_default().to_owned()
        });
        // Some are lost where the pipe was full.
        let reaped = events.filter(|event| event == "orphan").count();
        assert!(reaped > ORPHANS && reaped <= rounds * ORPHANS, "{reaped} in {rounds} rounds");
    });
}

fn expected_chatter(orphans: usize) -> Vec<String> {
    (0..4)
        .flat_map(|thread| (0..orphans / 4).map(move |orphan| (thread, orphan)))
        .flat_map(|(thread, orphan)| (0..5).map(move |line| format!("thread {thread} orphan {orphan} line {line}")))
        .map(|line| format!("[DEBUG service] {line} and a word at its end: end"))
        .collect()
}
