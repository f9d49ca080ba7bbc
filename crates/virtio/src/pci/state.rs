//! The saved form of the bus.

use super::PciBus;
use super::spec::port;
use crate::saved::{check, decode, encode};
use ring3_bus::{Effects, LoadError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    config_address: u32,
    reset_control: u8,
    /// By device number.
    functions: BTreeMap<u8, Vec<u8>>,
}

impl PciBus {
    pub(super) fn save_state(&self) -> Vec<u8> {
        encode(
            VERSION,
            &State {
                config_address: self.config_address,
                reset_control: self.reset_control,
                functions: self
                    .slots
                    .iter()
                    .map(|(&device, slot)| (device, slot.function.save()))
                    .collect(),
            },
        )
    }

    pub(super) fn load_state(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let state: State = decode("pci", VERSION, saved)?;
        check(
            "pci",
            state.config_address & !port::ADDRESS_BITS == 0,
            "CONFIG_ADDRESS has bits that do not exist",
        )?;
        check(
            "pci",
            state.reset_control & !(port::RESET_SYSTEM | port::RESET_CPU) == 0,
            "the reset control register has bits that do not exist",
        )?;
        check(
            "pci",
            state.functions.keys().eq(self.slots.keys()),
            "the saved state has other devices",
        )?;
        // A function that refuses leaves the ones before it loaded: they go back to what they
        // were, so that the bus as a whole is unchanged.
        let before: BTreeMap<u8, Vec<u8>> = self
            .slots
            .iter()
            .map(|(&device, slot)| (device, slot.function.save()))
            .collect();
        if let Err(error) = self.load_functions(&state.functions) {
            self.load_functions(&before)
                .expect("every function takes back its own state");
            return Err(error);
        }
        self.config_address = state.config_address;
        self.reset_control = state.reset_control;
        for (gsi, line) in &mut self.lines {
            *line = self
                .slots
                .values()
                .any(|slot| slot.gsi == *gsi && slot.function.endpoint().interrupt_line());
        }
        self.decode(&mut Effects::new());
        // A restored machine asks again in any case.
        self.decoded_changed = true;
        Ok(())
    }

    fn load_functions(&mut self, saved: &BTreeMap<u8, Vec<u8>>) -> Result<(), LoadError> {
        for (device, slot) in &mut self.slots {
            slot.function.load(&saved[device])?;
        }
        Ok(())
    }
}
