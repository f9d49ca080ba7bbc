//! The loop.

use crate::config::MachineConfig;
use crate::log::Warnings;
use crate::pc::{self, PciHandles};
use crate::platform::{Chipset, local_apics};
use ring3_arch::{CpuIndex, rflags};
use ring3_boot::acpi::AcpiParameters;
use ring3_bus::Platform;
use ring3_clock::Ticks;
use ring3_cpu::{Activity, Cpu, CpuModel, FunctionalMemory, RamDma};
use ring3_interpreter::{BlockStore, Exit};
use ring3_memory::{CodeMap, Ram, RamLayout, Tlb};
use ring3_virtio::blk::ReadOnly;
use std::sync::Arc;

/// Bytes that a device gave to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which stream: 0 is the serial port, from 1 on the console ports in order.
    pub stream: u32,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// Why [`Machine::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The limit of instructions was reached.
    InstructionLimit,
    /// There is output to look at.
    Output,
    /// The guest powered the machine off; a debug-exit port gives a status.
    PowerOff(Option<u32>),
    /// The guest asked for a reset.
    Reset,
    /// A processor shut down after a triple fault.
    TripleFault(CpuIndex),
    /// Every processor waits and no event is scheduled: only input can change that.
    Idle,
    /// An advertised instruction is not implemented.
    Unimplemented {
        /// On which processor.
        cpu: CpuIndex,
        /// Where (RIP).
        rip: u64,
        /// Its first bytes.
        bytes: Vec<u8>,
        /// Its disassembly.
        text: String,
    },
}

/// The disk could not take its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The machine was built without one.
    #[error("the machine has no disk; build it with one")]
    None,
    /// Too large, for instance.
    #[error("{0}")]
    Refused(String),
}

/// One turn of every processor, from the machine's current time to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Round {
    end: Ticks,
    /// Whose turn it is.
    turn: usize,
    /// Whether anybody has executed anything.
    ran: bool,
    /// When the first of those that wait wants to go on.
    earliest_wake: Ticks,
    /// It was interrupted for breath, in a [`Machine::run_briefly`] that wants to go on until so many
    /// instructions have been executed.
    pub(crate) breath: Option<u64>,
}

/// A machine.
pub struct Machine {
    pub(crate) config: MachineConfig,
    pub(crate) cpus: Vec<Cpu>,
    /// Each processor's virtual time.
    pub(crate) times: Vec<Ticks>,
    pub(crate) tlbs: Vec<Tlb>,
    pub(crate) ram: Ram,
    pub(crate) code: CodeMap,
    pub(crate) store: BlockStore,
    pub(crate) chipset: Chipset,
    handles: PciHandles,
    pub(crate) now: Ticks,
    pub(crate) instructions: u64,
    /// A round that was interrupted: by the limit of instructions, or for breath.
    pub(crate) round: Option<Round>,
}

/// The longest slice without looking outside, so that a host program stays responsive.
const SLICE_MAX: u64 = 1 << 20;

impl Machine {
    /// Builds a machine after power-on.
    ///
    /// # Errors
    /// If the host refuses the memory.
    pub fn new(config: MachineConfig) -> std::io::Result<Machine> {
        let ram = Ram::new(RamLayout::new(config.memory_bytes))?;
        Ok(Machine::with_ram(config, ram))
    }

    /// Builds a machine around existing memory.
    pub(crate) fn with_ram(config: MachineConfig, ram: Ram) -> Machine {
        let model = Arc::new(CpuModel::of(config.cpu, config.cpus));
        let cpus = (0..config.cpus)
            .map(|n| Cpu::new(CpuIndex(n), model.clone(), config.seed))
            .collect::<Vec<_>>();
        let (devices, handles) = pc::devices(&config);
        let chipset = Chipset::new(devices, local_apics(config.cpus));
        Machine {
            times: vec![Ticks(0); cpus.len()],
            tlbs: cpus.iter().map(|_| Tlb::default()).collect(),
            cpus,
            code: CodeMap::new(ram.layout().size()),
            ram,
            store: BlockStore::new(),
            chipset,
            handles,
            now: Ticks(0),
            instructions: 0,
            round: None,
            config,
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// What ACPI tables should say about it.
    pub fn acpi(&self) -> AcpiParameters {
        pc::acpi(&self.config, &self.chipset.devices)
    }

    /// Gives input to console port `port` (counted from 0) and returns how many bytes it took.
    pub fn port_input(&mut self, port: u32, bytes: &[u8]) -> usize {
        let Some(handle) = self.handles.console else {
            return 0;
        };
        let mut dma = RamDma {
            ram: &mut self.ram,
            code: &mut self.code,
        };
        let mut effects = Vec::new();
        let now = self.now;
        let taken = self
            .chipset
            .devices
            .pci
            .enter(handle, &mut effects, |console, effects| {
                console.input(now, port, bytes, &mut dma, effects)
            });
        self.chipset.carry_out(effects);
        taken
    }

    /// Gives input to the serial port and returns how many bytes it took.
    pub fn serial_input(&mut self, bytes: &[u8]) -> usize {
        let mut effects = Vec::new();
        let taken = self
            .chipset
            .devices
            .uart
            .receive(self.now, bytes, &mut effects);
        self.chipset.carry_out(effects);
        taken
    }

    /// The number of the console port called `name`, counted from 0.
    pub fn port(&self, name: &str) -> Option<u32> {
        self.config
            .console_ports
            .iter()
            .position(|port| port == name)
            .map(|n| n as u32)
    }

    /// Puts `content` onto the disk, read-only; the disk keeps its size, and reads beyond the
    /// content give zeros.
    ///
    /// # Errors
    /// If there is no disk or the content is larger than it.
    pub fn set_disk(&mut self, content: Arc<[u8]>) -> Result<(), DiskError> {
        let handle = self.handles.disk.ok_or(DiskError::None)?;
        let mut effects = Vec::new();
        let backend = Box::new(ReadOnly::new(content));
        let result = self
            .chipset
            .devices
            .pci
            .enter(handle, &mut effects, |disk, _| {
                disk.replace_backend(backend)
            });
        self.chipset.carry_out(effects);
        result.map_err(|error| DiskError::Refused(error.to_string()))
    }

    /// Virtual time.
    pub fn now(&self) -> Ticks {
        self.now
    }

    /// Instructions executed by all processors.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// A processor.
    pub fn cpu(&self, index: CpuIndex) -> &Cpu {
        &self.cpus[index.0 as usize]
    }

    /// RAM.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// The warnings so far.
    pub fn warnings(&mut self) -> &mut Warnings {
        &mut self.chipset.warnings
    }

    /// Takes the oldest output.
    pub fn take_output(&mut self) -> Option<Output> {
        self.chipset.outputs.pop_front()
    }

    /// Runs until `limit` instructions have been executed in total, or something must be looked at.
    pub fn run(&mut self, limit: u64) -> Stop {
        loop {
            if let Some(stop) = self.pending_stop(limit) {
                return stop;
            }
            if let Some(stop) = self.round(limit) {
                return stop;
            }
        }
    }

    pub(crate) fn pending_stop(&mut self, limit: u64) -> Option<Stop> {
        if !self.chipset.outputs.is_empty() {
            return Some(Stop::Output);
        }
        if let Some(status) = self.chipset.power_off {
            return Some(Stop::PowerOff(status));
        }
        if self.chipset.reset {
            return Some(Stop::Reset);
        }
        (self.instructions >= limit).then_some(Stop::InstructionLimit)
    }

    /// Gives every processor one turn and time the chance to pass.
    pub(crate) fn round(&mut self, limit: u64) -> Option<Stop> {
        let due = self.chipset.next_deadline();
        if due <= self.now && self.round.is_none() {
            let mut dma = RamDma {
                ram: &mut self.ram,
                code: &mut self.code,
            };
            self.chipset.advance(self.now, &mut dma);
            return None;
        }
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin_round(due),
        };
        round.breath = None;
        let stop = self.continue_round(&mut round, limit);
        let unfinished = stop == Some(Stop::InstructionLimit) || round.breath.is_some();
        if round.turn < self.cpus.len() && unfinished {
            self.round = Some(round);
        }
        stop
    }

    fn begin_round(&mut self, due: Ticks) -> Round {
        let busy = (0..self.cpus.len()).filter(|&n| self.is_busy(n)).count();
        let slice = if busy > 1 {
            self.config.quantum_ticks
        } else {
            SLICE_MAX
        };
        let mut end = self.now.saturating_add(Ticks(slice)).min(due);
        for cpu in &self.cpus {
            if let Activity::Waiting { until, .. } = cpu.activity
                && until > self.now
            {
                end = end.min(until);
            }
        }
        Round {
            end,
            turn: 0,
            ran: false,
            earliest_wake: Ticks::NEVER,
            breath: None,
        }
    }

    /// Gives the processors that have not had their turn yet theirs. The limit can interrupt the
    /// round anywhere; going on later continues it as if nothing had been, so that how a run is cut
    /// makes no difference to it.
    fn continue_round(&mut self, round: &mut Round, limit: u64) -> Option<Stop> {
        while round.turn < self.cpus.len() {
            let n = round.turn;
            if self.times[n] < self.now {
                self.times[n] = self.now;
            }
            while self.times[n] < round.end {
                if self.instructions >= limit {
                    return Some(Stop::InstructionLimit);
                }
                let reach = self.times[n].saturating_add(Ticks(limit - self.instructions));
                let outcome = self.slice(n, round.end.min(reach));
                self.instructions += outcome.instructions;
                round.ran |= outcome.instructions > 0;
                match outcome.exit {
                    Exit::SliceEnd => {}
                    Exit::Idle(until) if until < round.end => {
                        // PAUSE, or a wait that ends within this slice.
                        self.times[n] = until;
                        round.ran = true;
                    }
                    Exit::Idle(until) => {
                        // Its time stands still, so that it can be woken at any time.
                        round.earliest_wake = round.earliest_wake.min(until);
                        break;
                    }
                    Exit::Reschedule => {
                        // A timer was set or somebody was woken: the round ends here, for all.
                        round.end = round.end.min(self.times[n]);
                        round.ran = true;
                    }
                    Exit::Shutdown => {
                        self.now = self.times[n];
                        return Some(Stop::TripleFault(CpuIndex(n as u32)));
                    }
                    Exit::Unimplemented => return Some(self.unimplemented(n)),
                    Exit::Breath => {
                        round.breath = Some(0);
                        return None;
                    }
                }
                if self.chipset.power_off.is_some() || self.chipset.reset {
                    // The machine's last moment, however the run to it was cut.
                    self.now = self.times[n];
                    return None;
                }
            }
            round.turn += 1;
        }
        if round.ran {
            self.now = round.end;
            return None;
        }
        // Everybody waits: on to the next event.
        let next = round.earliest_wake.min(self.chipset.next_deadline());
        if next == Ticks::NEVER || self.has_ended() {
            return Some(Stop::Idle);
        }
        self.now = next.max(round.end);
        None
    }

    /// Whether every processor has halted for good, whatever timers still run: with interrupts disabled, and
    /// no device that could interrupt it all the same. It is how kernels end that cannot switch the machine
    /// off, and without this the machine would count timer periods for ever.
    fn has_ended(&self) -> bool {
        let deaf = |cpu: &Cpu| match cpu.activity {
            Activity::Halted => !cpu.has_flag(rflags::IF),
            Activity::WaitForSipi => true,
            _ => false,
        };
        self.cpus.iter().all(deaf) && !self.chipset.may_interrupt_the_unwilling()
    }

    fn is_busy(&mut self, n: usize) -> bool {
        let cpu = &self.cpus[n];
        match cpu.activity {
            Activity::Running | Activity::Pausing { .. } => true,
            _ => self.chipset.signals(cpu.index, self.now).any(),
        }
    }

    fn slice(&mut self, n: usize, end: Ticks) -> ring3_interpreter::Outcome {
        let cpu = &mut self.cpus[n];
        let mut memory = FunctionalMemory::new(
            cpu,
            &mut self.tlbs[n],
            &mut self.ram,
            &mut self.code,
            &mut self.chipset,
            self.times[n],
        );
        let outcome = ring3_interpreter::run(&mut self.store, cpu, &mut memory, end);
        self.times[n] = memory.now;
        outcome
    }

    fn unimplemented(&mut self, n: usize) -> Stop {
        let cpu = &self.cpus[n];
        let (rip, linear) = (cpu.rip(), cpu.linear_rip());
        let size = cpu.code_mode().size;
        let cpl = cpu.cpl();
        let mut memory = FunctionalMemory::new(
            cpu,
            &mut self.tlbs[n],
            &mut self.ram,
            &mut self.code,
            &mut self.chipset,
            self.times[n],
        );
        let mut bytes = Vec::new();
        for offset in 0..15 {
            let Ok(Some(at)) = memory.fetch(linear.wrapping_add(offset), cpl) else {
                break;
            };
            bytes.push(ring3_cpu::Memory::ram(&mut memory)[at as usize]);
        }
        let text = ring3_isa::disassemble(&bytes, size, rip);
        Stop::Unimplemented {
            cpu: CpuIndex(n as u32),
            rip,
            bytes,
            text,
        }
    }
}
