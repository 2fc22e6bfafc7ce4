//! Descriptors: writing without waiting, listing, and closing.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_long;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::write;

/// Closes every descriptor above 2 but `kept`, and if asked stdin and stdout too. Raw, because nix's close takes a descriptor
/// from its owner, and these have none.
///
/// # Safety
/// Nobody in this process owns one of the descriptors that are closed, or will use one that it remembers.
pub unsafe fn close_descriptors(stdin_and_stdout: bool, kept: Option<c_int>) {
    // SAFETY: the caller's promise; no pointer is passed.
    let close = |first: u32, last: u32| unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) } == 0;
    let closed = match kept.and_then(|kept| u32::try_from(kept).ok()) {
        None => close(3, u32::MAX),
        Some(kept) => (kept <= 3 || close(3, kept.saturating_sub(1))) && close(kept.saturating_add(1), u32::MAX),
    };
    if (stdin_and_stdout && !close(0, 1)) || !closed {
        close_listed_descriptors(stdin_and_stdout, kept);
    }
}

/// close_range(2) came with Linux 5.9, and sandboxes may refuse it. /proc lists what is open.
fn close_listed_descriptors(stdin_and_stdout: bool, kept: Option<c_int>) {
    let mut found = if stdin_and_stdout { vec![0, 1] } else { Vec::new() };
    let directory = open(c"/proc/self/fd", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    if let Ok(directory) = &directory {
        let mut each = |fd| found.extend((fd > 2 && Some(fd) != kept).then_some(fd));
        while list_numbers(directory, &mut each) == Ok(true) {}
    }
    drop(directory);
    for fd in found {
        // SAFETY: the promise that `close_descriptors` has from its caller. The listing's own descriptor is closed by now;
        // to close it again does nothing.
        unsafe { libc::close(fd) };
    }
}

/// What a symbolic link says, as far as there is room for it. Raw, because std's and nix's allocate.
///
/// # Errors
/// ENOENT.
pub fn read_link<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    // SAFETY: the path ends with a NUL, and the kernel writes no more than the buffer takes.
    let len = Errno::result(unsafe { libc::readlink(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })?;
    Ok(buffer.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default())
}

/// Room for some entries of a directory, as the kernel aligns them.
#[repr(C, align(8))]
struct Entries([u8; 4096]);

/// Hands on the numbers among the next names in an open directory: pids, descriptors. As many as one getdents64(2) lists; false
/// at the end. Raw, because std and nix allocate for this.
///
/// # Errors
/// ENOENT: the directory is gone.
#[cold]
#[inline(never)]
pub fn list_numbers(directory: &OwnedFd, each: &mut dyn FnMut(i32)) -> Result<bool, Errno> {
    let mut entries = Entries([0; 4096]);
    let (fd, room) = (directory.as_raw_fd(), entries.0.len());
    // SAFETY: the kernel writes no more than the buffer takes.
    let len = Errno::result(unsafe { libc::syscall(libc::SYS_getdents64, fd, entries.0.as_mut_ptr(), room) })?;
    let listed = entries.0.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
    numbers_among(listed).for_each(each);
    Ok(!listed.is_empty())
}

/// The numbers among the names in these entries (`struct linux_dirent64`).
fn numbers_among(entries: &[u8]) -> impl Iterator<Item = i32> {
    let mut rest = entries;
    let names = std::iter::from_fn(move || {
        // An inode number and an offset come first, then the length of the entry, a type, and the name with a NUL behind it.
        let (length, name) = (rest.get(16..18)?, rest.get(19..)?);
        let length = u16::from_ne_bytes(length.try_into().ok()?);
        rest = rest.get(usize::from(length.max(1))..)?;
        Some(name)
    });
    names.filter_map(|name| std::str::from_utf8(name.split(|b| *b == 0).next()?).ok()?.parse().ok())
}

/// The same file by a descriptor above 2.
///
/// # Errors
/// EMFILE.
pub fn above_standard(file: File) -> Result<File, Errno> {
    if file.as_raw_fd() > 2 {
        return Ok(file);
    }
    let fd = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// stdin, stdout or stderr, open or not. The standard library's own bring buffers and locks.
pub fn standard(number: c_int) -> BorrowedFd<'static> {
    // SAFETY: nobody in this process owns a descriptor from 0 to 2. If it is closed, a system call on it says EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Writes to stderr if that is possible without waiting. At most PIPE_BUF bytes, so that a pipe takes all or nothing.
///
/// stderr is shared with others, so foster may not set O_NONBLOCK on it. RWF_NOWAIT counts for one call alone. Terminals and
/// FIFOs do not know it, and poll(2) says of them only that there is room for something, which may be less than a line.
/// foster opens those anew, with flags of its own. For everything else poll(2) says whether there is room.
///
/// # Errors
/// EAGAIN no room for all of it, EPIPE nobody reads (and a SIGPIPE of foster's own is then pending), EBADF closed, ENOSPC
/// full.
pub fn write_stderr(bytes: &[u8]) -> Result<(), Errno> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(), iov_len: bytes.len() };
    // The offset is two machine words on every machine. -1: where the file is.
    let [low, high]: [c_long; 2] = [-1, -1];
    // SAFETY: the iovec and the bytes live through the call, which only reads them. Raw, because neither nix nor musl has
    // pwritev2.
    let written = unsafe {
        libc::syscall(libc::SYS_pwritev2, libc::STDERR_FILENO, &raw const part, 1, low, high, libc::RWF_NOWAIT)
    };
    match Errno::result(written) {
        Ok(written) => return all_of(bytes, usize::try_from(written).unwrap_or(0)),
        // No room, or this kind of file or this kernel does not know RWF_NOWAIT.
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => {}
        Err(other) => return Err(other),
    }
    if let Some(own) = stderr_opened_anew() {
        return all_of(bytes, write(own, bytes)?);
    }
    let stderr = standard(libc::STDERR_FILENO);
    let mut room = [PollFd::new(stderr, PollFlags::POLLOUT)];
    poll(&mut room, PollTimeout::ZERO)?;
    let has_room = |fd: &PollFd| fd.revents().is_some_and(|found| found.contains(PollFlags::POLLOUT));
    if !room.iter().any(has_room) {
        return Err(Errno::EAGAIN);
    }
    all_of(bytes, write(stderr, bytes)?)
}

/// The terminal or FIFO that stderr is, opened once more so that a write cannot wait. `None`: it is something else, or may
/// not be opened, for example because another user owns it.
fn stderr_opened_anew() -> Option<File> {
    let kind = SFlag::from_bits_truncate(fstat(standard(libc::STDERR_FILENO)).ok()?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFCHR && kind != SFlag::S_IFIFO {
        return None;
    }
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open("/proc/self/fd/2", flags, Mode::empty()).ok().map(File::from)
}

/// A line of which only a part went through is lost.
fn all_of(bytes: &[u8], written: usize) -> Result<(), Errno> {
    if written == bytes.len() { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Writes a text that was asked for to stdout, waiting as long as it takes.
///
/// # Errors
/// Whatever write(2) says: EPIPE, ENOSPC, EBADF.
pub fn write_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = write(standard(libc::STDOUT_FILENO), bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An entry as the kernel writes it: its length is a multiple of 8.
    fn entry(name: &str) -> Vec<u8> {
        let length = (20 + name.len()).next_multiple_of(8);
        let mut entry = [&[7; 16][..], &(length as u16).to_ne_bytes(), b"\x04", name.as_bytes()].concat();
        entry.resize(length, 0);
        entry
    }

    #[test]
    fn numbers_are_found_among_the_entries_of_a_directory() {
        let entries: Vec<u8> = [".", "..", "fs", "1", "4194304", "self", "27"].into_iter().flat_map(entry).collect();
        assert_eq!(numbers_among(&entries).collect::<Vec<_>>(), [1, 4_194_304, 27]);
        assert_eq!(numbers_among(&[]).count(), 0);
    }

    proptest! {
        #[test]
        fn no_entries_make_the_search_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            numbers_among(&bytes).for_each(drop);
        }
    }
}
