//! foster's own cgroup: how many processes may be in it, and how many the kernel killed there for want of memory.
//! Parsing is pure; every reader answers `None` for what cannot be read.

mod oom;

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

pub use oom::OomWatch;

/// The two interfaces of the kernel (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One for all of them.
    V2,
}

/// One controller's directory for the cgroup that foster is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    version: Version,
    directory: PathBuf,
    /// Where the hierarchy is mounted: what is above it cannot be seen.
    mount: PathBuf,
}

/// How many processes and threads a cgroup has, and may have (Documentation/admin-guide/cgroup-v1/pids.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pids {
    /// `pids.current`.
    pub current: u64,
    /// `pids.max`; `None`: no limit.
    pub max: Option<u64>,
}

impl Controller {
    /// Finds where the controller of this name, `memory` or `pids`, keeps the files of the caller's cgroup, with the /proc
    /// and the /sys below `root`; `None` where it is not mounted or this cgroup is not below the mount.
    #[cold]
    pub fn find(root: &Path, name: &str) -> Option<Controller> {
        Controller::at_usual_place(root, name).or_else(|| Controller::from_mounts(&root.join("proc/self"), name))
    }

    /// As containers have it: their own cgroup is all that they see of the hierarchy, so the kernel lists the caller right
    /// there.
    #[cold]
    fn at_usual_place(root: &Path, name: &str) -> Option<Controller> {
        let top = root.join("sys/fs/cgroup");
        let (version, directory) = match read(&top.join("cgroup.controllers")) {
            Some(controllers) if !has_word(controllers.trim_ascii(), b' ', name) => return None,
            Some(_) => (Version::V2, top),
            None => (Version::V1, top.join(name)),
        };
        has_caller(&directory).then(|| Controller { version, mount: directory.clone(), directory })
    }

    #[cold]
    fn from_mounts(proc_self: &Path, name: &str) -> Option<Controller> {
        let cgroups = read(&proc_self.join("cgroup"))?;
        let mountinfo = read(&proc_self.join("mountinfo"))?;
        let (version, path) = membership(&cgroups, name)?;
        let mounts: Vec<Mount> = lines(&mountinfo).filter_map(|line| parse_mount(line, version, name)).collect();
        let below = |mount: &Mount| Some((mount.directory(path).filter(|d| d.is_dir())?, mount.point.clone()));
        // Sandboxes and bind mounts whose paths do not fit together: the kernel itself says who is in that cgroup.
        let itself = |mount: &Mount| has_caller(&mount.point).then(|| (mount.point.clone(), mount.point.clone()));
        // A later mount covers an earlier one in the same place.
        let mounts = || mounts.iter().rev();
        let (directory, mount) = mounts().find_map(below).or_else(|| mounts().find_map(itself))?;
        Some(Controller { version, directory, mount })
    }

    /// The file with the count of the processes of this cgroup that the kernel has killed because memory ran out. v2 counts
    /// those of the cgroups below it as well; Linux before 4.13 counts none.
    #[cold]
    fn oom_file(&self) -> Option<PathBuf> {
        match self.version {
            Version::V1 => Some(self.directory.join("memory.oom_control")),
            // Where the controller is not enabled, memory is charged to the nearest cgroup above that has it.
            Version::V2 => self.levels().map(|level| level.join("memory.events")).find(|file| file.exists()),
        }
    }

    /// How many processes there are and may be: of this cgroup and those above it that can be seen, the one that is
    /// fullest, since a fork has to fit into all of them.
    #[cold]
    pub fn pids(&self) -> Option<Pids> {
        let fuller = |a: Pids, b: Pids| if b.is_fuller_than(a) { b } else { a };
        self.levels().filter_map(pids_in).reduce(fuller)
    }

    /// The cgroup's directory and those above it, up to where the hierarchy is mounted. By its bytes, since the directory is
    /// that of the mount with something added, and what Path knows of components are 3 KiB of code.
    fn levels(&self) -> impl Iterator<Item = &Path> {
        let top = self.mount.as_os_str().len();
        let whole = self.directory.as_os_str().as_bytes();
        let whole = whole.strip_suffix(b"/").unwrap_or(whole);
        std::iter::successors(Some(whole), move |level| level_above(level, top))
            .map(|level| Path::new(OsStr::from_bytes(level)))
    }
}

const OOM_KILL: &str = "oom_kill";

impl Pids {
    fn is_fuller_than(self, other: Pids) -> bool {
        let share = |part: Pids, whole: u64| u128::from(part.current).saturating_mul(u128::from(whole));
        match (self.max, other.max) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(max), Some(other_max)) => share(self, other_max) > share(other, max),
        }
    }
}

/// What a directory is in, if that is not shorter than the mount.
fn level_above(level: &[u8], mount_length: usize) -> Option<&[u8]> {
    let slash = level.iter().rposition(|b| *b == b'/')?;
    level.get(..slash).filter(|_| slash >= mount_length)
}

/// The root cgroup has neither file.
#[cold]
fn pids_in(directory: &Path) -> Option<Pids> {
    let mut buffer = [0; 32];
    let current = number(read_short(directory, b"/pids.current\0", &mut buffer)?)?;
    let max = read_short(directory, b"/pids.max\0", &mut buffer)?;
    Some(Pids { current, max: if max.trim_ascii() == b"max" { None } else { Some(number(max)?) } })
}

/// Reads a file of one number. On the stack: foster also looks when there is no memory left.
#[cold]
#[inline(never)]
fn read_short<'a>(directory: &Path, name: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut path = [0; libc::PATH_MAX as usize];
    let directory = directory.as_os_str().as_bytes();
    path.get_mut(..directory.len())?.copy_from_slice(directory);
    path.get_mut(directory.len()..)?.get_mut(..name.len())?.copy_from_slice(name);
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let mut file = File::from(open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?);
    let len = file.read(buffer).ok()?;
    buffer.get(..len)
}

/// Whether the caller is in the cgroup of this directory.
#[cold]
fn has_caller(directory: &Path) -> bool {
    let caller = u64::from(std::process::id());
    read(&directory.join("cgroup.procs")).is_some_and(|procs| lines(&procs).any(|line| number(line) == Some(caller)))
}

/// The caller's cgroup in the hierarchy that has this controller: `4:memory:/path` is v1's, `0::/path` v2's, which has
/// every controller that no line of v1's names (cgroups(7)).
pub fn membership<'a>(cgroups: &'a [u8], name: &str) -> Option<(Version, &'a [u8])> {
    let mut v2 = None;
    for line in lines(cgroups) {
        // The path may hold colons.
        let mut fields = line.splitn(3, |b| *b == b':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if has_word(controllers, b',', name) {
            return Some((Version::V1, path));
        }
        if controllers.is_empty() {
            v2 = Some((Version::V2, path));
        }
    }
    v2
}

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which of its cgroups is seen at the mount point, in the same terms as the path in /proc/self/cgroup.
    root: Vec<u8>,
    pub point: PathBuf,
}

/// Reads a line of /proc/self/mountinfo (proc_pid_mountinfo(5)); `None`: it is no hierarchy with this controller.
#[cold]
pub fn parse_mount(line: &[u8], version: Version, name: &str) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    // Any number of optional fields comes between, and then a dash.
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, options) = (after.next()?, after.nth(1)?);
    let fits = match version {
        Version::V1 => kind == b"cgroup" && has_word(options, b',', name),
        Version::V2 => kind == b"cgroup2",
    };
    fits.then(|| Mount { root, point: PathBuf::from(OsString::from_vec(point)) })
}

impl Mount {
    /// The directory of a cgroup; `None` if it is not below the root of this mount. With a cgroup namespace both paths
    /// count from the namespace's own root, and `..` leads out of it.
    pub fn directory(&self, path: &[u8]) -> Option<PathBuf> {
        let root = self.root.strip_suffix(b"/").unwrap_or(&self.root);
        let below = path.strip_prefix(root)?;
        if !(below.is_empty() || below.starts_with(b"/")) {
            return None;
        }
        let below = below.strip_prefix(b"/").unwrap_or_default();
        if leads_out(below) {
            return None;
        }
        Some(self.point.join(OsStr::from_bytes(below)))
    }
}

/// Whether a cgroup's path leads out of what is seen from here.
fn leads_out(path: &[u8]) -> bool {
    has_word(path, b'/', "..")
}

/// Undoes the kernel's escapes: a backslash and three octal digits (`mangle` in fs/proc_namespace.c).
#[cold]
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = tail.first_chunk().filter(|_| *first == b'\\').and_then(octal);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    bytes
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    u8::from_str_radix(digits, 8).ok()
}

/// The number after this key, which has a line of its own.
pub fn value_of(text: &[u8], key: &str) -> Option<u64> {
    let is_ours = |line: &&[u8]| line.split(|b| *b == b' ').next() == Some(key.as_bytes());
    number(lines(text).find(is_ours)?.get(key.len()..)?)
}

fn has_word(list: &[u8], separator: u8, word: &str) -> bool {
    list.split(|b| *b == separator).any(|item| item == word.as_bytes())
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n')
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    let digit = |number: u64, b: &u8| number.checked_mul(10)?.checked_add(char::from(*b).to_digit(10)?.into());
    if digits.is_empty() { None } else { digits.iter().try_fold(0, digit) }
}

/// More than any of these files has on a machine that still works.
const LARGEST_FILE: u64 = 1 << 20;

/// Most of them are no larger.
const FIRST_READ: usize = 512;

#[cold]
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FIRST_READ);
    File::open(path).ok()?.take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) const V2: &str = "0::/system.slice/app.service\n";
    const HYBRID: &str = "9:name=systemd:/\n8:pids:/box\n4:cpu,memory:/box/a:b\n3:cpuset:/\n0::/elsewhere\n";

    /// A /proc and the cgroup file systems that its mountinfo names, as ordinary files; `@` stands for the directory.
    pub(super) struct Tree(pub(super) PathBuf);

    impl Tree {
        pub(super) fn new(name: &str, cgroups: &str, mountinfo: &str, files: &[(&str, &str)]) -> Tree {
            let root = std::env::temp_dir().join(format!("foster-cgroup-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&root);
            let tree = Tree(root);
            tree.write("proc/self/cgroup", cgroups);
            let place = tree.0.display().to_string();
            tree.write("proc/self/mountinfo", &mountinfo.replace('@', &place));
            files.iter().for_each(|(path, content)| tree.write(path, content));
            tree
        }

        pub(super) fn write(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn find(&self, name: &str) -> Option<Controller> {
            Controller::find(&self.0, name)
        }

        fn oom_kills(&self) -> Option<u64> {
            value_of(&read(&self.find("memory")?.oom_file()?)?, OOM_KILL)
        }

        fn pids(&self) -> Option<(u64, Option<u64>)> {
            self.find("pids")?.pids().map(|pids| (pids.current, pids.max))
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(super) const EVENTS: &str = "low 0\nhigh 0\nmax 31\noom 4\noom_kill 3\noom_group_kill 0\n";
    pub(super) const CGROUP2: &str =
        "35 24 0:30 / @/cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

    #[test]
    fn a_v1_line_wins_and_v2_has_the_rest() {
        assert_eq!(membership(HYBRID.as_bytes(), "memory"), Some((Version::V1, &b"/box/a:b"[..])));
        assert_eq!(membership(HYBRID.as_bytes(), "pids"), Some((Version::V1, &b"/box"[..])));
        assert_eq!(membership(HYBRID.as_bytes(), "systemd"), Some((Version::V2, &b"/elsewhere"[..])));
        assert_eq!(membership(V2.as_bytes(), "memory"), Some((Version::V2, &b"/system.slice/app.service"[..])));
        assert_eq!(membership(b"4:cpu:/\n", "memory"), None);
        assert_eq!(membership(b"\n4\n4:\n", "memory"), None);
    }

    #[test]
    fn a_mount_is_taken_apart_with_its_escapes() {
        let line =
            br"36 35 0:32 /a\040b /sys/fs/c\134g\011roup rw,noatime master:1 shared:7 - cgroup cgroup rw,cpu,memory";
        let mount = parse_mount(line, Version::V1, "memory");
        assert_eq!(mount, Some(Mount { root: b"/a b".to_vec(), point: PathBuf::from("/sys/fs/c\\g\troup") }));
        assert_eq!(parse_mount(line, Version::V1, "mem"), None);
        assert_eq!(parse_mount(line, Version::V2, "memory"), None);
        let without = b"36 35 0:32 / /sys/fs/cgroup rw - cgroup2 none rw";
        assert!(parse_mount(without, Version::V2, "memory").is_some());
        assert_eq!(parse_mount(b"36 35 0:32 / /mnt rw -", Version::V2, "memory"), None);
        assert_eq!(unescape(br"\04 \999 \777 \+11 \"), br"\04 \999 \777 \+11 \".to_vec());
    }

    #[test]
    fn a_cgroups_directory_is_below_the_mount_or_nowhere() {
        for (root, path, directory) in [
            ("/", "/", Some("/cg/")),
            ("/", "/a/b", Some("/cg/a/b")),
            ("/docker/x", "/docker/x", Some("/cg/")),
            ("/docker/x", "/docker/x/init", Some("/cg/init")),
            ("/..", "/../sibling", Some("/cg/sibling")),
            ("/docker/x", "/docker/xy", None),
            ("/docker/x", "/", None),
            ("/../..", "/", None),
            ("/", "/../sibling", None),
        ] {
            let mount = Mount { root: root.into(), point: "/cg".into() };
            assert_eq!(mount.directory(path.as_bytes()), directory.map(PathBuf::from), "{root} {path}");
        }
    }

    #[test]
    fn v2_in_a_nested_cgroup_takes_the_fullest_level() {
        let files = [
            ("cg/system.slice/app.service/memory.events", EVENTS),
            ("cg/system.slice/app.service/pids.current", "40\n"),
            ("cg/system.slice/app.service/pids.max", "max\n"),
            ("cg/system.slice/pids.current", "90\n"),
            ("cg/system.slice/pids.max", "100\n"),
        ];
        let tree = Tree::new("nested", V2, CGROUP2, &files);
        assert_eq!((tree.oom_kills(), tree.pids()), (Some(3), Some((90, Some(100)))));
        // 40 of 42 is fuller than 90 of 100.
        tree.write("cg/system.slice/app.service/pids.max", "42\n");
        assert_eq!(tree.pids(), Some((40, Some(42))));
        tree.write("cg/system.slice/app.service/pids.max", "400\n");
        assert_eq!(tree.pids(), Some((90, Some(100))));
        tree.write("cg/system.slice/app.service/pids.max", "many\n");
        tree.write("cg/system.slice/pids.current", "");
        assert_eq!(tree.pids(), None);
    }

    #[test]
    fn v2_in_a_cgroup_namespace_is_at_the_mount_point() {
        let files = [("cg/memory.events", EVENTS), ("cg/pids.current", "7\n"), ("cg/pids.max", "max\n")];
        let tree = Tree::new("namespace", "0::/\n", CGROUP2, &files);
        assert_eq!((tree.oom_kills(), tree.pids()), (Some(3), Some((7, None))));
    }

    /// A container's own `init` cgroup for which nobody enabled the controllers: its memory is charged to the container.
    #[test]
    fn v2_without_the_controller_is_the_nearest_level_that_has_it() {
        let files = [("cg/memory.events", EVENTS), ("cg/init/cgroup.procs", "")];
        let tree = Tree::new("not-enabled", "0::/init\n", CGROUP2, &files);
        assert_eq!((tree.oom_kills(), tree.pids()), (Some(3), None));
    }

    #[test]
    fn v1_has_a_mount_for_each_controller_and_hybrid_a_cgroup2_without_them() {
        let mountinfo = "33 32 0:31 / @/mem\\040ory rw - cgroup cgroup rw,memory\n\
                         34 32 0:32 /box @/pids rw - cgroup cgroup rw,pids\n\
                         35 32 0:33 / @/unified rw - cgroup2 cgroup2 rw\n";
        let files = [
            ("mem ory/box/a:b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"),
            ("pids/pids.current", "12\n"),
            ("pids/pids.max", "32\n"),
            ("unified/elsewhere/cgroup.procs", ""),
        ];
        let tree = Tree::new("hybrid", HYBRID, mountinfo, &files);
        assert_eq!((tree.oom_kills(), tree.pids()), (Some(5), Some((12, Some(32)))));
        // As Linux before 4.13 has it.
        tree.write("mem ory/box/a:b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n");
        assert_eq!(tree.oom_kills(), None);
    }

    /// What a container sees: nothing in /proc is needed, or would say it better.
    #[test]
    fn a_container_finds_its_cgroup_where_containers_have_it() {
        let own = format!("1234567890\n{}\n", std::process::id());
        let v2 = [
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids\n"),
            ("sys/fs/cgroup/cgroup.procs", &own),
            ("sys/fs/cgroup/memory.events", EVENTS),
            ("sys/fs/cgroup/pids.current", "7\n"),
            ("sys/fs/cgroup/pids.max", "9\n"),
        ];
        let tree = Tree::new("container-v2", "", "", &v2);
        assert_eq!((tree.oom_kills(), tree.pids()), (Some(3), Some((7, Some(9)))));
        // Memory is somewhere else.
        tree.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu pids\n");
        assert_eq!((tree.oom_kills(), tree.pids()), (None, Some((7, Some(9)))));
        tree.write("sys/fs/cgroup/cgroup.controllers", "");
        assert_eq!((tree.oom_kills(), tree.pids()), (None, None));

        let v1 = [
            ("sys/fs/cgroup/memory/cgroup.procs", &own[..]),
            ("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 5\n"),
            ("sys/fs/cgroup/pids/cgroup.procs", "1234567890\n"),
            ("sys/fs/cgroup/pids/pids.current", "7\n"),
            ("sys/fs/cgroup/pids/pids.max", "9\n"),
        ];
        let tree = Tree::new("container-v1", "", "", &v1);
        assert_eq!((tree.oom_kills(), tree.pids()), (Some(5), None));
        // A cgroup of v2 that happens to have a controller's name.
        tree.write("sys/fs/cgroup/cgroup.controllers", "memory pids\n");
        assert_eq!(tree.oom_kills(), None);
    }

    /// Elsewhere what is mounted there is the whole machine's, and what /proc says counts.
    #[test]
    fn a_root_cgroup_without_the_caller_is_passed_over() {
        let files = [
            ("sys/fs/cgroup/cgroup.controllers", "memory pids\n"),
            ("sys/fs/cgroup/cgroup.procs", "1234567890\n"),
            ("sys/fs/cgroup/memory.events", "oom_kill 7\n"),
            ("cg/system.slice/app.service/memory.events", EVENTS),
        ];
        assert_eq!(Tree::new("machine", V2, CGROUP2, &files).oom_kills(), Some(3));
    }

    /// The paths do not fit together; the mount point counts only if the kernel lists the caller there.
    #[test]
    fn a_foreign_root_counts_only_with_the_caller_in_it() {
        for (root, path) in [("/docker/x", "/"), ("/../..", "/"), ("/scope-3", "/scope-50"), ("/", "/../x")] {
            let mountinfo = CGROUP2.replace(" / ", &format!(" {root} "));
            let files = [("cg/memory.events", EVENTS), ("cg/cgroup.procs", "0\n1234567890\n")];
            let tree = Tree::new("foreign", &format!("0::{path}\n"), &mountinfo, &files);
            assert_eq!(tree.oom_kills(), None, "{root} {path}");
            tree.write("cg/cgroup.procs", &format!("0\n{}\n", std::process::id()));
            assert_eq!(tree.oom_kills(), Some(3), "{root} {path}");
        }
    }

    #[test]
    fn a_mount_that_shows_the_cgroup_is_preferred_and_the_later_of_two() {
        let mountinfo =
            format!("30 24 0:30 /../.. @/host rw - cgroup2 cgroup2 rw\n{CGROUP2}{}", CGROUP2.replace("@/cg", "@/new"));
        let files = [("cg/memory.events", "oom_kill 1\n"), ("new/memory.events", "oom_kill 2\n"), ("host/x", "")];
        let tree = Tree::new("several", "0::/\n", &mountinfo, &files);
        assert_eq!(tree.oom_kills(), Some(2));
    }

    #[test]
    fn the_root_cgroup_and_no_cgroup_are_none() {
        let tree = Tree::new("root", "0::/\n", CGROUP2, &[("cg/cgroup.procs", "1\n")]);
        assert_eq!((tree.oom_kills(), tree.pids()), (None, None));
        let tree = Tree::new("unmounted", V2, "22 1 254:0 / / rw - ext4 /dev/vda rw\n", &[]);
        assert_eq!(tree.find("memory"), None);
        let tree = Tree::new("hidden", V2, CGROUP2, &[]);
        assert_eq!(tree.find("memory"), None);
        assert_eq!(Controller::find(Path::new("/nonexistent"), "pids"), None);
    }

    /// Whatever this machine has, it is read without a failure.
    #[test]
    fn the_callers_own_cgroup_is_read() {
        if let Some(pids) = Controller::find(Path::new("/"), "pids").and_then(|found| found.pids()) {
            assert!(pids.current > 0, "{pids:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[-0-7:/., \\\\a-e\n]{0,120}") {
            for input in [&bytes[..], text.as_bytes()] {
                membership(input, "memory");
                unescape(input);
                value_of(input, "oom_kill");
                if let Some(mount) = parse_mount(input, Version::V2, "memory") {
                    mount.directory(input);
                }
            }
        }
    }
}
