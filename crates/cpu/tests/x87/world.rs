//! A processor with paging and a few pages of memory, and a loop that executes micro-ops.

use ring3_arch::cr::{cr0, cr4, efer};
use ring3_arch::segment::Segment;
use ring3_arch::{CpuIndex, Fault, GuestPhys, rflags};
use ring3_arithmetic::x87::X87;
use ring3_bus::Nothing;
use ring3_clock::Ticks;
use ring3_cpu::{
    Cpu, CpuModel, Flow, FunctionalMemory, Memory, StopReason, adjust_stack_fault, execute,
};
use ring3_isa::{Op, lift_block};
use ring3_memory::{CodeMap, Ram, RamLayout, Tlb};
use std::sync::Arc;

/// Where code stands.
pub const CODE: u64 = 0x60_0000;
/// Two pages that can be read and written; nothing is mapped before them.
pub const DATA: u64 = 0x80_1000;
/// Their size.
pub const DATA_BYTES: usize = 0x2000;
/// A page that can only be read, after them; nothing is mapped behind it.
pub const READ_ONLY: u64 = DATA + DATA_BYTES as u64;

/// A processor and its memory.
pub struct World {
    pub cpu: Cpu,
    tlb: Tlb,
    ram: Ram,
    code: CodeMap,
}

/// How code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it was executed.
    Finished,
    /// It faulted at this RIP.
    Faulted { fault: Fault, rip: u64 },
}

/// Attributes of a present segment of this DPL: data, expanding up, accessed.
fn attributes(dpl: u16, flags: u16) -> u16 {
    0x93 | dpl << 5 | flags
}

impl World {
    /// 64-bit mode, at CPL 3 in pages for users.
    pub fn long() -> World {
        let mut world = World::bare();
        let system = &mut world.cpu.system;
        system.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::NE | cr0::MP | cr0::WP | cr0::AM;
        system.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT;
        system.cr3 = 0x1000;
        system.efer = efer::LME | efer::LMA | efer::NXE;
        // Long mode, 4 KiB granularity.
        world.segments(3, 0xa000, 0, u32::MAX);
        world
    }

    /// Protected mode without paging, at CPL 0, with segments of this base and limit; `wide` is the
    /// default operand size.
    pub fn protected(wide: bool, base: u64, limit: u32) -> World {
        let mut world = World::bare();
        world.cpu.system.cr0 = cr0::PE | cr0::ET | cr0::NE | cr0::MP;
        world.segments(0, if wide { 0x4000 } else { 0 }, base, limit);
        world
    }

    /// Real mode, with segments of this base.
    pub fn real(base: u64) -> World {
        let mut world = World::bare();
        world.cpu.system.cr0 = cr0::ET | cr0::NE | cr0::MP;
        world.segments(0, 0, base, 0xffff);
        world
    }

    fn bare() -> World {
        let layout = RamLayout::new(16 << 20);
        let mut ram = Ram::new(layout).expect("there are 16 MiB");
        const USER: u64 = 7;
        const LARGE: u64 = 0x80;
        ram.write_u64(GuestPhys(0x1000), 0x2000 | USER);
        ram.write_u64(GuestPhys(0x2000), 0x3000 | USER);
        ram.write_u64(GuestPhys(0x3000 + 8 * 3), CODE | LARGE | USER);
        ram.write_u64(GuestPhys(0x3000 + 8 * 4), 0x4000 | USER);
        ram.write_u64(GuestPhys(0x4000 + 8), DATA | USER);
        ram.write_u64(GuestPhys(0x4000 + 16), (DATA + 0x1000) | USER);
        ram.write_u64(GuestPhys(0x4000 + 24), READ_ONLY | 5);
        let model = CpuModel::new(1);
        let mut cpu = Cpu::new(CpuIndex(0), Arc::new(model), 1);
        cpu.x87 = X87::INITIAL;
        World {
            cpu,
            tlb: Tlb::default(),
            ram,
            code: CodeMap::new(layout.size()),
        }
    }

    fn segments(&mut self, dpl: u16, flags: u16, base: u64, limit: u32) {
        for number in 0..6 {
            let code = if number == 1 { 8 } else { 0 };
            let segment = Segment {
                selector: (u16::from(number) + 1) << 3 | dpl,
                base,
                limit,
                attributes: attributes(dpl, code | flags),
            };
            self.cpu.set_segment(number, segment);
        }
    }

    /// Bytes of memory, physical addresses being linear ones.
    pub fn read(&self, address: u64, into: &mut [u8]) {
        self.ram
            .read(GuestPhys(address), into)
            .expect("the address is one of RAM");
    }

    /// Writes memory.
    pub fn write(&mut self, address: u64, from: &[u8]) {
        self.ram
            .write(GuestPhys(address), from)
            .expect("the address is one of RAM");
    }

    /// Executes `code` as one block that starts at `rip`.
    pub fn run(&mut self, rip: u64, code: &[u8]) -> End {
        self.cpu.set_rip(rip);
        let mut platform = Nothing;
        let mut m = FunctionalMemory::new(
            &self.cpu,
            &mut self.tlb,
            &mut self.ram,
            &mut self.code,
            &mut platform,
            Ticks(0),
        );
        m.solo = true;
        let mut bytes = code.to_vec();
        // HLT ends the block.
        bytes.resize(code.len() + 15, 0xf4);
        let block = lift_block(&bytes, self.cpu.code_mode(), 64).expect("there are enough bytes");
        for (n, uop) in block.uops.iter().enumerate() {
            let offset = block
                .marks
                .iter()
                .rfind(|mark| usize::from(mark.uop) <= n)
                .map_or(0, |mark| mark.offset);
            assert_ne!(uop.op, Op::Unimplemented, "{code:02x?}");
            match execute(&mut self.cpu, &mut m, uop) {
                Ok(Flow::Continue) => continue,
                Ok(_) => {
                    assert_eq!(self.cpu.rip(), rip + code.len() as u64, "{code:02x?}");
                    return End::Finished;
                }
                Err(_) => {}
            }
            let StopReason::Fault(fault) = m.stop_reason() else {
                panic!("{:?} at {uop:?} in {code:02x?}", m.stop_reason());
            };
            return End::Faulted {
                fault: adjust_stack_fault(&self.cpu, uop, fault),
                rip: rip + u64::from(offset),
            };
        }
        panic!("a block ends: {code:02x?}");
    }

    /// Sets or clears a flag of RFLAGS.
    pub fn set_flags(&mut self, flags: u64) {
        self.cpu.set_rflags(flags | rflags::ALWAYS);
    }
}
