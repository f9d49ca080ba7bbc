//! The saved form of the network device.

use super::spec::FRAME_MAX;
use super::{Net, RECEIVE_FRAMES_MAX};
use crate::saved::{check, decode, encode};
use ring3_bus::LoadError;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    /// The guest has read it, so it must be the same.
    mac: [u8; 6],
    link_up: bool,
    waiting: VecDeque<Vec<u8>>,
}

impl Net {
    pub(super) fn save_state(&self) -> Vec<u8> {
        encode(
            VERSION,
            &State {
                mac: self.config.mac,
                link_up: self.link_up,
                waiting: self.waiting.clone(),
            },
        )
    }

    pub(super) fn load_state(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let what = &self.config.name;
        let state: State = decode(what, VERSION, saved)?;
        check(
            what,
            state.mac == self.config.mac,
            "the saved device has another address",
        )?;
        check(
            what,
            state.waiting.len() <= RECEIVE_FRAMES_MAX
                && state.waiting.iter().all(|frame| frame.len() <= FRAME_MAX),
            "more or longer frames wait than can",
        )?;
        self.link_up = state.link_up;
        self.waiting = state.waiting;
        Ok(())
    }
}
