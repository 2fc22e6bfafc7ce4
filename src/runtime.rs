//! The loop: wait, reap, ask the policy, do what it says. Nothing is decided here.

use std::time::Duration;

use nix::errno::Errno;

use crate::cgroup::OomWatch;
use crate::config::WatchConfig;
use crate::exit::{Change, Death, Outcome};
use crate::facts::{OomKills, Orphan, Report, Roll, Summary};
use crate::leftovers::{Asked, Leftovers};
use crate::policy::{Action, Event, MOST_ACTIONS, State, Target, step};
use crate::proc;
use crate::report::{self, Reporter};
use crate::signal::{Delivery, Sender, Signal};
use crate::spawn;
use crate::sys::{self, Disposition, NoNews, Peeked, Waited, Whom};
use crate::terminal;
use crate::turns::{Clock, Reaping, Turns};
use crate::watch::Watch;

/// foster, once it has started.
pub struct Foster<'a> {
    state: State,
    reporter: Reporter<'a>,
    clock: Clock,
    /// Kept from event to event, so that none allocates.
    actions: Vec<Action>,
    /// That a forward was not permitted has been said.
    warned: bool,
    oom: OomWatch,
    /// It has done what only the first sleep has to come after.
    is_settled: bool,
    reaping: Reaping,
    /// The last event was a deadline that was due.
    was_deadline: bool,
    turns: Turns,
    leftovers: Leftovers,
    /// The first generation of leftovers has been asked.
    has_asked: bool,
    watched: Option<WatchConfig>,
    /// From the first sleep on, if foster is to look around (`--watch`) and can.
    watch: Option<Box<Watch>>,
}

impl<'a> Foster<'a> {
    /// foster in this state.
    pub fn new(state: State, reporter: Reporter<'a>, clock: Clock, watched: Option<WatchConfig>) -> Foster<'a> {
        let actions = Vec::with_capacity(MOST_ACTIONS);
        let leftovers = Leftovers::new(state.is_pid1);
        Foster {
            state,
            reporter,
            clock,
            actions,
            warned: false,
            oom: OomWatch::new(),
            is_settled: false,
            reaping: Reaping::START,
            was_deadline: false,
            turns: Turns::default(),
            leftovers,
            has_asked: false,
            watched,
            watch: None,
        }
    }

    /// Handles events one by one until the policy ends foster.
    pub fn run(&mut self, first: Option<Delivery>) -> ! {
        let mut next = first.map(Event::Signal);
        loop {
            let event = next.take().unwrap_or_else(|| self.next_event());
            next = self.handle(event);
        }
    }

    /// Reaps until nothing is left at every wake-up that may be about a child, and sleeps in one system call in between. It reaps
    /// before the first sleep too: children of the program that foster replaced by exec may have died long before.
    ///
    /// A deadline that is due comes before whatever arrives. rt_sigtimedwait(2) takes a pending signal also when its time is
    /// over, so a sender in a loop would keep every deadline away.
    fn next_event(&mut self) -> Event {
        if self.reaping.takes_one_more(&mut self.clock, || self.state.deadline()) {
            return match self.news() {
                Ok(event) => event,
                Err(no_news) => {
                    self.reaping = Reaping::Done { signals: 0 };
                    self.oom.settle();
                    Event::Drained { children_left: no_news.children_left }
                }
            };
        }
        // What was done since the last wake-up may have taken long.
        self.clock.forget();
        let left = self.left();
        let is_done = matches!(self.reaping, Reaping::Done { .. });
        // Not twice in a row, so that signals get their turn too when one deadline follows the other.
        if left == Some(Duration::ZERO) && !std::mem::replace(&mut self.was_deadline, true) {
            self.reaping = Reaping::START;
            return Event::Deadline;
        }
        self.was_deadline = false;
        self.settle_in();
        let left = if self.watch.is_some() { self.look_around(left) } else { left };
        let taken = self.turns.take(if is_done { left } else { Some(Duration::ZERO) });
        self.clock.forget();
        self.reaping.after_signal(taken.as_ref());
        let Some(delivery) = taken else { return Event::Deadline };
        // foster has changed no disposition of these, so this is the one that it inherited.
        if self.state.is_stop_request(delivery.signal) && sys::disposition(delivery.signal) == Disposition::Ignored {
            self.state.ignore(delivery.signal);
        }
        let delivery = self.with_sender_named(delivery);
        // If foster said that a SIGPIPE of its own came, that line would cause the next one, for ever.
        if !matches!(delivery.sender, Sender::Myself) {
            self.reporter.say(Report::Received(delivery));
        }
        Event::Signal(delivery)
    }

    /// What foster does once, after the exec and before it sleeps. Not right after the exec: on a single processor the command
    /// may have its first turn before foster has one, and a short job has then ended. The count of OOM kills comes first,
    /// since it leaves descriptors open, which are closed with those that foster inherited.
    fn settle_in(&mut self) {
        if !self.is_settled {
            self.is_settled = true;
            self.oom.look_first();
            if let Some(watched) = self.watched {
                self.watch = Some(Box::new(Watch::new(watched)));
            }
            spawn::release_what_was_inherited(self.state.is_pid1, self.reporter.descriptor());
        }
    }

    /// Looks at some processes if a look of `--watch` is due and nothing else is: deadlines of the policy and what can be reaped
    /// come first, and between two such parts of a look it is the turn of signals. Returns how long foster may sleep, given how
    /// long it might without this.
    ///
    /// Once a stop is under way foster does not look any more: what it would say is over soon, and it has to stay in time.
    #[cold]
    fn look_around(&mut self, left: Option<Duration>) -> Option<Duration> {
        let watch = self.watch.as_mut().filter(|_| !self.state.is_stopping());
        let (Some(watch), false) = (watch, left == Some(Duration::ZERO)) else { return left };
        if watch.left(self.clock.now()).is_zero() && matches!(self.reaping, Reaping::Done { .. }) {
            let seen = watch.look_at_some();
            self.clock.forget();
            match seen {
                Ok(None) => {}
                Ok(Some(verdict)) => {
                    for (watched, turn) in watch.judge(&verdict, self.clock.now()) {
                        if let Some(turn) = turn {
                            report::watched(watched, turn, &verdict);
                        }
                    }
                    watch.keep(verdict);
                }
                Err(reason) => {
                    report::cannot_watch(reason);
                    self.watch = None;
                }
            }
        }
        let of_watch = self.watch.as_ref().map(|watch| watch.left(self.clock.now()));
        self.left().into_iter().chain(of_watch).min()
    }

    /// How long it is to the policy's next deadline. The clock is read only if there is one.
    fn left(&mut self) -> Option<Duration> {
        self.state.deadline().map(|deadline| deadline.saturating_sub(self.clock.now()))
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
                    self.leftovers.forget(waited.pid);
                    let oom_kills = self.oom_kills_of_command(waited.pid, death);
                    return Ok(Event::Died { pid: waited.pid, death, oom_kills });
                }
                // A child that has asked to be traced: it goes on, and there is no news of it.
                Some(Change::Stopped(signal)) if sys::release_traced(waited.pid, signal) => {}
                Some(Change::Stopped(signal)) => return Ok(Event::ChildStopped { pid: waited.pid, signal }),
                None => {}
            }
        }
    }

    /// Looks at a dead child before it is reaped, because afterwards /proc knows nothing of it. `None`: there is no news of
    /// it any more, since it had stopped and was continued meanwhile.
    fn reap_looked_at(&mut self, pid: Option<i32>) -> Result<Option<Waited>, NoNews> {
        let stat = pid.filter(|_| self.reporter.describes_orphans() && self.leftovers.has_proc()).and_then(proc::stat);
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
                oom_kills: if death.is_by(Signal::KILL) { self.oom.rise() } else { OomKills::NONE },
            }));
        }
        Ok(Some(waited))
    }

    /// Looks at the count when SIGKILL ended the command, and also when it exited with a failure: a shell says 137 for the
    /// program that it ran. Not when the end was asked for, because somebody waits for foster's end then.
    fn oom_kills_of_command(&mut self, pid: i32, death: Death) -> OomKills {
        let killed = death.is_by(Signal::KILL);
        let may_be = killed || (matches!(death, Death::Exited(1..)) && !self.state.has_asked_command_to_stop());
        if !(may_be && self.state.is_command(pid)) {
            return OomKills::NONE;
        }
        self.oom.rise_since_start().told_of(death)
    }

    fn with_sender_named(&self, mut delivery: Delivery) -> Delivery {
        if !self.reporter.names_senders() || !self.leftovers.has_proc() {
            return delivery;
        }
        match &mut delivery.sender {
            Sender::Process { pid, name, .. } | Sender::Claimed { pid, name, .. } => {
                *name = proc::stat(*pid).as_ref().map(proc::title);
            }
            sender @ Sender::Outside if proc::signal_queue_was_full() => *sender = Sender::Unknown,
            _ => {}
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
            let followed = self.perform(action);
            follow_up = follow_up.or(followed);
        }
        self.actions = actions;
        follow_up
    }

    /// Performs one action. Returns the event that it causes.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Forward { target, signal, delivery } => return self.forward(target, signal, delivery),
            Action::ForwardToLeftovers { .. }
            | Action::RequestOfLeftovers { .. }
            | Action::AskLeftovers(_)
            | Action::LastCall { .. }
            | Action::ContinueLeftovers
            | Action::Kill { .. } => return self.see_to_leftovers(action),
            // ESRCH cannot be, since it is unreaped. EPERM: it changed its user, and the roll call has named it.
            Action::KillCommand(pid) => ignore(sys::send(pid, Signal::KILL, None)),
            // ESRCH cannot be, since the leader is unreaped. EPERM: they are another user's.
            Action::SignalGroup { leader, signal } => ignore(sys::send_to_group(leader, signal, None)),
            // ESRCH: it has just ended.
            Action::Continue(group) => ignore(sys::send_to_group(group, Signal::CONT, None)),
            // Only `fg` has brought foster to the foreground. An error means that the terminal is gone.
            Action::HandTerminal(group) => {
                return (terminal::hand_to(group) == Ok(true)).then_some(Event::TerminalHanded);
            }
            Action::OfferTerminal { pid, signal } => {
                if terminal::is_background_job() {
                    return Some(Event::NotOffered { pid, signal });
                }
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

    /// Performs an action that is about leftovers.
    #[cold]
    fn see_to_leftovers(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::ForwardToLeftovers { signal, delivery } => {
                let sent = self.leftovers.forward(signal);
                self.reporter.say(Report::ForwardedToLeftovers { delivery, signal });
                return sent.err().map(|errno| self.lost(errno));
            }
            Action::RequestOfLeftovers { signal, delivery } => {
                let asked = self.leftovers.ask_generation(signal, true);
                self.reporter.say(Report::ForwardedToLeftovers { delivery, signal });
                return Some(self.asked(asked));
            }
            Action::AskLeftovers(signal) => {
                let asked = self.leftovers.ask_generation(signal, false);
                if let Ok(Asked { sent: count, all_at_once, .. }) = asked
                    && (count > 0 || all_at_once)
                {
                    let first = !std::mem::replace(&mut self.has_asked, true);
                    self.reporter.say(Report::LeftoversAsked { signal, count, first, all_at_once });
                }
                return Some(self.asked(asked));
            }
            Action::LastCall { signal, command } => {
                let count = self.leftovers.ask_the_rest(signal, command);
                if count > 0 {
                    self.reporter.say(Report::LastCall { signal, count });
                }
            }
            Action::ContinueLeftovers => {
                return self.leftovers.forward(Signal::CONT).err().map(|errno| self.lost(errno));
            }
            Action::Kill { again } => return self.kill(again),
            _ => {}
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

    fn lost(&self, errno: Errno) -> Event {
        self.reporter.say(Report::LeftoversUnknown(errno));
        Event::LeftoversLost
    }

    fn asked(&self, asked: Result<Asked, Errno>) -> Event {
        match asked {
            Ok(asked) => Event::Asked { any_awaited: asked.awaited > 0, any_refused: asked.refused > 0 },
            Err(errno) => self.lost(errno),
        }
    }

    /// SIGKILL to everybody. kill(-1) does not tell whom it passed over; so if it has to be sent again, foster looks.
    #[cold]
    fn kill(&self, again: bool) -> Option<Event> {
        match self.leftovers.kill() {
            Err(errno) => Some(self.lost(errno)),
            Ok(true) if !(again && self.state.is_pid1 && self.leftovers.are_all_refused()) => None,
            Ok(_) => Some(Event::KillRefused),
        }
    }

    #[cold]
    fn call_roll(&self, roll: Roll) {
        if self.reporter.calls_rolls() {
            let named = if roll == Roll::Refused { self.leftovers.refused() } else { self.leftovers.alive() };
            self.reporter.call_roll(roll, &named);
        }
    }

    fn forward(&mut self, target: Target, signal: Signal, delivery: Delivery) -> Option<Event> {
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
                if let Target::Group(pid) = target
                    && self.state.is_stop_request(delivery.signal)
                {
                    self.leftovers.note_group(pid);
                }
                self.reporter.say(Report::Forwarded { delivery, signal, group });
            }
            Err(Errno::ESRCH) => self.reporter.say(Report::ForwardTooLate(signal)),
            Err(errno) => {
                if !std::mem::replace(&mut self.warned, true) {
                    self.reporter.say(Report::ForwardFailed { signal, errno });
                }
                return Some(Event::NotForwarded(signal));
            }
        }
        None
    }
}

/// For an error that changes nothing; each call says which that may be.
fn ignore<T>(_: Result<T, Errno>) {}

/// Stops foster as what it runs was stopped. When it goes on, the SIGCONT that made it go on is the next signal to be read.
fn suspend(signal: Signal, whom: Whom) -> Option<Event> {
    (!sys::stop_by(signal, whom)).then_some(Event::NotSuspended)
}
