//! Turns the command line and the environment into a [`Config`], or into a text to print. Pure: no system call, no printing.
//!
//! [`OPTIONS`] is the one table: the parser, the names of the variables, the setters and the help text all come from it. When
//! foster is called by the name of another init, a [`Persona`] has a table of that init's words for the same options. What
//! is refused is said here, next to the row that says what is accepted.

use std::ffi::{CStr, CString};

use crate::config::{Config, Limits, LogConfig};

mod catatonit;
mod dumb_init;
mod expand;
mod help;
mod near;
mod options;
mod parse;
mod persona;
mod tini;
mod values;

pub use expand::{expand, expand_command};
pub use options::{Given, Id, OPTIONS, Opt, Source};
use parse::CommandLine;
pub use persona::Persona;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Run a command. The warnings are about the environment and are said once logging has started.
    Run(Box<Config<'a>>, Vec<String>),
    /// Print how this was understood, and where each setting comes from.
    Explain(Box<Config<'a>>, Given, Vec<String>),
    /// Look whether the container is healthy.
    Check(Limits, LogConfig),
    /// Print this to stdout and end with 0.
    Print(String),
}

/// Why the command line or the environment was refused, and how to say so.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One line that names the option or variable, the value, and what is accepted.
    pub message: String,
    /// The log settings, as far as they could be read. The refusal is said in that format and at that level.
    pub log: LogConfig,
    /// The termination log, which gets the reason too. `None` for a probe: it is not the container's start.
    pub termination_log: Option<CString>,
}

const PERSONAS: [&Persona; 3] = [&tini::PERSONA, &dumb_init::PERSONA, &catatonit::PERSONA];

impl Persona {
    /// The persona for `argv[0]`, of which only the last component counts.
    pub fn called(name: &CStr) -> Option<&'static Persona> {
        let name = name.to_bytes().rsplit(|b| *b == b'/').next()?;
        PERSONAS.into_iter().find(|persona| persona.names.iter().any(|known| known.as_bytes() == name))
    }
}

/// Reads the command line without `argv[0]`, and the environment. Options end at the first word that is not an option,
/// or at `--`. The words from there on are the command's: foster does not look at them.
///
/// # Errors
/// The first mistake. The rest is read all the same, because it says how the mistake is to be reported.
// Not inlined: the frame of main lives as long as foster, and would hold this one too. The same is true of other functions
// that run only at the start.
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
        line.apply_persona(persona, environment);
    }
    line.check(persona);
    let config = line.config;
    match line.fault {
        Some(mut message) => {
            message.push_str("; see ");
            message.push_str(&help::help_option(persona));
            let termination_log = config.termination_log.filter(|_| !line.is_check);
            Err(Refusal { message, log: config.log, termination_log })
        }
        None if line.is_check => Ok(Parsed::Check(config.limits, config.log)),
        None if config.explain => Ok(Parsed::Explain(Box::new(config), line.given, warnings)),
        None => Ok(Parsed::Run(Box::new(config), warnings)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Apart, AtEnd, LogFilter, LogFormat, Orphans, WatchConfig};
    use crate::signal::Signal;
    use options::Id;
    use persona::by_long;

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
            (c"FOSTER_STOP_SIGNAL=QUIT,HUP", |c| !c.stop_signals().contains(Signal::TERM)),
            (c"FOSTER_LEFTOVER_SIGNAL=QUIT", |c| c.leftover_signal == Some(Signal::QUIT)),
            (c"FOSTER_WAIT=1", |c| c.wait && c.ways.at_end == AtEnd::StopLeftovers),
            (c"FOSTER_WARN_ON_REAP=1", |c| c.log.warn_on_reap),
            (c"FOSTER_OK_EXIT=143", |c| c.ok_codes.contains(143)),
            (c"FOSTER_PARENT_DEATH=TERM", |c| c.parent_death == Some(Signal::TERM)),
            (c"FOSTER_SUBREAPER=1", |c| c.ways.orphans == Orphans::Adopted),
            (c"FOSTER_SINGLE_CHILD=1", |c| !c.group && c.ways.apart == Apart::Group),
            (c"FOSTER_USER=1000", |c| c.user.is_some()),
            (c"FOSTER_CHDIR=/tmp", |c| c.directory.is_some()),
            (c"FOSTER_EXPAND_ENV=1", |c| c.expand_env),
            (c"FOSTER_TERMINATION_LOG=/x", |c| c.termination_log.is_some()),
            (c"FOSTER_LOG_FORMAT=json", |c| c.log.format == LogFormat::Json),
            (c"FOSTER_VERBOSE=2", |c| c.log.verbosity == 2),
            (c"FOSTER_LOG=info", |c| c.log.filter == LogFilter::parse("info")),
            (c"FOSTER_CHECK=zombies=5", |_| true),
            (c"FOSTER_WATCH=zombies=5", |c| c.watch.is_some_and(|watch| watch.limits.zombies == 5)),
        ];
        // The one allows no command, the other runs none.
        let elsewhere = ["FOSTER_PAUSE", "FOSTER_EXPLAIN"];
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
            assert!(matches!(parse(persona, &words, &[c"FOSTER_EXPLAIN=1"]), Ok(Parsed::Explain(..))), "as {name}");
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
    fn a_watch_is_on_off_or_has_limits_in_a_word_of_its_own_or_not() {
        let on = |limits: &str| Some(WatchConfig::parse(limits).expect("limits"));
        let default = Some(WatchConfig::default());
        let cases: &[(&[&CStr], &[&CStr], Option<WatchConfig>)] = &[
            (&[], &[], None),
            (&[c"--watch"], &[], default),
            (&[c"--watch=zombies=5,every=10s"], &[], on("zombies=5,every=10s")),
            (&[c"--watch", c"every=10s"], &[], on("every=10s")),
            (&[], &[c"FOSTER_WATCH=1"], default),
            (&[], &[c"FOSTER_WATCH=Yes"], default),
            (&[], &[c"FOSTER_WATCH=zombies=5,every=10s"], on("zombies=5,every=10s")),
            (&[], &[c"FOSTER_WATCH=0"], None),
            (&[], &[c"FOSTER_WATCH=no"], None),
            (&[], &[c"FOSTER_WATCH="], None),
            (&[c"--watch"], &[c"FOSTER_WATCH=0"], default),
            (&[c"--watch=pids=5%"], &[c"FOSTER_WATCH=x"], on("pids=5%")),
        ];
        for (words, environment, expected) in cases {
            assert_eq!(parsed(c"foster", words, environment, |c| c.watch), *expected, "{words:?} {environment:?}");
        }
        // What follows and does not look like limits is the command.
        let words = [c"--watch", c"env", c"zombies=5"];
        let Ok(Parsed::Run(config, _)) = parse(None, &words, &[]) else { panic!() };
        assert_eq!((config.watch, config.command), (default, &words[1..]));
        assert!(
            parse(None, &[c"--watch=", c"true"], &[])
                .is_err_and(|bad| bad.message.contains("'' is not accepted; give"))
        );
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
        let quiet = (0, LogFilter::parse("error"));
        for (variable, expected) in [
            (c"TINI_VERBOSITY=0", quiet.clone()),
            (c"TINI_VERBOSITY=x", quiet),
            (c"TINI_VERBOSITY=1", (0, None)),
            (c"TINI_VERBOSITY=", (0, LogFilter::parse("error"))),
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
            by_long(persona, word).map(|opt| opt.id)
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
