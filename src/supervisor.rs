//! The policy, and nothing else: what foster does about each event. Pure, so every rule can be tested without a process.
//!
//! The command runs; then it has ended and foster sees to its leftovers; then foster ends. A stop request starts the
//! clock for both. After a death is stepped, the pid is gone from the state: no action can name it again, so no signal
//! ever reaches a process that was given a reused pid.

use std::time::Duration;

use crate::config::{AtEnd, Config};
use crate::exit::{Death, OkCodes, Outcome};
use crate::report::{Cause, CommandEnd, Reaped, Report, Summary};
use crate::signal::{Delivery, Rewrites, Sender, Signal, SignalSet};

/// Something that happened to foster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal arrived.
    Signal(Delivery),
    /// A child is dead and its pid still its own, since it is not reaped; only where [`State::asks_group`] says so.
    Unreaped {
        /// The dead process.
        pid: i32,
    },
    /// A child was reaped: the command or an orphan.
    Died {
        /// The process that is gone.
        pid: i32,
        /// How it ended.
        death: Death,
        /// How much the cgroup's oom_kill count rose meanwhile, if that was looked at.
        oom_kills: u64,
    },
    /// A child was stopped by this signal and lives.
    Stopped {
        /// The process that stands still.
        pid: i32,
        /// What stopped it.
        signal: Signal,
    },
    /// The command, stopped by this signal, was offered the terminal.
    Offered {
        /// The command.
        pid: i32,
        /// What stopped it.
        signal: Signal,
        /// It has the terminal now.
        taken: bool,
    },
    /// foster wanted to stop along with what it runs, and the kernel would not let it: nobody is there to continue it.
    NotSuspended,
    /// The leftovers could not be found: not PID 1, and no /proc.
    LeftoversLost,
    /// Every child that had died is reaped.
    Drained {
        /// Others live.
        children_left: bool,
    },
    /// The time that [`State::deadline`] named has come.
    Deadline,
}

/// Something for foster to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send on what arrived, rewritten to `signal`.
    Forward {
        /// Where to.
        target: Target,
        /// Which signal.
        signal: Signal,
        /// What arrived: its payload goes along, its sender is named in the log.
        delivery: Delivery,
    },
    /// Send on what arrived, rewritten to `signal`, to what the command left behind.
    ForwardToLeftovers {
        /// Which signal.
        signal: Signal,
        /// What arrived.
        delivery: Delivery,
    },
    /// Send a signal of foster's own to everything in its care, which includes the command while it lives.
    SignalLeftovers(Signal),
    /// Send a signal of foster's own to what is left of the command's process group.
    SignalGroup {
        /// The command, dead and not yet reaped.
        leader: i32,
        /// Which signal.
        signal: Signal,
    },
    /// Send SIGKILL to the command.
    KillCommand(i32),
    /// Continue the process group of the command, which was stopped.
    Continue(i32),
    /// Give the terminal to the command's group, if foster's own group is in its foreground.
    HandTerminal(i32),
    /// The same for a command that was stopped because it has not got it, and then [`Event::Offered`].
    OfferTerminal {
        /// The command.
        pid: i32,
        /// What stopped it.
        signal: Signal,
    },
    /// Take the terminal back from the command's group, if that has it.
    TakeTerminal(i32),
    /// Stop as what foster runs was stopped.
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

/// Why those who are still alive are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
    /// foster waits for them, so much longer at most; `None`: without a limit of its own.
    Awaited(Option<Duration>),
    /// Their time is up: SIGKILL follows.
    Killed,
    /// SIGKILL did not end them, so foster ends without them.
    GivenUp,
}

/// What foster knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    is_pid1: bool,
    group: bool,
    wait: bool,
    grace: Option<Duration>,
    stop_delay: Duration,
    rewrites: Rewrites,
    ok_codes: OkCodes,
    ok_stop: bool,
    at_end: AtEnd,
    stops_when_told: bool,
    ends_by_code: bool,
    /// The command got the terminal at some time, so the terminal's own signals reach it without foster.
    had_terminal: bool,
    phase: Phase,
    /// What was sent to the command so far: whether its death by a signal was somebody's wish.
    forwarded: SignalSet,
    stop_request: Option<StopRequest>,
    /// The signals that reached the command as stop requests, after `-r`.
    asked_with: SignalSet,
    held: Option<Held>,
    /// When those who are still alive are to be named.
    roll_at: Option<Duration>,
    /// When SIGKILL is due. Once set it only ever comes nearer.
    kill_at: Option<Duration>,
    killing: Option<Killing>,
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
    /// Stopped, and foster goes on.
    Stopped,
    /// Stopped by this signal, and foster stopped along with it.
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

/// SIGKILL was sent. It is sent again: what forks while it is being found may have got away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Killing {
    since: Duration,
    again_at: Duration,
}

/// How long leftovers are waited for in silence.
const ROLL_AFTER: Duration = Duration::from_secs(1);
/// The pause between two rounds of SIGKILL, in which foster reaps.
const KILL_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// After this long SIGKILL has either worked or never will: a process in uninterruptible sleep, or another user's.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

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
            wait: config.wait,
            grace: config.grace,
            stop_delay: config.stop_delay,
            rewrites: config.rewrites.clone(),
            ok_codes: config.ok_codes.clone(),
            ok_stop: config.ok_stop,
            at_end: config.ways.at_end,
            stops_when_told: config.ways.stops_when_told,
            ends_by_code: started.is_pid1 || config.ways.ends_by_code,
            had_terminal: started.has_terminal,
            phase: Phase::Running { pid: started.pid, since: started.now, standing: Standing::Up },
            forwarded: SignalSet::default(),
            stop_request: None,
            asked_with: SignalSet::default(),
            held: None,
            roll_at: None,
            kill_at: None,
            killing: None,
            reaped: Reaped::default(),
        }
    }

    /// The state of a foster without a command.
    pub fn paused(config: &Config, is_pid1: bool) -> State {
        let started = Started { pid: 0, is_pid1, has_terminal: false, now: Duration::ZERO };
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

    /// Whether a stop request has gone to the command, which one that is held has not.
    pub fn has_asked_command_to_stop(&self) -> bool {
        self.request_to_command().is_some()
    }

    /// A second request releases the first, so as long as that is held there was no other.
    fn request_to_command(&self) -> Option<StopRequest> {
        self.stop_request.filter(|_| self.held.is_none())
    }

    /// Whether it matters at what time this event is stepped. A clock is not read for each orphan and each signal.
    pub fn minds_the_time(&self, event: &Event) -> bool {
        match event {
            Event::Signal(delivery) => delivery.signal.is_stop_request(),
            Event::Died { pid, .. } => self.is_command(*pid),
            Event::Drained { .. } => matches!(self.phase, Phase::Ended { .. }),
            // Without one, something has interrupted the wait.
            Event::Deadline => self.deadline().is_some(),
            Event::Unreaped { .. }
            | Event::Stopped { .. }
            | Event::Offered { .. }
            | Event::NotSuspended
            | Event::LeftoversLost => false,
        }
    }

    /// When to step [`Event::Deadline`] if nothing else happens before; `None`: sleep for as long as it takes.
    pub fn deadline(&self) -> Option<Duration> {
        let kill = match self.killing {
            Some(killing) => Some(killing.again_at),
            None => self.kill_at,
        };
        [self.held.map(|held| held.until), self.roll_at, kill].into_iter().flatten().min()
    }
}

/// Decides what one event means. Appends to `actions`, which the caller performs in order.
pub fn step(state: &mut State, event: Event, now: Duration, actions: &mut Vec<Action>) {
    match event {
        Event::Signal(delivery) => on_signal(state, delivery, now, actions),
        Event::Unreaped { pid } => on_unreaped(state, pid, actions),
        Event::Died { pid, death, oom_kills } => on_death(state, pid, death, oom_kills, now, actions),
        Event::Stopped { pid, signal } => on_stop(state, pid, signal, actions),
        Event::Offered { pid, signal, taken } => on_offered(state, pid, signal, taken, actions),
        Event::NotSuspended => on_not_suspended(state, actions),
        Event::LeftoversLost => on_leftovers_lost(state, actions),
        Event::Drained { children_left } => on_drained(state, children_left, now, actions),
        Event::Deadline => on_deadline(state, now, actions),
    }
}

fn on_signal(state: &mut State, delivery: Delivery, now: Duration, actions: &mut Vec<Action>) {
    // SIGCHLD says that there is something to reap, which happens at every wake-up anyway.
    if delivery.signal == Signal::CHLD || delivery.signal.is_reserved() || delivery.sender == Sender::Myself {
        return;
    }
    if matches!(state.phase, Phase::Paused) {
        return on_signal_in_pause(state, delivery, actions);
    }
    if delivery.signal == Signal::CONT && resume(state, actions) {
        return;
    }
    let Some(signal) = state.rewrites.apply(delivery.signal) else {
        actions.push(Action::Say(Report::Dropped(delivery)));
        stop_if_told(state, delivery.signal, actions);
        return;
    };
    if delivery.signal.is_stop_request() {
        let is_first = state.stop_request.is_none();
        note_stop_request(state, delivery, now);
        if is_first && !state.stop_delay.is_zero() && !state.is_asking_leftovers() {
            state.held = Some(Held { delivery, signal, until: now.saturating_add(state.stop_delay) });
            actions.push(Action::Say(Report::Held { delivery, delay: state.stop_delay }));
            return;
        }
        release(state, now, actions);
    }
    forward(state, delivery, signal, now, actions);
    stop_if_told(state, delivery.signal, actions);
    stop_with_leftovers(state, delivery, actions);
}

/// As dumb-init does, whether or not the command stops: whoever sent it sends SIGCONT later, which is forwarded.
fn stop_if_told(state: &State, signal: Signal, actions: &mut Vec<Action>) {
    let is_running = matches!(state.phase, Phase::Running { .. });
    if state.stops_when_told && is_running && matches!(signal, Signal::TSTP | Signal::TTIN | Signal::TTOU) {
        actions.push(Action::SuspendSelf(Signal::STOP));
    }
}

/// With the command's end foster has got the terminal back, so a Ctrl-Z is for it and for the leftovers that it was
/// forwarded to. SIGTTIN and SIGTTOU stop only if they are the terminal's: else they are meant for the leftovers, of which
/// gunicorn changes its number of workers, and a SIGCONT just behind one would take it away again (signal(7)).
fn stop_with_leftovers(state: &mut State, delivery: Delivery, actions: &mut Vec<Action>) {
    let Phase::Ended { suspended, .. } = &mut state.phase else { return };
    let stops = match delivery.signal {
        // Away from a terminal no shell would continue foster, and a stop request found it standing still.
        Signal::TSTP => state.is_pid1 || state.had_terminal || delivery.sender == Sender::Kernel,
        Signal::TTIN | Signal::TTOU => delivery.sender == Sender::Kernel,
        _ => false,
    };
    if !stops {
        return;
    }
    *suspended = Some(delivery.signal);
    match state.is_pid1 {
        true => on_not_suspended(state, actions),
        false => actions.push(Action::SuspendSelf(delivery.signal)),
    }
}

/// As catatonit -P and the pause image of Kubernetes have it: at once, since what runs in the namespace is others'.
#[cold]
fn on_signal_in_pause(state: &State, delivery: Delivery, actions: &mut Vec<Action>) {
    if matches!(delivery.signal, Signal::TERM | Signal::INT) {
        actions.push(Action::Say(Report::PauseEnded { delivery, orphans: state.reaped.orphans }));
        actions.push(Action::EndPause);
    }
}

/// The first stop request starts the clock of `--grace`.
fn note_stop_request(state: &mut State, delivery: Delivery, now: Duration) {
    if state.stop_request.is_some() {
        return;
    }
    state.stop_request = Some(StopRequest { signal: delivery.signal, sender: delivery.sender, at: now });
    if let Some(grace) = state.grace {
        kill_by(state, now.saturating_add(grace));
    }
}

fn kill_by(state: &mut State, when: Duration) {
    state.kill_at = Some(state.kill_at.map_or(when, |earlier| earlier.min(when)));
}

/// Forwards the stop request that was held, if one was.
fn release(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    if let Some(held) = state.held.take() {
        forward(state, held.delivery, held.signal, now, actions);
    }
}

fn forward(state: &mut State, delivery: Delivery, signal: Signal, now: Duration, actions: &mut Vec<Action>) {
    let is_stop_request = delivery.signal.is_stop_request();
    match &mut state.phase {
        Phase::Running { pid, standing, .. } => {
            let target = if state.group { Target::Group(*pid) } else { Target::Command(*pid) };
            actions.push(Action::Forward { target, signal, delivery });
            state.forwarded.insert(signal);
            if is_stop_request {
                state.asked_with.insert(signal);
            }
            // A stopped process takes no signal but these two; a shell's kill builtin continues its stopped job too.
            if is_stop_request && *standing != Standing::Up {
                actions.push(Action::Continue(*pid));
            }
            if signal == Signal::CONT || is_stop_request {
                *standing = Standing::Up;
            }
        }
        Phase::Ended { leftovers, .. } => {
            actions.push(Action::ForwardToLeftovers { signal, delivery });
            if !is_stop_request {
                return;
            }
            // They may have been stopped since they were asked.
            actions.push(Action::SignalLeftovers(Signal::CONT));
            if *leftovers == Leftovers::Awaited {
                *leftovers = Leftovers::Asked;
                state.roll_at = Some(now.saturating_add(ROLL_AFTER));
            }
        }
        // There is nobody to forward to.
        Phase::Paused => {}
    }
}

/// Once reaped, the command's group may be empty and its number another's.
fn on_unreaped(state: &mut State, pid: i32, actions: &mut Vec<Action>) {
    if !state.is_command(pid) || state.at_end != AtEnd::AskGroup {
        return;
    }
    state.at_end = AtEnd::Leave;
    if let Some(signal) = state.rewrites.apply(Signal::TERM) {
        actions.push(Action::SignalGroup { leader: pid, signal });
    }
}

fn on_death(state: &mut State, pid: i32, death: Death, oom_kills: u64, now: Duration, actions: &mut Vec<Action>) {
    let (command, since) = match state.phase {
        Phase::Running { pid, since, .. } => (pid, since),
        Phase::Ended { leftovers, .. } => return count_reaped(state, death, leftovers == Leftovers::Asked),
        Phase::Paused => return count_reaped(state, death, false),
    };
    if command != pid {
        return count_reaped(state, death, false);
    }
    let ran = now.saturating_sub(since);
    let end = CommandEnd { pid, death: Some(death), ran, cause: cause_of(state, Some(death), now), oom_kills };
    actions.push(Action::Say(Report::CommandEnded(end)));
    // From here on Ctrl-C is for foster, whose leftovers may take their time.
    if state.had_terminal {
        actions.push(Action::TakeTerminal(pid));
    }
    // A stop request that was held has got what it asked for.
    state.held = None;
    state.phase = Phase::Ended { end, leftovers: Leftovers::Unseen, suspended: None };
}

fn count_reaped(state: &mut State, death: Death, was_asked: bool) {
    let reaped = &mut state.reaped;
    let count = match death {
        Death::Killed { signal: Signal::KILL, .. } if state.killing.is_some() => &mut reaped.killed,
        _ if was_asked => &mut reaped.stopped,
        _ => &mut reaped.orphans,
    };
    *count = count.saturating_add(1);
}

fn on_drained(state: &mut State, children_left: bool, now: Duration, actions: &mut Vec<Action>) {
    let Phase::Ended { end, leftovers, .. } = &mut state.phase else { return };
    if !children_left || state.at_end != AtEnd::StopLeftovers {
        let end = *end;
        actions.push(Action::End(summary(state, end)));
        return;
    }
    if *leftovers != Leftovers::Unseen {
        return;
    }
    if state.wait && state.stop_request.is_none() {
        *leftovers = Leftovers::Awaited;
        actions.push(Action::Say(Report::LeftoversAwaited));
        return;
    }
    *leftovers = Leftovers::Asked;
    if state.killing.is_some() {
        return;
    }
    if state.stop_request.is_none() {
        kill_by(state, now.saturating_add(state.grace.unwrap_or(Config::LEFTOVER_GRACE)));
    }
    if state.kill_at.is_some_and(|when| when <= now) {
        kill(state, now, actions);
        return;
    }
    state.roll_at = Some(now.saturating_add(ROLL_AFTER));
    actions.push(Action::Say(Report::LeftoversAsked));
    actions.push(Action::SignalLeftovers(Signal::TERM));
    actions.push(Action::SignalLeftovers(Signal::CONT));
}

fn on_deadline(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    if state.held.is_some_and(|held| held.until <= now) {
        release(state, now, actions);
    }
    if let Some(killing) = &mut state.killing {
        if killing.again_at <= now {
            if now.saturating_sub(killing.since) >= GIVE_UP_AFTER {
                give_up(state, now, actions);
                return;
            }
            killing.again_at = now.saturating_add(KILL_AGAIN_AFTER);
            actions.push(Action::SignalLeftovers(Signal::KILL));
        }
    } else if state.kill_at.is_some_and(|when| when <= now) {
        kill(state, now, actions);
    }
    if state.roll_at.is_some_and(|when| when <= now) {
        state.roll_at = None;
        let left = state.kill_at.map(|when| when.saturating_sub(now));
        actions.push(Action::NameLeftovers(Roll::Awaited(left)));
    }
}

/// The time is up, for the command and for all that it left.
fn kill(state: &mut State, now: Duration, actions: &mut Vec<Action>) {
    state.killing = Some(Killing { since: now, again_at: now.saturating_add(KILL_AGAIN_AFTER) });
    state.roll_at = None;
    state.forwarded.insert(Signal::KILL);
    actions.push(Action::NameLeftovers(Roll::Killed));
    if let Phase::Running { pid, .. } = state.phase {
        actions.push(Action::KillCommand(pid));
    }
    actions.push(Action::SignalLeftovers(Signal::KILL));
}

/// What cannot be found can be neither asked nor killed, so there is nothing to wait for.
#[cold]
fn on_leftovers_lost(state: &State, actions: &mut Vec<Action>) {
    if let Phase::Ended { end, leftovers: Leftovers::Asked, .. } = state.phase {
        actions.push(Action::End(summary(state, end)));
    }
}

/// As PID 1, foster's end is theirs too: the kernel sees to it.
fn give_up(state: &State, now: Duration, actions: &mut Vec<Action>) {
    let end = match state.phase {
        // A pause kills nobody.
        Phase::Paused => return,
        Phase::Ended { end, .. } => end,
        Phase::Running { pid, since, .. } => {
            let ran = now.saturating_sub(since);
            CommandEnd { pid, death: None, ran, cause: cause_of(state, None, now), oom_kills: 0 }
        }
    };
    actions.push(Action::NameLeftovers(Roll::GivenUp));
    actions.push(Action::End(summary(state, end)));
}

fn summary(state: &State, end: CommandEnd) -> Summary {
    // A command that SIGKILL did not end has no signal that foster could end by as well.
    let killed = Death::Killed { signal: Signal::KILL, core_dumped: false };
    let outcome = match end.death {
        Some(death) => state.outcome(death),
        None => Outcome::of(killed, &state.ok_codes, true),
    };
    // The terminal sent it to the command's group alone. Without foster the rest of the job would have got it too: a shell
    // ends its script only if it got the signal itself and its child died of it.
    let signal = if let Outcome::Signal(signal @ (Signal::INT | Signal::QUIT)) = outcome { Some(signal) } else { None };
    let group_signal = signal.filter(|_| end.cause == Cause::Terminal);
    Summary { end, reaped: state.reaped, grace_over: state.killing.is_some(), outcome, group_signal }
}

/// The command stopped: Ctrl-Z, a read from the background, or somebody's SIGSTOP.
#[cold]
fn on_stop(state: &mut State, pid: i32, signal: Signal, actions: &mut Vec<Action>) {
    let Phase::Running { pid: command, standing, .. } = &mut state.phase else { return };
    if *command != pid {
        return;
    }
    *standing = Standing::Stopped;
    let was_forwarded = state.forwarded.contains(signal);
    // The next one may be the terminal's.
    state.forwarded = state.forwarded.without(signal);
    if state.stops_when_told {
        return;
    }
    match signal {
        Signal::TTIN | Signal::TTOU if !was_forwarded => actions.push(Action::OfferTerminal { pid, signal }),
        _ => stop_with_command(state, pid, signal, was_forwarded, actions),
    }
}

/// It wanted the terminal, and foster's own group may have it: shells hand it to a pipeline once for each member, also after
/// foster has handed it on; and `fg` is not told to a job that `bg` has continued.
#[cold]
fn on_offered(state: &mut State, pid: i32, signal: Signal, taken: bool, actions: &mut Vec<Action>) {
    match &mut state.phase {
        Phase::Running { pid: command, standing: standing @ Standing::Stopped, .. } if *command == pid => {
            if taken {
                *standing = Standing::Up;
                state.had_terminal = true;
                actions.push(Action::Continue(pid));
            } else {
                stop_with_command(state, pid, signal, false, actions);
            }
        }
        _ => {}
    }
}

/// foster stops as its command was stopped, or the command is continued or left alone where that is no use.
fn stop_with_command(state: &mut State, pid: i32, signal: Signal, was_forwarded: bool, actions: &mut Vec<Action>) {
    let Phase::Running { standing, .. } = &mut state.phase else { return };
    // Away from a terminal a SIGSTOP is somebody's who will send the command its SIGCONT too, not foster.
    if state.is_pid1 || (signal == Signal::STOP && !state.had_terminal) {
        on_unresumable_stop(state, signal, actions);
        return;
    }
    *standing = Standing::Suspended(signal);
    if state.had_terminal {
        actions.push(Action::TakeTerminal(pid));
    }
    actions.push(match signal {
        // By SIGSTOP foster would stop also where no shell ever continues it: the kernel's rule for orphaned process groups,
        // which makes it NotSuspended, leaves out SIGSTOP (signal(7), get_signal in kernel/signal.c).
        Signal::STOP => Action::SuspendSelf(Signal::TSTP),
        // Whoever sent it to foster meant one process, or has sent it to the others as well.
        _ if was_forwarded => Action::SuspendSelf(signal),
        Signal::TSTP if !state.had_terminal => Action::SuspendSelf(signal),
        // The terminal's own. Without foster it would have hit all of this group: a shell that runs a script and waits for
        // foster, the rest of a pipeline. The shell with the job control gives its prompt once all of them stand still.
        _ => Action::SuspendGroup(signal),
    });
}

#[cold]
fn on_not_suspended(state: &mut State, actions: &mut Vec<Action>) {
    match &mut state.phase {
        Phase::Running { standing, .. } => {
            if let Standing::Suspended(signal) = *standing {
                *standing = Standing::Stopped;
                on_unresumable_stop(state, signal, actions);
            }
        }
        Phase::Ended { suspended, .. } => {
            if let Some(signal) = suspended.take() {
                actions.push(Action::Say(Report::LeftoversContinued(signal)));
                actions.push(Action::SignalLeftovers(Signal::CONT));
            }
        }
        Phase::Paused => {}
    }
}

/// There is no shell that could ever `fg` it. A Ctrl-Z is undone; a SIGSTOP was meant by whoever sent it; and one who
/// reads from a terminal that is not his would only be stopped again.
#[cold]
fn on_unresumable_stop(state: &mut State, signal: Signal, actions: &mut Vec<Action>) {
    let Phase::Running { pid, standing, .. } = &mut state.phase else { return };
    let continued = signal == Signal::TSTP;
    actions.push(Action::Say(Report::Stopped { signal, continued }));
    // foster may have taken it in order to stop, and whoever continues the command does not hand it over.
    if state.had_terminal {
        actions.push(Action::HandTerminal(*pid));
    }
    if continued {
        *standing = Standing::Up;
        actions.push(Action::Continue(*pid));
    }
}

/// foster itself was continued, by a shell's `fg` or `bg`; whether the command's group gets the terminal depends on
/// which of the two. False when foster had not been suspended.
fn resume(state: &mut State, actions: &mut Vec<Action>) -> bool {
    match &mut state.phase {
        Phase::Running { pid, standing: standing @ Standing::Suspended(_), .. } => {
            *standing = Standing::Up;
            // Also if it was started in the background, and `fg` is what gives it the terminal for the first time.
            state.had_terminal = true;
            actions.push(Action::HandTerminal(*pid));
            actions.push(Action::Continue(*pid));
            true
        }
        Phase::Ended { suspended: suspended @ Some(_), .. } => {
            *suspended = None;
            actions.push(Action::SignalLeftovers(Signal::CONT));
            true
        }
        _ => false,
    }
}

impl State {
    fn is_asking_leftovers(&self) -> bool {
        matches!(self.phase, Phase::Ended { leftovers: Leftovers::Asked, .. })
    }

    /// What foster makes of the command's death. With `-e stop`, an end by the signal that asked for it is a success; so is
    /// the exit code that a shell or a JVM makes of that signal after catching it, since both look the same from outside.
    fn outcome(&self, death: Death) -> Outcome {
        let by_request = Signal::new(i32::from(death.code()).saturating_sub(128))
            .is_some_and(|signal| self.asked_with.contains(signal));
        match self.ok_stop && by_request {
            true => Outcome::Code(0),
            false => Outcome::of(death, &self.ok_codes, self.ends_by_code),
        }
    }
}

/// Whether the command's end was somebody's wish. A crash during a requested stop is still a crash.
fn cause_of(state: &State, death: Option<Death>, now: Duration) -> Cause {
    let killed_by = match death {
        Some(Death::Killed { signal, .. }) => Some(signal),
        Some(Death::Exited(_)) | None => None,
    };
    match (killed_by, state.request_to_command()) {
        (Some(signal), _) if is_terminals(signal) && state.had_terminal && !state.forwarded.contains(signal) => {
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
    use proptest::prelude::*;

    use super::*;
    use crate::config::Ways;

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
        Event::Died { pid, death, oom_kills: 0 }
    }

    /// foster's outcome, if all that it does is end.
    fn only_end(actions: Vec<Action>) -> Option<Outcome> {
        match actions[..] {
            [Action::End(summary)] => Some(summary.outcome),
            _ => None,
        }
    }

    fn cause(actions: &[Action]) -> Cause {
        let ended = actions.iter().find_map(|action| match action {
            Action::Say(Report::CommandEnded(end)) => Some(end.cause),
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
        assert_eq!(steps(&mut state, &[died(99, Death::Exited(23)), Event::Drained { children_left: false }]), []);
        let ended = steps(&mut state, &[died(COMMAND, Death::Exited(4)), died(100, killed(Signal::KILL))]);
        assert!(matches!(ended[..], [Action::Say(Report::CommandEnded(CommandEnd { pid: COMMAND, .. }))]), "{ended:?}");
        assert_eq!(only_end(steps(&mut state, &[Event::Drained { children_left: false }])), Some(Outcome::Code(4)));
    }

    #[test]
    fn after_the_commands_death_its_pid_is_never_named_again() {
        let config = Config { grace: Some(at(5)), ..Config::default() };
        for is_pid1 in [true, false] {
            let mut state = state(&config, is_pid1, true);
            steps(&mut state, &[died(COMMAND, Death::Exited(0))]);
            let events = [
                Event::Signal(delivery(15, OTHER)),
                Event::Signal(delivery(18, OTHER)),
                Event::Stopped { pid: COMMAND, signal: Signal::TSTP },
                Event::NotSuspended,
                Event::Drained { children_left: true },
                Event::Signal(delivery(15, OTHER)),
            ];
            let mut actions = steps(&mut state, &events);
            step(&mut state, Event::Deadline, at(100), &mut actions);
            assert!(actions.contains(&Action::SignalLeftovers(Signal::KILL)), "{actions:?}");
            for action in actions {
                assert!(!names_the_command(action), "{action:?}");
            }
        }
    }

    fn names_the_command(action: Action) -> bool {
        matches!(
            action,
            Action::Forward { target: Target::Command(COMMAND) | Target::Group(COMMAND), .. }
                | Action::KillCommand(COMMAND)
                | Action::Continue(COMMAND)
                | Action::HandTerminal(COMMAND)
                | Action::OfferTerminal { pid: COMMAND, .. }
        )
    }

    #[test]
    fn a_second_process_with_the_commands_old_pid_is_an_orphan() {
        let mut state = state(&Config::default(), true, false);
        steps(&mut state, &[died(COMMAND, Death::Exited(4)), died(COMMAND, Death::Exited(5))]);
        assert_eq!(only_end(steps(&mut state, &[Event::Drained { children_left: false }])), Some(Outcome::Code(4)));
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

    /// What `--stop-delay` still holds has not asked the command for anything; whoever fails meanwhile has just failed.
    #[test]
    fn a_request_that_is_held_is_not_why_the_command_ended() {
        let config = Config { stop_delay: at(5), ..Config::default() };
        let asked = Cause::StopRequest { signal: Signal::TERM, sender: OTHER, took: Duration::ZERO };
        for (events, death, expected) in [
            (vec![term()], Death::Exited(3), Cause::Unasked),
            (vec![term()], killed(Signal::TERM), Cause::Incident),
            (vec![term(), term()], Death::Exited(3), asked),
            (vec![term(), term()], killed(Signal::TERM), asked),
        ] {
            let mut state = state(&config, true, false);
            steps(&mut state, &events);
            assert_eq!(state.has_asked_command_to_stop(), expected == asked);
            assert_eq!(cause(&steps(&mut state, &[died(COMMAND, death)])), expected, "{events:?} {death:?}");
            let [.., Action::SignalLeftovers(_)] = steps(&mut state, &[LEFT])[..] else {
                panic!("leftovers are asked")
            };
            let no_limit = Action::NameLeftovers(Roll::Awaited(None));
            assert_eq!(at_time(&mut state, 4, Event::Deadline), [no_limit], "a stop request came");
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

    #[test]
    fn what_the_terminal_ended_the_command_with_is_for_fosters_group_too_if_foster_dies_of_it() {
        let plain = Config::default();
        let by_code = Config { ways: Ways { ends_by_code: true, ..Ways::default() }, ..Config::default() };
        let mut ok = Config::default();
        ok.ok_codes.insert(130);
        let (int, quit) = (killed(Signal::INT), killed(Signal::QUIT));
        let sent = vec![Event::Signal(delivery(2, OTHER))];
        for (config, is_pid1, has_terminal, events, death, expected) in [
            (&plain, false, true, vec![], int, Some(Signal::INT)),
            (&plain, false, true, vec![], quit, Some(Signal::QUIT)),
            (&plain, false, true, vec![], killed(Signal::HUP), None),
            (&plain, false, true, vec![], killed(Signal::TERM), None),
            (&plain, false, true, vec![], Death::Exited(130), None),
            (&plain, false, true, sent, int, None),
            (&plain, false, false, vec![], int, None),
            (&plain, true, true, vec![], int, None),
            (&by_code, false, true, vec![], int, None),
            (&ok, false, true, vec![], int, None),
        ] {
            let mut state = state(config, is_pid1, has_terminal);
            steps(&mut state, &events);
            steps(&mut state, &[died(COMMAND, death)]);
            let end = steps(&mut state, &[NONE_LEFT]);
            let [Action::End(summary)] = end[..] else { panic!("{end:?}") };
            assert_eq!(summary.group_signal, expected, "{death:?} {is_pid1} {has_terminal} {events:?}");
        }
    }

    fn term() -> Event {
        Event::Signal(delivery(15, OTHER))
    }

    fn at_time(state: &mut State, now: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        step(state, event, at(now), &mut actions);
        actions
    }

    const ASKED: [Action; 3] = [
        Action::Say(Report::LeftoversAsked),
        Action::SignalLeftovers(Signal::TERM),
        Action::SignalLeftovers(Signal::CONT),
    ];
    const KILLED: [Action; 2] = [Action::NameLeftovers(Roll::Killed), Action::SignalLeftovers(Signal::KILL)];
    const LEFT: Event = Event::Drained { children_left: true };
    const NONE_LEFT: Event = Event::Drained { children_left: false };

    #[test]
    fn leftovers_are_asked_once_and_killed_ten_seconds_after_an_end_that_nobody_asked_for() {
        let mut state = state(&Config::default(), true, false);
        assert_eq!(state.deadline(), None, "no timer while the command runs");
        at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
        assert_eq!(at_time(&mut state, 3, LEFT), ASKED);
        assert_eq!(at_time(&mut state, 3, LEFT), [], "once");
        assert_eq!(state.deadline(), Some(at(4)));
        let roll = Action::NameLeftovers(Roll::Awaited(Some(at(9))));
        assert_eq!(at_time(&mut state, 4, Event::Deadline), [roll]);
        assert_eq!(state.deadline(), Some(at(13)));
        assert_eq!(at_time(&mut state, 13, Event::Deadline), KILLED);
        assert_eq!(only_end(at_time(&mut state, 13, NONE_LEFT)), Some(Outcome::Code(4)));
    }

    #[test]
    fn after_a_stop_request_there_is_no_limit_unless_a_grace_is_set() {
        let mut state = state(&Config::default(), true, false);
        at_time(&mut state, 2, term());
        assert_eq!(state.deadline(), None);
        at_time(&mut state, 3, died(COMMAND, killed(Signal::TERM)));
        assert_eq!(at_time(&mut state, 3, LEFT), ASKED);
        assert_eq!(at_time(&mut state, 4, Event::Deadline), [Action::NameLeftovers(Roll::Awaited(None))]);
        assert_eq!(state.deadline(), None);
        assert_eq!(only_end(at_time(&mut state, 999, NONE_LEFT)), Some(Outcome::Code(143)));
    }

    #[test]
    fn one_grace_covers_the_command_and_its_leftovers() {
        let config = Config { grace: Some(at(25)), ..Config::default() };
        let mut state = state(&config, true, false);
        at_time(&mut state, 10, term());
        assert_eq!(state.deadline(), Some(at(35)));
        at_time(&mut state, 30, term());
        assert_eq!(state.deadline(), Some(at(35)), "a second request gives no more time");
        at_time(&mut state, 33, died(COMMAND, Death::Exited(0)));
        assert_eq!(at_time(&mut state, 33, LEFT), ASKED);
        at_time(&mut state, 34, Event::Deadline);
        assert_eq!(at_time(&mut state, 35, Event::Deadline), KILLED);
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_everything_else() {
        let config = Config { grace: Some(at(5)), ..Config::default() };
        let mut state = state(&config, false, false);
        at_time(&mut state, 10, term());
        let [roll, kill] = KILLED;
        assert_eq!(at_time(&mut state, 15, Event::Deadline), [roll, Action::KillCommand(COMMAND), kill]);
        let ended = at_time(&mut state, 15, died(COMMAND, killed(Signal::KILL)));
        let asked = Cause::StopRequest { signal: Signal::TERM, sender: OTHER, took: at(5) };
        assert_eq!(cause(&ended), asked, "no incident");
        assert_eq!(at_time(&mut state, 15, LEFT), [], "they have been killed already");
        assert_eq!(only_end(at_time(&mut state, 16, NONE_LEFT)), Some(Outcome::Signal(Signal::KILL)));
    }

    #[test]
    fn a_grace_of_0_means_at_once() {
        let config = Config { grace: Some(Duration::ZERO), ..Config::default() };
        let mut unasked = state(&config, true, false);
        at_time(&mut unasked, 3, died(COMMAND, Death::Exited(4)));
        assert_eq!(at_time(&mut unasked, 3, LEFT), KILLED);
        let mut asked = state(&config, true, false);
        assert!(matches!(at_time(&mut asked, 3, term())[..], [Action::Forward { .. }]));
        assert_eq!(asked.deadline(), Some(at(3)));
    }

    #[test]
    fn without_leftovers_foster_ends_at_once() {
        for config in [Config::default(), Config { wait: true, grace: Some(at(5)), ..Config::default() }] {
            let mut state = state(&config, true, false);
            at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
            assert_eq!(only_end(at_time(&mut state, 3, NONE_LEFT)), Some(Outcome::Code(4)));
        }
    }

    #[test]
    fn sigkill_is_repeated_and_given_up_in_the_end() {
        let config = Config { grace: Some(Duration::ZERO), ..Config::default() };
        let mut state = state(&config, false, false);
        at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
        at_time(&mut state, 3, LEFT);
        let again = state.deadline().expect("again");
        assert_eq!(again, at(3).saturating_add(KILL_AGAIN_AFTER));
        let mut actions = Vec::new();
        step(&mut state, Event::Deadline, again, &mut actions);
        assert_eq!(actions, [Action::SignalLeftovers(Signal::KILL)]);
        let actions = at_time(&mut state, 13, Event::Deadline);
        let given_up =
            |action| matches!(action, Action::End(Summary { outcome: Outcome::Code(4), grace_over: true, .. }));
        assert!(matches!(actions[..], [Action::NameLeftovers(Roll::GivenUp), end] if given_up(end)), "{actions:?}");
    }

    #[test]
    fn with_a_grace_even_an_unkillable_command_does_not_keep_foster() {
        for is_pid1 in [true, false] {
            let config = Config { grace: Some(at(1)), ok_stop: true, ..Config::default() };
            let mut state = state(&config, is_pid1, false);
            at_time(&mut state, 3, term());
            at_time(&mut state, 4, Event::Deadline);
            let actions = at_time(&mut state, 14, Event::Deadline);
            let [Action::NameLeftovers(Roll::GivenUp), Action::End(summary)] = actions[..] else {
                panic!("{actions:?}")
            };
            // No signal has ended it, so foster does not end by one either.
            assert_eq!((summary.end.death, summary.outcome), (None, Outcome::Code(137)));
            assert!(matches!(summary.end.cause, Cause::StopRequest { .. }) && summary.grace_over, "{summary:?}");
        }
    }

    #[test]
    fn what_is_reaped_is_counted_as_what_it_was() {
        let config = Config { grace: Some(at(5)), ..Config::default() };
        let mut state = state(&config, true, false);
        let orphan = |death| died(99, death);
        at_time(&mut state, 3, orphan(killed(Signal::KILL)));
        at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
        at_time(&mut state, 3, orphan(Death::Exited(0)));
        at_time(&mut state, 3, LEFT);
        at_time(&mut state, 4, orphan(killed(Signal::TERM)));
        at_time(&mut state, 4, orphan(killed(Signal::KILL)));
        at_time(&mut state, 8, Event::Deadline);
        at_time(&mut state, 8, orphan(killed(Signal::KILL)));
        at_time(&mut state, 8, orphan(Death::Exited(1)));
        let actions = at_time(&mut state, 8, NONE_LEFT);
        let [Action::End(summary)] = actions[..] else { panic!("{actions:?}") };
        assert_eq!(summary.reaped, Reaped { orphans: 2, stopped: 3, killed: 1 });
        assert!(summary.grace_over);
    }

    #[test]
    fn leftovers_that_cannot_be_found_are_not_waited_for() {
        let mut state = state(&Config::default(), false, false);
        assert_eq!(at_time(&mut state, 3, Event::LeftoversLost), [], "the command is not lost");
        at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
        at_time(&mut state, 3, LEFT);
        assert_eq!(only_end(at_time(&mut state, 3, Event::LeftoversLost)), Some(Outcome::Code(4)));
        let mut waiting = self::state(&Config { wait: true, ..Config::default() }, false, false);
        at_time(&mut waiting, 3, died(COMMAND, Death::Exited(4)));
        at_time(&mut waiting, 3, LEFT);
        assert_eq!(at_time(&mut waiting, 3, Event::LeftoversLost), [], "they still are what foster stays for");
    }

    #[test]
    fn a_stop_request_that_comes_for_the_leftovers_goes_to_them() {
        let mut state = state(&Config { grace: Some(at(2)), ..Config::default() }, true, false);
        at_time(&mut state, 3, died(COMMAND, Death::Exited(4)));
        at_time(&mut state, 3, LEFT);
        assert_eq!(state.deadline(), Some(at(4)));
        let forward = Action::ForwardToLeftovers { signal: Signal::TERM, delivery: delivery(15, OTHER) };
        // One that was stopped since takes no other signal.
        assert_eq!(at_time(&mut state, 4, term()), [forward, Action::SignalLeftovers(Signal::CONT)]);
        at_time(&mut state, 4, Event::Deadline);
        assert_eq!(state.deadline(), Some(at(5)), "the deadline that was set does not move away");
    }

    #[test]
    fn a_ctrl_z_for_leftovers_stops_foster_too_and_what_continues_it_continues_them() {
        for (wait, kernel_alone) in [(false, true), (true, true), (true, false)] {
            for number in [20, 21, 22] {
                let sender = if kernel_alone { Sender::Kernel } else { OTHER };
                let mut config = Config { wait, ..Config::default() };
                config.rewrites.add("CONT:0").expect("valid");
                let mut state = state(&config, false, true);
                steps(&mut state, &[died(COMMAND, Death::Exited(4)), LEFT]);
                let delivery = delivery(number, sender);
                let forward = Action::ForwardToLeftovers { signal: delivery.signal, delivery };
                let stopped = steps(&mut state, &[Event::Signal(delivery)]);
                if !kernel_alone && number != 20 {
                    assert_eq!(stopped, [forward], "it was meant for them, and who catches it must not lose it");
                    continue;
                }
                assert_eq!(stopped, [forward, Action::SuspendSelf(delivery.signal)]);
                let cont = Event::Signal(self::delivery(18, OTHER));
                assert_eq!(steps(&mut state, &[cont]), [Action::SignalLeftovers(Signal::CONT)]);
                let again = steps(&mut state, &[cont, Event::NotSuspended]);
                assert!(matches!(again[..], [Action::Say(Report::Dropped(_))]), "{again:?}");
            }
        }
    }

    #[test]
    fn away_from_a_terminal_somebodys_sigtstp_for_leftovers_does_not_stop_foster() {
        for (sender, suspends) in [(OTHER, false), (Sender::Kernel, true)] {
            let mut state = state(&Config::default(), false, false);
            steps(&mut state, &[died(COMMAND, Death::Exited(4)), LEFT]);
            let actions = steps(&mut state, &[Event::Signal(delivery(20, sender))]);
            assert_eq!(actions.contains(&Action::SuspendSelf(Signal::TSTP)), suspends, "{actions:?}");
        }
    }

    #[test]
    fn where_foster_cannot_stop_a_ctrl_z_for_leftovers_is_undone() {
        for is_pid1 in [true, false] {
            let mut state = state(&Config::default(), is_pid1, true);
            steps(&mut state, &[died(COMMAND, Death::Exited(4)), LEFT]);
            let delivery = delivery(20, Sender::Kernel);
            let forward = Action::ForwardToLeftovers { signal: Signal::TSTP, delivery };
            let suspend = Action::SuspendSelf(Signal::TSTP);
            let undone = [Action::Say(Report::LeftoversContinued(Signal::TSTP)), Action::SignalLeftovers(Signal::CONT)];
            let stopped = steps(&mut state, &[Event::Signal(delivery)]);
            if is_pid1 {
                assert_eq!(stopped, [&[forward][..], &undone].concat());
            } else {
                assert_eq!(stopped, [forward, suspend]);
                assert_eq!(steps(&mut state, &[Event::NotSuspended]), undone);
            }
        }
    }

    #[test]
    fn a_stop_request_is_held_for_the_delay_and_then_forwarded() {
        let config = Config { stop_delay: at(5), ..Config::default() };
        let mut state = state(&config, true, false);
        let sent = delivery(15, OTHER);
        assert_eq!(at_time(&mut state, 3, term()), [Action::Say(Report::Held { delivery: sent, delay: at(5) })]);
        let usr1 = at_time(&mut state, 4, Event::Signal(delivery(10, OTHER)));
        assert!(matches!(usr1[..], [Action::Forward { .. }]), "other signals are not held: {usr1:?}");
        assert_eq!(at_time(&mut state, 4, died(99, Death::Exited(0))), []);
        assert_eq!(state.deadline(), Some(at(8)));
        let forward = Action::Forward { target: Target::Command(COMMAND), signal: Signal::TERM, delivery: sent };
        assert_eq!(at_time(&mut state, 8, Event::Deadline), [forward]);
        assert_eq!(state.deadline(), None);
        assert_eq!(at_time(&mut state, 9, term()), [forward], "a later one is not held again");
    }

    #[test]
    fn a_second_request_or_the_commands_end_cuts_the_delay_short() {
        let config = Config { stop_delay: at(5), ..Config::default() };
        let mut hurried = state(&config, true, false);
        at_time(&mut hurried, 3, term());
        let both = at_time(&mut hurried, 4, Event::Signal(delivery(2, OTHER)));
        assert!(
            matches!(
                both[..],
                [Action::Forward { signal: Signal::TERM, .. }, Action::Forward { signal: Signal::INT, .. }]
            ),
            "{both:?}"
        );
        assert_eq!(hurried.deadline(), None);
        let mut ended = state(&config, true, false);
        at_time(&mut ended, 3, term());
        at_time(&mut ended, 4, died(COMMAND, Death::Exited(0)));
        assert_eq!(ended.deadline(), None);
        assert_eq!(only_end(at_time(&mut ended, 4, NONE_LEFT)), Some(Outcome::Code(0)));
    }

    #[test]
    fn the_grace_counts_from_the_request_and_not_from_its_forwarding() {
        let config = Config { stop_delay: at(5), grace: Some(at(20)), ..Config::default() };
        let mut state = state(&config, true, false);
        at_time(&mut state, 10, term());
        at_time(&mut state, 15, Event::Deadline);
        assert_eq!(state.deadline(), Some(at(30)));
    }

    #[test]
    fn with_wait_the_leftovers_are_left_alone_until_a_stop_request() {
        let config = Config { wait: true, grace: Some(at(5)), ..Config::default() };
        let mut state = state(&config, true, false);
        at_time(&mut state, 3, died(COMMAND, Death::Exited(0)));
        assert_eq!(at_time(&mut state, 3, LEFT), [Action::Say(Report::LeftoversAwaited)]);
        assert_eq!(state.deadline(), None);
        assert_eq!(at_time(&mut state, 50, LEFT), []);
        let forward = |number| Action::ForwardToLeftovers {
            signal: Signal::new(number).expect("a signal"),
            delivery: delivery(number, OTHER),
        };
        assert_eq!(at_time(&mut state, 60, Event::Signal(delivery(1, OTHER))), [forward(1)]);
        assert_eq!(state.deadline(), None, "SIGHUP is no stop request");
        assert_eq!(at_time(&mut state, 70, term()), [forward(15), Action::SignalLeftovers(Signal::CONT)]);
        assert_eq!(state.deadline(), Some(at(71)));
        at_time(&mut state, 71, Event::Deadline);
        assert_eq!(at_time(&mut state, 75, Event::Deadline), KILLED);
        assert_eq!(only_end(at_time(&mut state, 75, NONE_LEFT)), Some(Outcome::Code(0)));
    }

    #[test]
    fn with_wait_a_stop_request_from_before_the_commands_end_is_not_forgotten() {
        let config = Config { wait: true, stop_delay: at(5), ..Config::default() };
        let mut state = state(&config, true, false);
        at_time(&mut state, 3, term());
        at_time(&mut state, 4, died(COMMAND, Death::Exited(0)));
        assert_eq!(at_time(&mut state, 4, LEFT), ASKED);
    }

    #[test]
    fn a_dropped_stop_request_is_none() {
        let mut config = Config { grace: Some(at(5)), ..Config::default() };
        config.rewrites.add("TERM:0").expect("valid");
        let mut state = state(&config, true, false);
        at_time(&mut state, 3, term());
        assert_eq!(state.deadline(), None);
    }

    #[test]
    fn with_ok_stop_only_the_end_by_the_requests_own_signal_is_0() {
        let mut config = Config { ok_stop: true, grace: Some(at(5)), ..Config::default() };
        config.rewrites.add("INT:USR1").expect("valid");
        let usr1 = Signal::new(10).expect("USR1");
        let int = Event::Signal(delivery(2, OTHER));
        let hup = Event::Signal(delivery(1, OTHER));
        for (events, death, expected) in [
            (vec![term()], killed(Signal::TERM), Outcome::Code(0)),
            (vec![term()], Death::Exited(143), Outcome::Code(0)),
            (vec![term()], Death::Exited(0), Outcome::Code(0)),
            (vec![int], killed(usr1), Outcome::Code(0)),
            (vec![int, term()], killed(Signal::TERM), Outcome::Code(0)),
            (vec![], killed(Signal::TERM), Outcome::Signal(Signal::TERM)),
            (vec![], Death::Exited(143), Outcome::Code(143)),
            (vec![term()], Death::Exited(1), Outcome::Code(1)),
            (vec![term()], Death::Exited(15), Outcome::Code(15)),
            (vec![term()], killed(Signal::INT), Outcome::Signal(Signal::INT)),
            (vec![int], killed(Signal::INT), Outcome::Signal(Signal::INT)),
            (vec![hup], killed(Signal::HUP), Outcome::Signal(Signal::HUP)),
            (vec![term(), Event::Deadline], killed(Signal::KILL), Outcome::Signal(Signal::KILL)),
        ] {
            let mut state = state(&config, false, false);
            for event in &events {
                at_time(&mut state, 3, *event);
            }
            at_time(&mut state, 3, died(COMMAND, death));
            // What arrives after the end has not caused it.
            at_time(&mut state, 3, term());
            assert_eq!(only_end(at_time(&mut state, 3, NONE_LEFT)), Some(expected), "{events:?} {death:?}");
        }
    }

    #[test]
    fn a_request_that_is_still_held_has_not_ended_the_command() {
        let config = Config { ok_stop: true, stop_delay: at(5), ..Config::default() };
        let mut state = state(&config, true, false);
        at_time(&mut state, 3, term());
        at_time(&mut state, 4, died(COMMAND, killed(Signal::TERM)));
        assert_eq!(only_end(at_time(&mut state, 4, NONE_LEFT)), Some(Outcome::Code(143)));
    }

    fn with_ways(ways: Ways) -> Config<'static> {
        Config { ways, group: true, ..Config::default() }
    }

    #[test]
    fn a_persona_may_leave_its_leftovers() {
        let config = with_ways(Ways { at_end: AtEnd::Leave, ends_by_code: true, ..Ways::default() });
        let mut state = state(&config, false, false);
        assert!(!state.asks_group());
        at_time(&mut state, 3, died(COMMAND, killed(Signal::TERM)));
        let end = at_time(&mut state, 3, LEFT);
        assert!(matches!(end.last(), Some(Action::End(Summary { outcome: Outcome::Code(143), .. }))), "{end:?}");
        assert!(!end.iter().any(|action| matches!(action, Action::SignalLeftovers(_))), "{end:?}");
    }

    #[test]
    fn a_persona_may_ask_the_commands_group_once_while_its_number_is_its_own() {
        let mut config = with_ways(Ways { at_end: AtEnd::AskGroup, ..Ways::default() });
        config.rewrites.add("TERM:QUIT").expect("valid");
        let mut asking = state(&config, false, false);
        assert!(asking.asks_group());
        assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: 99 }), [], "an orphan");
        let ask = Action::SignalGroup { leader: COMMAND, signal: Signal::QUIT };
        assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: COMMAND }), [ask]);
        assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: COMMAND }), [], "once");
        at_time(&mut asking, 3, died(COMMAND, Death::Exited(4)));
        assert!(matches!(
            at_time(&mut asking, 3, LEFT).last(),
            Some(Action::End(Summary { outcome: Outcome::Code(4), .. }))
        ));
        assert_eq!(at_time(&mut asking, 3, Event::Unreaped { pid: COMMAND }), [], "never again");
        config.rewrites.add("TERM:0").expect("valid");
        let mut dropping = state(&config, false, false);
        assert_eq!(at_time(&mut dropping, 3, Event::Unreaped { pid: COMMAND }), []);
    }

    #[test]
    fn a_persona_may_stop_when_it_is_told_and_not_when_its_command_stops() {
        let mut config = with_ways(Ways { stops_when_told: true, ..Ways::default() });
        config.rewrites.default_to(Signal::TSTP, Signal::STOP);
        config.rewrites.add("TTIN:0").expect("valid");
        let mut state = state(&config, false, false);
        let told = steps(&mut state, &[Event::Signal(delivery(20, OTHER))]);
        let suspend = Action::SuspendSelf(Signal::STOP);
        assert!(
            matches!(told[..], [Action::Forward { signal: Signal::STOP, .. }, last] if last == suspend),
            "{told:?}"
        );
        assert_eq!(steps(&mut state, &[stopped(Signal::STOP)]), []);
        let resumed = steps(&mut state, &[Event::Signal(delivery(18, OTHER))]);
        assert!(matches!(resumed[..], [Action::Forward { signal: Signal::CONT, .. }]), "{resumed:?}");
        let dropped = steps(&mut state, &[Event::Signal(delivery(21, OTHER))]);
        assert!(matches!(dropped[..], [Action::Say(_), last] if last == suspend), "{dropped:?}");
        assert_eq!(steps(&mut state, &[Event::NotSuspended]), [], "PID 1 cannot be stopped");
    }

    fn stopped(signal: Signal) -> Event {
        Event::Stopped { pid: COMMAND, signal }
    }

    /// What comes of a stop when the command cannot have the terminal.
    fn stops(state: &mut State, signal: Signal) -> Vec<Action> {
        let mut actions = steps(state, &[stopped(signal)]);
        if actions == [Action::OfferTerminal { pid: COMMAND, signal }] {
            actions = steps(state, &[Event::Offered { pid: COMMAND, signal, taken: false }]);
        }
        actions
    }

    #[test]
    fn a_command_that_stops_for_want_of_the_terminal_gets_it_if_foster_s_group_has_it() {
        for (is_pid1, signal) in [(false, Signal::TTIN), (false, Signal::TTOU), (true, Signal::TTIN)] {
            let mut state = state(&Config::default(), is_pid1, false);
            let offer = Action::OfferTerminal { pid: COMMAND, signal };
            assert_eq!(steps(&mut state, &[stopped(signal)]), [offer]);
            let taken = Event::Offered { pid: COMMAND, signal, taken: true };
            assert_eq!(steps(&mut state, &[taken]), [Action::Continue(COMMAND)]);
            assert!(state.had_terminal);
            assert_eq!(steps(&mut state, &[taken]), [], "once");
            steps(&mut state, &[stopped(signal), died(COMMAND, Death::Exited(0))]);
            assert_eq!(steps(&mut state, &[taken]), [], "of the living");
        }
    }

    #[test]
    fn as_a_wrapper_foster_stops_with_its_command_and_continues_with_it() {
        for has_terminal in [true, false] {
            let terminals = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
            for signal in terminals.into_iter().chain(has_terminal.then_some(Signal::STOP)) {
                let mut state = state(&Config::default(), false, has_terminal);
                let taken = has_terminal.then_some(Action::TakeTerminal(COMMAND));
                let suspend = match signal {
                    // It would hold foster also where nobody continues it.
                    Signal::STOP => Action::SuspendSelf(Signal::TSTP),
                    Signal::TSTP if !has_terminal => Action::SuspendSelf(signal),
                    // The terminal's.
                    _ => Action::SuspendGroup(signal),
                };
                let expected: Vec<_> = taken.into_iter().chain([suspend]).collect();
                assert_eq!(stops(&mut state, signal), expected);
                let cont = Event::Signal(delivery(18, OTHER));
                let resumed = [Action::HandTerminal(COMMAND), Action::Continue(COMMAND)];
                assert_eq!(steps(&mut state, &[cont]), resumed);
                let again = steps(&mut state, &[cont]);
                assert!(matches!(again[..], [Action::Forward { signal: Signal::CONT, .. }]), "{again:?}");
            }
        }
    }

    #[test]
    fn a_stop_that_foster_forwarded_is_not_for_its_group_and_the_next_one_is() {
        for number in [20, 21, 22] {
            let mut state = state(&Config::default(), false, true);
            let (sent, signal) = (delivery(number, OTHER), Signal::new(number).expect("a signal"));
            let told = steps(&mut state, &[Event::Signal(sent), stopped(signal)]);
            assert_eq!(told.last(), Some(&Action::SuspendSelf(signal)));
            steps(&mut state, &[Event::Signal(delivery(18, OTHER))]);
            let next = stops(&mut state, signal);
            assert_eq!(next.last(), Some(&Action::SuspendGroup(signal)));
        }
    }

    #[test]
    fn as_pid_1_only_a_ctrl_z_is_undone() {
        for (signal, continued) in
            [(Signal::TSTP, true), (Signal::STOP, false), (Signal::TTIN, false), (Signal::TTOU, false)]
        {
            let mut state = state(&Config::default(), true, false);
            let mut expected = vec![Action::Say(Report::Stopped { signal, continued })];
            expected.extend(continued.then_some(Action::Continue(COMMAND)));
            assert_eq!(stops(&mut state, signal), expected);
        }
    }

    #[test]
    fn away_from_a_terminal_foster_goes_on_when_somebody_stops_its_command() {
        let mut state = state(&Config::default(), false, false);
        let told = Action::Say(Report::Stopped { signal: Signal::STOP, continued: false });
        assert_eq!(steps(&mut state, &[stopped(Signal::STOP)]), [told]);
    }

    #[test]
    fn where_foster_cannot_stop_a_ctrl_z_is_undone_too() {
        let mut state = state(&Config::default(), false, true);
        let actions = steps(&mut state, &[stopped(Signal::TSTP), Event::NotSuspended]);
        let expected = [
            Action::TakeTerminal(COMMAND),
            Action::SuspendGroup(Signal::TSTP),
            Action::Say(Report::Stopped { signal: Signal::TSTP, continued: true }),
            Action::HandTerminal(COMMAND),
            Action::Continue(COMMAND),
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn where_foster_cannot_stop_a_command_that_somebody_stopped_stays_so_and_has_the_terminal() {
        let mut state = state(&Config::default(), false, true);
        let actions = steps(&mut state, &[stopped(Signal::STOP), Event::NotSuspended]);
        let expected = [
            Action::TakeTerminal(COMMAND),
            Action::SuspendSelf(Signal::TSTP),
            Action::Say(Report::Stopped { signal: Signal::STOP, continued: false }),
            Action::HandTerminal(COMMAND),
        ];
        assert_eq!(actions, expected);
        let asked = steps(&mut state, &[term()]);
        assert!(matches!(asked[..], [Action::Forward { .. }, Action::Continue(COMMAND)]), "{asked:?}");
    }

    #[test]
    fn an_orphan_that_stops_is_its_own_affair() {
        let mut state = state(&Config::default(), false, true);
        assert_eq!(steps(&mut state, &[Event::Stopped { pid: 99, signal: Signal::TSTP }]), []);
    }

    #[test]
    fn a_stop_request_continues_a_stopped_command() {
        let mut state = state(&Config::default(), true, false);
        let actions = steps(&mut state, &[stopped(Signal::STOP), term(), term()]);
        assert!(
            matches!(
                actions[..],
                [Action::Say(_), Action::Forward { .. }, Action::Continue(COMMAND), Action::Forward { .. }]
            ),
            "{actions:?}"
        );
    }

    #[test]
    fn the_terminal_is_taken_back_when_the_command_has_ended() {
        let actions = steps(&mut state(&Config::default(), false, true), &[died(COMMAND, Death::Exited(0))]);
        assert!(actions.contains(&Action::TakeTerminal(COMMAND)), "{actions:?}");
        let actions = steps(&mut state(&Config::default(), false, false), &[died(COMMAND, Death::Exited(0))]);
        assert!(!actions.contains(&Action::TakeTerminal(COMMAND)), "{actions:?}");
    }

    #[test]
    fn a_pause_reaps_and_ends_on_sigterm_and_sigint_alone() {
        for is_pid1 in [true, false] {
            // Options about a command, which a pod may set for all its containers, change nothing.
            let mut config = Config { grace: Some(at(5)), stop_delay: at(2), wait: true, ..Config::default() };
            config.rewrites.add("TERM:0").expect("valid");
            let mut state = State::paused(&config, is_pid1);
            for number in (1..=64).filter(|number| ![2, 15].contains(number)) {
                assert_eq!(steps(&mut state, &[Event::Signal(delivery(number, OTHER))]), [], "signal {number}");
            }
            let mine = Event::Signal(delivery(15, Sender::Myself));
            let events =
                [died(0, Death::Exited(1)), died(99, killed(Signal::KILL)), LEFT, NONE_LEFT, Event::Deadline, mine];
            assert_eq!(steps(&mut state, &events), []);
            assert_eq!(state.deadline(), None);
            assert!(!state.is_command(0));
            for number in [2, 15] {
                let delivery = delivery(number, OTHER);
                let ended = [Action::Say(Report::PauseEnded { delivery, orphans: 2 }), Action::EndPause];
                assert_eq!(steps(&mut state.clone(), &[Event::Signal(delivery)]), ended);
            }
        }
    }

    #[test]
    fn a_stopped_command_is_continued_for_a_stop_request_unless_it_was_already() {
        for (between, count) in [(10, 1), (18, 0)] {
            let mut state = state(&Config::default(), true, false);
            steps(&mut state, &[stopped(Signal::STOP), Event::Signal(delivery(between, OTHER))]);
            let asked = steps(&mut state, &[term()]);
            let continued = asked.iter().filter(|action| **action == Action::Continue(COMMAND)).count();
            assert_eq!(continued, count, "after signal {between}: {asked:?}");
        }
    }

    #[test]
    fn a_stop_request_is_not_held_from_leftovers_that_are_asked_already() {
        let config = Config { stop_delay: at(2), ..Config::default() };
        let mut state = state(&config, true, false);
        steps(&mut state, &[died(COMMAND, Death::Exited(0)), LEFT]);
        let asked = steps(&mut state, &[term()]);
        assert!(matches!(asked[..], [Action::ForwardToLeftovers { signal: Signal::TERM, .. }, _]), "{asked:?}");
    }

    /// One way to configure and to start foster.
    type Policy = (Config<'static>, bool, bool);

    fn every_policy() -> Vec<Policy> {
        let dumb_init = Ways { at_end: AtEnd::AskGroup, stops_when_told: true, ends_by_code: true, ..Ways::default() };
        let tini = Ways { at_end: AtEnd::Leave, ..Ways::default() };
        let mut policies = Vec::new();
        for (group, grace) in [(false, None), (true, Some(at(5))), (false, Some(at(0)))] {
            for (stop_delay, wait) in [(at(0), false), (at(0), true), (at(2), false), (at(2), true)] {
                for ways in [Ways::default(), dumb_init.clone(), tini.clone()] {
                    for (is_pid1, has_terminal) in [(true, false), (true, true), (false, false), (false, true)] {
                        let mut config =
                            Config { group, grace, stop_delay, wait, ways: ways.clone(), ..Config::default() };
                        config.rewrites.add("HUP:0").expect("valid");
                        policies.push((config, is_pid1, has_terminal));
                    }
                }
            }
        }
        policies
    }

    /// What can happen. The second of the two is a deadline before its time: the wait was interrupted.
    const HAPPENINGS: usize = 16;

    fn happening(which: usize) -> Event {
        match which {
            0 => term(),
            1 => Event::Signal(delivery(2, OTHER)),
            2 => Event::Signal(delivery(18, OTHER)),
            3 => Event::Signal(delivery(17, Sender::Kernel)),
            4 => Event::Signal(delivery(1, OTHER)),
            5 => Event::Signal(delivery(20, OTHER)),
            6 => died(COMMAND, Death::Exited(4)),
            7 => died(99, killed(Signal::KILL)),
            8 => stopped(Signal::TSTP),
            9 => stopped(Signal::STOP),
            10 => LEFT,
            11 => NONE_LEFT,
            12 => Event::NotSuspended,
            13 => Event::LeftoversLost,
            14 => stopped(Signal::TTIN),
            _ => Event::Deadline,
        }
    }

    /// A foster, and what is true of the processes around it.
    #[derive(Clone)]
    struct World {
        state: State,
        now: Duration,
        command_dead: bool,
        ended: bool,
    }

    impl World {
        fn new((config, is_pid1, has_terminal): &Policy) -> World {
            World { state: state(config, *is_pid1, *has_terminal), now: at(1), command_dead: false, ended: false }
        }

        /// Steps one event, and looks at every promise that a single step can break.
        fn happens(&mut self, event: Event) -> Vec<Action> {
            let before = self.state.clone();
            let mut actions = Vec::new();
            if let Event::Died { pid: COMMAND, .. } = event {
                if before.asks_group() {
                    step(&mut self.state, Event::Unreaped { pid: COMMAND }, self.now, &mut actions);
                }
                self.command_dead = true;
            }
            let of_the_dead = actions.len();
            if !self.state.minds_the_time(&event) {
                self.is_the_same_at_any_time(event);
            }
            step(&mut self.state, event, self.now, &mut actions);
            if let Some(Action::OfferTerminal { pid, signal }) = actions.last().copied() {
                // Sometimes it is to be had.
                let taken = self.now.as_millis().is_multiple_of(2);
                step(&mut self.state, Event::Offered { pid, signal, taken }, self.now, &mut actions);
            }
            let ends = actions.iter().filter(|action| matches!(action, Action::End(_))).count();
            assert!(!self.ended, "nothing happens after the end");
            self.ended = ends > 0;
            assert!(
                ends <= 1 && (ends == 0 || matches!(actions.last(), Some(Action::End(_)))),
                "{event:?} {actions:?}"
            );
            if self.command_dead {
                let names = |action: &Action| names_the_command(*action);
                assert!(!actions.iter().skip(of_the_dead).any(names), "{event:?} {actions:?}");
            }
            for (index, action) in actions.iter().enumerate() {
                if let Action::ForwardToLeftovers { delivery, .. } = action
                    && delivery.signal.is_stop_request()
                {
                    let next = actions.get(index + 1);
                    assert_eq!(next, Some(&Action::SignalLeftovers(Signal::CONT)), "who stands still hears nothing");
                }
            }
            let suspends_self = actions.iter().any(|action| matches!(action, Action::SuspendSelf(_)));
            let suspends_group = actions.iter().any(|action| matches!(action, Action::SuspendGroup(_)));
            assert!(!suspends_self || !before.is_pid1 || before.stops_when_told, "{event:?} {actions:?}");
            assert!(!suspends_group || !(before.is_pid1 || before.stops_when_told), "{event:?} {actions:?}");
            let leaves = actions.contains(&Action::NameLeftovers(Roll::GivenUp)) || event == Event::LeftoversLost;
            let may_end = event == NONE_LEFT || leaves || before.at_end != AtEnd::StopLeftovers;
            assert!(ends == 0 || may_end, "leftovers at the end: {event:?} {actions:?}");
            if let (Some(was), is) = (before.kill_at, self.state.kill_at) {
                assert!(is.is_some_and(|is| is <= was), "{event:?}: {was:?} became {is:?}");
            }
            if let (Some(was), is) = (before.killing, self.state.killing) {
                assert!(is.is_some_and(|is| is.since == was.since && is.again_at >= was.again_at), "{event:?}");
            }
            actions
        }

        fn is_the_same_at_any_time(&self, event: Event) {
            let (mut now, mut at_start, mut actions, mut actions_at_start) =
                (self.state.clone(), self.state.clone(), Vec::new(), Vec::new());
            step(&mut now, event, self.now, &mut actions);
            step(&mut at_start, event, Duration::ZERO, &mut actions_at_start);
            assert_eq!((now, actions), (at_start, actions_at_start), "{event:?}");
        }

        /// The time passes until the deadline, if there is one.
        fn deadline_comes(&mut self) -> Option<Vec<Action>> {
            self.now = self.now.max(self.state.deadline()?);
            let actions = self.happens(Event::Deadline);
            let next = self.state.deadline();
            assert!(self.ended || next.is_none_or(|next| next > self.now), "the same deadline for ever");
            Some(actions)
        }

        /// Steps what the number stands for; false if it cannot happen here.
        fn may_happen(&mut self, which: usize) -> bool {
            let event = happening(which);
            if self.ended || (self.command_dead && which == 6) || (!self.command_dead && which == 11) {
                return false;
            }
            self.now += Duration::from_millis(1);
            match which {
                HAPPENINGS => return self.deadline_comes().is_some(),
                _ => self.happens(event),
            };
            true
        }

        /// The command ends when a stop request or SIGKILL reaches it, and its leftovers when they are asked.
        fn ends_when_processes_obey(mut self) {
            let mut asked = !self.happens(term()).is_empty();
            for _ in 0..10 {
                if !self.command_dead && asked && (self.state.held.is_none() || self.state.killing.is_some()) {
                    self.happens(died(COMMAND, Death::Exited(0)));
                } else if self.command_dead {
                    let leftovers = self.happens(LEFT);
                    // They may have been asked before.
                    asked |= leftovers.iter().any(|action| matches!(action, Action::SignalLeftovers(_)));
                    if !self.ended && asked {
                        self.happens(NONE_LEFT);
                    }
                } else {
                    asked |= self.deadline_comes().is_some();
                }
                if self.ended {
                    return;
                }
            }
            panic!("it does not end: {:?}", self.state);
        }

        /// Nobody ends, not even on SIGKILL.
        fn ends_with_a_grace_whatever_processes_do(mut self) {
            self.happens(term());
            for _ in 0..1_100 {
                if !self.ended {
                    self.deadline_comes().expect("a deadline");
                }
                if !self.ended && self.command_dead {
                    self.happens(LEFT);
                }
                if self.ended {
                    return;
                }
            }
            panic!("it does not end: {:?}", self.state);
        }
    }

    /// Whatever happens in whatever order, up to a length, under every policy.
    #[test]
    fn every_sequence_of_events_keeps_the_promises() {
        let depth = std::env::var("TEST_DEPTH").map_or(4, |depth| depth.parse().expect("a number"));
        for policy in every_policy() {
            explore(&World::new(&policy), depth);
        }
    }

    fn explore(world: &World, depth: u32) {
        world.clone().ends_when_processes_obey();
        if depth == 0 {
            return;
        }
        for which in 0..=HAPPENINGS {
            let mut next = world.clone();
            if next.may_happen(which) && !next.ended {
                explore(&next, depth - 1);
            }
        }
    }

    #[test]
    fn with_a_grace_every_stop_request_ends_whatever_processes_do() {
        for policy in every_policy().into_iter().filter(|(config, ..)| config.grace.is_some()) {
            let world = World::new(&policy);
            world.clone().ends_with_a_grace_whatever_processes_do();
            for first in 0..=HAPPENINGS {
                let mut next = world.clone();
                if next.may_happen(first) && !next.ended {
                    next.ends_with_a_grace_whatever_processes_do();
                }
            }
        }
    }

    proptest! {
        #[test]
        fn long_sequences_of_events_keep_the_promises(
            policy in any::<proptest::sample::Index>(),
            sequence in proptest::collection::vec(0..=HAPPENINGS, 0..200),
        ) {
            let policies = every_policy();
            let policy = policy.get(&policies);
            let mut world = World::new(policy);
            for which in sequence {
                world.may_happen(which);
            }
            if !world.ended {
                world.clone().ends_when_processes_obey();
                if policy.0.grace.is_some() {
                    world.ends_with_a_grace_whatever_processes_do();
                }
            }
        }
    }
}
