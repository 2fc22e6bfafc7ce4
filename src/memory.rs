//! The allocator of foster's program.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// Enough for an ordinary start. A page that is not used costs nothing.
const ARENA_BYTES: usize = 64 * 1024;

/// The allocator of a process that has one thread. It hands out the program's own bss, piece after piece; what does not fit
/// comes from the C library. musl's malloc makes five system calls and dirties as many pages before a start is over; this one
/// makes none. The last piece can be given back or grow, and a text that is being read does that. Any other piece that is given
/// back is lost. That is little and ends with the start, since foster allocates nothing for an event.
///
/// The fields stand in this order because `used` would dirty a page of its own behind the bytes.
#[repr(C)]
pub struct Arena<E> {
    used: Cell<usize>,
    bytes: UnsafeCell<MaybeUninit<[u8; ARENA_BYTES]>>,
    exhausted: PhantomData<E>,
}

/// What to do when the C library has no memory left either. std's abort(3) would be a crash of PID 1 without a word. A type and
/// not a value, because a value would put the arena into the program's file.
pub trait Exhausted {
    /// Must not allocate.
    fn exhausted() -> !;
}

// SAFETY: whoever made the arena has promised that one thread alone uses it.
unsafe impl<E> Sync for Arena<E> {}

impl<E: Exhausted> Arena<E> {
    /// An arena of which nothing is used.
    ///
    /// # Safety
    /// The process never has a second thread that allocates. The child of `sys::vfork` shares the memory, but foster sleeps
    /// meanwhile, and the child allocates nothing.
    pub const unsafe fn new() -> Arena<E> {
        Arena { used: Cell::new(0), bytes: UnsafeCell::new(MaybeUninit::uninit()), exhausted: PhantomData }
    }

    fn checked(memory: *mut u8) -> *mut u8 {
        if memory.is_null() {
            E::exhausted()
        }
        memory
    }

    fn start(&self) -> *mut u8 {
        self.bytes.get().cast::<u8>()
    }

    /// Where this piece begins, if it is the arena's.
    fn offset_of(&self, piece: *mut u8) -> Option<usize> {
        piece.addr().checked_sub(self.start().addr()).filter(|offset| *offset < ARENA_BYTES)
    }

    /// Takes the next piece; `None`: it does not fit.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let next = self.start().addr().checked_add(self.used.get())?.checked_next_multiple_of(layout.align())?;
        let offset = next.checked_sub(self.start().addr())?;
        let end = offset.checked_add(layout.size()).filter(|end| *end <= ARENA_BYTES)?;
        self.used.set(end);
        // SAFETY: offset and what follows it are within the arena, as just checked.
        Some(unsafe { self.start().add(offset) })
    }

    /// Whether this piece is the one that was taken last.
    fn is_last(&self, offset: usize, size: usize) -> bool {
        offset.checked_add(size) == Some(self.used.get())
    }
}

// SAFETY: pieces do not overlap, since `used` only goes back when the last one is given back; each is aligned as asked; and
// what is not the arena's is the C library's from its allocation to its end.
unsafe impl<E: Exhausted> GlobalAlloc for Arena<E> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout.
        self.take(layout).unwrap_or_else(|| Self::checked(unsafe { System.alloc(layout) }))
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset_of(piece) {
            Some(offset) if self.is_last(offset, layout.size()) => self.used.set(offset),
            Some(_) => {}
            // SAFETY: it came from there, with this layout.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset_of(piece) else {
            // SAFETY: it came from there, with this layout.
            return Self::checked(unsafe { System.realloc(piece, layout, size) });
        };
        let end = offset.checked_add(size).filter(|end| *end <= ARENA_BYTES);
        if let (true, Some(end)) = (self.is_last(offset, layout.size()), end) {
            self.used.set(end);
            return piece;
        }
        // SAFETY: the caller's promise: a size that with this alignment makes a layout. The two pieces do not overlap, and
        // both hold what is copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            ptr::copy_nonoverlapping(piece, moved, layout.size().min(size));
            self.dealloc(piece, layout);
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct NoMemory;

    impl Exhausted for NoMemory {
        fn exhausted() -> ! {
            panic!("no memory")
        }
    }

    fn arena() -> Box<Arena<NoMemory>> {
        // SAFETY: each test keeps its arena to itself.
        Box::new(unsafe { Arena::new() })
    }

    /// Miri takes a microsecond for a byte. There too, the arena is used up in most cases.
    const STEPS: usize = if cfg!(miri) { 30 } else { 120 };
    const LARGEST: usize = if cfg!(miri) { 7000 } else { 9000 };

    proptest! {
        /// Pieces of many sizes, given back and grown in any order, beyond what the arena holds: each keeps its bytes.
        #[test]
        fn pieces_of_memory_are_aligned_and_never_overlap(
            steps in proptest::collection::vec((0_usize..3, 1..LARGEST, 0_u32..7, any::<proptest::sample::Index>()), 1..STEPS),
        ) {
            let arena = arena();
            let mut pieces: Vec<(*mut u8, Layout, u8)> = Vec::new();
            for (mark, (what, size, align, which)) in steps.into_iter().enumerate() {
                let mark = mark as u8;
                let layout = Layout::from_size_align(size, 1 << align).expect("a layout");
                // SAFETY: each piece is used within its size and given back once, with its own layout.
                unsafe {
                    match what {
                        1 if !pieces.is_empty() => {
                            let (piece, layout, _) = pieces.swap_remove(which.index(pieces.len()));
                            arena.dealloc(piece, layout);
                        }
                        2 if !pieces.is_empty() => {
                            let (piece, old, old_mark) = pieces.swap_remove(which.index(pieces.len()));
                            let grown = arena.realloc(piece, old, size);
                            let kept = std::slice::from_raw_parts(grown, size.min(old.size()));
                            prop_assert!(kept.iter().all(|byte| *byte == old_mark));
                            ptr::write_bytes(grown, mark, size);
                            let layout = Layout::from_size_align(size, old.align()).expect("a layout");
                            pieces.push((grown, layout, mark));
                        }
                        _ => {
                            let piece = arena.alloc(layout);
                            ptr::write_bytes(piece, mark, size);
                            pieces.push((piece, layout, mark));
                        }
                    }
                    for (piece, layout, mark) in &pieces {
                        prop_assert_eq!(piece.addr() % layout.align(), 0);
                        let bytes = std::slice::from_raw_parts(*piece, layout.size());
                        prop_assert!(bytes.iter().all(|byte| byte == mark));
                    }
                }
            }
            for (piece, layout, _) in pieces {
                // SAFETY: as above.
                unsafe { arena.dealloc(piece, layout) };
            }
        }
    }

    #[test]
    fn the_last_piece_grows_in_place_and_is_given_back() {
        let arena = arena();
        // As the arena itself is aligned, so that nothing is lost before it.
        let align = align_of::<usize>();
        let layout = Layout::from_size_align(100, align).expect("a layout");
        // SAFETY: two pieces, used within their sizes, one of them given back, once.
        unsafe {
            arena.alloc(layout);
            let piece = arena.alloc(layout);
            assert_eq!(arena.realloc(piece, layout, 5000), piece);
            arena.dealloc(piece, Layout::from_size_align(5000, align).expect("a layout"));
        }
        assert!((100..100 + align).contains(&arena.used.get()), "all behind the first one is free again");
    }
}
