//! The shells' completions, made from the option table: docs/completions holds what this makes. After a change of the
//! table, `UPDATE=1 cargo test completions` writes them anew.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use foster::door::{OPTIONS, Opt, Signal, parse};

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
        "watch" => Offer::Words(&["zombies=100", "pids=90%", "every=30s", "zombies=100,pids=90%,every=30s"]),
        "ok-exit" => Offer::Words(&["stop", "143"]),
        "rewrite" => Offer::Words(&["TERM:QUIT", "TERM:INT", "TERM:HUP", "TERM:USR1", "HUP:0"]),
        "termination-log" => Offer::Files,
        "chdir" => Offer::Directories,
        "user" => Offer::Users,
        _ if opt.value.is_some_and(|(placeholder, _)| placeholder == "SIGNAL") => Offer::Signals,
        _ => Offer::Nothing,
    }
}

/// The signals that foster takes, without SIG. The shells' own lists have others too: the DEBUG and ERR of bash's traps, and
/// those that can reach no program.
fn signals(opt: &Opt) -> String {
    let every = (1..=64).filter_map(Signal::new).filter(|signal| signal.is_catchable() && !signal.is_reserved());
    // SIGCHLD never arrives as a request.
    let every = every.filter(|signal| opt.long != "stop-signal" || *signal != Signal::CHLD);
    let names: Vec<String> = every.map(|signal| signal.to_string().trim_start_matches("SIG").to_owned()).collect();
    names.join(" ")
}

/// Whether a command may follow an option that can do without its value.
fn runs_a_command(opt: &Opt) -> bool {
    opt.long == "watch"
}

/// `-g --group`, or the long form alone.
fn names(opt: &Opt, between: &str) -> String {
    let short = opt.short.map_or(String::new(), |short| format!("-{short}{between}"));
    format!("{short}--{}", opt.long)
}

/// Whether the next word is the value, whatever it is. `--check` and `--watch` take it only if it looks like one.
fn takes_next_word(opt: &Opt) -> bool {
    opt.value.is_some_and(|(placeholder, _)| !placeholder.starts_with('['))
}

fn bash() -> String {
    let all: Vec<String> = OPTIONS.iter().map(|opt| names(opt, " ")).collect();
    let with_value = || OPTIONS.iter().filter(|opt| opt.value.is_some());
    let valued: Vec<String> = with_value().filter(|opt| takes_next_word(opt)).map(|opt| names(opt, "|")).collect();
    let optional: Vec<String> = with_value().filter(|opt| !takes_next_word(opt)).map(|opt| names(opt, "|")).collect();
    let mut values = String::new();
    for opt in with_value() {
        let (first, words) = match offer(opt) {
            Offer::Words(words) => ("", format!("-W '{}'", words.join(" "))),
            Offer::Signals => {
                ("[[ $value == SIG* ]] && before+=SIG value=${value#SIG}\n        ", format!("-W '{}'", signals(opt)))
            }
            Offer::Files => ("", "-f".to_owned()),
            Offer::Directories => ("", "-d".to_owned()),
            Offer::Users => ("", "-u".to_owned()),
            Offer::Nothing => continue,
        };
        let command = if runs_a_command(opt) { "; [[ $before ]] || compgen -c -- \"$value\"" } else { "" };
        let offers = format!("mapfile -t COMPREPLY < <(compgen -P \"$before\" {words} -- \"$value\"{command})");
        writeln!(values, "    {})\n        {first}{offers} ;;", names(opt, "|")).unwrap();
    }
    format!(
        r#"# bash completion for foster, made from its option table.
_foster() {{
    local line=$COMP_LINE words=() start=() i part
    # bash cuts words at = and : too. What follows without a blank belongs to the word in front of it.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        part=${{COMP_WORDS[i]}}
        if ((i)) && [[ $line != [[:blank:]]* ]]; then
            words[-1]+=$part
        else
            words+=("$part") start+=("$i")
        fi
        line=${{line#"${{line%%[![:blank:]]*}}"}}
        line=${{line#"$part"}}
    done
    local last=$((${{#words[@]}} - 1)) word=${{words[-1]}} option=
    COMPREPLY=()
    # The options: where the command begins behind them, or which of them the last word is the value of.
    for ((i = 1; i < last; i++)); do
        case ${{words[i]}} in
        --) ((i++)); break ;;
        {valued}) ((++i == last)) && option=${{words[i - 1]}} ;;
        {optional})
            if ((i + 1 == last)); then
                [[ $word != -* ]] && option=${{words[i]}}
            elif [[ ${{words[i + 1]}} == @(zombies|pids|every)=* ]]; then
                ((++i))
            fi ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < last)); then
        # Behind the command it is the command's own completion that is wanted.
        declare -F _command_offset >/dev/null && _command_offset "${{start[i]}}"
        return
    fi
    local before= value=$word
    if [[ -z $option && $word == --*=* ]]; then
        option=${{word%%=*}} value=${{word#*=}}
        before=$option=
    fi
    case $option in
    '')
        case $word in
        -*) mapfile -t COMPREPLY < <(compgen -W '{all}' -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
        esac ;;
{values}    esac
    # bash puts in only what comes behind its last cut.
    part=${{COMP_WORDS[COMP_CWORD]}}
    [[ $part == [=:] ]] && part=
    COMPREPLY=("${{COMPREPLY[@]#"${{word%"$part"}}"}}")
}}
complete -F _foster foster
"#,
        valued = valued.join("|"),
        optional = optional.join("|"),
        all = all.join(" "),
    )
}

fn zsh() -> String {
    let mut specs = String::new();
    for opt in OPTIONS {
        let help = opt.help.replace('\'', "'\\''").replace(':', "\\:").replace('[', "\\[").replace(']', "\\]");
        let action = match offer(opt) {
            Offer::Words(words) => format!("({})", words.join(" ").replace(':', "\\:")),
            Offer::Signals => format!("({})", signals(opt)),
            Offer::Files => "_files".to_owned(),
            Offer::Directories => "_files -/".to_owned(),
            Offer::Users => "_users".to_owned(),
            Offer::Nothing => " ".to_owned(),
        };
        let (long, value) = match (opt.value, takes_next_word(opt)) {
            (Some((placeholder, _)), true) => ("=", format!(":{}:{action}", placeholder.replace(':', "\\:"))),
            // In the same word alone: the next one may be the command.
            (Some(_), false) if runs_a_command(opt) => ("=-", format!("::limits:{action}")),
            (Some(_), false) => ("=", format!("::limits:{action}")),
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
    let valued: Vec<String> = OPTIONS.iter().filter(|opt| takes_next_word(opt)).map(|opt| names(opt, " ")).collect();
    let valued = valued.join(" ");
    let mut lines = format!(
        r#"# fish completion for foster, made from its option table.
# Whether the command is still to come: behind it, its own options are wanted.
function __fish_foster_before_command
    set -l words (commandline -opc)[2..-1]
    while set -q words[1]
        switch $words[1]
            case {valued}
                set -e words[1]
            case --
                return 1
            case '-*' 'zombies=*' 'pids=*' 'every=*'
            case '*'
                return 1
        end
        set -e words[1]
    end
end
complete -c foster -x -a '(__fish_complete_subcommand {valued})'
"#
    );
    for opt in OPTIONS {
        let short = opt.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = match (offer(opt), takes_next_word(opt)) {
            (Offer::Words(words), false) => format!(" -f -a '{}'", words.join(" ")),
            (_, false) => String::new(),
            (Offer::Words(words), _) => format!(" -x -a '{}'", words.join(" ")),
            (Offer::Signals, _) => format!(" -x -a '{}'", signals(opt)),
            (Offer::Files, _) => " -r -F".to_owned(),
            (Offer::Directories, _) => " -x -a '(__fish_complete_directories)'".to_owned(),
            (Offer::Users, _) => " -x -a '(__fish_complete_users)'".to_owned(),
            (Offer::Nothing, _) => " -x".to_owned(),
        };
        let help = opt.help.replace('\'', "\\'");
        let before = "complete -c foster -n __fish_foster_before_command";
        writeln!(lines, "{before}{short} -l {}{value} -d '{help}'", opt.long).unwrap();
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

/// What bash offers for the last of these words, which it has cut at each = and : by then.
fn offered(words: &[&str]) -> Vec<String> {
    let mut cut: Vec<String> = Vec::new();
    for word in words {
        cut.push(String::new());
        for letter in word.chars() {
            let is_break = |part: &str| part == "=" || part == ":";
            let last = cut.last_mut().unwrap();
            if last.is_empty() || !(is_break(last) || is_break(&letter.to_string())) {
                last.push(letter);
            } else {
                cut.push(letter.to_string());
            }
        }
    }
    let script = "source docs/completions/foster.bash; COMP_LINE=$1; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _foster; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    let output = bash.args(["--norc", "-c", script, "bash", &words.join(" ")]).args(cut).output().expect("bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_options_values_and_the_command() {
    assert_eq!(offered(&["foster", "--gr"]), ["--group", "--grace"]);
    assert_eq!(offered(&["foster", "-g", "--log-format", ""]), ["text", "json"]);
    assert_eq!(offered(&["foster", "--log-format=j"]), ["json"]);
    assert!(offered(&["foster", "-u", "roo"]).contains(&"root".to_owned()));
    assert!(offered(&["foster", "-k", "5s", "bas"]).contains(&"bash".to_owned()), "the command");
    assert_eq!(offered(&["foster", "-k", ""]), [""], "no duration can be guessed");
    assert_eq!(offered(&["foster", "sleep", "--gr"]), [""], "the command's own options");
    assert_eq!(offered(&["foster", "--", "sleep", "--gr"]), [""]);
    assert_eq!(offered(&["foster", "-r", "TERM:QUIT", "sleep", "--gr"]), [""]);
}

/// bash replaces what stands behind the last = or :, so that alone is offered.
#[test]
fn bash_completes_values_with_colons_and_equals_signs() {
    assert_eq!(offered(&["foster", "-r", "TERM:Q"]), ["QUIT"]);
    assert_eq!(offered(&["foster", "-r", "TERM:"]), ["QUIT", "INT", "HUP", "USR1"]);
    assert_eq!(offered(&["foster", "-r", "H"]), ["HUP:0"]);
    assert_eq!(offered(&["foster", "--rewrite=TERM:Q"]), ["QUIT"]);
    assert_eq!(offered(&["foster", "-r", "TERM:QUIT", "--rewrite", "TERM:I"]), ["INT"]);
    assert_eq!(offered(&["foster", "--check", "z"]), ["zombies=100", "zombies=100,pids=90%"]);
    assert_eq!(offered(&["foster", "--check", ""]), ["zombies=100", "pids=90%", "zombies=100,pids=90%"]);
    assert_eq!(offered(&["foster", "--check", "pids="]), ["90%"]);
    assert_eq!(offered(&["foster", "--check=p"]), ["pids=90%"]);
    assert_eq!(offered(&["foster", "--check", "--log-f"]), ["--log-format"]);
    assert_eq!(offered(&["foster", "--watch=e"]), ["every=30s"]);
    assert_eq!(offered(&["foster", "--watch", "zom"]), ["zombies=100", "zombies=100,pids=90%,every=30s"]);
    assert_eq!(offered(&["foster", "--watch", "--log-f"]), ["--log-format"]);
    for before in [&["foster", "--watch"][..], &["foster", "--watch=every=5s"], &["foster", "--watch", "every=5s"]] {
        assert!(offered(&[before, &["bas"]].concat()).contains(&"bash".to_owned()), "{before:?}: the command");
        assert_eq!(offered(&[before, &["sleep", "--gr"]].concat()), [""], "{before:?}: the command's own options");
    }
}

#[test]
fn bash_offers_signals_that_exist() {
    assert_eq!(offered(&["foster", "-p", "TE"]), ["TERM"]);
    assert_eq!(offered(&["foster", "--parent-death=SIGTE"]), ["SIGTERM"]);
    assert_eq!(offered(&["foster", "-p", "RTMIN+1"]).len(), 7, "RTMIN+1 and RTMIN+10 to 15");
    let every = offered(&["foster", "-p", ""]);
    assert_eq!(every.len(), 60, "without KILL, STOP, 32 and 33");
    for option in OPTIONS.iter().filter(|opt| matches!(offer(opt), Offer::Signals)) {
        let option = format!("--{}", option.long);
        for name in offered(&["foster", &option, ""]) {
            let words = [option.as_str(), &name, "true"].map(|word| std::ffi::CString::new(word).unwrap());
            assert!(parse(None, &words.each_ref().map(|word| &**word), &[]).is_ok(), "{option} {name}");
        }
    }
}

/// What fish offers for the end of a line; a tab and a description follow each.
#[test]
fn fish_completes_options_values_and_the_command_behind_them() {
    let offered = |line: &str| -> Option<Vec<String>> {
        // Without a user's configuration it does not know where the other commands' completions are.
        let script = "set -g fish_complete_path $__fish_data_dir/completions; source docs/completions/foster.fish; \
                      complete -C $argv[1]";
        let output = match Command::new("fish").args(["--no-config", "-c", script, line]).output() {
            Ok(output) => output,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "CI, and no fish: {error}");
                skipped("no fish, so its completion is not tried");
                return None;
            }
        };
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        Some(lines.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect())
    };
    for (line, has, has_not) in [
        ("foster --gr", "--grace", "bash"),
        ("foster bas", "bash", "--grace"),
        ("foster -g bas", "bash", "--grace"),
        ("foster -k 5s --wait bas", "bash", "--grace"),
        ("foster --grace=5s -- bas", "bash", "--grace"),
        ("foster -k 5s ls --a", "--all", "--wait"),
        ("foster -- ls --a", "--all", "--wait"),
        ("foster --user=root ls --s", "--size", "--stop-delay"),
        ("foster -C / --s", "--stop-delay", "--size"),
        ("foster -p TE", "TERM", "KILL"),
        ("foster -r TERM:Q", "TERM:QUIT", "HUP:0"),
        ("foster --check=z", "--check=zombies=100", "bash"),
        ("foster --watch=e", "--watch=every=30s", "bash"),
        ("foster --watch bas", "bash", "--grace"),
        ("foster --log-format ", "json", "bash"),
    ] {
        let Some(offered) = offered(line) else { return };
        let (has, has_not) = (has.to_owned(), has_not.to_owned());
        assert!(offered.contains(&has) && !offered.contains(&has_not), "{line}: {offered:?}");
    }
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
