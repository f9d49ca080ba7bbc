//! The saved form of a virtio function: its PCI side, its registers, its queues, and whatever the
//! device itself keeps.

use super::spec::{common, feature, isr, status};
use super::{Registers, VirtioDevice, VirtioPci};
use crate::pci::EndpointState;
use crate::saved::{check, decode, encode};
use crate::virtqueue::{Queue, QueueState};
use ring3_bus::LoadError;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    endpoint: EndpointState,
    registers: Registers,
    queues: Vec<QueueState>,
    device: Vec<u8>,
}

impl<D: VirtioDevice> VirtioPci<D> {
    pub(super) fn save_state(&self) -> Vec<u8> {
        encode(
            VERSION,
            &State {
                endpoint: self.endpoint.save(),
                registers: self.registers.clone(),
                queues: self
                    .queues
                    .iter()
                    .map(|queue| queue.state().clone())
                    .collect(),
                device: self.device.save(),
            },
        )
    }

    pub(super) fn load_state(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let what = self.device.name();
        let state: State = decode(&what, VERSION, saved)?;
        self.endpoint.validate(&what, &state.endpoint)?;
        self.validate_registers(&what, &state.registers)?;
        check(
            &what,
            state.queues.len() == self.queues.len(),
            "the saved state has another number of queues",
        )?;
        for (queue, state) in self.queues.iter().zip(&state.queues) {
            queue.validate(&what, state)?;
            check(
                &what,
                self.existing_vector(state.vector) == state.vector,
                "a queue's vector does not exist",
            )?;
        }
        // The last that can fail; it changes nothing if it does.
        self.device.load(&state.device)?;
        self.endpoint.restore(state.endpoint);
        self.registers = state.registers;
        for (queue, state) in self.queues.iter_mut().zip(state.queues) {
            Queue::restore(queue, state);
        }
        Ok(())
    }

    fn validate_registers(&self, what: &str, registers: &Registers) -> Result<(), LoadError> {
        let known = status::DRIVER_BITS | status::DEVICE_NEEDS_RESET;
        let has = |bit| registers.status & bit != 0;
        check(
            what,
            registers.isr & !(isr::QUEUE | isr::CONFIG) == 0 && registers.status & !known == 0,
            "a status that does not exist",
        )?;
        check(
            what,
            has(status::FEATURES_OK) || !has(status::DRIVER_OK),
            "DRIVER_OK without FEATURES_OK",
        )?;
        let features = registers.driver_features;
        check(
            what,
            !has(status::FEATURES_OK)
                || (features & !self.offered == 0 && features & feature::VERSION_1 != 0),
            "negotiated features that are not offered; the device is configured differently",
        )?;
        let vector = registers.config_vector;
        check(
            what,
            vector == common::NO_VECTOR || vector < self.endpoint.vectors(),
            "the configuration vector does not exist",
        )
    }
}
