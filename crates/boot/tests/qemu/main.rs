//! Boot images prove themselves on QEMU: a stock kernel must boot from them to its first program,
//! and find the machine that the ACPI tables describe.
//!
//! The kernel is named by the environment variable `RING3_TEST_KERNEL`, or is one that is installed
//! in `/boot`. Without QEMU or without a kernel the tests say so and pass.

mod linux;
mod machine;
mod multiboot;
