//! foster as a program: the built binary in a PID namespace of its own, as PID 1 and as subreaper.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::print_stderr)]

mod architectures;
mod asking;
mod budgets;
mod channels;
mod check;
mod command_line;
mod commands;
mod completions;
mod differential;
mod documents;
mod examples;
mod explain;
mod faults;
mod forwarding;
mod gunicorn;
mod harness;
mod hostile;
mod house;
mod leftovers;
mod licences;
mod masters;
mod needs;
mod packages;
mod page_cache;
#[path = "../fuzz/parsers.rs"]
mod parsers;
mod pause;
mod programs;
mod reaping;
mod runtimes;
mod service;
mod spawning;
mod stopping;
mod storms;
mod telling;
mod terminal;
mod tracer;
mod trust;
mod user;
mod watch;
mod webservers;
