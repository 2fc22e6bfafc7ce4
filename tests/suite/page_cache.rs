//! What the kernel keeps of files. Used by the tests of the budgets and by `benches/compare`.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Lets a program be read again by whoever executes it. What the linker or a package manager has just written counts as the
/// program's own until it has been written to the disk, and lies in memory in larger pieces than what was read, which are
/// mapped and unmapped whole.
pub fn drop_program(path: &Path) {
    let file = File::open(path).expect("the program");
    file.sync_all().expect("what is not written cannot be dropped");
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("dropped");
}
