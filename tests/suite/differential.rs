//! The same scenes under the real tini, dumb-init and catatonit and under foster called by their names. Whatever differs
//! is either mended or in the table [`DIFFERENCES`] with its reason; the tests fail on any difference that is not listed,
//! and on any listed one that is none any more.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    Context, DEADLINE, End, Foster, Place, Scratch, binaries, children, fixture, has_taken_signals, name, namespaces,
    only_child, plainly, poll, runs_as_root, send, signals_taken, skipped, state,
};
use crate::terminal::{CTRL_C, CTRL_Z, PROMPT, Terminal};

/// One difference: what the peer does, what foster does in its place, and why.
struct Difference {
    peers: &'static [&'static str],
    scene: &'static str,
    aspect: &'static str,
    /// `None`: wherever the scene is played.
    place: Option<Place>,
    theirs: &'static str,
    ours: &'static str,
    /// The reason; where it is a peer's fault, docs/migrating.md tells more.
    why: &'static str,
}

/// Differences that a peer has no more from this version on: peer, scene, aspect.
const MENDED: &[(&str, &str, &str, &str)] = &[("catatonit", "what it keeps", "directory", "0.2")];

/// What only root can look at.
const NEEDS_ROOT: &[&str] = &["the command may not be signalled"];

const TINI: &[&str] = &["tini", "tini-static"];
const DUMB_INIT: &[&str] = &["dumb-init"];
const CATATONIT: &[&str] = &["catatonit"];
const ALL: &[&str] = &["tini", "tini-static", "dumb-init", "catatonit"];

const DIFFERENCES: &[Difference] = &[
    Difference {
        peers: TINI,
        scene: "words",
        aspect: "-v --version",
        place: None,
        theirs: "1, stderr",
        ours: "0, stdout",
        why: "tini knows --version only as the sole word; there is no reason to refuse it elsewhere",
    },
    Difference {
        peers: &["dumb-init", "catatonit"],
        scene: "words",
        aspect: "-h",
        place: None,
        theirs: "0, stderr",
        ours: "0, stdout",
        why: TO_STDOUT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "words",
        aspect: "--version",
        place: None,
        theirs: "0, stderr",
        ours: "0, stdout",
        why: TO_STDOUT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "words",
        aspect: "-V",
        place: None,
        theirs: "0, stderr",
        ours: "0, stdout",
        why: TO_STDOUT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "words",
        aspect: "--versi",
        place: None,
        theirs: "0, stderr",
        ours: "0, stdout",
        why: TO_STDOUT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "words",
        aspect: "--help",
        place: None,
        theirs: "0, stderr",
        ours: "0, stdout",
        why: TO_STDOUT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "words",
        aspect: "--he",
        place: None,
        theirs: "0, stderr",
        ours: "0, stdout",
        why: TO_STDOUT,
    },
    Difference {
        peers: TINI,
        scene: "ends",
        aspect: "a file for a directory",
        place: None,
        theirs: "exits 1",
        ours: "exits 126",
        why: "126 is for all that cannot be executed, as in env(1); 1 may be the command's own",
    },
    Difference {
        peers: TINI,
        scene: "ends",
        aspect: "another machine's",
        place: None,
        theirs: "exits 127",
        ours: "exits 126",
        why: NOT_A_SCRIPT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "ends",
        aspect: "another machine's",
        place: None,
        theirs: "exits 127",
        ours: "exits 2",
        why: NOT_A_SCRIPT,
    },
    Difference {
        peers: CATATONIT,
        scene: "ends",
        aspect: "another machine's",
        place: None,
        theirs: "exits 127",
        ours: "exits 1",
        why: NOT_A_SCRIPT,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "what the command gets",
        aspect: "ignored: SigIgn",
        place: None,
        theirs: "0000001000000000",
        ours: "0000001000201201",
        why: "its handlers replace what was ignored, so under nohup(1) the command dies of SIGHUP all the same",
    },
    Difference {
        peers: DUMB_INIT,
        scene: "what the command gets",
        aspect: "blocked: SigBlk",
        place: None,
        theirs: "0000000000000000",
        ours: "0000000000004001",
        why: "it unblocks everything in the child instead of restoring the mask",
    },
    Difference {
        peers: CATATONIT,
        scene: "what the command gets",
        aspect: "plain: SigBlk",
        place: None,
        theirs: "0000000000380000",
        ours: "0000000000000000",
        why: LETS_NO_STOP_IN,
    },
    Difference {
        peers: CATATONIT,
        scene: "what the command gets",
        aspect: "ignored: SigBlk",
        place: None,
        theirs: "0000000000380000",
        ours: "0000000000000000",
        why: LETS_NO_STOP_IN,
    },
    Difference {
        peers: CATATONIT,
        scene: "what the command gets",
        aspect: "descriptors: SigBlk",
        place: None,
        theirs: "0000000000380000",
        ours: "0000000000000000",
        why: LETS_NO_STOP_IN,
    },
    Difference {
        peers: CATATONIT,
        scene: "what the command gets",
        aspect: "nice, umask and directory: SigBlk",
        place: None,
        theirs: "0000000000380000",
        ours: "0000000000000000",
        why: LETS_NO_STOP_IN,
    },
    Difference {
        peers: CATATONIT,
        scene: "what the command gets",
        aspect: "blocked: SigBlk",
        place: None,
        theirs: "0000000000384001",
        ours: "0000000000004001",
        why: LETS_NO_STOP_IN,
    },
    Difference {
        peers: DUMB_INIT,
        scene: "what the command gets",
        aspect: "-c: leads its group",
        place: None,
        theirs: "false",
        ours: "true",
        why: "in one group with its init the command gets a Ctrl-C twice, from the terminal and forwarded",
    },
    Difference {
        peers: &["tini", "tini-static", "dumb-init"],
        scene: "what the command gets",
        aspect: "LISTEN_PID names it",
        place: None,
        theirs: "own false inode false",
        ours: "own true inode false",
        why: "else the command does not take the sockets that systemd passes (sd_listen_fds(3))",
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "what it keeps",
        aspect: "directory",
        place: None,
        theirs: "where it was started",
        ours: "/",
        why: "a directory that is held cannot be unmounted",
    },
    Difference {
        peers: &["tini", "tini-static", "dumb-init"],
        scene: "what it keeps",
        aspect: "descriptors",
        place: Some(Place::Pid1),
        theirs: "0 1 2 5 8",
        ours: "0 1 2",
        why: HELD,
    },
    Difference {
        peers: &["tini", "tini-static", "dumb-init"],
        scene: "what it keeps",
        aspect: "descriptors",
        place: Some(Place::Subreaper),
        theirs: "0 1 2 5 8",
        ours: "2",
        why: HELD,
    },
    Difference {
        peers: CATATONIT,
        scene: "what it keeps",
        aspect: "descriptors",
        place: Some(Place::Subreaper),
        theirs: "0 1 2",
        ours: "2",
        why: HELD,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "options",
        aspect: "words behind the command",
        place: None,
        theirs: "0 are the command's, exits 0",
        ours: "3 are the command's, exits 0",
        why: "getopt(3) of glibc looks for options behind the command too: `tini ls -l` prints tini's license",
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "every signal",
        aspect: "command",
        place: Some(Place::Pid1),
        theirs: "all but [4, 5, 6, 7, 8, 11, 31], 0 twice",
        ours: "all but [], 0 twice",
        why: "a Go program or a JVM dumps its stacks on request, by SIGABRT or SIGQUIT; as PID 1 they swallow the former",
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "4",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 4",
        why: OWN_DEATH,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "5",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 5",
        why: OWN_DEATH,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "6",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 6",
        why: OWN_DEATH,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "7",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 7",
        why: OWN_DEATH,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "8",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 8",
        why: OWN_DEATH,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "11",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 11",
        why: OWN_DEATH,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "deadly signals",
        aspect: "31",
        place: None,
        theirs: "the init dies, the command lives on",
        ours: "command got 31",
        why: OWN_DEATH,
    },
    Difference {
        peers: CATATONIT,
        scene: "stop signals",
        aspect: "20",
        place: None,
        theirs: "the init goes on, the command goes on, ",
        ours: "the init goes on, the command goes on, command got 20",
        why: SWALLOWED,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "stop signals",
        aspect: "21",
        place: None,
        theirs: "the init goes on, the command goes on, ",
        ours: "the init goes on, the command goes on, command got 21",
        why: SWALLOWED,
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "stop signals",
        aspect: "22",
        place: None,
        theirs: "the init goes on, the command goes on, ",
        ours: "the init goes on, the command goes on, command got 22",
        why: SWALLOWED,
    },
    Difference {
        peers: TINI,
        scene: "a command that stops",
        aspect: "SIGTSTP",
        place: None,
        theirs: "stays stopped",
        ours: "goes on",
        why: "under PID 1 no shell could ever `fg` it",
    },
    Difference {
        peers: ALL,
        scene: "payload",
        aspect: "three",
        place: None,
        theirs: "lost",
        ours: "kept",
        why: "they forward with kill(2), which carries no value",
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "odd starts",
        aspect: "SIGCHLD ignored from before",
        place: None,
        theirs: "never ends",
        ours: "exits 42",
        why: "the kernel reaps by itself then, and the init waits for a death that is not reported",
    },
    Difference {
        peers: ALL,
        scene: "odd starts",
        aspect: "a log that nobody reads",
        place: None,
        theirs: "its own SIGPIPE goes to the command",
        ours: "nothing comes of it",
        why: "a signal that the init caused itself is not meant for the command",
    },
    Difference {
        peers: TINI,
        scene: "odd starts",
        aspect: "the command may not be signalled",
        place: None,
        theirs: "exits 1",
        ours: "goes on",
        why: "a signal that cannot be forwarded is no reason to end the container",
    },
    Difference {
        peers: &["tini", "tini-static", "catatonit"],
        scene: "shell",
        aspect: "background: terminal",
        place: None,
        theirs: "in the foreground",
        ours: "in the background",
        why: "a job in the background must not take the terminal from the shell",
    },
    Difference {
        peers: CATATONIT,
        scene: "pause",
        aspect: "-P and a command",
        place: None,
        theirs: "pauses, and exits 0 by SIGTERM",
        ours: "exits 1",
        why: "a command that is silently not run helps nobody",
    },
    Difference {
        peers: TINI,
        scene: "shell",
        aspect: "Ctrl-Z",
        place: None,
        theirs: "the terminal hangs",
        ours: "the shell goes on",
        why: "the command stops, tini does not notice, and the shell waits for tini",
    },
    Difference {
        peers: CATATONIT,
        scene: "shell",
        aspect: "Ctrl-Z",
        place: None,
        theirs: "nothing stops",
        ours: "the shell goes on",
        why: "the command has SIGTSTP blocked, see the masks",
    },
];

const NOT_A_SCRIPT: &str = "glibc's execvp(3) gives any file that the kernel refuses to /bin/sh, be it another machine's \
                            program; /bin/sh then says 127";
const LETS_NO_STOP_IN: &str =
    "its child keeps SIGTSTP, SIGTTIN and SIGTTOU blocked, so no Ctrl-Z ever stops the command";
const HELD: &str = "a descriptor that is held keeps its pipe open after the command has closed it";
const SWALLOWED: &str = "gunicorn, for one, changes its number of workers on SIGTTIN and SIGTTOU";
const TO_STDOUT: &str = "what was asked for goes to stdout, where a pipe or $(…) takes it";
const OWN_DEATH: &str = "sent to anything but PID 1 it kills the init alone, and nobody sees to the command any more";

/// A peer, or foster called by its name.
struct Init {
    peer: &'static str,
    path: PathBuf,
    place: Place,
}

/// What is to be seen: an aspect and its value.
type Seen = Vec<(String, String)>;

struct Scene {
    name: &'static str,
    places: &'static [Place],
    play: fn(&Init) -> Seen,
}

const BOTH: &[Place] = &[Place::Pid1, Place::Subreaper];
const PID1: &[Place] = &[Place::Pid1];
const CHILD: &[Place] = &[Place::Subreaper];

const SCENES: &[Scene] = &[
    Scene { name: "words", places: CHILD, play: words },
    Scene { name: "ends", places: BOTH, play: ends },
    Scene { name: "what the command gets", places: BOTH, play: what_the_command_gets },
    Scene { name: "what it keeps", places: BOTH, play: what_it_keeps },
    Scene { name: "options", places: BOTH, play: options },
    Scene { name: "every signal", places: BOTH, play: every_signal },
    Scene { name: "deadly signals", places: CHILD, play: deadly_signals },
    Scene { name: "stop signals", places: BOTH, play: stop_signals },
    Scene { name: "a command that stops", places: PID1, play: a_command_that_stops },
    Scene { name: "payload", places: PID1, play: payload },
    Scene { name: "orphans", places: CHILD, play: orphans },
    Scene { name: "leftovers", places: CHILD, play: leftovers },
    Scene { name: "odd starts", places: PID1, play: odd_starts },
    Scene { name: "pause", places: PID1, play: pause },
    Scene { name: "terminal", places: PID1, play: terminal_of_pid_1 },
    Scene { name: "shell", places: CHILD, play: in_a_shell },
];

fn differ_only_as_listed(peer: &'static str) {
    let theirs = Path::new("/usr/bin").join(peer);
    if !namespaces() {
        return;
    }
    if !theirs.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI, and {} is not there", theirs.display());
        skipped(&format!("{} is not there to compare foster with", theirs.display()));
        return;
    }
    let version = version(&theirs);
    let is_mended = |d: &Difference| {
        MENDED.iter().any(|(name, scene, aspect, from)| {
            (peer, d.scene, d.aspect) == (*name, *scene, *aspect) && version >= numbers(from)
        })
    };
    let table: Vec<&Difference> = DIFFERENCES.iter().filter(|d| d.peers.contains(&peer) && !is_mended(d)).collect();
    let scratch = Scratch::new(&format!("{peer}-link"));
    for binary in binaries() {
        let ours = scratch.path(peer);
        let _ = std::fs::remove_file(&ours);
        std::os::unix::fs::symlink(&binary, &ours).expect("a link");
        let mut complaints = Vec::new();
        for scene in SCENES {
            for place in scene.places {
                let play = |path: &Path| {
                    let _context = Context(format!("{}: {} as {place:?}", path.display(), scene.name));
                    (scene.play)(&Init { peer, path: path.into(), place: *place })
                };
                let table = table.iter().filter(|d| d.scene == scene.name && d.place.is_none_or(|p| p == *place));
                let found = compare(&table.copied().collect::<Vec<_>>(), &play(&theirs), &play(&ours));
                complaints.extend(found.into_iter().map(|it| format!("{}, {place:?}: {it}", scene.name)));
            }
        }
        assert!(complaints.is_empty(), "{} as {peer}:\n{}", binary.display(), complaints.join("\n"));
    }
}

/// The numbers in what the program says with --version: `tini version 0.2.1_catatonit` is 0, 2, 1.
fn version(program: &Path) -> Vec<u32> {
    let output = plainly(Command::new(program).arg("--version"));
    numbers(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
}

fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// What was seen of a scene and is not in its part of the table, and what is there and was not seen.
fn compare(table: &[&Difference], theirs: &Seen, ours: &Seen) -> Vec<String> {
    let mut complaints = Vec::new();
    let aspects = |seen: &Seen| seen.iter().map(|(aspect, _)| aspect.clone()).collect::<Vec<_>>();
    assert_eq!(aspects(theirs), aspects(ours), "the same is looked at");
    for ((aspect, theirs), (_, ours)) in theirs.iter().zip(ours) {
        let same = (theirs.as_str(), theirs.as_str(), "no difference");
        let listed = table.iter().find(|d| d.aspect == aspect);
        let (expected_of_them, expected_of_us, why) = listed.map_or(same, |d| (d.theirs, d.ours, d.why));
        if (theirs.as_str(), ours.as_str()) != (expected_of_them, expected_of_us) {
            complaints.push(format!(
                "{aspect}\n  peer: {theirs}\n  foster: {ours}\n  listed: {expected_of_them} / {expected_of_us}: {why}"
            ));
        }
    }
    for d in table {
        let can_be_seen = runs_as_root() || !NEEDS_ROOT.contains(&d.aspect);
        if can_be_seen && !theirs.iter().any(|(aspect, _)| aspect == d.aspect) {
            complaints.push(format!("nobody looks at {}", d.aspect));
        }
        assert_ne!(d.theirs, d.ours, "{}: no difference is listed", d.aspect);
    }
    complaints
}

#[test]
fn tini_and_foster_differ_only_as_listed() {
    differ_only_as_listed("tini");
}

#[test]
fn tini_static_and_foster_differ_only_as_listed() {
    differ_only_as_listed("tini-static");
}

#[test]
fn dumb_init_and_foster_differ_only_as_listed() {
    differ_only_as_listed("dumb-init");
}

#[test]
fn catatonit_and_foster_differ_only_as_listed() {
    differ_only_as_listed("catatonit");
}

#[test]
fn every_listed_difference_names_a_scene() {
    for d in DIFFERENCES {
        assert!(SCENES.iter().any(|scene| scene.name == d.scene), "{}: {}", d.scene, d.aspect);
    }
}

/// What no peer has: FOSTER_GRACE, under every name. Leftovers are asked and waited for, and no orphan goes elsewhere.
#[test]
fn a_grace_in_the_environment_stops_leftovers_under_every_name() {
    if !namespaces() {
        return;
    }
    let scratch = Scratch::new("grace-link");
    crate::harness::everywhere(|binary, place| {
        for peer in ["tini", "tini-static", "docker-init", "dumb-init", "catatonit", "podman-init"] {
            let link = scratch.path(peer);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(binary, &link).expect("a link");
            let graceful = Foster::new(&link, place).env("FOSTER_GRACE", "20s").fixture(&["leave", "plain", "setsid"]);
            let mut finished = graceful.finish();
            finished.lines.retain(|line| !line.ends_with(" got 18"));
            finished.lines.sort();
            assert_eq!((finished.end, finished.stderr.as_str()), (End::Exited(4), ""), "{peer}");
            assert_eq!(finished.lines, ["plain got 15", "setsid got 15"], "{peer}");
            let output = plainly(Command::new(&link).arg("true").env("FOSTER_GRACE", "soon"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "the peers' code: {stderr}");
            assert!(stderr.contains("variable FOSTER_GRACE: 'soon' is not accepted"), "{stderr}");
        }
    });
}

impl Init {
    fn foster(&self) -> Foster {
        Foster::new(&self.path, self.place)
    }

    fn with(&self, options: &[&str], environment: &[(&str, &str)]) -> Foster {
        let foster = options.iter().fold(self.foster(), |foster, option| foster.option(option));
        environment.iter().fold(foster, |foster, (name, value)| foster.env(name, value)).option("--")
    }
}

fn told(end: End) -> String {
    match end {
        End::Exited(code) => format!("exits {code}"),
        End::Killed(signal) => format!("is killed by {signal}"),
    }
}

/// How long is waited for what, it is thought, will not happen.
const SETTLED: Duration = Duration::from_millis(300);

/// Waits until something is true, or until something else has been true for so long that nothing is to be expected.
fn poll_until_settled(mut done: impl FnMut() -> bool, mut is_idle: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    let mut idle_since = None;
    loop {
        if done() {
            return true;
        }
        match (is_idle(), idle_since) {
            (false, _) => idle_since = None,
            (true, None) => idle_since = Some(Instant::now()),
            (true, Some(since)) if since.elapsed() > SETTLED => return false,
            (true, Some(_)) => {}
        }
        assert!(start.elapsed() < DEADLINE, "neither happens");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Command lines that start nothing: the exit code, and where something is said.
fn words(init: &Init) -> Seen {
    let mut lines: Vec<&[&str]> = vec![&[], &["--"], &["-q", "true"], &["--nonsense", "true"], &["-h"], &["--version"]];
    lines.extend::<&[&[&str]]>(match init.peer {
        "dumb-init" => &[
            &["-V"],
            &["--ver"],
            &["--versi"],
            &["--help"],
            &["--he"],
            &["-r"],
            &["-r", "x", "true"],
            &["-r", "15", "true"],
            &["-r", "0:15", "true"],
            &["-r", "15:99", "true"],
            &["-r", "9:15", "true"],
            &["-r", "17:15", "true"],
            &["-r", "19:0", "true"],
            &["-r", "15:3x", "true"],
            &["-r", "15:3:4", "true"],
            &["-r", " +15: 3", "true"],
            &["-r", "15 :3", "true"],
            &["-r", "15:-3", "true"],
            &["-r", "15:", "true"],
            &["-r", "99999999999:3", "true"],
            &["--rewrite=x", "true"],
            &["--single-child=1", "true"],
        ],
        "catatonit" => &[&["-V"], &["-L"], &["--ver"], &["-g"], &["-gV"]],
        _ => &[
            &["-l"],
            &["-e", "256", "true"],
            &["-e", "x", "true"],
            &["-se", "+5", "true"],
            &["-se", " 5", "true"],
            &["-se", "", "true"],
            &["-se", "-0", "true"],
            &["-e", "-1", "true"],
            &["-e", "5 ", "true"],
            &["-e", " ", "true"],
            &["-p", "x", "true"],
            &["-e"],
            &["-gq", "true"],
            &["-vh"],
            &["-v", "--version"],
        ],
    });
    let play = |words: &[&str]| {
        let output = plainly(Command::new(&init.path).args(words));
        let said = match (output.stdout.is_empty(), output.stderr.is_empty()) {
            (false, true) => "stdout",
            (true, false) => "stderr",
            (true, true) => "nothing",
            (false, false) => "both",
        };
        (words.join(" "), format!("{}, {said}", output.status.code().expect("exits")))
    };
    lines.into_iter().map(play).collect()
}

/// The exit status, whatever becomes of the command.
fn ends(init: &Init) -> Seen {
    let scratch = Scratch::new(&format!("{}-ends", init.peer));
    let file = |name: &str, content: &[u8], mode| scratch.file(name, content, mode).to_str().unwrap().to_owned();
    let no_execute_bit = file("no-execute-bit", b"#!/bin/sh\n", "644");
    let no_interpreter = file("no-interpreter", b"#!/no/such/sh\n", "755");
    let foreign = file("foreign", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0", "755");
    let text = file("text", b"exit 5\n", "755");
    let fixture = fixture();
    let fixture = fixture.to_str().unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("exit 0", &[fixture, "exit", "0"]),
        ("exit 3", &[fixture, "exit", "3"]),
        ("exit 255", &[fixture, "exit", "255"]),
        ("SIGHUP", &[fixture, "die", "1"]),
        ("SIGINT", &[fixture, "die", "2"]),
        ("SIGKILL", &[fixture, "die", "9"]),
        ("SIGTERM", &[fixture, "die", "15"]),
        ("SIGRTMIN", &[fixture, "die", "34"]),
        ("SIGRTMAX", &[fixture, "die", "64"]),
        ("stops and is continued", &[fixture, "stop-self"]),
        ("not in PATH", &["no-such-command"]),
        ("no such file", &["/no/such/file"]),
        ("a directory", &["/etc"]),
        ("no execute bit", &[&no_execute_bit]),
        ("a file for a directory", &["/etc/passwd/x"]),
        ("no interpreter", &[&no_interpreter]),
        ("another machine's", &[&foreign]),
        ("text without #!", &[&text]),
    ];
    let end = |foster: Foster, command: &[&str]| told(foster.run(command).finish_whatever_is_left().0.end);
    let mut seen: Seen =
        cases.iter().map(|(name, command)| ((*name).to_owned(), end(init.with(&[], &[]), command))).collect();
    if TINI.contains(&init.peer) {
        for (options, command) in [
            (&["-e", "3"][..], &[fixture, "exit", "3"][..]),
            (&["-e", "3", "-e143"], &[fixture, "die", "15"]),
            (&["-e", "3"], &[fixture, "exit", "4"]),
            (&["-s", "-g", "-v", "-w"], &[fixture, "exit", "4"]),
        ] {
            seen.push((format!("{options:?} {:?}", &command[1..]), end(init.with(options, &[]), command)));
        }
    }
    seen
}

/// What the command finds: mask, dispositions, descriptors, directory, session, group.
fn what_the_command_gets(init: &Init) -> Seen {
    let scenes = [
        ("plain", "exec \"$@\""),
        ("ignored", "trap '' HUP PIPE USR1 TTOU RTMIN+3; exec \"$@\""),
        ("descriptors", "exec 5</dev/null 7>/dev/null 9</etc; exec \"$@\""),
        ("nice, umask and directory", "cd /usr; umask 027; exec nice -n 5 \"$@\""),
    ];
    let mut seen = Seen::new();
    for (name, script) in scenes {
        let run = init.with(&[], &[]).after(&["bash", "-c", script, "bash"]).fixture(&["state"]);
        seen.extend(state_told(name, &run.line()));
    }
    let fixture = fixture();
    let run = init.with(&[], &[]).after(&[fixture.to_str().unwrap(), "blocking", "4001"]).fixture(&["state"]);
    seen.extend(state_told("blocked", &run.line()).into_iter().filter(|(aspect, _)| aspect.ends_with("SigBlk")));
    if init.peer == "dumb-init" {
        let run = init.with(&["-c"], &[]).fixture(&["state"]);
        seen.extend(state_told("-c", &run.line()));
    }
    for (name, pid) in [("LISTEN_PID names it", "$$"), ("LISTEN_PID names another", "4711")] {
        let set = format!("export LISTEN_FDS=1 LISTEN_PID={pid}; exec \"$@\"");
        let run = init.with(&[], &[]).after(&["sh", "-c", &set, "sh"]).fixture(&["listen-pid"]);
        seen.push((name.to_owned(), run.line()));
    }
    seen
}

/// The fixture's `state`, an aspect for each word before a colon, and one for all descriptors.
fn state_told(scene: &str, text: &str) -> Seen {
    let mut seen = Seen::new();
    let mut descriptors = Vec::new();
    for part in text.split("; ") {
        match part.split_once([':', ' ']) {
            Some(("fd", rest)) => descriptors.push(rest),
            _ => {
                let (aspect, value) = part.split_once(':').or_else(|| part.split_once(' ')).expect("two parts");
                let value = if aspect == "SigIgn" { &of_programs(value.trim()) } else { value.trim() };
                seen.push((format!("{scene}: {aspect}"), value.to_owned()));
            }
        }
    }
    seen.push((format!("{scene}: descriptors"), descriptors.join(", ")));
    seen
}

/// A signal mask without 32 and 33: these are the C library's own, and it depends on the shell whether they are ignored.
fn of_programs(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).expect("a mask");
    format!("{:016x}", mask & !(1 << (32 - 1) | 1 << (33 - 1)))
}

/// What it holds on to while the command runs.
fn what_it_keeps(init: &Init) -> Seen {
    let scratch = Scratch::new(&format!("{}-keeps", init.peer));
    let held = format!("cd {}; exec 5</etc/passwd 8<.; exec \"$@\"", scratch.path("").display());
    let run = init.with(&[], &[]).after(&["bash", "-c", &held, "bash"]).fixture(&["signals"]);
    run.expect("command ready");
    // Once it forwards, its start is over.
    run.signal(12);
    run.expect("command got 12");
    let proc = format!("/proc/{}", run.foster_pid());
    let cwd = std::fs::read_link(format!("{proc}/cwd")).unwrap();
    let descriptors = std::fs::read_dir(format!("{proc}/fd")).unwrap();
    let mut kept: Vec<String> = descriptors
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let target = std::fs::read_link(entry.path()).unwrap();
            // Not one of its own, and not what else the tests may have been started with.
            let is_own = target.to_string_lossy().starts_with("anon_inode:");
            let name = entry.file_name().into_string().unwrap();
            (!is_own && ["0", "1", "2", "5", "8"].contains(&name.as_str())).then_some(name)
        })
        .collect();
    kept.sort();
    let cwd = if cwd == Path::new("/") { "/" } else { "where it was started" };
    vec![("directory".into(), cwd.into()), ("descriptors".into(), kept.join(" "))]
}

/// Who gets a signal, and which one, under each option and variable that has a say in it.
fn options(init: &Init) -> Seen {
    let mut seen = Seen::new();
    let fixture = fixture();
    let run = init.foster().run(&[fixture.to_str().unwrap(), "bytes", "-g", "-h", "--version"]);
    let (finished, _) = run.finish_whatever_is_left();
    let args = finished.lines.iter().filter(|line| line.starts_with("arg ")).count();
    seen.push(("words behind the command".into(), format!("{args} are the command's, {}", told(finished.end))));
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [i32]);
    let cases: &[Case] = match init.peer {
        "dumb-init" => &[
            (&[], &[], &[12]),
            (&["-c"], &[], &[12]),
            (&["--single"], &[], &[12]),
            (&[], &[("DUMB_INIT_SETSID", "0")], &[12]),
            (&[], &[("DUMB_INIT_SETSID", "1")], &[12]),
            (&[], &[("DUMB_INIT_DEBUG", "1")], &[12]),
            (&["-v"], &[], &[12]),
            (&["-r", "15:3", "-r1:0", "--rewrite=2:12"], &[], &[15, 1, 2, 3]),
            (&["--rewr", "15:3", "-r", "15:2"], &[], &[15]),
            (&["-cr", "15:3"], &[], &[15]),
            (&["-r15:3x", "-r 1:2:3", "-r9:15"], &[], &[15, 1]),
        ],
        "catatonit" => &[
            (&[], &[], &[12]),
            (&["-g"], &[], &[12]),
            (&[], &[("CATATONIT_DEBUG", "")], &[12]),
            (&[], &[("CATATONIT_DEBUG", "0")], &[12]),
        ],
        _ => &[
            (&[], &[], &[12]),
            (&["-g"], &[], &[12]),
            (&["-sgvvvw"], &[], &[12]),
            (&[], &[("TINI_KILL_PROCESS_GROUP", "")], &[12]),
            (&[], &[("TINI_KILL_PROCESS_GROUP", "0")], &[12]),
            (&[], &[("TINI_VERBOSITY", "0")], &[12]),
            (&[], &[("TINI_VERBOSITY", "x")], &[12]),
            (&["-p", "SIGUSR1"], &[], &[12]),
        ],
    };
    for (options, environment, signals) in cases {
        // As PID 1 this would replace the signal with which unshare --kill-child ends it.
        if init.place == Place::Pid1 && options.contains(&"-p") {
            continue;
        }
        let (command, grandchild) = heard(init.with(options, environment), signals);
        let environment: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let aspect = [options.join(" "), environment.join(" ")].concat();
        seen.push((aspect, format!("command {command:?}, grandchild {grandchild:?}")));
    }
    seen
}

/// The probe behind each signal: forwarded by all, and taken after any other. 63 is the test's own.
const PROBE: i32 = 64;

/// What of these a command and its child get when the init is sent them, one after the other.
fn heard(foster: Foster, signals: &[i32]) -> (Vec<i32>, Vec<i32>) {
    let run = foster.fixture(&["signals", "with-grandchild"]);
    let (_, mut lines) = (run.line(), vec![run.line()]);
    for signal in signals {
        run.signal(*signal);
        run.signal(PROBE);
        lines.extend(run.lines_before("command got 64"));
    }
    send(only_child(only_child(run.foster_pid())), 63);
    lines.extend(run.lines_before("grandchild got 63"));
    let got = |role: &str| {
        let got = lines.iter().filter_map(|line| line.strip_prefix(&format!("{role} got "))?.parse().ok());
        got.filter(|signal| *signal != PROBE).collect::<Vec<i32>>()
    };
    // It is not waited for after each, so it takes the lowest first, and two of a kind may have become one.
    let mut grandchild = got("grandchild");
    grandchild.sort_unstable();
    grandchild.dedup();
    (got("command"), grandchild)
}

const DEADLY: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];
const STOPPING: [i32; 3] = [20, 21, 22];

/// All that can be caught, but for those that the other scenes are about.
fn every_signal(init: &Init) -> Seen {
    let others = |signal: &i32| {
        ![9, 10, 17, 19].contains(signal)
            && !STOPPING.contains(signal)
            && (init.place == Place::Pid1 || !DEADLY.contains(signal))
    };
    let all: Vec<i32> = (1..=31).chain(34..=62).filter(others).collect();
    let (command, grandchild) = heard(init.with(&[], &[]), &all);
    let missing = |got: &[i32]| match got.len() {
        0 => "none".to_owned(),
        _ => {
            let missing: Vec<_> = all.iter().filter(|signal| !got.contains(signal)).collect();
            format!("all but {missing:?}, {} twice", got.len() + missing.len() - all.len())
        }
    };
    vec![("command".into(), missing(&command)), ("grandchild".into(), missing(&grandchild))]
}

/// Signals with which the kernel says that a process has failed, sent by somebody.
fn deadly_signals(init: &Init) -> Seen {
    let play = |signal: i32| {
        let run = init.with(&[], &[]).fixture(&["signals"]);
        run.expect("command ready");
        run.signal(signal);
        let said = run.line();
        let becomes = match said.starts_with("foster killed") {
            true => "the init dies, the command lives on".to_owned(),
            false => said,
        };
        (signal.to_string(), becomes)
    };
    DEADLY.into_iter().map(play).collect()
}

/// SIGTSTP, SIGTTIN and SIGTTOU from outside, to a command that does not stop by them.
fn stop_signals(init: &Init) -> Seen {
    let play = |signal: i32| {
        let run = init.with(&[], &[]).fixture(&["signals"]);
        run.expect("command ready");
        let own = run.foster_pid();
        let command = only_child(own);
        run.signal(signal);
        // It has dealt with the signal when the probe is taken, or stands still.
        run.signal(PROBE);
        poll("it stands still or has forwarded", || state(own) == 'T' || has_taken_signals(own));
        let is_stopped = |pid| if state(pid) == 'T' { "stops" } else { "goes on" };
        // Still on its way, if it was sent.
        let init_stops = is_stopped(own);
        let mut told = Vec::new();
        poll("the command stands still or has got the probe", || {
            told.extend(run.line_if_any());
            state(command) == 'T' || told.iter().any(|line| line == "command got 64")
        });
        let command_stops = is_stopped(command);
        if command_stops == "stops" || init_stops == "stops" {
            // Another probe: it may have taken the first in the moment in which it was stopped.
            run.signal(18);
            run.signal(62);
            told.extend(run.lines_before("command got 62"));
        }
        told.retain(|line| line != "command got 64");
        (signal.to_string(), format!("the init {init_stops}, the command {command_stops}, {}", told.join(", ")))
    };
    STOPPING.into_iter().map(play).collect()
}

/// Ctrl-Z's signal to a command that stops by it, where no shell could continue it. The probe ends it if it goes on.
fn a_command_that_stops(init: &Init) -> Seen {
    let mut run = init.with(&[], &[]).run(&["sh", "-c", "echo ready; exec sleep 1000"]);
    run.expect("ready");
    let own = run.foster_pid();
    let command = only_child(own);
    poll("sleep runs", || name(command) == "sleep");
    send(command, 20);
    // Or it does not: the signal is blocked, or the kernel sees that nobody could continue it.
    poll_until_settled(|| state(command) == 'T', || true);
    send(own, PROBE);
    let is_idle = || state(own) == 'S' && has_taken_signals(own) && state(command) == 'T';
    let ended = poll_until_settled(|| run.has_ended(), is_idle);
    vec![("SIGTSTP".into(), if ended { "goes on" } else { "stays stopped" }.into())]
}

/// The value that sigqueue(3) attaches.
fn payload(init: &Init) -> Seen {
    let (finished, _) = init.with(&[], &[]).fixture(&["queue", "3"]).finish_whatever_is_left();
    vec![("three".into(), if finished.end == End::Exited(0) { "kept" } else { "lost" }.into())]
}

fn orphans(init: &Init) -> Seen {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)]);
    let cases: &[Case] = match TINI.contains(&init.peer) {
        true => &[(&[], &[]), (&["-s"], &[]), (&[], &[("TINI_SUBREAPER", "")]), (&[], &[("TINI_SUBREAPER", "0")])],
        false => &[(&[], &[])],
    };
    let play = |(options, environment): &Case| {
        let run = init.with(options, environment).fixture(&["adopter"]);
        (format!("{options:?} {environment:?}"), run.line())
    };
    cases.iter().map(play).collect()
}

/// What becomes of processes that the command leaves behind, in its group and in a session of its own.
fn leftovers(init: &Init) -> Seen {
    let fixture = fixture();
    let outer = Foster::new(&fixture, Place::Pid1).option("outer-asking").option(&init.path).option("--");
    let mut lines = outer.fixture(&["leave", "plain", "setsid"]).finish().lines;
    lines.retain(|line| !line.starts_with("strays"));
    lines.sort();
    vec![("with 64 they are asked afterwards".into(), lines.join(", "))]
}

/// Situations in which an init may find itself.
fn odd_starts(init: &Init) -> Seen {
    let fixture = fixture();
    let fixture = fixture.to_str().unwrap();
    let mut run = init.with(&[], &[]).after(&[fixture, "ignoring", "17"]).fixture(&["wait-for-term"]);
    run.expect("ready");
    let own = run.foster_pid();
    run.signal(15);
    // Its command is gone, and it waits.
    let is_idle = || state(own) == 'S' && children(own).is_empty();
    let ended = poll_until_settled(|| run.has_ended(), is_idle);
    let status = if ended { told(run.finish().end) } else { "never ends".into() };
    let mut seen = vec![("SIGCHLD ignored from before".into(), status)];

    let (options, environment): (&[&str], &[(&str, &str)]) = match init.peer {
        "dumb-init" => (&["-v"], &[]),
        "catatonit" => (&[], &[("CATATONIT_DEBUG", "1")]),
        _ => (&["-w"], &[]),
    };
    let mut run = init.with(options, environment).after(&[fixture, "broken-stderr"]).fixture(&["delay"]);
    let mut was_hit = None;
    poll("the command gets the probe, or a SIGPIPE, or dies of one", || {
        match run.line_if_any().as_deref() {
            Some("ready") => [10, PROBE].into_iter().for_each(|signal| run.signal(signal)),
            Some("got 13") => was_hit = Some(true),
            Some("got 64") => was_hit = Some(false),
            Some(_) => {}
            None if run.has_ended() => was_hit = Some(true),
            None => {
                // Its own logging keeps dumb-init from ever reaping the command.
                let command = children(run.namespace_pid()).first().copied();
                was_hit = command.is_some_and(|command| state(command) == 'Z').then_some(true);
            }
        }
        was_hit.is_some()
    });
    let becomes = if was_hit == Some(true) { "its own SIGPIPE goes to the command" } else { "nothing comes of it" };
    seen.push(("a log that nobody reads".into(), becomes.into()));
    seen.extend(not_permitted(init));
    seen
}

/// catatonit -P: the pause process of a pod.
fn pause(init: &Init) -> Seen {
    if !CATATONIT.contains(&init.peer) {
        return Seen::new();
    }
    let play = |words: &[&str], signals: &[i32], by: &str| {
        let mut run = init.foster().run(words);
        let mut own = 0;
        poll("it is there or gone", || {
            own = run.namespace_pid();
            name(own) == init.peer || run.has_ended()
        });
        let ended = poll_until_settled(|| run.has_ended(), || state(own) == 'S');
        if !ended {
            signals.iter().for_each(|signal| send(own, *signal));
        }
        let end = told(run.finish().end);
        if ended { end } else { format!("pauses, and {end} by {by}") }
    };
    vec![
        ("-P".into(), play(&["-P"], &[15], "SIGTERM")),
        ("-P, SIGINT".into(), play(&["-P"], &[2], "SIGINT")),
        ("-P, others first".into(), play(&["-P"], &[1, 10, 3, 12, 15], "SIGTERM")),
        ("-P and a command".into(), play(&["-P", "true"], &[15], "SIGTERM")),
    ]
}

/// The command has changed its user, and the init has no right to signal it.
fn not_permitted(init: &Init) -> Seen {
    // catatonit looks whether it may signal its child right after the fork, and ends if the child was faster.
    if CATATONIT.contains(&init.peer) {
        return Seen::new();
    }
    if !runs_as_root() {
        skipped("not root, so no command can change its user");
        return Seen::new();
    }
    let mut run = init
        .with(&[], &[])
        .with_machines_users()
        .after(&["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--"])
        .fixture(&["as-user", "1000"]);
    run.expect("ready");
    let own = run.foster_pid();
    run.signal(12);
    signals_taken(own);
    let ended = poll_until_settled(|| run.has_ended(), || true);
    let becomes = if ended { told(run.finish().end) } else { "goes on".into() };
    vec![("the command may not be signalled".into(), becomes)]
}

/// The fixture's `state`, written to a file.
fn state_from_file(path: &Path, name: &str) -> Seen {
    poll("the state is written", || std::fs::metadata(path).is_ok_and(|file| file.len() > 0));
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::remove_file(path).unwrap();
    let about = ["leads its group", "leads its session", "in foster's session", "terminal"];
    let is_about = |aspect: &str| about.iter().any(|word| aspect.ends_with(word));
    state_told(name, &text).into_iter().filter(|(aspect, _)| is_about(aspect)).collect()
}

/// As `docker run -it`: it is PID 1 and leads the session.
fn terminal_of_pid_1(init: &Init) -> Seen {
    let scratch = Scratch::new(&format!("{}-terminal", init.peer));
    let out = scratch.path("state");
    let (path, fixture) = (init.path.to_str().unwrap(), fixture());
    let told_to = format!("FIXTURE_OUT={}", out.display());
    let mut terminal =
        Terminal::run_as_session_leader(&["env", &told_to, path, "--", fixture.to_str().unwrap(), "state"]);
    assert_eq!(terminal.finish(), Some(0));
    let mut seen = state_from_file(&out, "docker run -it");
    let mut shell = Terminal::run_as_session_leader(&[path, "--", "bash", "--norc", "--noprofile", "-i"]);
    shell.expect(PROMPT);
    shell.line("sleep 1000");
    shell.expect_foreground("sleep");
    shell.keys(CTRL_C);
    shell.expect_status(130);
    shell.line("exit 6");
    seen.push(("a shell's jobs".into(), format!("Ctrl-C ends one, {:?}", shell.finish())));
    seen
}

/// As a wrapper in front of a command in a shell.
fn in_a_shell(init: &Init) -> Seen {
    let scratch = Scratch::new(&format!("{}-shell", init.peer));
    let out = scratch.path("state");
    let fixture = fixture();
    let call = format!("FIXTURE_OUT={} {} -- {}", out.display(), init.path.display(), fixture.display());
    let mut seen = Seen::new();
    for (name, line) in [("foreground", format!("{call} state")), ("background", format!("{call} state &"))] {
        let mut state = Seen::new();
        // bash takes the terminal back when it prompts, so a theft is not seen each time.
        for _ in 0..if name == "background" { 5 } else { 1 } {
            let mut shell = Terminal::shell();
            shell.line(&line);
            state = state_from_file(&out, name);
            if state.iter().any(|(_, value)| value == "in the foreground") {
                break;
            }
        }
        seen.extend(state);
    }
    let mut shell = Terminal::shell();
    shell.line(&format!("{} -- sh -c 'echo rea\"\"dy; exec sleep 1000'", init.path.display()));
    shell.expect("ready");
    let bash = only_child(shell.program_pid());
    let own = only_child(bash);
    let command = only_child(own);
    poll("sleep runs", || name(command) == "sleep");
    shell.keys(CTRL_Z);
    let is_idle = || state(own) == 'S' && has_taken_signals(own);
    let stopped = poll_until_settled(|| shell.screen().contains("Stopped"), is_idle);
    let becomes = match (stopped, state(command)) {
        (true, _) => "the shell goes on",
        (false, 'T') => "the terminal hangs",
        (false, _) => "nothing stops",
    };
    seen.push(("Ctrl-Z".into(), becomes.into()));
    if stopped {
        shell.expect("Stopped");
        shell.expect(PROMPT);
        shell.line("fg");
    } else {
        send(command, 18);
    }
    poll("it goes on", || state(command) == 'S');
    shell.keys(CTRL_C);
    seen.push(("Ctrl-C".into(), format!("exit status {}", shell.status())));
    seen
}
