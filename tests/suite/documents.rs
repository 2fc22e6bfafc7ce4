//! What the documents say is what the sources say.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use foster::door::OPTIONS;

use crate::harness::skipped;

pub fn read(path: &str) -> String {
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
    let log = [read("src/report/mod.rs"), read("src/report/json.rs"), read("src/output.rs")].concat();
    let members = [".text(", ".long_text(", ".plain(", ".seconds(", ".list("];
    let keys = words_after(&log, &members);
    // Events, and the values of sender and cause.
    let values = words_after(&log, &["=>", "Level::Error,", "Level::Warn,"]);
    assert!(keys.len() > 30 && values.len() > 25, "the sources have changed their looks: {keys:?} {values:?}");
    let diagnostics = read("docs/diagnostics.md");
    let check = read("docs/check.md");
    let probe = words_after(&read("src/report/probe.rs"), &members);
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
    table.extend(OPTIONS.iter().filter_map(foster::door::Opt::variable));
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
        // It looks up what is referred to, in a database and in manuals that only some machines have.
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_of_machine =
                |line: &str| line.contains("outdated mandoc.db") || line.contains("referenced manual not found");
            let complaints: Vec<&str> = said.lines().filter(|line| !is_of_machine(line)).collect();
            assert_eq!(complaints, [""; 0]);
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI, and no mandoc: {error}");
            skipped("no mandoc, so the man page is not checked");
        }
    }
}

/// The documents for users and engineers, each with its path.
pub fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs =
        std::fs::read_dir(root.join("docs")).expect("docs").map(|entry| format!("docs/{}", name(&entry.unwrap())));
    let top = std::fs::read_dir(root).expect("the project").map(|entry| name(&entry.unwrap()));
    let mut paths: Vec<String> = docs.chain(top).filter(|path| path.ends_with(".md")).collect();
    paths.sort();
    assert!(paths.len() > 10, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn name(entry: &std::fs::DirEntry) -> String {
    entry.file_name().into_string().expect("UTF-8")
}

/// A heading's name in links, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_')
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    for (path, text) in documents() {
        let directory = Path::new(&path).parent().expect("a parent").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone().into() } else { directory.join(file) };
            let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target);
            assert!(full.exists(), "{path}: {link}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&full).expect("text");
                let found = text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(found, "{path}: no such heading: {link}");
            }
        }
    }
}

/// foster's own command lines in the brackets of a Dockerfile, YAML or JSON. `commands` runs those that are typed.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let is_foster = |word: &str| word == "foster" || word.ends_with("/foster");
    let lists = text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let arguments = lists.filter_map(|list| {
        let items: Vec<String> = serde_json::from_str(&format!("[{list}]")).ok()?;
        is_foster(items.first()?).then(|| items[1..].to_vec())
    });
    arguments.collect()
}

#[test]
fn every_command_line_is_one_that_foster_takes() {
    let examples = ["docs/examples/compose.yaml", "docs/examples/ecs-task-definition.json", "Dockerfile.example"];
    let kubernetes = ["deployment", "copied", "shared"].map(|name| format!("docs/examples/kubernetes/{name}.yaml"));
    let others = examples.iter().map(|path| (*path).to_owned()).chain(kubernetes);
    let mut seen = 0;
    for (path, text) in documents().into_iter().chain(others.map(|path| (path.clone(), read(&path)))) {
        for line in command_lines(&text) {
            let c_strings: Vec<_> = line.iter().map(|word| std::ffi::CString::new(word.as_str()).unwrap()).collect();
            let mut args: Vec<&std::ffi::CStr> = c_strings.iter().map(std::ffi::CString::as_c_str).collect();
            // An ENTRYPOINT may leave the command to CMD.
            if args.last().is_none_or(|last| *last == c"--") {
                args.push(c"command");
            }
            let parsed = foster::door::parse(None, &args, &[]);
            assert!(parsed.is_ok(), "{path}: foster {}: {parsed:?}", line.join(" "));
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} command lines alone: the documents have changed their looks");
}

/// `module::name` for the suite, and in a cell of the table after `file.rs` the names of unit tests.
#[test]
fn every_test_that_is_named_exists() {
    let text = read("docs/reliability.md");
    let (_, tables) = text.split_once("## The promises").expect("the tables");
    let mut count = 0;
    for cell in tables.split(['|', '\n']) {
        let mut file = None;
        // What stands in backquotes.
        for name in cell.split('`').skip(1).step_by(2).filter(|name| {
            let is_path = name.contains('/') && !name.ends_with(".rs");
            !name.contains(' ') && !is_path
        }) {
            let (source, test) = match (name.split_once("::"), &file) {
                (Some((module, test)), _) => (format!("tests/suite/{module}.rs"), test),
                _ if name == "parsers.rs" => {
                    file = Some(format!("tests/fuzz/{name}"));
                    continue;
                }
                _ if name.ends_with(".rs") => {
                    file = Some(format!("src/{name}"));
                    continue;
                }
                (None, Some(file)) => (file.clone(), name),
                (None, None) => continue,
            };
            assert!(read(&source).contains(&format!("fn {test}(")), "{name} is not in {source}");
            count += 1;
        }
    }
    assert!(count > 40, "{count} tests are named");
}
