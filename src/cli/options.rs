//! foster's own options. One row is one option: its name, value, variable, setter and help.

use super::values::{
    Bad, FROM_TO, arriving, catchable, duration, limits, log_format, nothing, ok_exit, path, rewrite, signal, user,
    watch,
};
use crate::config::{Config, DURATION, LIMITS, USER, WATCH};
use crate::signal::ACCEPTED;

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
    Explain,
    Watch,
    TerminationLog,
    LogFormat,
    Verbose,
    /// `-vv` in one word, which some personas have.
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
    /// 1, 0 or the option's value, which it does not need.
    FlagOrValue,
    /// Several of the option's values, with commas between them.
    List,
    /// How many times the option counts as given.
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
    /// `None` in a persona's row: foster's own setter of the same option. `None` there: it changes nothing.
    pub set: Option<Setter>,
    /// What it does, in a line.
    pub help: &'static str,
}

/// The one table of options. The parser, the help text and the shells' completions are made from it, and a test holds the man
/// page against it.
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
        env: Env::Flag,
        ..Opt::flag(Id::Subreaper, 's', "subreaper", "accepted; already the default when not PID 1")
    },
    Opt { env: Env::Flag, ..Opt::flag(Id::SingleChild, 'c', "single-child", "accepted; already the default") },
    Opt {
        id: Id::User,
        section: Section::User,
        short: Some('u'),
        long: "user",
        value: Some(("USER[:GROUP]", USER)),
        env: Env::Value,
        set: Some(|config, value| {
            config.user = Some(user(value)?);
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
        id: Id::Explain,
        section: Section::Other,
        short: None,
        long: "explain",
        value: None,
        env: Env::Flag,
        set: Some(|config, _| {
            config.explain = true;
            Ok(())
        }),
        help: "print how all of this is understood, and where it comes from; runs nothing",
    },
    Opt {
        id: Id::Watch,
        section: Section::Other,
        short: None,
        long: "watch",
        // Optional, as that of --check.
        value: Some(("[LIMITS]", WATCH)),
        env: Env::FlagOrValue,
        set: Some(|config, value| {
            config.watch = Some(watch(value)?);
            Ok(())
        }),
        help: "look every 30 s as --check does, and warn when a limit is passed",
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
            config.limits = limits(value)?;
            Ok(())
        }),
        help: "health probe for zombies and pids; runs no command",
    },
    Opt::flag(Id::License, 'l', "license", "print the license and exit"),
    Opt::flag(Id::Version, 'V', "version", "print the version and exit"),
    Opt::flag(Id::Help, 'h', "help", "print this help and exit"),
];

impl Opt {
    /// An option that takes no value.
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

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    #[default]
    Option,
    /// The option's own variable.
    Variable,
    /// FOSTER_LOG.
    Log,
    /// A variable of the init that foster stands for.
    Peer,
}

/// What was asked for so far, whether it was switched on or off, and where. What comes first is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(Vec<(Id, bool, Source)>);

impl Given {
    /// Notes that an option was switched on or off.
    pub fn note(&mut self, id: Id, on: bool, source: Source) {
        self.0.push((id, on, source));
    }

    /// Notes that FOSTER_LOG sets the level, whatever else does.
    pub fn note_log(&mut self) {
        self.0.insert(0, (Id::Verbose, true, Source::Log));
    }

    /// Whether an option was switched on or off; `None`: nobody said anything about it.
    pub fn switch(&self, id: Id) -> Option<bool> {
        self.0.iter().find(|(given, ..)| *given == id).map(|(_, on, _)| *on)
    }

    /// Whether an option was switched on.
    pub fn is_on(&self, id: Id) -> bool {
        self.switch(id) == Some(true)
    }

    /// Where an option, or one that sets the same, was switched on or off.
    pub fn source(&self, id: Id) -> Option<Source> {
        let sets_it =
            |given: Id| given == id || matches!((given, id), (Id::Debug, Id::Verbose) | (Id::SingleChild, Id::Group));
        self.0.iter().find(|(given, ..)| sets_it(*given)).map(|(.., source)| *source)
    }
}
