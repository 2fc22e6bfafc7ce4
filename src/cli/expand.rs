//! `--expand-env`: puts variables of the environment into the command and its arguments, as a shell would, so that none is
//! needed in front. Nothing else of a shell: what a variable holds is never made into several words, and is not looked at
//! again.

use std::ffi::{CStr, CString};

use super::parse::name_and_value;
use super::values::Shown;
use crate::text::OneLine;

/// The most useful of what is expanded, for error messages.
const ACCEPTED: &str = "$NAME, ${NAME:-word} or ${NAME:?message}";

/// A default may have variables with defaults of their own, but not without end: each takes a part of the stack.
const MOST_IN_ONE_ANOTHER: u8 = 16;

/// Expands the command and its arguments.
///
/// # Errors
/// One line: the variable that is not set, or the word that cannot be read.
#[cold]
pub fn expand_command(words: &[&CStr], environment: &[&CStr]) -> Result<Vec<CString>, String> {
    let lookup = |name: &[u8]| {
        let mut variables = environment.iter().filter_map(|entry| name_and_value(entry.to_bytes()));
        variables.find(|(known, _)| *known == name).map(|(_, value)| value)
    };
    let mut expanded = Vec::with_capacity(words.len());
    for word in words {
        let bytes = expand(word.to_bytes(), &lookup)?;
        // There is no NUL in the word, and none in the environment.
        expanded.push(CString::new(bytes).unwrap_or_default());
    }
    Ok(expanded)
}

/// Expands one word. A `$` with which none of the accepted forms begins stands for itself.
///
/// # Errors
/// One line: the variable that is not set, or why the word cannot be read.
pub fn expand<'a>(word: &[u8], lookup: &dyn Fn(&[u8]) -> Option<&'a [u8]>) -> Result<Vec<u8>, String> {
    let mut expansion = Expansion { word, rest: word, lookup, expanded: Vec::with_capacity(word.len()) };
    expansion.read(0, true)?;
    Ok(expansion.expanded)
}

struct Expansion<'a, 'b, 'c> {
    word: &'a [u8],
    /// What is not read yet.
    rest: &'a [u8],
    lookup: &'b dyn Fn(&[u8]) -> Option<&'c [u8]>,
    expanded: Vec<u8>,
}

impl<'a> Expansion<'a, '_, '_> {
    /// Reads to the end, or within braces to the one that closes them. What is not wanted is read to find that end: a
    /// default that is not used.
    fn read(&mut self, depth: u8, is_wanted: bool) -> Result<(), String> {
        loop {
            match self.rest {
                [] if depth == 0 => return Ok(()),
                [] => return Err(self.unreadable("a } is missing")),
                [b'}', rest @ ..] if depth > 0 => {
                    self.rest = rest;
                    return Ok(());
                }
                [b'$', b'{', rest @ ..] => {
                    self.rest = rest;
                    self.read_braces(depth.saturating_add(1), is_wanted)?;
                }
                [b'$', b'$', rest @ ..] => {
                    self.rest = rest;
                    self.put(b"$", is_wanted);
                }
                [b'$', rest @ ..] => {
                    self.rest = rest;
                    match self.read_name() {
                        b"" => self.put(b"$", is_wanted),
                        name if is_wanted => self.put_value(name, (self.lookup)(name))?,
                        _ => {}
                    }
                }
                [other, rest @ ..] => {
                    self.rest = rest;
                    self.put(&[*other], is_wanted);
                }
            }
        }
    }

    /// Reads what follows `${`.
    fn read_braces(&mut self, depth: u8, is_wanted: bool) -> Result<(), String> {
        if depth > MOST_IN_ONE_ANOTHER {
            return Err(self.unreadable("too many ${ in one another"));
        }
        let name = self.read_name();
        let value = (self.lookup)(name);
        let is_full = value.is_some_and(|value| !value.is_empty());
        let (has_value, rest) = match self.rest {
            _ if name.is_empty() => return Err(self.unreadable("a name is missing")),
            [b'}', rest @ ..] => {
                self.rest = rest;
                return if is_wanted { self.put_value(name, value) } else { Ok(()) };
            }
            [b'-', rest @ ..] => (value.is_some(), rest),
            [b':', b'-' | b'?', rest @ ..] => (is_full, rest),
            [] => return Err(self.unreadable("a } is missing")),
            _ => return Err(self.unreadable("after the name comes something else")),
        };
        let is_demand = self.rest.starts_with(b":?");
        self.rest = rest;
        if has_value {
            self.put(value.unwrap_or_default(), is_wanted);
        }
        self.read(depth, is_wanted && !has_value && !is_demand)?;
        if is_demand && is_wanted && !has_value {
            let length = rest.len().saturating_sub(self.rest.len()).saturating_sub(1);
            let message = OneLine(rest.get(..length).unwrap_or_default());
            let reason = if length == 0 { "it is not set, or empty".to_owned() } else { message.to_string() };
            return Err(format!("option --expand-env: {}: {reason}", OneLine(name)));
        }
        Ok(())
    }

    /// A name as a shell has it: letters, digits and `_`, and no digit first. Empty if there is none.
    fn read_name(&mut self) -> &'a [u8] {
        let is_of_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let length = match self.rest.first() {
            Some(b'0'..=b'9') => 0,
            _ => self.rest.iter().take_while(|b| is_of_name(b)).count(),
        };
        let (name, rest) = self.rest.split_at_checked(length).unwrap_or_default();
        self.rest = rest;
        name
    }

    fn put(&mut self, bytes: &[u8], is_wanted: bool) {
        if is_wanted {
            self.expanded.extend_from_slice(bytes);
        }
    }

    fn put_value(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            let (name, word) = (OneLine(name), Shown(self.word));
            return Err(format!(
                "option --expand-env: {name} is not set, and '{word}' has no default like ${{NAME:-word}}"
            ));
        };
        self.put(value, true);
        Ok(())
    }

    fn unreadable(&self, why: &str) -> String {
        format!("option --expand-env: '{}': {why}; give {ACCEPTED}", Shown(self.word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &[u8]) -> Option<&'static [u8]> {
        match name {
            b"PORT" => Some(b"8000"),
            b"EMPTY" => Some(b""),
            b"_a1" => Some(b"two words"),
            b"DOLLAR" => Some(b"$PORT"),
            b"BYTES" => Some(b"\xff}\n"),
            _ => None,
        }
    }

    fn expanded(word: &str) -> Result<String, String> {
        expand(word.as_bytes(), &lookup).map(|bytes| bytes.escape_ascii().to_string())
    }

    #[test]
    fn what_a_shell_would_put_there_is_put_there() {
        for (word, becomes) in [
            ("", ""),
            ("plain {}:-?", "plain {}:-?"),
            ("0.0.0.0:$PORT", "0.0.0.0:8000"),
            ("${PORT}0", "80000"),
            ("$PORT$PORT", "80008000"),
            ("$PORT-x", "8000-x"),
            ("$_a1", "two words"),
            ("$DOLLAR", "$PORT"),
            ("${BYTES}", "\\xff}\\n"),
            ("$EMPTY", ""),
            ("${PORT:-1}", "8000"),
            ("${PORT-1}", "8000"),
            ("${PORT:?no port}", "8000"),
            ("${EMPTY:-1}", "1"),
            ("${EMPTY-1}", ""),
            ("${NONE:-1}", "1"),
            ("${NONE-1}", "1"),
            ("${NONE:-}x", "x"),
            ("${NONE:-a b}", "a b"),
            ("${NONE:-$PORT}", "8000"),
            ("${NONE:-${NEITHER:-${PORT}}}", "8000"),
            ("${NONE:-$$}", "$"),
            ("${NONE:-{x}}", "{x}"),
            ("${PORT:-$NONE ${NONE} ${NONE:?x}}", "8000"),
            ("${PORT:?${NONE}}", "8000"),
            ("$$PORT", "$PORT"),
            ("$$$PORT", "$8000"),
            ("^a$", "^a$"),
            ("$", "$"),
            ("$1 $@ $(id) `id` $-", "$1 $@ $(id) `id` $-"),
            ("}", "}"),
        ] {
            assert_eq!(expanded(word).as_deref(), Ok(becomes), "{word}");
        }
    }

    #[test]
    fn what_is_missing_or_cannot_be_read_is_one_line_that_names_it() {
        for (word, message) in [
            ("$NONE", "option --expand-env: NONE is not set, and '$NONE' has no default like ${NAME:-word}"),
            ("x${NONE}", "option --expand-env: NONE is not set, and 'x${NONE}' has no default"),
            ("${NONE:-$NEITHER}", "option --expand-env: NEITHER is not set"),
            ("${NONE:?give a port}", "option --expand-env: NONE: give a port"),
            ("${EMPTY:?a\nb ${x}}", "option --expand-env: EMPTY: a\\nb ${x}"),
            ("${NONE:?}", "option --expand-env: NONE: it is not set, or empty"),
            ("${PORT", "option --expand-env: '${PORT': a } is missing; give $NAME, ${NAME:-word} or ${NAME:?message}"),
            ("${PORT:", "option --expand-env: '${PORT:': after the name comes something else;"),
            ("${PORT:-", "option --expand-env: '${PORT:-': a } is missing;"),
            ("${}", "option --expand-env: '${}': a name is missing;"),
            ("${1}", "option --expand-env: '${1}': a name is missing;"),
            ("${PORT:+x}", "option --expand-env: '${PORT:+x}': after the name comes something else;"),
            ("${PORT%x}", "option --expand-env: '${PORT%x}':"),
            ("${PORT:=x}", "option --expand-env: '${PORT:=x}':"),
        ] {
            let error = expanded(word).expect_err(word);
            assert!(error.starts_with(message) && !error.contains('\n'), "{word}: {error}");
            assert!("foster[4194304]: error: ".len() + error.chars().count() < 160, "{error}");
        }
        let deep = "${N:-".repeat(40_000);
        assert!(expanded(&deep).is_err_and(|error| error.contains("too many ${ in one another")));
        assert_eq!(expanded(&("${N:-".repeat(16) + "x" + &"}".repeat(16))).as_deref(), Ok("x"));
    }

    #[test]
    fn the_first_of_two_variables_of_a_name_counts_as_for_getenv() {
        let environment = [c"A", c"A=1", c"A=2", c"AB=3"];
        let words = [c"$A", c"${AB}", c"plain"];
        let expanded = expand_command(&words, &environment).expect("all are set");
        assert_eq!(expanded, [c"1".to_owned(), c"3".to_owned(), c"plain".to_owned()]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_errors_are_one_line(
            word in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'$'), Just(b'{'), Just(b'}'), Just(b':'), Just(b'-'), Just(b'?'), Just(b'A')],
                0..40,
            ),
        ) {
            match expand(&word, &lookup) {
                Ok(expanded) => prop_assert!(word.contains(&b'$') || expanded == word),
                Err(message) => prop_assert!(!message.contains('\n')),
            }
        }

        #[test]
        fn a_doubled_dollar_keeps_any_word_as_it_is(word in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'$')], 0..40)) {
            let doubled: Vec<u8> = word.iter().flat_map(|b| std::iter::repeat_n(*b, if *b == b'$' { 2 } else { 1 })).collect();
            prop_assert_eq!(expand(&doubled, &lookup), Ok(word));
        }

        #[test]
        fn what_a_variable_holds_is_not_looked_at_again(value in proptest::collection::vec(1_u8.., 0..40)) {
            let expanded = expand(b"<${A}|${A-x}>", &|_| Some(&value));
            prop_assert_eq!(expanded, Ok([b"<", &value[..], b"|", &value[..], b">"].concat()));
        }
    }
}
