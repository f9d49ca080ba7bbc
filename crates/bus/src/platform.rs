//! What a processor sees outside its own registers and RAM.

use crate::Dma;
use ring3_arch::{CpuIndex, GuestPhys, Vector};
use ring3_clock::Ticks;

/// What waits at a processor's pins, as its local APIC shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// A maskable interrupt could be acknowledged now (priorities already considered).
    pub interrupt: bool,
    /// A non-maskable interrupt is latched.
    pub nmi: bool,
    /// INIT is latched.
    pub init: bool,
    /// A start-up IPI with this vector page is latched; meaningful in wait-for-SIPI.
    pub sipi: Option<u8>,
}

impl Signals {
    /// Whether anything at all waits.
    pub fn any(self) -> bool {
        self.interrupt || self.nmi || self.init || self.sipi.is_some()
    }
}

/// Everything a processor reaches that is not RAM.
///
/// Engines call these only at points where the processor's virtual time `now` is exact.
pub trait Platform {
    /// Reads a memory-mapped register; `size` is 1, 2, 4 or 8.
    fn memory_read(&mut self, cpu: CpuIndex, now: Ticks, address: GuestPhys, size: u8) -> u64;

    /// Writes a memory-mapped register. A device that the write sets to work reaches RAM through
    /// `dma`.
    fn memory_write(
        &mut self,
        cpu: CpuIndex,
        now: Ticks,
        address: GuestPhys,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
    );

    /// IN: `size` is 1, 2 or 4.
    fn port_read(&mut self, cpu: CpuIndex, now: Ticks, port: u16, size: u8) -> u32;

    /// OUT: `size` is 1, 2 or 4; `dma` as for [`Platform::memory_write`].
    #[allow(clippy::too_many_arguments)]
    fn port_write(
        &mut self,
        cpu: CpuIndex,
        now: Ticks,
        port: u16,
        size: u8,
        value: u32,
        dma: &mut dyn Dma,
    );

    /// RDMSR of a local APIC register: IA32_APIC_BASE, IA32_TSC_DEADLINE or 0x800..=0x8FF.
    /// `None` is #GP(0).
    fn apic_msr_read(&mut self, cpu: CpuIndex, now: Ticks, msr: u32) -> Option<u64>;

    /// WRMSR of the same; `None` is #GP(0).
    fn apic_msr_write(&mut self, cpu: CpuIndex, now: Ticks, msr: u32, value: u64) -> Option<()>;

    /// MOV from CR8: the task-priority class, 0..=15.
    fn cr8_read(&mut self, cpu: CpuIndex) -> u64;

    /// MOV to CR8; `class` is 0..=15.
    fn cr8_write(&mut self, cpu: CpuIndex, now: Ticks, class: u64);

    /// What waits at the pins of `cpu`.
    fn signals(&mut self, cpu: CpuIndex, now: Ticks) -> Signals;

    /// The interrupt-acknowledge cycle: moves the highest request into service and returns it.
    /// A spurious vector is a vector too.
    fn acknowledge(&mut self, cpu: CpuIndex, now: Ticks) -> Vector;

    /// Writes 0 to the EOI register of `cpu`'s local APIC (in whichever mode it is), as
    /// user-interrupt notification identification does.
    fn end_of_interrupt(&mut self, cpu: CpuIndex, now: Ticks);

    /// Sends the IPI of SENDUIPI: fixed, physical, edge, to the identifier in `ndst` read in the
    /// current APIC mode (x2APIC: 32 bits; xAPIC: bits 15:8).
    fn send_user_ipi(&mut self, cpu: CpuIndex, now: Ticks, vector: Vector, ndst: u32);

    /// Takes a latched NMI, INIT or SIPI off the pins.
    fn take_nmi(&mut self, cpu: CpuIndex);
    /// See [`Platform::take_nmi`].
    fn take_init(&mut self, cpu: CpuIndex);
    /// See [`Platform::take_nmi`].
    fn take_sipi(&mut self, cpu: CpuIndex);

    /// INIT or power-on: the local APIC of `cpu` returns to its state at reset.
    fn reset_local_apic(&mut self, cpu: CpuIndex);

    /// The TSC of `cpu` now differs from virtual time by `offset` (IA32_TSC or IA32_TSC_ADJUST was
    /// written); TSC-deadline timers compare with the TSC.
    fn set_tsc_offset(&mut self, cpu: CpuIndex, now: Ticks, offset: u64);

    /// Whether the slice must end after the current instruction, because something outside the
    /// processor changed when the next event is or who runs (a timer was set, an IPI was sent,
    /// the machine was powered off). Asking clears it.
    fn take_reschedule(&mut self) -> bool;
}

/// A platform with nothing on it, for processors alone: reads give ones as on an empty bus, writes are lost, and no
/// interrupt ever comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Platform for Nothing {
    fn memory_read(&mut self, _: CpuIndex, _: Ticks, _: GuestPhys, size: u8) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
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
    fn port_read(&mut self, _: CpuIndex, _: Ticks, _: u16, size: u8) -> u32 {
        u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))
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
