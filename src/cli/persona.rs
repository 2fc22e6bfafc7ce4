//! What foster is when it is called by the name of another init: that init's options and behaviour.

use super::options::{Given, Id, OPTIONS, Opt};
use crate::config::Config;
use crate::exit::ExitCodes;

/// Another init, in whose place foster runs.
pub struct Persona {
    /// The names by which foster is called to be it, the peer's own name first.
    pub names: &'static [&'static str],
    pub options: &'static [Opt],
    /// The peer reads its options with getopt_long(3), where an unambiguous beginning of a long option stands for it.
    pub abbreviates: bool,
    /// What `--version` says.
    pub version: &'static str,
    /// The peer's exit codes for failures.
    pub codes: ExitCodes,
    /// What one of the peer's own environment variables asks for, if it is one.
    pub variable: fn(&[u8], &[u8]) -> Option<Wish>,
    /// Sets what the peer does by default, where nothing else was asked for.
    pub adapt: fn(&mut Config, &Given),
}

/// What a peer's environment variable asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What this option does.
    Option(Id),
    /// Errors only.
    Quiet,
    /// As many `-v`.
    Verbosity(u8),
}

/// `-vv`.
pub const DEBUG: u8 = 2;

impl Persona {
    /// The peer's own name.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

/// The option with this letter, of the persona's or of foster's own.
pub fn by_short(persona: Option<&Persona>, c: char) -> Option<&'static Opt> {
    persona.map_or(OPTIONS, |persona| persona.options).iter().find(|opt| opt.short == Some(c))
}

/// The option with this long name. Some personas take an unambiguous beginning of it too.
pub fn by_long(persona: Option<&Persona>, name: &str) -> Option<&'static Opt> {
    let options = persona.map_or(OPTIONS, |persona| persona.options);
    if let Some(exact) = options.iter().find(|opt| opt.long == name && !name.is_empty()) {
        return Some(exact);
    }
    let abbreviates = persona.is_some_and(|persona| persona.abbreviates);
    let mut meant = options.iter().filter(|opt| abbreviates && !opt.long.is_empty() && opt.long.starts_with(name));
    meant.next().filter(|_| meant.next().is_none())
}

/// The number that a text begins with and what stands behind it, as strtol(3), atoi(3) and scanf(3) find it: blanks and a
/// sign may come first. One that is too large is the largest that there is.
pub fn leading_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let text = text.get(blanks..)?;
    let (sign, digits) = match text.split_first()? {
        (b'-', rest) => (-1, rest),
        (b'+', rest) => (1, rest),
        _ => (1, text),
    };
    let (digits, rest) = digits.split_at(digits.iter().take_while(|b| b.is_ascii_digit()).count());
    let append =
        |number: i64, digit: &u8| number.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')));
    (!digits.is_empty()).then(|| (digits.iter().fold(0, append).saturating_mul(sign), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_number_is_what_the_c_library_takes_for_one() {
        for (text, number, rest) in [
            ("15", 15, ""),
            ("3x", 3, "x"),
            (" \t\n\x0b\x0c\r+5 ", 5, " "),
            ("-1", -1, ""),
            ("007:3", 7, ":3"),
            ("99999999999999999999", i64::MAX, ""),
        ] {
            assert_eq!(leading_number(text.as_bytes()), Some((number, rest.as_bytes())), "{text:?}");
        }
        for text in ["", " ", "x3", "+", "- 1", "--1", "\u{a0}1"] {
            assert_eq!(leading_number(text.as_bytes()), None, "{text:?}");
        }
    }
}
