//! Where the command may be, and executing it there.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use crate::sys::{self, CStrings};

/// Where the command may be: PATH's directories in order, or just the name if it has a slash (exec(3)).
pub struct Search<'a> {
    pub name: &'a [u8],
    /// PATH, if that is searched.
    pub path: Option<&'a [u8]>,
}

/// What is searched if PATH is not set. exec(3) leaves that to the system; musl chose this.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

impl<'a> Search<'a> {
    /// Searches PATH for a name without a slash.
    pub fn new(name: &'a [u8], environment: &[&'a CStr]) -> Search<'a> {
        if name.contains(&b'/') || name.is_empty() {
            return Search { name, path: None };
        }
        let path = environment.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
        Search { name, path: Some(path.unwrap_or(DEFAULT_PATH)) }
    }

    /// How long the longest candidate can be, with `./` or `/` and the NUL.
    pub fn longest(&self) -> usize {
        self.path.map_or(0, <[u8]>::len).saturating_add(self.name.len()).saturating_add(3)
    }

    /// Candidate number `which`.
    #[cold]
    pub fn candidate(&self, which: usize) -> CString {
        let mut path = Vec::new();
        let directory = self.path.map(|path| path.split(|b| *b == b':').nth(which).unwrap_or_default());
        self.write(directory, &mut path);
        CString::from_vec_with_nul(path).unwrap_or_default()
    }

    /// Writes the candidate in this directory, or the name alone.
    fn write(&self, directory: Option<&[u8]>, path: &mut Vec<u8>) {
        path.clear();
        if let Some(directory) = directory {
            // An empty directory is the current one. `./` keeps a name like -c from being an option of a shell.
            path.extend_from_slice(if directory.is_empty() { b"." } else { directory });
            path.push(b'/');
        }
        path.extend_from_slice(self.name);
        path.push(0);
    }

    /// Looks for the first candidate that could be executed, as [`Search::execute`] does.
    #[cold]
    pub fn look(&self, obstacle: impl Fn(&CStr) -> Option<Errno>) -> (usize, Result<(), Errno>) {
        let mut failed = (0, Err(Errno::ENOENT));
        for which in 0..self.path.map_or(1, |path| path.split(|b| *b == b':').count()) {
            match obstacle(&self.candidate(which)) {
                None => return (which, Ok(())),
                Some(Errno::EACCES) if failed.1 == Err(Errno::ENOENT) => failed = (which, Err(Errno::EACCES)),
                Some(errno) if self.path.is_none() => return (which, Err(errno)),
                Some(_) => {}
            }
        }
        failed
    }

    /// Executes the first candidate that can be executed. Returns only when none could: which one tells most about why, and
    /// the errno. A file that may not be executed does not end the search, but tells more than one that is not there.
    ///
    /// `path` has the capacity for the longest candidate.
    pub fn execute(&self, path: &mut Vec<u8>, args: &CStrings, environment: &CStrings) -> (usize, Errno) {
        let Some(directories) = self.path else {
            self.write(None, path);
            return (0, execute_file(path, args, environment));
        };
        let mut failed = (0, Errno::ENOENT);
        for (which, directory) in directories.split(|b| *b == b':').enumerate() {
            self.write(Some(directory), path);
            match execute_file(path, args, environment) {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                Errno::EACCES if failed.1 == Errno::ENOENT => failed = (which, Errno::EACCES),
                Errno::EACCES => {}
                other => return (which, other),
            }
        }
        failed
    }
}

fn execute_file(path: &[u8], args: &CStrings, environment: &CStrings) -> Errno {
    match CStr::from_bytes_until_nul(path) {
        Ok(path) => sys::execve(path, args, environment),
        Err(_) => Errno::ENOENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The child writes each into a buffer that was made before, since it may not allocate.
    #[test]
    fn no_candidate_is_longer_than_the_longest() {
        for (path, name, longest) in [
            (c"PATH=", "x", "./x"),
            (c"PATH=/bin:/usr/bin", "x", "/usr/bin/x"),
            (c"PATH=::/a", "x", "/a/x"),
            (c"PATH=/bin", "/a/b", "/a/b"),
            (c"NO_PATH=", "x", "/usr/local/bin/x"),
        ] {
            let search = Search::new(name.as_bytes(), &[path]);
            let count = search.path.map_or(1, |path| path.split(|b| *b == b':').count());
            let found = (0..count).map(|which| search.candidate(which)).max_by_key(|path| path.count_bytes());
            let found = found.expect("a candidate");
            assert_eq!(found.to_str(), Ok(longest), "{path:?}");
            assert!(found.as_bytes_with_nul().len() <= search.longest(), "{path:?}");
        }
    }

    #[test]
    fn a_look_finds_the_first_that_can_run_or_else_says_what_may_not() {
        let search = Search::new(b"x", &[c"PATH=/a:/b:/c"]);
        let look = |a, b, c| search.look(|path| [a, b, c][usize::from(path.to_bytes()[1] - b'a')]);
        let (not_there, no_right) = (Some(Errno::ENOENT), Some(Errno::EACCES));
        assert_eq!(look(not_there, no_right, None), (2, Ok(())));
        assert_eq!(look(not_there, no_right, not_there), (1, Err(Errno::EACCES)));
        assert_eq!(look(not_there, no_right, no_right), (1, Err(Errno::EACCES)), "the first of them");
        assert_eq!(look(not_there, not_there, not_there), (0, Err(Errno::ENOENT)));
    }
}
