//! Every ```console block of the documents is run as it stands, and what it prints is compared with what the block shows.
//!
//! - A line that begins with `$ ` is a command. The lines below it are its output. `…` stands for anything within a line,
//!   and for any lines where it stands alone.
//! - A command ends with 0, or `$ echo $?` follows and shows the code.
//! - `^C`, or `# kill -TERM, from another shell`, is sent once everything above it has been printed.
//! - Words after `console` say where: `pid1` makes the program PID 1 of a namespace; `container` gives the block to
//!   tests/runtimes/podman.sh, in which docker is podman; `docker` gives it to tests/runtimes/docker.sh as well; `release`
//!   gives it to `channels`, which has one; `registry` gives it to tests/runtimes/registry.sh.
//!
//! What a reader brings along (a server, a job) is a stand-in from here. [`NOT_RUN`] has the lines that are not run.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::documents::{Block, blocks, documents, read};
use crate::harness::{
    Context, End, Finished, Foster, Place, Run, Scratch, binaries, namespaces, only_child, plainly, skipped,
};

const PART_OF_TEST: &str = "make test begins with it";

/// What is not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make test", "it is what runs this test"),
    ("TEST_ALL=1 make test", "the same; the release workflow runs it so"),
    ("make everywhere", "four minutes, and it runs the tests with what it has made"),
    ("UPDATE=1 cargo test packages", "it writes files that other tests read meanwhile"),
    ("make bench", "six minutes, and all it does is measure"),
    ("make bench BENCH=--quick", "two minutes of the same"),
    (
        "cargo +nightly fuzz run --fuzz-dir tests/fuzz parsers tests/fuzz/corpus",
        "nightly Rust and cargo-fuzz; without end",
    ),
    ("TEST_DEPTH=2 cargo mutants -f src/policy/ -- --lib", "cargo-mutants, and an hour"),
    ("TEST_SECONDS=3600 cargo test --test suite storms::", "two hours; make test has two minutes of it"),
    ("TEST_SECONDS=3600 cargo test --test suite hostile::", "an hour; every run of the suite tries 400 seeds"),
    ("TEST_DEPTH=5 cargo test --lib policy::", "two and a half minutes; make test does it at depth 4"),
    ("UPDATE=1 cargo test completions", "it writes files that other tests read meanwhile"),
    ("cargo build --examples", "make test builds the examples, and this test runs one"),
    ("make build", PART_OF_TEST),
    ("make deb", PART_OF_TEST),
    ("make check", PART_OF_TEST),
];

/// A command line in a document, without its comment, and what stands below it.
#[derive(Debug, PartialEq)]
pub struct Line {
    place: String,
    text: String,
    /// The words after `console`.
    marks: String,
    shown: Vec<String>,
}

impl Line {
    fn is_marked(&self, mark: &str) -> bool {
        self.marks.split(' ').any(|word| word == mark)
    }

    /// What it prints up to each signal that is sent to it, and after the last one.
    fn parts(&self) -> Vec<(&[String], Option<i32>)> {
        let mut parts = Vec::new();
        let mut rest = &self.shown[..];
        while let Some((at, signal)) = rest.iter().enumerate().find_map(|(at, line)| Some((at, signal(line)?))) {
            parts.push((&rest[..at], Some(signal)));
            rest = &rest[at + 1..];
        }
        parts.push((rest, None));
        parts
    }
}

/// The signal that a line of a block stands for.
fn signal(line: &str) -> Option<i32> {
    match line {
        "^C" => Some(libc::SIGINT),
        "# kill -TERM, from another shell" => Some(libc::SIGTERM),
        _ => None,
    }
}

/// The words of a command line, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
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

/// The command lines of a block.
fn of_block(document: &str, block: &Block) -> Vec<Line> {
    let Some(marks) = block.info.strip_prefix("console") else { return Vec::new() };
    let unknown = |mark: &&str| !["pid1", "container", "docker", "release", "registry"].contains(mark);
    assert_eq!(marks.split_whitespace().find(unknown), None, "{document}:{}: unknown", block.line);
    let mut lines: Vec<Line> = Vec::new();
    for (at, text) in block.lines.iter().enumerate() {
        let place = format!("{document}:{}", block.line + 1 + at);
        match (text.strip_prefix("$ "), lines.last_mut()) {
            // The exit code of the line before.
            (Some("echo $?"), Some(last)) => last.text += "; echo $?",
            (Some(text), _) => {
                let text = without_comment(text).to_owned();
                lines.push(Line { place, text, marks: marks.trim().to_owned(), shown: Vec::new() });
            }
            (None, Some(last)) => last.shown.push(without_comment(text).to_owned()),
            (None, None) => panic!("{place}: output before its command"),
        }
    }
    lines
}

/// Every command line of every document, each once for each output and place.
fn lines() -> Vec<Line> {
    let mut all = Vec::new();
    for (path, text) in documents() {
        all.extend(blocks(&path, &text).iter().flat_map(|block| of_block(&path, block)));
    }
    let dockerfile = read("Dockerfile.example");
    all.extend(dockerfile.lines().filter_map(|line| line.strip_prefix("#   ")).map(|text| Line {
        place: "Dockerfile.example".into(),
        text: text.into(),
        marks: "container".into(),
        shown: Vec::new(),
    }));
    let mut each: Vec<Line> = Vec::new();
    for line in all {
        let is_same =
            |known: &&mut Line| (&known.text, &known.marks, &known.shown) == (&line.text, &line.marks, &line.shown);
        match each.iter_mut().find(is_same) {
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
    /// tests/runtimes/podman.sh.
    Podman,
    /// tests/runtimes/docker.sh, a Docker Engine.
    Docker,
    /// tests/runtimes/registry.sh, which has a registry.
    Registry,
    /// `channels`, with what a release has.
    Channels,
    /// Nothing: it stands in NOT_RUN.
    Nobody,
}

fn runner(line: &Line) -> Runner {
    if NOT_RUN.iter().any(|(known, _)| *known == line.text) {
        return Runner::Nobody;
    }
    match program(&line.text).as_str() {
        "dockerd" => Runner::Docker,
        _ if line.is_marked("release") => Runner::Channels,
        _ if line.is_marked("registry") => Runner::Registry,
        _ if line.is_marked("container") || line.is_marked("docker") => Runner::Podman,
        "make" | "cargo" | "kubectl" | "aws" => Runner::Project,
        _ => Runner::Shell,
    }
}

#[test]
fn whatever_is_not_run_has_a_reason_and_stands_in_a_document() {
    let lines = lines();
    let stands = |text: &str| lines.iter().any(|line| line.text == text);
    let gone: Vec<&str> = NOT_RUN.iter().map(|(text, _)| *text).filter(|text| !stands(text)).collect();
    assert_eq!(gone, [""; 0], "not in the documents any more");
    // What only the platforms can print is seen by the scripts, which say when a line is left over.
    let is_for_a_script = |line: &&Line| matches!(runner(line), Runner::Podman | Runner::Docker);
    assert!(lines.iter().filter(is_for_a_script).count() > 15, "few lines for tests/runtimes");
}

/// The man page's examples are lines of the documents, so they are run.
#[test]
fn the_man_page_s_examples_are_run() {
    let lines = lines();
    let man = read("docs/foster.1");
    let examples: Vec<&str> = man.lines().filter_map(|line| line.strip_prefix(".Dl ")).collect();
    assert!(examples.len() > 1, "{examples:?}");
    for example in examples {
        let is_run = |line: &Line| line.text.trim_end_matches("; echo $?") == example;
        assert!(lines.iter().any(is_run), "in no console block of the documents: {example}");
    }
}

/// The collector finds what it should find.
#[test]
fn a_new_command_line_is_noticed() {
    let found = |text: &str| -> Vec<Line> { blocks("x", text).iter().flat_map(|block| of_block("x", block)).collect() };
    let texts = |text: &str| found(text).into_iter().map(|line| line.text).collect::<Vec<_>>();
    assert_eq!(
        texts("Type\n\n```console\n$ nerdctl run app\n$ A=1 foster -- x    # why\n```\n"),
        ["nerdctl run app", "A=1 foster -- x"]
    );
    assert_eq!(texts("```dockerfile\nENTRYPOINT [\"foster\"]\n```\n\n```text\nfoster -P\n```\n"), [""; 0]);
    let lines = found("```console pid1\n$ foster -P; echo $?\n0   # always\n$ foster\n125\n$ echo $?\n1\n```\n");
    let texts: Vec<_> = lines.iter().map(|line| (line.text.as_str(), line.shown.join("|"))).collect();
    assert_eq!(texts, [("foster -P; echo $?", "0".to_owned()), ("foster; echo $?", "125|1".to_owned())]);
    assert!(lines[0].is_marked("pid1") && runner(&lines[0]) == Runner::Shell);
    let line = &found("```console\n$ foster x\nready\n^C\nended\n# kill -TERM, from another shell\n```\n")[0];
    let (ready, ended) = (["ready".to_owned()], ["ended".to_owned()]);
    assert_eq!(line.parts(), [(&ready[..], Some(2)), (&ended[..], Some(15)), (&[][..], None)]);
    let refused = |text: &'static str| std::panic::catch_unwind(move || blocks("x", text)).is_err();
    assert!(refused("```\nfoster\n```\n"), "a block without a language");
    assert!(refused("```sh\n$ foster\n```\n"), "a prompt in a block that is not run");
    assert!(refused("Type\n\n    foster -P\n"), "an indented block");
    assert!(refused("```console\n$ foster\n"), "a block without an end");
}

/// What is compared is compared: each of these must be noticed.
#[test]
fn another_output_is_noticed() {
    let line = |shown: &[&str]| Line {
        place: "x".into(),
        text: "x".into(),
        marks: String::new(),
        shown: shown.iter().map(|line| (*line).to_owned()).collect(),
    };
    let differs = |shown: &[&str], said: &str| difference(&line(shown), said).is_some();
    assert!(!differs(&["a", "foster[1]: x 7"], "foster[22]: x 9\na\n"), "numbers, and another program's lines");
    assert!(differs(&["a"], "a\nb\n") && differs(&["a", "b"], "a\n") && differs(&["a"], "b\n"));
    assert!(differs(&["foster[1]: a", "foster[1]: b"], "foster[1]: b\nfoster[1]: a\n"), "the order of one's own lines");
    assert!(!differs(&["…", "b", "…"], "a\nb\nc\n") && differs(&["…", "b"], "a\nc\n"));
    assert!(!differs(&["a … c"], "a b c\n") && differs(&["a … c"], "a b d\n"));
    assert!(differs(&[], "a\n"), "nothing shown: nothing printed");
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
trap 'exit 0' QUIT
sleep 60 &
echo ready
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
    if line.text.starts_with("FOSTER_") && program(&line.text) != "foster" {
        symlink(&binaries()[0], scratch.path("bin").join(program(&line.text))).unwrap();
    }
    let programs: &[(&str, &[u8])] = &[
        ("server", SERVER),
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

/// Runs a line in a directory of its own, all output on stdout. A namespace's mounts are its own: what is installed goes
/// into the reader's directory.
fn start(text: &str, scratch: &Scratch, is_pid_1: bool, environment: &[(&str, &str)]) -> Run {
    let directory = scratch.path("");
    let enter = "cd \"$0\" && mount --bind installed /usr/local/bin && exec \"$@\" 2>&1";
    let before = ["sh", "-c", enter, directory.to_str().unwrap()];
    // Not PID 1, the line is in a shell below a foster that waits for everything which the line leaves.
    let mut foster = match is_pid_1 {
        true => Foster::new(Path::new("bash"), Place::Pid1).options(&["-c", text]),
        false => Foster::new(&binaries()[0], Place::Pid1).options(&["--wait", "bash", "-c", text]),
    };
    foster = foster.env("PATH", path(&scratch.path("bin"))).env("LC_ALL", "C");
    environment.iter().fold(foster.after(&before), |foster, (name, value)| foster.env(name, value)).run::<&str>(&[])
}

/// Numbers are different each time.
fn without_numbers(text: &str) -> String {
    let mut masked = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if masked.ends_with('N') => {}
            true => masked.push('N'),
            false => masked.push(c),
        }
    }
    masked
}

/// Whether a line is like one that a document shows, in which … stands for anything.
fn is_like(said: &str, shown: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = &parts[..] else { return said == shown };
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// What is wrong with the output of a line, if anything is: each shown line is there, foster's in their order and those of
/// others in theirs, and no other line, unless one of … alone stands for it.
fn difference(line: &Line, output: &str) -> Option<String> {
    let clean = |text: &str| text.replace(|c: char| c.is_control() && c != '\t', "").trim().to_owned();
    let is_log = line.shown.iter().any(|shown| shown.contains("foster["));
    // Of a log no two are the same.
    let read = |text: &str| if is_log { without_numbers(&clean(text)) } else { clean(text) };
    // What a shell says of a signal depends on the shell.
    let mut said: Vec<String> = output.lines().filter(|said| !said.starts_with("bash: line ")).map(read).collect();
    let is_fosters = |line: &str| line.starts_with("foster[");
    let shown: Vec<String> = line.shown.iter().filter(|shown| signal(shown).is_none()).map(|text| read(text)).collect();
    let anything = shown.iter().any(|shown| shown == "…");
    let mut rest: [Vec<String>; 2] = Default::default();
    for line in said.drain(..) {
        rest[usize::from(is_fosters(&line))].push(line);
    }
    for shown in shown.iter().filter(|shown| *shown != "…") {
        let lines = &mut rest[usize::from(is_fosters(shown))];
        match lines.iter().position(|said| is_like(said, shown)) {
            Some(0) => drop(lines.remove(0)),
            Some(at) if anything => drop(lines.drain(..=at)),
            _ => return Some(format!("no {shown:?} in its place")),
        }
    }
    (!anything && !rest.concat().is_empty()).then(|| format!("also {:?}", rest.concat()))
}

/// Runs a line that takes no container, and compares.
fn run_line(line: &Line) {
    let scratch = reader(line);
    let is_pid_1 = line.is_marked("pid1");
    // A shell that says the exit code would be PID 1 itself.
    let (text, shows_code) = match line.text.strip_suffix("; echo $?") {
        Some(text) if is_pid_1 => (text, true),
        _ => (line.text.as_str(), false),
    };
    let stays = if line.text.contains(" -k 5s ") { "stubborn" } else { "until asked" };
    let parts = line.parts();
    let environment = [("STAYS", stays)];
    let run = start(text, &scratch, is_pid_1, if parts.len() > 1 { &environment } else { &[] });
    let mut output = String::new();
    for (shown, signal) in &parts {
        let Some(signal) = signal else { continue };
        // foster expects a signal from its first instruction on, and a stand-in once it has said something.
        for _ in 0..shown.len() {
            output += &(run.line() + "\n");
        }
        run.signal(*signal);
    }
    let Finished { end, lines, .. } = run.finish();
    output.extend(lines.iter().map(|line| format!("{line}\n")));
    match end {
        End::Exited(code) if shows_code => output += &format!("{code}\n"),
        end => assert_eq!(end, End::Exited(0), "{line:?}: {output}"),
    }
    if let Some(difference) = difference(line, &output) {
        panic!("{line:?}: {difference}, in:\n{output}");
    }
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
                run_line(line);
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
    let line = lines.iter().find(|line| line.text.starts_with("sha256sum ")).expect("a line in the documents");
    let scratch = reader(line);
    assert_eq!(start(&line.text, &scratch, true, &[]).finish().end, End::Exited(0));
    assert!(scratch.path("installed/foster").exists());
    let scratch = reader(line);
    scratch.file("foster-x86_64", b"another program", "755");
    let Finished { end, lines, .. } = start(&line.text, &scratch, true, &[]).finish();
    assert_eq!(end, End::Exited(1), "{lines:?}");
    assert!(!scratch.path("installed/foster").exists());
}

/// The two scripts with a trap in docs/migrating.md: the second one waits.
fn scripts_with_a_trap() -> [Line; 2] {
    let blocks = blocks("docs/migrating.md", &read("docs/migrating.md"));
    let found = blocks.iter().filter(|block| block.info == "sh" && block.lines[0].starts_with("server &"));
    let line = |block: &Block| Line {
        place: String::new(),
        text: block.lines.join("\n"),
        marks: String::new(),
        shown: Vec::new(),
    };
    found.map(line).collect::<Vec<_>>().try_into().expect("two scripts")
}

/// Waits until a shell has set its trap. bash blocks the signal for a moment whenever it forks.
fn await_trap(shell: i32) {
    let catches_it = || {
        let status = std::fs::read_to_string(format!("/proc/{shell}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (libc::SIGTERM - 1)) != 0
    };
    crate::harness::poll("the script's trap", catches_it);
}

/// docs/migrating.md says of the script with a trap that it ends before the server, with 143.
#[test]
fn the_script_that_traps_signals_does_what_the_documents_say_of_it() {
    if !namespaces() {
        return;
    }
    let [line, _] = scripts_with_a_trap();
    let scratch = reader(&line);
    std::fs::rename(scratch.path("server"), scratch.path("bin/server")).unwrap();
    let run = start(&line.text, &scratch, true, &[("STAYS", "until asked")]);
    run.expect("ready");
    await_trap(run.namespace_pid());
    run.signal(libc::SIGTERM);
    // wait(1) returns when the trap has run.
    assert_eq!(run.finish().end, End::Exited(128 + libc::SIGTERM));
}

/// Says each SIGTERM, and ends when there is a file `gate`.
const SLOW_SERVER: &[u8] = b"#!/bin/bash
trap 'echo asked' TERM
echo ready
until [ -e gate ]; do :; done
exit 3
";

/// With foster in front, a script with a trap that does not wait has its server asked by foster as well. The one that waits
/// ends after the server, with the server's code, and foster has nothing left to ask.
#[test]
fn only_the_script_that_waits_in_its_trap_has_its_server_asked_once() {
    if !namespaces() {
        return;
    }
    let [ends_at_once, waits] = scripts_with_a_trap();
    for shell in ["bash", "dash"] {
        for (line, code, asked_again) in [(&ends_at_once, 128 + libc::SIGTERM, true), (&waits, 3, false)] {
            let _context = Context(format!("{shell} {}", line.text));
            let scratch = reader(line);
            scratch.file("bin/server", SLOW_SERVER, "755");
            let directory = scratch.path("");
            let enter = ["sh", "-c", "cd \"$0\" && exec \"$@\"", directory.to_str().unwrap()];
            let foster = Foster::new(&binaries()[0], Place::Pid1).option("-v").env("PATH", path(&scratch.path("bin")));
            let run = foster.after(&enter).run(&[shell, "-c", &line.text]);
            run.expect("ready");
            await_trap(only_child(run.foster_pid()));
            run.signal(libc::SIGTERM);
            run.expect("asked");
            if asked_again {
                run.says("SIGTERM sent to 1 process that command");
            }
            scratch.file("gate", b"", "644");
            let Finished { end, stderr, .. } = run.finish();
            assert_eq!(end, End::Exited(code), "{stderr}");
            assert_eq!(stderr.contains("SIGTERM sent to 1 process that command"), asked_again, "{stderr}");
        }
    }
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
fn run_in_project(line: &Line) {
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
    shell.args(["-c", &format!("exec 2>&1; {}", line.text)]).current_dir(project());
    shell.env("PATH", path).env("HOME", scratch.path("")).env("SUITE", std::env::current_exe().unwrap());
    shell.env("MAKEFLAGS", format!("FOSTER={}", binaries()[0].display())).env("KUBECONFIG", config);
    shell.env("AWS_ENDPOINT_URL", &address).env("AWS_DEFAULT_REGION", "eu-central-1");
    shell.env("AWS_ACCESS_KEY_ID", "none").env("AWS_SECRET_ACCESS_KEY", "none");
    let output = plainly(&mut shell);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{line:?}:\n{said}");
    if let Some(difference) = difference(line, &said) {
        panic!("{line:?}: {difference}, in:\n{said}");
    }
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
                run_in_project(line);
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
        if let Some(filter) =
            words.last().filter(|word| ["storms::", "hostile::", "completions"].contains(&word.as_str()))
        {
            let list = plainly(Command::new(std::env::current_exe().unwrap()).args(["--list", filter]));
            assert!(String::from_utf8_lossy(&list.stdout).contains(": test"), "{text}");
        }
    }
}

/// The lines that want a release, in the documents' order, and the one between them that checks a download.
pub fn for_release() -> Vec<String> {
    let is_for = |line: &Line| runner(line) == Runner::Channels || line.text.starts_with("sha256sum ");
    lines().into_iter().filter(is_for).map(|line| line.text).collect()
}

/// The lines for a script of tests/runtimes, one a line: the text, a tab, and what the document shows, with \\n in between.
pub fn for_runtime(script: &str) -> String {
    let is_for = |line: &&Line| match (script, runner(line)) {
        ("podman.sh", runner) => runner == Runner::Podman,
        ("registry.sh", runner) => runner == Runner::Registry,
        ("docker.sh", Runner::Docker) => true,
        ("docker.sh", Runner::Podman) => line.is_marked("docker"),
        _ => false,
    };
    let record = |line: &Line| format!("{}\t{}\n", line.text, line.shown.join("\\n"));
    lines().iter().filter(is_for).map(record).collect()
}
