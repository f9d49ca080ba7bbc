//! The timing engine on the command line: which machine it models, from where to where it counts, and
//! what it counted.

use crate::failure::{Failure, Result};
use crate::machine_options::{Engine, MachineOptions};
use ring3_arch::CpuIndex;
use ring3_machine::{Machine, Stop};
use ring3_timing::{Counters, Description, Event, Parameters, TimeBase};
use ring3_uintr::Step;
use std::path::Path;

/// Reads a machine description: a shipped name or a file.
///
/// # Errors
/// There is none of that name, or the file makes no sense.
pub(crate) fn description(name: &str) -> Result<Description> {
    if let Some(found) = Description::shipped(name) {
        return Ok(found);
    }
    if !Path::new(name).exists() {
        return Err(Failure::new(format!("there is no machine `{name}`"))
            .remedy("`ring3 machine list` shows those that come with ring3; or give a file"));
    }
    let text = std::fs::read_to_string(name)
        .map_err(|error| Failure::new(format!("cannot read the machine {name}: {error}")))?;
    Description::parse(name, &text).map_err(|error| Failure::new(error.to_string()))
}

/// What was counted on which machine.
pub(crate) struct Report {
    /// The machine's name.
    pub machine: String,
    /// Per logical processor; empty if the region of interest was never entered.
    pub counters: Vec<Counters>,
    /// Steps of user interrupts: processor, cycle, step.
    pub steps: Vec<(u32, u64, Step)>,
}

/// Where a run is with respect to its region of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    /// Inside, but what is counted does not count until so many instructions have been executed.
    Warming(u64),
    Inside,
    After,
}

/// A run, or a part of it, on the timing engine.
pub(crate) struct Timed {
    name: String,
    parameters: Parameters,
    roi: bool,
    warmup: u64,
    place: Place,
    baseline: Vec<Counters>,
    result: Vec<Counters>,
}

impl Timed {
    /// As the options want it; `None` for the reference engine.
    ///
    /// # Errors
    /// The machine's description, or options that contradict each other.
    pub fn new(options: &MachineOptions) -> Result<Option<Timed>> {
        if options.engine != Engine::Timing {
            let given = [
                ("--machine", options.machine.is_some()),
                ("--roi", options.roi.is_some()),
                ("--warmup", options.warmup.is_some()),
            ];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return Err(Failure::new(format!("{option} is for the timing engine"))
                    .remedy("add --engine timing"));
            }
            return Ok(None);
        }
        let description = description(options.machine.as_deref().unwrap_or("spr"))?;
        if let Some(roi) = &options.roi
            && roi != "marker"
        {
            return Err(Failure::new(format!("--roi {roi}: only `marker` is known")));
        }
        Ok(Some(Timed {
            name: description.name.clone(),
            parameters: description.parameters(),
            roi: options.roi.is_some(),
            warmup: options.warmup.unwrap_or(0),
            place: Place::Before,
            baseline: Vec::new(),
            result: Vec::new(),
        }))
    }

    /// The program is about to start.
    pub fn attach(&mut self, machine: &mut Machine) {
        machine.stop_at_marks(self.roi);
        if !self.roi {
            self.enter(machine);
        }
    }

    fn enter(&mut self, machine: &mut Machine) {
        machine.use_timing(&self.parameters, TimeBase::Cycles);
        if let Some(recorder) = machine.timing_recorder() {
            recorder.is_on = true;
        }
        self.baseline = all_counters(machine);
        self.place = match self.warmup {
            0 => Place::Inside,
            more => Place::Warming(machine.instructions().saturating_add(more)),
        };
    }

    fn leave(&mut self, machine: &mut Machine) {
        let now = all_counters(machine);
        let part: Vec<Counters> = now
            .iter()
            .zip(&self.baseline)
            .map(|(a, b)| a.since(b))
            .collect();
        // A region that is entered again and again counts as a whole.
        if self.result.is_empty() {
            self.result = part;
        } else {
            for (sum, part) in self.result.iter_mut().zip(part) {
                *sum = sum.plus(&part);
            }
        }
        machine.use_interpreter();
        self.place = Place::After;
    }

    /// The machine has run a little; takes what concerns the region out of why it stopped.
    pub fn after_step(&mut self, machine: &mut Machine, stop: Option<Stop>) -> Option<Stop> {
        if let Place::Warming(until) = self.place
            && machine.instructions() >= until
        {
            self.baseline = all_counters(machine);
            self.place = Place::Inside;
        }
        match stop {
            Some(Stop::Mark { begins }) => {
                match (begins, self.place) {
                    (true, Place::Before | Place::After) => self.enter(machine),
                    (false, Place::Inside | Place::Warming(_)) => self.leave(machine),
                    _ => {}
                }
                None
            }
            other => other,
        }
    }

    /// What was counted.
    pub fn finish(&mut self, machine: &mut Machine) -> Report {
        if matches!(self.place, Place::Inside | Place::Warming(_)) {
            self.leave(machine);
        }
        let recorded = machine
            .timing_recorder()
            .map(std::mem::take)
            .unwrap_or_default();
        let steps = recorded
            .events
            .iter()
            .filter_map(|(cpu, cycle, event)| match event {
                Event::User(step) => Some((cpu.0, *cycle, *step)),
                _ => None,
            });
        let steps = steps.collect();
        Report {
            machine: self.name.clone(),
            counters: self.result.clone(),
            steps,
        }
    }
}

fn all_counters(machine: &Machine) -> Vec<Counters> {
    (0..machine.config().cpus)
        .filter_map(|n| machine.timing_counters(CpuIndex(n)))
        .collect()
}
