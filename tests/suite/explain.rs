//! `foster --explain` says how foster understood everything, starts nothing, and ends as a start would.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Foster, Place, Scratch, binaries, everywhere, plainly, runs_as_root};

/// What foster prints, with its exit code. Nothing may come on stderr.
fn explained(binary: &Path, args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(binary);
    command.args(args).envs(environment.iter().copied());
    for name in ["FOSTER_LOG", "FOSTER_EXPLAIN"] {
        if !environment.iter().any(|(given, _)| *given == name) {
            command.env_remove(name);
        }
    }
    let output = plainly(&mut command);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    (output.status.code().expect("exits"), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn json(binary: &Path, args: &[&str], environment: &[(&str, &str)]) -> (i32, Value) {
    let args: Vec<&str> = ["--explain", "--log-format=json"].iter().chain(args).copied().collect();
    let (code, line) = explained(binary, &args, environment);
    assert!(line.ends_with('\n') && line.lines().count() == 1 && line.len() <= 4096, "{line}");
    (code, serde_json::from_str(&line).expect("JSON"))
}

fn called(scratch: &Scratch, name: &str, binary: &Path) -> PathBuf {
    let link = scratch.path(name);
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(binary, &link).unwrap();
    link
}

/// Value and source of a setting in the text.
fn setting<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name) && line.starts_with("  "));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    (line[20..42.min(line.len())].trim(), line.get(43..).unwrap_or_default())
}

#[test]
fn every_setting_is_said_with_where_it_comes_from_and_nothing_is_started() {
    let scratch = Scratch::new("explain");
    let made = scratch.path("made");
    let touch = format!("touch {}", made.display());
    let args = ["--explain", "-e", "3,stop", "--rewrite=TERM:QUIT,HUP:0", "-C", "/tmp", "-g", "sh", "-c", &touch];
    let environment =
        [("FOSTER_GRACE", "1m30s"), ("FOSTER_GROUP", "0"), ("FOSTER_LOG", "debug"), ("FOSTER_GRACEE", "1")];
    for binary in binaries() {
        let (code, text) = explained(&binary, &args, &environment);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with(&format!("command   sh -c '{touch}'\nfile      /")), "{text}");
        assert!(text.contains("\ndirectory /tmp\n"), "{text}");
        for (name, value, source) in [
            ("grace", "1 min 30 s", "FOSTER_GRACE"),
            ("group", "yes", "option"),
            ("ok-exit", "3,stop", "option"),
            ("chdir", "/tmp", "option"),
            ("level", "debug", "FOSTER_LOG"),
            ("stop-delay", "0.000 s", "default"),
            ("stop-signal", "SIGINT,SIGTERM", "default"),
            ("leftover-signal", "SIGTERM", "default"),
            ("user", "none", "default"),
            ("wait", "no", "default"),
            ("log-format", "text", "default"),
        ] {
            assert_eq!(setting(&text, name), (value, source), "{name} in {text}");
        }
        assert!(text.contains("  rewrite           SIGHUP:0,SIGTERM:SIGQUIT option\n"), "{text}");
        let stop = "\non SIGTERM:\n  The command's process group gets SIGQUIT at once.\n  When the command has ended, what it left \
                    behind gets SIGTERM, and foster waits for it.\n  Who is still alive after 1 min 30 s gets SIGKILL; who \
                    was not asked until 2.000 s before that is asked then.\n";
        assert!(text.contains(stop), "{text}");
        let warning = "\nwarnings:\n  unknown variable FOSTER_GRACEE (did you mean FOSTER_GRACE?); see foster --help\n";
        assert!(text.ends_with(warning), "{text}");
        assert!(!made.exists());
    }
}

#[test]
fn json_says_the_same_on_one_line() {
    for binary in binaries() {
        let (code, value) = json(&binary, &["-k", "25s", "--", "sh", "a b", ""], &[("FOSTER_X", "1")]);
        assert_eq!((code, &value["exit_code"]), (0, &Value::from(0)));
        assert_eq!(value["command"], "sh 'a b' ''");
        assert!(value["file"].as_str().is_some_and(|file| file.ends_with("/sh")), "{value}");
        assert_eq!(value["directory"], std::env::current_dir().unwrap().to_str().unwrap());
        assert_eq!(value["settings"]["grace"], serde_json::json!({"value": "25.000 s", "source": "option"}));
        assert_eq!(value["settings"]["log-format"], serde_json::json!({"value": "json", "source": "option"}));
        assert!(value["settings"].as_object().is_some_and(|settings| settings.len() > 15), "{value}");
        assert_eq!(value["stop_signal"], "SIGTERM");
        for key in ["user", "orphans", "request", "leftovers", "limit"] {
            assert!(value[key].is_string(), "{key} in {value}");
        }
        assert_eq!(value["warnings"][0]["warning"], "unknown variable FOSTER_X; see foster --help");
        assert!(value.get("failure").is_none());
    }
}

/// What a start would do, and what it would be refused for, in the same words and with the same code.
#[test]
fn it_ends_as_a_start_would_and_says_the_same() {
    let scratch = Scratch::new("explain-failure");
    let plain = scratch.file("plain", b"x", "644");
    let script = scratch.file("script", b"#!/no/such/sh\n", "755");
    let (plain, script) = (plain.to_str().unwrap(), script.to_str().unwrap());
    let mut cases: Vec<(&[&str], i32)> = vec![(&["no-such-command"], 127), (&["sleep 5"], 127), (&["./no/such"], 127)];
    let (not_executable, no_interpreter) = ([plain], [script]);
    cases.extend([
        (&not_executable[..], 126),
        (&no_interpreter, 127),
        (&["/"], 126),
        (&["/etc/passwd/x"], 126),
        (&["-C", "/no/such", "true"], 125),
        (&["-C", "/etc/passwd", "true"], 125),
        (&["--expand-env", "true", "$NO_SUCH"], 125),
        (&["-u", "no-such-user", "true"], 125),
        // The user comes first, since HOME is the user's.
        (&["-u", "no-such-user", "--expand-env", "true", "$NO_SUCH"], 125),
        (&["true"], 0),
        (&["-C", "/bin", "./true"], 0),
    ]);
    for binary in binaries() {
        for (args, expected) in &cases {
            let (code, value) = json(&binary, args, &[]);
            assert_eq!((code, &value["exit_code"]), (*expected, &Value::from(*expected)), "{args:?}: {value}");
            let started = plainly(Command::new(&binary).args(*args));
            assert_eq!(started.status.code(), Some(*expected), "{args:?}");
            let stderr = String::from_utf8(started.stderr).unwrap();
            let message = value.get("failure").and_then(Value::as_str).unwrap_or_default();
            // A long PATH is cut in JSON.
            let (message, is_cut) = message.strip_suffix('…').map_or((message, false), |cut| (cut, true));
            assert!(
                stderr.contains(message) && (is_cut || *expected == 0 || stderr.ends_with(&format!("{message}\n")))
            );
        }
        let tini = called(&scratch, "tini", &binary);
        let (code, text) = explained(&tini, &["no-such-command"], &[("FOSTER_EXPLAIN", "1")]);
        assert!(code == 127 && text.contains("\nit would not start (exit code 127):\n  cannot run 'no-such"), "{text}");
        let dumb_init = called(&scratch, "dumb-init", &binary);
        assert_eq!(explained(&dumb_init, &["no-such-command"], &[("FOSTER_EXPLAIN", "1")]).0, 2);
    }
}

/// The file that is named is the one that a start executes.
#[test]
fn the_command_is_looked_for_as_a_start_looks_for_it() {
    let scratch = Scratch::new("explain-path");
    let [first, second] = ["first", "second"].map(|name| scratch.path(name));
    for (directory, mode) in [(&first, 0o644), (&second, 0o755)] {
        std::fs::create_dir(directory).unwrap();
        let file = directory.join("show");
        std::fs::write(&file, "#!/bin/sh\necho \"$0\"\n").unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let path = format!("/nonexistent:{}:{}:/bin", first.display(), second.display());
    let in_second = format!(":{}", first.display());
    for binary in binaries() {
        for (args, path) in [(&["show"][..], &path), (&["-C", second.to_str().unwrap(), "show"], &in_second)] {
            let (code, value) = json(&binary, args, &[("PATH", path)]);
            assert_eq!(code, 0, "{value}");
            let started = plainly(Command::new(&binary).args(args).env("PATH", path));
            assert_eq!(value["file"], String::from_utf8(started.stdout).unwrap().trim_end(), "{path}");
        }
    }
}

#[test]
fn a_personas_ways_and_the_pause_are_explained_too() {
    let scratch = Scratch::new("explain-persona");
    for binary in binaries() {
        let explain = |name: &str, args: &[&str], variable: (&str, &str)| {
            let (code, text) =
                explained(&called(&scratch, name, &binary), args, &[("FOSTER_EXPLAIN", "yes"), variable]);
            assert_eq!(code, 0, "{text}");
            text
        };
        let text = explain("dumb-init", &["true"], ("X", ""));
        assert_eq!(setting(&text, "group"), ("yes", "dumb-init"));
        assert!(text.contains("the rest of its process group gets SIGTERM, and foster ends.\n"), "{text}");
        assert!(text.contains("SIGTSTP:SIGSTOP,SIGTTIN:SIGSTOP,SIGTTOU:SIGSTOP dumb-init\n"), "{text}");
        let text = explain("dumb-init", &["-c", "true"], ("X", ""));
        assert_eq!(setting(&text, "group"), ("no", "option"));
        let text = explain("tini", &["true"], ("TINI_SUBREAPER", ""));
        assert_eq!(setting(&text, "subreaper"), ("yes", "variable of that init"));
        assert!(text.contains("When the command has ended, foster ends, whatever it left behind.\n"), "{text}");
        assert!(text.contains("foster sets no limit; the platform does: "), "{text}");
        let text = explain("tini", &["true"], ("FOSTER_GRACE", "4s"));
        assert!(text.contains("what it left behind gets SIGTERM") && text.contains("until 1.000 s before"), "{text}");
        let text = explain("foster", &["--stop-signal", "QUIT", "--stop-delay", "2s", "true"], ("X", ""));
        assert!(text.contains("\non SIGQUIT:\n  The command gets it 2.000 s later, or at once when"), "{text}");
        let text = explain("foster", &["-P"], ("X", ""));
        assert!(text.starts_with("command   none (--pause)\nfile      none\n"), "{text}");
        let text = explain("foster", &["-r", "TERM:0", "true"], ("X", ""));
        assert!(text.contains("The command does not get it, as --rewrite says.\n"), "{text}");
    }
}

#[test]
fn another_user_is_named_with_its_ids_and_its_home_is_expanded() {
    if !runs_as_root() {
        return crate::harness::skipped("not root, so no other user is explained");
    }
    for binary in binaries() {
        let (code, value) = json(&binary, &["-u", "nobody", "--expand-env", "echo", "$HOME"], &[("HOME", "/root")]);
        assert_eq!(code, 0, "{value}");
        let user = value["user"].as_str().unwrap();
        assert!(user.starts_with("nobody: uid 65534, gid 65534, groups 65534"), "{user}");
        assert_eq!(value["command"], "echo /nonexistent");
        let started =
            plainly(Command::new(&binary).args(["-u", "nobody", "--expand-env", "echo", "$HOME"]).env("HOME", "/root"));
        assert_eq!(String::from_utf8(started.stdout).unwrap(), "/nonexistent\n");
    }
}

#[test]
fn who_gets_the_orphans_is_said() {
    everywhere(|binary, place| {
        let run = Foster::new(binary, place).option("--explain").run(&["true"]);
        let says = match place {
            Place::Pid1 => "orphans   come to foster, which is PID 1",
            Place::Subreaper => "orphans   come to foster, which is not PID 1 but a subreaper",
        };
        let lines = run.lines_before("settings:");
        assert!(lines.iter().any(|line| line == says), "{lines:?}");
        run.finish_whatever_is_left();
    });
}
