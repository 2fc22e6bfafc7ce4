//! foster's program. A C `main`: Rust's own start-up would set SIGPIPE to ignored, open /dev/null on closed descriptors, and
//! install a SIGSEGV handler, and the command would inherit the first two.
//!
//! From here: `start.rs` reads the command line through `cli`, `runtime.rs` starts the command and loops, `policy` decides,
//! `report` says. docs/design.md has the map.
#![no_main]

#[cfg(all(panic = "abort", target_env = "musl", not(debug_assertions)))]
#[allow(unsafe_code, non_snake_case)]
mod no_unwinder;

use std::ffi::{c_char, c_int};

use foster::door::{self, Arena, Exhausted};

/// The allocator of a program that has a single thread. A library cannot have it, since the tests have many.
#[global_allocator]
#[allow(unsafe_code)]
// SAFETY: this program starts no thread.
static MEMORY: Arena<NoMemory> = unsafe { Arena::new() };

struct NoMemory;

impl Exhausted for NoMemory {
    fn exhausted() -> ! {
        door::no_memory();
        door::exit(door::OWN_FAILURE)
    }
}

/// Called by the C runtime.
///
/// # Safety
/// The arguments are those that the C runtime passes to `main`.
#[unsafe(no_mangle)]
#[allow(unsafe_code)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: this is main, with main's arguments; nothing has run before, and no descriptor has an owner.
    unsafe { foster::run(argc, argv) }
}
