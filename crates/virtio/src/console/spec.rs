//! Layouts of the console device. VIRTIO 1.2, "Console Device".

/// "Device ID".
pub const ID: u8 = 3;

/// Simple communication controller, other. PCI Local Bus Specification 3.0, "Class Codes".
pub const CLASS: [u8; 3] = [0x07, 0x80, 0x00];

/// "Feature bits".
pub mod feature {
    /// VIRTIO_CONSOLE_F_SIZE: the configuration holds the size of the console.
    pub const SIZE: u64 = 1 << 0;
    /// VIRTIO_CONSOLE_F_MULTIPORT: there are several ports, and the control queues.
    pub const MULTIPORT: u64 = 1 << 1;
    /// VIRTIO_CONSOLE_F_EMERG_WRITE: characters can be written before there are queues.
    pub const EMERG_WRITE: u64 = 1 << 2;
}

/// "Device configuration layout": cols (2), rows (2), max_nr_ports (4), emerg_wr (4).
pub mod config {
    /// Offset of `emerg_wr`.
    pub const EMERGENCY_WRITE: usize = 8;
}

/// "Virtqueues": two for port 0, two for control, two for each further port.
pub mod queue {
    /// Control messages to the driver.
    pub const CONTROL_RECEIVE: u16 = 2;
    /// Control messages from the driver.
    pub const CONTROL_TRANSMIT: u16 = 3;

    /// What the queue is to a port: its receive queue (to the guest).
    pub const fn receive(port: u32) -> u16 {
        if port == 0 { 0 } else { port as u16 * 2 + 2 }
    }

    /// Its transmit queue (from the guest).
    pub const fn transmit(port: u32) -> u16 {
        receive(port) + 1
    }
}

/// `struct virtio_console_control`: id (4), event (2), value (2). "Multiport Device Operation".
pub mod control {
    /// Bytes of it.
    pub const SIZE: usize = 8;
    /// Driver: it is ready for ports (value 1) or failed (0).
    pub const DEVICE_READY: u16 = 0;
    /// Device: a port exists.
    pub const PORT_ADD: u16 = 1;
    /// Driver: the port is ready (1) or failed (0).
    pub const PORT_READY: u16 = 3;
    /// Device: the port is a console.
    pub const CONSOLE_PORT: u16 = 4;
    /// Device: the console's size; cols (2) and rows (2) follow.
    pub const RESIZE: u16 = 5;
    /// Both: the sender has opened (1) or closed (0) the port.
    pub const PORT_OPEN: u16 = 6;
    /// Device: the port's name follows, without a terminator.
    pub const PORT_NAME: u16 = 7;
}
