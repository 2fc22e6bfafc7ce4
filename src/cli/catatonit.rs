//! catatonit (`podman run --init` calls it podman-init): <https://github.com/openSUSE/catatonit>, 0.1.7.

use super::options::{Given, Id, Opt};
use super::persona::{DEBUG, Persona, Wish};
use crate::config::{AtEnd, Config};
use crate::exit::ExitCodes;

pub const PERSONA: Persona = Persona {
    names: &["catatonit", "podman-init"],
    options: OPTIONS,
    abbreviates: true,
    // catatonit calls itself tini here, for `docker info`.
    version: concat!("tini version 0.1.7_catatonit (foster ", env!("CARGO_PKG_VERSION"), ")\n"),
    codes: ExitCodes { own_failure: 1, not_executable: 1, not_found: 1 },
    variable,
    adapt,
};

const OPTIONS: &[Opt] = &[
    Opt::flag(Id::Group, 'g', "", "signal the command's whole process group"),
    Opt::flag(Id::Help, 'h', "", "print this help and exit"),
    Opt::flag(Id::License, 'L', "", "print the license and exit"),
    Opt::flag(Id::Pause, 'P', "", "run no command: reap, and end on SIGTERM or SIGINT"),
    Opt::flag(Id::Version, 'V', "version", "print the version and exit"),
];

/// It counts whatever its value is.
fn variable(name: &[u8], _: &[u8]) -> Option<Wish> {
    (name == b"CATATONIT_DEBUG").then_some(Wish::Verbosity(DEBUG))
}

fn adapt(config: &mut Config, _: &Given) {
    config.ways.ends_by_code = true;
    config.ways.codes = PERSONA.codes;
    if config.grace.is_none() && !config.wait {
        config.ways.at_end = AtEnd::Leave;
    }
}
