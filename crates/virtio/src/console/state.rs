//! The saved form of the console.

use super::{Console, Port};
use crate::saved::{check, decode, encode};
use ring3_bus::LoadError;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    /// The guest knows the ports by their names, so these must be the same.
    names: Vec<String>,
    ports: Vec<Port>,
    multiport: bool,
}

impl Console {
    pub(super) fn save_state(&self) -> Vec<u8> {
        encode(
            VERSION,
            &State {
                names: self.port_names(),
                ports: self.ports.clone(),
                multiport: self.multiport,
            },
        )
    }

    fn port_names(&self) -> Vec<String> {
        let ports = self.config.ports.iter();
        ports.map(|port| port.name.clone()).collect()
    }

    pub(super) fn load_state(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let what = &self.config.name;
        let state: State = decode(what, VERSION, saved)?;
        check(
            what,
            state.names == self.port_names() && state.ports.len() == self.ports.len(),
            "the saved state has other ports",
        )?;
        let limit = self.config.input_limit_bytes;
        check(
            what,
            state.ports.iter().all(|port| port.input.len() <= limit),
            "a port holds more input than its limit",
        )?;
        self.ports = state.ports;
        self.multiport = state.multiport;
        Ok(())
    }
}
