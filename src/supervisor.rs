//! The policy, and nothing else: what foster does about each event. Pure, so every rule can be tested without a process.
//!
//! After a death is stepped, the pid is gone from the state: no action can name it again, so no signal ever reaches a
//! process that was given a reused pid.

use std::time::Duration;

use crate::config::Config;
use crate::exit::{Death, OkCodes, Outcome};
use crate::report::{Cause, Report};
use crate::signal::{Delivery, Rewrites, Sender, Signal, SignalSet};

/// Something that happened to foster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal arrived.
    Signal(Delivery),
    /// A child was reaped: the command or an orphan.
    Died {
        /// The process that is gone.
        pid: i32,
        /// How it ended.
        death: Death,
    },
    /// Every child that had died is reaped; more may live.
    Drained,
}

/// Something for foster to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send `delivery`, rewritten to `signal`, to the target.
    Forward {
        /// Where to.
        target: Target,
        /// Which signal.
        signal: Signal,
        /// What arrived: its payload goes along, its sender is named in the log.
        delivery: Delivery,
    },
    /// Say something.
    Say(Report),
    /// Nothing is left to do.
    End(Outcome),
}

/// Who a signal is forwarded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The command alone.
    Command(i32),
    /// The process group that the command leads.
    Group(i32),
}

/// What foster knows.
#[derive(Clone, Debug)]
pub struct State {
    is_pid1: bool,
    group: bool,
    rewrites: Rewrites,
    ok_codes: OkCodes,
    /// The command had the terminal, so the terminal's own signals reached it without foster.
    has_terminal: bool,
    command: Command,
    /// What was forwarded to the command so far: whether its death by a signal was somebody's wish.
    forwarded: SignalSet,
    stop_request: Option<StopRequest>,
    orphans_reaped: u64,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Running { pid: i32, since: Duration },
    Ended(Death),
}

#[derive(Clone, Copy, Debug)]
struct StopRequest {
    signal: Signal,
    sender: Sender,
    at: Duration,
}

/// What the start of the command told.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// The command's process ID, which is its process group's too.
    pub pid: i32,
    /// foster is PID 1 of its namespace.
    pub is_pid1: bool,
    /// The command's group was made the terminal's foreground group.
    pub has_terminal: bool,
    /// The time that `step` counts from.
    pub now: Duration,
}

impl State {
    /// The state right after the command has started.
    pub fn new(config: &Config, started: Started) -> State {
        State {
            is_pid1: started.is_pid1,
            group: config.group,
            rewrites: config.rewrites.clone(),
            ok_codes: config.ok_codes.clone(),
            has_terminal: started.has_terminal,
            command: Command::Running { pid: started.pid, since: started.now },
            forwarded: SignalSet::default(),
            stop_request: None,
            orphans_reaped: 0,
        }
    }

    /// Whether this is the command's process, still unreaped.
    pub fn is_command(&self, pid: i32) -> bool {
        matches!(self.command, Command::Running { pid: command, .. } if command == pid)
    }
}

/// Decides what one event means. Appends to `actions`, which the caller performs in order.
pub fn step(state: &mut State, event: Event, now: Duration, actions: &mut Vec<Action>) {
    match event {
        Event::Signal(delivery) => on_signal(state, delivery, now, actions),
        Event::Died { pid, death } => on_death(state, pid, death, now, actions),
        Event::Drained => {
            if let Command::Ended(death) = state.command {
                actions.push(Action::End(Outcome::of(death, &state.ok_codes, state.is_pid1)));
            }
        }
    }
}

fn on_signal(state: &mut State, delivery: Delivery, now: Duration, actions: &mut Vec<Action>) {
    let Command::Running { pid, .. } = state.command else { return };
    // SIGCHLD says that there is something to reap, which happens at every wake-up anyway.
    if delivery.signal == Signal::CHLD || delivery.signal.is_reserved() || delivery.sender == Sender::Myself {
        return;
    }
    let Some(signal) = state.rewrites.apply(delivery.signal) else {
        actions.push(Action::Say(Report::Dropped(delivery)));
        return;
    };
    if delivery.signal.is_stop_request() && state.stop_request.is_none() {
        state.stop_request = Some(StopRequest { signal: delivery.signal, sender: delivery.sender, at: now });
    }
    state.forwarded.insert(signal);
    let target = if state.group { Target::Group(pid) } else { Target::Command(pid) };
    actions.push(Action::Forward { target, signal, delivery });
}

fn on_death(state: &mut State, pid: i32, death: Death, now: Duration, actions: &mut Vec<Action>) {
    match state.command {
        Command::Running { pid: command, since } if command == pid => {
            let ran = now.saturating_sub(since);
            let cause = cause_of(state, death, now);
            actions.push(Action::Say(Report::CommandEnded { pid, death, ran, cause }));
            state.command = Command::Ended(death);
        }
        _ => state.orphans_reaped = state.orphans_reaped.saturating_add(1),
    }
}

/// Whether the command's end was somebody's wish. A crash during a requested stop is still a crash.
fn cause_of(state: &State, death: Death, now: Duration) -> Cause {
    let killed_by = match death {
        Death::Killed { signal, .. } => Some(signal),
        Death::Exited(_) => None,
    };
    match (killed_by, state.stop_request) {
        (Some(signal), _) if is_terminals(signal) && state.has_terminal && !state.forwarded.contains(signal) => {
            Cause::Terminal
        }
        // In a pipeline a reader that has seen enough ends its writer this way; no shell says a word about it.
        (Some(Signal::PIPE), _) if !state.is_pid1 => Cause::Unasked,
        (Some(signal), _) if !state.forwarded.contains(signal) => Cause::Incident,
        (_, Some(request)) => {
            Cause::StopRequest { signal: request.signal, sender: request.sender, took: now.saturating_sub(request.at) }
        }
        (Some(_), None) => Cause::Forwarded,
        (None, None) => Cause::Unasked,
    }
}

/// The signals that a terminal sends to its foreground group by itself: Ctrl-C, Ctrl-\ and the line going away.
fn is_terminals(signal: Signal) -> bool {
    matches!(signal, Signal::INT | Signal::QUIT | Signal::HUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: i32 = 7;
    const OTHER: Sender = Sender::Process { pid: 42, uid: 0, name: None };

    fn state(config: &Config, is_pid1: bool, has_terminal: bool) -> State {
        State::new(config, Started { pid: COMMAND, is_pid1, has_terminal, now: Duration::from_secs(1) })
    }

    fn delivery(signal: i32, sender: Sender) -> Delivery {
        Delivery { signal: Signal::new(signal).expect("a signal"), sender, payload: None }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn steps(state: &mut State, events: &[Event]) -> Vec<Action> {
        let mut actions = Vec::new();
        for event in events {
            step(state, *event, at(3), &mut actions);
        }
        actions
    }

    fn killed(signal: Signal) -> Death {
        Death::Killed { signal, core_dumped: false }
    }

    fn died(pid: i32, death: Death) -> Event {
        Event::Died { pid, death }
    }

    fn cause(actions: &[Action]) -> Cause {
        let ended = actions.iter().find_map(|action| match action {
            Action::Say(Report::CommandEnded { cause, .. }) => Some(*cause),
            _ => None,
        });
        ended.expect("the command's end is reported")
    }

    #[test]
    fn every_signal_but_sigchld_and_the_c_librarys_two_is_forwarded() {
        for number in 1..=64 {
            let mut state = state(&Config::default(), true, false);
            let delivery = delivery(number, OTHER);
            let forward = Action::Forward { target: Target::Command(COMMAND), signal: delivery.signal, delivery };
            let expected = if matches!(number, 17 | 32 | 33) { vec![] } else { vec![forward] };
            assert_eq!(steps(&mut state, &[Event::Signal(delivery)]), expected, "signal {number}");
        }
    }

    #[test]
    fn what_foster_caused_itself_is_not_forwarded() {
        let mut state = state(&Config::default(), true, false);
        for number in 1..=64 {
            assert_eq!(steps(&mut state, &[Event::Signal(delivery(number, Sender::Myself))]), []);
        }
    }

    #[test]
    fn with_group_the_target_is_the_commands_group() {
        let config = Config { group: true, ..Config::default() };
        let actions = steps(&mut state(&config, true, false), &[Event::Signal(delivery(15, OTHER))]);
        assert!(matches!(actions[..], [Action::Forward { target: Target::Group(COMMAND), .. }]), "{actions:?}");
    }

    #[test]
    fn a_rewrite_changes_the_signal_or_drops_it() {
        let mut config = Config::default();
        config.rewrites.add("TERM:QUIT").expect("valid");
        config.rewrites.add("HUP:0").expect("valid");
        let mut state = state(&config, true, false);
        let actions = steps(&mut state, &[Event::Signal(delivery(15, OTHER)), Event::Signal(delivery(1, OTHER))]);
        assert!(
            matches!(
                actions[..],
                [
                    Action::Forward { signal: Signal::QUIT, .. },
                    Action::Say(Report::Dropped(Delivery { signal: Signal::HUP, .. }))
                ]
            ),
            "{actions:?}"
        );
    }

    #[test]
    fn foster_ends_once_everything_dead_is_reaped_and_not_before() {
        let mut state = state(&Config::default(), true, false);
        assert_eq!(steps(&mut state, &[died(99, Death::Exited(23)), Event::Drained]), []);
        let ended = steps(&mut state, &[died(COMMAND, Death::Exited(4)), died(100, killed(Signal::KILL))]);
        assert!(matches!(ended[..], [Action::Say(Report::CommandEnded { pid: COMMAND, .. })]), "{ended:?}");
        assert_eq!(steps(&mut state, &[Event::Drained]), [Action::End(Outcome::Code(4))]);
        assert_eq!(state.orphans_reaped, 2);
    }

    #[test]
    fn after_the_commands_death_its_pid_is_never_signalled() {
        let mut state = state(&Config::default(), true, false);
        steps(&mut state, &[died(COMMAND, Death::Exited(0))]);
        assert_eq!(steps(&mut state, &[Event::Signal(delivery(15, OTHER))]), []);
    }

    #[test]
    fn a_second_process_with_the_commands_old_pid_is_an_orphan() {
        let mut state = state(&Config::default(), true, false);
        steps(&mut state, &[died(COMMAND, Death::Exited(4)), died(COMMAND, Death::Exited(5))]);
        assert_eq!(steps(&mut state, &[Event::Drained]), [Action::End(Outcome::Code(4))]);
    }

    #[test]
    fn an_end_that_was_asked_for_is_told_from_an_incident() {
        let term = Event::Signal(delivery(15, OTHER));
        let usr1 = Event::Signal(delivery(10, OTHER));
        let asked = Cause::StopRequest { signal: Signal::TERM, sender: OTHER, took: Duration::ZERO };
        let usr1_death = killed(Signal::new(10).expect("USR1"));
        let segv = killed(Signal::new(11).expect("SEGV"));
        for (events, death, expected) in [
            (vec![], Death::Exited(0), Cause::Unasked),
            (vec![], Death::Exited(1), Cause::Unasked),
            (vec![], killed(Signal::KILL), Cause::Incident),
            (vec![], killed(Signal::TERM), Cause::Incident),
            (vec![term], Death::Exited(0), asked),
            (vec![term], killed(Signal::TERM), asked),
            (vec![term], segv, Cause::Incident),
            (vec![usr1], usr1_death, Cause::Forwarded),
            (vec![usr1], killed(Signal::KILL), Cause::Incident),
        ] {
            let mut state = state(&Config::default(), true, false);
            steps(&mut state, &events);
            assert_eq!(cause(&steps(&mut state, &[died(COMMAND, death)])), expected, "{events:?} {death:?}");
        }
    }

    #[test]
    fn in_a_shell_ctrl_c_and_a_closed_pipe_are_no_incidents() {
        let end = |is_pid1, has_terminal, signal| {
            cause(&steps(&mut state(&Config::default(), is_pid1, has_terminal), &[died(COMMAND, killed(signal))]))
        };
        assert_eq!(end(false, true, Signal::INT), Cause::Terminal);
        assert_eq!(end(false, true, Signal::QUIT), Cause::Terminal);
        assert_eq!(end(false, true, Signal::KILL), Cause::Incident);
        assert_eq!(end(false, false, Signal::INT), Cause::Incident);
        assert_eq!(end(false, false, Signal::PIPE), Cause::Unasked);
        assert_eq!(end(true, false, Signal::PIPE), Cause::Incident);
    }
}
