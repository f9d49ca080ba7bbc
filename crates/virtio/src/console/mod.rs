//! The virtio console: named byte streams between the guest and the outside.
//!
//! Source: VIRTIO 1.2, "Console Device". Modelled: VIRTIO_CONSOLE_F_MULTIPORT with a fixed set of
//! named ports, VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_EMERG_WRITE, and drivers without
//! MULTIPORT, which see port 0 alone. Not modelled: adding and removing ports at run time.
//!
//! What the guest writes comes out as [`Effect::Output`] during the notification, in order. What
//! comes in is held, up to a limit for each port, until the guest has opened the port and given
//! buffers for it: the Linux driver throws away what arrives at a port that nobody has open.
//! A hang-up ([`VirtioPci::close`]) is told to the guest after all input before it was taken.

pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use crate::transport::{Io, VirtioDevice, VirtioPci};
use crate::virtqueue::RingError;
use ring3_bus::{Dma, Effect, Effects, LoadError};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{config, control, feature, queue};
use std::collections::VecDeque;

/// Entries of every queue.
const QUEUE_SIZE: u16 = 64;
/// The most bytes that the guest may write in one chain.
const WRITE_MAX: u64 = 1 << 20;
/// The most bytes of one chain that are filled with input at once.
const READ_MAX: u64 = 1 << 16;
/// The most ports: each takes two queues and two MSI-X vectors.
pub const PORTS_MAX: usize = 31;
/// The most bytes in a port's name.
pub const NAME_MAX: usize = 64;
/// How much input a port holds unless told otherwise.
pub const DEFAULT_INPUT_LIMIT_BYTES: usize = 1 << 16;

/// A port as the machine's description wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// What the guest finds it under: `/dev/virtio-ports/<name>` where udev runs, else the file
    /// `name` in `/sys/class/virtio-ports/vport*`.
    pub name: String,
    /// Whether it is a console (`/dev/hvcN`) rather than a plain stream.
    pub console: bool,
}

impl PortConfig {
    /// A plain stream.
    pub fn stream(name: &str) -> PortConfig {
        PortConfig {
            name: name.to_owned(),
            console: false,
        }
    }

    /// A console.
    pub fn console(name: &str) -> PortConfig {
        PortConfig {
            name: name.to_owned(),
            console: true,
        }
    }
}

/// A console device as the machine's description wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// The device's name, unique in the machine.
    pub name: String,
    /// The ports, in the order of their numbers.
    pub ports: Vec<PortConfig>,
    /// [`Effect::Output`] of port `n` has this plus `n` as its stream.
    pub first_stream: u32,
    /// How much input a port holds that the guest has not taken.
    pub input_limit_bytes: usize,
    /// In which order a resize message says rows and columns.
    pub resize_order: ResizeOrder,
}

/// In which order a control message gives the size of a console.
///
/// "Multiport Device Operation" puts the columns first, and so does the Linux driver since 2025 (a
/// stock Debian 6.1.192 was seen to). Kernels before that correction take the first field for the
/// rows; a guest with one needs them swapped to see the right size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeOrder {
    /// As specified.
    ColumnsFirst,
    /// As drivers before the correction expect.
    RowsFirst,
}

/// Why a console cannot be built: the machine's description is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None or too many.
    #[error("{0} ports; a console has 1 to {PORTS_MAX}")]
    Ports(usize),
    /// Empty, too long, not printable ASCII, or used twice.
    #[error(
        "{0:?} is no name for a port: it must be unique, of 1 to {NAME_MAX} visible ASCII characters"
    )]
    Name(String),
}

/// What the outside may know about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// The driver has set the port up.
    pub ready: bool,
    /// A program in the guest has it open.
    pub guest_open: bool,
    /// The outside has not hung up.
    pub host_open: bool,
    /// Input that the guest has not taken.
    pub input_pending_bytes: usize,
    /// How often the guest has opened the port since power-on (modulo 2^32).
    pub opened_count: u32,
}

/// What is to be told to the driver about a port, as soon as there are buffers for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Announcements {
    add: bool,
    console: bool,
    name: bool,
    resize: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    // What the driver did; forgotten when it resets the device.
    ready: bool,
    guest_open: bool,
    announce: Announcements,
    /// Whether the driver believes the outside has the port open.
    told_open: bool,
    // What the outside did.
    host_open: bool,
    /// A hang-up that the driver has not been told of.
    hang_up: bool,
    input: VecDeque<u8>,
    columns: u16,
    rows: u16,
    opened_count: u32,
}

impl Port {
    fn at_reset() -> Port {
        Port {
            ready: false,
            guest_open: false,
            announce: Announcements::default(),
            told_open: false,
            host_open: true,
            hang_up: false,
            input: VecDeque::new(),
            columns: 80,
            rows: 25,
            opened_count: 0,
        }
    }

    fn driver_reset(&mut self) {
        let Self {
            ready,
            guest_open,
            announce,
            told_open,
            host_open: _,
            hang_up: _,
            input: _,
            columns: _,
            rows: _,
            opened_count: _,
        } = self;
        *ready = false;
        *guest_open = false;
        *announce = Announcements::default();
        *told_open = false;
    }

    /// What to tell the driver about who has the port open, if anything.
    fn open_message(&self) -> Option<bool> {
        if !self.ready {
            return None;
        }
        if self.hang_up {
            // The hang-up comes after the input before it, and only an open port can be closed.
            return match (self.told_open, self.input.is_empty()) {
                (false, _) => Some(true),
                (true, true) => Some(false),
                (true, false) => None,
            };
        }
        (self.host_open && !self.told_open).then_some(true)
    }
}

/// The device; behind a PCI function it is a `VirtioPci<Console>`, which has the calls that reach
/// into the guest.
#[derive(Debug)]
pub struct Console {
    // configuration
    config: ConsoleConfig,
    // state
    ports: Vec<Port>,
    multiport: bool,
}

impl Console {
    /// A console with the configured ports, all open on the outside.
    ///
    /// # Errors
    /// If the ports are too many or badly named.
    pub fn new(config: ConsoleConfig) -> Result<Console, ConfigError> {
        let count = config.ports.len();
        if !(1..=PORTS_MAX).contains(&count) {
            return Err(ConfigError::Ports(count));
        }
        for (index, port) in config.ports.iter().enumerate() {
            let name = &port.name;
            let twice = config.ports[..index]
                .iter()
                .any(|other| other.name == *name);
            let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
            if twice || !visible || name.is_empty() || name.len() > NAME_MAX {
                return Err(ConfigError::Name(name.clone()));
            }
        }
        Ok(Console {
            ports: vec![Port::at_reset(); count],
            multiport: false,
            config,
        })
    }

    /// The number of the port with this name.
    pub fn port(&self, name: &str) -> Option<u32> {
        let index = self
            .config
            .ports
            .iter()
            .position(|port| port.name == name)?;
        Some(index as u32)
    }

    /// The stream under which a port's output appears.
    pub fn stream(&self, port: u32) -> u32 {
        self.config.first_stream.wrapping_add(port)
    }

    /// What is known of a port.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn status(&self, port: u32) -> PortStatus {
        let port = &self.ports[port as usize];
        PortStatus {
            ready: port.ready,
            guest_open: port.guest_open,
            host_open: port.host_open,
            input_pending_bytes: port.input.len(),
            opened_count: port.opened_count,
        }
    }

    /// How much input a port would accept now.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn input_space(&self, port: u32) -> usize {
        let port = &self.ports[port as usize];
        if port.host_open && !port.hang_up {
            self.config
                .input_limit_bytes
                .saturating_sub(port.input.len())
        } else {
            0
        }
    }

    /// Whether the guest takes input from this port now.
    fn takes_input(&self, port: u32) -> bool {
        if self.multiport {
            self.ports[port as usize].guest_open
        } else {
            port == 0
        }
    }

    /// Moves whatever can be moved towards the guest: input first, so that a hang-up comes after
    /// it.
    fn pump(&mut self, io: &mut Io<'_>) -> Result<(), RingError> {
        for port in 0..self.ports.len() as u32 {
            self.pump_input(port, io)?;
        }
        if self.multiport {
            self.pump_control(io)?;
        }
        Ok(())
    }

    fn pump_input(&mut self, port: u32, io: &mut Io<'_>) -> Result<(), RingError> {
        let receive = queue::receive(port);
        while self.takes_input(port) && !self.ports[port as usize].input.is_empty() {
            let Some(chain) = io.pop(receive)? else {
                break;
            };
            let input = &mut self.ports[port as usize].input;
            let room = chain.writable.length().min(READ_MAX) as usize;
            let bytes: Vec<u8> = input.drain(..room.min(input.len())).collect();
            chain.writable.write(io.dma, 0, &bytes)?;
            io.complete(receive, chain.head, bytes.len() as u32)?;
        }
        Ok(())
    }

    fn pump_control(&mut self, io: &mut Io<'_>) -> Result<(), RingError> {
        while let Some((message, note)) = self.next_message() {
            let Some(chain) = io.pop(queue::CONTROL_RECEIVE)? else {
                break;
            };
            if chain.writable.length() < message.len() as u64 {
                return Err(RingError::Protocol(format!(
                    "a control message of {} bytes meets a buffer of {}",
                    message.len(),
                    chain.writable.length()
                )));
            }
            chain.writable.write(io.dma, 0, &message)?;
            io.complete(queue::CONTROL_RECEIVE, chain.head, message.len() as u32)?;
            self.note_sent(note);
        }
        Ok(())
    }

    /// The next message to the driver, and what to note when it has been sent.
    fn next_message(&self) -> Option<(Vec<u8>, Sent)> {
        self.ports.iter().enumerate().find_map(|(index, port)| {
            let id = index as u32;
            let config = &self.config.ports[index];
            let announce = &port.announce;
            let message = |event, value, more: &[u8], what| {
                Some((
                    control_message(id, event, value, more),
                    Sent { port: id, what },
                ))
            };
            if announce.add {
                message(control::PORT_ADD, 1, &[], Message::Add)
            } else if announce.console {
                message(control::CONSOLE_PORT, 1, &[], Message::Console)
            } else if announce.name {
                message(control::PORT_NAME, 1, config.name.as_bytes(), Message::Name)
            } else if announce.resize {
                let [first, second] = match self.config.resize_order {
                    ResizeOrder::ColumnsFirst => [port.columns, port.rows],
                    ResizeOrder::RowsFirst => [port.rows, port.columns],
                };
                let [a, b] = first.to_le_bytes();
                let [c, d] = second.to_le_bytes();
                message(control::RESIZE, 1, &[a, b, c, d], Message::Resize)
            } else {
                let open = port.open_message()?;
                message(control::PORT_OPEN, open.into(), &[], Message::Open(open))
            }
        })
    }

    fn note_sent(&mut self, sent: Sent) {
        let port = &mut self.ports[sent.port as usize];
        match sent.what {
            Message::Add => port.announce.add = false,
            Message::Console => port.announce.console = false,
            Message::Name => port.announce.name = false,
            Message::Resize => port.announce.resize = false,
            Message::Open(open) => {
                port.told_open = open;
                if !open {
                    port.hang_up = false;
                }
            }
        }
    }

    /// The driver wrote to a port.
    fn take_output(&mut self, port: u32, io: &mut Io<'_>) -> Result<(), RingError> {
        let transmit = queue::transmit(port);
        while let Some(chain) = io.pop(transmit)? {
            let length = chain.readable.length();
            if length > WRITE_MAX {
                return Err(RingError::Protocol(format!(
                    "{length} bytes written to port {port} at once; it takes {WRITE_MAX}"
                )));
            }
            let mut bytes = vec![0; length as usize];
            chain.readable.read(io.dma, 0, &mut bytes)?;
            io.complete(transmit, chain.head, 0)?;
            if !bytes.is_empty() {
                io.effects.push(Effect::Output {
                    stream: self.stream(port),
                    bytes,
                });
            }
        }
        Ok(())
    }

    /// The driver sent control messages. "Multiport Device Operation".
    fn take_control(&mut self, io: &mut Io<'_>) -> Result<(), RingError> {
        while let Some(chain) = io.pop(queue::CONTROL_TRANSMIT)? {
            let mut message = [0; control::SIZE];
            let length = chain.readable.read(io.dma, 0, &mut message)?;
            io.complete(queue::CONTROL_TRANSMIT, chain.head, 0)?;
            if length < control::SIZE {
                self.warn(
                    io.effects,
                    format_args!("a control message of {length} bytes"),
                );
                continue;
            }
            let [i0, i1, i2, i3, e0, e1, v0, v1] = message;
            let id = u32::from_le_bytes([i0, i1, i2, i3]);
            let event = u16::from_le_bytes([e0, e1]);
            let value = u16::from_le_bytes([v0, v1]);
            self.obey_control(id, event, value, io.effects);
        }
        Ok(())
    }

    fn obey_control(&mut self, id: u32, event: u16, value: u16, effects: &mut Effects) {
        if event == control::DEVICE_READY {
            if value == 1 {
                for port in &mut self.ports {
                    port.announce.add = true;
                }
            } else {
                self.warn(effects, "the driver could not set the device up");
            }
            return;
        }
        let Some(port) = self.ports.get_mut(id as usize) else {
            return self.warn(
                effects,
                format_args!("control message {event} for port {id}, which does not exist"),
            );
        };
        match (event, value) {
            (control::PORT_READY, 1) => {
                port.ready = true;
                port.told_open = false;
                port.announce.name = true;
                let console = self.config.ports[id as usize].console;
                port.announce.console = console;
                port.announce.resize = console;
            }
            (control::PORT_READY, _) => {
                port.ready = false;
                self.warn(
                    effects,
                    format_args!("the driver could not set port {id} up"),
                );
            }
            (control::PORT_OPEN, 0) => port.guest_open = false,
            (control::PORT_OPEN, 1) => {
                port.guest_open = true;
                port.opened_count = port.opened_count.wrapping_add(1);
            }
            _ => self.warn(
                effects,
                format_args!("control message {event} with value {value} for port {id}"),
            ),
        }
    }

    fn warn(&self, effects: &mut Effects, what: impl std::fmt::Display) {
        effects.push(Effect::Warning(format!("{}: {what}", self.config.name)));
    }
}

/// Which message was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    port: u32,
    what: Message,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Add,
    Console,
    Name,
    Resize,
    Open(bool),
}

/// `struct virtio_console_control` and what follows it.
fn control_message(id: u32, event: u16, value: u16, more: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(control::SIZE + more.len());
    message.extend(id.to_le_bytes());
    message.extend(event.to_le_bytes());
    message.extend(value.to_le_bytes());
    message.extend(more);
    message
}

/// The calls by which the outside reaches the guest. `now` is the virtual time at which they
/// happen; use them through [`crate::pci::PciBus::enter`], so that interrupt lines follow.
impl VirtioPci<Console> {
    /// Offers input for a port. Returns how many bytes were accepted: what is beyond the port's
    /// limit, or comes after a hang-up, is to be offered again later.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn input(
        &mut self,
        now: Ticks,
        port: u32,
        bytes: &[u8],
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) -> usize {
        let accepted = bytes.len().min(self.device().input_space(port));
        let input = &mut self.device_mut().ports[port as usize].input;
        input.extend(&bytes[..accepted]);
        self.pump_console(now, dma, effects);
        accepted
    }

    /// Hangs up: after the input accepted so far the guest reads the end of the file. The port
    /// accepts no more input until [`VirtioPci::open`]. Output of the guest still comes out.
    ///
    /// Only drivers with VIRTIO_CONSOLE_F_MULTIPORT learn of it.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn close(&mut self, now: Ticks, port: u32, dma: &mut dyn Dma, effects: &mut Effects) {
        let port = &mut self.device_mut().ports[port as usize];
        if port.host_open {
            port.host_open = false;
            // A port that was closed and opened again before the guest saw either stays closed.
            port.hang_up = true;
        }
        self.pump_console(now, dma, effects);
    }

    /// Takes a hang-up back, after the guest was told of it.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn open(&mut self, now: Ticks, port: u32, dma: &mut dyn Dma, effects: &mut Effects) {
        self.device_mut().ports[port as usize].host_open = true;
        self.pump_console(now, dma, effects);
    }

    /// Gives a console port a new size, in characters.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn resize(
        &mut self,
        now: Ticks,
        port: u32,
        columns: u16,
        rows: u16,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        let console = self.device_mut();
        let is_console = console.config.ports[port as usize].console;
        let multiport = console.multiport;
        let state = &mut console.ports[port as usize];
        state.columns = columns;
        state.rows = rows;
        state.announce.resize = is_console && state.ready;
        self.serve(now, dma, effects, |console, io| {
            // "Device configuration layout": the configuration speaks of port 0, for drivers
            // without MULTIPORT.
            if port == 0 && !multiport && io.negotiated(feature::SIZE) {
                io.config_changed();
            }
            console.pump(io)
        });
    }

    fn pump_console(&mut self, now: Ticks, dma: &mut dyn Dma, effects: &mut Effects) {
        self.serve(now, dma, effects, Console::pump);
    }
}

impl VirtioDevice for Console {
    fn name(&self) -> String {
        self.config.name.clone()
    }

    fn id(&self) -> u8 {
        spec::ID
    }

    fn class(&self) -> [u8; 3] {
        spec::CLASS
    }

    fn features(&self) -> u64 {
        feature::SIZE | feature::MULTIPORT | feature::EMERG_WRITE
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; (self.ports.len() + 1) * 2]
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12);
        bytes.extend(self.ports[0].columns.to_le_bytes());
        bytes.extend(self.ports[0].rows.to_le_bytes());
        bytes.extend((self.ports.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    fn config_write(&mut self, offset: usize, bytes: &[u8], effects: &mut Effects) {
        // "Device Initialization": a character written to emerg_wr goes out at once, at any time.
        if offset == config::EMERGENCY_WRITE {
            effects.push(Effect::Output {
                stream: self.stream(0),
                bytes: vec![bytes[0]],
            });
        } else {
            self.warn(
                effects,
                format_args!("a write at {offset} of the configuration"),
            );
        }
    }

    fn driver_ready(&mut self, features: u64) {
        self.multiport = features & feature::MULTIPORT != 0;
    }

    fn notified(&mut self, notified: u16, io: &mut Io<'_>) -> Result<(), RingError> {
        if notified == queue::CONTROL_TRANSMIT {
            if self.multiport {
                self.take_control(io)?;
            }
        } else if notified % 2 == 1 {
            let port = match notified {
                1 => 0,
                _ => u32::from(notified) / 2 - 1,
            };
            if self.multiport || port == 0 {
                self.take_output(port, io)?;
            }
        }
        self.pump(io)
    }

    fn driver_reset(&mut self) {
        let Self {
            config: _,
            ports,
            multiport,
        } = self;
        ports.iter_mut().for_each(Port::driver_reset);
        *multiport = false;
    }

    fn reset(&mut self) {
        let Self {
            config: _,
            ports,
            multiport,
        } = self;
        ports.fill(Port::at_reset());
        *multiport = false;
    }

    fn save(&self) -> Vec<u8> {
        self.save_state()
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        self.load_state(saved)
    }
}
