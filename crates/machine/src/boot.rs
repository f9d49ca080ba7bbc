//! Applies a boot image: memory, and the state in which the bootstrap processor starts.

use crate::machine::Machine;
use ring3_arch::GuestPhys;
use ring3_arch::segment::Segment;
use ring3_boot::{ApplyError, BootImage, PhysicalMemory, StartState, WriteError};
use ring3_cpu::Cpu;
use ring3_cpu::state::TableRegister;
use ring3_isa::Reg;
use ring3_memory::{CodeMap, Ram};
use thiserror::Error;

/// A boot image could not be applied.
#[derive(Debug, Error)]
pub enum BootFailure {
    /// It does not fit this machine's memory.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

struct Target<'a> {
    ram: &'a mut Ram,
    code: &'a mut CodeMap,
}

impl PhysicalMemory for Target<'_> {
    fn write(&mut self, address: GuestPhys, bytes: &[u8]) -> Result<(), WriteError> {
        let length = bytes.len() as u64;
        self.ram
            .write(address, bytes)
            .map_err(|_| WriteError { address, length })?;
        if let Some(offset) = self.ram.layout().offset(address) {
            self.code.written(offset, length);
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.ram.layout().size()
    }
}

impl Machine {
    /// Writes a boot image into memory and prepares the bootstrap processor.
    ///
    /// # Errors
    /// If the image was made for another machine.
    pub fn apply(&mut self, image: &BootImage) -> Result<(), BootFailure> {
        image.write_to(&mut Target {
            ram: &mut self.ram,
            code: &mut self.code,
        })?;
        // Firmware leaves the 8259 pair connected through LINT0. MultiProcessor Specification 1.4,
        // "Virtual Wire Mode".
        self.chipset.apics[0].enter_virtual_wire_mode();
        let cpu = &mut self.cpus[0];
        // Firmware hands processors over with write-back memory by default: MTRRs enabled, default
        // type WB.
        cpu.system.mtrr_def_type = 0xc06;
        cpu.system.idtr = TableRegister::default();
        match &image.start {
            StartState::Long64(start) => {
                cpu.system.cr0 = start.cr0;
                cpu.system.cr3 = start.cr3.0;
                cpu.system.cr4 = start.cr4;
                cpu.system.efer = start.efer;
                cpu.system.gdtr = TableRegister {
                    base: start.gdt.base.0,
                    limit: start.gdt.limit,
                };
                cpu.set_rflags(start.rflags);
                set_segments(cpu, start.code, start.data);
                cpu.set_rip(start.rip);
                cpu.set_reg(Reg::Rsp, start.rsp);
                cpu.set_reg(Reg::Rsi, start.rsi);
                cpu.set_reg(Reg::Rdx, 0);
            }
            StartState::Protected32(start) => {
                cpu.system.cr0 = start.cr0;
                cpu.system.cr4 = start.cr4;
                cpu.system.gdtr = TableRegister {
                    base: start.gdt.base.0,
                    limit: start.gdt.limit,
                };
                cpu.set_rflags(start.rflags);
                set_segments(cpu, start.code, start.data);
                cpu.set_rip(start.eip.into());
                cpu.set_reg(Reg::Rax, start.eax.into());
                cpu.set_reg(Reg::Rbx, start.ebx.into());
                cpu.set_reg(Reg::Rsp, start.esp.into());
                cpu.set_reg(Reg::Rdx, 0);
            }
        }
        Ok(())
    }
}

fn set_segments(cpu: &mut Cpu, code: Segment, data: Segment) {
    cpu.set_segment(1, code);
    for number in [0, 2, 3, 4, 5] {
        cpu.set_segment(number, data);
    }
    cpu.refresh_bases();
}
