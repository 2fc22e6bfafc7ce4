//! Everything of foster's that reads what others wrote, for a fuzzer: no input may panic, hang, or get past what each
//! promises. The first byte of an input chooses the parser. A module of the test suite and of the fuzzer.
//!
//! The corpus is replayed, and varied with a fixed seed, by `cargo test`. For more, with a nightly compiler and cargo-fuzz:
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz parsers tests/fuzz/corpus`.

use std::ffi::{CStr, CString};

use foster::door::{
    Ids, Line, OneLine, Parsed, Persona, Rewrites, UserSpec, Version, age, expand, membership, parse, parse_duration,
    parse_mount, parse_stat, resolve, value_of,
};

/// Runs one input. Where that makes a JSON line, it is returned, for another parser to read.
pub fn run(input: &[u8]) -> Option<Vec<u8>> {
    let (which, rest) = input.split_first()?;
    match which {
        b'c' => command_line(rest),
        b'r' => rewrite(rest),
        b'd' => duration(rest),
        b'e' => expansion(rest),
        b'u' => user_files(rest),
        b'p' => process(rest),
        b'g' => cgroups(rest),
        b'j' => return Some(json(rest)),
        _ => {}
    }
    None
}

/// A line for each word: the name that foster is called by, then variables (`+NAME=VALUE`) and arguments.
fn command_line(input: &[u8]) {
    let words: Vec<CString> = input.split(|b| *b == b'\n').filter_map(|word| CString::new(word).ok()).collect();
    let Some((name, words)) = words.split_first() else { return };
    let (variables, args): (Vec<&CStr>, Vec<&CStr>) =
        words.iter().map(CString::as_c_str).partition(|word| word.to_bytes().starts_with(b"+"));
    let environment: Vec<CString> =
        variables.iter().filter_map(|entry| CString::new(entry.to_bytes().get(1..)?).ok()).collect();
    let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    match parse(Persona::called(name), &args, &environment) {
        Ok(Parsed::Run(config, warnings) | Parsed::Explain(config, _, warnings)) => {
            assert!(args.ends_with(config.command), "the command is the last words, byte for byte");
            assert!(warnings.iter().all(|warning| is_one_line(warning)), "{warnings:?}");
        }
        Ok(Parsed::Check(..) | Parsed::Print(_)) => {}
        Err(refusal) => assert!(is_one_line(&refusal.message), "{refusal:?}"),
    }
}

fn rewrite(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut rewrites = Rewrites::default();
    match rewrites.add(text) {
        Ok(()) => assert!(text.contains(':')),
        Err(_) => assert_eq!(rewrites, Rewrites::default(), "{text:?}"),
    }
}

fn duration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(parsed) = parse_duration(&text) {
        let milliseconds = format!("{}ms", parsed.as_millis());
        assert_eq!(parse_duration(&milliseconds), Some(parsed), "{text:?}");
    }
}

/// The value of the variable A, which is the only one, and then a word with variables.
fn expansion(input: &[u8]) {
    let mut parts = input.splitn(2, |b| *b == 0);
    let (value, word) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match expand(word, &|name| (name == b"A").then_some(value)) {
        Ok(expanded) => assert!(word.contains(&b'$') || expanded == word, "{word:?}"),
        Err(message) => assert!(is_one_line(&message), "{message:?}"),
    }
    let doubled: Vec<u8> = word.iter().flat_map(|b| std::iter::repeat_n(*b, 1 + usize::from(*b == b'$'))).collect();
    assert_eq!(expand(&doubled, &|_| None).as_deref(), Ok(word), "$$ is a dollar");
}

/// `USER:GROUP`, /etc/passwd and /etc/group, with NUL between them.
fn user_files(input: &[u8]) {
    let mut parts = input.splitn(3, |b| *b == 0);
    let (spec, passwd, group) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let Some(spec) = UserSpec::parse(spec) else { return };
    match resolve(&spec, Ids { uid: 7, gid: 8 }, passwd, group) {
        Ok(user) => {
            assert!(user.identity.uid != u32::MAX && !user.identity.groups.contains(&u32::MAX));
            assert_eq!(user.identity.groups.first(), Some(&user.identity.gid));
        }
        Err(message) => assert!(is_one_line(&message), "{message:?}"),
    }
}

fn process(input: &[u8]) {
    if let Some(stat) = parse_stat(input) {
        assert!(is_one_line(&stat.name.to_string()), "{stat:?}");
        stat.is_dead();
        age(stat.start_ticks);
    }
}

/// As /proc/self/cgroup, as /proc/self/mountinfo, and as a file with counters.
fn cgroups(input: &[u8]) {
    for name in ["memory", "pids"] {
        let version = membership(input, name).map(|(version, _)| version);
        for line in input.split(|b| *b == b'\n') {
            for version in [Version::V1, Version::V2].into_iter().chain(version) {
                if let Some(mount) = parse_mount(line, version, name) {
                    let directory = mount.directory(line);
                    let escapes = |directory: std::path::PathBuf| !directory.starts_with(&mount.point);
                    assert!(!directory.is_some_and(escapes), "{mount:?}");
                }
            }
        }
    }
    value_of(input, "oom_kill");
}

fn json(input: &[u8]) -> Vec<u8> {
    let mut line = Line::new();
    line.object(|object| {
        for (index, text) in input.split(|b| *b == b'\n').enumerate() {
            object.text("escaped", OneLine(text));
            object.long_text("raw", String::from_utf8_lossy(text));
            object.list("list", 0..index, |object, item| object.plain("item", item));
        }
    });
    line.finish().to_vec()
}

fn is_one_line(text: &str) -> bool {
    !text.contains(|c: char| c.is_control())
}

#[cfg(test)]
#[allow(clippy::print_stderr)]
mod tests {
    use super::*;

    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus");

    fn corpus() -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = std::fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    fn check(input: &[u8]) {
        if let Some(line) = run(input) {
            let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            assert!(value.is_object() && line.len() <= libc::PIPE_BUF);
        }
    }

    #[test]
    fn the_corpus_is_as_before() {
        let corpus = corpus();
        assert!(b"crdeupgj".iter().all(|which| corpus.iter().any(|input| input.first() == Some(which))));
        corpus.iter().for_each(|input| check(input));
    }

    /// TEST_INPUTS: how many (otherwise 20,000). The same ones each time.
    #[test]
    fn inputs_like_those_of_the_corpus_break_nothing() {
        let count = std::env::var("TEST_INPUTS").map_or(20_000, |count| count.parse().expect("a number"));
        let corpus = corpus();
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for _ in 0..count {
            let input = random.variation(&corpus);
            // Said only if it panics.
            let shown = Shown(&input);
            check(&input);
            std::mem::forget(shown);
        }
    }

    struct Shown<'a>(&'a [u8]);

    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            eprintln!("the input was b\"{}\"", self.0.escape_ascii());
        }
    }

    /// xorshift64 (Marsaglia 2003): no better randomness is needed to change bytes.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end.max(1) as u64) as usize
        }

        /// An input of the corpus in which bytes were changed, left out, doubled or taken from another input.
        fn variation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
            let mut input = corpus[self.below(corpus.len())].clone();
            for _ in 0..self.below(8) {
                let place = 1 + self.below(input.len());
                let end = (place + self.below(16)).min(input.len());
                match self.below(5) {
                    0 if place < input.len() => input[place] = self.below(256) as u8,
                    1 if place < input.len() => input[place] = b" :=,.-/\\\"0\n\0+9)(\xff"[self.below(17)],
                    2 if place < end => drop(input.drain(place..end)),
                    3 if place < end => input.extend_from_within(place..end),
                    _ => {
                        let other = &corpus[self.below(corpus.len())];
                        input.extend_from_slice(&other[self.below(other.len())..]);
                    }
                }
            }
            input
        }
    }
}
