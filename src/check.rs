//! `foster --check`: how many zombies there are, which parent does not reap them, and how full the limits on processes
//! are. Looking needs /proc; judging is pure; `report/probe.rs` has the words. `--watch` looks and judges in the same way.

use std::cmp::Reverse;
use std::path::Path;

use nix::errno::Errno;

use crate::cgroup::{Controller, Pids};
use crate::config::Limits;
use crate::proc::{self, Listing, Stat};
use crate::text::Name;

/// What there is to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The processes that have zombies.
    pub parents: Vec<Parent>,
    /// How many zombies others have, for whom there was no room.
    pub others: u64,
    /// How many processes and threads there are, by each limit.
    pub pids: [Option<Use>; 3],
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
pub fn look(limits: Limits) -> Result<Verdict, Blind> {
    let mut look = Look::begin(Parents { list: Vec::new(), most: usize::MAX, but: None })?;
    while look.some()? {}
    Ok(look.end(Controller::find(Path::new("/"), "pids").as_ref(), limits))
}

/// Whose zombies are counted, and where.
#[derive(Debug)]
pub struct Parents {
    /// Room for them, where none may be asked for later.
    pub list: Vec<Parent>,
    /// So many are told apart.
    pub most: usize,
    /// Its zombies do not count: foster's own, which it is about to reap.
    pub but: Option<i32>,
}

/// A look at the processes of this PID namespace, some at a time. It takes no memory but what it is given, and no longer than
/// it is asked to.
pub struct Look {
    listing: Listing,
    parents: Parents,
    others: u64,
    used: u64,
}

impl Look {
    /// Nobody is looked at yet.
    ///
    /// # Errors
    /// Why not all of the namespace's processes can be seen.
    pub fn begin(parents: Parents) -> Result<Look, Blind> {
        proc::is_this_namespaces().map_err(|_| Blind::NoProc)?;
        if proc::stat(1).is_none() {
            return Err(Blind::Hidden);
        }
        Ok(Look { listing: Listing::begin().map_err(Blind::Unlistable)?, parents, others: 0, used: 0 })
    }

    /// Looks at some more; false: those were all.
    ///
    /// # Errors
    /// /proc cannot be listed any more.
    pub fn some(&mut self) -> Result<bool, Blind> {
        let Look { listing, parents, others, used } = self;
        let each = |process: Stat| {
            *used = used.saturating_add(u64::from(process.threads.max(1)));
            if process.is_dead() {
                let culprit = proc::tracer(process.pid).unwrap_or(process.parent);
                let is_counted = parents.count_zombie_of(culprit, culprit != process.parent);
                *others = others.saturating_add(u64::from(!is_counted));
            }
        };
        listing.some(each).map_err(Blind::Unlistable)
    }

    /// Judges what was seen. The cgroup is the caller's.
    pub fn end(self, cgroup: Option<&Controller>, limits: Limits) -> Verdict {
        // The whole machine shares the kernel's limits, but only this namespace's processes are counted: a probe that fails
        // because of other containers would restart every one of them.
        let kernels = |limit, source| Some(Use { used: self.used, limit: proc::kernel_limit(limit), source });
        let cgroups = |pids: Pids| Use { used: pids.current, limit: pids.max, source: "cgroup pids.max" };
        let pids = [
            kernels("threads-max", "kernel.threads-max"),
            kernels("pid_max", "kernel.pid_max"),
            cgroup.and_then(Controller::pids).map(cgroups),
        ];
        let mut verdict = judge(Seen { parents: self.parents.list, others: self.others, pids }, limits);
        for parent in verdict.parents.iter_mut().take(NAMED) {
            parent.name = proc::name(parent.pid);
        }
        verdict
    }
}

impl Parents {
    /// Counts one more zombie of this parent, or tracer; false if there is no room for it. They are sorted by pid.
    fn count_zombie_of(&mut self, pid: i32, traces: bool) -> bool {
        if self.but == Some(pid) {
            return true;
        }
        let key = (pid, traces);
        let place = self.list.partition_point(|parent| (parent.pid, parent.traces) < key);
        let has_room = self.list.len() < self.most;
        match self.list.get_mut(place) {
            Some(parent) if (parent.pid, parent.traces) == key => parent.zombies = parent.zombies.saturating_add(1),
            _ if has_room => self.list.insert(place, Parent { pid, name: None, zombies: 1, traces }),
            _ => return false,
        }
        true
    }
}

/// How many parents are named.
pub const NAMED: usize = 10;

/// What was seen, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub limits: Limits,
    pub zombies: u64,
    /// Those with the most zombies come first, as many as are named.
    pub parents: Vec<Parent>,
    /// The limit that is fullest.
    pub pids: Option<Use>,
}

/// Judges what was seen.
pub fn judge(seen: Seen, limits: Limits) -> Verdict {
    let Seen { mut parents, others, pids } = seen;
    for place in 0..NAMED.min(parents.len()) {
        // In place: the standard library's sort is 4 KB of code, and another list would take memory.
        let rest = parents.iter().enumerate().skip(place);
        let worst = rest.max_by_key(|(_, parent)| (parent.zombies, Reverse(parent.pid))).map_or(place, |(at, _)| at);
        parents.swap(place, worst);
    }
    let zombies = parents.iter().fold(others, |sum, parent| sum.saturating_add(parent.zombies));
    let pids = pids.into_iter().flatten().max_by_key(|pids| (pids.permille(), pids.limit.map(Reverse)));
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
        let pids = std::array::from_fn(|i| pids.get(i).copied());
        judge(Seen { parents: parents.to_vec(), others: 0, pids }, Limits::parse(limits).unwrap())
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
    fn zombies_are_counted_also_where_there_is_no_room_for_their_parents() {
        let mut parents = Parents { list: Vec::with_capacity(2), most: 2, but: Some(1) };
        let counted = [7, 3, 9, 1, 7, 9].map(|pid| parents.count_zombie_of(pid, false));
        assert_eq!(counted, [true, true, false, true, true, false]);
        assert_eq!((parents.list.capacity(), parents.list[0].pid, parents.list[1].zombies), (2, 3, 2));
        let verdict = judge(Seen { parents: parents.list, others: 2, pids: [None; 3] }, Limits::default());
        assert_eq!((verdict.zombies, verdict.parents[0].pid), (5, 7));
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
}
