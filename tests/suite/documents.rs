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
    let log = ["report/mod.rs", "report/json.rs", "report/watch.rs", "output.rs"];
    let without_tests = |text: String| text.split("#[cfg(test)]").next().unwrap().to_owned();
    let log = log.map(|file| without_tests(read(&format!("src/{file}")))).concat();
    let members = [".text(", ".long_text(", ".plain(", ".seconds(", ".list("];
    let keys = words_after(&log, &members);
    // Events, and the values of sender and cause.
    let values = words_after(&log, &["=>", "Level::Error,", "Level::Warn,"]);
    assert!(keys.len() > 30 && values.len() > 25, "the sources have changed their looks: {keys:?} {values:?}");
    let probe = words_after(&read("src/report/probe.rs"), &members);
    assert!(probe.len() > 10, "{probe:?}");
    let explanation = words_after(&read("src/report/explain.rs"), &[&members[..], &["say(", ".object("]].concat());
    assert!(explanation.len() > 12, "{explanation:?}");
    let diagnostics = read("docs/diagnostics.md");
    // A level stands in the text, and what foster does itself is never said.
    let unexplained = |word: &&String| !diagnostics.contains(&format!("`{word}`")) && !is_level(word);
    let missing: BTreeSet<&String> =
        keys.iter().chain(&values).chain(&probe).chain(&explanation).filter(unexplained).collect();
    assert_eq!(missing, BTreeSet::new(), "not in docs/diagnostics.md");
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
    let docs = pages().into_iter().map(|page| format!("docs/{page}"));
    let top = std::fs::read_dir(root).expect("the project").map(|entry| name(&entry.unwrap()));
    let mut paths: Vec<String> = docs.chain(top).filter(|path| path.ends_with(".md")).collect();
    paths.sort();
    assert!(paths.len() > 10, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// What is to be read in docs/.
fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).expect("docs");
    let names = docs.map(|entry| name(&entry.unwrap()));
    names.filter(|name| name.ends_with(".md") || name.ends_with(".1")).collect()
}

#[test]
fn there_are_ten_pages_at_most() {
    let pages = pages();
    assert!(pages.len() <= 10, "{pages:?}");
}

fn name(entry: &std::fs::DirEntry) -> String {
    entry.file_name().into_string().expect("UTF-8")
}

/// A fenced block of a document.
pub struct Block {
    /// What stands behind the three backquotes.
    pub info: String,
    /// The line of the document that the fence is on, counted from 1.
    pub line: usize,
    pub lines: Vec<String>,
}

/// What a block may hold. `commands` runs what is on a console, so a prompt stands nowhere else.
const LANGUAGES: &[&str] = &["console", "dockerfile", "yaml", "json", "sh", "text"];

/// The blocks of a document. Refuses whatever would hide a command line from `commands`.
pub fn blocks(path: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut open, mut indented) = (false, 0);
    let mut before = "";
    for (at, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", at + 1);
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(info), false) => {
                let language = info.split(' ').next().unwrap_or_default();
                assert!(LANGUAGES.contains(&language), "{place}: none of {LANGUAGES:?}: {info:?}");
                found.push(Block { info: info.to_owned(), line: at + 1, lines: Vec::new() });
                (open, indented) = (true, line.len() - line.trim_start().len());
            }
            (Some(rest), true) => {
                assert_eq!(rest, "", "{place}: a block within a block");
                open = false;
            }
            (None, true) => {
                let block = found.last_mut().expect("the open one");
                // Within a list a block is indented as a whole.
                let line = line.get(indented..).unwrap_or_default();
                let is_console = block.info.starts_with("console");
                assert!(is_console || !line.starts_with("$ "), "{place}: a prompt in a block that is not run");
                block.lines.push(line.to_owned());
            }
            (None, false) => {
                assert!(!(line.starts_with("    ") && before.is_empty()), "{place}: an indented block; fence it");
            }
        }
        before = line;
    }
    assert!(!open, "{path}: a block without an end");
    found
}

/// What is pasted must be whole: a script that bash can read, JSON that can be parsed.
#[test]
fn scripts_and_json_are_well_formed() {
    let mut seen = 0;
    for (path, text) in documents() {
        for block in blocks(&path, &text) {
            let (text, place) = (block.lines.join("\n"), format!("{path}:{}", block.line));
            match block.info.as_str() {
                "json" => {
                    // A member of an object stands without its braces.
                    let whole = if text.starts_with('"') { format!("{{{text}}}") } else { text };
                    serde_json::from_str::<serde_json::Value>(&whole)
                        .unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                "sh" => {
                    let read = Command::new("bash").args(["-n", "-c", &text]).output().expect("bash");
                    assert!(read.status.success(), "{place}: {}", String::from_utf8_lossy(&read.stderr));
                }
                _ => continue,
            }
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}

/// What stands between single backquotes.
fn inline(text: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut is_prose = true;
    for line in text.lines() {
        match line.trim_start().starts_with("```") {
            true => is_prose = !is_prose,
            false if is_prose => prose += &format!("{line} "),
            false => {}
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A variable that is named anywhere exists, and so does a target of make.
#[test]
fn variables_and_make_targets_exist() {
    let variables: BTreeSet<String> = OPTIONS.iter().filter_map(foster::door::Opt::variable).collect();
    let makefile = read("Makefile");
    let mut targets = BTreeSet::new();
    for (path, text) in documents() {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("FOSTER_") && *word != "FOSTER_" && *word != "FOSTER_LOG") {
            assert!(variables.contains(word), "{path}: {word}");
        }
        for code in inline(&text) {
            let Some(target) = code.split(' ').skip_while(|word| word.contains('=')).nth(1) else { continue };
            if code.contains("make ") && code.split(' ').any(|word| word == "make") {
                let starts =
                    |line: &str| line.split(':').next().unwrap_or_default().split(' ').any(|word| word == target);
                assert!(makefile.lines().any(starts), "{path}: no target {target} in the Makefile: {code}");
                targets.insert(target.to_owned());
            }
        }
    }
    assert!(targets.len() > 2, "{targets:?}");
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

/// foster's own command lines in the brackets of a Dockerfile, YAML or JSON. `commands` runs those on a console.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let is_foster = |word: &str| word == "foster" || word.ends_with("/foster");
    let lists = text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let arguments = lists.filter_map(|list| {
        let items: Vec<String> = serde_json::from_str(&format!("[{list}]")).ok()?;
        is_foster(items.first()?).then_some(items)
    });
    arguments.collect()
}

/// A command line of foster's, or of an init that it stands for, between backquotes: its words. With … in it, it is none.
fn inline_command_line(code: &str) -> Option<Vec<String>> {
    let words: Vec<String> = code.split(' ').skip_while(|word| word.contains('=')).map(str::to_owned).collect();
    let is_init = ["foster", "tini", "dumb-init", "catatonit", "docker-init"].contains(&words.first()?.as_str());
    (is_init && words.len() > 1 && !code.contains(['…', '[', '\'', '"', '|'])).then_some(words)
}

#[test]
fn every_command_line_is_one_that_foster_takes() {
    let examples = ["docs/examples/compose.yaml", "docs/examples/ecs-task-definition.json", "Dockerfile.example"];
    let kubernetes = ["deployment", "copied", "shared"].map(|name| format!("docs/examples/kubernetes/{name}.yaml"));
    let others = examples.iter().map(|path| (*path).to_owned()).chain(kubernetes);
    let (mut listed, mut typed) = (0, 0);
    let takes = |path: &str, line: &[String]| {
        let c_strings: Vec<_> = line.iter().map(|word| std::ffi::CString::new(word.as_str()).unwrap()).collect();
        let mut args: Vec<&std::ffi::CStr> = c_strings.iter().map(std::ffi::CString::as_c_str).collect();
        let persona = foster::door::Persona::called(args.remove(0));
        // An ENTRYPOINT may leave the command to CMD, and a sentence leaves it out.
        if args.last().is_none_or(|last| last.to_bytes().starts_with(b"-")) {
            args.push(c"command");
        }
        let parsed = foster::door::parse(persona, &args, &[]);
        // --check and --pause take no command.
        let alone = foster::door::parse(persona, args.split_last().expect("one").1, &[]);
        assert!(parsed.is_ok() || alone.is_ok(), "{path}: {}: {parsed:?}", line.join(" "));
    };
    for (path, text) in documents().into_iter().chain(others.map(|path| (path.clone(), read(&path)))) {
        for line in command_lines(&text) {
            takes(&path, &line);
            listed += 1;
        }
        for line in inline(&text).iter().filter_map(|code| inline_command_line(code)) {
            takes(&path, &line);
            typed += 1;
        }
    }
    assert!(
        listed > 20 && typed > 5,
        "{listed} and {typed} command lines alone: the documents have changed their looks"
    );
}

/// Every source file has its row in the map of docs/design.md, and every row its file.
#[test]
fn the_map_of_the_house_is_complete() {
    let text = read("docs/design.md");
    let (_, rows) = text.split_once("| floor | file |").expect("the map");
    let mut mapped = BTreeSet::new();
    for row in rows.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let mut directory = "";
        for name in row.split('|').nth(2).expect("a cell").split('`').skip(1).step_by(2) {
            match name.strip_suffix('/') {
                Some(_) => directory = name,
                None => {
                    assert!(mapped.insert(format!("{directory}{}.rs", name.trim_end_matches(".rs"))), "{name} twice")
                }
            }
        }
    }
    // What only lists modules, and what is beside the policy.
    let is_mapped =
        |path: &String| !["lib.rs", "door.rs", "sys/mod.rs"].contains(&path.as_str()) && !path.contains("/tests/");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut there = BTreeSet::new();
    let mut directories = vec![source.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("src").map(Result::unwrap) {
            let path = entry.path();
            match path.is_dir() {
                true => directories.push(path),
                false => drop(there.insert(path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned())),
            }
        }
    }
    there.retain(|path| path.ends_with(".rs") && is_mapped(path));
    assert_eq!(mapped, there);
}

/// The README says what make installs: every package that the Makefile names behind what it looks for.
#[test]
fn the_readme_names_every_package_that_make_installs() {
    let readme = read("README.md");
    let (_, chapter) = readme.split_once("## Build and test").expect("a chapter");
    let makefile = read("Makefile").replace("\\\n", " ");
    let names = |line: &&str| ["NEEDS", "PACKAGES", "RUNTIMES"].iter().any(|name| line.contains(&format!("{name} ")));
    // What TEST_ALL=1 takes more stands in docs/reliability.md.
    let lines = makefile.lines().filter(names).filter(|line| !line.starts_with("RUNTIMES +="));
    let words = lines.flat_map(|line| line.split_once('=').map_or("", |(_, words)| words).split(' '));
    let packages: BTreeSet<&str> =
        words.filter_map(|word| word.split_once('=')).flat_map(|(_, packages)| packages.split(',')).collect();
    assert!(packages.len() > 15, "the Makefile has changed its looks: {packages:?}");
    let unnamed = packages.iter().filter(|package| !chapter.contains(package.trim_end_matches('?')));
    assert_eq!(unnamed.collect::<Vec<_>>(), Vec::<&&str>::new(), "not in README.md");
}

/// `module::name` for the suite; in the tables of docs/reliability.md also `file.rs`, and after it the names of its unit tests.
#[test]
fn every_test_that_is_named_exists() {
    let exists =
        |source: &str, test: &str| assert!(read(source).contains(&format!("fn {test}(")), "{test} is not in {source}");
    let mut in_suite = 0;
    for (_, text) in documents() {
        for code in inline(&text) {
            let is_name = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b));
            let Some((module, test)) =
                code.split_once("::").filter(|(_, test)| is_name && *test != "name" && !test.contains(':'))
            else {
                continue;
            };
            exists(&format!("tests/suite/{module}.rs"), test);
            in_suite += 1;
        }
    }
    let text = read("docs/reliability.md");
    let (_, tables) = text.split_once("## The promises").expect("the tables");
    let (tables, _) = tables.split_once("## How thoroughly").expect("their end");
    let mut in_units = 0;
    for cell in tables.split(['|', '\n']) {
        let mut file = None;
        for name in cell.split('`').skip(1).step_by(2).filter(|name| !name.contains([' ', ':'])) {
            match &file {
                _ if name == "parsers.rs" => file = Some(format!("tests/fuzz/{name}")),
                _ if name.ends_with(".rs") => file = Some(format!("src/{name}")),
                Some(file) => {
                    exists(file, name);
                    in_units += 1;
                }
                None => {}
            }
        }
    }
    assert!(in_suite > 80 && in_units > 8, "{in_suite} and {in_units} tests are named");
}
