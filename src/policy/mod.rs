//! The policy, and nothing else: what foster does about each event. Pure, so every rule can be tested without a process.
//!
//! The command runs. Then it has ended, and foster sees to its leftovers. Then foster ends. A stop request starts the clock
//! for both. After a death is stepped, the pid is gone from the state: no action can name it again, so no signal ever
//! reaches a process that was given a reused pid.
//!
//! What foster does when it is the wrapper of a command on a terminal, with a grace. `say` is left out. `tests/table.rs`
//! holds this table against the code.
//!
//! | event | the command runs | it is stopped, and foster with it | it has ended | leftovers are asked | leftovers are awaited (`--wait`) | `--pause` |
//! |---|---|---|---|---|---|---|
//! | SIGTERM | forward, start the clock | forward, continue command, start the clock | ask this generation again, start the clock | ask this generation again | ask this generation again, start the clock | end |
//! | SIGUSR1 | forward | forward | forward to leftovers | forward to leftovers | forward to leftovers | nothing |
//! | SIGCONT | forward | hand terminal, continue command | forward to leftovers | forward to leftovers | forward to leftovers | nothing |
//! | SIGTSTP, sent by the kernel | forward | forward | forward to leftovers, suspend foster | forward to leftovers, suspend foster | forward to leftovers, suspend foster | nothing |
//! | SIGCHLD | nothing | nothing | nothing | nothing | nothing | nothing |
//! | a signal that foster caused itself | nothing | nothing | nothing | nothing | nothing | nothing |
//! | a signal could not be forwarded | nothing | nothing | nothing | nothing | nothing | nothing |
//! | the command died | take terminal | take terminal | cannot be | cannot be | cannot be | cannot be |
//! | an orphan died | nothing | nothing | nothing | nothing | nothing | nothing |
//! | all dead children are reaped, others live | nothing | nothing | ask this generation, start the clock | nothing | nothing | nothing |
//! | a leftover died, and others live | nothing | nothing | ask this generation, start the clock | ask this generation | nothing | nothing |
//! | all dead children are reaped, none is left | cannot be | cannot be | end | end | end | nothing |
//! | some may not be signalled | nothing | nothing | name | name | name | nothing |
//! | nobody who is left may be signalled | nothing | nothing | name, end | name, end | name, end | nothing |
//! | SIGTSTP stopped the command | take terminal, suspend group | take terminal, suspend group | nothing | nothing | nothing | nothing |
//! | SIGSTOP stopped the command | take terminal, suspend foster | take terminal, suspend foster | nothing | nothing | nothing | nothing |
//! | SIGTTIN stopped the command | offer terminal | offer terminal | nothing | nothing | nothing | nothing |
//! | SIGUSR1 stopped the command, which is traced | nothing | nothing | nothing | nothing | nothing | nothing |
//! | the terminal was to be had | nothing | nothing | nothing | nothing | nothing | nothing |
//! | foster could not stop | nothing | hand terminal, continue command | nothing | nothing | nothing | nothing |
//! | leftovers cannot be found | nothing | nothing | nothing | end | nothing | nothing |
//! | the last call is due | last call | last call | last call | last call | last call | nothing |
//! | the grace is over | name, kill command, kill everybody | name, kill command, kill everybody | name, kill everybody | name, kill everybody | name, kill everybody | nothing |

mod jobs;
mod stop;
#[cfg(test)]
mod tests;

pub use stop::{CALL_AFTER_REQUEST, last_call_before};

use std::time::Duration;

use crate::config::{AtEnd, Config};
use crate::exit::{Death, OkCodes};
use crate::facts::{CommandEnd, OomKills, Reaped, Report, Roll, Summary};
use crate::signal::{Delivery, Rewrites, Sender, Signal, SignalSet};

/// Something that happened to foster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal arrived.
    Signal(Delivery),
    /// A child is dead, and its pid is still its own, since it is not reaped. Only where [`State::asks_group`] says so.
    Unreaped { pid: i32 },
    /// A child was reaped: the command or an orphan.
    Died {
        pid: i32,
        death: Death,
        /// How much the cgroup's oom_kill count rose meanwhile, if that was looked at.
        oom_kills: OomKills,
    },
    /// A child was stopped by this signal, and lives.
    ChildStopped { pid: i32, signal: Signal },
    /// The command's group was given the terminal ([`Action::HandTerminal`]).
    TerminalHanded,
    /// The command, stopped by this signal, was offered the terminal.
    Offered {
        pid: i32,
        signal: Signal,
        /// It has the terminal now.
        taken: bool,
    },
    /// The command, stopped by this signal, was offered no terminal: a shell without job control has started foster as a
    /// background job, and the terminal is the shell's.
    NotOffered { pid: i32, signal: Signal },
    /// foster wanted to stop along with what it runs, and the kernel did not let it: nobody is there to continue it.
    NotSuspended,
    /// The leftovers could not be found: foster is not PID 1, and there is no /proc.
    LeftoversLost,
    /// Leftovers were asked ([`Action::AskLeftovers`], [`Action::RequestOfLeftovers`]).
    Asked {
        /// Some have got the signal, now or before, and may still end.
        any_awaited: bool,
        /// The kernel does not let foster signal some: another user's.
        any_refused: bool,
    },
    /// The kernel does not let foster signal anybody of those whom SIGKILL was for.
    KillRefused,
    /// The kernel did not let foster forward this signal to the command.
    NotForwarded(Signal),
    /// Every child that had died is reaped. `children_left`: others live.
    Drained { children_left: bool },
    /// The time that [`State::deadline`] named has come.
    Deadline,
}

/// Something for foster to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send on what arrived, rewritten to `signal`. Its payload goes along, and its sender is named in the log.
    Forward { target: Target, signal: Signal, delivery: Delivery },
    /// The same, to everything that the command left behind.
    ForwardToLeftovers { signal: Signal, delivery: Delivery },
    /// The same for a stop request, which is for the generation that is there now, and then [`Event::Asked`].
    RequestOfLeftovers { signal: Signal, delivery: Delivery },
    /// Ask the leftovers of this generation that have not been asked, and then [`Event::Asked`].
    AskLeftovers(Signal),
    /// Ask everybody in foster's care who has not been asked, but not the command.
    LastCall { signal: Signal, command: Option<i32> },
    /// Continue everything that the command left behind.
    ContinueLeftovers,
    /// Send SIGKILL to everything in foster's care, which includes the command while it lives. The first time only that; later
    /// [`Event::KillRefused`] may follow.
    Kill { again: bool },
    /// Send a signal of foster's own to what is left of the process group of the command, which is dead and not yet reaped.
    SignalGroup { leader: i32, signal: Signal },
    /// Send SIGKILL to the command.
    KillCommand(i32),
    /// Continue the process group of the command, which was stopped.
    Continue(i32),
    /// Give the terminal to the command's group, if foster's own group is in its foreground, and then
    /// [`Event::TerminalHanded`].
    HandTerminal(i32),
    /// The same for a command that this signal stopped, because it has not got the terminal; and then [`Event::Offered`] or
    /// [`Event::NotOffered`].
    OfferTerminal { pid: i32, signal: Signal },
    /// Take the terminal back from the command's group, if that has it.
    TakeTerminal(i32),
    /// Stop foster as what it runs was stopped.
    SuspendSelf(Signal),
    /// The same, and with foster its whole process group, if there is a terminal.
    SuspendGroup(Signal),
    /// Say something.
    Say(Report),
    /// Name those who are still alive.
    NameLeftovers(Roll),
    /// Nothing is left to do.
    End(Summary),
    /// The pause is over.
    EndPause,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// foster is the init of its PID namespace.
    pub is_pid1: bool,
    group: bool,
    wait: bool,
    grace: Option<Duration>,
    stop_delay: Duration,
    rewrites: Rewrites,
    /// The signals that are stop requests when they arrive, without those that foster inherited as ignored.
    stop_signals: SignalSet,
    leftover_signal: Signal,
    ok_codes: OkCodes,
    ok_stop: bool,
    at_end: AtEnd,
    stops_when_told: bool,
    ends_by_code: bool,
    /// The command got the terminal at some time, so the terminal's own signals reach it without foster.
    had_terminal: bool,
    /// The command is another user's. What it does to itself is then no reason to signal foster's process group.
    is_another_user: bool,
    phase: Phase,
    /// What was sent to the command so far: whether its death by a signal was somebody's wish.
    forwarded: SignalSet,
    stop_request: Option<StopRequest>,
    /// The signals that reached the command as stop requests, after `-r`.
    asked_with: SignalSet,
    held: Option<Held>,
    /// When those who are still alive are to be named.
    roll_at: Option<Duration>,
    /// When the last call is due.
    call_at: Option<Duration>,
    /// When SIGKILL is due. Once set, it only comes nearer.
    kill_at: Option<Duration>,
    killing: Option<Killing>,
    /// A leftover has died since leftovers were asked, so its children may have come to foster.
    may_have_heirs: bool,
    /// That some may not be signalled has been said.
    told_refused: bool,
    /// What was reaped beside the command.
    reaped: Reaped,
}

/// What becomes of the command; there is none with `--pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running {
        pid: i32,
        since: Duration,
        standing: Standing,
    },
    Ended {
        end: CommandEnd,
        leftovers: Leftovers,
        /// They were sent this signal, and foster stopped along with them.
        suspended: Option<Signal>,
    },
    Paused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Up,
    /// The command is stopped, and foster goes on.
    Down,
    /// The command is stopped by this signal, and foster stopped along with it.
    Suspended(Signal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftovers {
    /// Whether there are any is not known yet.
    Unseen,
    /// They are what foster stays for (`--wait`).
    Awaited,
    /// They were asked to end.
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StopRequest {
    signal: Signal,
    sender: Sender,
    at: Duration,
}

/// A stop request that waits for `--stop-delay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    delivery: Delivery,
    signal: Signal,
    until: Duration,
}

/// SIGKILL was sent. It is sent again, since what forks while it is being found may have got away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Killing {
    since: Duration,
    again_at: Duration,
}

/// What foster learnt when it started the command. Times count from that moment.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// The command's process ID, which is its process group's too.
    pub pid: i32,
    /// foster is PID 1 of its namespace.
    pub is_pid1: bool,
    /// The command's group was made the terminal's foreground group.
    pub has_terminal: bool,
    /// The command runs as another user than foster.
    pub is_another_user: bool,
}

impl State {
    /// The state right after the command has started.
    pub fn new(config: &Config, started: Started) -> State {
        State {
            is_pid1: started.is_pid1,
            group: config.group,
            wait: config.wait,
            grace: config.grace,
            stop_delay: config.stop_delay,
            rewrites: config.rewrites.clone(),
            stop_signals: config.stop_signals(),
            leftover_signal: config.leftover_signal.unwrap_or(Signal::TERM),
            ok_codes: config.ok_codes.clone(),
            ok_stop: config.ok_stop,
            at_end: config.ways.at_end,
            stops_when_told: config.ways.stops_when_told,
            ends_by_code: started.is_pid1 || config.ways.ends_by_code,
            had_terminal: started.has_terminal,
            is_another_user: started.is_another_user,
            phase: Phase::Running { pid: started.pid, since: Duration::ZERO, standing: Standing::Up },
            forwarded: SignalSet::default(),
            stop_request: None,
            asked_with: SignalSet::default(),
            held: None,
            roll_at: None,
            call_at: None,
            kill_at: None,
            killing: None,
            may_have_heirs: false,
            told_refused: false,
            reaped: Reaped::default(),
        }
    }

    /// The state of a foster without a command.
    pub fn paused(config: &Config, is_pid1: bool) -> State {
        let started = Started { pid: 0, is_pid1, has_terminal: false, is_another_user: false };
        State { phase: Phase::Paused, ..State::new(config, started) }
    }

    /// Whether this is the command's process, still unreaped.
    pub fn is_command(&self, pid: i32) -> bool {
        matches!(self.phase, Phase::Running { pid: command, .. } if command == pid)
    }

    /// Whether the command's death is to be stepped as [`Event::Unreaped`] first.
    pub fn asks_group(&self) -> bool {
        self.at_end == AtEnd::AskGroup
    }

    /// Whether a stop request has gone to the command. One that is held has not.
    pub fn has_asked_command_to_stop(&self) -> bool {
        self.request_to_command().is_some()
    }

    /// The first request, once one has reached the command.
    fn request_to_command(&self) -> Option<StopRequest> {
        self.stop_request.filter(|_| self.asked_with != SignalSet::default())
    }

    /// Whether this signal is a stop request when it arrives.
    pub fn is_stop_request(&self, signal: Signal) -> bool {
        self.stop_signals.contains(signal)
    }

    /// foster inherited this signal as ignored, so it asks for nothing when it arrives. It is forwarded.
    pub fn ignore(&mut self, signal: Signal) {
        self.stop_signals = self.stop_signals.without(signal);
    }

    /// Whether the time matters at which this event is stepped. A clock is not read for each orphan and each signal.
    pub fn needs_time(&self, event: &Event) -> bool {
        match event {
            Event::Signal(delivery) => self.is_stop_request(delivery.signal),
            Event::Died { pid, .. } => self.is_command(*pid),
            Event::Drained { .. } => matches!(self.phase, Phase::Ended { .. }),
            // Without a deadline, something has interrupted the wait.
            Event::Deadline => self.deadline().is_some(),
            Event::KillRefused => true,
            Event::Unreaped { .. }
            | Event::ChildStopped { .. }
            | Event::TerminalHanded
            | Event::Offered { .. }
            | Event::NotOffered { .. }
            | Event::NotSuspended
            | Event::Asked { .. }
            | Event::NotForwarded(_)
            | Event::LeftoversLost => false,
        }
    }

    /// When to step [`Event::Deadline`] if nothing else happens before; `None`: sleep for as long as it takes.
    pub fn deadline(&self) -> Option<Duration> {
        let kill = match self.killing {
            Some(killing) => Some(killing.again_at),
            None => self.kill_at,
        };
        [self.held.map(|held| held.until), self.roll_at, self.call_due(), kill].into_iter().flatten().min()
    }
}

/// One event causes no more actions than these.
pub const MOST_ACTIONS: usize = 5;

/// Decides what one event means. Appends to `actions`, which the caller performs in order. `now` is the time since the
/// command's start; `None` where [`State::needs_time`] says that it does not matter.
pub fn step(state: &mut State, event: Event, now: Option<Duration>, actions: &mut Vec<Action>) {
    match (event, now) {
        (Event::Signal(delivery), _) => on_signal(state, delivery, now, actions),
        (Event::Unreaped { pid }, _) => stop::on_unreaped(state, pid, actions),
        (Event::Died { pid, death, oom_kills }, Some(now)) if state.is_command(pid) => {
            stop::on_command_death(state, death, oom_kills, now, actions);
        }
        (Event::Died { death, .. }, _) => stop::on_orphan_death(state, death),
        (Event::ChildStopped { pid, signal }, _) => jobs::on_stop(state, pid, signal, actions),
        (Event::TerminalHanded, _) => state.had_terminal = true,
        (Event::Offered { pid, signal, taken }, _) => jobs::on_offered(state, pid, signal, taken, actions),
        (Event::NotOffered { pid, signal }, _) => jobs::on_not_offered(state, pid, signal, actions),
        (Event::NotSuspended, _) => jobs::on_not_suspended(state, actions),
        (Event::LeftoversLost, _) => stop::on_leftovers_lost(state, actions),
        (Event::Asked { any_awaited, any_refused }, _) => stop::on_asked(state, any_awaited, any_refused, actions),
        (Event::NotForwarded(signal), _) => stop::on_not_forwarded(state, signal),
        (Event::KillRefused, Some(now)) => stop::on_kill_refused(state, now, actions),
        (Event::Drained { children_left }, Some(now)) => stop::on_drained(state, children_left, now, actions),
        (Event::Deadline, Some(now)) => stop::on_deadline(state, now, actions),
        // Nothing is awaited.
        (Event::Drained { .. } | Event::Deadline | Event::KillRefused, None) => {}
    }
}

fn on_signal(state: &mut State, delivery: Delivery, now: Option<Duration>, actions: &mut Vec<Action>) {
    // SIGCHLD says that there is something to reap, which foster does next.
    if delivery.signal == Signal::CHLD || delivery.signal.is_reserved() || matches!(delivery.sender, Sender::Myself) {
        return;
    }
    if matches!(state.phase, Phase::Paused) {
        return on_signal_in_pause(state, delivery, actions);
    }
    if delivery.signal == Signal::CONT && jobs::resume(state, actions) {
        return;
    }
    let Some(signal) = state.rewrites.apply(delivery.signal) else {
        actions.push(Action::Say(Report::Dropped(delivery)));
        jobs::stop_if_told(state, delivery.signal, actions);
        return;
    };
    match now.filter(|_| state.is_stop_request(delivery.signal)) {
        Some(now) => stop::on_request(state, delivery, signal, now, actions),
        None => forward(state, delivery, signal, actions),
    }
    jobs::stop_if_told(state, delivery.signal, actions);
    jobs::stop_with_leftovers(state, delivery, actions);
}

/// At once, as catatonit -P and the pause image of Kubernetes do it, since what runs in the namespace is others'.
#[cold]
fn on_signal_in_pause(state: &State, delivery: Delivery, actions: &mut Vec<Action>) {
    if matches!(delivery.signal, Signal::TERM | Signal::INT) {
        actions.push(Action::Say(Report::PauseEnded { delivery, orphans: state.reaped.orphans }));
        actions.push(Action::EndPause);
    }
}

/// Forwards a signal that asks for no stop.
fn forward(state: &mut State, delivery: Delivery, signal: Signal, actions: &mut Vec<Action>) {
    match &mut state.phase {
        Phase::Running { standing, .. } => {
            if signal == Signal::CONT {
                *standing = Standing::Up;
            }
            forward_to_command(state, delivery, signal, actions);
        }
        Phase::Ended { .. } => actions.push(Action::ForwardToLeftovers { signal, delivery }),
        // There is nobody to forward to.
        Phase::Paused => {}
    }
}

fn forward_to_command(state: &mut State, delivery: Delivery, signal: Signal, actions: &mut Vec<Action>) {
    let Phase::Running { pid, .. } = state.phase else { return };
    let target = if state.group { Target::Group(pid) } else { Target::Command(pid) };
    actions.push(Action::Forward { target, signal, delivery });
    state.forwarded.insert(signal);
}
