//! What a machine is built from.

pub use ring3_cpu::CpuKind;

/// The parameters of a machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MachineConfig {
    /// Logical processors, 1 to [`CPUS_MAX`].
    pub cpus: u32,
    /// Which processor they are.
    pub cpu: CpuKind,
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// Seeds everything random: RDRAND, the entropy device.
    pub seed: u64,
    /// Ticks that a processor runs before the next one has its turn, while several have work.
    pub quantum_ticks: u64,
    /// The console ports (virtio) besides the serial port, by name.
    pub console_ports: Vec<String>,
    /// Bytes of the virtual disk, or `None` for no disk.
    pub disk_bytes: Option<u64>,
    /// What the firmware configuration interface gives as the kernel's command line.
    pub command_line: Vec<u8>,
}

/// The most processors a machine can have.
pub const CPUS_MAX: u32 = 64;

impl Default for MachineConfig {
    fn default() -> Self {
        MachineConfig {
            cpus: 2,
            cpu: CpuKind::default(),
            memory_bytes: 512 << 20,
            seed: 0,
            quantum_ticks: 1000,
            console_ports: Vec::new(),
            disk_bytes: None,
            command_line: Vec::new(),
        }
    }
}
