//! No interface: what foster's own program, tests, benches and fuzzer need of the library's inside.

pub use crate::cgroup::{Mount, Version, membership, parse_mount, value_of};
pub use crate::cli::{OPTIONS, Opt, Parsed, Persona, expand, parse};
pub use crate::config::{UserSpec, parse_duration};
pub use crate::exit::OWN_FAILURE;
pub use crate::memory::{Arena, Exhausted};
pub use crate::output::{Line, init};
pub use crate::proc::{age, parse_stat};
pub use crate::report::no_memory;
pub use crate::signal::{Rewrites, Signal};
pub use crate::start::run_command;
pub use crate::sys::{Ids, Startup, block_all_signals, exit};
pub use crate::text::OneLine;
pub use crate::user::resolve;
