//! Application servers with stop signals or masters of their own kind: uWSGI, php-fpm, OpenJDK and npm. Mostly with a
//! request in flight when foster is asked to stop.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::harness::{End, Finished, Foster, Place, Run, Scratch, everywhere, namespaces, poll, skipped};
use crate::programs::{ORDINARY_USER, connect, program, rest, run};

const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;

/// Starts what its arguments say and has something to do after it, so it cannot become it.
const SHELL: [&str; 4] = ["sh", "-c", "\"$@\"; :", "sh"];

/// /slow says on stdout that it is being worked on, and is answered once there is a file `gate`.
const APP: &str = r#"
import os
import time


def application(environ, start_response):
    os.write(1, b"in flight\n")
    while not os.path.exists("gate"):
        time.sleep(0.002)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"#;

/// On SIGINT and SIGQUIT uWSGI ends and cuts every request off. With this its master waits for the workers on SIGQUIT.
const GRACEFUL_ON_QUIT: [&str; 2] = ["--hook-master-start", "unix_signal:3 gracefully_kill_them_all"];
/// The last of the hooks: when uWSGI says that it runs it, the master has all of its signal handlers.
const LAST_HOOK: [&str; 2] = ["--hook-master-start", "print:ready"];

/// uWSGI and its plugin for Python, if they are there.
struct Uwsgi {
    program: String,
    plugin: String,
}

impl Uwsgi {
    fn find() -> Option<Uwsgi> {
        if !namespaces() {
            return None;
        }
        let [program, plugin] = [program("usr/bin/uwsgi-core")?, program("usr/lib/uwsgi/plugins/python3*_plugin.so")?];
        Some(Uwsgi { program: text(&program), plugin: text(&plugin) })
    }

    /// uWSGI behind a shell, with a request in flight when foster gets SIGTERM.
    fn stop_in_flight(&self, foster: Foster, options: &[&str], files: &Scratch) -> (Run, UnixStream) {
        files.file("app.py", APP.as_bytes(), "644");
        let directory = text(&files.path(""));
        let socket = files.path("socket");
        let words = [&self.program, "--plugin", &self.plugin, "--chdir", &directory, "--wsgi-file", "app.py"];
        let more = ["--http-socket", &text(&socket), "--master"];
        let foster = foster.env("PYTHONDONTWRITEBYTECODE", "1");
        // One worker, which is ready for signals when it works on the request. A second might not be.
        let run = run(foster, &[&SHELL, &words, &more, options, &LAST_HOOK]);
        run.says("running \"print:ready\" (master-start)");
        let mut client = connect(&run, &socket);
        client.write_all(b"GET /slow HTTP/1.0\r\n\r\n").expect("a request");
        run.expect("in flight");
        run.signal(SIGTERM);
        (run, client)
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").into()
}

/// All that comes until the server's end of the connection is closed, in whatever way.
fn answer(client: UnixStream) -> String {
    String::from_utf8_lossy(&rest(client)).into()
}

#[test]
fn uwsgi_behind_a_shell_answers_the_request_in_flight_when_leftovers_get_quit() {
    let Some(uwsgi) = Uwsgi::find() else { return };
    everywhere(|binary, place| {
        let files = Scratch::new("uwsgi");
        let foster = Foster::new(binary, place).option("--leftover-signal=QUIT");
        let (run, client) = uwsgi.stop_in_flight(foster, &GRACEFUL_ON_QUIT, &files);
        run.says("graceful shutdown triggered");
        files.file("gate", b"", "644");
        let answer = answer(client);
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer:?}, stderr: {}", run.stderr());
        let finished = run.finish();
        finished.assert_ended_by(place, SIGTERM);
        assert!(finished.stderr.contains("goodbye to uWSGI"), "{finished:?}");
    });
}

/// So the test above can fail: on SIGTERM uWSGI kills its workers and starts again.
#[test]
fn uwsgi_behind_a_shell_reloads_on_term_and_is_killed_at_the_grace() {
    let Some(uwsgi) = Uwsgi::find() else { return };
    everywhere(|binary, place| {
        let files = Scratch::new("uwsgi-term");
        let foster = Foster::new(binary, place).options(&["-v", "--grace=3s"]);
        let (run, client) = uwsgi.stop_in_flight(foster, &GRACEFUL_ON_QUIT, &files);
        run.says("brutally killing workers");
        assert_eq!(answer(client), "", "stderr: {}", run.stderr());
        let finished = run.finish();
        finished.assert_ended_by(place, SIGTERM);
        assert!(!finished.stderr.contains("goodbye to uWSGI"), "{finished:?}");
        assert!(finished.stderr.contains("the grace is over, SIGKILL to "), "{finished:?}");
    });
}

/// The signal alone is not enough: without the hook uWSGI ends at once, and the request with it.
#[test]
fn uwsgi_without_its_hook_ends_on_int_and_quit_and_cuts_the_request() {
    let Some(uwsgi) = Uwsgi::find() else { return };
    everywhere(|binary, place| {
        for signal in ["INT", "QUIT"] {
            let files = Scratch::new("uwsgi-without-hook");
            let foster = Foster::new(binary, place).options(&["--leftover-signal", signal]);
            let (run, client) = uwsgi.stop_in_flight(foster, &[], &files);
            assert_eq!(answer(client), "", "{signal}, stderr: {}", run.stderr());
            let finished = run.finish();
            finished.assert_ended_by(place, SIGTERM);
            assert!(finished.stderr.contains("goodbye to uWSGI"), "{signal}, {finished:?}");
        }
    });
}

/// Says with a file that it is being worked on, and is answered once there is a file `gate`.
const SCRIPT: &str = "<?php
touch(__DIR__ . '/in-flight');
while (!file_exists(__DIR__ . '/gate')) {
    usleep(2000);
    clearstatcache();
}
echo 'hello';
";

const FPM: &str = "
[global]
error_log = DIRECTORY/log
daemonize = no
[www]
listen = DIRECTORY/socket
pm = static
pm.max_children = 2
";

/// Without it php-fpm's master waits for no request.
const WAITS: &str = "[global]\nprocess_control_timeout = 20s\n";

/// A FastCGI record of the request number 1, without padding.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
}

/// A FastCGI request for a script: its beginning as a responder, its parameters and their end, and the end of an empty body.
fn fastcgi(script: &str) -> Vec<u8> {
    let pair = |name: &str, value: &str| {
        let lengths = [name, value].map(|text| u8::try_from(text.len()).expect("short"));
        assert!(lengths.iter().all(|&length| length < 128), "longer ones have 4 bytes of length");
        [&lengths[..], name.as_bytes(), value.as_bytes()].concat()
    };
    let parameters = [pair("REQUEST_METHOD", "GET"), pair("SCRIPT_FILENAME", script)].concat();
    [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &parameters), record(4, b""), record(5, b"")].concat()
}

/// php-fpm with a request in flight, stopped with a signal. Returns the answer and the rest of what foster's run has left.
/// With `stopping` the request can be done once php-fpm has logged that; otherwise it never can.
fn php_fpm_in_flight(
    php: &Path,
    foster: Foster,
    before: &[&str],
    more: &str,
    signal: i32,
    stopping: Option<&str>,
) -> (String, Finished) {
    let files = Scratch::new("php-fpm");
    let directory = text(&files.path(""));
    let configuration = FPM.replace("DIRECTORY", directory.trim_end_matches('/')) + more;
    let configuration = text(&files.file("php-fpm.conf", configuration.as_bytes(), "644"));
    let script = text(&files.file("slow.php", SCRIPT.as_bytes(), "644"));
    // php-fpm refuses to have workers of root's.
    let foster = foster.after(&ORDINARY_USER);
    // No php.ini of the machine's.
    let run = run(foster, &[before, &[&text(php), "-n", "--nodaemonize", "--fpm-config", &configuration]]);
    let mut client = connect(&run, &files.path("socket"));
    client.write_all(&fastcgi(&script)).expect("a request");
    poll("the request is worked on", || files.path("in-flight").exists());
    run.signal(signal);
    if let Some(stopping) = stopping {
        let log = || std::fs::read_to_string(files.path("log")).unwrap_or_default();
        poll(&format!("{stopping:?} in php-fpm's log"), || log().contains(stopping));
        files.file("gate", b"", "644");
    }
    (answer(client), run.finish())
}

fn php_fpm() -> Option<PathBuf> {
    namespaces().then(|| program("usr/sbin/php-fpm*")).flatten()
}

/// As with an image whose STOPSIGNAL is SIGQUIT: it is a stop request, and php-fpm's own.
fn quit_is_a_stop(binary: &Path, place: Place) -> Foster {
    Foster::new(binary, place).env("FOSTER_STOP_SIGNAL", "QUIT,TERM").options(&["-v", "--grace=25s"])
}

fn assert_asked_to_stop_by(finished: &Finished, signal: &str) {
    let asked = format!("info: asked to stop by {signal} from outside ");
    assert!(finished.stderr.contains(&asked), "{finished:?}");
}

#[test]
fn php_fpm_answers_the_request_in_flight_when_quit_is_its_stop_signal() {
    let Some(php) = php_fpm() else { return };
    everywhere(|binary, place| {
        let foster = quit_is_a_stop(binary, place);
        let (answer, finished) = php_fpm_in_flight(&php, foster, &[], WAITS, SIGQUIT, Some("Finishing ..."));
        assert!(answer.contains("\r\n\r\nhello"), "{answer:?} {finished:?}");
        assert_eq!(finished.end, End::Exited(0), "{finished:?}");
        assert_asked_to_stop_by(&finished, "SIGQUIT");
    });
}

#[test]
fn php_fpm_behind_a_shell_answers_the_request_in_flight_when_leftovers_get_quit() {
    let Some(php) = php_fpm() else { return };
    everywhere(|binary, place| {
        let foster = Foster::new(binary, place).option("--leftover-signal=QUIT");
        let (answer, finished) = php_fpm_in_flight(&php, foster, &SHELL, WAITS, SIGTERM, Some("Finishing ..."));
        assert!(answer.contains("\r\n\r\nhello"), "{answer:?} {finished:?}");
        finished.assert_ended_by(place, SIGTERM);
    });
}

/// So the tests above can fail: on SIGTERM php-fpm kills its workers at once.
#[test]
fn php_fpm_loses_the_request_in_flight_on_term() {
    let Some(php) = php_fpm() else { return };
    everywhere(|binary, place| {
        let (answer, finished) = php_fpm_in_flight(&php, quit_is_a_stop(binary, place), &[], WAITS, SIGTERM, None);
        assert_eq!(answer, "", "{finished:?}");
        assert_eq!(finished.end, End::Exited(0), "{finished:?}");
        assert_asked_to_stop_by(&finished, "SIGTERM");
        let foster = Foster::new(binary, place);
        let (answer, finished) = php_fpm_in_flight(&php, foster, &SHELL, WAITS, SIGTERM, None);
        assert_eq!(answer, "", "behind a shell, {finished:?}");
    });
}

/// The signal alone is not enough: by default php-fpm's master gives its workers no time.
#[test]
fn php_fpm_loses_the_request_in_flight_on_quit_without_a_process_control_timeout() {
    let Some(php) = php_fpm() else { return };
    everywhere(|binary, place| {
        let (answer, finished) = php_fpm_in_flight(&php, quit_is_a_stop(binary, place), &[], "", SIGQUIT, None);
        assert_eq!(answer, "", "{finished:?}");
        assert_eq!(finished.end, End::Exited(0), "{finished:?}");
    });
}

/// A program of those that only TEST_ALL=1 runs. In CI it must be there then.
fn with_all(name: &str) -> Option<PathBuf> {
    if std::env::var_os("TEST_ALL").is_none() {
        skipped(&format!("{name} is not run (TEST_ALL=1 make test)"));
        return None;
    }
    if !namespaces() {
        return None;
    }
    let path = std::env::var_os("PATH").expect("PATH");
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "CI, and no {name}");
    if found.is_none() {
        skipped(&format!("no {name} (TEST_ALL=1 make test installs it), so it is not run"));
    }
    found
}

/// Ticks by its own clock, 10 times a second.
const SERVICE: &str = r#"
public class Service {
    public static void main(String[] arguments) throws InterruptedException {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("shut down")));
        System.out.println("ready");
        while (true) {
            Thread.sleep(100);
            System.out.println("tick");
        }
    }
}
"#;

/// A Java program that has been asked for a dump of its threads.
fn dump_threads(java: &Path, foster: Foster, files: &Scratch) -> Run {
    let source = text(&files.file("Service.java", SERVICE.as_bytes(), "644"));
    // No file of it below /tmp for jps(1), whose name would be that of a PID in a namespace.
    let run = foster.run(&[&text(java), "-XX:-UsePerfData", &source]);
    run.lines_before("ready");
    run.signal(SIGQUIT);
    while !run.line().starts_with("Full thread dump ") {}
    run
}

#[test]
fn a_java_service_survives_its_thread_dump_and_obeys_a_later_term() {
    let Some(java) = with_all("java") else { return };
    everywhere(|binary, place| {
        let files = Scratch::new("java");
        let run = dump_threads(&java, Foster::new(binary, place).options(&["-v", "--grace=1s"]), &files);
        // More than twice the grace.
        (1..=25).for_each(|_| drop(run.lines_before("tick")));
        run.signal(SIGTERM);
        run.lines_before("shut down");
        let finished = run.finish();
        // Java exits with this status itself.
        assert_eq!(finished.end, End::Exited(143), "{finished:?}");
        assert_asked_to_stop_by(&finished, "SIGTERM");
        assert!(!finished.stderr.contains("SIGKILL"), "{finished:?}");
    });
}

/// So the test above can fail.
#[test]
fn a_java_service_is_killed_by_its_thread_dump_where_quit_is_a_stop_request() {
    let Some(java) = with_all("java") else { return };
    everywhere(|binary, place| {
        let files = Scratch::new("java-killed");
        let finished = dump_threads(&java, quit_is_a_stop(binary, place).option("--grace=1s"), &files).finish();
        finished.assert_ended_by(place, 9);
        assert!(finished.stderr.contains("the grace is over, SIGKILL to "), "{finished:?}");
        assert!(!finished.lines.iter().any(|line| line == "shut down"), "{finished:?}");
    });
}

/// npm runs it in a shell.
const PACKAGE: &str = r#"{ "name": "service", "version": "1.0.0", "scripts": { "start": "node server.js" } }"#;

/// Ends when its requests are done if it is asked once, and at once if it is asked again.
const SERVER: &str = r#"
const fs = require("fs");
let asked = 0;
const server = require("http").createServer((request, response) => {
    console.log("in flight");
    const timer = setInterval(() => {
        if (fs.existsSync("gate")) {
            clearInterval(timer);
            response.end("hello");
        }
    }, 2);
});
process.on("SIGTERM", () => {
    asked += 1;
    console.log("asked " + asked);
    if (asked > 1) process.exit(1);
    server.close(() => process.exit(0));
});
server.listen("socket");
"#;

/// `npm start` with a request in flight when the init gets SIGTERM.
fn stop_npm_in_flight(npm: &Path, init: Foster, files: &Scratch) -> (Run, UnixStream) {
    files.file("package.json", PACKAGE.as_bytes(), "644");
    files.file("server.js", SERVER.as_bytes(), "644");
    let directory = text(&files.path(""));
    // npm writes its logs below the home directory. It asks nobody for a newer npm.
    let init = init.env("HOME", &directory).env("npm_config_update_notifier", "false");
    let run = init.run(&[&text(npm), "--silent", "--prefix", &directory, "start"]);
    let mut client = connect(&run, &files.path("socket"));
    client.write_all(b"GET /slow HTTP/1.0\r\n\r\n").expect("a request");
    run.expect("in flight");
    run.signal(SIGTERM);
    (run, client)
}

#[test]
fn npm_starts_server_answers_the_request_in_flight_and_is_asked_once() {
    let Some(npm) = with_all("npm") else { return };
    everywhere(|binary, place| {
        for options in [&[][..], &["-g"]] {
            let files = Scratch::new("npm");
            let foster = Foster::new(binary, place).option("-v").options(options);
            let (run, client) = stop_npm_in_flight(&npm, foster, &files);
            run.expect("asked 1");
            // foster says this a second after it has come to the leftovers, so by now it would have asked again.
            run.says("waiting for 1 process, and no --grace limits that: ");
            files.file("gate", b"", "644");
            let answer = answer(client);
            assert!(answer.ends_with("\r\n\r\nhello"), "{options:?} {answer:?}, stderr: {}", run.stderr());
            let finished = run.finish();
            finished.assert_ended_by(place, SIGTERM);
            assert_eq!(finished.lines, Vec::<String>::new(), "not asked again, {options:?}: {finished:?}");
        }
    });
}

/// So the test above can fail: npm ends on SIGTERM, tini with it, and the kernel kills the server.
#[test]
fn npm_starts_server_loses_the_request_in_flight_under_tini() {
    let (Some(npm), Some(tini)) = (with_all("npm"), program("usr/bin/tini")) else { return };
    let files = Scratch::new("npm-tini");
    let (run, client) = stop_npm_in_flight(&npm, Foster::new(&tini, Place::Pid1).option("--"), &files);
    assert_eq!(answer(client), "", "stderr: {}", run.stderr());
    run.finish().assert_ended_by(Place::Pid1, SIGTERM);
}

/// So the test above can fail: the server's second SIGTERM is the request's end.
#[test]
fn npm_starts_server_loses_the_request_in_flight_when_it_is_asked_twice() {
    let Some(npm) = with_all("npm") else { return };
    everywhere(|binary, place| {
        let files = Scratch::new("npm-twice");
        let (run, client) = stop_npm_in_flight(&npm, Foster::new(binary, place).options(&["-g", "-v"]), &files);
        run.expect("asked 1");
        run.signal(SIGTERM);
        run.expect("asked 2");
        assert_eq!(answer(client), "", "stderr: {}", run.stderr());
        run.finish().assert_ended_by(place, SIGTERM);
    });
}
