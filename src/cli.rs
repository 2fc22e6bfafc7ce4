//! The command line and the environment, to a [`Config`] or to a text to print. Pure: no system call, no printing.
//!
//! [`OPTIONS`] is the one table: the parser, the names of the environment variables and the help text all come from it.
//! A [`Persona`], which is what foster is when it is called by the name of another init, has a table of that init's words
//! for the same options.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use lexopt::Arg;

use crate::check::{LIMITS, Limits};
use crate::config::{Config, DURATION, LogConfig, LogFormat, parse_duration};
use crate::exit::ExitCodes;
use crate::output::TARGET;
use crate::proc::OneLine;
use crate::signal::{ACCEPTED, Signal};
use crate::user;

mod catatonit;
mod dumb_init;
mod tini;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Run a command. The warnings are about the environment and are said once logging has started.
    Run(Box<Config<'a>>, Vec<String>),
    /// Look whether the container is healthy.
    Check(Limits, LogConfig),
    /// Print this to stdout and end with 0.
    Print(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    Group,
    Rewrite,
    Grace,
    StopDelay,
    Wait,
    WarnOnReap,
    OkExit,
    ParentDeath,
    Subreaper,
    SingleChild,
    User,
    Chdir,
    Pause,
    TerminationLog,
    LogFormat,
    Verbose,
    /// Some personas': one word for `-vv`.
    Debug,
    Check,
    License,
    Version,
    Help,
}

/// What an option's variable in the environment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Env {
    /// There is none.
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

/// One option.
pub struct Opt {
    id: Id,
    /// `None`: the long form alone.
    pub short: Option<char>,
    /// Empty in a persona that has the short form alone.
    pub long: &'static str,
    /// The placeholder of its value in the help text, and what is accepted there; `None`: the option takes no value.
    pub value: Option<(&'static str, &'static str)>,
    env: Env,
    /// What it does, in a line.
    pub help: &'static str,
}

const CODE: &str = "a code from 0 to 255";
const FROM_TO: &str = "two signals by name or number, or TO 0 to drop FROM, for example TERM:QUIT";

/// foster's own options: what the parser, the help text, the man page and the completions of the shells all go by.
pub const OPTIONS: &[Opt] = &[
    Opt {
        id: Id::Group,
        short: Some('g'),
        long: "group",
        value: None,
        env: Env::Flag,
        help: "signal the command's whole process group",
    },
    Opt {
        id: Id::Rewrite,
        short: Some('r'),
        long: "rewrite",
        value: Some(("FROM:TO", FROM_TO)),
        env: Env::List,
        help: "forward TO when FROM arrives (repeat; TO 0: drop)",
    },
    Opt {
        id: Id::Grace,
        short: Some('k'),
        long: "grace",
        value: Some(("DURATION", DURATION)),
        env: Env::Value,
        help: "SIGKILL what is still alive this long after a stop request",
    },
    Opt {
        id: Id::StopDelay,
        short: None,
        long: "stop-delay",
        value: Some(("DURATION", DURATION)),
        env: Env::Value,
        help: "hold a stop request this long before forwarding it",
    },
    Opt {
        id: Id::WarnOnReap,
        short: Some('w'),
        long: "warn-on-reap",
        value: None,
        env: Env::Flag,
        help: "report reaped orphans as warnings instead of debug",
    },
    Opt {
        id: Id::Wait,
        short: None,
        long: "wait",
        value: None,
        env: Env::Flag,
        help: "outlive the command until its daemons have ended",
    },
    Opt {
        id: Id::OkExit,
        short: Some('e'),
        long: "ok-exit",
        value: Some(("CODE", "a code from 0 to 255, or stop")),
        env: Env::List,
        help: "report CODE as 0 (repeat); stop: the end by a stop request's own signal",
    },
    Opt {
        id: Id::ParentDeath,
        short: Some('p'),
        long: "parent-death",
        value: Some(("SIGNAL", ACCEPTED)),
        env: Env::Value,
        help: "get SIGNAL when foster's parent dies",
    },
    Opt {
        id: Id::Subreaper,
        short: Some('s'),
        long: "subreaper",
        value: None,
        env: Env::Flag,
        help: "accepted; already the default when not PID 1",
    },
    Opt {
        id: Id::SingleChild,
        short: Some('c'),
        long: "single-child",
        value: None,
        env: Env::Flag,
        help: "accepted; already the default",
    },
    Opt {
        id: Id::User,
        short: Some('u'),
        long: "user",
        value: Some(("USER[:GROUP]", user::ACCEPTED)),
        env: Env::Value,
        help: "run the command as USER, by name or id",
    },
    Opt {
        id: Id::Chdir,
        short: Some('C'),
        long: "chdir",
        value: Some(("DIR", "a directory")),
        env: Env::Value,
        help: "run the command in DIR",
    },
    Opt {
        id: Id::Pause,
        short: Some('P'),
        long: "pause",
        value: None,
        env: Env::Flag,
        help: "run no command: reap, and end on SIGTERM or SIGINT",
    },
    Opt {
        id: Id::TerminationLog,
        short: None,
        long: "termination-log",
        value: Some(("PATH", "the path of a file")),
        env: Env::Value,
        help: "append the reason of an abnormal end to PATH",
    },
    Opt {
        id: Id::LogFormat,
        short: None,
        long: "log-format",
        value: Some(("FORMAT", "text or json")),
        env: Env::Value,
        help: "say it as text (the default) or json, one object a line",
    },
    Opt {
        id: Id::Verbose,
        short: Some('v'),
        long: "verbose",
        value: None,
        env: Env::Count,
        help: "say more: info, -vv debug, -vvv trace",
    },
    Opt {
        id: Id::Check,
        short: None,
        long: "check",
        // Optional: it is either in the same word or looks like limits.
        value: Some(("[LIMITS]", LIMITS)),
        env: Env::Value,
        help: "health probe for zombies and pids; runs no command",
    },
    Opt {
        id: Id::License,
        short: Some('l'),
        long: "license",
        value: None,
        env: Env::None,
        help: "print the license and exit",
    },
    Opt {
        id: Id::Version,
        short: Some('V'),
        long: "version",
        value: None,
        env: Env::None,
        help: "print the version and exit",
    },
    Opt { id: Id::Help, short: Some('h'), long: "help", value: None, env: Env::None, help: "print this help and exit" },
];

/// FOSTER_LOG is no option's: it is a filter, `-v` is a level.
const LOG_VARIABLE: &str = "FOSTER_LOG";

/// What foster is when it is called by the name of another init: that init's words and ways.
pub struct Persona {
    /// What it is called by, the peer's own name first.
    names: &'static [&'static str],
    options: &'static [Opt],
    /// The peer reads its options with getopt_long(3), where an unambiguous beginning of a long option stands for it.
    abbreviates: bool,
    /// What `--version` says.
    version: &'static str,
    /// The peer's exit codes for failures.
    pub codes: ExitCodes,
    /// Takes an option's value where the peer reads it otherwise than foster, which reads the rest.
    take: fn(&mut Config, Id, &[u8]) -> bool,
    /// What one of the peer's own environment variables asks for, if it is one.
    variable: fn(&[u8], &[u8]) -> Option<Wish>,
    /// Takes on the peer's ways where nothing else was asked for.
    adapt: fn(&mut Config, &Given),
}

/// What a peer's environment variable asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// What this option does.
    Option(Id),
    /// Errors only.
    Quiet,
    /// As many `-v`.
    Verbosity(u8),
}

/// `-vv`.
const DEBUG: u8 = 2;

const PERSONAS: [&Persona; 3] = [&tini::PERSONA, &dumb_init::PERSONA, &catatonit::PERSONA];

impl Persona {
    /// The persona for what foster was called by, `argv[0]`, of which the last component counts.
    pub fn called(name: &CStr) -> Option<&'static Persona> {
        let name = name.to_bytes().rsplit(|b| *b == b'/').next()?;
        PERSONAS.into_iter().find(|persona| persona.names.iter().any(|known| known.as_bytes() == name))
    }

    fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

impl Opt {
    /// An option of a persona's that takes no value.
    const fn flag(id: Id, short: char, long: &'static str, help: &'static str) -> Opt {
        Opt { id, short: Some(short), long, value: None, env: Env::None, help }
    }

    /// An option of a persona's with a value.
    const fn valued(
        id: Id,
        short: char,
        long: &'static str,
        value: (&'static str, &'static str),
        help: &'static str,
    ) -> Opt {
        Opt { id, short: Some(short), long, value: Some(value), env: Env::None, help }
    }

    fn by_short(persona: Option<&Persona>, c: char) -> Option<&'static Opt> {
        persona.map_or(OPTIONS, |persona| persona.options).iter().find(|opt| opt.short == Some(c))
    }

    fn by_long(persona: Option<&Persona>, name: &str) -> Option<&'static Opt> {
        let options = persona.map_or(OPTIONS, |persona| persona.options);
        if let Some(exact) = options.iter().find(|opt| opt.long == name && !name.is_empty()) {
            return Some(exact);
        }
        let abbreviates = persona.is_some_and(|persona| persona.abbreviates);
        let mut meant = options.iter().filter(|opt| abbreviates && !opt.long.is_empty() && opt.long.starts_with(name));
        meant.next().filter(|_| meant.next().is_none())
    }

    /// `--warn-on-reap` is FOSTER_WARN_ON_REAP.
    fn by_variable(name: &[u8]) -> Option<&'static Opt> {
        OPTIONS.iter().find(|opt| opt.variable().is_some_and(|variable| variable.as_bytes() == name))
    }

    /// The variable in the environment that does what the option does.
    pub fn variable(&self) -> Option<String> {
        let name = || format!("FOSTER_{}", self.long.replace('-', "_").to_ascii_uppercase());
        (self.env != Env::None).then(name)
    }
}

/// A command line or an environment that foster does not take, and what the rest of it says about saying so.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One line that names the option or variable, the value, and what is accepted.
    pub message: String,
    /// What was asked for as far as it could be read: whoever wants JSON, or nothing at all, wants that of every line.
    pub log: LogConfig,
    /// Where the reason is to be left. A probe is not the container's start, so it leaves none.
    pub termination_log: Option<CString>,
}

/// Reads the command line, `argv[0]` left out, and the environment. The command's part is not looked at, whatever it
/// holds: options end at the first word that is none, or at `--`.
///
/// # Errors
/// The first thing that is wrong, after all the rest has been read too.
// Not inlined into main, which would keep its frame for ever; so are others that only a start runs.
#[inline(never)]
pub fn parse<'a>(
    persona: Option<&Persona>,
    args: &'a [&'a CStr],
    environment: &[&CStr],
) -> Result<Parsed<'a>, Refusal> {
    let mut line = CommandLine::default();
    if let Some(text) = line.read_options(persona, args) {
        return Ok(Parsed::Print(text));
    }
    let warnings = line.read_environment(environment);
    if let Some(persona) = persona {
        line.take_on(persona, environment);
    }
    line.check(persona);
    let config = line.config;
    match line.fault {
        Some(message) => {
            let termination_log = config.termination_log.filter(|_| !line.is_check);
            Err(Refusal { message, log: config.log, termination_log })
        }
        None if line.is_check => Ok(Parsed::Check(line.limits, config.log)),
        None => Ok(Parsed::Run(Box::new(config), warnings)),
    }
}

/// What is about a command has no meaning without one. Most of that is harmless, but somebody may rely on these.
#[cold]
fn check_pause(config: &Config) -> Result<(), String> {
    if let Some(word) = config.command.first() {
        return Err(format!("--pause runs no command, but '{}' was given", OneLine(word.to_bytes())));
    }
    if config.user.is_some() || config.directory.is_some() {
        return Err("--pause runs no command, so --user and --chdir are not accepted with it".to_owned());
    }
    Ok(())
}

/// What an option prints, if that is all that it does.
#[cold]
fn printed(id: Id, persona: Option<&Persona>) -> Option<String> {
    match id {
        Id::Help => Some(persona.map_or_else(help, persona_help)),
        Id::Version => Some(persona.map_or_else(version, |persona| persona.version.to_owned())),
        Id::License => Some(license()),
        _ => None,
    }
}

/// lexopt finds a value where none belongs (`--group=1`) only when it is asked for the next word.
fn next(parser: &mut lexopt::Parser) -> Result<Option<Arg<'_>>, String> {
    parser.next().map_err(|error| match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("option {option} takes no value, but '{}' was given", OneLine(value.as_bytes()))
        }
        other => other.to_string(),
    })
}

/// The number that a text begins with and what stands behind it, as strtol(3), atoi(3) and scanf(3) find it: blanks and a
/// sign may come first. One that is too large is the largest that there is.
fn leading_number(text: &[u8]) -> Option<(i64, &[u8])> {
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

/// The limits of `--check=LIMITS`, or the next word if it looks like some.
fn check_limits(parser: &mut lexopt::Parser) -> Option<OsString> {
    let looks_like_limits = |word: &OsStr| {
        let word = word.as_bytes();
        word.starts_with(b"zombies=") || word.starts_with(b"pids=")
    };
    parser.optional_value().or_else(|| parser.try_raw_args()?.next_if(looks_like_limits))
}

/// The FOSTER_ variables of the environment; an entry without `=` is none.
fn foster_variable(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    if !entry.starts_with(b"FOSTER_") {
        return None;
    }
    name_and_value(entry)
}

fn name_and_value(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = entry.iter().position(|b| *b == b'=')?;
    Some((entry.get(..equals)?, entry.get(equals.checked_add(1)?..)?))
}

#[cold]
fn log_filter(value: &[u8]) -> Result<Option<String>, String> {
    let bad = || {
        format!(
            "variable {LOG_VARIABLE}: '{}' is no log filter; a level is accepted (off, error, warn, info, debug, trace), \
             or foster=LEVEL",
            OneLine(value)
        )
    };
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    env_filter::Builder::new().try_parse(text).map_err(|_| bad())?;
    // The syntax takes any other word for the name of a module, and then `warning` or `foster:debug` would silence foster
    // altogether.
    let mut directives = text.split('/').next().unwrap_or_default().split(',').map(str::trim);
    let concerns_foster = |directive: &str| {
        let is_level = directive.parse::<log::LevelFilter>().is_ok();
        directive.is_empty() || is_level || directive.split('=').next() == Some(TARGET)
    };
    if !directives.all(concerns_foster) {
        return Err(bad());
    }
    Ok(Some(text.to_owned()))
}

/// The configuration as it is being read.
#[derive(Default)]
struct CommandLine<'a> {
    config: Config<'a>,
    given: Given,
    /// `--check` was given. Its variable has limits for it, and does not make a probe of a container's start.
    is_check: bool,
    limits: Limits,
    /// The first thing that is wrong.
    fault: Option<String>,
}

/// What was asked for so far, by options and by variables, and whether it was switched on or off.
#[derive(Clone, Default)]
struct Given(Vec<(Id, bool)>);

impl Given {
    /// Whether an option was switched on or off; `None`: nobody said anything about it.
    fn switch(&self, id: Id) -> Option<bool> {
        self.0.iter().find(|(given, _)| *given == id).map(|(_, on)| *on)
    }

    fn is_on(&self, id: Id) -> bool {
        self.switch(id) == Some(true)
    }
}

impl<'a> CommandLine<'a> {
    /// The options and the command behind them. Returns what is to be printed instead of running anything.
    fn read_options(&mut self, persona: Option<&Persona>, args: &'a [&'a CStr]) -> Option<String> {
        let words = args.iter().map(|arg| OsStr::from_bytes(arg.to_bytes()).to_owned());
        let mut parser = lexopt::Parser::from_args(words);
        loop {
            let (name, opt) = match next(&mut parser) {
                Ok(Some(Arg::Short(c))) => (format!("-{c}"), Opt::by_short(persona, c)),
                Ok(Some(Arg::Long(name))) => (format!("--{name}"), Opt::by_long(persona, name)),
                Ok(Some(Arg::Value(_))) => {
                    let rest = parser.raw_args().map_or(0, |raw| raw.as_slice().len());
                    let first = args.len().saturating_sub(rest).saturating_sub(1);
                    self.config.command = args.get(first..).unwrap_or_default();
                    return None;
                }
                Ok(None) => return None,
                Err(message) => {
                    self.refuse(message);
                    continue;
                }
            };
            let Some(opt) = opt else {
                let help = persona.map_or("foster --help".to_owned(), |persona| format!("{} -h", persona.name()));
                self.refuse(format!("unknown option '{}'; see {help}", OneLine(name.as_bytes())));
                continue;
            };
            if let Some(text) = printed(opt.id, persona) {
                match self.fault {
                    None => return Some(text),
                    Some(_) => continue,
                }
            }
            if let Err(message) = self.read_option(&mut parser, persona, &name, opt) {
                self.refuse(message);
            }
        }
    }

    #[cold]
    fn read_option(
        &mut self,
        parser: &mut lexopt::Parser,
        persona: Option<&Persona>,
        name: &str,
        opt: &Opt,
    ) -> Result<(), String> {
        let value = match opt.value {
            _ if opt.id == Id::Check => {
                self.is_check = true;
                let Some(limits) = check_limits(parser) else { return Ok(()) };
                Some(limits)
            }
            Some((placeholder, accepted)) => {
                Some(parser.value().map_err(|_| format!("option {name} needs {placeholder}: {accepted}"))?)
            }
            None => None,
        };
        let value = value.as_deref().map(OsStrExt::as_bytes);
        if let (Some(persona), Some(value)) = (persona, value)
            && (persona.take)(&mut self.config, opt.id, value)
        {
            self.given.0.push((opt.id, true));
            return Ok(());
        }
        self.apply(opt, value).map_err(|error| format!("option {name}: {error}"))
    }

    /// foster's own variables. Returns warnings about those that are none.
    fn read_environment(&mut self, environment: &[&CStr]) -> Vec<String> {
        let mut warnings = Vec::new();
        let by_flag = self.given.clone();
        for (name, value) in environment.iter().filter_map(|entry| foster_variable(entry.to_bytes())) {
            if name == LOG_VARIABLE.as_bytes() {
                match log_filter(value) {
                    Ok(filter) => self.config.log.filter = filter,
                    Err(message) => self.refuse(message),
                }
            } else if let Some(opt) = Opt::by_variable(name) {
                if !by_flag.is_on(opt.id)
                    && let Err(error) = self.apply_variable(opt, value)
                {
                    self.refuse(format!("variable {}: {error}", OneLine(name)));
                }
            } else {
                warnings.push(format!("{} is no variable of foster's; see foster --help", OneLine(name)));
            }
        }
        // What was asked on the command line wins over FOSTER_LOG, and that over FOSTER_VERBOSE.
        let verbose_by_flag = by_flag.is_on(Id::Verbose) || by_flag.is_on(Id::Debug);
        if self.config.log.filter.is_some() && !verbose_by_flag {
            self.config.log.verbosity = 0;
        }
        warnings
    }

    /// What is wrong with options that do not go together, or with the command.
    fn check(&mut self, persona: Option<&Persona>) {
        let Config { grace, stop_delay, .. } = self.config;
        if grace.is_some_and(|grace| grace <= stop_delay) && !stop_delay.is_zero() {
            self.refuse(
                "--stop-delay must be shorter than --grace, which counts from the stop request too: nothing would be \
                 left between the delay and SIGKILL"
                    .to_owned(),
            );
        }
        let command = self.config.command.first();
        if self.is_check {
            if let Some(word) = command {
                self.refuse(format!(
                    "option --check runs no command, but '{}' was given; limits are {LIMITS}",
                    OneLine(word.to_bytes())
                ));
            }
        } else if self.config.pause {
            if let Err(message) = check_pause(&self.config) {
                self.refuse(message);
            }
        } else if command.is_none() {
            let name = persona.map_or("foster", Persona::name);
            self.refuse(format!("no command given; usage: {name} [OPTIONS] [--] COMMAND [ARG...]"));
        }
    }

    fn refuse(&mut self, message: String) {
        self.fault.get_or_insert(message);
    }

    /// One option. The error says what is wrong with the value, without the option's name.
    #[cold]
    fn apply(&mut self, opt: &Opt, value: Option<&[u8]>) -> Result<(), String> {
        self.given.0.push((opt.id, true));
        let config = &mut self.config;
        let value = value.unwrap_or_default();
        let bad = || {
            let accepted = opt.value.map_or("", |(_, accepted)| accepted);
            format!("'{}' is not accepted; give {accepted}", OneLine(value))
        };
        let text = || std::str::from_utf8(value).map_err(|_| bad());
        let duration = || parse_duration(text()?).ok_or_else(bad);
        let path = || CString::new(value).ok().filter(|path| !path.is_empty()).ok_or_else(bad);
        match opt.id {
            Id::Group => config.group = true,
            Id::WarnOnReap => config.log.warn_on_reap = true,
            Id::Verbose => config.log.verbosity = config.log.verbosity.saturating_add(1),
            Id::Debug => config.log.verbosity = DEBUG,
            Id::Pause => config.pause = true,
            Id::Rewrite => {
                let text = text()?;
                config.rewrites.add(text).map_err(|e| format!("'{}' is not accepted: {e}", OneLine(value)))?;
            }
            Id::OkExit if value == b"stop" => config.ok_stop = true,
            Id::OkExit => {
                let text = text()?;
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                config.ok_codes.insert(text.parse().ok().filter(|_| digits).ok_or_else(bad)?);
            }
            Id::Grace => config.grace = Some(duration()?),
            Id::StopDelay => config.stop_delay = duration()?,
            Id::Wait => config.wait = true,
            Id::ParentDeath => {
                let text = text()?;
                config.parent_death = Some(text.parse::<Signal>().map_err(|_| bad())?);
            }
            Id::User => config.user = Some(user::Spec::parse(value).ok_or_else(bad)?),
            Id::Chdir => config.directory = Some(path()?),
            Id::TerminationLog => config.termination_log = Some(path()?),
            Id::LogFormat => {
                config.log.format = match value {
                    b"text" => LogFormat::Text,
                    b"json" => LogFormat::Json,
                    _ => return Err(bad()),
                }
            }
            Id::Check => self.limits = Limits::parse(text()?).ok_or_else(bad)?,
            Id::Subreaper | Id::SingleChild | Id::License | Id::Version | Id::Help => {}
        }
        Ok(())
    }

    /// What the peer's variables ask for, where no option of its and no FOSTER_ variable has said otherwise; and its ways.
    #[cold]
    fn take_on(&mut self, persona: &Persona, environment: &[&CStr]) {
        let level_is_set = self.config.log.filter.is_some() || self.config.log.verbosity > 0;
        for (name, value) in environment.iter().filter_map(|entry| name_and_value(entry.to_bytes())) {
            match (persona.variable)(name, value) {
                Some(Wish::Option(id)) if self.given.switch(id).is_none() => {
                    let opt = OPTIONS.iter().find(|opt| opt.id == id);
                    if let Some(Err(error)) = opt.map(|opt| self.apply(opt, None)) {
                        self.refuse(format!("variable {}: {error}", OneLine(name)));
                    }
                }
                Some(Wish::Quiet) if !level_is_set => self.config.log.filter = Some("error".to_owned()),
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
            Env::Flag => match value.to_ascii_lowercase().as_slice() {
                b"1" | b"true" | b"yes" | b"on" => self.apply(opt, None),
                b"" => Ok(()),
                b"0" | b"false" | b"no" | b"off" => {
                    self.given.0.push((opt.id, false));
                    Ok(())
                }
                _ => Err(format!("'{shown}' is not accepted; give 1 or 0")),
            },
            Env::Count => {
                let count = std::str::from_utf8(value).ok().and_then(|text| match text {
                    "" => Some(0),
                    text => text.parse::<u8>().ok().filter(|count| *count <= 3),
                });
                let count = count.ok_or_else(|| format!("'{shown}' is not accepted; give a number from 0 to 3"))?;
                (0..count).try_for_each(|_| self.apply(opt, None))
            }
            // Set from a variable that is not, it must not mean root.
            Env::Value if value.is_empty() && opt.id != Id::User => Ok(()),
            Env::Value => self.apply(opt, Some(value)),
            Env::List => {
                let mut items = value.split(|b| *b == b',').filter(|item| !item.is_empty());
                items.try_for_each(|item| self.apply(opt, Some(item)))
            }
        }
    }
}

fn rows(options: &[Opt]) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for opt in options {
            let value = opt.value.map_or(String::new(), |(placeholder, _)| format!(" {placeholder}"));
            let variable = opt.variable().map_or(String::new(), |variable| format!(" [{variable}]"));
            let words = match (opt.short, opt.long) {
                (Some(short), "") => format!("-{short}{value}"),
                (Some(short), long) => format!("-{short}, --{long}{value}"),
                (None, long) => format!("    --{long}{value}"),
            };
            writeln!(f, "  {words:<28} {}{variable}", opt.help)?;
        }
        Ok(())
    })
}

fn persona_help(persona: &Persona) -> String {
    let name = persona.name();
    let rows = rows(persona.options);
    format!(
        "foster {} in the place of {name}, whose options it takes and whose ways it has.\n\
         \n\
         usage: {name} [OPTIONS] [--] COMMAND [ARG...]\n\
         \n\
         {rows}\n\
         The FOSTER_ variables of foster --help work here too; FOSTER_GRACE=25s also stops what COMMAND leaves behind.\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn help() -> String {
    let rows = rows(OPTIONS);
    format!(
        "foster: a container init. Runs COMMAND, passes signals to it, reaps every orphan, and ends as COMMAND ended.\n\
         \n\
         usage: foster [OPTIONS] [--] COMMAND [ARG...]\n\
         \n\
         {rows}\n\
         Each variable in brackets does what its option does; the option wins. Lists take commas.\n\
         FOSTER_LOG=LEVEL sets what is said on stderr: off, error, warn (the default), info, debug, trace.\n\
         \n\
         --check prints zombies, which parent does not reap them, and pids in use; exit code 0 healthy, 1 over a limit.\n\
         LIMITS: zombies=N,pids=P% or one of them (default 100, 90%). FOSTER_CHECK has LIMITS for --check; alone it does nothing.\n\
         \n\
         Exit code: COMMAND's, or 128+N when signal N ended it (when foster is not PID 1: by the same signal);\n\
         127 COMMAND not found, 126 found but not executable, 125 a failure of foster's own.\n"
    )
}

fn version() -> String {
    format!("foster {}\n", env!("CARGO_PKG_VERSION"))
}

fn license() -> String {
    let mut text = String::from("foster is licensed under MIT OR Apache-2.0, at your choice. The MIT license:\n\n");
    text.push_str(MIT);
    text
}

const MIT: &str = "\
Copyright (c) the foster authors

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Apart, AtEnd, Orphans};

    fn everybody() -> impl Iterator<Item = Option<&'static Persona>> {
        std::iter::once(None).chain(PERSONAS.into_iter().map(Some))
    }

    /// Parses for a persona by its name, or for foster, and hands on what comes of it.
    fn parsed<T>(name: &CStr, words: &[&CStr], environment: &[&CStr], check: impl FnOnce(&Config) -> T) -> T {
        let words: Vec<&CStr> = words.iter().copied().chain([c"--", c"true"]).collect();
        match parse(Persona::called(name), &words, environment).expect("accepted") {
            Parsed::Run(config, warnings) => {
                assert_eq!(warnings, Vec::<String>::new());
                check(&config)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_component_of_the_name_makes_the_persona() {
        for (name, persona) in [
            (c"tini", Some("tini")),
            (c"/sbin/docker-init", Some("tini")),
            (c"./tini-static", Some("tini")),
            (c"/usr/bin/dumb-init", Some("dumb-init")),
            (c"/run/podman-init", Some("catatonit")),
            (c"catatonit", Some("catatonit")),
            (c"foster", None),
            (c"", None),
            (c"tini/foster", None),
            (c"xtini", None),
        ] {
            assert_eq!(Persona::called(name).map(Persona::name), persona, "{name:?}");
        }
    }

    #[test]
    fn every_variable_works_alone_in_every_persona() {
        type Check = fn(&Config) -> bool;
        let cases: &[(&CStr, Check)] = &[
            (c"FOSTER_GROUP=1", |c| c.group),
            (c"FOSTER_REWRITE=15:3", |c| c.rewrites.apply(Signal::TERM) == Some(Signal::QUIT)),
            (c"FOSTER_GRACE=25s", |c| c.grace.is_some() && c.ways.at_end == AtEnd::StopLeftovers),
            (c"FOSTER_STOP_DELAY=5s", |c| !c.stop_delay.is_zero()),
            (c"FOSTER_WAIT=1", |c| c.wait && c.ways.at_end == AtEnd::StopLeftovers),
            (c"FOSTER_WARN_ON_REAP=1", |c| c.log.warn_on_reap),
            (c"FOSTER_OK_EXIT=143", |c| c.ok_codes.contains(143)),
            (c"FOSTER_PARENT_DEATH=TERM", |c| c.parent_death == Some(Signal::TERM)),
            (c"FOSTER_SUBREAPER=1", |c| c.ways.orphans == Orphans::Adopted),
            (c"FOSTER_SINGLE_CHILD=1", |c| !c.group && c.ways.apart == Apart::Group),
            (c"FOSTER_USER=1000", |c| c.user.is_some()),
            (c"FOSTER_CHDIR=/tmp", |c| c.directory.is_some()),
            (c"FOSTER_TERMINATION_LOG=/x", |c| c.termination_log.is_some()),
            (c"FOSTER_LOG_FORMAT=json", |c| c.log.format == LogFormat::Json),
            (c"FOSTER_VERBOSE=2", |c| c.log.verbosity == 2),
            (c"FOSTER_LOG=info", |c| c.log.filter.as_deref() == Some("info")),
            (c"FOSTER_CHECK=zombies=5", |_| true),
        ];
        // It allows no command.
        let elsewhere = ["FOSTER_PAUSE"];
        for opt in OPTIONS.iter().filter_map(Opt::variable) {
            let is_here = cases.iter().any(|(case, _)| case.to_bytes().starts_with(format!("{opt}=").as_bytes()));
            assert!(is_here || elsewhere.contains(&opt.as_str()), "{opt} has no case");
        }
        for persona in everybody() {
            let name = persona.map_or("foster", Persona::name);
            let argv0 = std::ffi::CString::new(name).expect("no NUL");
            for (variable, check) in cases {
                assert!(parsed(&argv0, &[], &[variable], check), "{variable:?} as {name}");
            }
            assert!(parse(persona, &[], &[c"FOSTER_PAUSE=1"]).is_ok(), "as {name}");
            let words = [c"true"];
            let unknown = parse(persona, &words, &[c"FOSTER_X=1"]).expect("a warning only");
            assert!(matches!(unknown, Parsed::Run(_, warnings) if warnings.len() == 1), "as {name}");
            let bad = parse(persona, &words, &[c"FOSTER_GRACE=soon"]).expect_err("refused");
            assert!(bad.message.starts_with("variable FOSTER_GRACE: 'soon' is not accepted"), "{bad:?}");
        }
    }

    #[test]
    fn a_flag_beats_a_variable_and_that_a_default_and_fosters_variable_the_peers() {
        let at = |c: &Config| c.parent_death.map(|signal| signal.to_string());
        assert_eq!(parsed(c"tini", &[c"-p", c"HUP"], &[c"FOSTER_PARENT_DEATH=TERM"], at).as_deref(), Some("SIGHUP"));
        let group = |c: &Config| c.group;
        assert!(parsed(c"dumb-init", &[], &[], group));
        assert!(!parsed(c"dumb-init", &[], &[c"FOSTER_GROUP=0"], group));
        assert!(parsed(c"tini", &[c"-g"], &[c"FOSTER_GROUP=0"], group));
        assert!(parsed(c"tini", &[], &[c"TINI_KILL_PROCESS_GROUP="], group));
        assert!(!parsed(c"tini", &[], &[c"TINI_KILL_PROCESS_GROUP=", c"FOSTER_GROUP=0"], group));
        assert!(!parsed(c"foster", &[], &[c"TINI_KILL_PROCESS_GROUP="], group), "tini's alone");
        let orphans = |c: &Config| c.ways.orphans;
        assert_eq!(parsed(c"tini", &[], &[], orphans), Orphans::ElsewhereWithWarning);
        assert_eq!(
            parsed(c"tini", &[], &[c"TINI_SUBREAPER=", c"FOSTER_SUBREAPER=0"], orphans),
            Orphans::ElsewhereWithWarning
        );
        for words in [&[c"-s"][..], &[]] {
            let environment: &[&CStr] = if words.is_empty() { &[c"TINI_SUBREAPER="] } else { &[] };
            assert_eq!(parsed(c"tini", words, environment, orphans), Orphans::Adopted);
        }
        let apart = |c: &Config| c.ways.apart;
        assert_eq!(parsed(c"dumb-init", &[], &[c"DUMB_INIT_SETSID=0"], apart), Apart::Group);
        assert_eq!(
            parsed(c"dumb-init", &[], &[c"DUMB_INIT_SETSID=0", c"FOSTER_SINGLE_CHILD=0"], apart),
            Apart::Session
        );
    }

    #[test]
    fn a_log_filter_is_accepted_if_each_part_of_it_concerns_foster() {
        let filter = |text: &str| log_filter(text.as_bytes());
        for text in ["debug", "OFF", "foster", "foster=debug", " foster=debug , warn", "foster=", "info/SIGTERM"] {
            assert_eq!(filter(text), Ok(Some(text.to_owned())), "{text}");
        }
        assert_eq!(filter(" "), Ok(None));
        for text in
            ["warning", "foster:debug", "foster.debug", "foster-debug", "foster_debug", "fosterx=debug", "foster::x"]
                .into_iter()
                .chain([
                    "foster::x=debug",
                    "foster =debug",
                    "foste=debug",
                    "Foster=debug",
                    "foster=loud",
                    "foster=debug=info",
                ])
                .chain(["warn,foster:debug", "app=debug", "=debug", "warn/a/b"])
        {
            assert!(filter(text).is_err_and(|error| error.contains("is no log filter")), "{text}");
        }
    }

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

    #[test]
    fn dumb_inits_numbers_are_taken_as_it_takes_them_and_names_as_foster_does() {
        let rewritten = |words: &[&CStr], number| {
            let from = Signal::new(number).expect("a signal");
            parsed(c"dumb-init", words, &[], |c| c.rewrites.apply(from).map_or(0, Signal::number))
        };
        for (value, from, to) in [
            (c"15:3", 15, 3),
            (c"15:3x", 15, 3),
            (c"15:3:4", 15, 3),
            (c" +15: 3", 15, 3),
            (c"1:0", 1, 0),
            (c"9:15", 1, 1),
            (c"17:15", 1, 1),
            (c"TERM:QUIT", 15, 3),
            (c"15:34", 15, 34),
        ] {
            assert_eq!(rewritten(&[c"-r", value], from), to, "{value:?}");
        }
        for (persona, value) in
            [(c"dumb-init", c"0:15"), (c"dumb-init", c"15 :3"), (c"foster", c"15:3x"), (c"foster", c"9:15")]
        {
            assert!(parse(Persona::called(persona), &[c"-r", value, c"true"], &[]).is_err(), "{persona:?} {value:?}");
        }
    }

    #[test]
    fn tinis_codes_are_taken_as_it_takes_them() {
        let is_ok = |value: &CStr, code| parsed(c"tini", &[c"-e", value], &[], |c| c.ok_codes.contains(code));
        for (value, code) in [(c"5", 5), (c"+5", 5), (c" 5", 5), (c"-0", 0), (c"0255", 255)] {
            assert!(is_ok(value, code), "{value:?}");
        }
        assert!(!is_ok(c"", 1), "accepted, and nothing comes of it");
        for (persona, value) in
            [(c"tini", c"5 "), (c"tini", c"5x"), (c"tini", c"256"), (c"tini", c"-1"), (c"tini", c" ")]
                .into_iter()
                .chain([(c"foster", c"+5"), (c"foster", c"")])
        {
            assert!(parse(Persona::called(persona), &[c"-e", value, c"true"], &[]).is_err(), "{persona:?} {value:?}");
        }
    }

    #[test]
    fn the_peers_words_for_verbosity_are_levels_here() {
        let level = |c: &Config| (c.log.verbosity, c.log.filter.clone());
        let quiet = (0, Some("error".to_owned()));
        for (variable, expected) in [
            (c"TINI_VERBOSITY=0", quiet.clone()),
            (c"TINI_VERBOSITY=x", quiet),
            (c"TINI_VERBOSITY=1", (0, None)),
            (c"TINI_VERBOSITY=", (0, Some("error".to_owned()))),
            (c"TINI_VERBOSITY=3", (2, None)),
            (c"TINI_VERBOSITY= 3 ", (2, None)),
            (c"TINI_VERBOSITY=2x", (1, None)),
            (c"TINI_VERBOSITY=4", (3, None)),
            (c"TINI_VERBOSITY=300", (3, None)),
            (c"TINI_VERBOSITY=-1", (3, None)),
        ] {
            assert_eq!(parsed(c"tini", &[], &[variable], level), expected, "{variable:?}");
        }
        assert_eq!(parsed(c"tini", &[c"-v"], &[c"TINI_VERBOSITY=0"], level), (1, None));
        assert_eq!(parsed(c"tini", &[], &[c"FOSTER_VERBOSE=3", c"TINI_VERBOSITY=0"], level), (3, None));
        assert_eq!(parsed(c"dumb-init", &[c"-v"], &[], level), (2, None));
        assert_eq!(parsed(c"dumb-init", &[], &[c"DUMB_INIT_DEBUG=0"], level), (0, None));
        assert_eq!(parsed(c"catatonit", &[], &[c"CATATONIT_DEBUG=0"], level), (2, None));
    }

    #[test]
    fn an_unambiguous_beginning_is_enough_where_the_peer_says_so() {
        let long = |name: &str, word: &str| {
            let persona = PERSONAS.into_iter().find(|persona| persona.name() == name);
            Opt::by_long(persona, word).map(|opt| opt.id)
        };
        assert_eq!(long("dumb-init", "s"), Some(Id::SingleChild));
        assert_eq!(long("dumb-init", "verb"), Some(Id::Debug));
        assert_eq!(long("dumb-init", "ver"), None, "verbose or version");
        assert_eq!(long("dumb-init", ""), None);
        assert_eq!(long("catatonit", "v"), Some(Id::Version));
        assert_eq!(long("tini", "vers"), None);
        assert_eq!(long("foster", "vers"), None);
    }

    /// As the docker daemon reads it: the version between `tini version ` and ` - git.`, and then the commit, of which it
    /// takes as many characters from the one that it expects (moby/moby, daemon/info_unix.go).
    #[test]
    fn docker_info_understands_the_version() {
        let (version, commit) = tini::PERSONA.version.trim().split_once(" - git.").expect("a commit");
        assert!(version.starts_with("tini version 0.19.0 ") && !commit.contains('.'), "{version} {commit}");
        assert_eq!(commit.len(), 7);
        assert!(catatonit::PERSONA.version.starts_with("tini version "));
    }
}
