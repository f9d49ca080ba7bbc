//! The host bridge, 00:00.0.
//!
//! What a guest needs of it is that it exists: a kernel accepts configuration mechanism #1 only
//! if it finds one. It identifies itself as an Intel 82441FX; the registers by which firmware
//! sets up memory and shadowing on the real part are not modelled and read as zero.

use super::config::Identity;
use super::endpoint::{Endpoint, EndpointState};
use super::{Function, spec};
use crate::saved::{decode, encode};
use ring3_bus::{Dma, Effects, LoadError};
use ring3_clock::Ticks;

const VERSION: u8 = 1;

/// The function at 00:00.0.
#[derive(Debug)]
pub struct HostBridge {
    // state
    endpoint: Endpoint,
}

impl HostBridge {
    /// A host bridge.
    pub fn new() -> HostBridge {
        HostBridge {
            endpoint: Endpoint::new(&Identity {
                vendor: spec::host_bridge::VENDOR,
                device: spec::host_bridge::DEVICE,
                revision: spec::host_bridge::REVISION,
                class: spec::host_bridge::CLASS,
                subsystem_vendor: 0,
                subsystem: 0,
                interrupt_pin: false,
            }),
        }
    }
}

impl Default for HostBridge {
    fn default() -> Self {
        HostBridge::new()
    }
}

impl Function for HostBridge {
    fn name(&self) -> String {
        "pci-host-bridge".to_owned()
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn bar_read(&mut self, _: Ticks, _: usize, _: u64, _: u8, _: &mut Effects) -> u64 {
        0
    }

    fn bar_write(
        &mut self,
        _: Ticks,
        _: usize,
        _: u64,
        _: u8,
        _: u64,
        _: &mut dyn Dma,
        _: &mut Effects,
    ) {
    }

    fn reset(&mut self) {
        self.endpoint.reset();
    }

    fn save(&self) -> Vec<u8> {
        encode(VERSION, &self.endpoint.save())
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let state: EndpointState = decode("pci-host-bridge", VERSION, saved)?;
        self.endpoint.validate("pci-host-bridge", &state)?;
        self.endpoint.restore(state);
        Ok(())
    }
}
