//! Descriptors: writing without waiting, closing, reading links and the numbers in a directory.
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
    let low = if stdin_and_stdout { vec![0, 1] } else { Vec::new() };
    let listed = Numbers::all(c"/proc/self/fd").unwrap_or_default().into_iter();
    let open: Vec<c_int> = low.into_iter().chain(listed.filter(|fd| *fd > 2 && Some(*fd) != kept)).collect();
    for fd in open {
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

/// The names in a directory that are numbers: the processes in /proc. Raw, because `std::fs::ReadDir` allocates, panics when
/// its close(2) fails, and makes a list that it could not read to the end look whole.
pub struct Numbers(OwnedFd);

impl Numbers {
    /// None is read yet.
    ///
    /// # Errors
    /// The directory is not there or may not be listed, or no descriptor is left.
    pub fn of(directory: &CStr) -> Result<Numbers, Errno> {
        open(directory, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Numbers)
    }

    /// All of them at once.
    ///
    /// # Errors
    /// As [`Numbers::of`] and [`Numbers::some`].
    #[cold]
    pub fn all(directory: &CStr) -> Result<Vec<i32>, Errno> {
        let (mut numbers, mut all) = (Numbers::of(directory)?, Vec::new());
        while numbers.some(|number| all.push(number))? {}
        Ok(all)
    }

    /// Hands on those that one system call lists. False: that was the end. It needs no memory but the stack.
    ///
    /// # Errors
    /// The directory is gone, or could not be read to the end.
    pub fn some(&mut self, each: impl FnMut(i32)) -> Result<bool, Errno> {
        let mut buffer = Entries([0; 4096]);
        loop {
            // SAFETY: the buffer lives through the call, which is told its length.
            let len = Errno::result(unsafe {
                libc::syscall(libc::SYS_getdents64, self.0.as_raw_fd(), buffer.0.as_mut_ptr(), buffer.0.len())
            });
            match len {
                Ok(len) => {
                    let entries = buffer.0.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
                    numbers_in(entries).for_each(each);
                    return Ok(!entries.is_empty());
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Room for some entries of a directory, as the kernel aligns them.
#[repr(C, align(8))]
struct Entries([u8; 4096]);

/// The numbers among the entries of a directory (`struct linux_dirent64` in getdents64(2)).
fn numbers_in(entries: &[u8]) -> impl Iterator<Item = i32> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        // An inode number and an offset come first, then the length of the entry, a type, and the name with a NUL behind it.
        let (length, name) = (rest.get(16..18)?, rest.get(19..)?);
        let length = u16::from_ne_bytes(length.try_into().ok()?);
        rest = rest.get(usize::from(length.max(1))..)?;
        Some(name)
    })
    .filter_map(|name| std::str::from_utf8(name.split(|b| *b == 0).next()?).ok()?.parse().ok())
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
    match pwritev2(standard(libc::STDERR_FILENO), bytes, libc::RWF_NOWAIT) {
        Ok(written) => return all_of(bytes, written),
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

/// pwritev2(2), at where the file is. Raw, because neither nix nor musl has it.
fn pwritev2(file: BorrowedFd, bytes: &[u8], flags: c_int) -> Result<usize, Errno> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(), iov_len: bytes.len() };
    // The offset is two machine words on every machine. -1: where the file is.
    let [low, high]: [c_long; 2] = [-1, -1];
    // SAFETY: the iovec and the bytes live through the call, which only reads them.
    let written = unsafe { libc::syscall(libc::SYS_pwritev2, file.as_raw_fd(), &raw const part, 1, low, high, flags) };
    Ok(usize::try_from(Errno::result(written)?).unwrap_or(0))
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
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use proptest::prelude::*;

    /// An entry as the kernel writes it: its length is a multiple of 8.
    fn entry(name: &str) -> Vec<u8> {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut entry = [&[7; 16][..], &(length as u16).to_ne_bytes(), b"\x04", name.as_bytes()].concat();
        entry.resize(length, 0);
        entry
    }

    #[test]
    fn the_numbers_among_the_names_of_a_directory_are_found() {
        let names = [".", "..", "fs", "1", "4194304", "99999999999", "self", "1x", "27"];
        let entries: Vec<u8> = names.into_iter().flat_map(entry).collect();
        assert_eq!(numbers_in(&entries).collect::<Vec<_>>(), [1, 4_194_304, 27]);
        assert_eq!(numbers_in(&[]).count(), 0);
    }

    #[test]
    fn this_process_is_among_those_in_proc() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(Numbers::all(c"/proc").expect("/proc").contains(&own));
        assert_eq!(Numbers::all(c"/nonexistent"), Err(Errno::ENOENT));
    }

    proptest! {
        #[test]
        fn what_the_kernel_never_writes_is_read_to_an_end(bytes in proptest::collection::vec(0..32_u8, 0..200)) {
            numbers_in(&bytes).for_each(drop);
        }
    }

    /// With an argument in the wrong place there would be another offset, or flags that no kernel knows.
    #[test]
    fn a_write_goes_where_the_file_is_and_need_not_wait() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let written = pwritev2(writer.as_fd(), b"line", 0);
        if written == Err(Errno::ENOSYS) {
            // No kernel's answer, but that of qemu-user, which does not have this call.
            return;
        }
        assert_eq!(written, Ok(4));
        let mut read = [0; 4];
        reader.read_exact(&mut read).expect("what was written");
        assert_eq!(&read, b"line");
        // Pipes know it from Linux 6.4 on.
        while pwritev2(writer.as_fd(), &[0; 4096], libc::RWF_NOWAIT) == Ok(4096) {}
        let no_more = pwritev2(writer.as_fd(), b"line", libc::RWF_NOWAIT);
        assert!(matches!(no_more, Err(Errno::EAGAIN | Errno::EOPNOTSUPP)), "{no_more:?}");
    }
}
