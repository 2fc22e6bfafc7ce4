//! What `--help`, `--version` and `--license` print.

use std::fmt;

use super::options::{Id, OPTIONS, Opt};
use super::persona::Persona;

/// What an option prints, if that is all that it does.
#[cold]
pub fn printed(id: Id, persona: Option<&Persona>) -> Option<String> {
    match id {
        Id::Help => Some(persona.map_or_else(help, persona_help)),
        Id::Version => Some(persona.map_or_else(version, |persona| persona.version.to_owned())),
        Id::License => Some(license()),
        _ => None,
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
        "foster {}, running as {name}: same options, same behaviour.\n\
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
