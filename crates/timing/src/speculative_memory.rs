//! Memory as a thread's micro-ops see it.
//!
//! In flight, loads read RAM under the thread's own store queue, and stores go into that queue;
//! whatever has an effect beyond that, or a fault, stops the instruction, which is then executed
//! again alone, at the head of the window. There everything goes straight to
//! [`FunctionalMemory`], and is written down to be charged.

use crate::store_queue::StoreQueue;
use crate::translation::Flush;
use ring3_arch::{Fault, GuestPhys, GuestVirt};
use ring3_bus::Platform;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, FunctionalMemory, Memory, Stop, StopReason};
use ring3_memory::{Access, Allowed, FetchTags, Privilege, Tlb, probe};
use ring3_uintr::Step;
use std::ops::Range;

/// Something a routine did that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Load from RAM offset, linear address.
    Load(u64, u64),
    /// Store.
    Store(u64, u64),
    /// Many bytes at once; `true`: written.
    Span(u64, u64, bool),
    /// A device or the local APIC.
    Device,
    /// A step of a user interrupt begins.
    Step(Step),
}

/// The access that the last micro-op made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastAccess {
    pub offset: u64,
    pub linear: u64,
    /// It has a part on another line.
    pub split: bool,
    /// The youngest store in the queue that concerns it, and whether that has all of it.
    pub forward: Option<(u64, bool)>,
}

/// What belongs to a thread of the memory it sees.
pub(crate) struct Lane {
    pub stores: StoreQueue,
    pub charges: Vec<Charge>,
    /// Executing alone, at the head.
    pub head: bool,
    /// On a path that will be squashed: nothing outside may change.
    pub wrong_path: bool,
    pub access: LastAccess,
    pub fetch_tags: FetchTags,
    pub pcid: u16,
    pub flushes: Vec<Flush>,
    pub reason: StopReason,
    pub reconfigured: bool,
    /// Why fetching at the head failed.
    pub fetch_fault: Option<Fault>,
}

impl Lane {
    pub fn new() -> Lane {
        Lane {
            stores: StoreQueue::new(),
            charges: Vec::new(),
            head: true,
            wrong_path: false,
            access: LastAccess::default(),
            fetch_tags: Tlb::default().fetch_tags(0),
            pcid: 0,
            flushes: Vec::new(),
            reason: StopReason::Restart,
            reconfigured: false,
            fetch_fault: None,
        }
    }
}

/// See the module.
pub(crate) struct SpeculativeMemory<'a, 'w> {
    pub inner: FunctionalMemory<'w>,
    pub lane: &'a mut Lane,
}

impl SpeculativeMemory<'_, '_> {
    /// Where `length` bytes (within one page) at `address` are in RAM, if accessing them in flight
    /// has no effect but the access.
    #[inline(always)]
    fn locate(&mut self, address: u64, length: u64, write: bool) -> Result<u64, Stop> {
        let entry = self.inner.tlb().entry(address);
        let tag = if write { entry.write } else { entry.read };
        if address.wrapping_add(length - 1) & !0xfff == tag {
            return Ok(address.wrapping_add(entry.addend));
        }
        self.locate_slowly(address, length, write)
    }

    fn at_head<T>(&mut self) -> Result<T, Stop> {
        self.lane.reason = StopReason::Restart;
        Err(Stop)
    }

    #[inline(never)]
    fn locate_slowly(&mut self, address: u64, length: u64, write: bool) -> Result<u64, Stop> {
        let privilege = self.inner.tlb().privilege();
        let long = self.inner.paging().long;
        if privilege == Privilege::Watched
            || (address & 0xfff) + length > 0x1000
            || (long && !GuestVirt(address).is_canonical(48))
            || (!long && address > 0xffff_ffff)
        {
            return self.at_head();
        }
        let wanted = Allowed {
            read: !write,
            write,
            fetch: false,
        };
        if self.inner.tlb().refill(privilege, address, wanted) {
            let addend = self.inner.tlb().entry(address).addend;
            return Ok(address.wrapping_add(addend));
        }
        let access = Access {
            write,
            fetch: false,
            user: privilege == Privilege::User,
            smap_lifted: privilege == Privilege::SupervisorOpen,
        };
        let found = probe(
            self.inner.whole_ram(),
            self.inner.paging(),
            GuestVirt(address),
            access,
        );
        let Ok(translation) = found.result else {
            return self.at_head();
        };
        let Some(offset) = self.inner.whole_ram().layout().offset(translation.address) else {
            return self.at_head();
        };
        if !found.unchanged {
            return self.at_head();
        }
        let is_code = self.inner.code().is_code_page(offset);
        if write && is_code && self.inner.code().hits(offset, length) {
            return self.at_head();
        }
        let writable = write && !is_code;
        if writable {
            self.inner.code().note_write_mapping(offset);
        }
        let allowed = Allowed {
            read: true,
            write: writable,
            fetch: false,
        };
        self.inner
            .tlb()
            .fill(privilege, GuestVirt(address), &translation, offset, allowed);
        Ok(offset)
    }

    /// Where the code at `address` stands, if fetching it has no effect.
    pub fn fetch(&mut self, address: u64, cpl: u8) -> Option<u64> {
        if self.lane.head {
            // Nothing answers outside RAM: all ones, which is no instruction.
            let found = self.inner.fetch(address, cpl);
            let found = found.and_then(|place| place.ok_or(Fault::UD));
            return found
                .map_err(|fault| self.lane.fetch_fault = Some(fault))
                .ok();
        }
        let privilege = if cpl == 3 {
            Privilege::User
        } else {
            Privilege::SupervisorOpen
        };
        let long = self.inner.paging().long;
        let address = if long { address } else { address & 0xffff_ffff };
        if long && !GuestVirt(address).is_canonical(48) {
            return None;
        }
        let entry = self.inner.tlb().entry_for(privilege, address);
        if entry.fetch == address & !0xfff {
            return Some(address.wrapping_add(entry.addend));
        }
        let allowed = Allowed {
            fetch: true,
            ..Allowed::default()
        };
        if self.inner.tlb().refill(privilege, address, allowed) {
            let addend = self.inner.tlb().entry_for(privilege, address).addend;
            return Some(address.wrapping_add(addend));
        }
        let access = Access {
            write: false,
            fetch: true,
            user: cpl == 3,
            smap_lifted: false,
        };
        let found = probe(
            self.inner.whole_ram(),
            self.inner.paging(),
            GuestVirt(address),
            access,
        );
        let translation = found.result.ok().filter(|_| found.unchanged)?;
        let offset = self
            .inner
            .whole_ram()
            .layout()
            .offset(translation.address)?;
        self.inner
            .tlb()
            .fill(privilege, GuestVirt(address), &translation, offset, allowed);
        Some(offset)
    }

    #[inline(always)]
    fn read(&mut self, address: u64, into: &mut [u8], modify: bool) -> Result<(), Stop> {
        let length = into.len() as u64;
        if (address & 0xfff) + length > 0x1000 {
            return self.read_across(address, into, modify);
        }
        let offset = self.locate(address, length, modify)?;
        let at = offset as usize;
        match self.inner.whole_ram().bytes().get(at..at + into.len()) {
            Some(found) => into.copy_from_slice(found),
            None => return self.at_head(),
        }
        let forward = if self.lane.stores.may_hold(offset, length) {
            self.lane.stores.overlay(offset, into)
        } else {
            None
        };
        self.lane.access = LastAccess {
            offset,
            linear: address,
            split: offset & 63 > 64 - length,
            forward,
        };
        Ok(())
    }

    #[cold]
    fn read_across(&mut self, address: u64, into: &mut [u8], modify: bool) -> Result<(), Stop> {
        let first = (0x1000 - (address & 0xfff)) as usize;
        let second_address = address.wrapping_add(first as u64);
        let length = into.len() as u64;
        let a = self.locate(address, first as u64, modify)?;
        let b = self.locate(second_address, length - first as u64, modify)?;
        let mut forward = None;
        for (offset, part) in [(a, 0..first), (b, first..into.len())] {
            let at = offset as usize;
            let bytes = &mut into[part];
            match self.inner.whole_ram().bytes().get(at..at + bytes.len()) {
                Some(found) => bytes.copy_from_slice(found),
                None => return self.at_head(),
            }
            if let Some((number, _)) = self.lane.stores.overlay(offset, bytes) {
                forward = forward.max(Some((number, false)));
            }
        }
        self.lane.access = LastAccess {
            offset: a,
            linear: address,
            split: true,
            forward,
        };
        Ok(())
    }

    #[inline(always)]
    fn write(&mut self, address: u64, from: &[u8]) -> Result<(), Stop> {
        let length = from.len() as u64;
        if (address & 0xfff) + length > 0x1000 {
            let first = (0x1000 - (address & 0xfff)) as usize;
            let second_address = address.wrapping_add(first as u64);
            let a = self.locate(address, first as u64, true)?;
            let b = self.locate(second_address, length - first as u64, true)?;
            self.lane.stores.push(a, &from[..first]);
            self.lane.stores.push(b, &from[first..]);
            self.lane.access = LastAccess {
                offset: a,
                linear: address,
                split: true,
                forward: None,
            };
            return Ok(());
        }
        let offset = self.locate(address, length, true)?;
        self.lane.stores.push(offset, from);
        self.lane.access = LastAccess {
            offset,
            linear: address,
            split: offset & 63 > 64 - length,
            forward: None,
        };
        Ok(())
    }

    /// Writes down what was done at the head.
    fn charge(&mut self, address: u64, length: u64, write: bool) {
        let access = Access {
            write: false,
            fetch: false,
            user: false,
            smap_lifted: true,
        };
        let found = probe(
            self.inner.whole_ram(),
            self.inner.paging(),
            GuestVirt(address),
            access,
        );
        let offset = found
            .result
            .ok()
            .and_then(|t| self.inner.whole_ram().layout().offset(t.address));
        let charge = match (offset, length <= 16) {
            (None, _) => Charge::Device,
            (Some(offset), false) => Charge::Span(offset, length, write),
            (Some(offset), true) if write => Charge::Store(offset, address),
            (Some(offset), true) => Charge::Load(offset, address),
        };
        self.lane.charges.push(charge);
    }

    fn note_stop<T>(&mut self, result: Result<T, Stop>) -> Result<T, Stop> {
        if result.is_err() {
            self.lane.reason = self.inner.stop_reason();
        }
        result
    }
}

impl Memory for SpeculativeMemory<'_, '_> {
    #[inline(always)]
    fn load<const N: usize>(&mut self, address: u64) -> Result<u64, Stop> {
        if self.lane.head {
            self.charge(address, N as u64, false);
            let loaded = self.inner.load::<N>(address);
            return self.note_stop(loaded);
        }
        let mut bytes = [0; 8];
        self.read(address, &mut bytes[..N], false)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn load_modify<const N: usize>(&mut self, address: u64) -> Result<u64, Stop> {
        if self.lane.head {
            self.charge(address, N as u64, false);
            let loaded = self.inner.load_modify::<N>(address);
            return self.note_stop(loaded);
        }
        let mut bytes = [0; 8];
        self.read(address, &mut bytes[..N], true)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, address: u64, value: u64) -> Result<(), Stop> {
        let bytes = value.to_le_bytes();
        if self.lane.head {
            self.charge(address, N as u64, true);
            let stored = self.inner.store::<N>(address, value);
            return self.note_stop(stored);
        }
        self.write(address, &bytes[..N])
    }

    #[inline(always)]
    fn load128(&mut self, address: u64) -> Result<u128, Stop> {
        if self.lane.head {
            self.charge(address, 16, false);
            let loaded = self.inner.load128(address);
            return self.note_stop(loaded);
        }
        let mut bytes = [0; 16];
        self.read(address, &mut bytes, false)?;
        Ok(u128::from_le_bytes(bytes))
    }

    fn load256(&mut self, address: u64) -> Result<[u128; 2], Stop> {
        if self.lane.head {
            self.charge(address, 16, false);
            let loaded = self.inner.load256(address);
            return self.note_stop(loaded);
        }
        let mut bytes = [0; 32];
        self.read(address, &mut bytes, false)?;
        let (low, high) = bytes.split_at(16);
        let half = |part: &[u8]| u128::from_le_bytes(part.try_into().expect("sixteen bytes"));
        Ok([half(low), half(high)])
    }

    fn store256(&mut self, address: u64, value: [u128; 2]) -> Result<(), Stop> {
        if self.lane.head {
            self.charge(address, 16, true);
            let stored = self.inner.store256(address, value);
            return self.note_stop(stored);
        }
        self.check_write(address, 32)?;
        self.write(address, &value[0].to_le_bytes())?;
        self.write(address.wrapping_add(16), &value[1].to_le_bytes())
    }

    #[inline(always)]
    fn store128(&mut self, address: u64, value: u128) -> Result<(), Stop> {
        if self.lane.head {
            self.charge(address, 16, true);
            let stored = self.inner.store128(address, value);
            return self.note_stop(stored);
        }
        self.write(address, &value.to_le_bytes())
    }

    fn check_write(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        if self.lane.head {
            let checked = self.inner.check_write(address, length);
            return self.note_stop(checked);
        }
        let mut at = address;
        let end = address.wrapping_add(length);
        while at != end {
            let piece = (0x1000 - (at & 0xfff)).min(end.wrapping_sub(at));
            self.locate(at, piece, true)?;
            at = at.wrapping_add(piece);
        }
        Ok(())
    }

    fn load_system(&mut self, address: u64, length: u64) -> Result<u64, Stop> {
        if !self.lane.head {
            return self.at_head();
        }
        self.charge(address, length, false);
        let loaded = self.inner.load_system(address, length);
        self.note_stop(loaded)
    }

    fn check_write_system(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        if !self.lane.head {
            return self.at_head();
        }
        let checked = self.inner.check_write_system(address, length);
        self.note_stop(checked)
    }

    fn store_system(&mut self, address: u64, length: u64, value: u64) -> Result<(), Stop> {
        if !self.lane.head {
            return self.at_head();
        }
        self.charge(address, length, true);
        let stored = self.inner.store_system(address, length, value);
        self.note_stop(stored)
    }

    fn span(&mut self, address: u64, length: u64, write: bool) -> Option<Range<usize>> {
        if !self.lane.head {
            return None;
        }
        let found = self.inner.span(address, length, write)?;
        self.lane
            .charges
            .push(Charge::Span(found.start as u64, length, write));
        Some(found)
    }

    fn ram(&mut self) -> &mut [u8] {
        debug_assert!(self.lane.head, "spans are given at the head alone");
        self.inner.ram()
    }

    #[inline]
    fn stop(&mut self, reason: StopReason) -> Stop {
        // In flight nobody believes a fault: it is found again at the head.
        self.lane.reason = if self.lane.head {
            reason
        } else {
            StopReason::Restart
        };
        Stop
    }

    fn stop_reason(&self) -> StopReason {
        self.lane.reason
    }

    fn is_solo(&self) -> bool {
        self.lane.head
    }

    fn take_device_access(&mut self) -> bool {
        self.inner.take_device_access()
    }

    fn port_write(&mut self, port: u16, size: u8, value: u32) {
        self.lane.charges.push(Charge::Device);
        self.inner.port_write(port, size, value);
    }

    fn platform(&mut self) -> &mut dyn Platform {
        debug_assert!(self.lane.head, "what is outside is used at the head alone");
        self.inner.platform()
    }

    fn now(&self) -> Ticks {
        self.inner.now
    }

    fn configure(&mut self, cpu: &Cpu) {
        self.inner.configure(cpu);
        self.lane.reconfigured = true;
        self.lane.pcid = cpu.pcid();
        let key = self.inner.fetch_key();
        self.lane.fetch_tags = self.inner.tlb().fetch_tags(key);
    }

    fn flush_all(&mut self) {
        self.inner.flush_all();
        self.lane.flushes.push(Flush::All);
        self.lane.reconfigured = true;
    }

    fn flush_pcid(&mut self, pcid: u16) {
        self.inner.flush_pcid(pcid);
        self.lane.flushes.push(Flush::Pcid(pcid));
        self.lane.reconfigured = true;
    }

    fn flush_page(&mut self, address: GuestVirt) {
        self.inner.flush_page(address);
        self.lane.flushes.push(Flush::Page(address.0));
        self.lane.reconfigured = true;
    }

    fn take_watch_hits(&mut self) -> u64 {
        self.inner.take_watch_hits()
    }

    fn read_physical(&mut self, address: GuestPhys) -> u64 {
        self.inner.read_physical(address)
    }

    fn user_interrupt_step(&mut self, step: Step) {
        self.lane.charges.push(Charge::Step(step));
    }

    fn mark(&mut self, begins: bool) -> Result<(), Stop> {
        if self.lane.head {
            let marked = self.inner.mark(begins);
            return self.note_stop(marked);
        }
        if self.inner.watches_marks() && !self.lane.wrong_path {
            return self.at_head();
        }
        Ok(())
    }

    fn physical(&mut self, address: GuestVirt) -> Option<GuestPhys> {
        self.inner.physical(address)
    }
}
