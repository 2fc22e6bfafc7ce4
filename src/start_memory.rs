//! Where the start's allocations come from: a few KiB of foster's own data, handed out one after the other. After the
//! start foster allocates next to nothing, so giving back matters little, and only what was handed out last is taken
//! back. When it is used up, the C library's allocator goes on.
//!
//! That allocator alone was 9 of the 19 system calls between foster's execve and its command's, two thirds of the
//! instructions, and 12 KiB of memory for as long as foster lives (musl; `make bench`).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Enough for a command line, an environment of some hundred entries, and the stack of the child that executes the
/// command. What is not used is never touched, so it costs nothing.
const BYTES: usize = 40 * 1024;

pub struct StartMemory {
    memory: UnsafeCell<[u8; BYTES]>,
    /// How much of it has been handed out.
    used: AtomicUsize,
}

// SAFETY: `used` says which part is whose, and is only changed in one atomic step.
unsafe impl Sync for StartMemory {}

impl StartMemory {
    pub const fn new() -> StartMemory {
        StartMemory { memory: UnsafeCell::new([0; BYTES]), used: AtomicUsize::new(0) }
    }

    /// Where in the memory this allocation begins; `None` if it is the C library's.
    fn place(&self, allocation: *mut u8) -> Option<usize> {
        allocation.addr().checked_sub(self.memory.get().addr()).filter(|place| *place < BYTES)
    }

    /// Makes what ends here end there; false when it was not handed out last, or there is no room.
    fn move_end(&self, from: usize, to: usize) -> bool {
        to <= BYTES && self.used.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

// SAFETY: alloc hands out disjoint parts, since `used` grows past each in the same atomic step; each is aligned, and
// stays as it is until its owner gives it back or has it resized.
unsafe impl GlobalAlloc for StartMemory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        let used = self.used.load(Ordering::Relaxed);
        let start = used.saturating_add(base.addr().wrapping_add(used).wrapping_neg() & layout.align().wrapping_sub(1));
        match self.move_end(used, start.saturating_add(layout.size())) {
            // SAFETY: start is inside of the memory, or at its end for nothing.
            true => unsafe { base.add(start) },
            // SAFETY: the caller's layout.
            false => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, allocation: *mut u8, layout: Layout) {
        match self.place(allocation) {
            Some(start) => drop(self.move_end(start.saturating_add(layout.size()), start)),
            // SAFETY: it is not from here, so it is from there.
            None => unsafe { System.dealloc(allocation, layout) },
        }
    }

    unsafe fn realloc(&self, allocation: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(start) = self.place(allocation) else {
            // SAFETY: it is not from here, so it is from there.
            return unsafe { System.realloc(allocation, layout, size) };
        };
        if self.move_end(start.saturating_add(layout.size()), start.saturating_add(size)) {
            return allocation;
        }
        // SAFETY: the caller's promise: a size that with this alignment makes a layout. Both parts are valid for what is
        // copied, and disjoint.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(allocation, layout.size().min(size));
                self.dealloc(allocation, layout);
            }
            new
        }
    }
}
