//! What `--explain` prints: how foster understood its command line and its environment, and what would happen.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::words::Span;
use crate::cli::{Given, Id, OPTIONS, Persona, Source};
use crate::config::{AtEnd, Config, LogFormat, Orphans};
use crate::exit::ExitCodes;
use crate::explain::Seen;
use crate::output::{Line, Object};
use crate::policy::{CALL_AFTER_REQUEST, last_call_before};
use crate::signal::Signal;
use crate::sys::Ids;
use crate::text::OneLine;
use crate::user::User;

/// All that there is to explain.
pub struct Explanation<'a> {
    pub config: &'a Config<'a>,
    /// Where the settings come from.
    pub given: &'a Given,
    pub persona: Option<&'a Persona>,
    pub seen: &'a Seen,
    pub warnings: &'a [String],
}

/// Takes what something is called, and what it is.
type Say<'a> = dyn FnMut(&str, &dyn Display) + 'a;

impl Explanation<'_> {
    /// What is printed: lines for people, or one JSON object on one line.
    #[cold]
    pub fn print(&self) -> String {
        match self.config.log.format {
            LogFormat::Text => fmt::from_fn(|f| self.write_text(f)).to_string(),
            LogFormat::Json => {
                let mut line = Line::new();
                line.object(|object| self.members(object));
                String::from_utf8_lossy(line.finish()).into_owned()
            }
        }
    }

    /// 0 if the command would be started, or else the code that foster would end with.
    pub fn code(&self) -> u8 {
        let codes: ExitCodes = self.config.ways.codes;
        self.seen.failure.as_ref().map_or(0, |failure| codes.of(failure.code))
    }

    fn write_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        let mut line = |text: fmt::Arguments<'_>| result = result.and_then(|()| f.write_fmt(text));
        self.facts(&mut |name, fact| line(format_args!("{name:<10}{fact}\n")));
        line(format_args!("\nsettings:\n"));
        self.settings(&mut |name, value, source| line(format_args!("  {name:<17} {value:<22} {source}\n")));
        line(format_args!("\non {}:\n", self.stop_signal()));
        self.stop(&mut |_, sentence| line(format_args!("  {sentence}\n")));
        if let Some(failure) = &self.seen.failure {
            line(format_args!("\nit would not start (exit code {}):\n  {}\n", self.code(), failure.message));
        }
        for (i, warning) in self.warnings.iter().enumerate() {
            line(format_args!("{}  {warning}\n", if i == 0 { "\nwarnings:\n" } else { "" }));
        }
        result
    }

    fn members(&self, object: &mut Object<'_>) {
        self.facts(&mut |name, fact| object.text(name, fact));
        object.plain("exit_code", self.code());
        if let Some(failure) = &self.seen.failure {
            object.text("failure", &failure.message);
        }
        object.text("stop_signal", self.stop_signal());
        self.stop(&mut |name, sentence| object.text(name, sentence));
        object.object("settings", &mut |object| {
            self.settings(&mut |name, value, source| {
                object.object(name, &mut |object| {
                    object.text("value", value);
                    object.text("source", source);
                });
            });
        });
        object.list("warnings", self.warnings.iter(), |object, warning| object.text("warning", warning));
    }

    #[inline(never)]
    fn facts(&self, say: &mut Say) {
        say("command", &self.command());
        say(
            "file",
            &fmt::from_fn(|f| match &self.seen.file {
                Some(file) => OneLine(file.to_bytes()).fmt(f),
                None => f.write_str("none"),
            }),
        );
        say("user", &self.user());
        say("directory", &OneLine(self.seen.directory.as_os_str().as_encoded_bytes()));
        say("orphans", &self.orphans());
    }

    /// The words with a blank between them, those in quotes that a shell would not take as one.
    fn command(&self) -> impl Display {
        fmt::from_fn(|f| {
            if self.config.pause {
                return f.write_str("none (--pause)");
            }
            for (i, word) in self.seen.words(self.config).enumerate() {
                f.write_str(if i == 0 { "" } else { " " })?;
                let word = word.to_bytes();
                let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(b);
                let quote = if !word.is_empty() && word.iter().all(is_plain) { "" } else { "'" };
                write!(f, "{quote}{}{quote}", OneLine(word))?;
            }
            Ok(())
        })
    }

    fn user(&self) -> impl Display {
        fmt::from_fn(|f| match (&self.seen.user, &self.config.user, self.seen.own) {
            (Some(User { identity, .. }), Some(user), _) => {
                write!(f, "{user}: uid {}, gid {}, groups", identity.uid, identity.gid)?;
                identity.groups.iter().try_for_each(|group| write!(f, " {group}"))
            }
            (_, None, Some(Ids { uid, gid })) => write!(f, "uid {uid}, gid {gid}, as foster"),
            _ => f.write_str("unknown"),
        })
    }

    /// Who reaps them.
    fn orphans(&self) -> &'static str {
        match self.config.ways.orphans {
            _ if self.seen.is_pid1 => "come to foster, which is PID 1",
            Orphans::Adopted => "come to foster, which is not PID 1 but a subreaper",
            _ => "go to another process: foster is not PID 1, and no subreaper",
        }
    }

    /// Says name, value and source of all that can be set.
    #[inline(never)]
    fn settings(&self, say: &mut dyn FnMut(&str, &str, &dyn Display)) {
        for opt in OPTIONS {
            let Some(value) = value(opt.id, self.config) else { continue };
            let by_persona =
                || self.persona.filter(|_| Some(&value) != self::value(opt.id, &Config::default()).as_ref());
            let source = fmt::from_fn(|f| match self.given.source(opt.id) {
                Some(Source::Option) => f.write_str("option"),
                Some(Source::Variable) => f.write_str(&opt.variable().unwrap_or_default()),
                Some(Source::Log) => f.write_str("FOSTER_LOG"),
                Some(Source::Peer) => f.write_str("variable of that init"),
                None => f.write_str(by_persona().map_or("default", Persona::name)),
            });
            // -v, FOSTER_VERBOSE and FOSTER_LOG set the same.
            say(if opt.id == Id::Verbose { "level" } else { opt.long }, &value, &source);
        }
    }

    /// The stop request to explain: SIGTERM if it is one.
    fn stop_signal(&self) -> Signal {
        let signals = self.config.stop_signals();
        let first = || (1..=64).filter_map(Signal::new).find(|signal| signals.contains(*signal));
        if signals.contains(Signal::TERM) { Signal::TERM } else { first().unwrap_or(Signal::TERM) }
    }

    /// Says what happens when that arrives.
    #[inline(never)]
    fn stop(&self, say: &mut Say) {
        if self.config.pause {
            return say("request", &"It ends foster, with exit code 0. There is nobody to wait for.");
        }
        say("request", &self.request());
        say("leftovers", &self.leftovers());
        say("limit", &self.limit());
    }

    fn request(&self) -> impl Display {
        fmt::from_fn(|f| {
            let signal = self.stop_signal();
            let Some(sent) = self.config.rewrites.apply(signal) else {
                return f.write_str("The command does not get it, as --rewrite says.");
            };
            f.write_str(if self.config.group { "The command's process group" } else { "The command" })?;
            write!(f, " gets {}", if sent == signal { "it".to_owned() } else { sent.to_string() })?;
            match self.config.stop_delay {
                Duration::ZERO => f.write_str(" at once."),
                delay => write!(f, " {} later, or at once when a second request comes.", Span(delay)),
            }
        })
    }

    fn leftovers(&self) -> impl Display {
        fmt::from_fn(|f| {
            f.write_str("When the command has ended, ")?;
            match self.config.ways.at_end {
                AtEnd::StopLeftovers => {
                    let signal = self.config.leftover_signal.unwrap_or(Signal::TERM);
                    write!(f, "what it left behind gets {signal}, and foster waits for it.")
                }
                AtEnd::AskGroup => f.write_str("the rest of its process group gets SIGTERM, and foster ends."),
                AtEnd::Leave => f.write_str("foster ends, whatever it left behind."),
            }
        })
    }

    fn limit(&self) -> impl Display {
        fmt::from_fn(|f| {
            if let Some(grace) = self.config.grace {
                let (grace, last_call) = (Span(grace), Span(last_call_before(grace)));
                return write!(
                    f,
                    "Who is still alive after {grace} gets SIGKILL; who was not asked until {last_call} before that is asked then."
                );
            }
            if self.config.ways.at_end == AtEnd::StopLeftovers {
                write!(f, "Who was not asked until then is asked after {}. ", Span(CALL_AFTER_REQUEST))?;
            }
            f.write_str(
                "foster sets no limit; the platform does: docker stop 10 s, Kubernetes and ECS 30 s, unless changed.",
            )
        })
    }
}

/// Whether a flag is on; `None` for an option that is none.
fn flag(id: Id, config: &Config) -> Option<bool> {
    Some(match id {
        Id::Group => config.group,
        Id::Wait => config.wait,
        Id::WarnOnReap => config.log.warn_on_reap,
        Id::Subreaper => config.ways.orphans == Orphans::Adopted,
        Id::Pause => config.pause,
        Id::ExpandEnv => config.expand_env,
        _ => return None,
    })
}

/// A setting's value; `None` for an option that sets nothing.
fn value(id: Id, config: &Config) -> Option<String> {
    if let Some(is_on) = flag(id, config) {
        return Some(if is_on { "yes" } else { "no" }.to_owned());
    }
    let mut text = String::new();
    let signals = || (1..=64).filter_map(Signal::new);
    let mut add = |item: &dyn Display| {
        let comma = if text.is_empty() { "" } else { "," };
        // A String takes everything.
        let _ = write!(text, "{comma}{item}");
    };
    match id {
        Id::LogFormat => add(&if config.log.format == LogFormat::Json { "json" } else { "text" }),
        Id::Verbose => match (&config.log.filter, config.log.verbosity) {
            (Some(filter), 0) => add(&filter.text),
            (_, verbosity) => add(["warn", "info", "debug"].get(usize::from(verbosity)).unwrap_or(&"trace")),
        },
        Id::LeftoverSignal => add(&config.leftover_signal.unwrap_or(Signal::TERM)),
        Id::StopDelay => add(&Span(config.stop_delay)),
        Id::Grace => config.grace.into_iter().for_each(|grace| add(&Span(grace))),
        Id::ParentDeath => config.parent_death.iter().for_each(|signal| add(signal)),
        Id::User => config.user.iter().for_each(|user| add(user)),
        Id::Watch => config.watch.iter().for_each(|watch| add(watch)),
        Id::Chdir => config.directory.iter().for_each(|path| add(&OneLine(path.to_bytes()))),
        Id::TerminationLog => config.termination_log.iter().for_each(|path| add(&OneLine(path.to_bytes()))),
        Id::StopSignal => {
            signals().filter(|signal| config.stop_signals().contains(*signal)).for_each(|signal| add(&signal));
        }
        Id::Rewrite => {
            for from in signals() {
                match config.rewrites.apply(from) {
                    Some(to) if to == from => {}
                    Some(to) => add(&format_args!("{from}:{to}")),
                    None => add(&format_args!("{from}:0")),
                }
            }
        }
        Id::OkExit => {
            (0..=u8::MAX).filter(|code| config.ok_codes.contains(*code)).for_each(|code| add(&code));
            if config.ok_stop {
                add(&"stop");
            }
        }
        // What prints, or is said with another one.
        _ => return None,
    }
    Some(if text.is_empty() { "none".to_owned() } else { text })
}
