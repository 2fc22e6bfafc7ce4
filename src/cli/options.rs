//! foster's own options. One row is one option: its name, value, variable, setter and help.

use std::ffi::CString;
use std::time::Duration;

use super::near::{Nearest, did_you_mean, nearest};
use crate::config::{Config, DURATION, LIMITS, Limits, LogFormat, USER, UserSpec, parse_duration};
use crate::signal::{ACCEPTED, BadRewrite, Signal};
use crate::text::OneLine;

/// Which option it is, whatever a persona calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    Group,
    Rewrite,
    Grace,
    StopDelay,
    StopSignal,
    LeftoverSignal,
    Wait,
    WarnOnReap,
    OkExit,
    ParentDeath,
    Subreaper,
    SingleChild,
    User,
    Chdir,
    Pause,
    ExpandEnv,
    TerminationLog,
    LogFormat,
    Verbose,
    /// Some personas have one word for `-vv`.
    Debug,
    Check,
    License,
    Version,
    Help,
}

/// What an option's variable in the environment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Env {
    /// There is no variable.
    None,
    /// 1 or 0.
    Flag,
    /// The option's value.
    Value,
    /// Several of the option's values, with commas between them.
    List,
    /// How often the option is to count as given.
    Count,
}

/// Where an option stands in the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Stopping,
    Signals,
    User,
    Said,
    Other,
}

/// What is wrong with an option's value.
pub enum Bad {
    /// It is not what the row says is accepted.
    Value,
    /// The same, and this may be meant.
    Like(String),
    /// It is not accepted, for this reason.
    Because(String),
}

/// Puts an option's value into the configuration. The value is empty for an option that takes none.
pub type Setter = fn(&mut Config, &[u8]) -> Result<(), Bad>;

/// One option.
pub struct Opt {
    pub id: Id,
    /// A persona's row stands where foster's own row of the same option does.
    pub section: Section,
    /// `None`: the long form alone.
    pub short: Option<char>,
    /// Empty in a persona that has the short form alone.
    pub long: &'static str,
    /// The placeholder of its value in the help text, and what is accepted there; `None`: the option takes no value.
    pub value: Option<(&'static str, &'static str)>,
    pub env: Env,
    /// `None` in a persona's row: foster's own setter of the same option.
    pub set: Option<Setter>,
    /// What it does, in a line.
    pub help: &'static str,
}

pub const CODE: &str = "a code from 0 to 255";
pub const FROM_TO: &str = "two signals by name or number, or TO 0 to drop FROM, for example TERM:QUIT";

/// The table that the parser, the help text, the man page and the completions of the shells go by.
pub const OPTIONS: &[Opt] = &[
    Opt {
        id: Id::Group,
        section: Section::Signals,
        short: Some('g'),
        long: "group",
        value: None,
        env: Env::Flag,
        set: Some(|config, _| {
            config.group = true;
            Ok(())
        }),
        help: "signal the command's whole process group",
    },
    Opt {
        id: Id::Rewrite,
        section: Section::Signals,
        short: Some('r'),
        long: "rewrite",
        value: Some(("FROM:TO", FROM_TO)),
        env: Env::List,
        set: Some(rewrite),
        help: "forward TO when FROM arrives (TO 0: drop)",
    },
    Opt {
        id: Id::Grace,
        section: Section::Stopping,
        short: Some('k'),
        long: "grace",
        value: Some(("DURATION", DURATION)),
        env: Env::Value,
        set: Some(|config, value| {
            config.grace = Some(duration(value)?);
            Ok(())
        }),
        help: "SIGKILL what is still alive this long after a stop request",
    },
    Opt {
        id: Id::StopSignal,
        section: Section::Stopping,
        short: None,
        long: "stop-signal",
        value: Some(("SIGNAL", ACCEPTED)),
        env: Env::List,
        set: Some(|config, value| {
            config.stop_signals.insert(arriving(value)?);
            Ok(())
        }),
        help: "SIGNAL is a stop request (repeat; default TERM, INT)",
    },
    Opt {
        id: Id::LeftoverSignal,
        section: Section::Stopping,
        short: None,
        long: "leftover-signal",
        value: Some(("SIGNAL", ACCEPTED)),
        env: Env::Value,
        set: Some(|config, value| {
            config.leftover_signal = Some(signal(value)?);
            Ok(())
        }),
        help: "ask leftovers to end with SIGNAL (default TERM)",
    },
    Opt {
        id: Id::StopDelay,
        section: Section::Stopping,
        short: None,
        long: "stop-delay",
        value: Some(("DURATION", DURATION)),
        env: Env::Value,
        set: Some(|config, value| {
            config.stop_delay = duration(value)?;
            Ok(())
        }),
        help: "hold a stop request this long before forwarding it",
    },
    Opt {
        id: Id::WarnOnReap,
        section: Section::Said,
        short: Some('w'),
        long: "warn-on-reap",
        value: None,
        env: Env::Flag,
        set: Some(|config, _| {
            config.log.warn_on_reap = true;
            Ok(())
        }),
        help: "report reaped orphans as warnings instead of debug",
    },
    Opt {
        id: Id::Wait,
        section: Section::Stopping,
        short: None,
        long: "wait",
        value: None,
        env: Env::Flag,
        set: Some(|config, _| {
            config.wait = true;
            Ok(())
        }),
        help: "outlive the command until its daemons have ended",
    },
    Opt {
        id: Id::OkExit,
        section: Section::Stopping,
        short: Some('e'),
        long: "ok-exit",
        value: Some(("CODE", "a code from 0 to 255, or stop")),
        env: Env::List,
        set: Some(ok_exit),
        help: "report CODE as 0; stop: the end by a stop request's own signal",
    },
    Opt {
        id: Id::ParentDeath,
        section: Section::Signals,
        short: Some('p'),
        long: "parent-death",
        value: Some(("SIGNAL", ACCEPTED)),
        env: Env::Value,
        set: Some(|config, value| {
            config.parent_death = Some(catchable(value)?);
            Ok(())
        }),
        help: "get SIGNAL when foster's parent dies",
    },
    Opt {
        id: Id::Subreaper,
        section: Section::Other,
        short: Some('s'),
        long: "subreaper",
        value: None,
        env: Env::Flag,
        set: Some(nothing),
        help: "accepted; already the default when not PID 1",
    },
    Opt {
        id: Id::SingleChild,
        section: Section::Other,
        short: Some('c'),
        long: "single-child",
        value: None,
        env: Env::Flag,
        set: Some(nothing),
        help: "accepted; already the default",
    },
    Opt {
        id: Id::User,
        section: Section::User,
        short: Some('u'),
        long: "user",
        value: Some(("USER[:GROUP]", USER)),
        env: Env::Value,
        set: Some(|config, value| {
            config.user = Some(UserSpec::parse(value).ok_or(Bad::Value)?);
            Ok(())
        }),
        help: "run the command as USER, by name or id",
    },
    Opt {
        id: Id::Chdir,
        section: Section::User,
        short: Some('C'),
        long: "chdir",
        value: Some(("DIR", "a directory")),
        env: Env::Value,
        set: Some(|config, value| {
            config.directory = Some(path(value)?);
            Ok(())
        }),
        help: "run the command in DIR",
    },
    Opt {
        id: Id::Pause,
        section: Section::Other,
        short: Some('P'),
        long: "pause",
        value: None,
        env: Env::Flag,
        set: Some(|config, _| {
            config.pause = true;
            Ok(())
        }),
        help: "run no command: reap, and end on SIGTERM or SIGINT",
    },
    Opt {
        id: Id::TerminationLog,
        section: Section::Said,
        short: None,
        long: "termination-log",
        value: Some(("PATH", "the path of a file")),
        env: Env::Value,
        set: Some(|config, value| {
            config.termination_log = Some(path(value)?);
            Ok(())
        }),
        help: "append the reason of an abnormal end to PATH",
    },
    Opt {
        id: Id::LogFormat,
        section: Section::Said,
        short: None,
        long: "log-format",
        value: Some(("FORMAT", "text or json")),
        env: Env::Value,
        set: Some(log_format),
        help: "say it as text (the default) or json, one object a line",
    },
    Opt {
        id: Id::Verbose,
        section: Section::Said,
        short: Some('v'),
        long: "verbose",
        value: None,
        env: Env::Count,
        set: Some(|config, _| {
            config.log.verbosity = config.log.verbosity.saturating_add(1);
            Ok(())
        }),
        help: "say more: info, -vv debug, -vvv trace",
    },
    Opt {
        id: Id::ExpandEnv,
        section: Section::Other,
        short: None,
        long: "expand-env",
        value: None,
        env: Env::Flag,
        set: Some(|config, _| {
            config.expand_env = true;
            Ok(())
        }),
        help: "expand $NAME, ${NAME}, ${NAME:-word}, ${NAME-word}, ${NAME:?message} and $$ in COMMAND and ARGs",
    },
    Opt {
        id: Id::Check,
        section: Section::Other,
        short: None,
        long: "check",
        // Optional: it is either in the same word or looks like limits.
        value: Some(("[LIMITS]", LIMITS)),
        env: Env::Value,
        set: Some(|config, value| {
            config.limits = Limits::parse(text(value)?).ok_or_else(|| limits_like(value))?;
            Ok(())
        }),
        help: "health probe for zombies and pids; runs no command",
    },
    Opt {
        id: Id::License,
        section: Section::Other,
        short: Some('l'),
        long: "license",
        value: None,
        env: Env::None,
        set: Some(nothing),
        help: "print the license and exit",
    },
    Opt {
        id: Id::Version,
        section: Section::Other,
        short: Some('V'),
        long: "version",
        value: None,
        env: Env::None,
        set: Some(nothing),
        help: "print the version and exit",
    },
    Opt {
        id: Id::Help,
        section: Section::Other,
        short: Some('h'),
        long: "help",
        value: None,
        env: Env::None,
        set: Some(nothing),
        help: "print this help and exit",
    },
];

impl Opt {
    /// An option of a persona's that takes no value.
    pub const fn flag(id: Id, short: char, long: &'static str, help: &'static str) -> Opt {
        Opt { id, section: Section::Other, short: Some(short), long, value: None, env: Env::None, set: None, help }
    }

    /// An option of a persona's with a value.
    pub const fn valued(
        id: Id,
        short: char,
        long: &'static str,
        value: (&'static str, &'static str),
        help: &'static str,
    ) -> Opt {
        Opt {
            id,
            section: Section::Other,
            short: Some(short),
            long,
            value: Some(value),
            env: Env::None,
            set: None,
            help,
        }
    }

    /// foster's own row of this option.
    pub fn own(&self) -> &Opt {
        OPTIONS.iter().find(|own| own.id == self.id).unwrap_or(self)
    }

    /// The setter, which a persona's row may have from foster's own row.
    pub fn setter(&self) -> Setter {
        self.set.or(self.own().set).unwrap_or(nothing)
    }

    /// `--warn-on-reap` is FOSTER_WARN_ON_REAP.
    pub fn by_variable(name: &[u8]) -> Option<&'static Opt> {
        OPTIONS.iter().find(|opt| opt.variable().is_some_and(|variable| variable.as_bytes() == name))
    }

    /// The variable in the environment that does what the option does.
    pub fn variable(&self) -> Option<String> {
        let name = || format!("FOSTER_{}", self.long.replace('-', "_").to_ascii_uppercase());
        (self.env != Env::None).then(name)
    }
}

/// What was asked for so far, by options and by variables, and whether it was switched on or off.
#[derive(Clone, Default)]
pub struct Given(Vec<(Id, bool)>);

impl Given {
    /// Notes that an option was switched on or off.
    pub fn note(&mut self, id: Id, on: bool) {
        self.0.push((id, on));
    }

    /// Whether an option was switched on or off; `None`: nobody said anything about it.
    pub fn switch(&self, id: Id) -> Option<bool> {
        self.0.iter().find(|(given, _)| *given == id).map(|(_, on)| *on)
    }

    /// Whether an option was switched on.
    pub fn is_on(&self, id: Id) -> bool {
        self.switch(id) == Some(true)
    }
}

/// For an option that is accepted and changes nothing, and for those that print and exit.
fn nothing(_: &mut Config, _: &[u8]) -> Result<(), Bad> {
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
        nearest.offer(signal.to_string().trim_start_matches("SIG"));
    }
    nearest.found()
}

/// What is wrong with a value that may be meant to be this one.
fn like(meant: Option<String>) -> Bad {
    meant.map_or(Bad::Value, Bad::Like)
}

/// What is wrong with limits: the first name that is none, if it is like one.
fn limits_like(value: &[u8]) -> Bad {
    let mut names = value.split(|b| *b == b',').filter_map(|item| item.split(|b| *b == b'=').next());
    let wrong = names.find(|name| !matches!(*name, b"zombies" | b"pids")).unwrap_or_default();
    like(nearest(wrong, &["zombies", "pids"]).map(|name| format!("{name}=")))
}

fn duration(value: &[u8]) -> Result<Duration, Bad> {
    parse_duration(text(value)?).ok_or(Bad::Value)
}

fn path(value: &[u8]) -> Result<CString, Bad> {
    CString::new(value).ok().filter(|path| !path.is_empty()).ok_or(Bad::Value)
}

/// A signal that may ask foster to stop.
fn arriving(value: &[u8]) -> Result<Signal, Bad> {
    let signal = signal(value)?;
    if signal.is_catchable() && signal != Signal::CHLD {
        return Ok(signal);
    }
    Err(Bad::Because(format!("{signal} never arrives as a request")))
}

/// A signal that can reach foster.
fn catchable(value: &[u8]) -> Result<Signal, Bad> {
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

fn log_format(config: &mut Config, value: &[u8]) -> Result<(), Bad> {
    config.log.format = match value {
        b"text" => LogFormat::Text,
        b"json" => LogFormat::Json,
        _ => return Err(like(nearest(value, &["text", "json"]))),
    };
    Ok(())
}
