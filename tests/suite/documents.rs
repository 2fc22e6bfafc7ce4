//! What the documents say is what the sources say.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use foster::cli::OPTIONS;

use crate::harness::skipped;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The words in quotes that follow one of these in a source text, without its tests.
fn words_after(source: &str, before: &[&str]) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let after = before.iter().flat_map(|before| source.split(*before).skip(1));
    let word = after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let is_key = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    word.filter(is_key).map(str::to_owned).collect()
}

#[test]
fn every_json_key_and_event_is_explained() {
    let log = [read("src/report.rs"), read("src/output.rs")].concat();
    let members = [".text(", ".long_text(", ".plain(", ".seconds(", ".list("];
    let keys = words_after(&log, &members);
    // Events, and the values of sender and cause.
    let values = words_after(&log, &["=>", "Level::Error,", "Level::Warn,"]);
    assert!(keys.len() > 30 && values.len() > 25, "the sources have changed their looks: {keys:?} {values:?}");
    let diagnostics = read("docs/diagnostics.md");
    let check = read("docs/check.md");
    let probe = words_after(&read("src/check.rs"), &members);
    assert!(probe.len() > 10, "{probe:?}");
    for (words, document, name) in
        [(&keys, &diagnostics, "diagnostics"), (&values, &diagnostics, "diagnostics"), (&probe, &check, "check")]
    {
        // A level stands in the text, and what foster does itself is never said.
        let unexplained = |word: &&String| !document.contains(&format!("`{word}`"));
        let missing: Vec<&String> = words.iter().filter(unexplained).filter(|word| !is_level(word)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "not in docs/{name}.md");
    }
}

fn is_level(word: &str) -> bool {
    ["error", "warning", "info", "debug", "trace", "foster"].contains(&word)
}

/// The words of a text that look like options (`--grace`, `-g`) or variables (`FOSTER_GRACE`).
fn options_and_variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    let is_option = |word: &&str| word.strip_prefix("--").is_some_and(|name| name.len() > 1 && !name.starts_with('-'));
    let is_variable = |word: &&str| word.starts_with("FOSTER_");
    words.filter(|word| is_option(word) || is_variable(word)).map(str::to_owned).collect()
}

#[test]
fn every_option_and_variable_stands_in_help_man_page_and_readme_and_nowhere_else() {
    let mut table: BTreeSet<String> = OPTIONS.iter().map(|opt| format!("--{}", opt.long)).collect();
    table.extend(OPTIONS.iter().filter_map(foster::cli::Opt::variable));
    table.insert("FOSTER_LOG".to_owned());
    // mdoc writes --grace as `Fl -grace`.
    let man = read("docs/foster.1");
    let man_page = options_and_variables(&man.replace("Fl -", "--").replace(", -", " --"));
    assert_eq!(man_page, table, "docs/foster.1");
    for opt in OPTIONS {
        let short = opt.short.map(|short| format!(".It Fl {short} , -{}", opt.long));
        let heading = short.unwrap_or_else(|| format!(".It Fl -{}", opt.long));
        assert!(man.lines().any(|line| line.starts_with(&heading)), "docs/foster.1 has {heading}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_foster")).arg("--help").output().expect("foster");
    assert_eq!(options_and_variables(&String::from_utf8(help.stdout).unwrap()), table, "--help");
    let readme = read("README.md");
    let options = readme.split("## Options").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a chapter");
    let missing: Vec<&String> = table.iter().filter(|word| *word != "FOSTER_LOG" && !options.contains(*word)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "README.md, Options");
}

#[test]
fn the_man_page_is_clean() {
    let lint = Command::new("mandoc").args(["-Tlint", "-Wstyle", "docs/foster.1"]).output();
    match lint {
        // It looks up what is referred to, in a database that only some machines have.
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let complaints: Vec<&str> = said.lines().filter(|line| !line.contains("outdated mandoc.db")).collect();
            assert_eq!(complaints, [""; 0]);
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI, and no mandoc: {error}");
            skipped("no mandoc, so the man page is not checked");
        }
    }
}
