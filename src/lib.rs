//! foster, a container init: stop the command, then stop what it left behind.
//!
//! Pure decisions in the middle, effects at the edge, one narrow door to the kernel. [`cli`] turns the command line into
//! a [`config::Config`]; [`spawn`] starts the command; [`runtime`] waits for signals and deaths, asks
//! [`supervisor::step`] what each means, and performs the answer; [`report`] says what happened, through [`output`];
//! [`sys`] alone talks to the kernel unsafely.
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

pub mod cgroup;
pub mod check;
pub mod cli;
pub mod config;
pub mod exit;
pub mod output;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/parsers.rs"]
pub mod parsers;
pub mod proc;
pub mod report;
pub mod runtime;
pub mod signal;
pub mod spawn;
pub mod supervisor;
pub mod sys;
pub mod terminal;
pub mod user;
