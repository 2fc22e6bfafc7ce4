//! foster, a container init: stop the command, then stop what it left behind.
//!
//! Pure decisions in the middle, effects at the edge, one narrow door to the kernel. [`cli`] turns the command line into
//! a [`config::Config`]; [`spawn`] starts the command; [`runtime`] waits for signals and deaths, asks
//! [`policy::step`] what each means, and performs the answer; [`report`] says what happened, through [`output`];
//! [`sys`] alone talks to the kernel unsafely.
//!
//! The library has one entry point, [`run`]. Its modules are no interface: tests, benches and the fuzzer reach them through
//! [`door`].
#![cfg_attr(
    any(test, fuzzing),
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![deny(clippy::match_bool, clippy::option_map_unit_fn)]
#![cfg_attr(not(test), deny(clippy::too_many_lines))]

mod cgroup;
mod check;
mod cli;
mod config;
mod exit;
mod explain;
mod facts;
mod leftovers;
mod memory;
mod output;
mod policy;
mod proc;
mod report;
mod runtime;
mod signal;
mod spawn;
mod start;
mod sys;
mod terminal;
mod text;
mod turns;
mod user;
mod watch;

pub use start::run;

/// For foster's own program, tests, benches and fuzzer.
#[doc(hidden)]
pub mod door;
