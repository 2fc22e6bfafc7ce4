//! dumb-init: <https://github.com/Yelp/dumb-init>, 1.2.5.

use super::options::{Given, Id, Opt, Section};
use super::persona::{DEBUG, Persona, Wish, leading_number};
use super::values::{Bad, FROM_TO, rewrite};
use crate::config::{Apart, AtEnd, Config, Orphans};
use crate::exit::ExitCodes;
use crate::signal::Signal;

pub const PERSONA: Persona = Persona {
    names: &["dumb-init"],
    options: OPTIONS,
    abbreviates: true,
    version: concat!("dumb-init v1.2.5 (foster ", env!("CARGO_PKG_VERSION"), ")\n"),
    codes: ExitCodes { own_failure: 1, not_executable: 2, not_found: 2 },
    variable,
    adapt,
};

const OPTIONS: &[Opt] = &[
    Opt::flag(Id::SingleChild, 'c', "single-child", "signal the command alone, and give it no session of its own"),
    Opt {
        set: Some(numbers_or_names),
        ..Opt::valued(
            Id::Rewrite,
            'r',
            "rewrite",
            ("FROM:TO", FROM_TO),
            "forward TO when FROM arrives (repeat; TO 0: drop)",
        )
    },
    Opt {
        set: Some(debug),
        section: Section::Said,
        ..Opt::flag(Id::Debug, 'v', "verbose", "say all that there is to say at debug level")
    },
    Opt::flag(Id::Help, 'h', "help", "print this help and exit"),
    Opt::flag(Id::Version, 'V', "version", "print the version and exit"),
];

/// dumb-init reads `%d:%d`. It ignores what stands behind that, and it accepts SIGKILL, SIGSTOP and SIGCHLD, which are never
/// forwarded. What it does not read, foster reads in its own way.
fn numbers_or_names(config: &mut Config, value: &[u8]) -> Result<(), Bad> {
    let signal = |number: i64| Signal::new(i32::try_from(number).ok()?).filter(|signal| signal.number() <= MAXSIG);
    let numbers = || {
        let (from, rest) = leading_number(value)?;
        let (to, _) = leading_number(rest.strip_prefix(b":")?)?;
        let to = if to == 0 { None } else { Some(signal(to)?) };
        Some((signal(from)?, to))
    };
    let Some((from, to)) = numbers() else { return rewrite(config, value) };
    config.rewrites.set(from, to);
    Ok(())
}

fn debug(config: &mut Config, _: &[u8]) -> Result<(), Bad> {
    config.log.verbosity = DEBUG;
    Ok(())
}

/// The largest signal that dumb-init knows.
const MAXSIG: i32 = 31;

fn variable(name: &[u8], value: &[u8]) -> Option<Wish> {
    match (name, value) {
        (b"DUMB_INIT_DEBUG", b"1") => Some(Wish::Verbosity(DEBUG)),
        (b"DUMB_INIT_SETSID", b"0") => Some(Wish::Option(Id::SingleChild)),
        _ => None,
    }
}

/// In a session of its own no shell watches the command's process group, so the kernel lets no SIGTSTP stop it. SIGSTOP does.
fn adapt(config: &mut Config, given: &Given) {
    config.ways.ends_by_code = true;
    config.ways.codes = PERSONA.codes;
    let sees_to_leftovers = config.grace.is_some() || config.wait;
    if !sees_to_leftovers && !given.is_on(Id::Subreaper) {
        config.ways.orphans = Orphans::Elsewhere;
    }
    let has_session = !given.is_on(Id::SingleChild);
    config.ways.stops_when_told = true;
    if !sees_to_leftovers {
        config.ways.at_end = if has_session { AtEnd::AskGroup } else { AtEnd::Leave };
    }
    if has_session {
        config.ways.apart = Apart::Session;
        config.group = given.switch(Id::Group).unwrap_or(true);
        for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
            config.rewrites.default_to(signal, Signal::STOP);
        }
    }
}
