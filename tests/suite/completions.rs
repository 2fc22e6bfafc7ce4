//! The shells' completions, made from the option table: docs/completions holds what this makes. After a change of the
//! table, `UPDATE=1 cargo test completions` writes them anew.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use foster::door::{OPTIONS, Opt};

use crate::harness::skipped;

/// What a shell can offer for an option's value.
enum Offer {
    Words(&'static [&'static str]),
    Signals,
    Files,
    Directories,
    Users,
    /// A number or a duration: nothing that could be guessed.
    Nothing,
}

fn offer(opt: &Opt) -> Offer {
    match opt.long {
        "log-format" => Offer::Words(&["text", "json"]),
        "check" => Offer::Words(&["zombies=100", "pids=90%", "zombies=100,pids=90%"]),
        "ok-exit" => Offer::Words(&["stop", "143"]),
        "rewrite" => Offer::Words(&["TERM:QUIT", "TERM:INT", "TERM:HUP", "TERM:USR1", "HUP:0"]),
        "parent-death" | "stop-signal" | "leftover-signal" => Offer::Signals,
        "termination-log" => Offer::Files,
        "chdir" => Offer::Directories,
        "user" => Offer::Users,
        _ => Offer::Nothing,
    }
}

/// `-g --group`, or the long form alone.
fn names(opt: &Opt, between: &str) -> String {
    let short = opt.short.map_or(String::new(), |short| format!("-{short}{between}"));
    format!("{short}--{}", opt.long)
}

/// Whether the next word is the value: `--check` has one in the same word, if at all.
fn takes_next_word(opt: &Opt) -> bool {
    opt.value.is_some_and(|(placeholder, _)| !placeholder.starts_with('['))
}

fn bash() -> String {
    let all: Vec<String> = OPTIONS.iter().map(|opt| names(opt, " ")).collect();
    let valued: Vec<String> = OPTIONS.iter().filter(|opt| takes_next_word(opt)).map(|opt| names(opt, "|")).collect();
    let mut values = String::new();
    for opt in OPTIONS.iter().filter(|opt| takes_next_word(opt)) {
        let reply = match offer(opt) {
            Offer::Words(words) => format!("compgen -W '{}' -- \"$word\"", words.join(" ")),
            Offer::Signals => "compgen -A signal -- \"$word\"".to_owned(),
            Offer::Files => "compgen -f -- \"$word\"".to_owned(),
            Offer::Directories => "compgen -d -- \"$word\"".to_owned(),
            Offer::Users => "compgen -u -- \"$word\"".to_owned(),
            Offer::Nothing => ":".to_owned(),
        };
        writeln!(values, "        {}) mapfile -t COMPREPLY < <({reply}); return ;;", names(opt, "|")).unwrap();
    }
    format!(
        r#"# bash completion for foster, made from its option table.
_foster() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} i
    COMPREPLY=()
    # Behind the command it is the command's own completion that is wanted.
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
        --) ((i++)) && break ;;
        {valued}) ((i++)) ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < COMP_CWORD)); then
        declare -F _command_offset >/dev/null && _command_offset "$i"
        return
    fi
    if ((i > COMP_CWORD)); then
        case $before in
{values}        esac
    fi
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '{all}' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
    esac
}}
complete -F _foster foster
"#,
        valued = valued.join("|"),
        all = all.join(" "),
    )
}

fn zsh() -> String {
    let mut specs = String::new();
    for opt in OPTIONS {
        let help = opt.help.replace('\'', "'\\''").replace(':', "\\:").replace('[', "\\[").replace(']', "\\]");
        let action = match offer(opt) {
            Offer::Words(words) => format!("({})", words.join(" ").replace(':', "\\:")),
            Offer::Signals => "_signals".to_owned(),
            Offer::Files => "_files".to_owned(),
            Offer::Directories => "_files -/".to_owned(),
            Offer::Users => "_users".to_owned(),
            Offer::Nothing => " ".to_owned(),
        };
        let (long, value) = match (opt.value, takes_next_word(opt)) {
            (Some((placeholder, _)), true) => ("=", format!(":{}:{action}", placeholder.replace(':', "\\:"))),
            (Some(_), false) => ("=-", format!("::limits:{action}")),
            (None, _) => ("", String::new()),
        };
        match opt.short {
            Some(short) => {
                let plus = if value.is_empty() { "" } else { "+" };
                writeln!(specs, "    '*'{{-{short}{plus},--{}{long}}}'[{help}]{value}' \\", opt.long).unwrap();
            }
            None => writeln!(specs, "    '--{}{long}[{help}]{value}' \\", opt.long).unwrap(),
        }
    }
    format!(
        "#compdef foster\n# zsh completion for foster, made from its option table.\n_arguments -s -S -A '-*' \\\n{specs}    \
         '(-)1:command: _command_names -e' \\\n    '*::arguments: _normal'\n"
    )
}

fn fish() -> String {
    let mut lines = String::from(
        "# fish completion for foster, made from its option table.\ncomplete -c foster -x -a '(__fish_complete_subcommand)'\n",
    );
    for opt in OPTIONS {
        let short = opt.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = match (offer(opt), takes_next_word(opt)) {
            (_, false) => String::new(),
            (Offer::Words(words), _) => format!(" -x -a '{}'", words.join(" ")),
            (Offer::Signals, _) => " -x -a '(kill -l | string split \" \")'".to_owned(),
            (Offer::Files, _) => " -r -F".to_owned(),
            (Offer::Directories, _) => " -x -a '(__fish_complete_directories)'".to_owned(),
            (Offer::Users, _) => " -x -a '(__fish_complete_users)'".to_owned(),
            (Offer::Nothing, _) => " -x".to_owned(),
        };
        let help = opt.help.replace('\'', "\\'");
        writeln!(lines, "complete -c foster{short} -l {}{value} -d '{help}'", opt.long).unwrap();
    }
    lines
}

#[test]
fn the_completions_are_what_the_option_table_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/completions");
    for (name, made) in [("foster.bash", bash()), ("_foster", zsh()), ("foster.fish", fish())] {
        let path = directory.join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(there, made, "{name} is old: UPDATE=1 cargo test completions");
    }
}

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = "source docs/completions/foster.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _foster; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["--norc", "-c", script, "bash"]).args(words).output().expect("bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_options_values_and_the_command() {
    assert_eq!(offered(&["foster", "--gr"]), ["--group", "--grace"]);
    assert_eq!(offered(&["foster", "-g", "--log-format", ""]), ["text", "json"]);
    assert!(offered(&["foster", "-u", "roo"]).contains(&"root".to_owned()));
    assert!(offered(&["foster", "-p", "SIGTE"]).contains(&"SIGTERM".to_owned()));
    assert!(offered(&["foster", "-k", "5s", "bas"]).contains(&"bash".to_owned()), "the command");
    assert_eq!(offered(&["foster", "sleep", "--gr"]), [""], "the command's own options");
    assert_eq!(offered(&["foster", "--", "sleep", "--gr"]), [""]);
}

#[test]
fn zsh_and_fish_can_read_theirs() {
    for (shell, file) in [("zsh", "_foster"), ("fish", "foster.fish")] {
        let path = format!("docs/completions/{file}");
        match Command::new(shell).args(["-n", &path]).output() {
            Ok(output) => assert!(output.status.success() && output.stderr.is_empty(), "{output:?}"),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "CI, and no {shell}: {error}");
                skipped(&format!("no {shell}, so its completion is not read by it"));
            }
        }
    }
}
