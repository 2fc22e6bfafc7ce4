//! What `--help`, `--version` and `--license` print.

use std::fmt;

use super::options::{Id, OPTIONS, Opt, Section};
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

/// What a terminal has that nobody made wider.
const WIDTH: usize = 80;
/// Where the meaning of an option starts.
const MEANING_AT: usize = 30;

const SECTIONS: [(Section, &str); 5] = [
    (Section::Stopping, "Stopping"),
    (Section::Signals, "Signals"),
    (Section::User, "User and directory"),
    (Section::Said, "What is said"),
    (Section::Other, "Other"),
];

fn rows(options: &[Opt]) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for (section, heading) in SECTIONS {
            let mut rows = options.iter().filter(|opt| opt.own().section == section).peekable();
            if rows.peek().is_some() {
                writeln!(f, "\n{heading}:")?;
            }
            rows.try_for_each(|opt| row(f, opt))?;
        }
        Ok(())
    })
}

fn row(f: &mut fmt::Formatter<'_>, opt: &Opt) -> fmt::Result {
    let value = opt.value.map_or(String::new(), |(placeholder, _)| format!(" {placeholder}"));
    let words = match (opt.short, opt.long) {
        (Some(short), "") => format!("  -{short}{value}"),
        (Some(short), long) => format!("  -{short}, --{long}{value}"),
        (None, long) => format!("      --{long}{value}"),
    };
    let variable = opt.variable().map(|variable| format!("[{variable}]"));
    f.write_str(&words)?;
    let mut column = words.len();
    // One blank goes between words, and two before the first.
    let mut next = MEANING_AT;
    for word in opt.help.split(' ').chain(variable.as_deref()) {
        if next <= column || next.saturating_add(word.len()) > WIDTH {
            f.write_str("\n")?;
            (column, next) = (0, MEANING_AT);
        }
        let blanks = next.saturating_sub(column);
        write!(f, "{:blanks$}{word}", "")?;
        column = next.saturating_add(word.len());
        next = column.saturating_add(1);
    }
    f.write_str("\n")
}

/// The option that prints the help text, as it is called here.
pub fn help_option(persona: Option<&Persona>) -> String {
    let name = persona.map_or("foster", Persona::name);
    let has_long = |persona: &Persona| persona.options.iter().any(|opt| opt.long == "help");
    let option = if persona.is_none_or(has_long) { "--help" } else { "-h" };
    format!("{name} {option}")
}

fn persona_help(persona: &Persona) -> String {
    let name = persona.name();
    let rows = rows(persona.options);
    format!(
        "foster {}, running as {name}: same options, same behaviour.\n\
         \n\
         usage: {name} [OPTIONS] [--] COMMAND [ARG...]\n\
         {rows}\n\
         The FOSTER_ variables of foster --help work here too; FOSTER_GRACE=25s also\n\
         stops what COMMAND leaves behind.\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn help() -> String {
    let rows = rows(OPTIONS);
    format!(
        "foster: a container init. Runs COMMAND, passes signals to it, reaps every\n\
         orphan, and ends as COMMAND ended.\n\
         \n\
         usage: foster [OPTIONS] [--] COMMAND [ARG...]\n\
         {rows}\n\
         Each variable in brackets does what its option does; the option wins. A flag is\n\
         1, true, yes or on there, and 0, false, no or off leaves it out. -r, -e\n\
         and --stop-signal take lists: TERM:QUIT,HUP:0. FOSTER_LOG=LEVEL sets what is\n\
         said on stderr: off, error, warn (the default), info, debug, trace.\n\
         \n\
         --check prints zombies, which parent does not reap them, and pids in use; exit\n\
         code 0 healthy, 1 over a limit. LIMITS: zombies=N,pids=P% or one of them\n\
         (default 100, 90%). FOSTER_CHECK has LIMITS for --check; alone it does nothing.\n\
         --watch takes every=10s too, and FOSTER_WATCH 1, 0 or LIMITS.\n\
         \n\
         Exit code: COMMAND's, or 128+N when signal N ended it (by the same signal when\n\
         foster is not PID 1); 127 COMMAND not found, 126 found but not executable, 125\n\
         a failure of foster's own.\n"
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
