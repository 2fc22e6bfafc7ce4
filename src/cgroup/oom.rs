//! Whether memory ran out: the oom_kill count of foster's own cgroup, read in as few system calls as possible.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, stat};

use super::{Controller, FIRST_READ, LARGEST_FILE, OOM_KILL, Version, leads_out, level_above, membership, value_of};
use crate::facts::OomKills;

/// The cgroup's oom_kill count. Of a process that SIGKILL ended, nothing else tells whether memory ran out.
///
/// What is read when:
/// 1. Before foster sleeps for the first time: the count, so that the rise from there is known. The command runs already.
///    With a processor to spare this is some 20 µs after the exec, in which nothing can use up its memory; on a single
///    processor it may be after the command's first turn of a few milliseconds. On a single processor the command waits for
///    this, too: so it takes two to six system calls at the places where nearly every machine has the file
///    ([`first_look`]). It guesses: it does not ask whether the kernel lists foster in that cgroup. A command that has ended by
///    then with 0, as a short job in its first turn, has not waited for it at all.
/// 2. At the same time, and only where the file was at none of those places: the table of mounts, which says where it is. The
///    kernel takes 35,000 instructions to write that table and foster to read it, so the command is given the processor first.
/// 3. When something was killed: the count again. The kernel counts before it kills (mm/oom_kill.c, `__oom_kill_process`), so
///    a death that was its doing is in the count before foster hears of it. Only if it rose, foster makes sure that the guess
///    was right. If something was killed before the first reading, it is read now, and foster knows how many were counted
///    but not whether one came with this death: it says just that.
pub struct OomWatch {
    /// The root directory, in tests another one, with a slash at its end.
    root: &'static Path,
    /// Where the count is read, if it can be.
    file: Option<Terminated>,
    known: Known,
    /// What was counted when foster first read it.
    at_first: u64,
    /// At the last drain, so that an orphan is not told of what happened before.
    settled: u64,
    /// In this drain, once it was looked at: several may die of the same want of memory.
    current: Option<u64>,
    /// Children may have died before the first reading.
    is_first_drain: bool,
}

/// How foster knows which file that is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It has not looked yet.
    NotYet,
    /// It is foster's own cgroup's, or that of one around it, if things are as they usually are.
    Guessed,
    /// From the kernel.
    Surely,
}

impl OomWatch {
    /// Nothing is read yet.
    pub fn new() -> OomWatch {
        OomWatch::below(Path::new("/"))
    }

    fn below(root: &'static Path) -> OomWatch {
        let (file, known) = (None, Known::NotYet);
        OomWatch { root, file, known, at_first: 0, settled: 0, current: None, is_first_drain: true }
    }

    /// To be called before foster sleeps for the first time. Up to two descriptors above 2 stay open: the caller closes all of
    /// those next, in one call.
    pub fn look_first(&mut self) {
        if self.known != Known::NotYet {
            return;
        }
        match first_look(self.root.as_os_str().as_bytes()) {
            Some((file, count)) => {
                (self.file, self.at_first) = (Some(file), count);
                self.known = Known::Guessed;
            }
            None => self.search(),
        }
        self.settled = self.at_first;
    }

    /// The mounts say where the count is, if it is anywhere. Not before the command had its turn.
    #[cold]
    fn search(&mut self) {
        std::thread::yield_now();
        self.known = Known::Surely;
        let file = Controller::find(self.root, "memory").and_then(|own| own.oom_file());
        self.file = file.map(|file| Terminated::new(&[file.as_os_str().as_bytes()]));
        self.at_first = self.read().unwrap_or(0);
    }

    #[cold]
    fn look(&mut self) -> u64 {
        if let Some(current) = self.current {
            return current;
        }
        let risen = self.read().filter(|count| *count > self.settled);
        let current = risen.filter(|_| self.is_known()).unwrap_or(self.settled);
        self.current = Some(current);
        current
    }

    #[cold]
    fn read(&self) -> Option<u64> {
        kills_in(self.file.as_ref()?).map(|(count, _)| count)
    }

    /// Whether the guess was right. If not, foster does not know what the count of its own cgroup was at the start.
    #[cold]
    fn is_known(&mut self) -> bool {
        if self.known == Known::Guessed {
            self.known = Known::Surely;
            self.file = self.file.take().filter(|file| counts_the_caller(self.root, file));
        }
        self.file.is_some()
    }

    /// How much the count rose since the last drain.
    pub fn rise(&mut self) -> OomKills {
        self.rise_since(self.settled)
    }

    /// How much the count rose since the first reading.
    pub fn rise_since_start(&mut self) -> OomKills {
        self.rise_since(self.at_first)
    }

    #[cold]
    fn rise_since(&mut self, before: u64) -> OomKills {
        if !self.is_first_drain {
            return OomKills::Rose(self.look().saturating_sub(before));
        }
        // Something died before the first reading.
        self.look_first();
        if self.at_first > 0 && self.is_known() { OomKills::Counted(self.at_first) } else { OomKills::NONE }
    }

    /// Every child that had died is reaped, so what was counted until now is no later death's.
    pub fn settle(&mut self) {
        self.is_first_drain = false;
        if let Some(current) = self.current.take() {
            self.settled = current;
        }
    }
}

/// A file's name with the NUL that the kernel wants. In memory of foster's own: the linker puts constants that end in a NUL
/// far away from what every life needs, and nix would copy another kind of name onto the stack, into a kilobyte.
struct Terminated(Vec<u8>);

/// Most are no longer.
const NAME_LENGTH: usize = 96;

impl Terminated {
    fn new(parts: &[&[u8]]) -> Terminated {
        let mut name = Vec::with_capacity(NAME_LENGTH);
        parts.iter().for_each(|part| name.extend_from_slice(part));
        name.push(0);
        Terminated(name)
    }

    fn text(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, text)| text)
    }
}

/// Whether this is the file of the caller's cgroup, or in v2 of a cgroup around it, since a count of v2 has those of the
/// cgroups below in it.
#[cold]
fn counts_the_caller(root: &Path, file: &Terminated) -> bool {
    let below = || {
        let own = Controller::find(root, "memory")?;
        let directory = level_above(file.text(), 0)?;
        let below = own.directory.as_os_str().as_bytes().strip_prefix(directory)?;
        Some(below.is_empty() || below == b"/" || (own.version == Version::V2 && below.starts_with(b"/")))
    };
    below().unwrap_or(false)
}

/// The inode number of a hierarchy's real root: the first that kernfs gives (fs/kernfs/dir.c, `kernfs_create_root`).
const ROOT_INODE: u64 = 1;
const V1: &[u8] = b"sys/fs/cgroup/memory";
const V2: &[u8] = b"sys/fs/cgroup";

/// Reads the count where nearly every machine has it, in as few system calls as possible, and says in which file that was.
///
/// A container sees its own cgroup at the top of the hierarchy. Only there has v2 a count at the top, and only there is
/// v1's top not the real root. So in a container foster needs nothing of /proc, and that saves time at its end: if a
/// process has looked into its own directory in /proc, the kernel has to take that down when the process ends, and somebody
/// waits for that. Outside of a container /proc/self/cgroup names the cgroup.
fn first_look(root: &[u8]) -> Option<(Terminated, u64)> {
    let at_v1_top = || {
        let top = stat(CStr::from_bytes_with_nul(&Terminated::new(&[root, V1]).0).ok()?).ok()?;
        if top.st_ino == ROOT_INODE { None } else { counted(root, Version::V1, b"") }
    };
    counted(root, Version::V2, b"").or_else(at_v1_top).or_else(|| counted_below(root, &own_cgroups(root)?))
}

/// Reads the count of the cgroup that /proc/self/cgroup names.
fn counted_below(root: &[u8], cgroups: &[u8]) -> Option<(Terminated, u64)> {
    let (version, path) = membership(cgroups, "memory")?;
    if leads_out(path) {
        return None;
    }
    let mut path = path.strip_suffix(b"/").unwrap_or(path);
    loop {
        match counted(root, version, path) {
            // Where the controller is not enabled, memory is charged to the nearest cgroup above that has it.
            None if version == Version::V2 => path = level_above(path, 0)?,
            found => return found,
        }
    }
}

fn counted(root: &[u8], version: Version, path: &[u8]) -> Option<(Terminated, u64)> {
    let (top, name) = match version {
        Version::V1 => (V1, &b"/memory.oom_control"[..]),
        Version::V2 => (V2, &b"/memory.events"[..]),
    };
    let file = Terminated::new(&[root, top, path, name]);
    let (count, opened) = kills_in(&file)?;
    leave_open(opened);
    Some((file, count))
}

/// More than its first bytes only on machines with v1.
fn own_cgroups(root: &[u8]) -> Option<Vec<u8>> {
    let file = open(&Terminated::new(&[root, b"proc/self/cgroup"]))?;
    let mut bytes = vec![0; FIRST_READ];
    let length = nix::unistd::read(&file, &mut bytes).ok()?;
    bytes.truncate(length);
    if length < FIRST_READ {
        leave_open(file);
    } else {
        File::from(file).take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    }
    Some(bytes)
}

/// To be closed along with everything that foster inherited: see [`OomWatch::look_first`].
fn leave_open(file: OwnedFd) {
    if file.as_raw_fd() > 2 {
        let _ = file.into_raw_fd();
    }
}

/// More than seven counts take, each by its name and as large as it can be before a machine is replaced.
const LONGEST_COUNTS: usize = 256;

/// The kernel writes such a file in one piece and it is short, so one read gets all of it. The room is on the stack, since a
/// page of the heap would be foster's for life.
fn kills_in(file: &Terminated) -> Option<(u64, OwnedFd)> {
    let file = open(file)?;
    let mut room = [0; LONGEST_COUNTS];
    let length = nix::unistd::read(&file, &mut room).ok()?;
    Some((value_of(room.get(..length)?, OOM_KILL)?, file))
}

/// Not through std: musl's open(2) adds a fcntl(2) to O_CLOEXEC, its openat(2) does not.
fn open(file: &Terminated) -> Option<OwnedFd> {
    openat(AT_FDCWD, CStr::from_bytes_with_nul(&file.0).ok()?, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CGROUP2, EVENTS, Tree, V2};
    use super::*;

    impl Tree {
        /// foster's first look, with this tree as the root directory.
        fn watch(&self) -> OomWatch {
            OomWatch::below(Box::leak(self.0.join("").into_boxed_path()))
        }
    }

    /// Has the count rise from 3 to 5 between the look at the start and the one at an end by SIGKILL.
    fn rise(tree: &Tree, counter: &str) -> u64 {
        let mut watch = tree.watch();
        watch.settle();
        watch.look_first();
        tree.write(counter, "oom_kill 5\n");
        let rise = watch.rise();
        assert_eq!(rise, watch.rise_since_start());
        watch.settle();
        assert_eq!((watch.rise(), watch.rise_since_start()), (OomKills::NONE, rise), "of no later end");
        let OomKills::Rose(rise) = rise else { panic!("{rise:?}") };
        rise
    }

    /// Whoever dies before the count was read: it has risen already, or somebody else's kills are in it.
    #[test]
    fn of_an_end_before_the_first_reading_only_the_count_is_known() {
        let own = format!("{}\n", std::process::id());
        let top = [("sys/fs/cgroup/cgroup.controllers", "memory\n"), ("sys/fs/cgroup/cgroup.procs", &own[..])];
        let tree =
            |name, events| Tree::new(name, "", "", &[&top[..], &[("sys/fs/cgroup/memory.events", events)]].concat());
        let early = tree("watch-early", EVENTS);
        let mut watch = early.watch();
        assert_eq!((watch.rise(), watch.rise_since_start()), (OomKills::Counted(3), OomKills::Counted(3)));
        watch.settle();
        watch.look_first();
        assert_eq!((watch.rise(), watch.rise_since_start()), (OomKills::NONE, OomKills::NONE), "of no later end");
        early.write("sys/fs/cgroup/memory.events", "oom_kill 4\n");
        watch.settle();
        assert_eq!((watch.rise(), watch.rise_since_start()), (OomKills::Rose(1), OomKills::Rose(1)));

        assert_eq!(tree("watch-early-none", "oom_kill 0\n").watch().rise(), OomKills::NONE, "none was killed");
        let foreign = tree("watch-early-foreign", EVENTS);
        foreign.write("sys/fs/cgroup/cgroup.procs", "1234567890\n");
        assert_eq!(foreign.watch().rise(), OomKills::NONE, "it is not foster's");
    }

    #[test]
    fn the_rise_is_counted_wherever_the_cgroup_is() {
        let own = format!("{}\n", std::process::id());
        let top = [("sys/fs/cgroup/cgroup.controllers", "memory\n"), ("sys/fs/cgroup/cgroup.procs", &own[..])];
        let events = [("sys/fs/cgroup/memory.events", EVENTS)];
        let tree = Tree::new("watch-v2", "", "", &[&top[..], &events].concat());
        assert_eq!(rise(&tree, "sys/fs/cgroup/memory.events"), 2, "a container's");

        let v1 = [("sys/fs/cgroup/memory/cgroup.procs", &own[..]), ("sys/fs/cgroup/memory/memory.oom_control", EVENTS)];
        let tree = Tree::new("watch-v1", "", "", &v1);
        assert_eq!(rise(&tree, "sys/fs/cgroup/memory/memory.oom_control"), 2, "a container's, v1");

        let mounts = "35 24 0:30 / @/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      36 24 0:31 / @/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let counter = "sys/fs/cgroup/system.slice/app.service/memory.events";
        let tree = Tree::new("watch-below", V2, mounts, &[(counter, EVENTS)]);
        assert_eq!(rise(&tree, counter), 2, "where /proc says");

        let counter = "sys/fs/cgroup/memory/box/memory.oom_control";
        let many = format!("{}4:memory:/box\n0::/\n", "9:cpu:/a-long-name\n".repeat(100));
        let tree = Tree::new("watch-below-v1", &many, mounts, &[(counter, EVENTS)]);
        assert_eq!(rise(&tree, counter), 2, "where /proc says, v1");

        let counter = "sys/fs/cgroup/system.slice/memory.events";
        let files = [(counter, EVENTS), ("sys/fs/cgroup/system.slice/app.service/cgroup.procs", &own[..])];
        let tree = Tree::new("watch-above", V2, mounts, &files);
        assert_eq!(rise(&tree, counter), 2, "of the nearest that has the controller");

        let tree = Tree::new("watch-mounts", "0::/\n", CGROUP2, &[("cg/memory.events", EVENTS)]);
        assert_eq!(rise(&tree, "cg/memory.events"), 2, "where the mounts say");
    }

    /// The first look is a guess. If the kernel does not list foster there, a rise is no matter of foster's.
    #[test]
    fn another_cgroups_rise_is_not_counted() {
        let top = [("sys/fs/cgroup/cgroup.controllers", "memory\n"), ("sys/fs/cgroup/cgroup.procs", "1234567890\n")];
        let events = [("sys/fs/cgroup/memory.events", EVENTS)];
        let tree = Tree::new("watch-foreign", "", "", &[&top[..], &events].concat());
        assert_eq!(rise(&tree, "sys/fs/cgroup/memory.events"), 0);

        let mounts = "35 24 0:30 /elsewhere @/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let counter = "sys/fs/cgroup/system.slice/app.service/memory.events";
        let tree = Tree::new("watch-foreign-below", V2, mounts, &[(counter, EVENTS)]);
        assert_eq!(rise(&tree, counter), 0);

        let tree = Tree::new("watch-nothing", "", "", &[]);
        assert_eq!(rise(&tree, "sys/fs/cgroup/memory.events"), 0);
    }

    /// In a container the cgroup may be one below what is seen, which counts along in v2.
    #[test]
    fn the_count_of_a_cgroup_around_is_its_own_in_v2_alone() {
        let own = format!("{}\n", std::process::id());
        let mounts = "35 24 0:30 / @/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      36 24 0:31 / @/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let v2 = [("sys/fs/cgroup/memory.events", EVENTS), ("sys/fs/cgroup/init/cgroup.procs", &own[..])];
        assert_eq!(rise(&Tree::new("watch-init", "0::/init\n", mounts, &v2), "sys/fs/cgroup/memory.events"), 2);
        let counter = "sys/fs/cgroup/memory/memory.oom_control";
        let v1 = [(counter, EVENTS), ("sys/fs/cgroup/memory/init/cgroup.procs", &own[..])];
        assert_eq!(rise(&Tree::new("watch-init-v1", "4:memory:/init\n", mounts, &v1), counter), 0);
    }
}
