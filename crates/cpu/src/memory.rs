//! Memory as a processor sees it.

use crate::state::Cpu;
use ring3_arch::{CpuIndex, Fault, GuestPhys, GuestVirt};
use ring3_bus::{Dma, DmaError, Platform};
use ring3_clock::Ticks;
use ring3_memory::{Access, Allowed, BlockId, CodeMap, PagingState, Privilege, Ram, Tlb, walk};
use std::ops::Range;

/// An access or a routine could not go on. Why stands in [`Memory::stop_reason`]: the marker itself
/// is empty so that the common case stays in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Why execution stopped inside an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The instruction faults.
    Fault(Fault),
    /// The instruction must be started again, alone: it talks to a device or changes code.
    Restart,
    /// The instruction is advertised, but nobody has written it.
    Unimplemented,
}

/// What micro-ops and routines need of memory and of everything behind it.
///
/// The functional engines use [`FunctionalMemory`]; a speculating engine has its own.
pub trait Memory {
    /// Loads `N` (1, 2, 4 or 8) bytes with the current privilege.
    ///
    /// # Errors
    /// [`Stop`]; as for every access here.
    fn load<const N: usize>(&mut self, address: u64) -> Result<u64, Stop>;

    /// Loads `N` bytes that the same instruction will store to: faults as the store would, and the
    /// store then cannot fault.
    ///
    /// # Errors
    /// [`Stop`].
    fn load_modify<const N: usize>(&mut self, address: u64) -> Result<u64, Stop>;

    /// Stores the low `N` bytes of `value`.
    ///
    /// # Errors
    /// [`Stop`].
    fn store<const N: usize>(&mut self, address: u64, value: u64) -> Result<(), Stop>;

    /// Loads sixteen bytes.
    ///
    /// # Errors
    /// [`Stop`].
    fn load128(&mut self, address: u64) -> Result<u128, Stop>;

    /// Stores sixteen bytes.
    ///
    /// # Errors
    /// [`Stop`].
    fn store128(&mut self, address: u64, value: u128) -> Result<(), Stop>;

    /// Loads thirty-two bytes: the low half, the high half.
    ///
    /// # Errors
    /// [`Stop`].
    fn load256(&mut self, address: u64) -> Result<[u128; 2], Stop> {
        // A fault of the second half is reported at the first byte that faults, as it should be: one
        // half at most lies across the border of two pages.
        let low = self.load128(address)?;
        Ok([low, self.load128(address.wrapping_add(16))?])
    }

    /// Stores thirty-two bytes.
    ///
    /// # Errors
    /// [`Stop`].
    fn store256(&mut self, address: u64, [low, high]: [u128; 2]) -> Result<(), Stop> {
        self.check_write(address, 32)?;
        self.store128(address, low)?;
        self.store128(address.wrapping_add(16), high)
    }

    /// Raises what storing `length` bytes (any number of pages) would raise, and makes sure that
    /// doing so afterwards needs no restart. Alignment is checked if `length` is that of a single
    /// access; otherwise that is left to the stores.
    ///
    /// # Errors
    /// [`Stop`].
    fn check_write(&mut self, address: u64, length: u64) -> Result<(), Stop>;

    /// Loads `length` (1, 2, 4 or 8) bytes with supervisor privilege at any CPL, as accesses to
    /// descriptor tables and UPIDs are made.
    ///
    /// # Errors
    /// [`Stop`].
    fn load_system(&mut self, address: u64, length: u64) -> Result<u64, Stop>;

    /// Checks that `length` bytes can be stored with supervisor privilege.
    ///
    /// # Errors
    /// [`Stop`].
    fn check_write_system(&mut self, address: u64, length: u64) -> Result<(), Stop>;

    /// Stores with supervisor privilege.
    ///
    /// # Errors
    /// [`Stop`].
    fn store_system(&mut self, address: u64, length: u64, value: u64) -> Result<(), Stop>;

    /// The RAM bytes behind `length` bytes at `address` (within one page), if they can be read, or
    /// written, without a fault and without anyone having to know. `None`: go byte by byte.
    fn span(&mut self, address: u64, length: u64, write: bool) -> Option<Range<usize>>;

    /// All of RAM, for use with [`Memory::span`].
    fn ram(&mut self) -> &mut [u8];

    /// Turns a fault into a stop.
    fn fault(&mut self, fault: Fault) -> Stop {
        self.stop(StopReason::Fault(fault))
    }

    /// Remembers why.
    fn stop(&mut self, reason: StopReason) -> Stop;

    /// Why the last [`Stop`] was returned.
    fn stop_reason(&self) -> StopReason;

    /// The instruction is executed alone: devices may be touched and code changed.
    fn is_solo(&self) -> bool;

    /// Whether a load or store reached something that is not RAM since this was last asked.
    fn take_device_access(&mut self) -> bool;

    /// OUT of `size` bytes.
    fn port_write(&mut self, port: u16, size: u8, value: u32);

    /// What is outside; using it is noticed, see [`FunctionalMemory::take_touched`].
    fn platform(&mut self) -> &mut dyn Platform;

    /// The processor's virtual time; exact for instructions executed alone.
    fn now(&self) -> Ticks;

    /// Control registers, EFER, CS, CPL, AC or debug registers changed: takes over what translation
    /// and the meaning of code depend on.
    fn configure(&mut self, cpu: &Cpu);

    /// Forgets all translations.
    fn flush_all(&mut self);

    /// Forgets the translations of one PCID.
    fn flush_pcid(&mut self, pcid: u16);

    /// Forgets the translation of one page.
    fn flush_page(&mut self, address: GuestVirt);

    /// Data breakpoints hit since this was last asked (bits 3:0, as in DR6).
    fn take_watch_hits(&mut self) -> u64;

    /// Reads guest-physical memory (the PDPTEs of PAE paging, UMONITOR's line).
    fn read_physical(&mut self, address: GuestPhys) -> u64;

    /// A named step of a user interrupt is about to happen.
    fn user_interrupt_step(&mut self, _step: ring3_uintr::Step) {}

    /// The guest-physical address behind a data address that was just accessed.
    fn physical(&mut self, address: GuestVirt) -> Option<GuestPhys>;
}

/// RAM as bus masters reach it: stores into translated code are noticed.
pub struct RamDma<'a> {
    /// The RAM.
    pub ram: &'a mut Ram,
    /// What is translated in it.
    pub code: &'a mut CodeMap,
}

impl Dma for RamDma<'_> {
    fn read(&mut self, address: GuestPhys, into: &mut [u8]) -> Result<(), DmaError> {
        let length = into.len();
        self.ram
            .read(address, into)
            .map_err(|_| DmaError { address, length })
    }

    fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), DmaError> {
        let length = from.len();
        self.ram
            .write(address, from)
            .map_err(|_| DmaError { address, length })?;
        if let Some(offset) = self.ram.layout().offset(address) {
            self.code.written(offset, length as u64);
        }
        Ok(())
    }
}

/// One data breakpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    first: u64,
    length: u64,
    writes_only: bool,
    enabled: bool,
}

/// Memory for engines that execute one instruction after the other.
pub struct FunctionalMemory<'a> {
    tlb: &'a mut Tlb,
    ram: &'a mut Ram,
    code: &'a mut CodeMap,
    platform: &'a mut dyn Platform,
    cpu: CpuIndex,
    /// The processor's virtual time.
    pub now: Ticks,
    /// See [`Memory::is_solo`].
    pub solo: bool,
    paging: PagingState,
    privilege: Privilege,
    align: bool,
    watches: [Watch; 4],
    watch_hits: u64,
    touched: bool,
    device_access: bool,
    reason: StopReason,
    fetch_key: u32,
}

impl<'a> FunctionalMemory<'a> {
    /// For `cpu`; [`Memory::configure`] is called at once.
    pub fn new(
        cpu: &Cpu,
        tlb: &'a mut Tlb,
        ram: &'a mut Ram,
        code: &'a mut CodeMap,
        platform: &'a mut dyn Platform,
        now: Ticks,
    ) -> FunctionalMemory<'a> {
        let mut memory = FunctionalMemory {
            tlb,
            ram,
            code,
            platform,
            cpu: cpu.index,
            now,
            solo: false,
            paging: PagingState::default(),
            privilege: Privilege::SupervisorOpen,
            align: false,
            watches: [Watch::default(); 4],
            watch_hits: 0,
            touched: true,
            device_access: false,
            reason: StopReason::Restart,
            fetch_key: 0,
        };
        memory.tlb.apply_protection(memory.code);
        memory.configure(cpu);
        memory
    }

    /// [`Cpu::fetch_key`] as of the last [`Memory::configure`].
    #[inline(always)]
    pub fn fetch_key(&self) -> u32 {
        self.fetch_key
    }

    /// The processor's translations.
    #[inline(always)]
    pub fn tlb(&mut self) -> &mut Tlb {
        self.tlb
    }

    /// The map of translated code.
    #[inline(always)]
    pub fn code(&mut self) -> &mut CodeMap {
        self.code
    }

    /// The code at `cpu`'s RIP, just fetched, was translated into `block`.
    pub fn remember_code(&mut self, cpu: &Cpu, block: BlockId) {
        let address = cpu.linear_rip();
        let tags = self.tlb.fetch_tags(self.fetch_key);
        let is_global = self.tlb.is_global_code(fetch_privilege(cpu.cpl()), address);
        self.tlb
            .fetch_cache
            .insert(address, &tags, is_global, block);
    }

    /// Pages that became code lose the fast path for stores.
    pub fn apply_protection(&mut self) {
        self.tlb.apply_protection(self.code);
    }

    /// Whether something outside was used since this was last asked.
    #[inline]
    pub fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// Where the code at linear address `address` stands in RAM: offset of its first byte.
    ///
    /// # Errors
    /// The page fault, or #GP(0) for an address that is not canonical. `Ok(None)` if it is not in
    /// RAM.
    pub fn fetch(&mut self, address: u64, cpl: u8) -> Result<Option<u64>, Fault> {
        let address = self.wrap(address);
        if self.paging.long && !GuestVirt(address).is_canonical(48) {
            return Err(Fault::GP0);
        }
        let privilege = fetch_privilege(cpl);
        let page = address & !0xfff;
        let entry = self.tlb.entry_for(privilege, address);
        if entry.fetch == page {
            return Ok(Some(address.wrapping_add(entry.addend)));
        }
        let access = Access {
            write: false,
            fetch: true,
            user: cpl == 3,
            smap_lifted: false,
        };
        let allowed = Allowed {
            fetch: true,
            ..Allowed::default()
        };
        if self.tlb.refill(privilege, address, allowed) {
            let addend = self.tlb.entry_for(privilege, address).addend;
            return Ok(Some(address.wrapping_add(addend)));
        }
        let found = walk(
            self.ram,
            self.code,
            &self.paging,
            GuestVirt(address),
            access,
        )
        .map_err(|error| Fault::page(GuestVirt(address), error))?;
        let Some(offset) = self.ram.layout().offset(found.address) else {
            return Ok(None);
        };
        self.tlb
            .fill(privilege, GuestVirt(address), &found, offset, allowed);
        Ok(Some(offset))
    }

    #[inline]
    fn wrap(&self, address: u64) -> u64 {
        if self.paging.long {
            address
        } else {
            address & 0xffff_ffff
        }
    }

    #[inline(always)]
    fn fast(&self, address: u64, length: u64, write: bool) -> Option<usize> {
        let entry = self.tlb.entry(address);
        let tag = if write { entry.write } else { entry.read };
        // The entry of the first byte's page cannot hold the tag of the next page, so comparing
        // the last byte's page suffices for both.
        (address.wrapping_add(length - 1) & !0xfff == tag)
            .then(|| address.wrapping_add(entry.addend) as usize)
    }

    /// Where `length` bytes at `address` are in RAM, if the TLB knows that they can be accessed so
    /// and nobody has to know.
    fn at_hand(
        &mut self,
        privilege: Privilege,
        address: u64,
        length: u64,
        write: bool,
    ) -> Option<usize> {
        if self.tlb.privilege() == Privilege::Watched {
            return None;
        }
        let find = |tlb: &Tlb| {
            let entry = tlb.entry_for(privilege, address);
            let tag = if write { entry.write } else { entry.read };
            (address.wrapping_add(length - 1) & !0xfff == tag)
                .then(|| address.wrapping_add(entry.addend) as usize)
        };
        find(self.tlb).or_else(|| {
            let wanted = Allowed {
                read: !write,
                write,
                fetch: false,
            };
            self.tlb
                .refill(privilege, address, wanted)
                .then(|| find(self.tlb))?
        })
    }

    fn translate(
        &mut self,
        address: u64,
        write: bool,
        privilege: Privilege,
    ) -> Result<GuestPhys, Stop> {
        if self.paging.long && !GuestVirt(address).is_canonical(48) {
            return Err(self.fault(Fault::GP0));
        }
        let access = Access {
            write,
            fetch: false,
            user: privilege == Privilege::User,
            smap_lifted: privilege == Privilege::SupervisorOpen,
        };
        match walk(
            self.ram,
            self.code,
            &self.paging,
            GuestVirt(address),
            access,
        ) {
            Ok(found) => {
                if let Some(offset) = self.ram.layout().offset(found.address) {
                    let page_is_code = self.code.is_code_page(offset);
                    let writable = write && !page_is_code;
                    if writable {
                        self.code.note_write_mapping(offset);
                    }
                    let cached = if self.tlb.privilege() == Privilege::Watched
                        && privilege == self.privilege
                    {
                        Privilege::Watched
                    } else {
                        privilege
                    };
                    let allowed = Allowed {
                        read: true,
                        write: writable,
                        fetch: false,
                    };
                    self.tlb
                        .fill(cached, GuestVirt(address), &found, offset, allowed);
                }
                Ok(found.address)
            }
            Err(error) => Err(self.fault(Fault::page(GuestVirt(address), error))),
        }
    }

    fn watch(&mut self, address: u64, length: u64, write: bool) {
        for (number, watch) in self.watches.iter().enumerate() {
            if watch.enabled
                && (write || !watch.writes_only)
                && address < watch.first.wrapping_add(watch.length)
                && watch.first < address.wrapping_add(length)
            {
                self.watch_hits |= 1 << number;
            }
        }
    }

    fn check_alignment(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        // Of thirty-two bytes each half counts by itself, as on AMD's processors.
        if self.align && !address.is_multiple_of(length.min(16)) {
            // As processors do it: after the check of the address, before paging.
            if self.paging.long && !GuestVirt(address).is_canonical(48) {
                return Err(self.fault(Fault::GP0));
            }
            let fault = Fault::new(ring3_arch::Exception::AlignmentCheck, 0);
            return Err(self.fault(fault));
        }
        Ok(())
    }

    /// An access that begins at a canonical address and ends at one that is not faults before any page
    /// is looked at.
    #[inline]
    fn check_canonical_end(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        let last = address.wrapping_add(length - 1);
        if self.paging.long && !GuestVirt(last).is_canonical(48) {
            return Err(self.fault(Fault::GP0));
        }
        Ok(())
    }

    /// Reads up to 32 bytes within one page from RAM or a device.
    fn read_page(&mut self, at: GuestPhys, into: &mut [u8]) -> Result<(), Stop> {
        if self.ram.read(at, into).is_ok() {
            return Ok(());
        }
        if !self.solo {
            return Err(self.stop(StopReason::Restart));
        }
        self.touched = true;
        self.device_access = true;
        let mut done = 0;
        while done < into.len() {
            let address = at.0 + done as u64;
            let size = device_size(address, into.len() - done);
            let value =
                self.platform
                    .memory_read(self.cpu, self.now, GuestPhys(address), size as u8);
            into[done..done + size].copy_from_slice(&value.to_le_bytes()[..size]);
            done += size;
        }
        Ok(())
    }

    fn may_write_page(&mut self, at: GuestPhys, length: u64) -> Result<(), Stop> {
        let needs_solo = match self.ram.layout().offset(at) {
            Some(offset) => self.code.hits(offset, length),
            None => true,
        };
        if needs_solo && !self.solo {
            return Err(self.stop(StopReason::Restart));
        }
        Ok(())
    }

    fn write_page(&mut self, at: GuestPhys, from: &[u8]) {
        if let Some(offset) = self.ram.layout().offset(at) {
            self.code.written(offset, from.len() as u64);
            // A page of RAM is wholly RAM.
            let written = self.ram.write(at, from);
            debug_assert!(written.is_ok());
            return;
        }
        self.touched = true;
        self.device_access = true;
        let mut done = 0;
        while done < from.len() {
            let address = at.0 + done as u64;
            let size = device_size(address, from.len() - done);
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&from[done..done + size]);
            let value = u64::from_le_bytes(bytes);
            let mut dma = RamDma {
                ram: self.ram,
                code: self.code,
            };
            let at = GuestPhys(address);
            self.platform
                .memory_write(self.cpu, self.now, at, size as u8, value, &mut dma);
            done += size;
        }
    }

    #[cold]
    #[inline(never)]
    fn load_slow(
        &mut self,
        address: u64,
        into: &mut [u8],
        modify: bool,
        privilege: Privilege,
    ) -> Result<(), Stop> {
        let address = self.wrap(address);
        let length = into.len() as u64;
        if let Some(at) = self.at_hand(privilege, address, length, modify)
            && let Some(found) = self.ram.bytes().get(at..at + into.len())
        {
            into.copy_from_slice(found);
            return Ok(());
        }
        self.check_canonical_end(address, length)?;
        if privilege == self.privilege {
            self.check_alignment(address, length)?;
        }
        let first = (0x1000 - (address & 0xfff)).min(length) as usize;
        let at = self.translate(address, modify, privilege)?;
        let rest = self.wrap(address.wrapping_add(first as u64));
        let second = if first < into.len() {
            Some(self.translate(rest, modify, privilege)?)
        } else {
            None
        };
        if modify {
            self.may_write_page(at, first as u64)?;
            if let Some(second) = second {
                self.may_write_page(second, length - first as u64)?;
            }
        }
        self.read_page(at, &mut into[..first])?;
        if let Some(second) = second {
            self.read_page(second, &mut into[first..])?;
        }
        self.watch(address, length, false);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn store_slow(
        &mut self,
        address: u64,
        from: &[u8],
        privilege: Privilege,
        write: bool,
    ) -> Result<(), Stop> {
        let address = self.wrap(address);
        let length = from.len() as u64;
        if let Some(at) = self.at_hand(privilege, address, length, true)
            && let Some(place) = self.ram.bytes_mut().get_mut(at..at + from.len())
        {
            if write {
                place.copy_from_slice(from);
            }
            return Ok(());
        }
        self.check_canonical_end(address, length)?;
        if write && privilege == self.privilege {
            self.check_alignment(address, length)?;
        }
        let first = (0x1000 - (address & 0xfff)).min(length) as usize;
        let at = self.translate(address, true, privilege)?;
        let rest = self.wrap(address.wrapping_add(first as u64));
        let second = if first < from.len() {
            Some(self.translate(rest, true, privilege)?)
        } else {
            None
        };
        self.may_write_page(at, first as u64)?;
        if let Some(second) = second {
            self.may_write_page(second, length - first as u64)?;
        }
        if write {
            self.write_page(at, &from[..first]);
            if let Some(second) = second {
                self.write_page(second, &from[first..]);
            }
            self.watch(address, length, true);
        }
        Ok(())
    }

    /// Implicit accesses are never subject to RFLAGS.AC.
    fn system_privilege(&self) -> Privilege {
        if self.paging.smap {
            Privilege::Supervisor
        } else {
            Privilege::SupervisorOpen
        }
    }
}

/// SMAP does not concern instruction fetches.
fn fetch_privilege(cpl: u8) -> Privilege {
    if cpl == 3 {
        Privilege::User
    } else {
        Privilege::SupervisorOpen
    }
}

/// The largest naturally aligned access of at most `left` bytes at `address`.
fn device_size(address: u64, left: usize) -> usize {
    let mut size = 8;
    while size > left || !address.is_multiple_of(size as u64) {
        size /= 2;
    }
    size
}

impl Memory for FunctionalMemory<'_> {
    #[inline(always)]
    fn load<const N: usize>(&mut self, address: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        if let Some(at) = self.fast(address, N as u64, false)
            && let Some(found) = self.ram.bytes().get(at..at + N)
        {
            bytes[..N].copy_from_slice(found);
            return Ok(u64::from_le_bytes(bytes));
        }
        let privilege = self.privilege;
        self.load_slow(address, &mut bytes[..N], false, privilege)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn load_modify<const N: usize>(&mut self, address: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        if let Some(at) = self.fast(address, N as u64, true)
            && let Some(found) = self.ram.bytes().get(at..at + N)
        {
            bytes[..N].copy_from_slice(found);
            return Ok(u64::from_le_bytes(bytes));
        }
        let privilege = self.privilege;
        self.load_slow(address, &mut bytes[..N], true, privilege)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, address: u64, value: u64) -> Result<(), Stop> {
        let bytes = value.to_le_bytes();
        if let Some(at) = self.fast(address, N as u64, true)
            && let Some(place) = self.ram.bytes_mut().get_mut(at..at + N)
        {
            place.copy_from_slice(&bytes[..N]);
            return Ok(());
        }
        let privilege = self.privilege;
        self.store_slow(address, &bytes[..N], privilege, true)
    }

    #[inline(always)]
    fn load128(&mut self, address: u64) -> Result<u128, Stop> {
        let mut bytes = [0; 16];
        if let Some(at) = self.fast(address, 16, false)
            && let Some(found) = self.ram.bytes().get(at..at + 16)
        {
            bytes.copy_from_slice(found);
            return Ok(u128::from_le_bytes(bytes));
        }
        let privilege = self.privilege;
        self.load_slow(address, &mut bytes, false, privilege)?;
        Ok(u128::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn store128(&mut self, address: u64, value: u128) -> Result<(), Stop> {
        let bytes = value.to_le_bytes();
        if let Some(at) = self.fast(address, 16, true)
            && let Some(place) = self.ram.bytes_mut().get_mut(at..at + 16)
        {
            place.copy_from_slice(&bytes);
            return Ok(());
        }
        let privilege = self.privilege;
        self.store_slow(address, &bytes, privilege, true)
    }

    #[inline(always)]
    fn load256(&mut self, address: u64) -> Result<[u128; 2], Stop> {
        let mut bytes = [0; 32];
        if let Some(at) = self.fast(address, 32, false)
            && let Some(found) = self.ram.bytes().get(at..at + 32)
        {
            bytes.copy_from_slice(found);
        } else {
            let privilege = self.privilege;
            self.load_slow(address, &mut bytes, false, privilege)?;
        }
        let half = |n: usize| u128::from_le_bytes(std::array::from_fn(|i| bytes[16 * n + i]));
        Ok([half(0), half(1)])
    }

    #[inline(always)]
    fn store256(&mut self, address: u64, [low, high]: [u128; 2]) -> Result<(), Stop> {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&low.to_le_bytes());
        bytes[16..].copy_from_slice(&high.to_le_bytes());
        if let Some(at) = self.fast(address, 32, true)
            && let Some(place) = self.ram.bytes_mut().get_mut(at..at + 32)
        {
            place.copy_from_slice(&bytes);
            return Ok(());
        }
        let privilege = self.privilege;
        self.store_slow(address, &bytes, privilege, true)
    }

    fn check_write(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        if (1..=0x1000).contains(&length) && self.fast(address, length, true).is_some() {
            return Ok(());
        }
        let privilege = self.privilege;
        self.check_canonical_end(address, length.clamp(1, 32))?;
        if length.is_power_of_two() && length <= 16 {
            self.check_alignment(self.wrap(address), length)?;
        }
        let mut at = address;
        let end = address.wrapping_add(length);
        while at != end {
            let in_page = (0x1000 - (at & 0xfff)).min(end.wrapping_sub(at));
            if self
                .at_hand(privilege, self.wrap(at), in_page, true)
                .is_some()
            {
                at = at.wrapping_add(in_page);
                continue;
            }
            let piece = in_page.min(16);
            self.store_slow(at, &[0; 16][..piece as usize], privilege, false)?;
            at = at.wrapping_add(piece);
        }
        Ok(())
    }

    fn load_system(&mut self, address: u64, length: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        let privilege = self.system_privilege();
        self.load_slow(address, &mut bytes[..length as usize], false, privilege)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn check_write_system(&mut self, address: u64, length: u64) -> Result<(), Stop> {
        let privilege = self.system_privilege();
        self.store_slow(address, &[0; 16][..length as usize], privilege, false)
    }

    fn store_system(&mut self, address: u64, length: u64, value: u64) -> Result<(), Stop> {
        let privilege = self.system_privilege();
        self.store_slow(
            address,
            &value.to_le_bytes()[..length as usize],
            privilege,
            true,
        )
    }

    fn span(&mut self, address: u64, length: u64, write: bool) -> Option<Range<usize>> {
        let privilege = self.privilege;
        let wrapped = self.wrap(address);
        let at = match self.at_hand(privilege, wrapped, length, write) {
            Some(at) => at,
            None => {
                // Fill the entry, or find out that there is a reason not to.
                self.translate(wrapped, write, privilege).ok()?;
                self.at_hand(privilege, wrapped, length, write)?
            }
        };
        let range = at..at.checked_add(length as usize)?;
        (range.end <= self.ram.bytes().len()).then_some(range)
    }

    fn ram(&mut self) -> &mut [u8] {
        self.ram.bytes_mut()
    }

    #[inline]
    fn stop(&mut self, reason: StopReason) -> Stop {
        self.reason = reason;
        Stop
    }

    fn stop_reason(&self) -> StopReason {
        self.reason
    }

    fn is_solo(&self) -> bool {
        self.solo
    }

    fn take_device_access(&mut self) -> bool {
        std::mem::take(&mut self.device_access)
    }

    fn port_write(&mut self, port: u16, size: u8, value: u32) {
        self.touched = true;
        let mut dma = RamDma {
            ram: self.ram,
            code: self.code,
        };
        self.platform
            .port_write(self.cpu, self.now, port, size, value, &mut dma);
    }

    fn platform(&mut self) -> &mut dyn Platform {
        self.touched = true;
        self.platform
    }

    fn now(&self) -> Ticks {
        self.now
    }

    fn configure(&mut self, cpu: &Cpu) {
        self.fetch_key = cpu.fetch_key();
        self.paging = cpu.paging();
        self.privilege = cpu.privilege();
        self.tlb.select(cpu.pcid());
        self.align = cpu.checks_alignment();
        let dr7 = cpu.system.dr7;
        let mut watching = false;
        for number in 0..if dr7 & 0xff == 0 { 0 } else { 4 } {
            let enabled = dr7 >> (2 * number) & 3 != 0;
            let kind = dr7 >> (16 + 4 * number) & 3;
            let length = [1, 2, 8, 4][(dr7 >> (18 + 4 * number) & 3) as usize];
            let data = enabled && (kind == 1 || kind == 3);
            watching |= data;
            self.watches[number] = Watch {
                first: cpu.system.dr[number] & !(length - 1),
                length,
                writes_only: kind == 1,
                enabled: data,
            };
        }
        let watched = watching || self.align;
        self.tlb.set_privilege(if watched {
            Privilege::Watched
        } else {
            self.privilege
        });
    }

    fn flush_all(&mut self) {
        self.tlb.flush_all();
    }

    fn flush_pcid(&mut self, pcid: u16) {
        self.tlb.flush_pcid(pcid);
    }

    fn flush_page(&mut self, address: GuestVirt) {
        self.tlb.flush_page(address);
    }

    fn take_watch_hits(&mut self) -> u64 {
        std::mem::take(&mut self.watch_hits)
    }

    fn read_physical(&mut self, address: GuestPhys) -> u64 {
        self.ram.read_u64(address).unwrap_or(0)
    }

    fn physical(&mut self, address: GuestVirt) -> Option<GuestPhys> {
        let privilege = self.privilege;
        self.translate(address.0, false, privilege).ok()
    }
}
