//! Who answers where: the contract between processors, devices and the machine that joins them.
//!
//! * A processor reaches everything that is not RAM through [`Platform`]: memory-mapped registers,
//!   I/O ports, and its own interrupt controller.
//! * A device is a [`Device`]: a state machine that answers register accesses and returns its
//!   [`Effect`]s. It knows neither processors nor other devices.
//! * The machine implements `Platform` by finding the device and carrying out its effects.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod device;
mod platform;

pub use device::{Device, Dma, DmaError, Effect, Effects, LoadError, Region, Space};
pub use platform::{Nothing, Platform, Signals};
