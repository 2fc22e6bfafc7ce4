//! What foster was asked to do, resolved once and never changed.

use std::ffi::{CStr, CString};
use std::fmt;
use std::time::Duration;

use log::LevelFilter;

use crate::exit::{ExitCodes, OkCodes};
use crate::signal::{Rewrites, Signal, SignalSet};
use crate::text::OneLine;

/// The resolved command line and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config<'a> {
    /// The command and its arguments: a slice of what foster itself was given, so it is passed on byte for byte. With
    /// `--expand-env`, the expanded words take its place (`start.rs`).
    pub command: &'a [&'a CStr],
    /// Put variables of the environment into the command and its arguments (`--expand-env`).
    pub expand_env: bool,
    /// Run nothing, and print how all of this was understood (`--explain`).
    pub explain: bool,
    /// Signal the command's whole process group (`-g`).
    pub group: bool,
    /// What is forwarded for what (`-r`).
    pub rewrites: Rewrites,
    /// Exit codes to report as 0 (`-e`).
    pub ok_codes: OkCodes,
    /// Report 0 when the command ended by a stop request's own signal (`-e stop`).
    pub ok_stop: bool,
    /// How long a stop may take before SIGKILL (`--grace`); `None`: see [`Config::LEFTOVER_GRACE`].
    pub grace: Option<Duration>,
    /// The signals that are stop requests when they arrive (`--stop-signal`); empty: SIGTERM and SIGINT.
    pub stop_signals: SignalSet,
    /// What foster itself asks leftovers with (`--leftover-signal`); `None`: SIGTERM.
    pub leftover_signal: Option<Signal>,
    /// How long a stop request is held before it is forwarded (`--stop-delay`).
    pub stop_delay: Duration,
    /// Outlive the command until its daemons have ended (`--wait`).
    pub wait: bool,
    /// Run no command: reap, and end on SIGTERM or SIGINT (`-P`).
    pub pause: bool,
    /// The signal to get when foster's own parent dies (`-p`).
    pub parent_death: Option<Signal>,
    /// Whom the command is to run as (`--user`).
    pub user: Option<UserSpec>,
    /// The command's working directory (`--chdir`).
    pub directory: Option<CString>,
    /// Where the reason of an abnormal end is written (`--termination-log`).
    pub termination_log: Option<CString>,
    /// The limits of `--check`.
    pub limits: Limits,
    /// What foster itself looks at while the command runs (`--watch`).
    pub watch: Option<WatchConfig>,
    /// What is said, and how loudly.
    pub log: LogConfig,
    /// What a persona does differently from foster under its own name.
    pub ways: Ways,
}

/// The behaviour that a persona can change. The defaults are foster's own behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// How the command is set apart from foster.
    pub apart: Apart,
    /// Whether orphans come to foster where it is not PID 1.
    pub orphans: Orphans,
    /// What happens when the command has ended.
    pub at_end: AtEnd,
    /// Stop when SIGTSTP, SIGTTIN or SIGTTOU arrives, instead of when the command stops.
    pub stops_when_told: bool,
    /// End with 128+N when signal N ended the command, also where foster could end by that signal.
    pub ends_by_code: bool,
    /// The exit codes of failures.
    pub codes: ExitCodes,
}

/// How the command is set apart from foster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Apart {
    /// In a process group of its own.
    #[default]
    Group,
    /// In a session of its own, with stdin as its controlling terminal if that is one.
    Session,
}

/// Whether orphans come to foster where it is not PID 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// They come to foster, which is a subreaper.
    #[default]
    Adopted,
    /// They go to another process.
    Elsewhere,
    /// They go to another process, and that is worth a warning.
    ElsewhereWithWarning,
}

/// What happens when the command has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// foster stops what the command left behind, and stays until that is done.
    #[default]
    StopLeftovers,
    /// What is left of its process group gets SIGTERM, and foster ends.
    AskGroup,
    /// foster ends.
    Leave,
}

impl Config<'_> {
    /// The grace of leftovers without `--grace`, when the command has ended unasked. After a stop request there is none:
    /// the platform that asked has a limit of its own.
    pub const LEFTOVER_GRACE: Duration = Duration::from_secs(10);

    /// The signals that are stop requests when they arrive.
    pub fn stop_signals(&self) -> SignalSet {
        if self.stop_signals != SignalSet::default() {
            return self.stop_signals;
        }
        let mut default = SignalSet::default();
        default.insert(Signal::TERM);
        default.insert(Signal::INT);
        default
    }
}

/// What [`parse_duration`] takes, for error messages.
pub const DURATION: &str = "a duration like 25s, 500ms, 1.5m or 1m30s (units ms, s, m, h; a bare number is seconds)";

/// Reads a duration: numbers, each with a unit, that add up. A bare number is seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.as_bytes();
    let mut total_ms = 0_u64;
    loop {
        let (number, tail) = split_after(rest, |b| b.is_ascii_digit() || b == b'.');
        let (unit, next) = split_after(tail, |b| !b.is_ascii_digit());
        let unit_ms = match unit {
            b"ms" => 1,
            b"s" => 1_000,
            b"m" => 60_000,
            b"h" => 3_600_000,
            // Only alone: in 1m30 the 30 could be anything.
            b"" if rest.len() == text.len() => 1_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(times(number, unit_ms)?)?;
        if next.is_empty() {
            return Some(Duration::from_millis(total_ms));
        }
        rest = next;
    }
}

/// Splits behind the leading bytes that are such.
fn split_after(text: &[u8], is_such: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !is_such(*b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}

/// `1.5` of so many milliseconds, exact to the millisecond.
fn times(number: &[u8], unit_ms: u64) -> Option<u64> {
    let (whole, fraction) = match split_after(number, |b| b != b'.') {
        (whole, []) => (whole, &b"0"[..]),
        (whole, [_, fraction @ ..]) => (whole, fraction),
    };
    let scale: u64 = match fraction.len() {
        1 => 10,
        2 => 100,
        3 => 1_000,
        _ => return None,
    };
    let fraction_ms = digits(fraction)?.checked_mul(unit_ms)?.checked_div(scale)?;
    digits(whole)?.checked_mul(unit_ms)?.checked_add(fraction_ms)
}

/// The number that these digits are; `None` for nothing, for anything else, and for one that is too large.
fn digits(text: &[u8]) -> Option<u64> {
    let append = |number: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| digit.saturating_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    };
    text.iter().try_fold(0, append).filter(|_| !text.is_empty())
}

/// What `--user` takes, for error messages.
pub const USER: &str = "USER, USER:GROUP or :GROUP, each a name or an id from 0 to 4294967294";

/// What `--user` was given: at least one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    pub user: Option<Who>,
    pub group: Option<Who>,
}

/// A user or a group. What consists of digits is an id, whatever names there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Id(u32),
    Name(Vec<u8>),
}

impl UserSpec {
    /// Reads `USER`, `USER:GROUP` or `:GROUP`; `None` for nothing at all and for an id out of range.
    pub fn parse(text: &[u8]) -> Option<UserSpec> {
        let mut halves = text.splitn(2, |b| *b == b':');
        let user = halves.next().unwrap_or_default();
        let group = halves.next().unwrap_or_default();
        if user.is_empty() && group.is_empty() {
            return None;
        }
        Some(UserSpec { user: Who::parse(user)?, group: Who::parse(group)? })
    }
}

impl Who {
    /// The inner `None`: not given.
    fn parse(text: &[u8]) -> Option<Option<Who>> {
        match text {
            b"" => Some(None),
            digits if digits.iter().all(u8::is_ascii_digit) => parse_id(digits).map(|id| Some(Who::Id(id))),
            name => Some(Some(Who::Name(name.to_vec()))),
        }
    }
}

/// As it was given.
impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}")?;
        }
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Id(id) => write!(f, "{id}"),
            Who::Name(name) => write!(f, "{}", OneLine(name)),
        }
    }
}

/// An id of a user or a group. 4294967295 is -1, which means "leave it" to setresuid(2).
pub fn parse_id(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// What [`Limits::parse`] takes, for error messages.
pub const LIMITS: &str = "zombies=N, pids=P% or both, for example zombies=100,pids=90%";

/// What is still healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most zombies that are healthy.
    pub zombies: u64,
    /// The most processes and threads, in percent of the limit, 0 to 100.
    pub pids_percent: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { zombies: 100, pids_percent: 90 }
    }
}

impl Limits {
    /// Reads `zombies=N,pids=P%`; what is left out has its default.
    pub fn parse(text: &str) -> Option<Limits> {
        let mut limits = Limits::default();
        text.split(',').try_for_each(|item| limits.set(item))?;
        Some(limits)
    }

    /// Reads `zombies=N` or `pids=P%`.
    fn set(&mut self, item: &str) -> Option<()> {
        let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with('+'));
        match item.split_once('=')? {
            ("zombies", count) => self.zombies = number(count)?,
            ("pids", percent) => {
                self.pids_percent = number(percent.strip_suffix('%')?).filter(|percent| *percent <= 100)?;
            }
            _ => return None,
        }
        Some(())
    }
}

/// What [`WatchConfig::parse`] takes, for error messages.
pub const WATCH: &str =
    "zombies=N, pids=P%, every=DURATION of 1s or more, or several, for example zombies=50,every=10s";

/// What foster itself looks at while the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    pub limits: Limits,
    /// How long it sleeps between two looks.
    pub every: Duration,
}

impl Default for WatchConfig {
    fn default() -> WatchConfig {
        WatchConfig { limits: Limits::default(), every: Duration::from_secs(30) }
    }
}

impl WatchConfig {
    /// More often, it would be foster that keeps the machine busy.
    const LEAST: Duration = Duration::from_secs(1);

    /// Reads `zombies=N,pids=P%,every=DURATION`; what is left out has its default.
    pub fn parse(text: &str) -> Option<WatchConfig> {
        let mut watch = WatchConfig::default();
        for item in text.split(',') {
            match item.strip_prefix("every=") {
                Some(every) => watch.every = parse_duration(every).filter(|every| *every >= WatchConfig::LEAST)?,
                None => watch.limits.set(item)?,
            }
        }
        Some(watch)
    }
}

/// As it can be given.
impl fmt::Display for WatchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits { zombies, pids_percent } = self.limits;
        write!(f, "zombies={zombies},pids={pids_percent}%,every=")?;
        match self.every.subsec_millis() {
            0 => write!(f, "{}s", self.every.as_secs()),
            _ => write!(f, "{}ms", self.every.as_millis()),
        }
    }
}

/// What is said, and how loudly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// How often `-v` was given, or FOSTER_VERBOSE: 0 warn, 1 info, 2 debug, more trace.
    pub verbosity: u8,
    /// FOSTER_LOG; `-v` wins over it.
    pub filter: Option<LogFilter>,
    /// Report reaped orphans at warn instead of debug (`-w`).
    pub warn_on_reap: bool,
    /// How a line looks (`--log-format`).
    pub format: LogFormat,
}

/// What FOSTER_LOG asks for, in env_logger's syntax: levels, and behind a slash words that a line must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// As it was given.
    pub text: String,
    /// The most detailed level that is said.
    pub level: LevelFilter,
    /// What a line must hold to be said (`warn/SIGTERM`); empty: anything.
    pub words: String,
}

impl LogFilter {
    /// Reads it as env_logger does, but `None` if a part is neither a level nor about foster: env_logger takes any word for the
    /// name of a module, so `loud` or `foster:debug` would silence foster altogether.
    ///
    /// foster is one module, so one level is all that its lines are compared with.
    pub fn parse(text: &str) -> Option<LogFilter> {
        let (levels, words) = text.split_once('/').unwrap_or((text, ""));
        if words.contains('/') {
            return None;
        }
        let (mut general, mut own) = (None, None);
        for directive in levels.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            match directive.strip_prefix("foster") {
                Some("" | "=") => own = Some(LevelFilter::Trace),
                Some(rest) => own = Some(log_level(rest.strip_prefix('=')?)?),
                None => general = Some(log_level(directive)?),
            }
        }
        // env_logger says errors where no level is given.
        let level = own.or(general).unwrap_or(LevelFilter::Error);
        Some(LogFilter { text: text.to_owned(), level, words: words.to_owned() })
    }
}

/// What log calls warn is called warning elsewhere, and in foster's own lines.
fn log_level(word: &str) -> Option<LevelFilter> {
    let word = word.trim();
    if word.eq_ignore_ascii_case("warning") { Some(LevelFilter::Warn) } else { word.parse().ok() }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `foster[PID]: LEVEL: MESSAGE`.
    #[default]
    Text,
    /// One JSON object, with stable keys.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;
    use proptest::prelude::*;

    #[test]
    fn a_log_filter_is_accepted_if_each_part_of_it_concerns_foster() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        for (text, level, words) in [
            ("debug", Debug, ""),
            ("OFF", Off, ""),
            ("foster", Trace, ""),
            ("foster=", Trace, ""),
            ("foster=debug", Debug, ""),
            ("foster=info , warn", Info, ""),
            ("warn,info", Info, ""),
            ("info/SIGTERM", Info, "SIGTERM"),
            ("/SIGTERM", Error, "SIGTERM"),
            ("Warning", Warn, ""),
            ("foster=WARNING,error", Warn, ""),
        ] {
            let filter = LogFilter { text: text.to_owned(), level, words: words.to_owned() };
            assert_eq!(LogFilter::parse(text), Some(filter), "{text}");
        }
        for text in ["foster:debug", "foster.debug", "foster-debug", "foster_debug", "fosterx=debug", "foster::x"]
            .into_iter()
            .chain(["foster::x=debug", "foster =debug", "foste=debug", "Foster=debug", "foster=loud", "xwarning"])
            .chain(["foster=debug=info", "warn,foster:debug", "app=debug", "=debug", "warn/a/b"])
        {
            assert_eq!(LogFilter::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_log_filter_means_what_it_means_to_env_logger(
            parts in proptest::collection::vec(
                "[ ]?(foster ?=?|)[ ]?(off|error|WARN|Info|debug|trace|loud|)[ ]?", 0..4),
            words in "(/[a-z]{0,2}){0,2}",
        ) {
            let text = parts.join(",") + &words;
            if let Some(filter) = LogFilter::parse(&text) {
                let mut theirs = env_filter::Builder::new();
                theirs.try_parse(&text).map_err(|error| TestCaseError::fail(format!("{text:?}: {error}")))?;
                let theirs = theirs.build();
                for level in Level::iter() {
                    let metadata = log::Metadata::builder().level(level).target("foster").build();
                    prop_assert_eq!(level <= filter.level, theirs.enabled(&metadata), "{:?} {}", text, level);
                }
            }
        }
    }

    #[test]
    fn durations_are_read_as_they_are_written_elsewhere() {
        for (text, ms) in [
            ("0", 0),
            ("25", 25_000),
            ("25s", 25_000),
            ("500ms", 500),
            ("1.5m", 90_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("0.25", 250),
            ("1.5s500ms", 2_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "+1",
            "1 s",
            " 1s",
            "1d",
            "1m30",
            "1..5s",
            ".5s",
            "5.",
            "1.2345s",
            "1e3s",
            "99999999999999999999s",
            "18446744073709551615h",
            "1sms",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn limits_are_read_and_what_is_left_out_has_its_default() {
        for (text, zombies, pids_percent) in [
            ("zombies=5", 5, 90),
            ("pids=50%", 100, 50),
            ("pids=0%,zombies=0", 0, 0),
            ("zombies=100,pids=100%", 100, 100),
        ] {
            assert_eq!(Limits::parse(text), Some(Limits { zombies, pids_percent }), "{text}");
        }
        for text in ["", "5", "zombies", "zombies=", "zombies=-1", "zombies=+1", "zombies=5%", "pids=50", "pids=101%"]
            .into_iter()
            .chain(["pids=%", "zombies=1,", ",zombies=1", "zombies=1 ", "zombie=1", "zombies=1;pids=2%", "1"])
        {
            assert_eq!(Limits::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_watch_has_limits_and_an_interval_of_a_second_at_least() {
        for (text, zombies, pids_percent, every) in [
            ("zombies=50", 50, 90, "30s"),
            ("every=10s,pids=80%", 100, 80, "10s"),
            ("every=1", 100, 90, "1s"),
            ("every=1m30s", 100, 90, "90s"),
            ("zombies=0,every=1500ms", 0, 90, "1500ms"),
        ] {
            let watch = WatchConfig::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(watch.limits, Limits { zombies, pids_percent }, "{text}");
            assert_eq!(watch.to_string(), format!("zombies={zombies},pids={pids_percent}%,every={every}"));
            assert_eq!(WatchConfig::parse(&watch.to_string()), Some(watch));
        }
        for text in ["", "every", "every=", "every=0", "every=999ms", "every=x", "every=-1s", "zombies=5,", "evry=1s"]
            .into_iter()
            .chain(["every=10s;zombies=5", "1", "yes", "zombies=x", "pids=101%"])
        {
            assert_eq!(WatchConfig::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9.msh ]{0,24}") {
            parse_duration(&text);
        }

        #[test]
        fn no_text_makes_the_parser_of_limits_panic(text in "[a-z0-9=,%+-]{0,30}") {
            Limits::parse(&text);
            WatchConfig::parse(&text);
        }
    }
}
