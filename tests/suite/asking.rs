//! Who is asked to stop, when, with which signal, and how often: the rules of docs/stopping.md that masters and servers do not
//! show. With real processes, as they come, and without a stdin or a stderr.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::{
    End, Foster, Place, Run, Scratch, binaries, children, everywhere, poll, send, signals_taken, state,
};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;

/// What a shell does as it executes foster. One of the binaries stands for all with a descriptor closed.
fn descriptors(binary: &Path) -> &'static [&'static str] {
    if binary == binaries()[0] { &["", "<&-", "2>&-"] } else { &[""] }
}

fn with_any_descriptors(test: impl Fn(Foster, Place)) {
    everywhere(|binary, place| {
        for closed in descriptors(binary) {
            test(Foster::new(binary, place).after(&["sh", "-c", &format!("exec \"$@\" {closed}"), "sh"]), place);
        }
    });
}

/// A bash has no sleep of its own: it waits for a line in this, which nobody writes.
fn fifo(files: &Scratch) -> String {
    let path = files.path("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    path.to_str().expect("UTF-8").to_owned()
}

/// Says each TERM and USR1, and ticks until somebody kills it; USR1 ends it if its argument says so.
const TICKS: &str = r#"
trap 'echo got TERM' TERM
trap 'echo got USR1; [ "$1" != ends ] || exit 7' USR1
echo ready
while :; do echo tick; read -t 0.02 <>"$0"; done
"#;

fn ticks(foster: Foster, files: &Scratch, ends: &str) -> Run {
    let run = foster.run(&["bash", "-c", TICKS, &fifo(files), ends]);
    run.expect("ready");
    run
}

/// More than 200 ms pass by the command's own clock, so it is alive.
fn some_time_passes(run: &Run) {
    (1..=12).for_each(|_| drop(run.lines_before("tick")));
}

#[test]
fn only_what_stop_signal_names_starts_the_grace() {
    with_any_descriptors(|foster, place| {
        let files = Scratch::new("stop-signal");
        let run = ticks(foster.options(&["--stop-signal=USR1", "--grace=100ms"]), &files, "");
        run.signal(SIGTERM);
        run.lines_before("got TERM");
        some_time_passes(&run);
        run.signal(SIGUSR1);
        run.lines_before("got USR1");
        run.finish().assert_ended_by(place, SIGKILL);
    });
}

/// `trap '' INT; exec foster`, as a shell without job control does it for a job behind `&`.
#[test]
fn what_foster_inherited_as_ignored_starts_no_grace() {
    everywhere(|binary, place| {
        for closed in descriptors(binary) {
            let files = Scratch::new("inherited");
            let script = format!("trap '' INT; exec \"$@\" {closed}");
            let foster = Foster::new(binary, place).after(&["sh", "-c", &script, "sh"]).option("--grace=100ms");
            let run = ticks(foster, &files, "");
            run.signal(SIGINT);
            some_time_passes(&run);
            run.signal(SIGTERM);
            run.lines_before("got TERM");
            run.finish().assert_ended_by(place, SIGKILL);
        }
    });
}

/// So the test above can fail.
#[test]
fn what_foster_did_not_inherit_as_ignored_starts_the_grace() {
    with_any_descriptors(|foster, place| {
        let files = Scratch::new("not-inherited");
        // The command ignores it all the same.
        let script = "trap '' INT; exec \"$@\"";
        let command = ["sh", "-c", script, "sh", "bash", "-c", TICKS, &fifo(&files)];
        let run = foster.option("--grace=100ms").run(&command);
        run.expect("ready");
        run.signal(SIGINT);
        run.finish().assert_ended_by(place, SIGKILL);
    });
}

#[test]
fn the_same_request_twice_within_the_delay_is_forwarded_once() {
    with_any_descriptors(|foster, _| {
        let files = Scratch::new("twice");
        let run = ticks(foster.option("--stop-delay=200ms"), &files, "ends");
        let foster = run.foster_pid();
        for _ in 0..2 {
            run.signal(SIGTERM);
            signals_taken(foster);
        }
        run.lines_before("got TERM");
        some_time_passes(&run);
        run.signal(SIGUSR1);
        let finished = run.finish();
        assert_eq!(finished.end, End::Exited(7), "{finished:?}");
        assert!(!finished.lines.iter().any(|line| line == "got TERM"), "{finished:?}");
    });
}

/// A shell, which ends when it is asked, and a server that says how often it was asked. It ends when there is a file.
const SERVER: &str = r#"
(trap 'echo asked' TERM; trap 'echo asked by USR1' USR1; echo ready; until [ -e "$0" ]; do read -t 0.02 <>"$1"; done) &
wait"#;

/// Stops foster with the server running, and waits until foster has come to it and sleeps. Returns what the server said.
fn stop_server(foster: Foster) -> Vec<String> {
    let files = Scratch::new("server");
    let gate = files.path("gate");
    let run = foster.run(&["bash", "-c", SERVER, gate.to_str().expect("UTF-8"), &fifo(&files)]);
    run.expect("ready");
    let foster = run.foster_pid();
    let server = children(children(foster)[0])[0];
    run.signal(SIGTERM);
    poll("the server is foster's", || children(foster) == [server]);
    poll("foster sleeps", || state(foster) == 'S');
    signals_taken(server);
    files.file("gate", b"", "644");
    run.finish().lines
}

#[test]
fn a_leftover_that_had_the_signal_with_the_group_is_asked_once() {
    with_any_descriptors(|foster, _| assert_eq!(stop_server(foster.option("-g")), ["asked"]));
}

#[test]
fn a_leftover_is_asked_by_foster_with_the_signal_that_is_set() {
    with_any_descriptors(|foster, _| assert_eq!(stop_server(foster), ["asked"]));
    with_any_descriptors(|foster, _| {
        assert_eq!(stop_server(foster.option("--leftover-signal=USR1")), ["asked by USR1"]);
    });
}

/// A shell with something left to do, and a server that says by which signal it was asked. It ends when there is a file.
const SERVER_OF_AN_IMAGE: &str = r#"
bash -c 'for s in TERM INT QUIT WINCH USR1; do trap "echo asked by $s" $s; done; echo ready; until [ -e "$0" ]; do read -t 0.02 <>"$1"; done' "$0" "$1"
:"#;

/// The rows of docs/stopping.md: an image's stop signal, and the settings for it behind a shell.
fn images_behind_a_shell() -> Vec<(String, Vec<(String, String)>)> {
    let document = crate::documents::read("docs/stopping.md");
    let (_, table) = document.split_once("\n| image | its STOPSIGNAL |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let settings = |cells: &[&str]| -> Vec<(String, String)> {
        let lines = cells.iter().filter_map(|cell| cell.trim().strip_prefix("`ENV ")?.strip_suffix('`'));
        lines.flat_map(|line| line.split(' ')).filter_map(|set| set.split_once('=')).map(owned).collect()
    };
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (cells[2].trim().trim_start_matches("SIG").to_owned(), settings(&cells[3..]))
    })
    .collect()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The shells that are here, as the commands of `-c`.
fn shells() -> Vec<Vec<&'static str>> {
    let shells = [vec!["dash"], vec!["bash"], vec!["busybox", "sh"]];
    let is_there = |shell: &Vec<&str>| Command::new(shell[0]).args(&shell[1..]).args(["-c", ":"]).status().is_ok();
    shells.into_iter().filter(is_there).collect()
}

/// Stops foster with a signal. Returns who the server says that it was asked by, if the shell ends; otherwise that it did not.
fn stop_image(foster: Foster, shell: &[&str], signal: &str, ends: bool) -> Vec<String> {
    let files = Scratch::new("image");
    let gate = files.path("gate");
    let run = foster.run(&[shell, &["-c", SERVER_OF_AN_IMAGE, gate.to_str().expect("UTF-8"), &fifo(&files)]].concat());
    run.expect("ready");
    let foster = run.foster_pid();
    let shell = children(foster)[0];
    let server = children(shell)[0];
    // bash sets up what it does on SIGINT when it begins to wait; before, SIGINT ends it.
    poll("the shell waits for the server", || state(shell) == 'S');
    send(foster, Signal::from_str(&format!("SIG{signal}")).expect("a signal") as i32);
    signals_taken(foster);
    if ends {
        poll("the server is foster's", || children(foster) == [server]);
        poll("foster sleeps", || state(foster) == 'S');
        signals_taken(server);
    } else {
        poll("foster sleeps", || state(foster) == 'S');
        assert_eq!(children(foster), [shell]);
    }
    files.file("gate", b"", "644");
    run.finish().lines
}

#[test]
fn behind_every_shell_the_documents_lines_for_an_image_ask_its_server_once_with_its_own_signal() {
    let images = images_behind_a_shell();
    assert_eq!(images.len(), 5, "{images:?}");
    everywhere(|binary, place| {
        for (signal, settings) in &images {
            for shell in shells() {
                let foster =
                    settings.iter().fold(Foster::new(binary, place), |foster, (name, value)| foster.env(name, value));
                let said = stop_image(foster, &shell, signal, true);
                assert_eq!(said, [format!("asked by {signal}")], "{shell:?} {settings:?}");
            }
        }
    });
}

/// So the test above can fail: these shells stay when they get the image's own signal, and nobody asks the server.
#[test]
fn behind_many_a_shell_an_images_own_signal_asks_nobody() {
    everywhere(|binary, place| {
        for signal in ["QUIT", "WINCH", "INT"] {
            let foster = Foster::new(binary, place).option("--stop-signal").option(signal);
            let said = stop_image(foster.option("--leftover-signal").option(signal), &["bash"], signal, false);
            assert_eq!(said, [""; 0], "{signal}");
        }
    });
}

/// Of two generations the second is asked when the first has died, and not before.
#[test]
fn the_second_generation_is_asked_when_the_first_has_died() {
    const FIRST: &str = r#"
bash -c '
    trap "echo first asked" TERM
    (trap "echo second asked; exit" TERM; echo ready; while :; do read -t 0.02 <>"$1"; done) &
    until [ -e "$0" ]; do read -t 0.02 <>"$1"; done' "$0" "$1"
:"#;
    with_any_descriptors(|foster, place| {
        let files = Scratch::new("generations");
        let gate = files.path("gate");
        let run = foster.run(&["sh", "-c", FIRST, gate.to_str().expect("UTF-8"), &fifo(&files)]);
        run.expect("ready");
        let foster = run.foster_pid();
        let second = children(children(children(foster)[0])[0])[0];
        run.signal(SIGTERM);
        run.expect("first asked");
        poll("foster sleeps", || state(foster) == 'S');
        signals_taken(second);
        assert_eq!(run.line_if_any(), None, "below the first generation nobody is asked");
        files.file("gate", b"", "644");
        run.expect("second asked");
        run.finish().assert_ended_by(place, SIGTERM);
    });
}

/// A shell runs its trap when the program in its foreground has ended, so nobody but foster can ask that one.
const TRAP: &str = r#"
trap 'echo script asked; exit 3' TERM
bash -c 'trap "echo server asked; exit" TERM; trap "echo server asked by USR1; exit" USR1; echo ready; while :; do read -t 0.02 <>"$0"; done' "$0"
"#;

fn script_with_a_trap(foster: Foster, files: &Scratch) -> Run {
    let run = foster.run(&["sh", "-c", TRAP, &fifo(files)]);
    run.expect("ready");
    run
}

#[test]
fn the_last_call_reaches_the_server_below_a_script_with_a_trap() {
    with_any_descriptors(|foster, _| {
        for (options, server) in [(&[][..], "server asked"), (&["--leftover-signal=USR1"], "server asked by USR1")] {
            let files = Scratch::new("last-call");
            // After 1.5 s. What is left of the grace has to be enough for the server and the script on a busy machine.
            let foster = foster.clone().option("--grace=2s").options(options);
            let run = script_with_a_trap(foster, &files);
            run.signal(SIGTERM);
            run.expect(server);
            run.expect("script asked");
            assert_eq!(run.finish().end, End::Exited(3));
        }
    });
}

/// Without a grace: 8 s after the request what is below a leftover is called, and nobody below a command that lives. It was
/// asked before the other, and so it would have been called by then.
#[test]
fn without_a_grace_the_last_call_is_for_leftovers_alone() {
    const MASTER_THAT_STAYS: &str = r#"
bash -c '
    trap "echo master asked" TERM
    (trap "echo worker asked; exit" TERM; echo ready; while :; do read -t 0.02 <>"$0"; done) &
    while kill -0 $! 2>/dev/null; do read -t 0.02 <>"$0"; done' "$0"
:"#;
    everywhere(|binary, place| {
        // 8 s, of which one binary's are enough.
        if binary != binaries()[0] {
            return;
        }
        let files = ["living", "leftover"].map(|name| Scratch::new(&format!("no-grace-{name}")));
        let living = script_with_a_trap(Foster::new(binary, place), &files[0]);
        living.signal(SIGTERM);
        signals_taken(living.foster_pid());
        let fifo = fifo(&files[1]);
        let run = Foster::new(binary, place).run(&["sh", "-c", MASTER_THAT_STAYS, &fifo]);
        run.expect("ready");
        let start = Instant::now();
        run.signal(SIGTERM);
        run.expect("master asked");
        run.expect("worker asked");
        let took = start.elapsed().as_secs_f64();
        assert!(took > 7.9, "{took} s");
        assert_eq!(living.line_if_any(), None, "nobody below a living command is called");
        run.finish().assert_ended_by(place, SIGTERM);
    });
}

/// The kernel drops a SIGTERM for the init of a PID namespace that has no handler for it. What is below it hears the last call,
/// and SIGKILL for the init ends its namespace.
#[test]
fn a_nested_namespaces_init_without_a_handler_ends_by_sigkill_and_what_is_below_it_is_called() {
    // A dash, since a bash that reads has a handler.
    const SANDBOX: &str = r#"
unshare --pid --fork dash -c '
    bash -c "trap \"echo called; exit\" TERM; echo ready; while :; do read -t 0.02 <>\"\$0\"; done" "$0" &
    while :; do sleep 1000; done' "$0"
:"#;
    everywhere(|binary, place| {
        let files = Scratch::new("nested");
        let run =
            Foster::new(binary, place).options(&["-v", "--grace=800ms"]).run(&["sh", "-c", SANDBOX, &fifo(&files)]);
        run.expect("ready");
        run.signal(SIGTERM);
        run.expect("called");
        let finished = run.finish();
        finished.assert_ended_by(place, SIGTERM);
        assert!(finished.stderr.contains("last call: SIGTERM sent to "), "{finished:?}");
        assert!(finished.stderr.contains("the grace is over, SIGKILL to "), "{finished:?}");
    });
}

/// `docker exec` starts processes whose parent is outside of the namespace. foster asks them, and does not wait for them: it
/// is the server for which it waits here.
#[test]
fn what_docker_exec_has_started_is_asked_with_the_first_generation() {
    const SCRIPT: &str = "trap 'echo asked; exit 4' TERM; touch \"$0.there\"; while :; do read -t 0.02 <>\"$0\"; done";
    everywhere(|binary, place| {
        if place == Place::Subreaper {
            return;
        }
        let files = Scratch::new("exec");
        let (gate, fifo) = (files.path("gate"), fifo(&files));
        let run = Foster::new(binary, place).run(&["bash", "-c", SERVER, gate.to_str().expect("UTF-8"), &fifo]);
        run.expect("ready");
        let (foster, there) = (run.foster_pid(), files.path("fifo.there"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                poll("it is there", || there.exists());
                send(foster, SIGTERM);
            });
            let output = run.exec("/bin/bash".as_ref(), &["-c", SCRIPT, &fifo]);
            assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"asked\n"[..], Some(4)));
        });
        run.expect("asked");
        files.file("gate", b"", "644");
        run.finish().assert_ended_by(place, SIGTERM);
    });
}
