//! The loop: wait, reap, ask the policy, do what it says. No decision is made here.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::config::Config;
use crate::exit::{Change, Outcome};
use crate::proc;
use crate::report::{self, Orphan, Report, Reporter};
use crate::signal::{Delivery, Sender, Signal};
use crate::spawn::{self, Inherited};
use crate::supervisor::{Action, Event, Started, State, Target, step};
use crate::sys::{self, Disposition, Reaped};
use crate::terminal::{self, Foreground};

/// PID 1 of its namespace, which the kernel treats apart.
const INIT: i32 = 1;

/// Runs the command to its end and returns foster's exit code; as anything but PID 1 it does not return when the command
/// was ended by a signal.
pub fn run(config: &Config, environment: &[&CStr]) -> u8 {
    // First of all: from here on nothing that is sent to foster is lost, and nothing ends it.
    let mask = sys::block_all_signals();
    // Inherited as ignored it would make the kernel reap behind foster's back, and the exit status were lost.
    let sigchld = sys::set_disposition(Signal::CHLD, Disposition::Default).unwrap_or(Disposition::Default);
    let command = config.command.first().map_or(&b""[..], |name| name.to_bytes());
    let reporter = Reporter::new(command, config.log.warn_on_reap);
    let is_pid1 = sys::pid() == INIT;
    if !is_pid1 && let Err(errno) = sys::become_subreaper() {
        reporter.say(Report::Degraded { what: "not a subreaper, so orphans go to another process", errno });
    }
    let orphaned = config.parent_death.and_then(|signal| watch_parent(signal, &reporter));
    let terminal = Foreground::own();
    let spawned = match spawn::spawn(config, environment, Inherited { mask, sigchld }, terminal.as_ref()) {
        Ok(spawned) => spawned,
        Err(failure) => {
            report::failure(format_args!("{}", failure.message));
            return failure.code;
        }
    };
    let has_terminal = terminal.is_some() && spawned.no_terminal.is_none();
    drop(terminal);
    let clock = Instant::now();
    release_what_the_command_inherited(is_pid1);
    if let Some(errno) = spawned.no_group {
        reporter.say(Report::Degraded { what: "the command has no process group of its own", errno });
    }
    if let Some(errno) = spawned.no_terminal {
        reporter.say(Report::Degraded { what: "the command did not get the terminal", errno });
    }
    reporter.say(Report::Started { pid: spawned.pid });
    let started = Started { pid: spawned.pid, is_pid1, has_terminal, now: Duration::ZERO };
    let mut foster =
        Foster { state: State::new(config, started), reporter, clock, actions: Vec::with_capacity(8), warned: false };
    let outcome = foster.supervise(orphaned);
    if has_terminal {
        terminal::take_back_from(spawned.pid);
    }
    end(outcome)
}

/// Asks for a signal when the parent dies. If the parent died just before that, the kernel will not send it any more, so
/// the signal is returned as if it had.
fn watch_parent(signal: Signal, reporter: &Reporter) -> Option<Delivery> {
    let parent = sys::parent_pid();
    if let Err(errno) = sys::set_parent_death_signal(signal) {
        reporter.say(Report::Degraded { what: "the death of foster's parent will go unnoticed", errno });
        return None;
    }
    (sys::parent_pid() != parent).then_some(Delivery { signal, sender: Sender::Kernel, payload: None })
}

/// The command has its own copies by now. Held here, a working directory would pin a mount, and the end of a pipe would
/// keep its reader waiting when the command has closed it.
fn release_what_the_command_inherited(is_pid1: bool) {
    // An error would only mean that there is nothing better.
    let _ = nix::unistd::chdir("/");
    // As PID 1 stdin and stdout stay: programs in containers write to /proc/1/fd/1, and the runtime holds the other ends.
    let low = if is_pid1 { &[][..] } else { &[0, 1][..] };
    sys::close_descriptors(low);
}

struct Foster<'a> {
    state: State,
    reporter: Reporter<'a>,
    clock: Instant,
    /// Kept from event to event, so that none allocates.
    actions: Vec<Action>,
    /// That a forward was not permitted has been said.
    warned: bool,
}

impl Foster<'_> {
    /// Reaps until nothing is left at every wake-up, and sleeps in one call in between. Also before the first sleep:
    /// children of the program that foster replaced by exec may have died long before.
    fn supervise(&mut self, first: Option<Delivery>) -> Outcome {
        if let Some(delivery) = first {
            self.handle(Event::Signal(delivery));
        }
        loop {
            while let Some(event) = self.reap_one() {
                self.handle(event);
            }
            if let Some(outcome) = self.handle(Event::Drained) {
                return outcome;
            }
            if let Some(delivery) = sys::wait_for_signal(None) {
                self.handle(Event::Signal(self.with_sender_named(delivery)));
            }
        }
    }

    /// One child's news. At the default level that is one system call and nothing else.
    fn reap_one(&mut self) -> Option<Event> {
        loop {
            let reaped = if self.reporter.describes_orphans() { self.reap_described()? } else { sys::reap_any()? };
            // A child that has stopped is not an event yet: it lives, and its pid stays its own.
            if let Some(Change::Died(death)) = Change::from_status(reaped.status) {
                return Some(Event::Died { pid: reaped.pid, death });
            }
        }
    }

    /// Looks at a dead child before it is reaped, because afterwards /proc knows nothing of it.
    fn reap_described(&mut self) -> Option<Reaped> {
        loop {
            let pid = sys::peek_any()?;
            let stat = proc::stat(pid);
            // No news any more: it had stopped and was continued meanwhile. Look again.
            let Some((reaped, usage)) = sys::reap_with_usage(pid) else { continue };
            if let Some(Change::Died(death)) = Change::from_status(reaped.status)
                && !self.state.is_command(pid)
            {
                self.reporter.say(Report::Orphan(Orphan {
                    pid,
                    death,
                    name: stat.map(|stat| stat.name),
                    age: stat.map(|stat| proc::age(stat.start_ticks)),
                    cpu: usage.cpu,
                    max_rss_kib: usage.max_rss_kib,
                }));
            }
            return Some(reaped);
        }
    }

    fn with_sender_named(&self, mut delivery: Delivery) -> Delivery {
        if self.reporter.names_senders()
            && let Sender::Process { pid, name, .. } = &mut delivery.sender
        {
            *name = proc::name(*pid);
        }
        delivery
    }

    fn handle(&mut self, event: Event) -> Option<Outcome> {
        let mut actions = std::mem::take(&mut self.actions);
        step(&mut self.state, event, self.clock.elapsed(), &mut actions);
        let mut outcome = None;
        for action in actions.drain(..) {
            match action {
                Action::Forward { target, signal, delivery } => self.forward(target, signal, delivery),
                Action::Say(report) => self.reporter.say(report),
                Action::End(with) => outcome = Some(with),
            }
        }
        self.actions = actions;
        outcome
    }

    fn forward(&mut self, target: Target, signal: Signal, delivery: Delivery) {
        let sent = match target {
            Target::Command(pid) => sys::send(pid, signal, delivery.payload),
            // ESRCH: the command has moved to another group and left none behind.
            Target::Group(pid) => match sys::send_to_group(pid, signal, delivery.payload) {
                Err(Errno::ESRCH) => sys::send(pid, signal, delivery.payload),
                sent => sent,
            },
        };
        match sent {
            Ok(()) => {
                let group = matches!(target, Target::Group(_));
                self.reporter.say(Report::Forwarded { delivery, signal, group });
            }
            Err(Errno::ESRCH) => self.reporter.say(Report::ForwardTooLate(signal)),
            Err(errno) if !self.warned => {
                self.warned = true;
                self.reporter.say(Report::ForwardFailed { signal, errno });
            }
            Err(_) => {}
        }
    }
}

/// Ends foster as the command ended. A signal that cannot do it becomes the code that a shell would show.
fn end(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Code(code) => code,
        Outcome::Signal(signal) => {
            sys::die_by(signal);
            u8::try_from(signal.number()).unwrap_or(0).saturating_add(128)
        }
    }
}
