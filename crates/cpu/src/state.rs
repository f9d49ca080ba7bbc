//! The state of one logical processor.

use crate::flags::StatusFlags;
use crate::model::CpuModel;
use ring3_arch::cr::{cr0, cr4, dr, efer, xcr0};
use ring3_arch::segment::{Segment, SegmentName, attribute};
use ring3_arch::{CpuIndex, rflags};
use ring3_arithmetic::Mxcsr;
use ring3_arithmetic::x87::X87;
use ring3_clock::Ticks;
use ring3_isa::{CodeMode, CodeSize, REG_COUNT, Reg, Usability, VREG_COUNT};
use ring3_memory::{PagingState, Privilege};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the processor is doing. SDM Vol. 3, "Processor States".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Executing instructions.
    Running,
    /// After HLT: until an unmasked interrupt, NMI, INIT.
    Halted,
    /// In UMWAIT or TPAUSE until this time, an interrupt, or (UMWAIT) a store to the monitored
    /// line.
    Waiting {
        /// When the wait ends by itself.
        until: Ticks,
        /// The line that UMONITOR armed, for UMWAIT.
        monitor: Option<u64>,
    },
    /// After PAUSE: executes nothing until this time, but is not asleep.
    Pausing {
        /// When the next instruction is due.
        until: Ticks,
    },
    /// After INIT, until a start-up IPI.
    WaitForSipi,
    /// After a triple fault.
    Shutdown,
}

/// Blocking by the previous instruction. SDM Vol. 3, "Masking Exceptions and Interrupts When
/// Switching Stacks".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shadow {
    /// None.
    #[default]
    None,
    /// STI has just set IF: no maskable interrupt yet.
    Sti,
    /// MOV SS or POP SS: no interrupt, no debug trap yet.
    MovSs,
}

/// A table register (GDTR, IDTR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear address of the first entry.
    pub base: u64,
    /// Last valid byte.
    pub limit: u16,
}

/// Everything that system software controls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SystemState {
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [Segment; 6],
    pub ldtr: Segment,
    pub tr: Segment,
    pub gdtr: TableRegister,
    pub idtr: TableRegister,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    /// PDPTE registers of PAE paging.
    pub pdpte: [u64; 4],
    pub dr: [u64; 4],
    pub dr6: u64,
    pub dr7: u64,
    pub xcr0: u64,
    pub xss: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub tsc_aux: u64,
    pub sysenter: [u64; 3],
    pub pat: u64,
    pub misc_enable: u64,
    pub tsc_adjust: u64,
    pub umwait_control: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_variable: [u64; 16],
    pub spec_ctrl: u64,
    pub debugctl: u64,
    pub mcg_status: u64,
}

/// One logical processor at an instruction boundary.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cpu {
    /// The integer registers of the micro-op machine, by [`Reg`].
    pub regs: [u64; REG_COUNT],
    /// CF, PF, AF, ZF, SF, OF.
    pub flags: StatusFlags,
    /// The rest of RFLAGS; the status bits here are zero.
    pub system_flags: u64,
    /// XMM registers and vector temporaries, by [`ring3_isa::VReg`].
    pub vectors: [u128; VREG_COUNT],
    /// Bits 255:128 of the same registers: apart, so that SSE has nothing to do with them.
    pub uppers: [u128; VREG_COUNT],
    /// SSE control and status.
    pub mxcsr: Mxcsr,
    /// x87 and MMX.
    pub x87: X87,
    /// System registers.
    pub system: SystemState,
    /// User interrupts.
    pub uintr: ring3_uintr::State,
    /// What it is doing.
    pub activity: Activity,
    /// Blocking by the previous instruction.
    pub shadow: Shadow,
    /// NMIs are blocked until IRET.
    pub nmi_blocked: bool,
    /// DR6 bits of a debug trap that is due at this boundary.
    pub pending_debug: u64,
    /// The current instruction does not single-step because of the TF that it began with.
    pub single_step_suppressed: bool,
    /// The line that UMONITOR armed.
    pub monitor: Option<u64>,
    /// State of the generator behind RDRAND.
    pub random: u64,
    /// Which processor of the machine.
    pub index: CpuIndex,
    /// Its identity.
    #[serde(skip)]
    pub model: Arc<CpuModel>,
    /// CPL, kept apart because everything asks for it.
    cpl: u8,
}

impl Cpu {
    /// A processor after power-on. SDM Vol. 3, "Processor State After Reset".
    pub fn new(index: CpuIndex, model: Arc<CpuModel>, seed: u64) -> Cpu {
        let mut cpu = Cpu {
            regs: [0; REG_COUNT],
            flags: StatusFlags::default(),
            system_flags: 0,
            vectors: [0; VREG_COUNT],
            uppers: [0; VREG_COUNT],
            mxcsr: Mxcsr::default(),
            x87: X87::RESET,
            system: SystemState {
                segments: [Segment::default(); 6],
                ldtr: Segment::default(),
                tr: Segment::default(),
                gdtr: TableRegister::default(),
                idtr: TableRegister::default(),
                cr0: 0,
                cr2: 0,
                cr3: 0,
                cr4: 0,
                efer: 0,
                pdpte: [0; 4],
                dr: [0; 4],
                dr6: 0,
                dr7: 0,
                xcr0: 1,
                xss: 0,
                star: 0,
                lstar: 0,
                cstar: 0,
                fmask: 0,
                kernel_gs_base: 0,
                tsc_aux: 0,
                sysenter: [0; 3],
                pat: 0x0007_0406_0007_0406,
                misc_enable: 1,
                tsc_adjust: 0,
                umwait_control: 0,
                mtrr_def_type: 0,
                mtrr_fixed: [0; 11],
                mtrr_variable: [0; 16],
                spec_ctrl: 0,
                debugctl: 0,
                mcg_status: 0,
            },
            uintr: ring3_uintr::State::default(),
            activity: Activity::Running,
            shadow: Shadow::None,
            nmi_blocked: false,
            pending_debug: 0,
            single_step_suppressed: false,
            monitor: None,
            // Any odd constant keeps the processors' sequences apart.
            random: seed ^ (u64::from(index.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            index,
            model,
            cpl: 0,
        };
        cpu.init();
        if index.0 != 0 {
            cpu.activity = Activity::WaitForSipi;
        }
        cpu
    }

    /// INIT: back to the state after reset, except for what INIT leaves alone. SDM Vol. 3,
    /// "Processor State After Reset". The user-interrupt state becomes zero.
    pub fn init(&mut self) {
        self.regs = [0; REG_COUNT];
        self.regs[Reg::Rdx as usize] = self.model.signature().into();
        self.regs[Reg::Rip as usize] = 0xfff0;
        self.set_rflags(rflags::ALWAYS);
        let data = Segment {
            selector: 0,
            base: 0,
            limit: 0xffff,
            attributes: 0x93,
        };
        for segment in &mut self.system.segments {
            *segment = data;
        }
        for name in [0, 2, 3, 4, 5] {
            self.set_segment(name, data);
        }
        self.set_segment(
            SegmentName::Cs as u8,
            Segment {
                selector: 0xf000,
                base: 0xffff_0000,
                limit: 0xffff,
                attributes: 0x9b,
            },
        );
        let system = &mut self.system;
        system.ldtr = Segment {
            attributes: 0x82,
            limit: 0xffff,
            ..Segment::default()
        };
        system.tr = Segment {
            attributes: 0x8b,
            limit: 0xffff,
            ..Segment::default()
        };
        system.gdtr = TableRegister {
            base: 0,
            limit: 0xffff,
        };
        system.idtr = TableRegister {
            base: 0,
            limit: 0xffff,
        };
        system.cr0 = (system.cr0 & (cr0::CD | cr0::NW)) | cr0::ET;
        system.cr2 = 0;
        system.cr3 = 0;
        system.cr4 = 0;
        system.efer = 0;
        system.dr = [0; 4];
        system.dr6 = dr::DR6_FIXED;
        system.dr7 = dr::DR7_FIXED;
        system.xss = 0;
        self.uintr = ring3_uintr::State::default();
        self.activity = if self.index.0 == 0 {
            Activity::Running
        } else {
            Activity::WaitForSipi
        };
        self.shadow = Shadow::None;
        self.nmi_blocked = false;
        self.pending_debug = 0;
        self.monitor = None;
        self.cpl = 0;
    }

    /// SIPI: starts in real mode at page `page`. SDM Vol. 3, "MP Initialization".
    pub fn start_up(&mut self, page: u8) {
        self.set_segment(
            SegmentName::Cs as u8,
            Segment {
                selector: u16::from(page) << 8,
                base: u64::from(page) << 12,
                limit: 0xffff,
                attributes: 0x9b,
            },
        );
        self.regs[Reg::Rip as usize] = 0;
        self.activity = Activity::Running;
    }

    /// A general or other register.
    #[inline(always)]
    pub fn reg(&self, reg: Reg) -> u64 {
        self.regs[reg as usize]
    }

    /// Replaces a register.
    #[inline(always)]
    pub fn set_reg(&mut self, reg: Reg, value: u64) {
        self.regs[reg as usize] = value;
    }

    /// RIP (EIP, IP) of the next instruction.
    #[inline(always)]
    pub fn rip(&self) -> u64 {
        self.regs[Reg::Rip as usize]
    }

    /// Replaces RIP.
    #[inline(always)]
    pub fn set_rip(&mut self, rip: u64) {
        self.regs[Reg::Rip as usize] = rip;
    }

    /// The linear address of the next instruction.
    #[inline(always)]
    pub fn linear_rip(&self) -> u64 {
        if self.is_long_code() {
            self.rip()
        } else {
            (self.rip() + self.regs[Reg::CsBase as usize]) & 0xffff_ffff
        }
    }

    /// All of RFLAGS.
    pub fn rflags(&self) -> u64 {
        self.system_flags | self.flags.bits() | rflags::ALWAYS
    }

    /// Replaces all of RFLAGS (reserved bits are dropped).
    pub fn set_rflags(&mut self, value: u64) {
        use rflags::*;
        self.flags.set_bits(value);
        let system = TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
        self.system_flags = value & system;
    }

    /// Whether a bit of RFLAGS other than the status flags is set.
    #[inline(always)]
    pub fn has_flag(&self, bit: u64) -> bool {
        self.system_flags & bit != 0
    }

    /// Current privilege level.
    #[inline(always)]
    pub fn cpl(&self) -> u8 {
        self.cpl
    }

    /// I/O privilege level.
    pub fn iopl(&self) -> u8 {
        ((self.system_flags & rflags::IOPL) >> rflags::IOPL_SHIFT) as u8
    }

    /// A segment register.
    pub fn segment(&self, name: SegmentName) -> &Segment {
        &self.system.segments[name as usize]
    }

    /// Replaces segment register `number`; loading CS sets CPL from the selector (or, in real
    /// mode, to 0; in virtual-8086 mode to 3).
    pub fn set_segment(&mut self, number: u8, segment: Segment) {
        let at = (number as usize).min(5);
        self.system.segments[at] = segment;
        if number == SegmentName::Cs as u8 {
            self.cpl = if self.system_flags & rflags::VM != 0 {
                3
            } else if self.system.cr0 & cr0::PE != 0 {
                (segment.selector & 3) as u8
            } else {
                0
            };
        }
        self.refresh_bases();
    }

    /// Sets CPL apart from CS (SYSCALL and SYSRET load fixed selectors; leaving real mode keeps 0).
    pub fn set_cpl(&mut self, cpl: u8) {
        self.cpl = cpl;
    }

    /// The micro-op machine's segment bases follow the segment registers; in 64-bit mode all but
    /// FS and GS count as zero.
    pub fn refresh_bases(&mut self) {
        let long = self.is_long_code();
        for number in 0..6u8 {
            let base = self.system.segments[number as usize].base;
            let base = if long && number < 4 { 0 } else { base };
            self.regs[Reg::segment_base(number) as usize] = base;
        }
    }

    /// EFER.LMA.
    #[inline]
    pub fn is_long_mode(&self) -> bool {
        self.system.efer & efer::LMA != 0
    }

    /// 64-bit mode: EFER.LMA and CS.L.
    #[inline]
    pub fn is_long_code(&self) -> bool {
        self.is_long_mode() && self.system.segments[1].attributes & attribute::L != 0
    }

    /// CR0.PE.
    pub fn is_protected(&self) -> bool {
        self.system.cr0 & cr0::PE != 0
    }

    /// RFLAGS.VM in protected mode.
    pub fn is_virtual_8086(&self) -> bool {
        self.is_protected() && self.has_flag(rflags::VM)
    }

    /// Whether `address` is canonical (48 bits; LA57 is not supported).
    #[inline]
    pub fn is_canonical(&self, address: u64) -> bool {
        ring3_arch::GuestVirt(address).is_canonical(48)
    }

    /// How the bytes at RIP are to be read.
    pub fn code_mode(&self) -> CodeMode {
        let system = &self.system;
        let size = if self.is_long_code() {
            CodeSize::Bits64
        } else if system.segments[1].attributes & attribute::DB != 0 {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        };
        let x87 = if system.cr0 & (cr0::EM | cr0::TS) != 0 {
            Usability::NotAvailable
        } else {
            Usability::Usable
        };
        let mmx = if system.cr0 & cr0::EM != 0 {
            Usability::Undefined
        } else {
            x87
        };
        let wait = if system.cr0 & (cr0::MP | cr0::TS) == cr0::MP | cr0::TS {
            Usability::NotAvailable
        } else {
            Usability::Usable
        };
        let sse = if system.cr0 & cr0::EM != 0 || system.cr4 & cr4::OSFXSR == 0 {
            Usability::Undefined
        } else if system.cr0 & cr0::TS != 0 {
            Usability::NotAvailable
        } else {
            Usability::Usable
        };
        let both = xcr0::SSE | xcr0::AVX;
        let avx = if system.cr4 & cr4::OSXSAVE == 0 || system.xcr0 & both != both {
            Usability::Undefined
        } else if system.cr0 & cr0::TS != 0 {
            Usability::NotAvailable
        } else {
            Usability::Usable
        };
        CodeMode {
            size,
            stack32: system.segments[2].attributes & attribute::DB != 0,
            real: !self.is_protected() || self.has_flag(rflags::VM),
            x87,
            mmx,
            wait,
            sse,
            avx,
            uintr: system.cr4 & cr4::UINTR != 0,
            features: self.model.features(),
        }
    }

    /// A number that differs whenever [`Cpu::code_mode`] or the right to execute a page differs.
    pub fn fetch_key(&self) -> u32 {
        let mode = self.code_mode();
        mode.size as u32
            | u32::from(mode.stack32) << 2
            | u32::from(mode.real) << 3
            // Whether x87 can be used follows from whether MMX can.
            | (mode.mmx as u32) << 4
            | (mode.wait as u32) << 6
            | (mode.sse as u32) << 8
            | u32::from(mode.uintr) << 10
            | u32::from(self.cpl == 3) << 11
            | (mode.avx as u32) << 12
    }

    /// What address translation depends on.
    pub fn paging(&self) -> PagingState {
        let system = &self.system;
        PagingState {
            enabled: system.cr0 & cr0::PG != 0,
            write_protect: system.cr0 & cr0::WP != 0,
            pae: system.cr4 & cr4::PAE != 0,
            pse: system.cr4 & cr4::PSE != 0,
            global: system.cr4 & cr4::PGE != 0,
            smep: system.cr4 & cr4::SMEP != 0,
            smap: system.cr4 & cr4::SMAP != 0,
            nxe: system.efer & efer::NXE != 0,
            long: self.is_long_mode(),
            root: system.cr3 & !0xfff,
            pdpte: system.pdpte,
        }
    }

    /// The PCID in use (0 when CR4.PCIDE is clear).
    pub fn pcid(&self) -> u16 {
        if self.system.cr4 & cr4::PCIDE != 0 {
            (self.system.cr3 & 0xfff) as u16
        } else {
            0
        }
    }

    /// The privilege of explicit memory accesses.
    pub fn privilege(&self) -> Privilege {
        if self.cpl == 3 {
            Privilege::User
        } else if self.system.cr4 & cr4::SMAP != 0 && !self.has_flag(rflags::AC) {
            Privilege::Supervisor
        } else {
            Privilege::SupervisorOpen
        }
    }

    /// Whether alignment is checked now: CR0.AM, RFLAGS.AC and CPL 3.
    pub fn checks_alignment(&self) -> bool {
        self.cpl == 3 && self.system.cr0 & cr0::AM != 0 && self.has_flag(rflags::AC)
    }

    /// Whether a breakpoint on data is enabled in DR7.
    pub fn watches_data(&self) -> bool {
        let dr7 = self.system.dr7;
        (0..4).any(|n| dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 1 != 0)
    }

    /// The next number of the generator behind RDRAND and RDSEED (SplitMix64).
    pub fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The state in the form that compares equal when the guest could not tell a difference:
    /// temporaries cleared, flags in one representation.
    pub fn canonical(&self) -> Cpu {
        let mut cpu = self.clone();
        for reg in &mut cpu.regs[Reg::T0 as usize..] {
            *reg = 0;
        }
        cpu.vectors[16..].fill(0);
        cpu.uppers[16..].fill(0);
        cpu.flags = cpu.flags.canonical();
        cpu
    }
}
