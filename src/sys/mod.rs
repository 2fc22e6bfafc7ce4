//! The one door to the kernel: thin typed wrappers, and no policy. What nix wraps safely is called through nix, here and
//! elsewhere. Only the files below this one (and `memory.rs`) have `unsafe`; each block says why it is sound. What stays a
//! raw call says why nix cannot do it.
//!
//! | file | what it wraps |
//! |---|---|
//! | `signals` | masks, dispositions, waiting for a signal, sending one, ending and stopping by one |
//! | `children` | waiting for children, and starting one |
//! | `process` | what this process is: its start, its ids, its attributes, its clocks |
//! | `descriptors` | writing without waiting, listing, closing |

mod children;
mod descriptors;
mod process;
mod signals;

pub use children::*;
pub use descriptors::*;
pub use process::*;
pub use signals::*;
