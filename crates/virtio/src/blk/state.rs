//! The saved form of the disk. The content at construction is not part of it.

use super::{Blk, Pending, QUEUE_SIZE};
use crate::saved::{check, decode, encode};
use ring3_bus::LoadError;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    /// The guest has read it, so it must be the same.
    capacity_bytes: u64,
    pending: VecDeque<Pending>,
    backend: Vec<u8>,
}

impl Blk {
    pub(super) fn save_state(&self) -> Vec<u8> {
        encode(
            VERSION,
            &State {
                capacity_bytes: self.config.capacity_bytes,
                pending: self.pending.clone(),
                backend: self.backend.save(),
            },
        )
    }

    pub(super) fn load_state(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let what = &self.config.name;
        let state: State = decode(what, VERSION, saved)?;
        check(
            what,
            state.capacity_bytes == self.config.capacity_bytes,
            "the saved disk has another capacity",
        )?;
        check(
            what,
            state.pending.len() <= usize::from(QUEUE_SIZE)
                && state.pending.iter().is_sorted_by_key(|request| request.due),
            "the saved requests are too many or out of order",
        )?;
        self.backend.load(&state.backend)?;
        self.pending = state.pending;
        Ok(())
    }
}
