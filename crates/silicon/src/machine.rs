//! Sequences in the machine: one processor with paging, memory laid out as on the host, and an
//! operating system whose every exception handler is HLT.
//!
//! The processor, its memory and the engine's translations live as long as the tester; a sequence costs
//! its own execution, and the delivery of the exception that ends it (a page fault at
//! [`EXIT`], if nothing else happens). Selectors, descriptors and control registers are those of
//! a program under Linux.

use crate::engine::{Engine, Parts, Stopped};
use crate::layout::{
    CODE, CODE_BYTES, DATA16_BASE, DATA16_LIMIT, EXIT, MEMORY, MEMORY_BYTES, MEMORY_SPAN, PAGE,
    READ_ONLY, selector, slot,
};
use crate::state::{End, State};
use ring3_arch::cr::{cr0, cr4, efer};
use ring3_arch::segment::{Segment, SegmentName};
use ring3_arch::{CpuIndex, GuestPhys, Vector, rflags};
use ring3_arithmetic::Mxcsr;
use ring3_bus::{Dma, Platform, Signals};
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, CpuModel};
use ring3_isa::{CodeSize, FeatureSet};
use ring3_memory::{CodeMap, Ram, RamLayout, Tlb};
use std::sync::Arc;

/// Where system pages stand in the linear address space.
const SYSTEM: u64 = 0xffff_ffff_8000_0000;
const GDT: u64 = SYSTEM;
const LDT: u64 = SYSTEM + 0x800;
const IDT: u64 = SYSTEM + PAGE;
const HANDLERS: u64 = SYSTEM + 2 * PAGE;
const TSS: u64 = SYSTEM + 3 * PAGE;
const STACK_TOP: u64 = SYSTEM + 5 * PAGE;

/// Where all that stands in RAM.
mod physical {
    pub const PML4: u64 = 0x1000;
    pub const LOW_PDPT: u64 = 0x2000;
    pub const LOW_PD: u64 = 0x3000;
    pub const MEMORY_PT: u64 = 0x4000;
    pub const CODE_PT: u64 = 0x5000;
    pub const HIGH_PDPT: u64 = 0x6000;
    pub const HIGH_PD: u64 = 0x7000;
    pub const SYSTEM_PT: u64 = 0x8000;
    pub const SYSTEM: u64 = 0x1_0000;
    pub const READ_ONLY: u64 = 0x10_0000;
    pub const MEMORY: u64 = 0x10_1000;
    pub const CODE: u64 = 0x20_0000;
    pub const END: u64 = 0x40_0000;
}

/// The system pages: GDT and LDT, IDT, handlers, TSS, stack.
const SYSTEM_PAGES: u64 = 5;
/// Linux' GDT has 16 entries.
const GDT_BYTES: u16 = 128;
/// A vector that no exception has, for SYSCALL.
const SYSCALL_VECTOR: u8 = 0xf0;

/// Nothing is outside.
struct Nothing;

impl Platform for Nothing {
    fn memory_read(&mut self, _: CpuIndex, _: Ticks, _: GuestPhys, _: u8) -> u64 {
        0
    }
    fn memory_write(
        &mut self,
        _: CpuIndex,
        _: Ticks,
        _: GuestPhys,
        _: u8,
        _: u64,
        _: &mut dyn Dma,
    ) {
    }
    fn port_read(&mut self, _: CpuIndex, _: Ticks, _: u16, _: u8) -> u32 {
        0
    }
    fn port_write(&mut self, _: CpuIndex, _: Ticks, _: u16, _: u8, _: u32, _: &mut dyn Dma) {}
    fn apic_msr_read(&mut self, _: CpuIndex, _: Ticks, _: u32) -> Option<u64> {
        None
    }
    fn apic_msr_write(&mut self, _: CpuIndex, _: Ticks, _: u32, _: u64) -> Option<()> {
        None
    }
    fn cr8_read(&mut self, _: CpuIndex) -> u64 {
        0
    }
    fn cr8_write(&mut self, _: CpuIndex, _: Ticks, _: u64) {}
    fn signals(&mut self, _: CpuIndex, _: Ticks) -> Signals {
        Signals::default()
    }
    fn acknowledge(&mut self, _: CpuIndex, _: Ticks) -> Vector {
        Vector(0xff)
    }
    fn end_of_interrupt(&mut self, _: CpuIndex, _: Ticks) {}
    fn send_user_ipi(&mut self, _: CpuIndex, _: Ticks, _: Vector, _: u32) {}
    fn take_nmi(&mut self, _: CpuIndex) {}
    fn take_init(&mut self, _: CpuIndex) {}
    fn take_sipi(&mut self, _: CpuIndex) {}
    fn reset_local_apic(&mut self, _: CpuIndex) {}
    fn set_tsc_offset(&mut self, _: CpuIndex, _: Ticks, _: u64) {}
    fn take_reschedule(&mut self) -> bool {
        false
    }
}

/// How a sequence ended in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At its end or with an exception.
    Ended(End),
    /// Not within the limit.
    Unbounded,
    /// It met an instruction that nobody has written.
    Unimplemented,
    /// The processor shut down.
    Shutdown,
}

/// One processor and its memory, driven by one engine.
pub struct Machine {
    engine: Box<dyn Engine>,
    /// The processor as a sequence finds it, by code size.
    fresh: [Cpu; 3],
    cpu: Cpu,
    tlb: Tlb,
    ram: Ram,
    code: CodeMap,
    now: Ticks,
    instructions: u64,
    batches: u32,
    avx: bool,
}

fn descriptor(base: u32, limit: u32, attributes: u16) -> u64 {
    let (base, limit, attributes) = (u64::from(base), u64::from(limit), u64::from(attributes));
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | attributes << 40
        | (limit >> 16 & 0xf) << 48
        | (base >> 24) << 56
}

/// Linux' GDT for programs and kernel.
const SEGMENTS: [(u64, u32, u16); 7] = [
    // 32-bit kernel code, kernel code, kernel data
    (1, 0xf_ffff, 0xc09b),
    (2, 0xf_ffff, 0xa09b),
    (3, 0xf_ffff, 0xc093),
    // 32-bit code, data, code
    (4, 0xf_ffff, 0xc0fb),
    (5, 0xf_ffff, 0xc0f3),
    (6, 0xf_ffff, 0xa0fb),
    // The number of the processor
    (15, 0, 0x40f5),
];
/// 16-bit code in the LDT.
const CODE16_ATTRIBUTES: u16 = 0x80fb;
/// Its data, which Linux marks as available to software (AVL).
const DATA16_ATTRIBUTES: u16 = 0x10f3;
/// Two descriptors.
const LDT_LIMIT: u32 = 15;

fn flat(selector: u16, attributes: u16) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        attributes,
    }
}

fn processor(model: &Arc<CpuModel>, size: CodeSize) -> Cpu {
    let mut cpu = Cpu::new(CpuIndex(0), model.clone(), 1);
    let system = &mut cpu.system;
    system.cr0 = cr0::PG | cr0::PE | cr0::NE | cr0::MP | cr0::WP | cr0::AM | cr0::ET;
    let bits = cr4::PAE
        | cr4::PGE
        | cr4::OSFXSR
        | cr4::OSXMMEXCPT
        | cr4::OSXSAVE
        | cr4::FSGSBASE
        | cr4::UMIP
        | cr4::SMEP
        | cr4::SMAP;
    system.cr4 = bits & model.cr4();
    system.cr3 = physical::PML4;
    system.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    system.xcr0 = model.xcr0();
    system.gdtr.base = GDT;
    system.gdtr.limit = GDT_BYTES - 1;
    system.idtr.base = IDT;
    system.idtr.limit = 0xfff;
    system.tr = Segment {
        selector: 0x40,
        base: TSS,
        limit: 0x67,
        attributes: 0x8b,
    };
    system.ldtr = Segment {
        selector: 0x50,
        base: LDT,
        limit: LDT_LIMIT,
        attributes: 0x82,
    };
    system.lstar = HANDLERS + 16 * u64::from(SYSCALL_VECTOR);
    system.cstar = system.lstar;
    let code = match size {
        CodeSize::Bits64 => flat(selector::CODE64, 0xa0fb),
        CodeSize::Bits32 => flat(selector::CODE32, 0xc0fb),
        CodeSize::Bits16 => Segment {
            base: CODE,
            ..flat(selector::CODE16, CODE16_ATTRIBUTES)
        },
    };
    let stack = flat(selector::DATA, 0xc0f3);
    let data = match size {
        CodeSize::Bits16 => Segment {
            selector: selector::DATA16,
            base: DATA16_BASE,
            limit: DATA16_LIMIT,
            attributes: DATA16_ATTRIBUTES,
        },
        _ => stack,
    };
    let null = Segment::default();
    let other = if size == CodeSize::Bits64 { null } else { data };
    cpu.set_segment(SegmentName::Cs as u8, code);
    cpu.set_segment(SegmentName::Ss as u8, stack);
    cpu.set_segment(SegmentName::Ds as u8, other);
    cpu.set_segment(SegmentName::Es as u8, other);
    cpu.set_segment(SegmentName::Fs as u8, null);
    cpu.set_segment(SegmentName::Gs as u8, null);
    cpu
}

impl Machine {
    /// A machine whose processors have these features.
    pub fn new(engine: Box<dyn Engine>, features: FeatureSet, read_only: &[u8]) -> Machine {
        let model = Arc::new(CpuModel::default().with_features(features));
        let layout = RamLayout::new(physical::END);
        let ram = Ram::new(layout).expect("there are a few MiB");
        let fresh = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64]
            .map(|size| processor(&model, size));
        let mut machine = Machine {
            engine,
            cpu: fresh[2].clone(),
            fresh,
            tlb: Tlb::default(),
            ram,
            code: CodeMap::new(layout.size()),
            now: Ticks(0),
            instructions: 0,
            batches: 0,
            avx: model.xcr0() & ring3_arch::cr::xcr0::AVX != 0,
        };
        machine.build_tables();
        machine.put(physical::READ_ONLY, read_only);
        machine
    }

    /// The engine's name.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Whether the upper halves of vector registers exist.
    pub fn has_avx(&self) -> bool {
        self.avx
    }

    /// The components that XCR0 enables.
    pub fn components(&self) -> u64 {
        self.fresh[2].system.xcr0
    }

    /// Instructions executed so far.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    fn put(&mut self, physical: u64, bytes: &[u8]) {
        self.ram
            .write(GuestPhys(physical), bytes)
            .expect("the machine's own addresses are in RAM");
    }

    fn put_system(&mut self, linear: u64, value: u64) {
        let at = linear - SYSTEM + physical::SYSTEM;
        self.ram.write_u64(GuestPhys(at), value);
    }

    fn build_tables(&mut self) {
        use physical as at;
        const PRESENT: u64 = 1;
        const WRITABLE: u64 = 2;
        const USER: u64 = 4;
        const NO_EXECUTE: u64 = 1 << 63;
        const ALL: u64 = PRESENT | WRITABLE | USER;
        let index = |address: u64, level: u32| address >> (12 + 9 * level) & 511;
        let mut entry = |table: u64, index: u64, value: u64| {
            self.ram.write_u64(GuestPhys(table + 8 * index), value);
        };
        entry(at::PML4, 0, at::LOW_PDPT | ALL);
        entry(at::LOW_PDPT, 0, at::LOW_PD | ALL);
        entry(at::LOW_PD, index(READ_ONLY, 1), at::MEMORY_PT | ALL);
        entry(at::LOW_PD, index(CODE, 1), at::CODE_PT | ALL);
        entry(
            at::MEMORY_PT,
            0,
            at::READ_ONLY | PRESENT | USER | NO_EXECUTE,
        );
        for page in 0..MEMORY_SPAN / PAGE {
            // The same page each time.
            entry(at::MEMORY_PT, 1 + page, at::MEMORY | ALL | NO_EXECUTE);
        }
        for page in 0..CODE_BYTES as u64 / PAGE {
            entry(at::CODE_PT, page, (at::CODE + page * PAGE) | PRESENT | USER);
        }
        entry(
            at::PML4,
            index(SYSTEM, 3),
            at::HIGH_PDPT | PRESENT | WRITABLE,
        );
        entry(
            at::HIGH_PDPT,
            index(SYSTEM, 2),
            at::HIGH_PD | PRESENT | WRITABLE,
        );
        entry(
            at::HIGH_PD,
            index(SYSTEM, 1),
            at::SYSTEM_PT | PRESENT | WRITABLE,
        );
        for page in 0..SYSTEM_PAGES {
            let to = at::SYSTEM + page * PAGE;
            entry(at::SYSTEM_PT, page, to | PRESENT | WRITABLE);
        }
        for (index, limit, attributes) in SEGMENTS {
            self.put_system(GDT + 8 * index, descriptor(0, limit, attributes));
        }
        let code = descriptor(CODE as u32, 0xf_ffff, CODE16_ATTRIBUTES);
        let data = descriptor(DATA16_BASE as u32, DATA16_LIMIT, DATA16_ATTRIBUTES);
        self.put_system(LDT, code);
        self.put_system(LDT + 8, data);
        // The TSS and the LDT have descriptors of sixteen bytes.
        for (index, base, limit, attributes) in [(8, TSS, 0x67, 0x8b), (10, LDT, LDT_LIMIT, 0x82)] {
            let low = descriptor(base as u32, limit, attributes);
            self.put_system(GDT + 8 * index, low);
            self.put_system(GDT + 8 * index + 8, base >> 32);
        }
        self.put_system(TSS + 4, STACK_TOP);
        // The I/O permission map would begin behind the limit.
        self.put_system(TSS + 0x60, 0x68 << 48);
        for vector in 0..256 {
            let handler = HANDLERS + 16 * vector;
            // As with Linux, programs may use INT3 and INTO.
            let dpl = if matches!(vector, 3 | 4) { 3 } else { 0 };
            let low = handler & 0xffff
                | 0x10 << 16
                | (0x8e | dpl << 5) << 40
                | (handler >> 16 & 0xffff) << 48;
            self.put_system(IDT + 16 * vector, low);
            self.put_system(IDT + 16 * vector + 8, handler >> 32);
            const HLT: u64 = 0xf4;
            self.put_system(handler, HLT);
        }
    }

    /// All sequences of a batch: what the host has at [`CODE`].
    pub fn load_code(&mut self, code: &[u8]) {
        self.put(physical::CODE, code);
        self.engine.forget(&mut self.code);
        self.batches += 1;
        // Engines number what they have translated; well before such a number can return, the TLB
        // forgets the old ones.
        if self.batches.is_multiple_of(4096) {
            self.tlb.flush_all();
        }
    }

    /// The memory that sequences can write.
    pub fn memory(&self) -> &[u8] {
        &self.ram.bytes()[physical::MEMORY as usize..][..MEMORY_BYTES]
    }

    /// The memory that sequences can write.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.ram.bytes_mut()[physical::MEMORY as usize..][..MEMORY_BYTES]
    }

    /// Puts the processor where a sequence starts.
    pub fn load(&mut self, size: CodeSize, before: &State) {
        self.cpu.clone_from(&self.fresh[size as usize]);
        let cpu = &mut self.cpu;
        cpu.regs[..16].copy_from_slice(&before.general);
        cpu.set_rip(before.rip);
        cpu.set_rflags(before.rflags);
        cpu.x87.load_legacy_area(true, before.area.legacy());
        cpu.mxcsr = Mxcsr::from_bits(before.area.mxcsr()).unwrap_or_default();
        for n in 0..16 {
            let [low, high] = before.area.vector(n);
            cpu.vectors[n] = low;
            cpu.uppers[n] = high;
        }
        for (name, base) in [SegmentName::Fs, SegmentName::Gs]
            .into_iter()
            .zip(before.bases)
        {
            cpu.system.segments[name as usize].base = base;
        }
        cpu.refresh_bases();
    }

    /// Goes on for at most `limit` instructions.
    pub fn run(&mut self, limit: u64) -> Outcome {
        let mut platform = Nothing;
        let (stopped, instructions) = self.engine.run(
            Parts {
                cpu: &mut self.cpu,
                tlb: &mut self.tlb,
                ram: &mut self.ram,
                code: &mut self.code,
                platform: &mut platform,
                now: &mut self.now,
            },
            limit,
        );
        self.instructions += instructions;
        match stopped {
            Stopped::Halted => Outcome::Ended(self.end()),
            Stopped::Limit => Outcome::Unbounded,
            Stopped::Unimplemented => Outcome::Unimplemented,
            Stopped::Shutdown => Outcome::Shutdown,
        }
    }

    /// Whether the processor executes a program's instruction next.
    pub fn is_in_program(&self) -> bool {
        self.cpu.cpl() == 3
    }

    /// The linear address of the next instruction, and its code size.
    pub fn at(&self) -> (u64, CodeSize) {
        (self.cpu.linear_rip(), self.cpu.code_mode().size)
    }

    /// The exception whose handler has just halted.
    fn end(&self) -> End {
        let vector = (self.cpu.rip().wrapping_sub(HANDLERS) / 16) as u32;
        let cr2 = self.cpu.system.cr2;
        if vector == 14 && cr2 == EXIT && self.frame()[0] == EXIT {
            return End::default();
        }
        End {
            exception: vector + 1,
            error_code: self.error_code() as u32,
            address: if vector == 14 { cr2 } else { 0 },
        }
    }

    fn stack(&self, from_top: u64) -> u64 {
        let at = STACK_TOP - SYSTEM + physical::SYSTEM - from_top;
        self.ram.read_u64(GuestPhys(at)).unwrap_or(0)
    }

    fn error_code(&self) -> u64 {
        // Five quadwords, and perhaps an error code.
        if STACK_TOP.wrapping_sub(self.cpu.regs[4]) == 48 {
            self.stack(48)
        } else {
            0
        }
    }

    /// RIP, CS, RFLAGS, RSP, SS of the program that was interrupted.
    fn frame(&self) -> [u64; 5] {
        [40, 32, 24, 16, 8].map(|at| self.stack(at))
    }

    /// The program's registers now, or as the exception found them.
    pub fn state(&self) -> State {
        let cpu = &self.cpu;
        let mut state = State::default();
        state.general.copy_from_slice(&cpu.regs[..16]);
        state.rip = cpu.rip();
        state.rflags = cpu.rflags();
        if !self.is_in_program() {
            let [rip, _, rflags, rsp, _] = self.frame();
            state.rip = rip;
            state.rflags = rflags;
            state.general[4] = rsp;
        }
        state.rflags &= !rflags::RF;
        cpu.x87.store_legacy_area(true, state.area.legacy_mut());
        state.area.set_mxcsr(cpu.mxcsr.bits());
        for n in 0..16 {
            state.area.set_vector(n, [cpu.vectors[n], cpu.uppers[n]]);
        }
        let segment = |name: SegmentName| cpu.system.segments[name as usize];
        state.bases = [segment(SegmentName::Fs).base, segment(SegmentName::Gs).base];
        state.selectors = [
            SegmentName::Ds,
            SegmentName::Es,
            SegmentName::Fs,
            SegmentName::Gs,
            SegmentName::Cs,
            SegmentName::Ss,
        ]
        .map(|name| segment(name).selector);
        if !self.is_in_program() {
            let [_, cs, _, _, ss] = self.frame();
            state.selectors[4..].copy_from_slice(&[cs as u16, ss as u16]);
        }
        state
    }

    /// The byte at a linear address that programs can read.
    pub fn byte(&self, address: u64) -> Option<u8> {
        let physical = match address {
            READ_ONLY..MEMORY => address - READ_ONLY + physical::READ_ONLY,
            _ if (MEMORY..MEMORY + MEMORY_SPAN).contains(&address) => {
                (address - MEMORY) % PAGE + physical::MEMORY
            }
            _ if (slot(0)..CODE + CODE_BYTES as u64).contains(&address) => {
                address - CODE + physical::CODE
            }
            _ => return None,
        };
        self.ram.bytes().get(physical as usize).copied()
    }
}
