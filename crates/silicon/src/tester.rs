//! The loop: draw a batch, execute it in the machine, execute it on the host, compare.

use crate::catalogue::{Catalogue, host_vendor};
use crate::compare::{After, differences, same};
use crate::coverage::Coverage;
use crate::engine::Engine;
use crate::generate::{Generator, Sequence};
use crate::layout::{CODE, CODE_BYTES, MEMORY_BYTES, PAGE, SLOTS};
use crate::machine::{Machine, Outcome};
use crate::native::{Batch, Host, Patience};
use crate::open::{Before, Ledger, Tracer};
use crate::random::Random;
use crate::state::{End, State};
use crate::values::{EPOCH, MEMORY_POOL_BYTES, Pools, fill_memory_pool};
use ring3_isa::forms::iced_x86::{Decoder, DecoderOptions, Instruction};
use ring3_isa::{CodeSize, FeatureSet};
use std::collections::BTreeMap;

/// Instructions that a sequence may take in the machine; those that take more are not compared.
pub const LIMIT: u64 = 600;

/// What can go wrong on the host.
const DIED: &str = "the host's process ended";
const HUNG: &str = "does not end on the host";

/// What to do.
pub struct Options {
    /// Which sequences.
    pub seed: u64,
    /// The features of the machine's processors.
    pub features: FeatureSet,
    /// The engines.
    pub engines: Vec<Box<dyn Engine>>,
}

/// A sequence with which host and machine disagree.
pub struct Mismatch {
    /// Its number.
    pub index: u64,
    /// The engine.
    pub engine: &'static str,
    /// The sequence.
    pub sequence: Sequence,
    /// In what they differ.
    pub lines: Vec<String>,
}

/// What became of sequences.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Drawn.
    pub drawn: u64,
    /// Compared, each with every engine.
    pub compared: u64,
    /// Of those, with an exception at their end.
    pub faulted: u64,
    /// Of those, by vector.
    pub vectors: BTreeMap<u8, u64>,
    /// Of those compared, in which something was left open.
    pub open: u64,
    /// Not compared since they take too long or do not end.
    pub unbounded: u64,
    /// Not compared since something open was read, by the manual's page.
    pub set_aside: BTreeMap<&'static str, u64>,
    /// Instructions executed in the machine.
    pub instructions: u64,
    /// Disagreements.
    pub mismatches: u64,
}

/// What a machine made of one sequence.
struct Modelled {
    outcome: Outcome,
    state: State,
    memory: Box<[u8; MEMORY_BYTES]>,
}

/// The verdict on a sequence and an engine.
enum Verdict {
    Same,
    SameButOpen,
    SetAside(&'static str),
    Different(Vec<String>),
}

/// Host, machines, and what they are given.
pub struct Tester {
    seed: u64,
    /// What sequences are drawn from.
    pub catalogue: Catalogue,
    /// How often each encoding was compared.
    pub coverage: Coverage,
    /// What became of the sequences.
    pub counts: Counts,
    generator: Generator,
    host: Host,
    machines: Vec<Machine>,
    tracer: Tracer,
    pools: Pools,
    epoch: Option<u64>,
    results: Vec<Vec<Modelled>>,
    /// What stands in each slot of code, to be cleared.
    written: [(usize, usize); SLOTS],
    foreign_components: u64,
}

/// Mixes seed and index into the seed of one sequence.
fn mix(seed: u64, index: u64) -> u64 {
    let mut random = Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ index);
    random.u64()
}

impl Tester {
    /// # Errors
    /// A sentence, if the host cannot execute sequences.
    pub fn new(options: Options) -> Result<Tester, String> {
        let mut random = Random::new(mix(options.seed, u64::MAX));
        let mut read_only = Box::new([0; PAGE as usize]);
        fill_memory_pool(&mut read_only[..], &mut random);
        let catalogue = Catalogue::new(options.features);
        let machines: Vec<Machine> = options
            .engines
            .into_iter()
            .map(|engine| Machine::new(engine, catalogue.features, &read_only[..]))
            .collect();
        let avx = machines.iter().any(Machine::has_avx);
        let mut host = Host::new(MEMORY_POOL_BYTES, read_only)?;
        let sixteen_bits = host.has_16_bit_code()?;
        let own = machines
            .iter()
            .fold(0, |all, machine| all | machine.components());
        let results = machines.iter().map(|_| Vec::new()).collect();
        Ok(Tester {
            seed: options.seed,
            coverage: Coverage::new(&catalogue),
            catalogue,
            counts: Counts::default(),
            generator: Generator::new(sixteen_bits, avx),
            host,
            machines,
            tracer: Tracer::new(&host_vendor()),
            pools: Pools::draw(&mut random),
            epoch: None,
            results,
            written: [(0, 0); SLOTS],
            foreign_components: crate::native::enabled_components() & !own,
        })
    }

    /// Whether 16-bit code is among the sequences.
    pub fn has_16_bit_code(&self) -> bool {
        self.generator.sixteen_bits
    }

    /// Draws the pools that sequence `index` belongs to.
    fn enter_epoch(&mut self, index: u64) {
        let epoch = index / EPOCH;
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            let mut random = Random::new(mix(!self.seed, epoch));
            self.pools = Pools::draw(&mut random);
            fill_memory_pool(self.host.pool_mut(), &mut random);
        }
    }

    /// Sequence number `index`.
    pub fn draw(&mut self, index: u64) -> Sequence {
        self.enter_epoch(index);
        let mut random = Random::new(mix(self.seed, index));
        let slot = (index % SLOTS as u64) as usize;
        self.generator
            .draw(&self.catalogue, &self.pools, slot, &mut random)
    }

    /// Writes a sequence's code where host and machine will find it.
    fn place(&mut self, slot: usize, sequence: &Sequence) {
        let (from, to) = self.written[slot];
        let code = self.host.code_mut();
        code[from..to].fill(0xcc);
        let at = (sequence.start - CODE) as usize;
        code[at..at + sequence.code.len()].copy_from_slice(&sequence.code);
        self.written[slot] = (at, at + sequence.code.len());
    }

    /// Clears what stands in the slots.
    fn clear_code(&mut self) {
        for slot in 0..SLOTS {
            let (from, to) = std::mem::take(&mut self.written[slot]);
            self.host.code_mut()[from..to].fill(0xcc);
        }
    }

    /// Executes sequences `first..first + count` (a multiple of [`SLOTS`], and at most so many) and
    /// compares; tells of each mismatch.
    ///
    /// # Errors
    /// A sentence, if the host does not execute them.
    pub fn batch(
        &mut self,
        first: u64,
        count: usize,
        mismatch: &mut dyn FnMut(&mut Tester, Mismatch),
    ) -> Result<(), String> {
        debug_assert!(first.is_multiple_of(SLOTS as u64) && count <= SLOTS);
        let mut sequences: Vec<Sequence> =
            (0..count as u64).map(|n| self.draw(first + n)).collect();
        for (slot, sequence) in sequences.iter().enumerate() {
            self.place(slot, sequence);
        }
        self.counts.drawn += count as u64;
        let mut skipped = [false; SLOTS];
        for (slot, sequence) in sequences.iter().enumerate() {
            self.host
                .prepare(slot, sequence.size, &sequence.before, sequence.memory_at);
        }
        for which in 0..self.machines.len() {
            self.machines[which].load_code(self.host.code());
            for (slot, sequence) in sequences.iter().enumerate() {
                let modelled = self.run_in_machine(which, sequence);
                if modelled == Outcome::Unbounded {
                    skipped[slot] = true;
                    self.host.skip(slot);
                }
                self.keep(which, slot, modelled);
            }
        }
        let mut died = BTreeMap::new();
        loop {
            match self.host.run(count, Patience::Short)? {
                Batch::Ran => break,
                Batch::Died(slot) => {
                    died.insert(slot, DIED);
                    self.host.skip(slot);
                }
                Batch::Hung(slot) => {
                    died.insert(slot, HUNG);
                    self.host.skip(slot);
                }
            }
        }
        for slot in 0..count {
            let sequence = &sequences[slot];
            if skipped[slot] {
                self.counts.unbounded += 1;
                continue;
            }
            let mut verdicts = Vec::new();
            for which in 0..self.machines.len() {
                let verdict = match died.get(&slot) {
                    Some(why) => self.never_ended(which, sequence, why),
                    None => self.judge(which, slot, sequence),
                };
                verdicts.push(verdict);
            }
            let hung = died.get(&slot) == Some(&HUNG);
            if hung && verdicts.iter().any(|v| matches!(v, Verdict::Different(_))) {
                // Not for a reason that is known: again, and with patience.
                return self.rest_of_batch(first, slot, sequences, mismatch);
            }
            self.count(slot, sequence, &verdicts);
            for (which, verdict) in verdicts.into_iter().enumerate() {
                if let Verdict::Different(lines) = verdict {
                    self.counts.mismatches += 1;
                    let report = Mismatch {
                        index: first + slot as u64,
                        engine: self.machines[which].engine(),
                        sequence: sequences[slot].clone(),
                        lines,
                    };
                    mismatch(self, report);
                    // It may have used the slots.
                    for (slot, sequence) in sequences.iter_mut().enumerate() {
                        self.place(slot, sequence);
                    }
                    if slot + 1 < count {
                        return self.rest_of_batch(first, slot + 1, sequences, mismatch);
                    }
                }
            }
        }
        Ok(())
    }

    /// After a mismatch: the rest of a batch, sequence by sequence.
    fn rest_of_batch(
        &mut self,
        first: u64,
        from: usize,
        sequences: Vec<Sequence>,
        mismatch: &mut dyn FnMut(&mut Tester, Mismatch),
    ) -> Result<(), String> {
        for (slot, sequence) in sequences.iter().enumerate().skip(from) {
            for which in 0..self.machines.len() {
                let verdict = self.try_one(which, slot, sequence)?;
                let Some(verdict) = verdict else {
                    self.counts.unbounded += u64::from(which == 0);
                    continue;
                };
                if which == 0 {
                    self.count(slot, sequence, std::slice::from_ref(&verdict));
                }
                if let Verdict::Different(lines) = verdict {
                    self.counts.mismatches += 1;
                    let report = Mismatch {
                        index: first + slot as u64,
                        engine: self.machines[which].engine(),
                        sequence: sequence.clone(),
                        lines,
                    };
                    mismatch(self, report);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, slot: usize, sequence: &Sequence, verdicts: &[Verdict]) {
        if let Some(reason) = verdicts.iter().find_map(|verdict| match verdict {
            Verdict::SetAside(reason) => Some(*reason),
            _ => None,
        }) {
            *self.counts.set_aside.entry(reason).or_default() += 1;
            return;
        }
        let (_, _, end) = self.host.result(slot);
        self.counts.compared += 1;
        if let Some(vector) = end.vector() {
            self.counts.faulted += 1;
            *self.counts.vectors.entry(vector).or_default() += 1;
        }
        let open = verdicts.iter().any(|v| matches!(v, Verdict::SameButOpen));
        self.counts.open += u64::from(open);
        let (state, _, end) = self.host.result(slot);
        let rip = state.rip.wrapping_add(sequence.code_base());
        self.coverage.note(
            &self.catalogue,
            sequence,
            end,
            rip.wrapping_sub(sequence.start),
        );
    }

    fn run_in_machine(&mut self, which: usize, sequence: &Sequence) -> Outcome {
        let machine = &mut self.machines[which];
        let pool = self.host.pool();
        let at = sequence.memory_at;
        machine
            .memory_mut()
            .copy_from_slice(&pool[at..at + MEMORY_BYTES]);
        machine.load(sequence.size, &sequence.before);
        let from = machine.instructions();
        let outcome = machine.run(LIMIT);
        self.counts.instructions += machine.instructions() - from;
        outcome
    }

    fn keep(&mut self, which: usize, slot: usize, outcome: Outcome) {
        let machine = &self.machines[which];
        let results = &mut self.results[which];
        while results.len() <= slot {
            results.push(Modelled {
                outcome: Outcome::Unbounded,
                state: State::default(),
                memory: Box::new([0; MEMORY_BYTES]),
            });
        }
        let result = &mut results[slot];
        result.outcome = outcome;
        result.state = machine.state();
        result.memory.copy_from_slice(machine.memory());
    }

    /// Compares what host and machine have made of the sequence in `slot`.
    fn judge(&mut self, which: usize, slot: usize, sequence: &Sequence) -> Verdict {
        let avx = self.machines[which].has_avx();
        let (state, memory, end) = self.host.result(slot);
        let mut clean = *state;
        clean.rflags &= !ring3_arch::rflags::RF;
        let native = After {
            state: &clean,
            memory,
            end,
        };
        let result = &self.results[which][slot];
        let end = match result.outcome {
            Outcome::Ended(end) => end,
            Outcome::Unbounded => unreachable!("such sequences are skipped"),
            Outcome::Unimplemented => {
                return Verdict::Different(vec!["nobody has written this instruction".into()]);
            }
            Outcome::Shutdown => {
                return Verdict::Different(vec!["the machine's processor shut down".into()]);
            }
        };
        let modelled = After {
            state: &result.state,
            memory: &result.memory[..],
            end,
        };
        if same(&native, &modelled, avx) {
            return Verdict::Same;
        }
        let (ledger, stepped) = self.trace(which, sequence);
        let (state, memory, end) = self.host.result(slot);
        let mut clean = *state;
        clean.rflags &= !ring3_arch::rflags::RF;
        let native = After {
            state: &clean,
            memory,
            end,
        };
        let result = &self.results[which][slot];
        let modelled = After {
            state: &result.state,
            ..modelled_again(result)
        };
        let mut lines = differences(&sequence.before, &native, &modelled, &ledger, avx);
        if let Some(stepped) = stepped
            && !lines.is_empty()
        {
            let machine = &self.machines[which];
            let after = After {
                state: &stepped,
                memory: machine.memory(),
                end: modelled.end,
            };
            if !same(&modelled, &after, avx) {
                lines.push("(step by step the machine comes to another result)".into());
            }
        }
        if let Some(row) = ledger.set_aside {
            return Verdict::SetAside(row.source);
        }
        if lines.is_empty() {
            Verdict::SameButOpen
        } else {
            Verdict::Different(lines)
        }
    }

    /// The host has nothing to compare with.
    fn never_ended(&mut self, which: usize, sequence: &Sequence, why: &str) -> Verdict {
        match self.trace(which, sequence).0.set_aside {
            Some(row) => Verdict::SetAside(row.source),
            None => Verdict::Different(vec![why.into()]),
        }
    }

    /// Executes a sequence step by step in the machine, and notes what it leaves open.
    fn trace(&mut self, which: usize, sequence: &Sequence) -> (Ledger, Option<State>) {
        let mut ledger = Ledger::default();
        let pool = self.host.pool();
        let at = sequence.memory_at;
        let machine = &mut self.machines[which];
        machine
            .memory_mut()
            .copy_from_slice(&pool[at..at + MEMORY_BYTES]);
        machine.load(sequence.size, &sequence.before);
        for _ in 0..LIMIT {
            let before = machine.state();
            let bytes_before: Box<[u8]> = machine.memory().into();
            let (rip, size) = machine.at();
            let Some(instruction) = decode(machine, rip, size) else {
                machine.run(LIMIT);
                return (ledger, Some(machine.state()));
            };
            let outcome = machine.run(1);
            let mut finished = !machine.is_in_program();
            let mut faulted = false;
            if finished {
                let end = match outcome {
                    Outcome::Ended(end) => Some(end),
                    _ => match machine.run(16) {
                        Outcome::Ended(end) => Some(end),
                        _ => None,
                    },
                };
                // Traps come after an instruction: INT3 and INTO after themselves, a single step before
                // this one.
                if end.is_some_and(|end| end.vector() == Some(1))
                    && machine.state().rip == before.rip
                {
                    return (ledger, Some(machine.state()));
                }
                faulted = end.is_some_and(|end| !matches!(end.vector(), Some(1 | 3 | 4)));
            }
            finished |= outcome == Outcome::Unimplemented || outcome == Outcome::Shutdown;
            let after = &*machine;
            let byte = |address: u64| {
                use crate::layout::{MEMORY, MEMORY_SPAN};
                match address.checked_sub(MEMORY) {
                    Some(offset) if offset < MEMORY_SPAN => {
                        bytes_before.get((offset % PAGE) as usize).copied()
                    }
                    _ => after.byte(address),
                }
            };
            self.tracer.note(
                &mut ledger,
                &instruction,
                &Before {
                    state: &before,
                    byte: &byte,
                    faulted,
                    size,
                    foreign_components: self.foreign_components,
                },
            );
            if finished {
                return (ledger, Some(machine.state()));
            }
        }
        (ledger, None)
    }

    /// Runs one sequence alone; `None` if it does not end.
    fn try_one(
        &mut self,
        which: usize,
        slot: usize,
        sequence: &Sequence,
    ) -> Result<Option<Verdict>, String> {
        self.clear_code();
        self.place(slot, sequence);
        self.machines[which].load_code(self.host.code());
        let outcome = self.run_in_machine(which, sequence);
        if outcome == Outcome::Unbounded {
            return Ok(None);
        }
        self.keep(which, slot, outcome);
        for other in 0..slot {
            self.host.skip(other);
        }
        self.host
            .prepare(slot, sequence.size, &sequence.before, sequence.memory_at);
        Ok(Some(match self.host.run(slot + 1, Patience::Long)? {
            Batch::Ran => self.judge(which, slot, sequence),
            Batch::Died(_) => self.never_ended(which, sequence, DIED),
            Batch::Hung(_) => self.never_ended(which, sequence, HUNG),
        }))
    }

    /// In what host and machine differ about a sequence; empty if they do not, or cannot be compared.
    ///
    /// # Errors
    /// A sentence, if the host does not execute it.
    pub fn differences(
        &mut self,
        engine: &str,
        slot: usize,
        sequence: &Sequence,
    ) -> Result<Vec<String>, String> {
        let which = self
            .machines
            .iter()
            .position(|machine| machine.engine() == engine)
            .unwrap_or(0);
        Ok(match self.try_one(which, slot, sequence)? {
            Some(Verdict::Different(lines)) => lines,
            _ => Vec::new(),
        })
    }

    /// Bytes of memory that a sequence begins with.
    pub fn memory_of(&self, sequence: &Sequence) -> &[u8] {
        &self.host.pool()[sequence.memory_at..][..MEMORY_BYTES]
    }
}

fn modelled_again(result: &Modelled) -> After<'_> {
    After {
        state: &result.state,
        memory: &result.memory[..],
        end: match result.outcome {
            Outcome::Ended(end) => end,
            _ => End::default(),
        },
    }
}

/// The instruction at a linear address.
fn decode(machine: &Machine, rip: u64, size: CodeSize) -> Option<Instruction> {
    let mut bytes = [0; 15];
    let mut length = 0;
    for (n, byte) in bytes.iter_mut().enumerate() {
        let Some(found) = machine.byte(rip.wrapping_add(n as u64)) else {
            break;
        };
        *byte = found;
        length = n + 1;
    }
    if length == 0 || !(CODE..CODE + CODE_BYTES as u64).contains(&rip) {
        return None;
    }
    let mut decoder = Decoder::with_ip(size.bits(), &bytes[..length], rip, DecoderOptions::NONE);
    Some(decoder.decode())
}
