//! The loop: wait, reap, ask the policy, do what it says. No decision is made here.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::time::Duration;

use nix::errno::Errno;

use crate::cgroup::OomWatch;
use crate::config::{Apart, Config, Orphans};
use crate::exit::{Change, Death, Outcome};
use crate::proc::{self, Stat};
use crate::report::{self, Orphan, Report, Reporter, Summary};
use crate::signal::{Delivery, Sender, Signal, SignalSet};
use crate::spawn::{self, Failure, Inherited};
use crate::supervisor::{Action, Event, Roll, Started, State, Target, step};
use crate::sys::{self, Disposition, NoNews, Peeked, Pidfd, Reaped, Stopped};
use crate::terminal::{self, Foreground};

/// PID 1 of its namespace, which the kernel treats apart.
const INIT: i32 = 1;

/// Runs the command to its end, and ends foster with it. Returns foster's exit code if the command could not be started.
///
/// `mask` is the signal mask that foster was started with, from before it blocked every signal.
#[inline(never)]
pub fn run(config: &Config, environment: &[&CStr], mask: SignalSet) -> u8 {
    // Inherited as ignored it would make the kernel reap behind foster's back, and the exit status were lost.
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
    if let Some(errno) = spawned.no_group {
        reporter.say(Report::Degraded { what: "the command has no process group of its own", errno });
    }
    if let Some(errno) = spawned.no_terminal {
        reporter.say(Report::Degraded { what: "the command did not get the terminal", errno });
    }
    reporter.say(Report::Started { pid: spawned.pid });
    let started = Started { pid: spawned.pid, is_pid1, has_terminal: spawned.has_terminal, now: Duration::ZERO };
    Foster::new(State::new(config, started), is_pid1, reporter, clock).run(orphaned)
}

#[cold]
fn not_started(config: &Config, reporter: &Reporter, failure: &Failure) -> u8 {
    let code = config.ways.codes.of(failure.code);
    reporter.not_started(&failure.message, code);
    code
}

/// `--pause`. LISTEN_FDS and LISTEN_PID in foster's own environment stay as they are: nobody is there to use the sockets,
/// and foster closes its copies, so that it does not keep them open for whoever passed them on.
#[cold]
fn pause(config: &Config, is_pid1: bool, reporter: Reporter, orphaned: Option<Delivery>) -> u8 {
    // Elsewhere the child sees to that, at no call more.
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
            if let Err(errno) = sys::become_subreaper() {
                reporter.say(Report::Degraded { what: "not a subreaper, so orphans go to another process", errno });
            }
        }
        Orphans::ElsewhereWithWarning if !sys::is_subreaper() => reporter.say(Report::OrphansElsewhere),
        Orphans::Elsewhere | Orphans::ElsewhereWithWarning => {}
    }
}

/// Asks for a signal when the parent dies. If the parent died just before that, the kernel will not send it any more, so
/// the signal is returned as if it had.
#[cold]
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
fn release_what_was_inherited(is_pid1: bool) {
    // An error would only mean that there is nothing better.
    let _ = nix::unistd::chdir("/");
    // As PID 1 stdin and stdout stay: programs in containers write to /proc/1/fd/1, and the runtime holds the other ends.
    let low = if is_pid1 { &[][..] } else { &[0, 1][..] };
    sys::close_descriptors(low);
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
    /// /proc is that of this PID namespace, so what it says of a pid is true; looked at only once somebody is to be named.
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

    fn goes_on(&mut self) {
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
            reaping: Reaping::STARTS,
            can_name: OnceCell::new(),
        }
    }

    /// Takes one thing after the other that happens, and does what the policy says to it, until that is to end.
    fn run(mut self, first: Option<Delivery>) -> ! {
        let mut next = first.map(Event::Signal);
        loop {
            let event = next.take().unwrap_or_else(|| self.next_event());
            next = self.handle(event);
        }
    }

    /// Reaps until nothing is left at every wake-up, and sleeps in one call in between. Also before the first sleep:
    /// children of the program that foster replaced by exec may have died long before.
    fn next_event(&mut self) -> Event {
        if self.reaping.is_on(&mut self.clock) {
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
        self.clock.goes_on();
        let left = match self.reaping {
            Reaping::Done => self.state.deadline().map(|deadline| deadline.saturating_sub(self.clock.now())),
            Reaping::On { .. } => Some(Duration::ZERO),
        };
        let taken = sys::wait_for_signal(left);
        self.clock.goes_on();
        self.reaping = Reaping::STARTS;
        let Some(delivery) = taken else { return Event::Deadline };
        let delivery = self.with_sender_named(delivery);
        // To say that a SIGPIPE of foster's own came would cause the next one, for ever.
        if delivery.sender != Sender::Myself {
            self.reporter.say(Report::Received(delivery));
        }
        Event::Signal(delivery)
    }

    /// One child's news. At the default level that is one system call and nothing else.
    fn news(&mut self) -> Result<Event, NoNews> {
        loop {
            let reaped = if self.reporter.describes_orphans() || self.state.asks_group() {
                let peeked = sys::peek_any()?;
                if let Some(Peeked { pid, died: true }) = peeked
                    && self.state.asks_group()
                    && self.state.is_command(pid)
                {
                    // Before it is reaped, since its group's number may be another's afterwards.
                    return Ok(Event::Unreaped { pid });
                }
                let Some(reaped) = self.reap_looked_at(peeked.map(|peeked| peeked.pid))? else { continue };
                reaped
            } else {
                sys::reap_any()?
            };
            match Change::from_status(reaped.status) {
                Some(Change::Died(death)) => {
                    let oom_kills = self.oom_kills_of_command(reaped.pid, death);
                    return Ok(Event::Died { pid: reaped.pid, death, oom_kills });
                }
                Some(Change::Stopped(signal)) => return Ok(Event::Stopped { pid: reaped.pid, signal }),
                None => {}
            }
        }
    }

    /// Looks at a dead child before it is reaped, because afterwards /proc knows nothing of it. `None`: there is no news of
    /// it any more, since it had stopped and was continued meanwhile.
    fn reap_looked_at(&mut self, pid: Option<i32>) -> Result<Option<Reaped>, NoNews> {
        let stat = pid.filter(|_| self.reporter.describes_orphans() && self.can_name()).and_then(proc::stat);
        let (reaped, usage) = match sys::reap_with_usage(pid) {
            Ok(reaped) => reaped,
            Err(_) if pid.is_some() => return Ok(None),
            Err(no_news) => return Err(no_news),
        };
        if let Some(Change::Died(death)) = Change::from_status(reaped.status)
            && !self.state.is_command(reaped.pid)
        {
            self.reporter.say(Report::Orphan(Orphan {
                pid: reaped.pid,
                death,
                name: stat.map(|stat| stat.name),
                age: stat.map(|stat| proc::age(stat.start_ticks)),
                cpu: usage.cpu,
                max_rss_kib: usage.max_rss_kib,
                oom_kills: if death.is_by(Signal::KILL) { self.oom.rise() } else { 0 },
            }));
        }
        Ok(Some(reaped))
    }

    /// Also for a shell that says 137 for what it ran. Not for an end that was asked for, which is not to wait for this.
    fn oom_kills_of_command(&mut self, pid: i32, death: Death) -> u64 {
        let may_be = death.is_by(Signal::KILL)
            || (matches!(death, Death::Exited(1..)) && !self.state.has_asked_command_to_stop());
        match may_be && self.state.is_command(pid) {
            true => self.oom.rise_since_start(),
            false => 0,
        }
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

    /// Does what the policy says to an event; what follows from that is the next event, before any other.
    fn handle(&mut self, event: Event) -> Option<Event> {
        let mut actions = std::mem::take(&mut self.actions);
        let now = if self.state.minds_the_time(&event) { self.clock.now() } else { Duration::ZERO };
        step(&mut self.state, event, now, &mut actions);
        let mut follow_up = None;
        for action in actions.drain(..) {
            match action {
                Action::ForwardToLeftovers { signal, delivery } => {
                    follow_up = self.signal_leftovers(signal);
                    self.reporter.say(Report::ForwardedToLeftovers { delivery, signal });
                }
                Action::Forward { target, signal, delivery } => self.forward(target, signal, delivery),
                // What could not be found a moment ago has been reported, and is no easier to find now.
                Action::SignalLeftovers(_) if follow_up.is_some() => {}
                Action::SignalLeftovers(signal) => follow_up = self.signal_leftovers(signal),
                // ESRCH cannot be, it is unreaped; EPERM: it changed its user, and the roll call has named it.
                Action::KillCommand(pid) => drop(sys::send(pid, Signal::KILL, None)),
                // ESRCH cannot be, its leader is unreaped; EPERM: they are another user's.
                Action::SignalGroup { leader, signal } => drop(sys::send_to_group(leader, signal, None)),
                // ESRCH: it has just ended.
                Action::Continue(group) => drop(sys::send_to_group(group, Signal::CONT, None)),
                Action::HandTerminal(group) => {
                    // Only `fg` has brought foster to the foreground; an error means that the terminal is gone.
                    Foreground::own().map(|terminal| terminal.give_to(group));
                }
                Action::OfferTerminal { pid, signal } => {
                    let taken = Foreground::own().is_some_and(|terminal| terminal.give_to(pid).is_ok());
                    follow_up = Some(Event::Offered { pid, signal, taken });
                }
                Action::TakeTerminal(group) => terminal::take_back_from(group),
                Action::SuspendSelf(signal) => {
                    let not_suspended = self.suspend(signal, Stopped::Alone);
                    follow_up = follow_up.or(not_suspended);
                }
                Action::SuspendGroup(signal) => {
                    let whom = if terminal::is_there() { Stopped::WithGroup } else { Stopped::Alone };
                    let not_suspended = self.suspend(signal, whom);
                    follow_up = follow_up.or(not_suspended);
                }
                Action::Say(report) => self.reporter.say(report),
                Action::NameLeftovers(roll) => self.call_roll(roll),
                Action::End(summary) => self.end(summary),
                Action::EndPause => sys::exit(0),
            }
        }
        self.actions = actions;
        follow_up
    }

    /// Ends foster as the command ended. Nothing is given back before: the kernel takes all of it, and somebody waits for
    /// foster's end.
    fn end(&self, summary: Summary) -> ! {
        self.reporter.finish(summary);
        // EPERM cannot be, as PID 1 foster dies of no signal.
        summary.group_signal.map(sys::signal_own_group);
        match summary.outcome {
            Outcome::Code(code) => sys::exit(code),
            Outcome::Signal(signal) => {
                sys::die_by(signal);
                // It cannot do it: the code that a shell would show.
                sys::exit(u8::try_from(signal.number()).unwrap_or(0).saturating_add(128))
            }
        }
    }

    /// Stops foster as what it runs was stopped. When it goes on, the SIGCONT that made it is the next signal to be read.
    fn suspend(&self, signal: Signal, whom: Stopped) -> Option<Event> {
        (!sys::stop_by(signal, whom)).then_some(Event::NotSuspended)
    }

    /// As PID 1 everything else in the namespace, which one call reaches whole.
    fn signal_leftovers(&self, signal: Signal) -> Option<Event> {
        if self.is_pid1 {
            // ESRCH: there is nobody else.
            let _ = sys::signal_everybody_else(signal);
            return None;
        }
        self.signal_descendants(signal)
    }

    /// foster's descendants, found through /proc, round after round while new ones turn up.
    #[cold]
    fn signal_descendants(&self, signal: Signal) -> Option<Event> {
        let mut signalled = BTreeSet::new();
        for _ in 0..ROUNDS {
            let before = signalled.len();
            let found = proc::descendants(|process| {
                let identity = (process.pid, process.start_ticks);
                if !signalled.contains(&identity) && signal_process(process, signal) {
                    signalled.insert(identity);
                }
            });
            if let Err(error) = found {
                self.reporter.say(Report::LeftoversUnknown(report::errno_of(&error)));
                return Some(Event::LeftoversLost);
            }
            if signalled.len() == before {
                break;
            }
        }
        None
    }

    #[cold]
    fn call_roll(&self, roll: Roll) {
        if !self.reporter.calls_rolls() {
            return;
        }
        let mut alive = Vec::new();
        // Where /proc cannot be read, nobody can be named.
        match self.is_pid1 {
            _ if !self.can_name() => {}
            true => {
                let others = proc::processes().into_iter().flatten();
                alive.extend(others.filter(|process| process.pid != INIT && !process.is_dead()));
            }
            false => drop(proc::descendants(|process| alive.push(*process))),
        }
        self.reporter.call_roll(roll, &alive);
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

impl Reaping {
    const STARTS: Reaping = Reaping::On { taken: 0, since: None };

    /// Whether to take some more. Not when there still is more after all that time, and it is time to see to signals and
    /// deadlines: those that die faster than they are reaped could otherwise keep a stop request waiting for ever.
    ///
    /// Not after so many deaths, be it thousands: what is due then may be a walk over /proc, in which a fork bomb leaves more
    /// zombies than that, and the process table would fill up.
    fn is_on(&mut self, clock: &mut Clock) -> bool {
        let Reaping::On { taken, since } = self else { return false };
        *taken = taken.wrapping_add(1);
        if !taken.is_multiple_of(BURST) {
            return true;
        }
        clock.goes_on();
        let now = clock.now();
        now.saturating_sub(*since.get_or_insert(now)) < LOOK_UP_AFTER
    }
}

/// How long foster reaps without looking up. Several hundred thousand deaths, or ten thousand that are described.
const LOOK_UP_AFTER: Duration = Duration::from_secs(1);
/// The clock is not read for each of them.
const BURST: u32 = 1024;

/// How often /proc is read for one signal at most, should new descendants turn up. No more, because nothing is reaped
/// meanwhile, and against a fork bomb /proc only grows; SIGKILL comes again anyway.
const ROUNDS: u32 = 2;

/// Signals this process and no other that may have got its pid meanwhile: the pidfd is opened first, and then the
/// process is looked at again. False if it is gone.
fn signal_process(process: &Stat, signal: Signal) -> bool {
    let sent = match Pidfd::open(process.pid) {
        Ok(pidfd) => match proc::stat(process.pid) {
            Some(now) if now.start_ticks == process.start_ticks => pidfd.send(signal),
            _ => Err(Errno::ESRCH),
        },
        Err(errno) => Err(errno),
    };
    match sent {
        Ok(()) => true,
        Err(Errno::ESRCH) => false,
        // An old kernel, or a sandbox without pidfds.
        Err(_) => sys::send(process.pid, signal, None) != Err(Errno::ESRCH),
    }
}
