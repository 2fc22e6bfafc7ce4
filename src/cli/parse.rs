//! Reads the command line and the environment.

use std::ffi::{CStr, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use super::help::printed;
use super::near::{Nearest, did_you_mean, nearest};
use super::options::{Env, Given, Id, OPTIONS, Opt, Source};
use super::persona::{Persona, Wish, by_long, by_short};
use super::values::{Bad, ON};
use crate::config::{Config, LIMITS, LogFilter};
use crate::text::OneLine;

/// Not the variable of an option: it takes a filter, and `-v` sets a level.
const LOG_VARIABLE: &str = "FOSTER_LOG";

/// What all of foster's variables begin with.
const PREFIX: &str = "FOSTER_";

/// lexopt notices a value where none belongs (`--group=1`) only when it is asked for the next word. No other error is possible
/// here, and lexopt's own text for errors takes 4 KB of code.
fn next(parser: &mut lexopt::Parser) -> Result<Option<Arg<'_>>, String> {
    parser.next().map_err(|error| match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("option {option} takes no value, but '{}' was given", OneLine(value.as_bytes()))
        }
        _ => "the options cannot be read".to_owned(),
    })
}

#[cold]
fn unknown_option(name: &str, persona: Option<&Persona>, args: &[&CStr]) -> String {
    // A blank in an option's name: several words came as one, and this is the first that can be it.
    if name.contains(' ')
        && let Some(word) =
            args.iter().map(|arg| arg.to_bytes()).find(|arg| arg.starts_with(b"-") && arg.contains(&b' '))
    {
        return one_word(word);
    }
    let mut nearest = Nearest::to(name.as_bytes());
    for opt in persona.map_or(OPTIONS, |persona| persona.options) {
        if !opt.long.is_empty() {
            nearest.offer(&format!("--{}", opt.long));
        }
        if let Some(short) = opt.short {
            nearest.offer(&format!("-{short}"));
        }
    }
    format!("unknown option '{}'{}", OneLine(name.as_bytes()), did_you_mean(nearest.found()))
}

/// The kernel hands over all that follows the program in a `#!` line as one word.
#[cold]
fn one_word(word: &[u8]) -> String {
    let word = OneLine(word);
    format!(
        "'{word}' is one word; give each option, value and argument as a word of its own (in a #! line: \
         #!/usr/bin/env -S foster {word})"
    )
}

/// An option's value, in the same word or in the next one. There it must not look like an option, since the value was
/// forgotten then, and the option would be lost.
fn value_of(parser: &mut lexopt::Parser, name: &str, wanted: (&str, &str)) -> Result<OsString, String> {
    let (placeholder, accepted) = wanted;
    if let Some(value) = parser.optional_value() {
        let is_short = !name.starts_with("--");
        return if is_short && value.as_bytes().starts_with(b" ") {
            Err(one_word(&[name.as_bytes(), value.as_bytes()].concat()))
        } else {
            Ok(value)
        };
    }
    let mut words = parser.try_raw_args();
    let is_value = |word: &OsStr| !word.as_bytes().starts_with(b"-") || word.len() == 1;
    if let Some(value) = words.as_mut().and_then(|words| words.next_if(is_value)) {
        return Ok(value);
    }
    let next = words.as_ref().and_then(|words| words.peek()).map(|word| OneLine(word.as_bytes()));
    let instead = match next {
        Some(next) => format!(", but '{next}' follows; if that is meant, write {name}={next}"),
        None => String::new(),
    };
    Err(format!("option {name} needs {placeholder}: {accepted}{instead}"))
}

/// The variables that Kubernetes gives to each container where a Service is named foster.
fn is_from_kubernetes(name: &[u8]) -> bool {
    name == b"FOSTER_PORT" || name.starts_with(b"FOSTER_PORT_") || name.starts_with(b"FOSTER_SERVICE_")
}

#[cold]
fn unknown_variable(name: &[u8]) -> String {
    // Without what all of them begin with: nobody mistypes that, and its letters would excuse mistakes in the others.
    let mut nearest = Nearest::to(name.strip_prefix(PREFIX.as_bytes()).unwrap_or(name));
    for variable in OPTIONS.iter().filter_map(Opt::variable) {
        nearest.offer(variable.strip_prefix(PREFIX).unwrap_or_default());
    }
    nearest.offer(LOG_VARIABLE.strip_prefix(PREFIX).unwrap_or_default());
    let meant = nearest.found().map(|meant| format!("{PREFIX}{meant}"));
    format!("unknown variable {}{}; see foster --help", OneLine(name), did_you_mean(meant))
}

/// The limits of `--check=LIMITS` and `--watch=LIMITS`, or the next word if it looks like some. No command is called so.
fn optional_limits(parser: &mut lexopt::Parser) -> Option<OsString> {
    let looks_like_limits =
        |word: &OsStr| ["zombies=", "pids=", "every="].iter().any(|name| word.as_bytes().starts_with(name.as_bytes()));
    parser.optional_value().or_else(|| parser.try_raw_args()?.next_if(looks_like_limits))
}

/// Name and value, if this entry of the environment is a FOSTER_ variable. An entry without `=` is not a variable.
fn foster_variable(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    if !entry.starts_with(PREFIX.as_bytes()) {
        return None;
    }
    name_and_value(entry)
}

/// An entry of the environment, if it is a variable.
pub fn name_and_value(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = entry.iter().position(|b| *b == b'=')?;
    Some((entry.get(..equals)?, entry.get(equals.checked_add(1)?..)?))
}

/// FOSTER_LOG as a filter; `None` if it is empty. A value that cannot be read is an error, and the error a warning: no typing
/// error in a log level is to keep a container from starting.
#[cold]
fn log_filter(value: &[u8]) -> Result<Option<LogFilter>, String> {
    let text = std::str::from_utf8(value).unwrap_or("what is no text").trim();
    if text.is_empty() {
        return Ok(None);
    }
    LogFilter::parse(text).map(Some).ok_or_else(|| {
        format!(
            "variable {LOG_VARIABLE}: '{}' is no log filter and is ignored{}; give a level (off, error, warn, info, debug, \
             trace) or foster=LEVEL",
            OneLine(value),
            did_you_mean(nearest(value, &["off", "error", "warn", "info", "debug", "trace"]))
        )
    })
}

/// The configuration as it is being read.
#[derive(Default)]
pub struct CommandLine<'a> {
    pub config: Config<'a>,
    pub given: Given,
    /// Where what is read now comes from.
    source: Source,
    /// `--check` was given. FOSTER_CHECK only sets its limits: a variable must not turn a container's start into a probe.
    pub is_check: bool,
    /// The first thing that is wrong.
    pub fault: Option<String>,
}

impl<'a> CommandLine<'a> {
    /// Reads the options, and finds the command behind them. Returns the text if an option only prints one.
    pub fn read_options(&mut self, persona: Option<&Persona>, args: &'a [&'a CStr]) -> Option<String> {
        let words = args.iter().map(|arg| OsStr::from_bytes(arg.to_bytes()).to_owned());
        let mut parser = lexopt::Parser::from_args(words);
        loop {
            let (name, opt) = match next(&mut parser) {
                Ok(Some(Arg::Short(c))) => (format!("-{c}"), by_short(persona, c)),
                Ok(Some(Arg::Long(name))) => (format!("--{name}"), by_long(persona, name)),
                Ok(Some(Arg::Value(_))) => {
                    let rest = parser.raw_args().map_or(0, |raw| raw.as_slice().len());
                    let first = args.len().saturating_sub(rest).saturating_sub(1);
                    self.config.command = args.get(first..).unwrap_or_default();
                    return None;
                }
                Ok(None) => return None,
                Err(message) => {
                    self.refuse(format_args!("{message}"));
                    continue;
                }
            };
            let Some(opt) = opt else {
                self.refuse(format_args!("{}", unknown_option(&name, persona, args)));
                continue;
            };
            if let Some(text) = printed(opt.id, persona) {
                match self.fault {
                    None => return Some(text),
                    Some(_) => continue,
                }
            }
            if let Err(message) = self.read_option(&mut parser, &name, opt, persona) {
                self.refuse(format_args!("{message}"));
            }
        }
    }

    #[cold]
    fn read_option(
        &mut self,
        parser: &mut lexopt::Parser,
        name: &str,
        opt: &Opt,
        persona: Option<&Persona>,
    ) -> Result<(), String> {
        let value = match opt.value {
            _ if opt.id == Id::Check => {
                self.is_check = true;
                let Some(limits) = optional_limits(parser) else { return Ok(()) };
                Some(limits)
            }
            _ if opt.id == Id::Watch => Some(optional_limits(parser).unwrap_or_else(|| ON.into())),
            // The peer takes any word.
            Some((placeholder, accepted)) if persona.is_some() => {
                Some(parser.value().map_err(|_| format!("option {name} needs {placeholder}: {accepted}"))?)
            }
            Some(wanted) => Some(value_of(parser, name, wanted)?),
            None => None,
        };
        let value = value.as_deref().map(OsStrExt::as_bytes);
        let mut apply = |value| self.apply(opt, value).map_err(|error| format!("option {name}: {error}"));
        match value {
            Some(list) if opt.env == Env::List => list.split(|b| *b == b',').try_for_each(|item| apply(Some(item))),
            value => apply(value),
        }
    }

    /// Reads foster's own variables. Returns warnings about those that are unknown or cannot be read.
    pub fn read_environment(&mut self, environment: &[&CStr]) -> Vec<String> {
        let mut warnings = Vec::new();
        let by_flag = self.given.clone();
        self.source = Source::Variable;
        for (name, value) in environment.iter().filter_map(|entry| foster_variable(entry.to_bytes())) {
            if name == LOG_VARIABLE.as_bytes() {
                match log_filter(value) {
                    Ok(filter) => self.config.log.filter = filter,
                    Err(warning) => warnings.push(warning),
                }
            } else if let Some(opt) = Opt::by_variable(name) {
                if !by_flag.is_on(opt.id)
                    && let Err(error) = self.apply_variable(opt, value)
                {
                    self.refuse(format_args!("variable {}: {error}", OneLine(name)));
                }
            } else if !is_from_kubernetes(name) {
                warnings.push(unknown_variable(name));
            }
        }
        // What was asked on the command line wins over FOSTER_LOG, and that over FOSTER_VERBOSE.
        let verbose_by_flag = by_flag.is_on(Id::Verbose) || by_flag.is_on(Id::Debug);
        if self.config.log.filter.is_some() && !verbose_by_flag {
            self.config.log.verbosity = 0;
            self.given.note_log();
        }
        warnings
    }

    /// Refuses options that contradict each other, a missing command, and a command where none is run.
    pub fn check(&mut self, persona: Option<&Persona>) {
        let Config { grace, stop_delay, .. } = self.config;
        if grace.is_some_and(|grace| grace <= stop_delay) && !stop_delay.is_zero() {
            self.refuse(format_args!(
                "--stop-delay must be shorter than --grace, since both count from the stop request"
            ));
        }
        let command = self.config.command.first();
        let unwanted = command.map(|word| OneLine(word.to_bytes()));
        if self.is_check {
            if let Some(word) = unwanted {
                self.refuse(format_args!(
                    "option --check runs no command, but '{word}' was given; limits are {LIMITS}"
                ));
            }
        } else if self.config.pause {
            if let Some(word) = unwanted {
                self.refuse(format_args!("--pause runs no command, but '{word}' was given"));
            }
            // Other options about the command do no harm, but somebody may rely on these.
            if self.config.user.is_some() || self.config.directory.is_some() {
                let why = "--pause runs no command, so --user and --chdir are not accepted with it";
                self.refuse(format_args!("{why}"));
            }
        } else if command.is_none() {
            let name = persona.map_or("foster", Persona::name);
            self.refuse(format_args!("no command given; usage: {name} [OPTIONS] [--] COMMAND [ARG...]"));
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, message: fmt::Arguments<'_>) {
        self.fault.get_or_insert_with(|| message.to_string());
    }

    /// Applies one option. The error says what is wrong with the value, without the option's name.
    #[cold]
    fn apply(&mut self, opt: &Opt, value: Option<&[u8]>) -> Result<(), String> {
        self.given.note(opt.id, true, self.source);
        let value = value.unwrap_or_default();
        opt.setter()(&mut self.config, value).map_err(|bad| {
            let shown = OneLine(value);
            match bad {
                Bad::Because(reason) => format!("'{shown}' is not accepted: {reason}"),
                Bad::Value | Bad::Like(_) => {
                    let accepted = opt.value.map_or("", |(_, accepted)| accepted);
                    let meant = if let Bad::Like(meant) = bad { Some(meant) } else { None };
                    format!("'{shown}' is not accepted{}; give {accepted}", did_you_mean(meant))
                }
            }
        })
    }

    /// Applies the peer's own variables, unless an option or a FOSTER_ variable has decided the same. Then applies what the peer
    /// does by default.
    #[cold]
    pub fn apply_persona(&mut self, persona: &Persona, environment: &[&CStr]) {
        let level_is_set = self.config.log.filter.is_some() || self.config.log.verbosity > 0;
        self.source = Source::Peer;
        for (name, value) in environment.iter().filter_map(|entry| name_and_value(entry.to_bytes())) {
            match (persona.variable)(name, value) {
                Some(Wish::Option(id)) if self.given.switch(id).is_none() => {
                    let opt = OPTIONS.iter().find(|opt| opt.id == id);
                    if let Some(Err(error)) = opt.map(|opt| self.apply(opt, None)) {
                        self.refuse(format_args!("variable {}: {error}", OneLine(name)));
                    }
                }
                Some(Wish::Quiet) if !level_is_set => self.config.log.filter = LogFilter::parse("error"),
                Some(Wish::Verbosity(verbosity)) if !level_is_set => self.config.log.verbosity = verbosity,
                _ => {}
            }
        }
        (persona.adapt)(&mut self.config, &self.given);
    }

    /// One variable of the environment.
    #[cold]
    fn apply_variable(&mut self, opt: &Opt, value: &[u8]) -> Result<(), String> {
        let shown = OneLine(value);
        match opt.env {
            Env::None => Ok(()),
            Env::Flag | Env::FlagOrValue => match value.to_ascii_lowercase().as_slice() {
                b"1" | b"true" | b"yes" | b"on" => self.apply(opt, Some(ON.as_bytes())),
                b"" => Ok(()),
                b"0" | b"false" | b"no" | b"off" => {
                    self.given.note(opt.id, false, self.source);
                    Ok(())
                }
                _ if opt.env == Env::FlagOrValue => self.apply(opt, Some(value)),
                _ => {
                    let meant = nearest(value, &["true", "false", "yes", "off"]);
                    Err(format!("'{shown}' is not accepted{}; give 1 or 0", did_you_mean(meant)))
                }
            },
            Env::Count => {
                let count = std::str::from_utf8(value).ok().and_then(|text| match text {
                    "" => Some(0),
                    text => text.parse::<u8>().ok().filter(|count| *count <= 3),
                });
                let count = count.ok_or_else(|| format!("'{shown}' is not accepted; give a number from 0 to 3"))?;
                (0..count).try_for_each(|_| self.apply(opt, None))
            }
            // FOSTER_USER=$NAME with an unset NAME must not mean root.
            Env::Value if value.is_empty() && opt.id != Id::User => Ok(()),
            Env::Value => self.apply(opt, Some(value)),
            Env::List => {
                let mut items = value.split(|b| *b == b',').filter(|item| !item.is_empty());
                items.try_for_each(|item| self.apply(opt, Some(item)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_that_cannot_be_read_is_a_warning() {
        assert_eq!(log_filter(b" "), Ok(None));
        assert_eq!(log_filter(b" debug\n"), Ok(LogFilter::parse("debug")));
        for (value, meant) in
            [(&b"wran"[..], "(did you mean warn?)"), (b"\xff", "'\\xff' is no log filter"), (b"a/b", "'a/b'")]
        {
            assert!(log_filter(value).is_err_and(|error| error.contains(meant)), "{value:?}: {:?}", log_filter(value));
        }
    }
}
