//! Start-up in order, then the loop: wait, reap, ask the policy, do what it says. Nothing is decided here.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::getppid;

use crate::cgroup::OomWatch;
use crate::config::{Apart, Config, Orphans};
use crate::exit::{Change, Death, Outcome};
use crate::facts::{Lack, Orphan, Report, Roll, Summary};
use crate::leftovers::{self, INIT};
use crate::policy::{Action, Event, Started, State, Target, step};
use crate::proc;
use crate::report::Reporter;
use crate::signal::{Delivery, Sender, Signal, SignalSet};
use crate::spawn::{self, Failure, Inherited, Spawned};
use crate::sys::{self, Disposition, NoNews, Peeked, Waited, Whom};
use crate::terminal::{self, Foreground};

/// Runs the command to its end, and ends foster with it. Returns foster's exit code if the command could not be started.
///
/// `mask` is the signal mask that foster was started with, from before it blocked every signal.
#[inline(never)]
pub fn run(config: &Config, environment: &[&CStr], mask: SignalSet) -> u8 {
    // If SIGCHLD were inherited as ignored, the kernel would reap for us, and the exit status would be lost.
    let sigchld = sys::set_disposition(Signal::CHLD, Disposition::Default).unwrap_or(Disposition::Default);
    let command = config.command.first().map_or(&b""[..], |name| name.to_bytes());
    let reporter = Reporter::new(command, &config.log, config.termination_log.as_deref());
    let own = sys::pid();
    let is_pid1 = own == INIT;
    if !is_pid1 {
        adopt_orphans(config.ways.orphans, &reporter);
    }
    let orphaned = config.parent_death.and_then(|signal| watch_parent(signal, &reporter));
    if config.pause {
        return pause(config, is_pid1, reporter, orphaned);
    }
    let terminal = match config.ways.apart {
        Apart::Group => Foreground::own(),
        Apart::Session => {
            sys::leave_terminal();
            None
        }
    };
    let spawned = match spawn::spawn(config, environment, Inherited { mask, sigchld }, own, terminal.as_ref()) {
        Ok(spawned) => spawned,
        Err(failure) => return not_started(config, &reporter, &failure),
    };
    drop(terminal);
    let clock = Clock::start();
    release_what_was_inherited(is_pid1);
    say_started(&spawned, &reporter);
    let started = Started { pid: spawned.pid, is_pid1, has_terminal: spawned.has_terminal };
    Foster::new(State::new(config, started), is_pid1, reporter, clock).run(orphaned)
}

fn say_started(spawned: &Spawned, reporter: &Reporter) {
    if let Some(errno) = spawned.no_group {
        reporter.say(Report::Degraded { what: Lack::Group, errno });
    }
    if let Some(errno) = spawned.no_terminal {
        reporter.say(Report::Degraded { what: Lack::Terminal, errno });
    }
    reporter.say(Report::Started { pid: spawned.pid });
}

#[cold]
fn not_started(config: &Config, reporter: &Reporter, failure: &Failure) -> u8 {
    let code = config.ways.codes.of(failure.code);
    reporter.not_started(&failure.message, code);
    code
}

/// `--pause`. LISTEN_FDS and LISTEN_PID in foster's own environment stay as they are, since nobody is there to use the
/// sockets. foster closes its copies of them, so that it does not keep them open for whoever passed them on.
#[cold]
fn pause(config: &Config, is_pid1: bool, reporter: Reporter, orphaned: Option<Delivery>) -> u8 {
    // With a command, its child finds this out before the exec, at no call more.
    if let Err(errno) = sys::can_wait_for_signals() {
        return not_started(config, &reporter, &Failure::refused("rt_sigtimedwait(2)", errno));
    }
    release_what_was_inherited(is_pid1);
    reporter.say(Report::Paused);
    Foster::new(State::paused(config, is_pid1), is_pid1, reporter, Clock::start()).run(orphaned)
}

/// Has the orphans come to foster where it is not PID 1, or says that they do not.
fn adopt_orphans(orphans: Orphans, reporter: &Reporter) {
    match orphans {
        Orphans::Adopted => {
            if let Err(errno) = prctl::set_child_subreaper(true) {
                reporter.say(Report::Degraded { what: Lack::Subreaper, errno });
            }
        }
        Orphans::ElsewhereWithWarning if prctl::get_child_subreaper() != Ok(true) => {
            reporter.say(Report::OrphansElsewhere);
        }
        Orphans::Elsewhere | Orphans::ElsewhereWithWarning => {}
    }
}

/// Asks for a signal when the parent dies. If the parent died just before that, the kernel will not send it any more, so
/// the signal is returned as if it had.
#[cold]
fn watch_parent(signal: Signal, reporter: &Reporter) -> Option<Delivery> {
    let parent = getppid();
    if let Err(errno) = sys::set_parent_death_signal(signal) {
        reporter.say(Report::Degraded { what: Lack::ParentDeath, errno });
        return None;
    }
    (getppid() != parent).then_some(Delivery { signal, sender: Sender::Kernel, payload: None })
}

/// The command has its own copies by now. If foster kept a working directory, it would pin a mount. If it kept the end of a
/// pipe, the pipe's reader would still wait when the command has closed it.
fn release_what_was_inherited(is_pid1: bool) {
    // An error would only mean that there is nothing better.
    let _ = nix::unistd::chdir("/");
    // As PID 1, stdin and stdout stay: programs in containers write to /proc/1/fd/1, and the runtime holds the other ends.
    let low = if is_pid1 { &[][..] } else { &[0, 1][..] };
    // SAFETY: foster has opened nothing that is still open, and uses none of what it inherited but stderr.
    #[allow(unsafe_code)]
    unsafe {
        sys::close_descriptors(low);
    }
}

struct Foster<'a> {
    state: State,
    is_pid1: bool,
    reporter: Reporter<'a>,
    clock: Clock,
    /// Kept from event to event, so that none allocates.
    actions: Vec<Action>,
    /// That a forward was not permitted has been said.
    warned: bool,
    oom: OomWatch,
    reaping: Reaping,
    /// /proc is that of this PID namespace, so what it says of a pid is true. Looked at when somebody is to be named.
    can_name: OnceCell<bool>,
}

/// The time since the command's start: read when it matters, and once for all that one wake-up brings.
struct Clock {
    started: Duration,
    now: Option<Duration>,
}

impl Clock {
    fn start() -> Clock {
        Clock { started: sys::monotonic_time(), now: Some(Duration::ZERO) }
    }

    fn now(&mut self) -> Duration {
        *self.now.get_or_insert_with(|| sys::monotonic_time().saturating_sub(self.started))
    }

    /// Time has passed, so the clock is to be read again when it matters.
    fn forget(&mut self) {
        self.now = None;
    }
}

impl<'a> Foster<'a> {
    fn new(state: State, is_pid1: bool, reporter: Reporter<'a>, clock: Clock) -> Foster<'a> {
        let (actions, oom) = (Vec::with_capacity(8), OomWatch::start());
        Foster {
            state,
            is_pid1,
            reporter,
            clock,
            actions,
            warned: false,
            oom,
            reaping: Reaping::START,
            can_name: OnceCell::new(),
        }
    }

    /// Handles events one by one until the policy ends foster.
    fn run(mut self, first: Option<Delivery>) -> ! {
        let mut next = first.map(Event::Signal);
        loop {
            let event = next.take().unwrap_or_else(|| self.next_event());
            next = self.handle(event);
        }
    }

    /// Reaps until nothing is left at every wake-up, and sleeps in one system call in between. It reaps before the first
    /// sleep too: children of the program that foster replaced by exec may have died long before.
    fn next_event(&mut self) -> Event {
        if self.reaping.takes_one_more(&mut self.clock) {
            return match self.news() {
                Ok(event) => event,
                Err(no_news) => {
                    self.reaping = Reaping::Done;
                    self.oom.settle();
                    Event::Drained { children_left: no_news.children_left }
                }
            };
        }
        // What was done since the last wake-up may have taken long.
        self.clock.forget();
        let left = match self.reaping {
            Reaping::Done => self.state.deadline().map(|deadline| deadline.saturating_sub(self.clock.now())),
            Reaping::On { .. } => Some(Duration::ZERO),
        };
        let taken = sys::wait_for_signal(left);
        self.clock.forget();
        self.reaping = Reaping::START;
        let Some(delivery) = taken else { return Event::Deadline };
        let delivery = self.with_sender_named(delivery);
        // If foster said that a SIGPIPE of its own came, that line would cause the next one, for ever.
        if delivery.sender != Sender::Myself {
            self.reporter.say(Report::Received(delivery));
        }
        Event::Signal(delivery)
    }

    /// One child's news. At the default level that is one system call and nothing else.
    fn news(&mut self) -> Result<Event, NoNews> {
        loop {
            let waited = if self.reporter.describes_orphans() || self.state.asks_group() {
                let peeked = sys::peek_any()?;
                if let Some(Peeked { pid, died: true }) = peeked
                    && self.state.asks_group()
                    && self.state.is_command(pid)
                {
                    // Before it is reaped, since its group's number may be another's afterwards.
                    return Ok(Event::Unreaped { pid });
                }
                let Some(waited) = self.reap_looked_at(peeked.map(|peeked| peeked.pid))? else { continue };
                waited
            } else {
                sys::reap_any()?
            };
            match Change::from_status(waited.status) {
                Some(Change::Died(death)) => {
                    let oom_kills = self.oom_kills_of_command(waited.pid, death);
                    return Ok(Event::Died { pid: waited.pid, death, oom_kills });
                }
                Some(Change::Stopped(signal)) => return Ok(Event::ChildStopped { pid: waited.pid, signal }),
                None => {}
            }
        }
    }

    /// Looks at a dead child before it is reaped, because afterwards /proc knows nothing of it. `None`: there is no news of
    /// it any more, since it had stopped and was continued meanwhile.
    fn reap_looked_at(&mut self, pid: Option<i32>) -> Result<Option<Waited>, NoNews> {
        let stat = pid.filter(|_| self.reporter.describes_orphans() && self.can_name()).and_then(proc::stat);
        let (waited, usage) = match sys::reap_with_usage(pid) {
            Ok(waited) => waited,
            Err(_) if pid.is_some() => return Ok(None),
            Err(no_news) => return Err(no_news),
        };
        if let Some(Change::Died(death)) = Change::from_status(waited.status)
            && !self.state.is_command(waited.pid)
        {
            self.reporter.say(Report::Orphan(Orphan {
                pid: waited.pid,
                death,
                name: stat.map(|stat| stat.name),
                age: stat.map(|stat| proc::age(stat.start_ticks)),
                cpu: usage.cpu,
                max_rss_kib: usage.max_rss_kib,
                oom_kills: if death.is_by(Signal::KILL) { self.oom.rise() } else { 0 },
            }));
        }
        Ok(Some(waited))
    }

    /// Looks at the count when SIGKILL ended the command, and also when it exited with a failure: a shell says 137 for the
    /// program that it ran. Not when the end was asked for, because somebody waits for foster's end then.
    fn oom_kills_of_command(&mut self, pid: i32, death: Death) -> u64 {
        let may_be = death.is_by(Signal::KILL)
            || (matches!(death, Death::Exited(1..)) && !self.state.has_asked_command_to_stop());
        if may_be && self.state.is_command(pid) { self.oom.rise_since_start() } else { 0 }
    }

    fn can_name(&self) -> bool {
        *self.can_name.get_or_init(|| proc::is_this_namespaces().is_ok())
    }

    fn with_sender_named(&self, mut delivery: Delivery) -> Delivery {
        if self.reporter.names_senders()
            && let Sender::Process { pid, name, .. } = &mut delivery.sender
            && self.can_name()
        {
            *name = proc::name(*pid);
        }
        delivery
    }

    /// Does what the policy says to an event. The first event that follows from that is returned: it comes before any other.
    fn handle(&mut self, event: Event) -> Option<Event> {
        let mut actions = std::mem::take(&mut self.actions);
        let now = if self.state.needs_time(&event) { Some(self.clock.now()) } else { None };
        step(&mut self.state, event, now, &mut actions);
        let mut follow_up = None;
        for action in actions.drain(..) {
            // What could not be found a moment ago has been reported, and is no easier to find now.
            if follow_up == Some(Event::LeftoversLost) && matches!(action, Action::SignalLeftovers(_)) {
                continue;
            }
            let followed = self.perform(action);
            follow_up = follow_up.or(followed);
        }
        self.actions = actions;
        follow_up
    }

    /// Performs one action. Returns the event that it causes.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Forward { target, signal, delivery } => self.forward(target, signal, delivery),
            Action::ForwardToLeftovers { signal, delivery } => {
                let lost = self.signal_leftovers(signal);
                self.reporter.say(Report::ForwardedToLeftovers { delivery, signal });
                return lost;
            }
            Action::SignalLeftovers(signal) => return self.signal_leftovers(signal),
            // ESRCH cannot be, since it is unreaped. EPERM: it changed its user, and the roll call has named it.
            Action::KillCommand(pid) => ignore(sys::send(pid, Signal::KILL, None)),
            // ESRCH cannot be, since the leader is unreaped. EPERM: they are another user's.
            Action::SignalGroup { leader, signal } => ignore(sys::send_to_group(leader, signal, None)),
            // ESRCH: it has just ended.
            Action::Continue(group) => ignore(sys::send_to_group(group, Signal::CONT, None)),
            // Only `fg` has brought foster to the foreground. An error means that the terminal is gone.
            Action::HandTerminal(group) => ignore(terminal::hand_to(group)),
            Action::OfferTerminal { pid, signal } => {
                let taken = terminal::hand_to(pid) == Ok(true);
                return Some(Event::Offered { pid, signal, taken });
            }
            Action::TakeTerminal(group) => terminal::take_back_from(group),
            Action::SuspendSelf(signal) => return suspend(signal, Whom::Myself),
            Action::SuspendGroup(signal) => {
                return suspend(signal, if terminal::is_there() { Whom::MyGroup } else { Whom::Myself });
            }
            Action::Say(report) => self.reporter.say(report),
            Action::NameLeftovers(roll) => self.call_roll(roll),
            Action::End(summary) => self.end(summary),
            Action::EndPause => sys::exit(0),
        }
        None
    }

    /// Ends foster as the command ended. Frees nothing before that: the kernel takes all of it, and somebody waits for
    /// foster's end.
    fn end(&self, summary: Summary) -> ! {
        self.reporter.finish(summary);
        if let Some(signal) = summary.group_signal {
            // EPERM cannot be: as PID 1 foster dies of no signal.
            ignore(sys::signal_own_group(signal));
        }
        match summary.outcome {
            Outcome::Code(code) => sys::exit(code),
            Outcome::Signal(signal) => {
                sys::die_by(signal);
                // The signal could not do it, so foster exits with the code that a shell would show.
                sys::exit(u8::try_from(signal.number()).unwrap_or(0).saturating_add(128))
            }
        }
    }

    fn signal_leftovers(&self, signal: Signal) -> Option<Event> {
        let errno = leftovers::signal(self.is_pid1, signal).err()?;
        self.reporter.say(Report::LeftoversUnknown(errno));
        Some(Event::LeftoversLost)
    }

    #[cold]
    fn call_roll(&self, roll: Roll) {
        if self.reporter.calls_rolls() {
            let alive = if self.can_name() { leftovers::alive(self.is_pid1) } else { Vec::new() };
            self.reporter.call_roll(roll, &alive);
        }
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

/// For an error that changes nothing; each call says which that may be.
fn ignore<T>(_: Result<T, Errno>) {}

/// Stops foster as what it runs was stopped. When it goes on, the SIGCONT that made it go on is the next signal to be read.
fn suspend(signal: Signal, whom: Whom) -> Option<Event> {
    (!sys::stop_by(signal, whom)).then_some(Event::NotSuspended)
}

/// How far foster is with the news of its children, which it takes until there is none.
enum Reaping {
    /// There may be more.
    On {
        /// How many were taken.
        taken: u32,
        /// When the clock was first read for that.
        since: Option<Duration>,
    },
    Done,
}

/// How long foster reaps without looking up. Several hundred thousand deaths, or ten thousand that are described.
const LOOK_UP_AFTER: Duration = Duration::from_secs(1);
/// The clock is read once for so many children.
const BURST: u32 = 1024;

impl Reaping {
    const START: Reaping = Reaping::On { taken: 0, since: None };

    /// Counts one more child that is to be asked for; false when foster has to see to signals and deadlines first. Children
    /// that die faster than they are reaped could otherwise keep a stop request waiting for ever.
    ///
    /// The limit is a time: a walk over /proc may be due, and meanwhile a fork bomb leaves more zombies than any number.
    fn takes_one_more(&mut self, clock: &mut Clock) -> bool {
        let Reaping::On { taken, since } = self else { return false };
        *taken = taken.wrapping_add(1);
        if !taken.is_multiple_of(BURST) {
            return true;
        }
        clock.forget();
        let now = clock.now();
        now.saturating_sub(*since.get_or_insert(now)) < LOOK_UP_AFTER
    }
}
