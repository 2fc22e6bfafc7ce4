//! The C library's stack unwinder, replaced by nothing. foster is built with `panic = "abort"`: nothing unwinds, and a
//! stripped binary has no names that a backtrace could show. But the standard library's panic message can print one, and
//! brings a DWARF reader, a decompressor and a demangler for that: 318 of 356 KB of a static program that does nothing
//! else (measured with Rust 1.95 on musl). The link takes these functions, which come first; fat LTO then sees that no
//! frame is ever found, and drops all of it.
//!
//! For musl alone, whose own code unwinds nothing: parts of a static glibc want the real one.
//!
//! The interface is the Itanium C++ ABI's, level I; on 32-bit Arm that of its own exception handling (EHABI), which adds the
//! routines that every function's entry in the unwind table names. Only `_Unwind_Backtrace` is ever called, in a panic.

use std::ffi::c_int;

/// `_URC_END_OF_STACK`: there is no frame.
const END_OF_STACK: c_int = 5;

/// Walks the stack: here there is none.
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Backtrace() -> c_int {
    END_OF_STACK
}

/// What is named but never called, since no frame is ever found and nothing is ever thrown.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(
            /// Never called.
            #[unsafe(no_mangle)]
            pub extern "C" fn $name() -> usize {
                std::process::abort()
            }
        )*
    };
}

never_called! {
    _Unwind_DeleteException _Unwind_FindEnclosingFunction _Unwind_GetCFA _Unwind_GetDataRelBase _Unwind_GetIP
    _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
    _Unwind_RaiseException _Unwind_Resume _Unwind_SetGR _Unwind_SetIP
}

#[cfg(target_arch = "arm")]
never_called! {
    _Unwind_VRS_Get _Unwind_VRS_Set __aeabi_unwind_cpp_pr0 __aeabi_unwind_cpp_pr1 __aeabi_unwind_cpp_pr2 __gnu_unwind_frame
}
