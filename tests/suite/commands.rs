//! Every command line in the documents is run as it stands there, with stand-ins for what its reader brings along: here, or
//! where it takes a container by tests/runtimes, which get the lines from here. NOT_RUN has the ones that are not.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::documents::{documents, read};
use crate::harness::{
    Context, End, Finished, Foster, Place, Scratch, binaries, name, namespaces, plainly, poll, skipped,
};

/// First words of a command line. In backquotes these alone begin one: `sh -c …` there is what foster is to run.
const PROGRAMS: &[&str] = &[
    "foster",
    "tini",
    "dumb-init",
    "catatonit",
    "pid1",
    "docker",
    "dockerd",
    "podman",
    "kubectl",
    "aws",
    "make",
    "cargo",
    "rustup",
    "unshare",
    "install",
    "sha256sum",
    "curl",
    "timeout",
    "ps",
    "runc",
    "crun",
    "strace",
    ".ci/run",
];

const PART_OF_TEST: &str = "make test begins with it";

/// What is not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make test", "it is what runs this test"),
    ("TEST_ALL=1 make test", "the same; the release workflow runs it so"),
    (".ci/run", "it runs make test"),
    ("make bench", "four minutes, and all it does is measure"),
    ("make bench BENCH=--quick", "a minute and a half of the same"),
    ("make smallest", "nightly Rust, which is not on every machine; it runs the suite itself"),
    (
        "cargo +nightly fuzz run --fuzz-dir tests/fuzz parsers tests/fuzz/corpus",
        "nightly Rust and cargo-fuzz; without end",
    ),
    ("TEST_DEPTH=2 cargo mutants -f src/policy/ -- --lib", "cargo-mutants, and an hour"),
    ("TEST_SECONDS=3600 cargo test --test suite storms::", "two hours; make test has two minutes of it"),
    ("TEST_DEPTH=5 cargo test --lib policy::", "two and a half minutes; make test does it at depth 4"),
    ("UPDATE=1 cargo test completions", "it writes files that other tests read meanwhile"),
    ("cargo build --example fixture", "make test builds all examples, and this test runs that one"),
    ("make build", PART_OF_TEST),
    ("make deb", PART_OF_TEST),
    ("make check", PART_OF_TEST),
    ("cargo test", "make test runs it"),
];

/// What names a command and leaves out what it is about: none of these can be typed alone, and a test tries.
const NAMES: &[&str] = &[
    "docker compose",
    "docker compose down -t",
    "docker exec",
    "docker run",
    "docker run --init",
    "docker run --stop-timeout",
    "docker run --user",
    "docker run -it",
    "docker stop",
    "docker stop -t",
    "dumb-init -c",
    "foster -g",
    "foster [OPTIONS] [--] COMMAND [ARG...]",
    "kubectl exec",
    "podman --init",
    "podman run --init --init-path /usr/local/bin/catatonit",
    "podman stop --time",
    "runc run",
    "tini -g",
];

/// A command line in a document, without its comment, and what stands below it as its output.
#[derive(Debug, PartialEq)]
pub struct Line {
    place: String,
    text: String,
    /// None where the document does not show a terminal.
    shown: Option<Vec<String>>,
}

/// The words of a command line, as a shell reads them, up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            ('#', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The first word that is no assignment.
fn program(text: &str) -> String {
    words(text).into_iter().find(|word| !word.contains('=')).unwrap_or_default()
}

fn without_comment(line: &str) -> &str {
    line.split("  # ").next().unwrap_or_default().trim()
}

/// `$ command`, also with a number in front: `(1) $ command`.
fn prompted(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix('(').and_then(|rest| rest.split_once(") ")).map_or(line, |(_, rest)| rest);
    rest.strip_prefix("$ ")
}

/// A Dockerfile, YAML, JSON, a log, a drawing: nothing that is typed.
fn is_snippet(block: &[&str]) -> bool {
    let word = block[0].split_whitespace().next().unwrap_or_default();
    word.ends_with(':')
        || word.contains(['[', '{', '"'])
        || word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// The lines of an indented block that begins at this line of the document.
fn of_block(document: &str, first: usize, block: &[&str]) -> Vec<Line> {
    let place = |at: usize| format!("{document}:{}", first + at);
    let line = |at: usize, text: &str| Line { place: place(at), text: text.into(), shown: None };
    if block.iter().any(|line| prompted(line).is_some()) {
        let mut lines: Vec<Line> = Vec::new();
        for (at, text) in block.iter().enumerate() {
            match (prompted(text), lines.last_mut()) {
                // The exit code of the line before.
                (Some("echo $?"), Some(last)) => last.text += "; echo $?",
                (Some(text), _) => lines.push(Line { shown: Some(vec![]), ..line(at, without_comment(text)) }),
                (None, Some(last)) => last.shown.as_mut().unwrap().push(without_comment(text).to_owned()),
                (None, None) => panic!("{}: output before its command", place(at)),
            }
        }
        return lines;
    }
    if is_snippet(block) {
        return Vec::new();
    }
    if PROGRAMS.contains(&program(block[0]).as_str()) {
        return block.iter().enumerate().map(|(at, text)| line(at, without_comment(text))).collect();
    }
    // Anything else is a script, and one that nobody knows fails the test.
    vec![line(0, &block.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n"))]
}

/// A command line in backquotes: a program and a word, or a pipeline. With … in it, it is none.
fn is_inline(code: &str) -> bool {
    let is_typed = PROGRAMS.contains(&program(code).as_str()) && (code.contains(' ') || code.starts_with('.'));
    (is_typed || code.contains("| foster ")) && !code.contains('…')
}

fn collect(document: &str, text: &str) -> Vec<Line> {
    assert!(!text.contains("```"), "{document}: fenced blocks are not looked into");
    let mut found = Vec::new();
    let mut prose = String::new();
    let mut block: Vec<&str> = Vec::new();
    let mut after_blank = true;
    for (at, line) in text.lines().chain([""]).enumerate() {
        if line.starts_with("    ") && (after_blank || !block.is_empty()) {
            block.push(line);
            continue;
        }
        if !block.is_empty() {
            found.extend(of_block(document, at - block.len() + 1, &block));
            block.clear();
        }
        after_blank = line.is_empty();
        prose += line;
        prose.push(' ');
    }
    let inline = prose.split('`').skip(1).step_by(2).filter(|code| is_inline(code));
    found.extend(inline.map(|code| Line { place: document.into(), text: code.into(), shown: None }));
    found
}

/// Every command line of every document, each once; where one shows what it prints, that one.
fn lines() -> Vec<Line> {
    let mut all: Vec<Line> = documents().iter().flat_map(|(path, text)| collect(path, text)).collect();
    let others = [("docs/foster.1", ".Dl "), ("Dockerfile.example", "#   ")];
    for (path, before) in others {
        let text = read(path);
        let lines = text.lines().filter_map(|line| line.strip_prefix(before));
        all.extend(lines.map(|text| Line { place: path.into(), text: text.into(), shown: None }));
    }
    let mut each: Vec<Line> = Vec::new();
    for line in all {
        match each
            .iter_mut()
            .find(|known| known.text == line.text && (known.shown == line.shown || line.shown.is_none()))
        {
            None => each.push(line),
            Some(known) => known.place += &format!(", {}", line.place),
        }
    }
    assert!(each.len() > 60, "{} command lines alone: the documents have changed their looks", each.len());
    each
}

/// What runs a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Runner {
    /// A shell in a namespace and a directory of its own.
    Shell,
    /// A shell in the project's directory, in which there is nothing to see to but what the line itself starts.
    Project,
    /// tests/runtimes/podman.sh, in which docker is podman.
    Podman,
    /// tests/runtimes/docker.sh, a Docker Engine.
    Docker,
    /// Nothing: it stands in NOT_RUN or NAMES.
    Nobody,
}

fn runner(line: &Line) -> Runner {
    let text = line.text.as_str();
    if NOT_RUN.iter().any(|(known, _)| *known == text) || NAMES.contains(&text) {
        return Runner::Nobody;
    }
    match program(text).as_str() {
        "dockerd" => Runner::Docker,
        "docker" | "podman" | "install" => Runner::Podman,
        "kubectl" if text.starts_with("kubectl exec ") => Runner::Podman,
        // Another user, and a cgroup: that takes root, which a container has.
        "foster" if text.contains(" -u ") => Runner::Podman,
        "foster" if text.starts_with("foster --check") && line.shown.is_some() => Runner::Podman,
        "make" | "cargo" | "kubectl" | "aws" => Runner::Project,
        _ => Runner::Shell,
    }
}

/// What a line does whose document shows no output. It is sent the signal once it is ready, if there is one.
struct Expected {
    /// The line, or its beginning with … after it.
    line: &'static str,
    signal: i32,
    /// In this order, with anything in between.
    says: &'static [&'static str],
    code: i32,
}

const fn expected(line: &'static str, signal: i32, says: &'static [&'static str], code: i32) -> Expected {
    Expected { line, signal, says, code }
}

const EXPECTED: &[Expected] = &[
    expected("foster --version", 0, &[concat!("foster ", env!("CARGO_PKG_VERSION"))], 0),
    expected("foster --check", 0, &["healthy", "(limit 100)", "(limit 90%)"], 0),
    expected("foster --check zombies=1000,pids=95%", 0, &["healthy", "(limit 1000)", "(limit 95%)"], 0),
    expected("foster -- ./server", libc::SIGINT, &["ready", "stopping"], 0),
    expected("foster -k 5s -- ./server", libc::SIGINT, &["stopping", "the grace is over, SIGKILL to 1 process"], 0),
    expected("foster -v -- make test", 0, &["tested", "command make (pid ", "leftovers stopped: 1"], 0),
    expected("foster --wait -- ./daemonizes", 0, &["the daemon has ended"], 0),
    expected("foster -P", libc::SIGTERM, &[], 0),
    expected("foster -r TERM:QUIT -k 25s nginx …", libc::SIGTERM, &["ready: -g daemon off;", "quitting"], 0),
    expected("foster -vv ./job.sh", 0, &["reaped orphan", "exited with status 23", "exit code 3"], 3),
    expected("producer | foster less", 0, &["produced"], 0),
    expected("unshare … -- foster -- ./server", 0, &["ready"], 0),
    expected("unshare … --kill-child", 0, &[], 0),
    expected("tini ls -l /", 0, &["The MIT License"], 0),
    expected("catatonit ls -V", 0, &["version"], 0),
    expected("catatonit -P", libc::SIGTERM, &[], 0),
    expected("ps -eLf", 0, &["LWP"], 0),
    // wait(1) returns when the trap has run.
    expected("server & pid=$!…", libc::SIGTERM, &["ready"], 128 + libc::SIGTERM),
    expected("sha256sum …", 0, &["foster-x86_64: OK"], 0),
    expected("make demo", 0, &["== 1. ", "== 5. ", "exit code 0"], 0),
    expected("cargo test NAME", 0, &["test result: ok. 1 passed"], 0),
    expected("cargo test --test suite reaping::…", 0, &["test result: ok. 1 passed"], 0),
    expected("TEST_BINARIES=… cargo test --test suite forwarding::", 0, &["test result: ok. "], 0),
    expected("kubectl apply …", 0, &["deployment.apps/app created"], 0),
    expected("kubectl describe pod", 0, &["Last State:", "foster: finished: command server was killed"], 0),
    expected("aws ecs register-task-definition …", 0, &["\"taskDefinition\"", "\"/usr/local/bin/foster\""], 0),
];

impl Expected {
    fn is_of(&self, line: &Line) -> bool {
        match self.line.split_once('…') {
            Some((start, end)) => line.text.starts_with(start) && line.text.ends_with(end.trim_start()),
            None => line.text == self.line,
        }
    }
}

/// What is expected of a line that is run here: a row of the table, or nothing where the document shows the output.
fn what_is_expected(line: &Line) -> Option<&'static Expected> {
    let mut rows = EXPECTED.iter().filter(|row| row.is_of(line) && line.shown.is_none());
    let row = rows.next();
    assert!(rows.next().is_none(), "{line:?}: two rows");
    row
}

#[test]
fn every_command_line_is_run_or_has_a_reason_not_to_be() {
    let lines = lines();
    for line in &lines {
        let known = match runner(line) {
            Runner::Shell => what_is_expected(line).is_some() || line.shown.is_some(),
            Runner::Project => what_is_expected(line).is_some(),
            // The scripts say when one is left over.
            Runner::Podman | Runner::Docker | Runner::Nobody => true,
        };
        assert!(known, "no test runs this line of {}, and it has no reason in NOT_RUN: {}", line.place, line.text);
    }
    let stands = |text: &str| lines.iter().any(|line| line.text == text);
    let rows = NOT_RUN.iter().map(|(text, _)| *text).chain(NAMES.iter().copied());
    assert_eq!(rows.filter(|text| !stands(text)).collect::<Vec<_>>(), [""; 0], "not in the documents any more");
    let unused = EXPECTED.iter().filter(|row| !lines.iter().any(|line| row.is_of(line))).map(|row| row.line);
    assert_eq!(unused.collect::<Vec<_>>(), [""; 0], "not in the documents any more");
}

/// The collector finds what it should find.
#[test]
fn a_new_command_line_is_noticed() {
    let found = |text: &str| collect("x", text).into_iter().map(|line| line.text).collect::<Vec<_>>();
    assert_eq!(
        found("Type\n\n    nerdctl run app\n    and more\n\nor `docker run app`, `x | foster y`."),
        ["nerdctl run app\nand more", "docker run app", "x | foster y"]
    );
    assert_eq!(found("\n    A=1 foster -- x    # why\n    make test\n"), ["A=1 foster -- x", "make test"]);
    assert_eq!(
        found(
            "`docker`, `-v`, `foster … x`, `sh -c 'x'`\n\n    ENTRYPOINT [\"foster\"]\n\n    key:\n      foster: 1\n"
        ),
        [""; 0]
    );
    let shown = collect(
        "x",
        "\n    (1) $ foster -P; echo $?\n        0   # always\n    $ foster\n    125\n    $ echo $?\n    1\n",
    );
    let texts: Vec<_> = shown.iter().map(|line| (line.text.as_str(), line.shown.clone().unwrap().join("|"))).collect();
    assert_eq!(texts, [("foster -P; echo $?", "0".to_owned()), ("foster; echo $?", "125|1".to_owned())]);
    let unknown = Line { place: String::new(), text: "foster --new".into(), shown: None };
    assert!(runner(&unknown) == Runner::Shell && what_is_expected(&unknown).is_none());
}

const SERVER: &[u8] = b"#!/bin/bash
# Stays until it is asked to stop, if $STAYS is set, and leaves something behind; if that is stubborn, until it is killed.
trap 'echo stopping; exit 0' TERM INT
[ \"$STAYS\" = '' ] && echo ready && exit
{ [ \"$STAYS\" != stubborn ] || trap '' TERM INT; echo ready; exec sleep 60; } &
wait
";
const DAEMONIZES: &[u8] = b"#!/bin/sh
(setsid sh -c \"while kill -0 $$ 2>/dev/null; do :; done; echo the daemon has ended\" &)
";
const JOB: &[u8] = b"#!/bin/sh
(sh -c 'echo $$ >orphan; exit 23' &)
until [ -s orphan ] && ! [ -e /proc/$(cat orphan) ]; do :; done
exit 3
";
const NGINX: &[u8] = b"#!/bin/bash
trap 'echo quitting; exit 0' QUIT
sleep 60 &
echo \"ready: $*\"
wait
";

/// What a reader brings along, in a directory of its own: programs, a Makefile, a release.
fn reader(line: &Line) -> Scratch {
    let scratch = Scratch::new("reader");
    for directory in ["bin", "installed"] {
        std::fs::create_dir(scratch.path(directory)).unwrap();
    }
    symlink(&binaries()[0], scratch.path("bin/foster")).unwrap();
    // A FOSTER_ variable in front says that this is foster by that name.
    if line.text.starts_with("FOSTER_") {
        symlink(&binaries()[0], scratch.path("bin").join(program(&line.text))).unwrap();
    }
    let programs: &[(&str, &[u8])] = &[
        ("server", SERVER),
        ("bin/server", SERVER),
        ("daemonizes", DAEMONIZES),
        ("job.sh", JOB),
        ("bin/nginx", NGINX),
        ("bin/producer", b"#!/bin/sh\necho produced\n"),
        ("bin/less", b"#!/bin/sh\nexec cat\n"),
        ("a-program-for-arm", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0"),
        ("foster-x86_64", b"#!/bin/sh\n"),
    ];
    for (name, content) in programs {
        scratch.file(name, content, "755");
    }
    scratch.file("Makefile", b"test:\n\t@setsid sleep 60 >/dev/null 2>&1 &\n\t@echo tested\n", "644");
    let sums = plainly(Command::new("sha256sum").arg("foster-x86_64").current_dir(scratch.path("")));
    // A release has more files than anybody takes.
    scratch.file("SHA256SUMS", &[&sums.stdout[..], &[b'0'; 64], b"  foster-aarch64\n"].concat(), "644");
    scratch
}

/// Where pid1 is, which Debian has no package of.
fn peers() -> PathBuf {
    std::env::var("TEST_PEERS").map_or_else(|_| project().join("target/peers/bin"), PathBuf::from)
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn path(first: &Path) -> String {
    format!("{}:{}:{}", first.display(), peers().display(), std::env::var("PATH").unwrap())
}

/// Whether the program that a line is about is there. In CI it must be.
fn is_there(program: &str, line: &Line, path: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).env("PATH", path).status();
    if found.unwrap().success() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "CI, and no {program}");
    skipped(&format!("no {program} (make test installs it), so this line of {} is not run: {}", line.place, line.text));
    false
}

/// A namespace's mounts are its own. What is installed goes into the reader's directory, and podman, which makes its
/// directories before it looks at its command line, finds empty ones.
const INSTALLS: (&str, &str) = ("MOUNTS", "mount --bind installed /usr/local/bin");
const KEEPS_NOTHING: (&str, &str) = ("MOUNTS", "mount -t tmpfs none /run && mount -t tmpfs none /var/lib");

/// Runs a line in a directory of its own, all output on stdout.
fn start(line: &str, environment: &[(&str, &str)], scratch: &Scratch, is_pid_1: bool) -> crate::harness::Run {
    let directory = scratch.path("");
    let enter = "cd \"$0\" && eval \"$MOUNTS\" && exec \"$@\" 2>&1";
    let before = ["sh", "-c", enter, directory.to_str().unwrap()];
    // Not PID 1, the line is in a shell below a foster that waits for everything which the line leaves.
    let mut foster = match is_pid_1 {
        true => Foster::new(Path::new("bash"), Place::Pid1).options(&["-c", line]),
        false => Foster::new(&binaries()[0], Place::Pid1).options(&["--wait", "bash", "-c", line]),
    };
    foster = foster.env("PATH", path(&scratch.path("bin"))).env("LC_ALL", "C");
    environment.iter().fold(foster.after(&before), |foster, (name, value)| foster.env(name, value)).run::<&str>(&[])
}

/// Whether a signal is in a set of a process's, as proc_pid_status(5) names them.
fn has_in_set(pid: i32, set: &str, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(set)).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal - 1)) != 0
}

fn assert_in_order(line: &Line, output: &str, says: &[&str]) {
    let mut rest = output;
    for text in says {
        let Some((_, after)) = rest.split_once(text) else {
            panic!("{line:?}: no {text:?} in its place in:\n{output}")
        };
        rest = after;
    }
}

/// Numbers are different each time.
fn without_numbers(text: &str) -> String {
    let mut masked = String::new();
    for c in text.trim_end().chars() {
        match c.is_ascii_digit() {
            true if masked.ends_with('N') => {}
            true => masked.push('N'),
            false => masked.push(c),
        }
    }
    masked
}

/// Whether the output is what the document shows, in which … stands for anything.
fn assert_shown(line: &Line, output: &str) {
    // What a shell says of a signal depends on the shell, and which of two processes is faster on nothing.
    let mut said: Vec<&str> = output.lines().filter(|said| !said.starts_with("bash: line ")).map(str::trim).collect();
    let mut shown = line.shown.clone().unwrap();
    said.sort_unstable();
    shown.sort_unstable();
    let mut said = said.join("\n").replace(|c: char| c.is_control() && c != '\n' && c != '\t', "");
    let mut shown = shown.join("\n");
    // Of a log no two are the same.
    if shown.contains("foster[") {
        (said, shown) = (without_numbers(&said), without_numbers(&shown));
    }
    let parts: Vec<&str> = shown.split('…').collect();
    assert_in_order(line, &said, &parts);
    assert!(said.starts_with(parts[0]) && said.ends_with(parts.last().unwrap()), "{line:?}:\n{said}");
    assert_eq!(said.lines().count(), shown.lines().count(), "{line:?}:\n{said}");
}

/// docs/migrating.md says which of its runs are of a PID 1.
fn is_pid_1(line: &Line) -> bool {
    line.shown.is_none() || line.place.contains("migrating.md") && !line.text.contains("tini -s")
}

/// Runs a line whose output the document shows, and compares.
fn run_shown(line: &Line) {
    let scratch = reader(line);
    // A shell that says the exit code would be PID 1 itself.
    let (text, says_code) = match line.text.strip_suffix("; echo $?") {
        Some(text) if is_pid_1(line) => (text, true),
        _ => (line.text.as_str(), false),
    };
    let Finished { end, lines, .. } = start(text, &[], &scratch, is_pid_1(line)).finish();
    let code = match end {
        End::Exited(code) if says_code => format!("{code}\n"),
        _ => String::new(),
    };
    assert_shown(line, &(lines.iter().map(|line| format!("{line}\n")).collect::<String>() + &code));
}

/// Runs a line that has a row in the table, and returns its directory.
fn run_expected(line: &Line, row: &Expected) -> Scratch {
    let scratch = reader(line);
    let mut environment = vec![];
    if row.signal != 0 {
        environment.push(("STAYS", if line.text.contains(" -k 5s ") { "stubborn" } else { "until asked" }));
    }
    if line.text.contains("/usr/local/bin") {
        environment.push(INSTALLS);
    }
    // Then it says when it is ready.
    if line.text == "foster -P" {
        environment.push(("FOSTER_LOG", "info"));
    }
    let run = start(&line.text, &environment, &scratch, is_pid_1(line));
    let mut output = String::new();
    if row.signal != 0 {
        if !line.text.starts_with("catatonit") {
            output = std::iter::repeat_with(|| run.line())
                .find(|said| said.contains("ready") || said.contains("no command"))
                .unwrap()
                + "\n";
        }
        // foster expects it from its first instruction on. A shell blocks it for a moment whenever it forks.
        let expects = |program: &str, set: &str| {
            let pid = run.namespace_pid();
            name(pid) == program && has_in_set(pid, set, row.signal)
        };
        match line.text.split(' ').next() {
            Some("server") => poll("the script's trap", || expects("bash", "SigCgt:")),
            Some("catatonit") => poll("catatonit is ready", || expects("catatonit", "SigBlk:")),
            _ => {}
        }
        run.signal(row.signal);
    }
    let finished = run.finish();
    output += &finished.lines.join("\n");
    assert_in_order(line, &output, row.says);
    assert_eq!(finished.end, End::Exited(row.code), "{line:?}: {output}");
    scratch
}

#[test]
fn a_reader_s_command_lines_do_what_the_documents_say() {
    if !namespaces() {
        return;
    }
    let lines = lines();
    // At the same time, since some take seconds.
    std::thread::scope(|scope| {
        for line in lines.iter().filter(|line| runner(line) == Runner::Shell) {
            let is_word = |program: &&&str| line.text.split([' ', '"', ';']).any(|word| word == **program);
            let program = ["tini", "dumb-init", "catatonit", "pid1", "ps"].iter().find(is_word);
            if program.is_some_and(|program| !is_there(program, line, &path(Path::new("")))) {
                continue;
            }
            scope.spawn(move || {
                let _context = Context(format!("{line:?}"));
                match what_is_expected(line) {
                    Some(row) => drop(run_expected(line, row)),
                    None => run_shown(line),
                }
            });
        }
    });
}

/// A download that is not what its release says is not installed.
#[test]
fn a_release_that_was_tampered_with_is_not_installed() {
    if !namespaces() {
        return;
    }
    let lines = lines();
    let line = lines.iter().find(|line| line.text.starts_with("sha256sum ")).expect("a line in the README");
    let scratch = run_expected(line, what_is_expected(line).expect("a row"));
    assert!(scratch.path("installed/foster").exists());
    let scratch = reader(line);
    scratch.file("foster-x86_64", b"another program", "755");
    let Finished { end, lines, .. } = start(&line.text, &[INSTALLS], &scratch, true).finish();
    assert_eq!(end, End::Exited(1), "{lines:?}");
    assert!(!scratch.path("installed/foster").exists());
}

#[test]
fn what_only_names_a_command_cannot_be_typed_alone() {
    if !namespaces() {
        return;
    }
    std::thread::scope(|scope| {
        for text in NAMES {
            let line = Line { place: "NAMES".into(), text: (*text).into(), shown: None };
            // Without a Docker, podman has its command line.
            let program = program(text).replace("docker", "podman");
            if program != "foster" && !is_there(&program, &line, &path(Path::new(""))) {
                continue;
            }
            scope.spawn(move || {
                let _context = Context(line.text.clone());
                let scratch = reader(&line);
                scratch.file("bin/docker", b"#!/bin/sh\nexec podman \"$@\"\n", "755");
                let Finished { end, lines, .. } = start(&line.text, &[KEEPS_NOTHING], &scratch, true).finish();
                assert_ne!(end, End::Exited(0), "{lines:?}");
            });
        }
    });
}

/// Where cargo would build anew what other tests run, what is built already runs in its place.
const CARGO: &[u8] = b"#!/bin/sh
case \"$*\" in
'build --release '*) ;;
'test --test suite '*) shift 3 && exec \"$SUITE\" \"$@\" ;;
'test '*) shift && exec \"$SUITE\" \"$@\" ;;
*) exit 101 ;;
esac
";

/// tests/platforms.py, which takes what kubectl and aws send.
struct Platforms {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Platforms {
    /// And its address.
    fn start() -> (Platforms, String) {
        let mut python = Command::new("python3");
        let mut child =
            python.arg(project().join("tests/platforms.py")).stdout(Stdio::piped()).spawn().expect("python3");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut port = String::new();
        said.read_line(&mut port).unwrap();
        (Platforms { child, said }, format!("http://127.0.0.1:{}", port.trim_end()))
    }

    /// The next thing that it was given.
    fn got(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Platforms {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a line in the project's directory, in which make and cargo find everything built.
fn run_in_project(line: &Line, row: &Expected) {
    let (mut platforms, address) = Platforms::start();
    let scratch = Scratch::new("project");
    let venvs = std::env::var("TEST_VENVS").map_or_else(|_| project().join("target/venv"), PathBuf::from);
    let venv = venvs.join("examples/bin");
    std::fs::create_dir(scratch.path("bin")).unwrap();
    scratch.file("bin/cargo", CARGO, "755");
    scratch.file("bin/rustup", b"#!/bin/sh\n", "755");
    // Its own script names another directory (Makefile).
    if venv.join("aws").exists() {
        let aws = format!("#!/bin/sh\nexec {}/python -m awscli \"$@\"\n", venv.display());
        scratch.file("bin/aws", aws.as_bytes(), "755");
    }
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: x, contexts: [{{name: x, context: {{cluster: x}}}}], \
         clusters: [{{name: x, cluster: {{server: '{address}'}}}}]}}"
    );
    let config = scratch.file("kubeconfig", config.as_bytes(), "600");
    let path = path(&scratch.path("bin"));
    let musl = "target/x86_64-unknown-linux-musl/release/foster";
    let program =
        if line.text.contains(musl) { format!("{}/{musl}", project().display()) } else { program(&line.text) };
    if !is_there(&program, line, &path) {
        return;
    }
    let mut shell = Command::new("bash");
    // NAME stands for the name of a test.
    shell
        .args(["-c", &format!("exec 2>&1; {}", line.text.replace("NAME", "a_hundred_orphans"))])
        .current_dir(project());
    shell.env("PATH", path).env("HOME", scratch.path("")).env("SUITE", std::env::current_exe().unwrap());
    shell.env("MAKEFLAGS", format!("FOSTER={}", binaries()[0].display())).env("KUBECONFIG", config);
    shell.env("AWS_ENDPOINT_URL", &address).env("AWS_DEFAULT_REGION", "eu-central-1");
    shell.env("AWS_ACCESS_KEY_ID", "none").env("AWS_SECRET_ACCESS_KEY", "none");
    let output = plainly(&mut shell);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(row.code), "{line:?}:\n{said}");
    assert_in_order(line, &said, row.says);
    if ["kubectl apply", "aws"].iter().any(|sends| line.text.starts_with(sends)) {
        let got = platforms.got();
        assert!(got.contains(r#"["/usr/local/bin/foster", "--"]"#), "{line:?}: {got}");
    }
}

#[test]
fn the_project_s_own_command_lines_and_those_of_the_platforms_work() {
    if !namespaces() {
        return;
    }
    let lines = lines();
    std::thread::scope(|scope| {
        for line in lines.iter().filter(|line| runner(line) == Runner::Project) {
            scope.spawn(move || {
                let _context = Context(format!("{line:?}"));
                run_in_project(line, what_is_expected(line).expect("a row"));
            });
        }
    });
}

/// As far as can be seen without running it, a line that is not run would: its files and its make target exist, and make
/// test makes what it is said to make.
#[test]
fn what_is_not_run_is_about_things_that_exist() {
    let dry = |words: &[String]| {
        let output = plainly(Command::new("make").arg("-n").args(words).current_dir(project()));
        assert!(output.status.success(), "make {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let whole_test = dry(&["test".to_owned()]);
    for (text, reason) in NOT_RUN {
        let words = words(text);
        let files = words.iter().filter(|word| word.contains('/') && !word.contains('='));
        assert_eq!(files.filter(|word| !project().join(word).exists()).collect::<Vec<_>>(), [""; 0], "{text}");
        if let Some(at) = words.iter().position(|word| word == "make") {
            let lines = dry(&words[at + 1..]);
            let is_part = lines.lines().all(|line| whole_test.contains(line));
            assert!(is_part || *reason != PART_OF_TEST, "{text}: {reason}");
        }
        if let Some(filter) = words.last().filter(|word| word.starts_with("storms") || *word == "completions") {
            let list = plainly(Command::new(std::env::current_exe().unwrap()).args(["--list", filter]));
            assert!(String::from_utf8_lossy(&list.stdout).contains(": test"), "{text}");
        }
    }
}

/// The lines for a script of tests/runtimes, one a line: the text, a tab, and what the document shows, with \\n in between.
pub fn for_runtime(script: &str) -> String {
    let is_for = |line: &&Line| match (script, runner(line)) {
        ("podman.sh", runner) => runner == Runner::Podman,
        // What the engine itself can do that the documents ask for.
        ("docker.sh", Runner::Docker) => true,
        ("docker.sh", Runner::Podman) => ENGINE.iter().any(|start| line.text.starts_with(start)),
        _ => false,
    };
    let record = |line: &Line| format!("{}\t{}\n", line.text, line.shown.as_deref().unwrap_or_default().join("\\n"));
    lines().iter().filter(is_for).map(record).collect()
}

/// The beginnings of lines that podman.sh runs with podman, and docker.sh with Docker as well.
const ENGINE: &[&str] = &["install foster ", "docker info", "docker run --rm --init "];
