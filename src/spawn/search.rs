//! Where the command may be, and executing it there.

use std::ffi::CStr;

use nix::errno::Errno;

use crate::sys::{self, CStrings};

/// Where the command may be: PATH's directories in order, or just the name if it has a slash (exec(3)).
pub struct Search<'a> {
    name: &'a [u8],
    /// PATH, if that is searched.
    pub path: Option<&'a [u8]>,
}

/// What is searched without a PATH; exec(3) leaves it to the system, and this is musl's choice.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

impl<'a> Search<'a> {
    /// Searches PATH for a name without a slash.
    pub fn new(name: &'a [u8], environment: &[&'a CStr]) -> Search<'a> {
        if name.contains(&b'/') || name.is_empty() {
            return Search::exactly(name);
        }
        let path = environment.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
        Search { name, path: Some(path.unwrap_or(DEFAULT_PATH)) }
    }

    /// This file and no other.
    pub fn exactly(name: &'a [u8]) -> Search<'a> {
        Search { name, path: None }
    }

    /// How long the longest candidate can be, with `./` or `/` and the NUL.
    pub fn longest(&self) -> usize {
        self.path.map_or(0, <[u8]>::len).saturating_add(self.name.len()).saturating_add(3)
    }

    /// Writes candidate number `which` into a buffer that has the capacity for it; false when there is none.
    pub fn write(&self, which: usize, buffer: &mut Vec<u8>) -> bool {
        let directory = match self.path {
            None if which == 0 => None,
            None => return false,
            Some(path) => match path.split(|b| *b == b':').nth(which) {
                // An empty directory is the current one; ./ keeps a name like -c from being an option of a shell.
                Some(b"") => Some(&b"."[..]),
                Some(directory) => Some(directory),
                None => return false,
            },
        };
        buffer.clear();
        if let Some(directory) = directory {
            buffer.extend_from_slice(directory);
            buffer.push(b'/');
        }
        buffer.extend_from_slice(self.name);
        buffer.push(0);
        true
    }

    /// Executes the first candidate that can be. Returns only when none could: which one tells most about why, and the
    /// errno. A file that may not be executed does not end the search but tells more than one that is not there.
    pub fn execute(&self, path: &mut Vec<u8>, args: &CStrings, environment: &CStrings) -> (usize, Errno) {
        let mut failed = (0, Errno::ENOENT);
        let mut which = 0;
        while self.write(which, path) {
            let Ok(candidate) = CStr::from_bytes_until_nul(path) else { break };
            match sys::execve(candidate, args, environment) {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT
                    if self.path.is_some() => {}
                Errno::EACCES if self.path.is_some() => {
                    if failed.1 == Errno::ENOENT {
                        failed = (which, Errno::EACCES);
                    }
                }
                other => return (which, other),
            }
            which = which.saturating_add(1);
        }
        failed
    }
}
