//! The order of the modules in src: each stands on a floor and uses only what stands below it, nothing in a circle, and no
//! file is too long to read. docs/design.md says what lives on which floor.
//!
//! A file of src is a module, and so is a folder with all that is in it. The tests inside them are not looked at: those may
//! use what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From the ground up. A module uses modules of lower floors, and of its own floor as long as there is no circle.
const FLOORS: [&[&str]; 8] = [
    // Bytes of unknown origin on one line, and names.
    &["text"],
    // The kernel, in typed wrappers, and the memory. `signal` is plain data like the floor above; it is down here because
    // the wrappers take and return signals.
    &["sys", "memory", "signal"],
    // Plain data: what was asked, and what happened.
    &["config", "exit", "facts"],
    // One thing of the kernel's each.
    &["spawn", "output", "user", "terminal", "cgroup", "proc", "leftovers", "turns"],
    // What is to be done: pure.
    &["policy"],
    // What foster reads and says, and the probe.
    &["cli", "report", "check", "explain", "watch"],
    // The entry point, the start in its order, the loop, and performing what the policy wants.
    &["start", "runtime"],
    // What the linker and other crates see.
    &["main", "no_unwinder", "lib", "door"],
];

/// Without its tests, a file has at most so many lines.
const LINES: usize = 450;

#[test]
fn no_module_uses_another_one_in_a_circle() {
    let house = House::of_foster();
    let circles = house.circles();
    let named = circles.iter().map(|way| format!("{}\n  {}", way.join(" -> "), house.places(way).join("\n  ")));
    assert!(circles.is_empty(), "\n{}", named.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_module_uses_what_is_below_it() {
    let wrong = House::of_foster().not_below();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_450_lines_without_its_tests() {
    let house = House::of_foster();
    let long: Vec<String> = house
        .files
        .iter()
        .filter(|file| file.lines > LINES)
        .map(|file| format!("{} has {} lines", file.path.display(), file.lines))
        .collect();
    assert!(long.is_empty(), "at most {LINES} without the tests:\n{}", long.join("\n"));
}

/// What the tests above would overlook, if this reader overlooked it.
#[test]
fn the_reader_finds_every_way_to_name_a_module() {
    let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let house = House::new(vec![
        file("text.rs", "pub fn one_line() { let x = crate::sys::now(); }"),
        file("sys/mod.rs", "mod clock;\npub use clock::*;"),
        file(
            "sys/clock.rs",
            "use super::super::signal::Signal;\nuse super::pid;\nuse super::{now, super::exit::Death};",
        ),
        file("signal.rs", "use super::{\n    config::Config, // crate::policy\n    exit::{self, Death},\n};"),
        file(
            "config.rs",
            "/* crate::policy /* crate::proc */ */ const A: (&str, char) = (r#\"\"crate::policy\"#, '\"');",
        ),
        file("exit.rs", "fn f<'a>(x: &'a str) -> &'a str { mod inner { use super::super::user::User; } x }"),
        file(
            "user.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::policy::step;\n}\n#[cfg(not(test))]\nuse crate::proc;",
        ),
        file(
            "proc.rs",
            "#[cfg(test)]\n#[allow(unused)]\nmod tests;\n#[cfg(test)]\nuse crate::{policy, cli};\nfn f() {}",
        ),
        file("proc/tests.rs", "use crate::policy::step;"),
        file("policy.rs", "fn f() -> u8 { crate::VERSION }"),
        file("lib.rs", "pub mod sys;\npub use runtime::run;"),
        file("runtime.rs", ""),
        file("main.rs", "use foster::{runtime::{self, run}, policy};\nfn main() { no_unwinder::never() }"),
        file("no_unwinder.rs", ""),
    ]);
    let uses: Vec<String> = house.uses.iter().map(|(from, to)| format!("{from} {to}")).collect();
    let expected = [
        "exit user",
        "lib runtime",
        "main no_unwinder",
        "main policy",
        "main runtime",
        "policy lib",
        "signal config",
        "signal exit",
        "sys exit",
        "sys signal",
        "text sys",
        "user proc",
    ];
    assert_eq!(uses, expected);
    assert_eq!(house.circles(), Vec::<Vec<String>>::new());
    assert_eq!(
        house.not_below(),
        [
            "src/text.rs:1: text, on floor 0, uses sys, on floor 1",
            "src/sys/clock.rs:3: sys, on floor 1, uses exit, on floor 2",
            "src/signal.rs:2: signal, on floor 1, uses config, on floor 2",
            "src/signal.rs:3: signal, on floor 1, uses exit, on floor 2",
            "src/exit.rs:1: exit, on floor 2, uses user, on floor 3",
            "src/policy.rs:1: policy, on floor 4, uses lib, on floor 7",
        ]
    );
    let lines: Vec<usize> = house.files.iter().map(|file| file.lines).collect();
    assert_eq!(lines, [1, 2, 3, 4, 1, 1, 2, 1, 0, 1, 2, 0, 2, 0]);

    let circle = House::new(vec![
        file("user.rs", "use crate::text;"),
        file("text.rs", "use crate::proc::Stat;"),
        file("proc.rs", "use crate::{user, text::Name};"),
        file("attic.rs", ""),
    ]);
    assert_eq!(circle.circles(), [["proc", "text", "proc"].to_vec(), ["user", "text", "proc", "user"].to_vec()]);
    assert_eq!(circle.places(&circle.circles()[0]), ["src/proc.rs:1 uses text", "src/text.rs:1 uses proc"]);
    assert_eq!(circle.not_below()[0], "src/attic.rs: attic has no floor in tests/suite/house.rs");
}

struct File {
    path: PathBuf,
    /// Without the tests.
    lines: usize,
    uses: Vec<Use>,
}

struct Use {
    line: usize,
    from: String,
    to: String,
}

struct House {
    files: Vec<File>,
    modules: BTreeSet<String>,
    /// Which module uses which other one.
    uses: BTreeSet<(String, String)>,
}

impl House {
    fn of_foster() -> House {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut folders, mut files) = (vec![src.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of src") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("UTF-8");
                    files.push((path.strip_prefix(&src).expect("in src").to_owned(), text));
                }
            }
        }
        files.sort();
        let house = House::new(files);
        assert!(house.uses.len() > 30, "foster's modules use one another: {:?}", house.uses);
        house
    }

    /// From the files of src, by their paths in it.
    fn new(texts: Vec<(PathBuf, String)>) -> House {
        let modules: BTreeSet<String> = texts.iter().map(|(path, _)| module_path(path)[0].clone()).collect();
        let mut test_files = BTreeSet::new();
        let mut files: Vec<File> = texts
            .into_iter()
            .map(|(path, text)| {
                let tokens = tokens(&text);
                let (tokens, tests) = without_tests(&tokens);
                test_files.extend(
                    tests.files.iter().map(|name| [&module_path(&path)[..], std::slice::from_ref(name)].concat()),
                );
                let lines = text.lines().count() - tests.lines;
                let uses = uses(&path, &tokens, &modules);
                File { path: Path::new("src").join(path), lines, uses }
            })
            .collect();
        for file in &mut files {
            let path = module_path(file.path.strip_prefix("src").expect("in src"));
            if test_files.iter().any(|tests| path.starts_with(tests)) {
                (file.lines, file.uses) = (0, Vec::new());
            }
        }
        let all = files.iter().flat_map(|file| &file.uses);
        let uses = all.map(|one| (one.from.clone(), one.to.clone())).collect();
        House { files, modules, uses }
    }

    /// The shortest circle of each module that is in one, with its first module at both ends.
    fn circles(&self) -> Vec<Vec<String>> {
        let mut circles = Vec::new();
        for start in &self.modules {
            let is_known = circles.iter().any(|circle: &Vec<String>| circle.contains(start));
            circles.extend(if is_known { None } else { self.way(start, start) });
        }
        circles
    }

    /// The shortest way from one module to another by what each uses.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut reached = vec![from];
        while let Some(near) = (!reached.is_empty()).then(|| reached.remove(0)) {
            for (_, next) in self.uses.iter().filter(|(user, _)| user == near) {
                if came_from.contains_key(next.as_str()) {
                    continue;
                }
                came_from.insert(next, near);
                if next == to {
                    return Some(way_back(&came_from, from, to));
                }
                reached.push(next);
            }
        }
        None
    }

    /// Where each step of a way is made.
    fn places(&self, way: &[String]) -> Vec<String> {
        let makes = |one: &Use, step: &[String]| one.from == step[0] && one.to == step[1];
        let place = |file: &File, one: &Use| format!("{}:{} uses {}", file.path.display(), one.line, one.to);
        let places = way.windows(2).flat_map(|step| {
            self.files.iter().flat_map(move |file| {
                file.uses.iter().filter(move |one| makes(one, step)).map(move |one| place(file, one))
            })
        });
        places.collect()
    }

    /// One line for each use that goes up, and for each module without a floor.
    fn not_below(&self) -> Vec<String> {
        let floor = |module: &str| FLOORS.iter().position(|modules| modules.contains(&module));
        let homeless = self.modules.iter().filter(|module| floor(module).is_none());
        let homeless = homeless.map(|module| format!("src/{module}.rs: {module} has no floor in tests/suite/house.rs"));
        let going_up = self.files.iter().flat_map(|file| {
            file.uses.iter().filter_map(move |Use { line, from, to }| {
                let (own, other) = (floor(from)?, floor(to)?);
                let place = format!("{}:{line}", file.path.display());
                (other > own).then(|| format!("{place}: {from}, on floor {own}, uses {to}, on floor {other}"))
            })
        });
        homeless.chain(going_up).collect()
    }
}

fn way_back(came_from: &BTreeMap<&str, &str>, from: &str, to: &str) -> Vec<String> {
    let mut way = vec![to.to_owned()];
    let mut here = to;
    loop {
        here = came_from[here];
        way.insert(0, here.to_owned());
        if here == from {
            return way;
        }
    }
}

/// `cli/tini.rs` is `cli`, `tini`; `cli/mod.rs` is `cli`; `lib.rs` and `main.rs` are modules of these names here.
fn module_path(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        path.with_extension("").iter().map(|name| name.to_str().expect("UTF-8").to_owned()).collect();
    if names.len() > 1 && names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    names
}

/// Every use of another module that a file makes.
fn uses(path: &Path, tokens: &[&Token], modules: &BTreeSet<String>) -> Vec<Use> {
    let own = module_path(path);
    let is_root = own == ["lib"] || own == ["main"];
    // Where a path is looked up from: the root's own is empty.
    let mut here = if is_root { Vec::new() } else { own.clone() };
    // For each brace that is open, whether it is a module's.
    let mut braces = Vec::new();
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let Token { text, line } = tokens[i];
        let is_path = tokens.get(i + 1).is_some_and(|next| next.text == "::");
        // A name in the middle of a path is no beginning: `std::process`.
        let begins = i == 0 || tokens[i - 1].text != "::";
        match text.as_str() {
            "{" => {
                let named = i >= 2 && tokens[i - 2].text == "mod";
                if named {
                    here.push(tokens[i - 1].text.clone());
                }
                braces.push(named);
            }
            "}" if braces.pop() == Some(true) => drop(here.pop()),
            "crate" | "super" | "self" | "foster" if is_path && begins => {
                let mut named = Vec::new();
                i = read_tree(tokens, i, &here, &mut named);
                found.extend(named.into_iter().map(|(line, target)| (line, target.first().cloned())));
                continue;
            }
            name if is_root && is_path && begins && modules.contains(name) => {
                found.push((*line, Some(name.to_owned())));
            }
            _ => {}
        }
        i += 1;
    }
    let from = own[0].clone();
    let name = |target: Option<String>| match target {
        Some(name) if modules.contains(&name) => name,
        // What is no module is something of the root's own.
        _ => "lib".to_owned(),
    };
    // Once a line.
    let found: BTreeSet<(usize, String)> = found.into_iter().map(|(line, target)| (line, name(target))).collect();
    let found = found.into_iter().filter(|(_, to)| *to != from);
    found.map(|(line, to)| Use { line, from: from.clone(), to }).collect()
}

/// Reads what may follow `use`: a path, or a tree of paths in braces. Adds what it names, seen from the crate's root, and
/// returns where it ends.
fn read_tree(tokens: &[&Token], mut i: usize, here: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut path = here.to_vec();
    let line = tokens[i].line;
    while let Some(Token { text, .. }) = tokens.get(i) {
        match text.as_str() {
            "crate" | "foster" => path.clear(),
            "super" => drop(path.pop()),
            "self" | "*" => {}
            "{" => {
                i += 1;
                while tokens.get(i).is_some_and(|token| token.text != "}") {
                    let is_comma = tokens[i].text == ",";
                    i = if is_comma { i + 1 } else { read_tree(tokens, i, &path, found).max(i + 1) };
                }
                return i + 1;
            }
            name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => path.push(name.to_owned()),
            // The turbofish of a path in an expression.
            _ => break,
        }
        i += 1;
        match tokens.get(i).map(|token| token.text.as_str()) {
            Some("::") => i += 1,
            // `as` gives it another name.
            Some("as") => {
                i += 2;
                break;
            }
            _ => break,
        }
    }
    found.push((line, path));
    i
}

struct Token {
    line: usize,
    text: String,
}

/// Names, `::` and single characters; without comments, and without what strings and characters have in them.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => i += chars[i..].iter().take_while(|c| **c != '\n').count(),
            ('/', '*') => i = end_of_comment(&chars, i),
            ('"', _) => i = end_of_string(&chars, i),
            // A character, or the beginning of a lifetime.
            ('\'', '\\') => i += 3 + chars[i + 3..].iter().take_while(|c| **c != '\'').count() + 1,
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('r', '"' | '#') if at(i + 1) == '"' || matches!(at(i + 2), '"' | '#') => {
                i = end_of_raw_string(&chars, i + 1)
            }
            ('b' | 'c', 'r') if matches!(at(i + 2), '"' | '#') => i = end_of_raw_string(&chars, i + 2),
            (':', ':') => {
                tokens.push(Token { line, text: "::".to_owned() });
                i += 2;
            }
            (c, _) if is_name(c) => {
                i += chars[i..].iter().take_while(|c| is_name(**c)).count();
                tokens.push(Token { line, text: chars[start..i].iter().collect() });
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(Token { line, text: c.to_string() });
                }
                i += 1;
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match chars[i..] {
            ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
            ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// From the first `#` or the quotation mark on.
fn end_of_raw_string(chars: &[char], i: usize) -> usize {
    let marks = chars[i..].iter().take_while(|c| **c == '#').count();
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', marks));
    let content = i + marks + 1;
    let length = chars[content..].windows(end.len()).position(|window| window == end);
    length.map_or(chars.len(), |length| content + length + end.len())
}

#[derive(Default)]
struct Tests {
    /// How many lines they take.
    lines: usize,
    /// Modules of tests that are files of their own.
    files: Vec<String>,
}

/// Takes out every item that is there for tests alone.
fn without_tests(mut rest: &[Token]) -> (Vec<&Token>, Tests) {
    let (mut kept, mut tests) = (Vec::new(), Tests::default());
    while let Some(first) = rest.first() {
        let is_attribute = first.text == "#" && rest.get(1).is_some_and(|next| next.text == "[");
        let attribute = &rest[..if is_attribute { 1 + length_of_group(&rest[1..]) } else { 1 }];
        let has = |word: &str| attribute.iter().any(|token| token.text == word);
        if !(has("cfg") && has("test") && !has("not")) {
            kept.extend(attribute);
            rest = &rest[attribute.len()..];
            continue;
        }
        let mut item = &rest[attribute.len()..];
        while item.first().is_some_and(|token| token.text == "#") {
            item = &item[1 + length_of_group(&item[1..])..];
        }
        let (item, after) = item.split_at(length_of_item(item));
        tests.lines += item.last().map_or(first.line, |last| last.line) - first.line + 1;
        if let [.., keyword, name, end] = item
            && keyword.text == "mod"
            && end.text == ";"
        {
            tests.files.push(name.text.clone());
        }
        rest = after;
    }
    (kept, tests)
}

/// To its semicolon, or to the end of its braces; a `use` has both.
fn length_of_item(tokens: &[Token]) -> usize {
    let visibility = ["pub", "(", "crate", "super", ")"];
    let is_use =
        tokens.iter().find(|token| !visibility.contains(&token.text.as_str())).is_some_and(|t| t.text == "use");
    let mut i = 0;
    while i < tokens.len() {
        match tokens[i].text.as_str() {
            ";" => return i + 1,
            "{" if !is_use => return i + length_of_group(&tokens[i..]),
            "{" | "(" | "[" => i += length_of_group(&tokens[i..]),
            _ => i += 1,
        }
    }
    i
}

/// From a bracket to the one that closes it.
fn length_of_group(tokens: &[Token]) -> usize {
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.map_or(tokens.len(), |end| end + 1)
}
