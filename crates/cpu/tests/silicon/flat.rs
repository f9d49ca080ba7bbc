//! Memory without paging: one range of bytes, nothing around it.

use ring3_arch::exception::page_fault;
use ring3_arch::{Exception, Fault, GuestPhys, GuestVirt};
use ring3_bus::Platform;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, Memory, Stop, StopReason};
use std::ops::Range;

/// The bytes from `base` on, writable in user mode.
pub struct Flat {
    pub base: u64,
    pub bytes: Vec<u8>,
    /// Whether string instructions may take whole stretches at once.
    pub spans: bool,
    /// Addresses have 32 bits.
    pub narrow: bool,
    reason: StopReason,
}

impl Flat {
    pub fn new(base: u64, bytes: Vec<u8>) -> Flat {
        Flat {
            base,
            bytes,
            spans: false,
            narrow: false,
            reason: StopReason::Restart,
        }
    }

    /// Offset of `length` bytes at `address`, if they all exist; else the fault that the first
    /// missing one causes.
    fn find(&mut self, address: u64, length: u64, write: bool) -> Result<usize, Stop> {
        let address = if self.narrow {
            address & 0xffff_ffff
        } else {
            address
        };
        let last = address.wrapping_add(length - 1);
        let canonical = |a| GuestVirt(a).is_canonical(48);
        if !canonical(address) || !canonical(last) {
            return Err(self.fault(Fault::GP0));
        }
        let end = self.base + self.bytes.len() as u64;
        let missing = if address < self.base || address >= end {
            address
        } else if last >= end {
            end
        } else {
            return Ok((address - self.base) as usize);
        };
        let write = if write { page_fault::WRITE } else { 0 };
        let fault = Fault::page(GuestVirt(missing), page_fault::USER | write);
        Err(self.fault(fault))
    }

    fn get(&self, at: usize, length: usize) -> u128 {
        let mut bytes = [0; 16];
        bytes[..length].copy_from_slice(&self.bytes[at..at + length]);
        u128::from_le_bytes(bytes)
    }
}

impl Memory for Flat {
    fn load<const N: usize>(&mut self, address: u64) -> Result<u64, Stop> {
        let at = self.find(address, N as u64, false)?;
        Ok(self.get(at, N) as u64)
    }

    fn load_modify<const N: usize>(&mut self, address: u64) -> Result<u64, Stop> {
        let at = self.find(address, N as u64, true)?;
        Ok(self.get(at, N) as u64)
    }

    fn store<const N: usize>(&mut self, address: u64, value: u64) -> Result<(), Stop> {
        let at = self.find(address, N as u64, true)?;
        self.bytes[at..at + N].copy_from_slice(&value.to_le_bytes()[..N]);
        Ok(())
    }

    fn load128(&mut self, address: u64) -> Result<u128, Stop> {
        let at = self.find(address, 16, false)?;
        Ok(self.get(at, 16))
    }

    fn store128(&mut self, address: u64, value: u128) -> Result<(), Stop> {
        let at = self.find(address, 16, true)?;
        self.bytes[at..at + 16].copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn check_write(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        self.find(address, length, true).map(|_| ())
    }

    fn load_system(&mut self, _: u64, _: u64) -> Result<u64, Stop> {
        panic!("no instruction here reads system tables")
    }

    fn check_write_system(&mut self, _: u64, _: u64) -> Result<(), Stop> {
        panic!("no instruction here writes system tables")
    }

    fn store_system(&mut self, _: u64, _: u64, _: u64) -> Result<(), Stop> {
        panic!("no instruction here writes system tables")
    }

    fn span(&mut self, address: u64, length: u64, _write: bool) -> Option<Range<usize>> {
        let at = address.checked_sub(self.base)? as usize;
        let end = at.checked_add(length as usize)?;
        (self.spans && end <= self.bytes.len()).then_some(at..end)
    }

    fn ram(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn stop(&mut self, reason: StopReason) -> Stop {
        self.reason = reason;
        Stop
    }

    fn stop_reason(&self) -> StopReason {
        self.reason
    }

    fn is_solo(&self) -> bool {
        true
    }

    fn take_device_access(&mut self) -> bool {
        false
    }

    fn port_write(&mut self, _: u16, _: u8, _: u32) {
        panic!("no instruction here has access to a port")
    }

    fn platform(&mut self) -> &mut dyn Platform {
        panic!("no instruction here talks to a device")
    }

    fn now(&self) -> Ticks {
        Ticks(0)
    }

    fn configure(&mut self, _: &Cpu) {}

    fn flush_all(&mut self) {}

    fn flush_pcid(&mut self, _: u16) {}

    fn flush_page(&mut self, _: GuestVirt) {}

    fn take_watch_hits(&mut self) -> u64 {
        0
    }

    fn read_physical(&mut self, _: GuestPhys) -> u64 {
        panic!("no instruction here uses physical addresses")
    }

    fn physical(&mut self, _: GuestVirt) -> Option<GuestPhys> {
        None
    }
}

/// The vector of an exception, and what it reports.
pub fn describe(fault: Fault) -> crate::registers::End {
    crate::registers::End::Fault {
        vector: fault.exception as u8,
        error_code: if fault.exception == Exception::Page {
            fault.error_code
        } else {
            0
        },
        address: fault.cr2.map_or(0, |address| address.0),
    }
}
