//! tini (`docker run --init` calls it docker-init): <https://github.com/krallin/tini>, 0.19.0.

use super::options::{Given, Id, Opt};
use super::persona::{Persona, Wish, leading_number};
use super::values::{Bad, CODE};
use crate::config::{AtEnd, Config, Orphans};
use crate::exit::ExitCodes;
use crate::signal::ACCEPTED;

pub const PERSONA: Persona = Persona {
    names: &["tini", "tini-static", "docker-init"],
    options: OPTIONS,
    abbreviates: false,
    // `docker info` cuts this apart at " - git." and compares the commit with that of the tini it was built with
    // (moby/moby, daemon/info_unix.go, parseInitVersion).
    version: concat!("tini version 0.19.0 (foster ", env!("CARGO_PKG_VERSION"), ") - git.de40ad0\n"),
    codes: ExitCodes { own_failure: 1, not_executable: 126, not_found: 127 },
    variable,
    adapt,
};

const OPTIONS: &[Opt] = &[
    Opt::flag(Id::Subreaper, 's', "", "become a subreaper, so that orphans come here where it is not PID 1"),
    Opt::valued(Id::ParentDeath, 'p', "", ("SIGNAL", ACCEPTED), "get SIGNAL when the parent dies"),
    Opt::flag(Id::Verbose, 'v', "", "say more: info, -vv debug, -vvv trace"),
    Opt::flag(Id::WarnOnReap, 'w', "", "report reaped orphans as warnings instead of debug"),
    Opt::flag(Id::Group, 'g', "", "signal the command's whole process group"),
    Opt { set: Some(ok_exit), ..Opt::valued(Id::OkExit, 'e', "", ("CODE", CODE), "report CODE as 0 (repeat)") },
    Opt::flag(Id::License, 'l', "", "print the license and exit"),
    Opt { id: Id::Version, short: None, ..Opt::flag(Id::Version, 'V', "version", "print the version and exit") },
    Opt::flag(Id::Help, 'h', "", "print this help and exit"),
];

/// The first two count whatever their value is.
fn variable(name: &[u8], value: &[u8]) -> Option<Wish> {
    match name {
        b"TINI_SUBREAPER" => Some(Wish::Option(Id::Subreaper)),
        b"TINI_KILL_PROCESS_GROUP" => Some(Wish::Option(Id::Group)),
        b"TINI_VERBOSITY" => Some(verbosity(value)),
        _ => None,
    }
}

/// tini's 0 is errors only, and its default is 1. It reads the number with atoi(3), which makes 0 of what is no number, and
/// it compares without a sign, so a negative number is a large one.
fn verbosity(value: &[u8]) -> Wish {
    match leading_number(value).map_or(0, |(number, _)| number) {
        0 => Wish::Quiet,
        1 => Wish::Verbosity(0),
        2 => Wish::Verbosity(1),
        3 => Wish::Verbosity(2),
        _ => Wish::Verbosity(3),
    }
}

/// tini reads a code with strtol(3), which skips blanks, takes a plus sign, and makes 0 of an empty text.
fn ok_exit(config: &mut Config, value: &[u8]) -> Result<(), Bad> {
    let code = match leading_number(value) {
        Some((number, b"")) => u8::try_from(number).ok(),
        None if value.is_empty() => Some(0),
        _ => None,
    };
    config.ok_codes.insert(code.ok_or(Bad::Value)?);
    Ok(())
}

/// To stop leftovers, foster must get the orphans.
fn adapt(config: &mut Config, given: &Given) {
    config.ways.ends_by_code = true;
    config.ways.codes = PERSONA.codes;
    config.ways.orphans = Orphans::ElsewhereWithWarning;
    if config.grace.is_some() || config.wait || given.is_on(Id::Subreaper) {
        config.ways.orphans = Orphans::Adopted;
    }
    if config.grace.is_none() && !config.wait {
        config.ways.at_end = AtEnd::Leave;
    }
}
