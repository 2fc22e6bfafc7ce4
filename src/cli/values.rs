//! Reads the values of options, and says what is wrong with one.

use std::ffi::CString;
use std::time::Duration;

use super::near::{Nearest, did_you_mean, nearest};
use crate::config::{Config, Limits, LogFormat, UserSpec, WatchConfig, parse_duration};
use crate::signal::{ACCEPTED, BadRewrite, Signal};
use crate::text::OneLine;

pub const CODE: &str = "a code from 0 to 255";
pub const FROM_TO: &str = "two signals by name or number, or TO 0 to drop FROM, for example TERM:QUIT";

/// What is wrong with an option's value.
pub enum Bad {
    /// The option's row does not accept it.
    Value,
    /// The same, and this may be meant.
    Like(String),
    /// It is not accepted, for this reason.
    Because(String),
}

/// For an option that is accepted and changes nothing, and for those that print and exit.
pub fn nothing(_: &mut Config, _: &[u8]) -> Result<(), Bad> {
    Ok(())
}

fn text(value: &[u8]) -> Result<&str, Bad> {
    std::str::from_utf8(value).map_err(|_| Bad::Value)
}

/// A signal, by name or number.
pub fn signal(value: &[u8]) -> Result<Signal, Bad> {
    text(value)?.parse().map_err(|_| like(near_signal(value)))
}

/// The name of a signal that may be meant, without SIG.
fn near_signal(typed: &[u8]) -> Option<String> {
    let typed = match typed.split_at_checked(3) {
        Some((sig, name)) if sig.eq_ignore_ascii_case(b"SIG") => name,
        _ => typed,
    };
    let mut nearest = Nearest::to(typed);
    for signal in (1..=31).filter_map(Signal::new) {
        nearest.offer(signal.to_string().strip_prefix("SIG").unwrap_or_default());
    }
    nearest.found()
}

/// What is wrong with a value that may be meant to be this one.
fn like(meant: Option<String>) -> Bad {
    meant.map_or(Bad::Value, Bad::Like)
}

/// `USER`, `USER:GROUP` or `:GROUP`.
pub fn user(value: &[u8]) -> Result<UserSpec, Bad> {
    UserSpec::parse(value).ok_or(Bad::Value)
}

/// `zombies=N,pids=P%`.
pub fn limits(value: &[u8]) -> Result<Limits, Bad> {
    let text = text(value)?;
    if named(value).any(|name| name == b"every") {
        return Err(Bad::Because("--check looks once, and every= is for --watch".to_owned()));
    }
    Limits::parse(text).ok_or_else(|| limits_like(value, &["zombies", "pids"]))
}

/// What stands for the value that was not given, of an option that can do without.
pub const ON: &str = "1";

/// `zombies=N,pids=P%,every=DURATION`, or 1 for the defaults.
pub fn watch(value: &[u8]) -> Result<WatchConfig, Bad> {
    if value == ON.as_bytes() {
        return Ok(WatchConfig::default());
    }
    WatchConfig::parse(text(value)?).ok_or_else(|| limits_like(value, &["zombies", "pids", "every"]))
}

/// The names in `NAME=VALUE,NAME=VALUE`.
fn named(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').filter_map(|item| item.split(|b| *b == b'=').next())
}

/// What is wrong with limits: the first name that is none, if it is like one.
fn limits_like(value: &[u8], known: &[&str]) -> Bad {
    let is_unknown = |name: &&[u8]| !known.iter().any(|known| known.as_bytes() == *name);
    let wrong = named(value).find(is_unknown).unwrap_or_default();
    like(nearest(wrong, known).map(|name| format!("{name}=")))
}

/// A span of time.
pub fn duration(value: &[u8]) -> Result<Duration, Bad> {
    parse_duration(text(value)?).ok_or(Bad::Value)
}

/// A file or a directory.
pub fn path(value: &[u8]) -> Result<CString, Bad> {
    CString::new(value).ok().filter(|path| !path.is_empty()).ok_or(Bad::Value)
}

/// A signal that may ask foster to stop.
pub fn arriving(value: &[u8]) -> Result<Signal, Bad> {
    let signal = signal(value)?;
    if signal.is_catchable() && signal != Signal::CHLD {
        return Ok(signal);
    }
    Err(Bad::Because(format!("{signal} never arrives as a request")))
}

/// A signal that can reach foster.
pub fn catchable(value: &[u8]) -> Result<Signal, Bad> {
    let signal = signal(value)?;
    if signal.is_catchable() {
        return Ok(signal);
    }
    Err(Bad::Because(format!("{signal} cannot be caught, so it would hit foster alone and leave the command running")))
}

/// `FROM:TO`.
pub fn rewrite(config: &mut Config, value: &[u8]) -> Result<(), Bad> {
    let text = text(value)?;
    config.rewrites.add(text).map_err(|bad| Bad::Because(wrong_half(text, bad)))
}

fn wrong_half(text: &str, bad: BadRewrite) -> String {
    let (from, to) = text.split_once(':').unwrap_or((text, ""));
    match bad {
        BadRewrite::NoColon => "give FROM:TO, for example TERM:QUIT".to_owned(),
        BadRewrite::From => format!("{}; FROM is {ACCEPTED}", no_signal(from)),
        BadRewrite::To => format!("{}; TO is {ACCEPTED}, or 0 to drop", no_signal(to)),
        BadRewrite::Uncatchable(from) => format!("{from} never reaches a program, so it cannot be rewritten"),
        BadRewrite::Chld => format!("{} is foster's own and never forwarded", Signal::CHLD),
    }
}

fn no_signal(typed: &str) -> String {
    format!("'{}' is no signal{}", OneLine(typed.as_bytes()), did_you_mean(near_signal(typed.as_bytes())))
}

/// A code, or `stop`.
pub fn ok_exit(config: &mut Config, value: &[u8]) -> Result<(), Bad> {
    if value == b"stop" {
        config.ok_stop = true;
        return Ok(());
    }
    let text = text(value)?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let code = text.parse().ok().filter(|_| digits);
    config.ok_codes.insert(code.ok_or_else(|| like(nearest(value, &["stop"])))?);
    Ok(())
}

/// `text` or `json`.
pub fn log_format(config: &mut Config, value: &[u8]) -> Result<(), Bad> {
    config.log.format = match value {
        b"text" => LogFormat::Text,
        b"json" => LogFormat::Json,
        _ => return Err(like(nearest(value, &["text", "json"]))),
    };
    Ok(())
}
