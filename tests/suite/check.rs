//! `foster --check` as a second process in the container, as HEALTHCHECK and exec probes start it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{
    End, Foster, Place, Run, Scratch, binaries, everywhere, fixture, namespaces, plainly, runs_as_root, skipped,
};

const SIGTERM: i32 = 15;
const SIGUSR1: i32 = 10;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The probe's exit code, stdout and stderr.
fn check(run: &Run, binary: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = run.exec(binary, &[&["--check"], args].concat());
    (status.code().expect("exits"), text(&stdout).to_owned(), text(&stderr).to_owned())
}

/// The runner's process ID in its namespace, once its jobs have all ended.
fn runner(run: &Run) -> i32 {
    let line = run.line();
    let pid = line.strip_prefix("runner ").and_then(|rest| rest.strip_suffix(" ready"));
    pid.unwrap_or_else(|| panic!("{line}; {}", run.stderr())).parse().expect("a pid")
}

#[test]
fn a_thousand_zombies_are_laid_at_their_parents_door_until_it_is_mended() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("-v").fixture(&["runner", "1000"]);
        let pid = runner(&run);
        let (code, stdout, stderr) = check(&run, binary, &[]);
        let parent = format!(
            "  parent {pid} (runner) has 1000 zombies that it has not waited for; only it can reap them: fix or restart it"
        );
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
        assert_eq!(lines[..3], ["unhealthy: too many zombies", "zombies: 1000 (limit 100)", &parent], "{stdout}");
        assert!(lines[3].starts_with("pids: ") && lines.len() == 4, "{stdout}");
        assert_eq!(check(&run, binary, &["zombies=1000"]).0, 0, "at the limit, which is the next word");

        // foster forwards it.
        run.signal(SIGUSR1);
        run.expect("mended");
        let (code, stdout, stderr) = check(&run, binary, &["zombies=0"]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        assert!(stdout.starts_with("healthy\nzombies: 0 (limit 0)\npids: "), "{stdout}");

        run.signal(SIGTERM);
        assert_eq!(run.finish().end, End::Exited(42));
    });
}

/// Everything that the namespace has is in use to 100 percent of nothing.
#[test]
fn over_the_limit_of_pids_it_is_unhealthy_too() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["runner", "3"]);
        runner(&run);
        let (code, stdout, _) = check(&run, binary, &["pids=0%,zombies=2"]);
        assert_eq!(code, 1, "{stdout}");
        assert!(stdout.starts_with("unhealthy: too many zombies, and too few pids left\nzombies: 3"), "{stdout}");
        assert!(stdout.contains("(limit 0%)\n  processes, threads and zombies all count; stop what"), "{stdout}");
        let (code, stdout, _) = check(&run, binary, &["pids=0%"]);
        assert!(code == 1 && stdout.starts_with("unhealthy: too few pids left\n"), "{stdout}");
    });
}

#[test]
fn json_is_one_object_that_a_parser_takes() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).fixture(&["runner", "7"]);
        let pid = runner(&run);
        let (code, stdout, _) = check(&run, binary, &["zombies=6,pids=95%", "--log-format=json"]);
        assert_eq!((code, stdout.lines().count()), (1, 1), "{stdout}");
        assert_eq!(
            parsed(&stdout),
            format!(
                "healthy=False pids_limit=int pids_limit_source=str pids_percent=float pids_percent_limit=95 \
                 pids_used=int zombie_limit=6 zombie_parents=1 zombies=7 \
                 zombies_by_parent=[{{'pid': {pid}, 'name': 'runner', 'count': 7, 'tracer': False}}]\n"
            )
        );
    });
}

/// What Python makes of it: by key, and only the type of what is the machine's.
fn parsed(json: &str) -> String {
    let script = "import json, sys\n\
                  def shown(key, value): return type(value).__name__ if key in machines else value\n\
                  machines = ('pids_used', 'pids_limit', 'pids_limit_source', 'pids_percent')\n\
                  print(*(f'{k}={shown(k, v)}' for k, v in sorted(json.loads(sys.argv[1]).items())))";
    let output = plainly(Command::new("python3").args(["-c", script, json]));
    assert!(output.status.success(), "{json}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Limits in the environment of the image are for the probe; the container starts as ever.
#[test]
fn the_variable_has_limits_for_the_probe_and_makes_no_probe_of_a_start() {
    for binary in binaries() {
        let foster = |args: &[&str]| {
            let output =
                plainly(Command::new(&binary).args(args).env("FOSTER_CHECK", "pids=0%").env_remove("FOSTER_LOG"));
            (output.status.code().expect("exits"), text(&output.stdout).to_owned())
        };
        assert_eq!(foster(&["echo", "started"]), (0, "started\n".to_owned()));
        let (code, stdout) = foster(&["--check"]);
        assert!(code == 1 && stdout.contains("(limit 0%)"), "{stdout}");
        let (_, stdout) = foster(&["--check=zombies=7"]);
        assert!(stdout.contains("(limit 7)") && stdout.contains("(limit 90%)"), "the option wins: {stdout}");
    }
}

/// An answer without anybody to read it is an answer.
#[test]
fn without_a_stdout_the_code_stays() {
    for binary in binaries() {
        let script = "\"$0\" --check pids=0% >&-; echo $?; \"$0\" --check pids=0% >/dev/full; echo $?";
        let output = plainly(Command::new("sh").arg("-c").arg(script).arg(&binary));
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("1\n1\n", ""));
    }
}

/// Runs a script as PID 1 of a namespace whose /proc it may change, and gives what it prints and its last line.
fn in_namespaces(as_root: bool, script: &str, foster: &Path) -> (String, String) {
    let mut unshare = Command::new("unshare");
    if !as_root {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c", script]).arg(foster);
    let output = plainly(unshare.env_remove("FOSTER_LOG").stdin(Stdio::null()));
    (text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

#[test]
fn without_its_own_proc_it_cannot_look() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        // Nothing there; and the /proc of the namespace outside, below the one that is taken away, if it may be.
        for hide in ["mount -t tmpfs none /proc", "umount -l /proc || mount -t tmpfs none /proc"] {
            let script = format!("{hide}; \"$0\" --check; echo $?");
            let (stdout, stderr) = in_namespaces(false, &script, &binary);
            assert_eq!(stdout, "125\n", "{stderr}");
            let reason = "error: cannot look: /proc is not that of this PID namespace, or not mounted\n";
            assert!(stderr.ends_with(reason) && stderr.lines().count() == 1, "{hide}: {stderr}");
        }
        let script = "mount -t tmpfs none /proc; \"$0\" --check --log-format json; echo $?";
        let (stdout, stderr) = in_namespaces(false, script, &binary);
        assert!(
            stdout == "125\n" && stderr.contains("\"event\":\"cannot_check\",\"message\":\"cannot look: /proc"),
            "{stderr}"
        );
    }
}

#[test]
fn where_processes_are_hidden_it_cannot_look_but_root_can() {
    if !namespaces() {
        return;
    }
    if !runs_as_root() {
        skipped("not root, so nobody else's processes can be hidden from foster --check");
        return;
    }
    let scratch = Scratch::new("hidepid");
    for binary in binaries() {
        // Where another user can execute it.
        let foster = scratch.file("foster", &std::fs::read(&binary).unwrap(), "755");
        for hidepid in [1, 2] {
            let script = format!(
                "mount -o remount,hidepid={hidepid} /proc; \"$0\" --check | head -1; \
                 setpriv --reuid 1000 --regid 1000 --clear-groups \"$0\" --check; echo $?"
            );
            let (stdout, stderr) = in_namespaces(true, &script, &foster);
            assert_eq!(stdout, "healthy\n125\n", "hidepid={hidepid}: {stderr}");
            let reason =
                "cannot look: /proc hides processes of other users, PID 1 among them (hidepid); look as root\n";
            assert!(stderr.ends_with(reason) && stderr.lines().count() == 1, "{stderr}");
        }
    }
}

/// As PID 1 that does not reap: orphans are its own to wait for.
#[test]
fn a_pid_1_that_is_no_init_is_told_apart() {
    if !namespaces() {
        return;
    }
    for binary in binaries() {
        // PID 1 is the runner itself; foster --check comes in through a process that is not its child.
        let run = Foster::new(&fixture(), Place::Pid1).run(&["runner", "5"]);
        assert_eq!(runner(&run), 1);
        let (code, stdout, _) = check(&run, &binary, &["zombies=4"]);
        let advice = "it gets orphans and does not reap: start it under foster";
        assert!(
            code == 1 && stdout.contains("  parent 1 (runner) has 5 zombies ") && stdout.contains(advice),
            "{stdout}"
        );
    }
}
