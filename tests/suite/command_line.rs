//! Bad input gets one clear line that names the option, the value and what is accepted, and nothing is started.

use std::process::Command;

use crate::harness::{Scratch, binaries, plainly};

/// Runs foster outside a namespace: nothing here starts a command that outlives it.
fn foster(binary: &std::path::Path, args: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(binary);
    command.args(args).envs(environment.iter().copied()).env_remove("FOSTER_LOG");
    if let Some((_, filter)) = environment.iter().find(|(name, _)| *name == "FOSTER_LOG") {
        command.env("FOSTER_LOG", filter);
    }
    let output = plainly(&mut command);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("exits"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_bad_command_line_is_one_line_and_125() {
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case] = &[
        (&["-q", "true"], &[], "unknown option '-q'; see foster --help"),
        (&["-K", "true"], &[], "unknown option '-K' (did you mean -k?); see foster --help"),
        (&["--gracee=5s", "true"], &[], "unknown option '--gracee' (did you mean --grace?); see"),
        (&["--stopdelay", "5s", "true"], &[], "unknown option '--stopdelay' (did you mean --stop-delay?); see"),
        (&["-gq", "true"], &[], "unknown option '-q'"),
        (&["--nonsense", "true"], &[], "unknown option '--nonsense'"),
        (&["--nonsense=1", "true"], &[], "unknown option '--nonsense'"),
        (&["--group=1", "true"], &[], "option --group takes no value, but '1' was given"),
        (&["-r"], &[], "option -r needs FROM:TO: two signals by name or number"),
        (&["--rewrite"], &[], "option --rewrite needs FROM:TO"),
        (&["-r", "TERM", "true"], &[], "option -r: 'TERM' is not accepted: give FROM:TO, for example TERM:QUIT"),
        (&["-r", "FOO:TERM", "true"], &[], "'FOO' is no signal; FROM is a signal name"),
        (&["-r", "TERM:FOO", "true"], &[], "'FOO' is no signal; TO is a signal name"),
        (&["-r", "KILL:TERM", "true"], &[], "SIGKILL never reaches a program"),
        (&["-p", "FOO", "true"], &[], "option -p: 'FOO' is not accepted; give a signal name (TERM, SIGTERM,"),
        (
            &["-r", "TRM:QUIT", "true"],
            &[],
            "option -r: 'TRM:QUIT' is not accepted: 'TRM' is no signal (did you mean TERM?);",
        ),
        (
            &["-r", "HUP:0,TERM:SIGQUI", "true"],
            &[],
            "'TERM:SIGQUI' is not accepted: 'SIGQUI' is no signal (did you mean QUIT?);",
        ),
        (&["-r", "HUP:0,", "true"], &[], "option -r: '' is not accepted: give FROM:TO"),
        (&["-p", "TREM", "true"], &[], "option -p: 'TREM' is not accepted (did you mean TERM?); give a signal name"),
        (
            &["-e", "stp", "true"],
            &[],
            "option -e: 'stp' is not accepted (did you mean stop?); give a code from 0 to 255, or stop;",
        ),
        (&["-e", "3,", "true"], &[], "option -e: '' is not accepted; give a code"),
        (&["--log-format", "jsn", "true"], &[], "'jsn' is not accepted (did you mean json?); give text or json"),
        (&["--check=pids=5%,zombie=5"], &[], "'pids=5%,zombie=5' is not accepted (did you mean zombies=?); give"),
        (
            &["true"],
            &[("FOSTER_GROUP", "ture")],
            "FOSTER_GROUP: 'ture' is not accepted (did you mean true?); give 1 or 0;",
        ),
        (
            &["--termination-log", "--", "false"],
            &[],
            "option --termination-log needs PATH: the path of a file, but '--' follows; \
          if that is meant, write --termination-log=--; see",
        ),
        (
            &["-C", "-v", "true"],
            &[],
            "option -C needs DIR: a directory, but '-v' follows; if that is meant, write -C=-v;",
        ),
        (&["-k", "-1", "true"], &[], "option -k needs DURATION: a duration like 25s"),
        (
            &["-g /bin/sh", "x"],
            &[],
            "'-g /bin/sh' is one word; give each option, value and argument as a word of its own (in a #! line: \
          #!/usr/bin/env -S foster -g /bin/sh); see",
        ),
        (&["--grace 5s", "true"], &[], "'--grace 5s' is one word; give each option,"),
        (&["-k 5s", "true"], &[], "'-k 5s' is one word; give each option,"),
        (&["-C /tmp /bin/sh", "x"], &[], "#!/usr/bin/env -S foster -C /tmp /bin/sh)"),
        (&["-p", "32", "true"], &[], "option -p: '32' is not accepted"),
        (&["-e", "256", "true"], &[], "option -e: '256' is not accepted; give a code from 0 to 255, or stop"),
        (&["-e", "+1", "true"], &[], "option -e: '+1' is not accepted"),
        (&["--ok-exit=x", "true"], &[], "option --ok-exit: 'x' is not accepted"),
        (&["-u", "", "true"], &[], "option -u: '' is not accepted; give USER, USER:GROUP or :GROUP"),
        (&["-u4294967295", "true"], &[], "option -u: '4294967295' is not accepted; give USER"),
        (&["true"], &[("FOSTER_USER", ":")], "variable FOSTER_USER: ':' is not accepted; give USER"),
        (&["true"], &[("FOSTER_USER", "")], "variable FOSTER_USER: '' is not accepted; give USER"),
        (&["-C", "", "true"], &[], "option -C: '' is not accepted; give a directory"),
        (&["-P", "true"], &[], "--pause runs no command, but 'true' was given"),
        (&["true"], &[("FOSTER_PAUSE", "1")], "--pause runs no command, but 'true' was given"),
        (&["-P", "-u", "0"], &[], "--pause runs no command, so --user and --chdir are not accepted with it"),
        (&["-P", "-C", "/"], &[], "--pause runs no command, so --user and --chdir are not accepted with it"),
        (&[], &[], "no command given; usage: foster [OPTIONS] [--] COMMAND [ARG...]"),
        (&["-g", "--"], &[], "no command given"),
        (&["true"], &[("FOSTER_GROUP", "maybe")], "variable FOSTER_GROUP: 'maybe' is not accepted; give 1 or 0"),
        (&["true"], &[("FOSTER_OK_EXIT", "1,x")], "variable FOSTER_OK_EXIT: 'x' is not accepted; give a code"),
        (&["true"], &[("FOSTER_REWRITE", "TERM")], "variable FOSTER_REWRITE: 'TERM' is not accepted: give FROM:TO"),
        (&["true"], &[("FOSTER_PARENT_DEATH", "9x")], "variable FOSTER_PARENT_DEATH: '9x' is not accepted"),
        (&["true"], &[("FOSTER_VERBOSE", "very")], "variable FOSTER_VERBOSE: 'very' is not accepted; give a number"),
        (&["--log-format", "xml", "true"], &[], "option --log-format: 'xml' is not accepted; give text or json"),
        (&["--check=", "-v"], &[], "option --check: '' is not accepted; give zombies=N, pids=P% or both"),
        (&["--check=zombies=x"], &[], "option --check: 'zombies=x' is not accepted; give zombies=N"),
        (&["--check", "zombies=1,pids=50"], &[], "option --check: 'zombies=1,pids=50' is not accepted; give zombies=N"),
        (&["--check", "pids=101%"], &[], "option --check: 'pids=101%' is not accepted; give zombies=N"),
        (&["--check", "true"], &[], "option --check runs no command, but 'true' was given; limits are zombies=N"),
        (&["--check", "zombies=1", "--", "true"], &[], "option --check runs no command, but 'true' was given"),
        (&["--check"], &[("FOSTER_CHECK", "1")], "variable FOSTER_CHECK: '1' is not accepted; give zombies=N"),
        (
            &["--check", "every=10s"],
            &[],
            "option --check: 'every=10s' is not accepted: --check looks once, and every= is for --watch;",
        ),
        (
            &["--watch=", "true"],
            &[],
            "option --watch: '' is not accepted; give zombies=N, pids=P%, every=DURATION of 1s or more, or several,",
        ),
        (
            &["--watch=every=0", "true"],
            &[],
            "option --watch: 'every=0' is not accepted; give zombies=N, pids=P%, every=",
        ),
        (&["--watch", "every=999ms", "true"], &[], "option --watch: 'every=999ms' is not accepted; give zombies=N"),
        (&["--watch", "zombies=x,every=5s", "true"], &[], "option --watch: 'zombies=x,every=5s' is not accepted; give"),
        (
            &["--watch=zombies=5,evry=10s", "true"],
            &[],
            "option --watch: 'zombies=5,evry=10s' is not accepted (did you mean every=?); give zombies=N",
        ),
        (&["--wach", "true"], &[], "unknown option '--wach' (did you mean --watch?)"),
        (
            &["true"],
            &[("FOSTER_WATCH", "maybe")],
            "variable FOSTER_WATCH: 'maybe' is not accepted; give zombies=N, pids=P%, every=DURATION of 1s or more,",
        ),
        (&["true"], &[("FOSTER_WATCH", "every=0.5s")], "variable FOSTER_WATCH: 'every=0.5s' is not accepted; give"),
    ];
    for binary in binaries() {
        for (args, environment, message) in cases {
            let (code, stdout, stderr) = foster(&binary, args, environment);
            assert_eq!((code, stdout.as_str()), (125, ""), "{args:?} {environment:?}: {stderr}");
            assert!(stderr.contains(message), "{args:?} {environment:?}: {stderr}");
            assert!(stderr.ends_with("; see foster --help\n"), "{args:?} {environment:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

/// A persona's help is what its peer calls it.
#[test]
fn a_personas_refusal_names_its_own_help() {
    let scratch = Scratch::new("persona-help");
    for binary in binaries() {
        for (name, args, line) in [
            ("tini", &["-g", "--bogus", "true"][..], "unknown option '--bogus'; see tini -h\n"),
            ("tini", &["-K"], "unknown option '-K'; see tini -h\n"),
            (
                "tini",
                &["-e", "-1", "true"],
                "option -e: '-1' is not accepted; give a code from 0 to 255; see tini -h\n",
            ),
            ("dumb-init", &["--rewrit:", "1:2", "true"], "(did you mean --rewrite?); see dumb-init --help\n"),
            (
                "catatonit",
                &[],
                "no command given; usage: catatonit [OPTIONS] [--] COMMAND [ARG...]; see catatonit -h\n",
            ),
        ] {
            let link = scratch.path(name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&binary, &link).unwrap();
            let (code, _, stderr) = foster(&link, args, &[]);
            assert!(code == 1 && stderr.ends_with(line) && stderr.lines().count() == 1, "{name} {args:?}: {stderr}");
        }
    }
}

#[test]
fn variables_are_put_into_the_command_if_that_is_asked_for() {
    let scratch = Scratch::new("expand");
    let script = scratch.file("show", b"#!/bin/sh\nprintf '<%s>' \"$@\"\n", "755");
    let show = script.to_str().unwrap();
    let words = ["$SHOW", "0.0.0.0:${PORT:-8000}", "$WORDS", "", "a$$b", "$HOME"];
    let environment = [("SHOW", show), ("WORDS", "two  words"), ("HOME", "/h")];
    for binary in binaries() {
        let asked: Vec<&str> = ["--expand-env", "--"].into_iter().chain(words).collect();
        let (code, stdout, stderr) = foster(&binary, &asked, &environment);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(stdout, "<0.0.0.0:8000><two  words><><a$b></h>");
        let by_variable: Vec<(&str, &str)> =
            environment.iter().copied().chain([("FOSTER_EXPAND_ENV", "yes"), ("PORT", "9")]).collect();
        let (code, stdout, _) = foster(&binary, &words, &by_variable);
        assert_eq!((code, stdout.as_str()), (0, "<0.0.0.0:9><two  words><><a$b></h>"));
        // The name in the log is the command that runs.
        let (_, _, stderr) = foster(&binary, &["-v", "--expand-env", "$SHOW"], &environment);
        assert!(stderr.contains(&format!("info: started command {show} as pid ")), "{stderr}");
        let (code, stdout, _) = foster(&binary, &[show, "$WORDS"], &environment);
        assert_eq!((code, stdout.as_str()), (0, "<$WORDS>"), "nobody asked for it");
    }
}

#[test]
fn a_variable_that_is_not_set_is_one_line_and_nothing_is_started() {
    let scratch = Scratch::new("expand-unset");
    let (log, made) = (scratch.path("log"), scratch.path("made"));
    let script = format!("touch {}", made.display());
    for binary in binaries() {
        for (word, message) in [
            (
                "$NO_PORT",
                "option --expand-env: NO_PORT is not set, and '$NO_PORT' has no default for it, like ${NO_PORT:-word}\n",
            ),
            ("${NO_PORT:?set it}", "option --expand-env: NO_PORT: set it\n"),
            (
                "${NO_PORT",
                "option --expand-env: '${NO_PORT' cannot be read: the name is followed by something else; it takes $NAME, ",
            ),
        ] {
            let _ = std::fs::remove_file(&log);
            let args = ["--expand-env", "--termination-log", log.to_str().unwrap(), "sh", "-c", &script, word];
            let (code, _, stderr) = foster(&binary, &args, &[]);
            assert!(code == 125 && stderr.contains(message) && stderr.lines().count() == 1, "{stderr}");
            assert!(std::fs::read_to_string(&log).unwrap().contains(message) && !made.exists());
        }
        let link = scratch.path("tini");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&binary, &link).unwrap();
        let (code, _, stderr) = foster(&link, &["echo", "$NO_PORT"], &[("FOSTER_EXPAND_ENV", "1")]);
        assert!(code == 1 && stderr.contains("NO_PORT is not set"), "as tini: {stderr}");
    }
}

const BOGUS_LINE: &str = "unknown option '--bogus'; see foster --help";

/// What can be read of a command line that is refused says how that is said: its options before its variables, whichever
/// comes first, and no word of the command's.
#[test]
fn a_refusal_is_said_as_the_rest_of_the_command_line_asks() {
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], bool);
    let cases: &[Case] = &[
        (&["--bogus", "sh"], &[("FOSTER_LOG_FORMAT", "json")], true),
        (&["--log-format", "json", "--bogus", "sh"], &[], true),
        (&["--bogus", "--log-format=json", "sh"], &[], true),
        (&["--log-format", "text", "--bogus"], &[("FOSTER_LOG_FORMAT", "json")], false),
        (&["--bogus", "sh", "--log-format", "json"], &[], false),
        (&["--bogus", "--", "--log-format=json"], &[], false),
        (&["--bogus", "-C=--log-format=json", "sh"], &[], false),
        // -C has no value, and the option that stands there is read as one.
        (&["--bogus", "-C", "--log-format=json", "sh"], &[], true),
        (&["--bogus", "sh"], &[("FOSTER_LOG_FORMAT", "yaml")], false),
        (&["-v", "--bogus", "sh"], &[("FOSTER_LOG", "off")], false),
        (&["--bogus", "sh"], &[("FOSTER_LOG", "foster:debug")], false),
    ];
    for binary in binaries() {
        for (args, environment, is_json) in cases {
            let (code, _, stderr) = foster(&binary, args, environment);
            assert_eq!((code, stderr.lines().count()), (125, 1), "{args:?} {environment:?}: {stderr}");
            assert!(stderr.contains(BOGUS_LINE), "{args:?}: {stderr}");
            assert_eq!(stderr.contains("\"event\":\"refused\""), *is_json, "{args:?} {environment:?}: {stderr}");
        }
        for (args, environment) in
            [(&["--bogus", "sh"], &[("FOSTER_LOG", "off")]), (&["-v", "sh"], &[("FOSTER_GRACE", "soon")])]
        {
            let silent = environment[0].0 == "FOSTER_LOG";
            let (code, _, stderr) = foster(&binary, args, environment);
            assert_eq!((code, stderr.is_empty()), (125, silent), "off means off: {stderr}");
        }
    }
}

#[test]
fn a_refusal_is_left_in_the_termination_log_but_not_a_probes() {
    let scratch = Scratch::new("refused");
    let log = scratch.path("log");
    let path = log.to_str().unwrap();
    let left = |binary: &std::path::Path, args: &[&str], environment: &[(&str, &str)]| {
        let _ = std::fs::remove_file(&log);
        let (code, _, stderr) = foster(binary, args, environment);
        assert_eq!(code, 125, "{stderr}");
        std::fs::read_to_string(&log).unwrap_or_default()
    };
    let in_variable = [("FOSTER_TERMINATION_LOG", path)];
    for binary in binaries() {
        let bogus = "foster: unknown option '--bogus'; see foster --help\n";
        assert_eq!(left(&binary, &["--bogus", "sh"], &in_variable), bogus);
        assert_eq!(left(&binary, &["--bogus", "--termination-log", path, "sh"], &[]), bogus);
        assert_eq!(left(&binary, &["--bogus", "sh"], &[in_variable[0], ("FOSTER_LOG", "off")]), bogus);
        let soon = left(&binary, &["sh"], &[in_variable[0], ("FOSTER_GRACE", "soon")]);
        assert!(soon.starts_with("foster: variable FOSTER_GRACE: 'soon' is not accepted"), "{soon}");
        assert_eq!(left(&binary, &["--check=x"], &in_variable), "");
        assert_eq!(left(&binary, &["--bogus", "--check"], &in_variable), "");
        let (_, _, stderr) = foster(&binary, &["--bogus"], &[("FOSTER_TERMINATION_LOG", "/nonexistent/log")]);
        assert!(stderr.contains("warning: the termination log cannot be written: No such file"), "{stderr}");
        assert!(stderr.contains(BOGUS_LINE) && stderr.lines().count() == 2, "{stderr}");
    }
}

#[test]
fn help_that_cannot_be_printed_is_one_line_and_125() {
    for binary in binaries() {
        for (option, stdout, why) in
            [("--help", ">/dev/full", "No space left on device"), ("-V", ">&-", "Bad file number")]
        {
            let script = format!("\"$0\" {option} {stdout}");
            let output = plainly(Command::new("sh").arg("-c").arg(script).arg(&binary));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(125), "{stderr}");
            let line = format!("error: what was asked for cannot be printed: {why}\n");
            assert!(stderr.ends_with(&line) && stderr.lines().count() == 1, "{stderr}");
        }
    }
}

#[test]
fn an_option_wins_over_its_variable() {
    for binary in binaries() {
        let (code, _, stderr) = foster(&binary, &["-e", "3", "sh", "-c", "exit 4"], &[("FOSTER_OK_EXIT", "4")]);
        assert_eq!(code, 4, "{stderr}");
        let (code, _, stderr) = foster(&binary, &["-v", "true"], &[("FOSTER_LOG", "off")]);
        assert!(code == 0 && stderr.contains("info: started command true"), "{stderr}");
        let (code, _, stderr) = foster(&binary, &["true"], &[("FOSTER_VERBOSE", "1"), ("FOSTER_LOG", "off")]);
        assert_eq!((code, stderr.as_str()), (0, ""));
    }
}

#[test]
fn an_unknown_variable_is_a_warning_and_one_of_kubernetes_is_none() {
    for binary in binaries() {
        for (variable, meant) in [
            ("FOSTER_GRACEE", " (did you mean FOSTER_GRACE?)"),
            ("FOSTER_LGO", " (did you mean FOSTER_LOG?)"),
            ("FOSTER_stop_delay", " (did you mean FOSTER_STOP_DELAY?)"),
            ("FOSTER_PORTS", ""),
            ("FOSTER_X", ""),
        ] {
            let (code, _, stderr) = foster(&binary, &["sh", "-c", "exit 6"], &[(variable, "1")]);
            assert_eq!(code, 6);
            let line = format!("warning: unknown variable {variable}{meant}; see foster --help\n");
            assert!(stderr.ends_with(&line) && stderr.lines().count() == 1, "{stderr}");
        }
        // As for a Service named foster (kubernetes.io, "Discovering services").
        let service = [
            ("FOSTER_SERVICE_HOST", "10.0.0.11"),
            ("FOSTER_SERVICE_PORT", "6379"),
            ("FOSTER_SERVICE_PORT_HTTP", "6379"),
            ("FOSTER_PORT", "tcp://10.0.0.11:6379"),
            ("FOSTER_PORT_6379_TCP", "tcp://10.0.0.11:6379"),
            ("FOSTER_PORT_6379_TCP_PROTO", "tcp"),
        ];
        assert_eq!(foster(&binary, &["true"], &service), (0, String::new(), String::new()));
    }
}

#[test]
fn a_log_level_that_cannot_be_read_is_a_warning_and_the_default() {
    for binary in binaries() {
        for (filter, meant) in [
            ("loud", ""),
            ("wran", " (did you mean warn?)"),
            ("foster:debug", ""),
            ("foster=loud", ""),
            ("app=debug", ""),
        ] {
            // At the default level a warning is said, and info is not.
            let (code, _, stderr) = foster(&binary, &["sh", "-c", "exit 6"], &[("FOSTER_LOG", filter)]);
            let line = format!(
                "warning: variable FOSTER_LOG: '{filter}' is no log filter and is ignored{meant}; give a level \
                 (off, error, warn, info, debug, trace) or foster=LEVEL\n"
            );
            assert!(code == 6 && stderr.ends_with(&line) && stderr.lines().count() == 1, "{stderr}");
            let (_, _, stderr) = foster(&binary, &["true"], &[("FOSTER_LOG", filter), ("FOSTER_VERBOSE", "1")]);
            assert!(stderr.contains("info: started command"), "the other variable counts then: {stderr}");
        }
        for filter in ["warning", "WARNING", "foster=warning"] {
            let (code, _, stderr) = foster(&binary, &["true"], &[("FOSTER_LOG", filter), ("FOSTER_X", "")]);
            assert!(code == 0 && stderr.contains("warning: unknown variable FOSTER_X"), "{filter}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

/// What follows a slash is a part of the lines that are said (env_logger's syntax).
#[test]
fn a_log_filter_chooses_lines_by_their_words() {
    for binary in binaries() {
        for (filter, said) in
            [("info/started", 1), ("info/", 3), ("info/no such words", 0), ("foster=info/command true", 3)]
        {
            let (code, _, stderr) = foster(&binary, &["true"], &[("FOSTER_LOG", filter)]);
            assert_eq!((code, stderr.lines().count()), (0, said), "{filter}: {stderr}");
        }
    }
}

#[test]
fn a_flags_variable_is_on_or_off_in_any_case() {
    for binary in binaries() {
        for (value, is_on) in ["1", "true", "YES", "On"]
            .map(|value| (value, true))
            .into_iter()
            .chain(["0", "False", "NO", "off", ""].map(|value| (value, false)))
        {
            // A pause runs no command, so this is refused where the flag is on.
            let (code, _, stderr) = foster(&binary, &["true"], &[("FOSTER_PAUSE", value)]);
            assert_eq!(code == 125, is_on, "{value}: {stderr}");
        }
    }
}

#[test]
fn an_option_takes_a_list_as_its_variable_does() {
    for binary in binaries() {
        for code in ["3", "4"] {
            let (ended, _, stderr) =
                foster(&binary, &["-e", "3,4", "-e", "5", "sh", "-c", &format!("exit {code}")], &[]);
            assert_eq!((ended, stderr.as_str()), (0, ""), "{code}");
        }
    }
}

#[test]
fn options_end_at_the_first_word_that_is_none() {
    for binary in binaries() {
        for args in [&["echo", "-g", "--help", "-l"][..], &["-g", "--", "echo", "-g", "--help", "-l"]] {
            assert_eq!(foster(&binary, args, &[]), (0, "-g --help -l\n".to_owned(), String::new()));
        }
    }
}

/// A terminal that nobody made wider has 80 columns.
#[test]
fn every_help_fits_into_80_columns_and_is_grouped() {
    let scratch = Scratch::new("help");
    let binary = &binaries()[0];
    for (name, option, sections) in [
        ("foster", "--help", &["Stopping:", "Signals:", "User and directory:", "What is said:", "Other:"][..]),
        ("tini", "-h", &["Stopping:", "Signals:", "What is said:", "Other:"]),
        ("dumb-init", "--help", &["Signals:", "What is said:", "Other:"]),
        ("catatonit", "-h", &["Signals:", "Other:"]),
    ] {
        let link = scratch.path(name);
        std::os::unix::fs::symlink(binary, &link).unwrap();
        let (code, help, stderr) = foster(&link, &[option], &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        for line in help.lines() {
            assert!(line.len() <= 80 && line.trim_end() == line, "{name}: {} columns: '{line}'", line.len());
        }
        let headings: Vec<&str> = help.lines().filter(|line| !line.starts_with(' ') && line.ends_with(':')).collect();
        assert_eq!(headings, sections, "{name}");
        assert!(help.contains(&format!("usage: {name} [OPTIONS] [--] COMMAND [ARG...]\n")), "{help}");
    }
}

#[test]
fn help_version_and_license_are_printed() {
    for binary in binaries() {
        for option in ["-h", "--help"] {
            let (code, help, stderr) = foster(&binary, &[option], &[]);
            assert_eq!((code, stderr.as_str()), (0, ""));
            for word in
                ["-g, --group", "-r, --rewrite FROM:TO", "[FOSTER_WARN_ON_REAP]", "FOSTER_LOG", "127", "126", "125"]
            {
                assert!(help.contains(word), "{word} in {help}");
            }
        }
        let version = format!("foster {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(foster(&binary, &["-V"], &[]), (0, version.clone(), String::new()));
        assert_eq!(foster(&binary, &["-g", "--version", "-q"], &[]), (0, version, String::new()));
        let (code, license, _) = foster(&binary, &["-l"], &[]);
        assert!(
            code == 0 && license.contains("MIT OR Apache-2.0") && license.contains("WITHOUT WARRANTY"),
            "{license}"
        );
    }
}

#[test]
fn a_command_that_cannot_run_is_one_line_and_the_code_of_env() {
    let scratch = Scratch::new("exec");
    let directory = scratch.path("directory");
    std::fs::create_dir(&directory).unwrap();
    let file = |name: &str, content: &[u8], mode| scratch.file(name, content, mode).to_str().unwrap().to_owned();
    let no_execute_bit = file("no-execute-bit", b"#!/bin/sh\n", "644");
    let no_interpreter = file("no-interpreter", b"#!/no/such/sh -e\nexit 0\n", "755");
    let crlf = file("crlf", b"#!/bin/sh\r\nexit 0\r\n", "755");
    let foreign = file("foreign", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0", "755");
    let in_path = format!("PATH ({})", scratch.path("").display());
    let cases: &[(&str, i32, &str)] = &[
        ("no-such-command", 127, &format!("cannot run 'no-such-command': not found in {in_path}")),
        ("./no/such/file", 127, "cannot run './no/such/file': no such file or directory"),
        ("", 127, "cannot run '': no such file or directory"),
        (
            "sleep 5",
            127,
            &format!(
                "not found in {in_path}; it is one word: give the command and each argument as a word of its own, as in \
                 [\"sleep\", \"5\"]\n"
            ),
        ),
        ("/bin/sh -c x", 127, "it is one word: give"),
        (directory.to_str().unwrap(), 126, "directory: it is a directory"),
        ("directory", 126, "directory: it is a directory"),
        (&no_execute_bit, 126, "permission denied: the file has no execute permission"),
        ("no-execute-bit", 126, "permission denied: the file has no execute permission"),
        ("/etc/passwd/x", 126, "cannot run /etc/passwd/x: not a directory"),
        (&no_interpreter, 127, "its interpreter '/no/such/sh' does not exist"),
        (&crlf, 127, "its interpreter '/bin/sh\\r' does not exist"),
        (&foreign, 126, "it is no program for this machine"),
    ];
    for binary in binaries() {
        for (command, expected, message) in cases {
            let path = scratch.path("");
            let (code, stdout, stderr) = foster(&binary, &["--", command], &[("PATH", path.to_str().unwrap())]);
            assert_eq!((code, stdout.as_str()), (*expected, ""), "{command}: {stderr}");
            assert!(stderr.contains("]: error: ") && stderr.contains(message), "{command}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn a_text_file_without_an_interpreter_line_runs_under_the_shell() {
    let scratch = Scratch::new("script");
    let script = scratch.file("script", b"echo \"$0 $*\"; exit 5\n", "755");
    let script = script.to_str().unwrap();
    scratch.file("empty", b"", "755");
    let path = format!("/nonexistent:{}:/bin:/usr/bin", scratch.path("").display());
    for binary in binaries() {
        for command in [script, "script"] {
            let (code, stdout, stderr) = foster(&binary, &[command, "a", "-b"], &[("PATH", &path)]);
            assert_eq!((code, stderr.as_str()), (5, ""), "{command}");
            assert!(stdout.ends_with("script a -b\n"), "{stdout}");
        }
        assert_eq!(foster(&binary, &["empty"], &[("PATH", &path)]).0, 0);
    }
}

#[test]
fn the_path_is_searched_as_execvp_does() {
    let scratch = Scratch::new("path");
    for directory in ["a", "b", "c"] {
        std::fs::create_dir(scratch.path(directory)).unwrap();
    }
    scratch.file("a/tool", b"#!/bin/sh\nexit 1\n", "644");
    scratch.file("b/tool", b"#!/bin/sh\nexit 2\n", "755");
    scratch.file("c/tool", b"#!/bin/sh\nexit 3\n", "755");
    let directory = |name: &str| scratch.path(name).display().to_string();
    let (a, b, c) = (directory("a"), directory("b"), directory("c"));
    for binary in binaries() {
        for (path, code) in [
            (format!("{a}:{b}:{c}"), 2),
            (format!("/etc/passwd:{c}:{b}"), 3),
            (format!("{a}:/nonexistent"), 126),
            ("/nonexistent".to_owned(), 127),
        ] {
            assert_eq!(foster(&binary, &["tool"], &[("PATH", &path)]).0, code, "{path}");
        }
        // An empty directory is the current one.
        let mut command = Command::new(&binary);
        command.arg("tool").env("PATH", "/nonexistent:").current_dir(scratch.path("c"));
        assert_eq!(plainly(&mut command).status.code(), Some(3));
        let mut command = Command::new(&binary);
        command.args(["true"]).env_remove("PATH");
        assert_eq!(plainly(&mut command).status.code(), Some(0), "a default without PATH");
    }
}

/// A full or closed stderr costs the line, not the exit code.
#[test]
fn a_failure_without_a_stderr_keeps_its_code() {
    for binary in binaries() {
        for stderr in ["2>&-", "2>/dev/full", "<&- >&- 2>&-"] {
            let script =
                format!("\"$0\" -vvv no-such-command {stderr}; echo $?; \"$0\" -vvv sh -c 'exit 3' {stderr}; echo $?");
            let output = plainly(Command::new("sh").arg("-c").arg(script).arg(&binary));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "127\n3\n", "{stderr}");
        }
    }
}

#[test]
fn the_release_builds_are_static() {
    for binary in binaries() {
        let output = plainly(Command::new("ldd").arg(&binary));
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("not a dynamic executable") || text.contains("statically linked"), "{text}");
    }
}
