//! The cgroup's count of processes that the kernel killed for want of memory.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

use super::{Controller, FIRST_READ, LARGEST_FILE, Version, leads_out, membership, value_of};

/// The cgroup's oom_kill count. Of a process that SIGKILL ended, nothing else tells whether memory ran out.
///
/// What is read when:
/// 1. Right after the command's exec: the count, so that the rise since then is known. The kernel counts before it kills
///    (mm/oom_kill.c, `__oom_kill_process`), so a death that was its doing is in the count before foster hears of it. The
///    command is running already; before it can have used up its memory, foster has read. This takes two to six system
///    calls at the places where nearly every machine has the file ([`first_look`]), because on a single processor the command
///    waits for them. It guesses: it does not ask whether the kernel lists foster in that cgroup.
/// 2. Before foster sleeps for the first time, and only where the file was at none of those places: the table of mounts,
///    which says where it is. The kernel takes 35,000 instructions to write that table and foster to read it, so the command
///    is given the processor first.
/// 3. When something was killed: the count again. Only if it rose, foster makes sure that the guess was right.
pub struct OomWatch {
    root: Root,
    /// Where the count is read, if it can be.
    file: Option<Terminated>,
    known: Known,
    at_start: u64,
    /// At the last drain, so that an orphan is not told of what happened before.
    settled: u64,
    /// In this drain, once it was looked at: several may die of the same want of memory.
    current: Option<u64>,
}

/// How foster knows which file that is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is foster's own cgroup's, or that of one around it, if things are as they usually are.
    Guessed,
    /// From the kernel.
    Surely,
    /// Not at all yet: it is at no usual place.
    NotYet,
}

/// The root directory; in tests another one.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) path: &'static Path,
    /// What paths without a leading slash are relative to.
    pub(super) directory: BorrowedFd<'static>,
}

impl OomWatch {
    /// Counts from now on. The caller has `/` as its working directory, and is about to close every descriptor above 2: up
    /// to two are left open for that one call.
    pub fn start() -> OomWatch {
        OomWatch::start_in(Root { path: Path::new("/"), directory: AT_FDCWD })
    }

    pub(super) fn start_in(root: Root) -> OomWatch {
        let (file, at_start) = first_look(root.directory).unzip();
        let known = if file.is_some() { Known::Guessed } else { Known::NotYet };
        let at_start = at_start.unwrap_or(0);
        OomWatch { root, file, known, at_start, settled: at_start, current: None }
    }

    pub(super) fn look(&mut self) -> u64 {
        if let Some(current) = self.current {
            return current;
        }
        let risen = self.read().filter(|count| *count > self.settled);
        let current = risen.filter(|_| self.is_known()).unwrap_or(self.settled);
        self.current = Some(current);
        current
    }

    #[cold]
    pub(super) fn read(&self) -> Option<u64> {
        kills_in(self.root.directory, self.file.as_ref()?).map(|(count, _)| count)
    }

    /// Whether the guess was right. If not, foster does not know what the count of its own cgroup was at the start.
    #[cold]
    pub(super) fn is_known(&mut self) -> bool {
        if self.known == Known::Guessed {
            self.known = Known::Surely;
            self.file = self.file.take().filter(|file| counts_the_caller(self.root.path, file));
        }
        self.file.is_some()
    }

    /// The mounts say where the count is, if it is anywhere. Not before the command had its turn.
    #[cold]
    pub(super) fn search(&mut self) {
        std::thread::yield_now();
        self.known = Known::Surely;
        let file = Controller::find(self.root.path, "memory").and_then(|own| own.oom_file());
        self.file = file.map(|file| Terminated::new(&[file.as_os_str().as_bytes()]));
        self.at_start = self.read().unwrap_or(0);
        self.settled = self.at_start;
    }

    /// How much the count rose since the last drain.
    pub fn rise(&mut self) -> u64 {
        self.look().saturating_sub(self.settled)
    }

    /// How much the count rose since foster started.
    pub fn rise_since_start(&mut self) -> u64 {
        self.look().saturating_sub(self.at_start)
    }

    /// Every child that had died is reaped, so what was counted until now is no later death's. foster is about to sleep.
    pub fn settle(&mut self) {
        if let Some(current) = self.current.take() {
            self.settled = current;
        }
        if self.known == Known::NotYet {
            self.search();
        }
    }
}
/// A file's name with the NUL that the kernel wants. In memory of foster's own: the linker puts constants that end in a NUL
/// far away from what every life needs, and nix would copy another kind of name onto the stack, into a kilobyte.
pub(super) struct Terminated(Vec<u8>);

impl Terminated {
    pub(super) fn new(parts: &[&[u8]]) -> Terminated {
        let length = parts.iter().fold(1, |length: usize, part| length.saturating_add(part.len()));
        let mut name = Vec::with_capacity(length);
        parts.iter().for_each(|part| name.extend_from_slice(part));
        name.push(0);
        Terminated(name)
    }

    pub(super) fn text(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, text)| text)
    }
}

/// Whether this is the file of the caller's cgroup, by a name relative to `root`, or in v2 of a cgroup around it, since a
/// count of v2 has those of the cgroups below in it.
#[cold]
pub(super) fn counts_the_caller(root: &Path, file: &Terminated) -> bool {
    let below = || {
        let own = Controller::find(root, "memory")?;
        let directory = file.text().get(..file.text().iter().rposition(|b| *b == b'/')?)?;
        let path = own.directory.as_os_str().as_bytes().strip_prefix(root.as_os_str().as_bytes())?;
        let below = path.strip_prefix(b"/").unwrap_or(path).strip_prefix(directory)?;
        Some(below.is_empty() || below == b"/" || (own.version == Version::V2 && below.starts_with(b"/")))
    };
    below().unwrap_or(false)
}

/// The inode number of a hierarchy's real root: the first that kernfs gives (fs/kernfs/dir.c, `kernfs_create_root`).
pub(super) const ROOT_INODE: u64 = 1;
pub(super) const V1: &[u8] = b"sys/fs/cgroup/memory";
pub(super) const V2: &[u8] = b"sys/fs/cgroup";

/// Reads the count where nearly every machine has it, in as few system calls as possible, and says in which file that was.
///
/// A container sees its own cgroup at the top of the hierarchy. Only there has v2 a count at the top, and only there is
/// v1's top not the real root. So in a container foster needs nothing of /proc, and that saves time at its end: if a
/// process has looked into its own directory in /proc, the kernel has to take that down when the process ends, and somebody
/// waits for that. Outside of a container /proc/self/cgroup names the cgroup.
pub(super) fn first_look(root: BorrowedFd) -> Option<(Terminated, u64)> {
    let at_v1_top = || {
        let top = fstatat(root, CStr::from_bytes_with_nul(&Terminated::new(&[V1]).0).ok()?, AtFlags::empty()).ok()?;
        if top.st_ino == ROOT_INODE { None } else { counted(root, Version::V1, b"") }
    };
    counted(root, Version::V2, b"").or_else(at_v1_top).or_else(|| counted_below(root, &own_cgroups(root)?))
}

/// Reads the count of the cgroup that /proc/self/cgroup names.
pub(super) fn counted_below(root: BorrowedFd, cgroups: &[u8]) -> Option<(Terminated, u64)> {
    let (version, path) = membership(cgroups, "memory")?;
    if leads_out(path) {
        return None;
    }
    let mut path = path.strip_suffix(b"/").unwrap_or(path);
    loop {
        match counted(root, version, path) {
            // Where the controller is not enabled, memory is charged to the nearest cgroup above that has it.
            None if version == Version::V2 => path = path.get(..path.iter().rposition(|b| *b == b'/')?)?,
            found => return found,
        }
    }
}

pub(super) fn counted(root: BorrowedFd, version: Version, path: &[u8]) -> Option<(Terminated, u64)> {
    let (top, name) = match version {
        Version::V1 => (V1, &b"/memory.oom_control"[..]),
        Version::V2 => (V2, &b"/memory.events"[..]),
    };
    let file = Terminated::new(&[top, path, name]);
    let (count, opened) = kills_in(root, &file)?;
    leave_open(opened);
    Some((file, count))
}

/// More than its first bytes only on machines with v1.
pub(super) fn own_cgroups(root: BorrowedFd) -> Option<Vec<u8>> {
    let file = open(root, &Terminated::new(&[b"proc/self/cgroup"]))?;
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

/// To be closed along with everything that foster inherited: see [`OomWatch::start`].
pub(super) fn leave_open(file: OwnedFd) {
    if file.as_raw_fd() > 2 {
        let _ = file.into_raw_fd();
    }
}

/// The kernel writes such a file in one piece and it is short, so one read gets all of it. The room is on the stack, since a
/// page of the heap would be foster's for life.
pub(super) fn kills_in(root: BorrowedFd, file: &Terminated) -> Option<(u64, OwnedFd)> {
    let file = open(root, file)?;
    let mut room = [0; FIRST_READ];
    let length = nix::unistd::read(&file, &mut room).ok()?;
    Some((value_of(room.get(..length)?, OOM_KILL)?, file))
}

/// Not through std: musl's open(2) adds a fcntl(2) to O_CLOEXEC, its openat(2) does not.
pub(super) fn open(root: BorrowedFd, file: &Terminated) -> Option<OwnedFd> {
    openat(root, CStr::from_bytes_with_nul(&file.0).ok()?, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

pub(super) const OOM_KILL: &str = "oom_kill";
