//! `foster --check`: how many zombies there are, which parent does not reap them, and how full the limits on processes
//! are. Looking needs /proc; judging is pure; `report/probe.rs` has the words.

use std::cmp::Reverse;
use std::path::Path;

use nix::errno::Errno;

use crate::cgroup::{self, Controller};
use crate::config::Limits;
use crate::proc;
use crate::text::Name;

/// What there is to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The processes that have zombies.
    pub parents: Vec<Parent>,
    /// How many processes and threads there are, by each limit.
    pub pids: Vec<Use>,
}

/// A process that does not wait for zombies: they are its children, or it traces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its process ID; 0: it is outside this PID namespace.
    pub pid: i32,
    /// Its name, unless it is gone by now or outside.
    pub name: Option<Name>,
    /// How many.
    pub zombies: u64,
    /// It is their tracer and not their parent.
    pub traces: bool,
}

/// How full a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// How many processes and threads count towards it, zombies included.
    pub used: u64,
    /// `None`: there is none, or it cannot be read.
    pub limit: Option<u64>,
    /// Whose limit it is.
    pub source: &'static str,
}

impl Use {
    /// In tenths of a percent, rounded up, so that what is over a limit never looks equal to it.
    pub fn permille(&self) -> Option<u64> {
        Some(self.used.saturating_mul(1000).div_ceil(self.limit?.max(1)))
    }
}

/// Why not all of the namespace's processes can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// /proc is another PID namespace's, or not mounted.
    NoProc,
    /// /proc hides processes of other users, PID 1 among them (`hidepid`).
    Hidden,
    /// /proc cannot be listed.
    Unlistable(Errno),
}

/// Looks into /proc, and at the cgroup of the caller.
///
/// # Errors
/// Why not all of the namespace's processes can be seen.
pub fn look() -> Result<Seen, Blind> {
    proc::is_this_namespaces().map_err(|_| Blind::NoProc)?;
    if proc::stat(1).is_none() {
        return Err(Blind::Hidden);
    }
    let processes = proc::processes().map_err(Blind::Unlistable)?;
    let mut parents = Vec::<Parent>::new();
    let mut used = 0_u64;
    for process in processes {
        used = used.saturating_add(u64::from(process.threads.max(1)));
        if process.is_dead() {
            let culprit = proc::tracer(process.pid).unwrap_or(process.parent);
            count_zombie_of(&mut parents, culprit, culprit != process.parent);
        }
    }
    for parent in &mut parents {
        parent.name = proc::name(parent.pid);
    }
    // The whole machine shares the kernel's limits, but only this namespace's processes are counted: a probe that fails
    // because of other containers would restart every one of them.
    let mut pids = vec![
        Use { used, limit: proc::kernel_limit("threads-max"), source: "kernel.threads-max" },
        Use { used, limit: proc::kernel_limit("pid_max"), source: "kernel.pid_max" },
    ];
    if let Some(cgroup::Pids { current, max }) = Controller::find(Path::new("/"), "pids").and_then(|c| c.pids()) {
        pids.push(Use { used: current, limit: max, source: "cgroup pids.max" });
    }
    Ok(Seen { parents, pids })
}

/// Counts one more zombie of this parent, or tracer. They are sorted by pid.
fn count_zombie_of(parents: &mut Vec<Parent>, pid: i32, traces: bool) {
    let key = (pid, traces);
    let place = parents.partition_point(|parent| (parent.pid, parent.traces) < key);
    match parents.get_mut(place) {
        Some(parent) if (parent.pid, parent.traces) == key => parent.zombies = parent.zombies.saturating_add(1),
        _ => parents.insert(place, Parent { pid, name: None, zombies: 1, traces }),
    }
}

/// What was seen, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub limits: Limits,
    pub zombies: u64,
    /// Most zombies first.
    pub parents: Vec<Parent>,
    /// The limit that is fullest.
    pub pids: Option<Use>,
}

/// Judges what was seen.
pub fn judge(seen: Seen, limits: Limits) -> Verdict {
    let Seen { parents: seen, pids } = seen;
    // They are few, and the standard library's sort is 4 KB of code.
    let mut parents = Vec::<Parent>::with_capacity(seen.len());
    for parent in seen {
        parents.insert(parents.partition_point(|other| other.zombies >= parent.zombies), parent);
    }
    let zombies = parents.iter().fold(0_u64, |sum, parent| sum.saturating_add(parent.zombies));
    let pids = pids.into_iter().max_by_key(|pids| (pids.permille(), pids.limit.map(Reverse)));
    Verdict { limits, zombies, parents, pids }
}

impl Verdict {
    /// 0 healthy, 1 over a limit: what HEALTHCHECK and an exec probe take.
    pub fn code(&self) -> u8 {
        u8::from(self.too_many_zombies() || self.too_few_pids())
    }

    /// More zombies than the limit allows.
    pub fn too_many_zombies(&self) -> bool {
        self.zombies > self.limits.zombies
    }

    /// Fewer pids are left than the limit demands.
    pub fn too_few_pids(&self) -> bool {
        let limit = self.limits.pids_percent.saturating_mul(10);
        self.pids.and_then(|pids| pids.permille()).is_some_and(|permille| permille > limit)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn parent(pid: i32, name: &[u8], zombies: u64) -> Parent {
        Parent { pid, name: (!name.is_empty()).then(|| Name::new(name)), zombies, traces: false }
    }

    pub fn pids(used: u64, limit: Option<u64>) -> Use {
        Use { used, limit, source: "kernel.pid_max" }
    }

    pub fn verdict(parents: &[Parent], pids: &[Use], limits: &str) -> Verdict {
        judge(Seen { parents: parents.to_vec(), pids: pids.to_vec() }, Limits::parse(limits).unwrap())
    }

    #[test]
    fn at_a_limit_it_is_healthy_and_over_it_not() {
        for (zombies, used, code) in [(100, 90, 0), (101, 90, 1), (100, 91, 1), (0, 0, 0), (5000, 100, 1)] {
            let verdict = verdict(&[parent(7, b"a", zombies)], &[pids(used, Some(100))], "zombies=100,pids=90%");
            assert_eq!(verdict.code(), code, "{zombies} zombies, {used} pids");
        }
        // 900.1 of a thousand is over 90.0%.
        let verdict = verdict(&[], &[pids(9_001, Some(10_000))], "pids=90%");
        assert_eq!((verdict.code(), verdict.pids.and_then(|pids| pids.permille())), (1, Some(901)));
    }

    #[test]
    fn the_fullest_limit_counts() {
        let unlimited = Use { used: 9, limit: None, source: "cgroup pids.max" };
        let full = Use { used: 9, limit: Some(10), source: "cgroup pids.max" };
        let pick = |uses: &[Use]| verdict(&[], uses, "pids=90%").pids;
        assert_eq!(pick(&[pids(50, Some(1000)), full]), Some(full));
        assert_eq!(pick(&[full, pids(950, Some(1000))]), Some(pids(950, Some(1000))));
        assert_eq!(pick(&[pids(50, Some(1000)), unlimited]), Some(pids(50, Some(1000))));
        assert_eq!(pick(&[pids(1, Some(4000)), pids(1, Some(5000))]), Some(pids(1, Some(4000))), "both are 0.1%");
        assert_eq!(verdict(&[], &[unlimited], "pids=0%").code(), 0);
        assert_eq!(verdict(&[], &[pids(1, Some(0))], "pids=99%").code(), 1);
    }

    #[test]
    fn each_zombie_counts_for_its_parent_or_its_tracer() {
        let mut parents = Vec::new();
        for (pid, traces) in [(7, false), (9, false), (3, false), (7, true), (7, false), (9, false), (7, false)] {
            count_zombie_of(&mut parents, pid, traces);
        }
        let counted: Vec<_> = parents.iter().map(|parent| (parent.pid, parent.traces, parent.zombies)).collect();
        assert_eq!(counted, [(3, false, 1), (7, false, 3), (7, true, 1), (9, false, 2)]);
    }
}
