//! Who is in foster's care beside the command: finding them, asking them to end, and killing them.
//!
//! As PID 1 that is everything else in the namespace, which one system call reaches whole. Elsewhere it is foster's own
//! descendants, which have to be found through /proc.

use std::cell::OnceCell;

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use crate::proc::{self, Stat};
use crate::signal::Signal;
use crate::sys::{self, Pidfd};

/// PID 1 of its namespace, which the kernel treats apart.
pub const INIT: i32 = 1;

/// How often one round of SIGKILL looks for children that have come meanwhile. Not more often, because nothing is reaped
/// meanwhile; SIGKILL comes again anyway.
const LOOKS: u32 = 64;

/// What came of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// So many were sent the signal now.
    pub sent: usize,
    /// So many whom foster may not signal: another user's.
    pub refused: usize,
    /// So many of this generation have been asked, now or before, and may still end.
    pub awaited: usize,
    /// It could not be found out who belongs to this generation, so all were asked.
    pub all_at_once: bool,
}

/// The care for leftovers, and whom this stop has asked.
pub struct Leftovers {
    is_pid1: bool,
    /// Those who were sent this stop's signal, sorted, without those who were reaped since.
    asked: Vec<i32>,
    /// The process group that was sent this stop's signal, and when, in clock ticks after boot.
    group: Option<(i32, u64)>,
    /// Everybody was asked at once, where /proc does not show who is whose child.
    asked_everybody: bool,
    /// Processes that are no children of foster's have been looked for.
    knows_outsiders: bool,
    /// /proc is that of this PID namespace, so what it says of a pid is true.
    has_proc: OnceCell<bool>,
}

impl Leftovers {
    /// Nobody has been asked.
    pub fn new(is_pid1: bool) -> Leftovers {
        Leftovers {
            is_pid1,
            asked: Vec::new(),
            group: None,
            asked_everybody: false,
            knows_outsiders: false,
            has_proc: OnceCell::new(),
        }
    }

    /// Whether /proc is that of this PID namespace. Looked at when somebody is to be found or named.
    pub fn has_proc(&self) -> bool {
        *self.has_proc.get_or_init(|| proc::is_this_namespaces().is_ok())
    }

    /// A stop request went to the whole process group that the command leads: nobody in it is to be asked once more.
    #[cold]
    pub fn note_group(&mut self, group: i32) {
        self.group = Some((group, proc::ticks_since_boot()));
    }

    /// This process was reaped, so its number may be another's from now on.
    pub fn forget(&mut self, pid: i32) {
        if let Ok(place) = self.asked.binary_search(&pid) {
            self.asked.remove(place);
        }
    }

    /// Asks this generation: those whose parent is foster, and as PID 1 also those whose parent is outside the namespace. Each
    /// is sent the signal once, and then SIGCONT, because who stands still does not hear it. What is below one of them is its
    /// own to stop; when it dies, its children come to foster and are the next generation.
    ///
    /// `again` asks those who were asked before too, for a stop request that somebody sent.
    ///
    /// # Errors
    /// They cannot be found: /proc is missing, or another PID namespace's, and foster is not PID 1.
    #[cold]
    pub fn ask_generation(&mut self, signal: Signal, again: bool) -> Result<Asked, Errno> {
        if !self.has_proc() {
            return self.ask_all_at_once(signal, again);
        }
        let children = proc::children()?;
        let mut outsiders = Vec::new();
        if self.is_pid1 && !self.knows_outsiders {
            self.knows_outsiders = true;
            // If nobody else is in the namespace, one call reaches them all, however many they are.
            if self.asked.is_empty() && self.group.is_none() && proc::count()? == children.len().saturating_add(1) {
                return Ok(self.ask_all_of(children, signal));
            }
            outsiders.extend(proc::processes()?.filter(|process| process.parent == 0 && process.pid != INIT));
        }
        let mut result = Asked::default();
        for pid in children {
            // A child's number cannot be another's before foster has reaped it.
            self.ask(pid, again, &mut result, |number| sys::send(pid, number, None), signal);
        }
        for process in outsiders.iter().filter(|process| !process.is_dead()) {
            self.ask(process.pid, again, &mut result, |number| send_to(process, number), signal);
        }
        Ok(result)
    }

    /// Once, whoever comes to foster later: nobody can be told from those who have been asked.
    fn ask_all_at_once(&mut self, signal: Signal, again: bool) -> Result<Asked, Errno> {
        if !self.is_pid1 {
            return Err(proc::is_this_namespaces().err().unwrap_or(Errno::ENOENT));
        }
        let is_first = !std::mem::replace(&mut self.asked_everybody, true);
        if is_first || again {
            self.ask_all_of(Vec::new(), signal);
        }
        Ok(Asked { all_at_once: is_first, awaited: 1, ..Asked::default() })
    }

    /// As PID 1, when these are all there are.
    fn ask_all_of(&mut self, mut children: Vec<i32>, signal: Signal) -> Asked {
        let asked = sys::signal_everybody_else(signal);
        let _ = sys::signal_everybody_else(Signal::CONT);
        let all = children.len();
        match asked {
            Ok(()) | Err(Errno::ESRCH) if all == 0 || sys::may_signal_everybody() => {}
            // ESRCH: there is nobody else. Whom foster may not signal, kill(-1) passes over in silence.
            Ok(()) | Err(Errno::ESRCH) => children.retain(|pid| !is_refused(*pid)),
            // A sandbox refuses the call.
            Err(_) => children.clear(),
        }
        let sent = children.len();
        // Without those who were refused, or they would be waited for as if they had heard it.
        self.asked = sorted(children.into_iter());
        Asked { sent, refused: all.saturating_sub(sent), awaited: sent, all_at_once: false }
    }

    fn ask(
        &mut self,
        pid: i32,
        again: bool,
        result: &mut Asked,
        send: impl Fn(Signal) -> Result<(), Errno>,
        signal: Signal,
    ) {
        let place = self.asked.binary_search(&pid);
        if !again && (place.is_ok() || self.was_in_group(pid)) {
            result.awaited = result.awaited.saturating_add(1);
        } else {
            match send(signal) {
                Ok(()) => {
                    // An error says that it has just ended.
                    let _ = send(Signal::CONT);
                    result.sent = result.sent.saturating_add(1);
                    result.awaited = result.awaited.saturating_add(1);
                }
                Err(Errno::EPERM) => {
                    result.refused = result.refused.saturating_add(1);
                    return;
                }
                Err(_) => return,
            }
        }
        if let Err(place) = place {
            self.asked.insert(place, pid);
        }
    }

    /// Whether it was in the process group that was sent this stop's signal: it is now, and it had been started by then.
    fn was_in_group(&self, pid: i32) -> bool {
        let Some((group, when)) = self.group else { return false };
        getpgid(Some(Pid::from_raw(pid))) == Ok(Pid::from_raw(group))
            && proc::stat(pid).is_some_and(|process| process.start_ticks <= when)
    }

    /// The last call: asks everybody in foster's care who has not been asked, below the command too, but not the command.
    /// Returns how many. Where /proc cannot be used, all were asked at once, or nobody can be found.
    #[cold]
    pub fn ask_the_rest(&mut self, signal: Signal, command: Option<i32>) -> usize {
        if !self.has_proc() {
            return 0;
        }
        let mut result = Asked::default();
        for process in self.alive().iter().filter(|process| Some(process.pid) != command) {
            self.ask(process.pid, false, &mut result, |number| send_to(process, number), signal);
        }
        result.sent
    }

    /// Sends on a signal that asks for no stop, to everybody.
    ///
    /// # Errors
    /// As [`Leftovers::ask_generation`].
    #[cold]
    pub fn forward(&self, signal: Signal) -> Result<(), Errno> {
        if self.is_pid1 {
            // ESRCH: there is nobody else.
            let _ = sys::signal_everybody_else(signal);
            return Ok(());
        }
        for process in proc::descendants()? {
            // ESRCH: it has just ended. EPERM: it is another user's.
            let _ = send_to(&process, signal);
        }
        Ok(())
    }

    /// Sends SIGKILL to everybody. False if there are some, and the kernel refused it for every one of them, or a sandbox
    /// refuses the call.
    ///
    /// # Errors
    /// As [`Leftovers::ask_generation`].
    #[cold]
    pub fn kill(&self) -> Result<bool, Errno> {
        if self.is_pid1 {
            // ESRCH: there is nobody else. The kernel says nothing else: whom foster may not signal, it passes over in silence.
            return Ok(matches!(sys::signal_everybody_else(Signal::KILL), Ok(()) | Err(Errno::ESRCH)));
        }
        self.kill_descendants()
    }

    /// Those who are alive, and whom foster may not signal.
    #[cold]
    pub fn refused(&self) -> Vec<Stat> {
        let mut alive = self.alive();
        alive.retain(|process| is_refused(process.pid));
        alive
    }

    /// Whether everybody who is still alive is another user's, whom foster may not signal.
    #[cold]
    pub fn are_all_refused(&self) -> bool {
        let alive = self.alive();
        !alive.is_empty() && alive.iter().all(|process| is_refused(process.pid))
    }

    /// Those who are alive; nobody where /proc cannot be used.
    #[cold]
    pub fn alive(&self) -> Vec<Stat> {
        if !self.has_proc() {
            return Vec::new();
        }
        if !self.is_pid1 {
            return proc::descendants().unwrap_or_default();
        }
        let others = proc::processes().into_iter().flatten();
        others.filter(|process| process.pid != INIT && !process.is_dead()).collect()
    }

    /// Whole process groups first: the kernel kills a group at once, so that nobody in it can fork any more. Then the newest
    /// process first, since it is the one that forks. Then foster's own children, while new ones turn up: when a process that
    /// has forked ends, what it left comes to foster, and is found there at once.
    fn kill_descendants(&self) -> Result<bool, Errno> {
        let everybody: Vec<Stat> = proc::processes()?.collect();
        let descendants = proc::descendants_among(&everybody, sys::pid());
        let others = groups_of_others(&descendants, &everybody, nix::unistd::getpgrp().as_raw());
        let mut killed = false;
        for group in groups_of(&descendants, &others) {
            killed |= sys::send_to_group(group, Signal::KILL, None).is_ok();
        }
        let mut any = false;
        for process in descendants.iter().rev().filter(|process| !process.is_dead()) {
            any = true;
            killed |= send_to(process, Signal::KILL).is_ok();
        }
        killed |= kill_children(&others)?;
        Ok(killed || !any)
    }
}

/// Kills foster's children, each with its group unless that is among `others`, and again while new ones turn up.
fn kill_children(others: &[i32]) -> Result<bool, Errno> {
    let mut killed = false;
    while_new_ones_turn_up(proc::children, |children| {
        let mut last_group = 0;
        for pid in children.iter().rev() {
            // A child's number cannot be another's before foster has reaped it.
            killed |= sys::send(*pid, Signal::KILL, None).is_ok();
            let group = getpgid(Some(Pid::from_raw(*pid))).map_or(0, Pid::as_raw);
            if group != last_group && others.binary_search(&group).is_err() {
                last_group = group;
                killed |= sys::send_to_group(group, Signal::KILL, None).is_ok();
            }
        }
    })?;
    Ok(killed)
}

/// Hands over those who were not there at the last look, smallest pid first, until a look finds nobody new.
fn while_new_ones_turn_up(
    look: impl Fn() -> Result<Vec<i32>, Errno>,
    mut take: impl FnMut(&[i32]),
) -> Result<(), Errno> {
    let mut known = Vec::new();
    for _ in 0..LOOKS {
        let all = sorted(look()?.into_iter());
        let new: Vec<i32> = all.iter().copied().filter(|pid| known.binary_search(pid).is_err()).collect();
        if new.is_empty() {
            break;
        }
        take(&new);
        known = all;
    }
    Ok(())
}

/// EPERM: it is another user's. A sandbox has other words for it.
fn is_refused(pid: i32) -> bool {
    !matches!(nix::sys::signal::kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::ESRCH))
}

/// The process groups in which others than descendants live, sorted; foster's own too. A descendant may have joined one.
fn groups_of_others(descendants: &[Stat], everybody: &[Stat], own_group: i32) -> Vec<i32> {
    let is_descendant = |pid: i32| descendants.binary_search_by_key(&pid, |process| process.pid).is_ok();
    let strangers = everybody.iter().filter(|process| !is_descendant(process.pid) && !process.is_dead());
    sorted(strangers.map(|process| process.group).chain([own_group]))
}

/// The process groups that consist of descendants alone. Also those of dead ones: a living member may have been missed.
fn groups_of(descendants: &[Stat], others: &[i32]) -> Vec<i32> {
    let mut groups = sorted(descendants.iter().map(|process| process.group));
    groups.retain(|group| others.binary_search(group).is_err());
    groups
}

/// Sorted, each once. The numbers come in order but for a few, so each finds its place at the end; the standard library's
/// sort is 3 KB of code.
fn sorted(numbers: impl Iterator<Item = i32>) -> Vec<i32> {
    let mut sorted = Vec::new();
    for number in numbers {
        if let Err(place) = sorted.binary_search(&number) {
            sorted.insert(place, number);
        }
    }
    sorted
}

/// Signals this process, and no other that may have got its pid meanwhile: foster opens the pidfd first, and then looks at
/// the process again.
///
/// # Errors
/// ESRCH it is gone, EPERM it is another user's.
fn send_to(process: &Stat, signal: Signal) -> Result<(), Errno> {
    let pidfd = match Pidfd::open(process.pid) {
        Ok(pidfd) => pidfd,
        Err(Errno::ESRCH) => return Err(Errno::ESRCH),
        // An old kernel, or a sandbox without pidfds.
        Err(_) => return sys::send(process.pid, signal, None),
    };
    match proc::stat(process.pid) {
        Some(now) if now.start_ticks == process.start_ticks => pidfd.send(signal),
        _ => Err(Errno::ESRCH),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::text::Name;

    fn process(pid: i32, parent: i32, group: i32, state: u8) -> Stat {
        Stat { pid, name: Name::new(b"x"), state, parent, group, threads: 1, start_ticks: 0 }
    }

    #[test]
    fn only_groups_of_descendants_alone_are_killed_whole() {
        let everybody = [
            process(10, 1, 10, b'S'),
            // foster, 11, in group 10; its command and what that left.
            process(11, 10, 10, b'S'),
            process(12, 11, 12, b'S'),
            process(13, 12, 12, b'S'),
            // Has joined a group in which a stranger lives, and one that only has a dead stranger.
            process(14, 11, 30, b'S'),
            process(15, 11, 40, b'S'),
            // Has joined foster's own group.
            process(16, 11, 10, b'S'),
            process(30, 1, 30, b'S'),
            process(40, 1, 40, b'Z'),
        ];
        let descendants = proc::descendants_among(&everybody, 11);
        assert_eq!(descendants.iter().map(|process| process.pid).collect::<Vec<_>>(), [12, 13, 14, 15, 16]);
        let others = groups_of_others(&descendants, &everybody, 10);
        assert_eq!((others.as_slice(), groups_of(&descendants, &others)), (&[10, 30][..], vec![12, 40]));
    }

    #[test]
    fn children_that_come_before_their_parents_are_descendants_too() {
        let everybody =
            [process(2, 9, 2, b'S'), process(3, 2, 2, b'Z'), process(5, 4, 5, b'S'), process(9, 7, 9, b'S')];
        let found = proc::descendants_among(&everybody, 7);
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [2, 3, 9]);
    }

    /// With SIGCONT, which changes nothing for a process that runs.
    #[test]
    fn a_process_that_has_got_the_pid_of_another_is_not_signalled() {
        let now = proc::stat(sys::pid()).expect("/proc");
        assert_eq!(send_to(&now, Signal::CONT), Ok(()));
        let before = Stat { start_ticks: now.start_ticks.saturating_sub(1), ..now };
        assert_eq!(send_to(&before, Signal::CONT), Err(Errno::ESRCH));
    }

    /// A process that was killed may have forked just before, and what it left comes to foster.
    #[test]
    fn children_are_looked_for_until_none_is_new_but_not_for_ever() {
        let looks = Cell::new(0);
        let chain = |pids: &[&[i32]]| {
            looks.set(0);
            let mut taken = Vec::new();
            let look = || Ok(pids[looks.replace(looks.get() + 1)].to_vec());
            while_new_ones_turn_up(look, |new| taken.push(new.to_vec())).map(|()| taken)
        };
        assert_eq!(chain(&[&[7, 9, 3], &[9, 8, 3, 7], &[8, 12], &[12]]), Ok(vec![vec![3, 7, 9], vec![8], vec![12]]));
        assert_eq!((chain(&[&[]]), looks.get()), (Ok(vec![]), 1));

        let endless = Cell::new(0);
        let look = || match endless.replace(endless.get() + 1) {
            1000 => Err(Errno::ETIME),
            number => Ok(vec![number]),
        };
        assert_eq!(while_new_ones_turn_up(look, |_| {}), Ok(()));
        assert_eq!(endless.get(), 64, "others have to be reaped");
        assert_eq!(while_new_ones_turn_up(|| Err(Errno::ENOENT), |_| {}), Err(Errno::ENOENT));
    }
}
