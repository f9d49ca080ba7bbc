//! The page walk. SDM Vol. 3, "Paging".
//!
//! Modelled: no paging, 32-bit paging with 4 MiB pages (PSE, PSE-36 address bits), PAE, 4-level
//! paging with 2 MiB and 1 GiB pages; U/S, R/W, WP, NX, SMEP, SMAP; reserved bits; accessed and
//! dirty flags. Not modelled: LA57, protection keys.

use crate::{CodeMap, Ram};
use ring3_arch::exception::page_fault;
use ring3_arch::paging::{A, ADDRESS, D, G, NX, P, PHYSICAL_BITS, PS, RESERVED_HIGH, RW, US};
use ring3_arch::{GuestPhys, GuestVirt};
use serde::{Deserialize, Serialize};

/// The control-register state that address translation depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagingState {
    /// CR0.PG.
    pub enabled: bool,
    /// CR0.WP.
    pub write_protect: bool,
    /// CR4.PAE.
    pub pae: bool,
    /// CR4.PSE.
    pub pse: bool,
    /// CR4.PGE.
    pub global: bool,
    /// CR4.SMEP.
    pub smep: bool,
    /// CR4.SMAP.
    pub smap: bool,
    /// EFER.NXE.
    pub nxe: bool,
    /// EFER.LMA.
    pub long: bool,
    /// CR3 without PCID and flag bits: where the top table stands.
    pub root: u64,
    /// The four PDPTE registers of PAE paging.
    pub pdpte: [u64; 4],
}

/// How memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// A write, or a read that will be followed by one.
    pub write: bool,
    /// An instruction fetch.
    pub fetch: bool,
    /// Made with user privilege.
    pub user: bool,
    /// For supervisor accesses: user pages are open although CR4.SMAP is set (RFLAGS.AC, for
    /// explicit accesses only).
    pub smap_lifted: bool,
}

/// What a walk found. The rights are those of the page, not of the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The guest-physical address of the byte asked for.
    pub address: GuestPhys,
    /// The size of the page, in bytes.
    pub page_size: u64,
    /// User mode may access it.
    pub user: bool,
    /// R/W is set on every level.
    pub writable: bool,
    /// It may not be executed.
    pub no_execute: bool,
    /// Global, with CR4.PGE set.
    pub global: bool,
    /// The dirty flag is set.
    pub dirty: bool,
}

/// What the rights on the way down add up to.
struct Rights {
    user: bool,
    writable: bool,
    no_execute: bool,
}

/// Translates `address`, setting accessed and dirty flags as the access requires.
///
/// Canonicality is the caller's business.
///
/// # Errors
/// The error code of the page fault.
pub fn walk(
    ram: &mut Ram,
    code: &mut CodeMap,
    state: &PagingState,
    address: GuestVirt,
    access: Access,
) -> Result<Translation, u32> {
    walk_tables(&mut InRam { ram, code }, state, address, access)
}

fn walk_tables<T: Tables>(
    tables: &mut T,
    state: &PagingState,
    address: GuestVirt,
    access: Access,
) -> Result<Translation, u32> {
    if !state.enabled {
        return Ok(Translation {
            address: GuestPhys(address.0 & 0xffff_ffff),
            page_size: 4096,
            user: true,
            writable: true,
            no_execute: false,
            global: false,
            dirty: true,
        });
    }
    if state.long || state.pae {
        walk64(tables, state, address, access)
    } else {
        walk32(tables, state, address, access)
    }
}

fn error_code(state: &PagingState, access: Access, bits: u32) -> u32 {
    let mut error = bits;
    if access.write {
        error |= page_fault::WRITE;
    }
    if access.user {
        error |= page_fault::USER;
    }
    if access.fetch && ((state.nxe && (state.pae || state.long)) || state.smep) {
        error |= page_fault::FETCH;
    }
    error
}

/// SDM Vol. 3, "Determination of Access Rights".
fn check_rights(state: &PagingState, access: Access, rights: &Rights) -> Result<(), u32> {
    let allowed = if access.user {
        rights.user && (!access.write || rights.writable) && (!access.fetch || !rights.no_execute)
    } else if access.fetch {
        !(rights.no_execute || rights.user && state.smep)
    } else {
        let smap_closed = rights.user && state.smap && !access.smap_lifted;
        !smap_closed && (!access.write || rights.writable || !state.write_protect)
    };
    if allowed {
        Ok(())
    } else {
        Err(error_code(state, access, page_fault::PRESENT))
    }
}

/// Paging structures, as a walk reads and marks them.
trait Tables {
    fn read64(&mut self, at: GuestPhys) -> u64;
    fn read32(&mut self, at: GuestPhys) -> u64;
    /// Replaces an entry by one with more flags set.
    fn set_flags(&mut self, at: GuestPhys, entry: u64, wide: bool);
}

/// In RAM, for good.
struct InRam<'a> {
    ram: &'a mut Ram,
    code: &'a mut CodeMap,
}

impl Tables for InRam<'_> {
    fn read64(&mut self, at: GuestPhys) -> u64 {
        self.ram.read_u64(at).unwrap_or(0)
    }

    fn read32(&mut self, at: GuestPhys) -> u64 {
        read32(self.ram, at)
    }

    fn set_flags(&mut self, at: GuestPhys, entry: u64, wide: bool) {
        if let Some(offset) = self.ram.layout().offset(at) {
            self.code.written(offset, 8.min(4096 - offset % 4096));
        }
        if wide {
            self.ram.write_u64(at, entry);
        } else {
            // Outside RAM there is nothing to set.
            let _ = self.ram.write(at, &(entry as u32).to_le_bytes());
        }
    }
}

fn read32(ram: &Ram, at: GuestPhys) -> u64 {
    let mut bytes = [0; 4];
    ram.read(at, &mut bytes).ok();
    u64::from(u32::from_le_bytes(bytes))
}

/// Only looked at.
struct LookedAt<'a> {
    ram: &'a Ram,
    entries: [GuestPhys; 4],
    levels: usize,
    unchanged: bool,
}

impl LookedAt<'_> {
    fn note(&mut self, at: GuestPhys) {
        if let Some(place) = self.entries.get_mut(self.levels) {
            *place = at;
            self.levels += 1;
        }
    }
}

impl Tables for LookedAt<'_> {
    fn read64(&mut self, at: GuestPhys) -> u64 {
        self.note(at);
        self.ram.read_u64(at).unwrap_or(0)
    }

    fn read32(&mut self, at: GuestPhys) -> u64 {
        self.note(at);
        read32(self.ram, at)
    }

    fn set_flags(&mut self, _: GuestPhys, _: u64, _: bool) {
        self.unchanged = false;
    }
}

/// What a walk would do, see [`probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What [`walk`] would return.
    pub result: Result<Translation, u32>,
    /// The entries that it would read, from the top; the first [`Probe::levels`] of them.
    pub entries: [GuestPhys; 4],
    /// How many entries it would read.
    pub levels: usize,
    /// It would set no accessed or dirty flag.
    pub unchanged: bool,
}

/// Walks without setting any flag: what a processor may do for an access that perhaps never happens.
pub fn probe(ram: &Ram, state: &PagingState, address: GuestVirt, access: Access) -> Probe {
    let mut tables = LookedAt {
        ram,
        entries: [GuestPhys(0); 4],
        levels: 0,
        unchanged: true,
    };
    let result = walk_tables(&mut tables, state, address, access);
    Probe {
        result,
        entries: tables.entries,
        levels: tables.levels,
        unchanged: tables.unchanged,
    }
}

fn walk64<T: Tables>(
    tables: &mut T,
    state: &PagingState,
    address: GuestVirt,
    access: Access,
) -> Result<Translation, u32> {
    let not_present = || Err(error_code(state, access, 0));
    let reserved = || {
        Err(error_code(
            state,
            access,
            page_fault::PRESENT | page_fault::RESERVED,
        ))
    };
    let mut rights = Rights {
        user: true,
        writable: true,
        no_execute: false,
    };
    let mut table = state.root & ADDRESS;
    let mut level = 4u32;
    if !state.long {
        let pdpte = state.pdpte[(address.0 >> 30 & 3) as usize];
        if pdpte & P == 0 {
            return not_present();
        }
        table = pdpte & ADDRESS;
        level = 2;
    }
    let reserved_always = RESERVED_HIGH | if state.nxe { 0 } else { NX };
    // PAE entries have no rights above the page directory; bits 62:52 are reserved there.
    let reserved_always = if state.long {
        reserved_always
    } else {
        reserved_always | 0x7ff0_0000_0000_0000
    };
    loop {
        let shift = 12 + 9 * (level - 1);
        let entry_address = GuestPhys(table + (address.0 >> shift & 0x1ff) * 8);
        let entry = tables.read64(entry_address);
        if entry & P == 0 {
            return not_present();
        }
        if entry & reserved_always != 0 {
            return reserved();
        }
        let leaf = level == 1 || (entry & PS != 0 && (level == 2 || level == 3));
        if (entry & PS != 0 && level == 4)
            || (leaf && level > 1 && entry & ((1 << shift) - 1) & ADDRESS & !(1 << 12) != 0)
        {
            return reserved();
        }
        rights.user &= entry & US != 0;
        rights.writable &= entry & RW != 0;
        rights.no_execute |= entry & NX != 0;
        if leaf {
            check_rights(state, access, &rights)?;
            let updated = entry | A | if access.write { D } else { 0 };
            if updated != entry {
                tables.set_flags(entry_address, updated, true);
            }
            let page_size = 1u64 << shift;
            let frame = entry & ADDRESS & !(page_size - 1);
            return Ok(Translation {
                address: GuestPhys(frame | (address.0 & (page_size - 1))),
                page_size,
                user: rights.user,
                writable: rights.writable,
                no_execute: rights.no_execute,
                global: entry & G != 0 && state.global,
                dirty: updated & D != 0,
            });
        }
        if entry & A == 0 {
            tables.set_flags(entry_address, entry | A, true);
        }
        table = entry & ADDRESS;
        level -= 1;
    }
}

fn walk32<T: Tables>(
    tables: &mut T,
    state: &PagingState,
    address: GuestVirt,
    access: Access,
) -> Result<Translation, u32> {
    let not_present = || Err(error_code(state, access, 0));
    let linear = address.0 & 0xffff_ffff;
    let pde_address = (state.root & 0xffff_f000) + (linear >> 22) * 4;
    let pde = tables.read32(GuestPhys(pde_address));
    if pde & P == 0 {
        return not_present();
    }
    let large = pde & PS != 0 && state.pse;
    let (entry_address, entry, page_size, frame) = if large {
        // PSE-36: bits 20:13 hold physical address bits 39:32; bit 21 is reserved.
        if pde & 1 << 21 != 0 {
            return Err(error_code(
                state,
                access,
                page_fault::PRESENT | page_fault::RESERVED,
            ));
        }
        let high = (pde >> 13 & 0xff) << 32 & ((1 << PHYSICAL_BITS) - 1);
        (pde_address, pde, 4 << 20, (pde & 0xffc0_0000) | high)
    } else {
        let pte_address = (pde & 0xffff_f000) + (linear >> 12 & 0x3ff) * 4;
        let pte = tables.read32(GuestPhys(pte_address));
        if pte & P == 0 {
            return not_present();
        }
        (pte_address, pte, 4096, pte & 0xffff_f000)
    };
    let rights = Rights {
        user: pde & entry & US != 0,
        writable: pde & entry & RW != 0,
        no_execute: false,
    };
    check_rights(state, access, &rights)?;
    if !large && pde & A == 0 {
        tables.set_flags(GuestPhys(pde_address), pde | A, false);
    }
    let updated = entry | A | if access.write { D } else { 0 };
    if updated != entry {
        tables.set_flags(GuestPhys(entry_address), updated, false);
    }
    Ok(Translation {
        address: GuestPhys(frame | (linear & (page_size - 1))),
        page_size,
        user: rights.user,
        writable: rights.writable,
        no_execute: false,
        global: entry & G != 0 && state.global,
        dirty: updated & D != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RamLayout;

    const READ: Access = Access {
        write: false,
        fetch: false,
        user: false,
        smap_lifted: false,
    };
    const USER_WRITE: Access = Access {
        write: true,
        fetch: false,
        user: true,
        smap_lifted: false,
    };

    fn long_state() -> PagingState {
        PagingState {
            enabled: true,
            pae: true,
            long: true,
            nxe: true,
            root: 0x1000,
            ..Default::default()
        }
    }

    /// Maps linear 0x40_0000 through tables at 0x1000, 0x2000, 0x3000, 0x4000 with this PTE.
    fn with_pte(pte: u64) -> (Ram, CodeMap) {
        let mut ram = Ram::new(RamLayout::new(1 << 20)).unwrap();
        ram.write_u64(GuestPhys(0x1000), 0x2000 | P | RW | US);
        ram.write_u64(GuestPhys(0x2000), 0x3000 | P | RW | US);
        ram.write_u64(GuestPhys(0x3000 + 2 * 8), 0x4000 | P | RW | US);
        ram.write_u64(GuestPhys(0x4000), pte);
        let code = CodeMap::new(1 << 20);
        (ram, code)
    }

    #[test]
    fn a_user_write_sets_accessed_on_every_level_and_dirty_on_the_last() {
        let (mut ram, mut code) = with_pte(0x9000 | P | RW | US);
        let found = walk(
            &mut ram,
            &mut code,
            &long_state(),
            GuestVirt(0x40_0123),
            USER_WRITE,
        )
        .unwrap();
        assert_eq!(found.address, GuestPhys(0x9123));
        assert!(found.dirty);
        for table in [0x1000, 0x2000, 0x3010] {
            let entry = ram.read_u64(GuestPhys(table)).unwrap();
            assert_eq!(entry & (A | D), A, "table {table:#x}");
        }
        assert_eq!(ram.read_u64(GuestPhys(0x4000)).unwrap() & (A | D), A | D);
    }

    #[test]
    fn a_probe_finds_the_same_and_changes_nothing() {
        let (mut ram, mut code) = with_pte(0x9000 | P | RW | US);
        let before = ram.bytes().to_vec();
        let probed = probe(&ram, &long_state(), GuestVirt(0x40_0123), USER_WRITE);
        assert_eq!(ram.bytes(), before);
        assert!(!probed.unchanged);
        let entries = [0x1000, 0x2000, 0x3010, 0x4000].map(GuestPhys);
        assert_eq!((probed.levels, probed.entries), (4, entries));
        let walked = walk(
            &mut ram,
            &mut code,
            &long_state(),
            GuestVirt(0x40_0123),
            USER_WRITE,
        );
        assert_eq!(probed.result, walked);
        let again = probe(&ram, &long_state(), GuestVirt(0x40_0123), USER_WRITE);
        assert!(again.unchanged);
    }

    #[test]
    fn a_forbidden_write_leaves_dirty_clear() {
        let (mut ram, mut code) = with_pte(0x9000 | P | US);
        let error = walk(
            &mut ram,
            &mut code,
            &long_state(),
            GuestVirt(0x40_0000),
            USER_WRITE,
        );
        assert_eq!(
            error,
            Err(page_fault::PRESENT | page_fault::WRITE | page_fault::USER)
        );
        assert_eq!(ram.read_u64(GuestPhys(0x4000)).unwrap() & D, 0);
    }

    #[test]
    fn smap_closes_user_pages_to_the_supervisor_unless_lifted() {
        let state = PagingState {
            smap: true,
            ..long_state()
        };
        let (mut ram, mut code) = with_pte(0x9000 | P | US);
        assert_eq!(
            walk(&mut ram, &mut code, &state, GuestVirt(0x40_0000), READ),
            Err(page_fault::PRESENT)
        );
        let lifted = Access {
            smap_lifted: true,
            ..READ
        };
        assert!(walk(&mut ram, &mut code, &state, GuestVirt(0x40_0000), lifted).is_ok());
    }

    #[test]
    fn nx_without_nxe_and_high_address_bits_are_reserved() {
        for (pte, nxe) in [(0x9000 | P | NX, false), (0x9000 | P | 1 << 50, true)] {
            let state = PagingState {
                nxe,
                ..long_state()
            };
            let (mut ram, mut code) = with_pte(pte);
            let error = walk(&mut ram, &mut code, &state, GuestVirt(0x40_0000), READ);
            assert_eq!(error, Err(page_fault::PRESENT | page_fault::RESERVED));
        }
    }

    #[test]
    fn large_pages_keep_the_low_address_bits() {
        let mut ram = Ram::new(RamLayout::new(1 << 20)).unwrap();
        ram.write_u64(GuestPhys(0x1000), 0x2000 | P | RW);
        ram.write_u64(GuestPhys(0x2000), (5 << 30) | P | RW | PS);
        ram.write_u64(GuestPhys(0x2008), 0x3000 | P | RW);
        ram.write_u64(GuestPhys(0x3000), 0x60_0000 | P | PS);
        let mut code = CodeMap::new(1 << 20);
        let giant = walk(
            &mut ram,
            &mut code,
            &long_state(),
            GuestVirt(0x1234_5678),
            READ,
        )
        .unwrap();
        assert_eq!(
            (giant.address, giant.page_size),
            (GuestPhys((5 << 30) + 0x1234_5678), 1 << 30)
        );
        let large = walk(
            &mut ram,
            &mut code,
            &long_state(),
            GuestVirt(0x4010_1234),
            READ,
        )
        .unwrap();
        assert_eq!(
            (large.address, large.page_size, large.writable),
            (GuestPhys(0x70_1234), 2 << 20, false)
        );
    }
}
