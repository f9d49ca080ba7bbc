//! QEMU's "pc" machine as an outside judge of boot images.
//!
//! A small ROM takes the place of a BIOS: it brings the processor from the reset vector to exactly
//! the start state that the image names, having set up nothing but what a PC's firmware must (where
//! RAM is visible below 1 MiB, where the power-management registers are, how PCI interrupts are
//! routed). Memory contents come from the image through QEMU's generic loader. So the guest sees
//! what the image says and nothing else: no SeaBIOS, no tables or loaders of QEMU's own.

use ring3_arch::{ApicId, GuestPhys};
use ring3_boot::acpi::{
    AcpiParameters, Hpet, InterruptOverride, IoApic, IsaDevice, KeyboardController,
    LegacyInterruptController, PciInterrupt, PciRoot, Polarity, PowerRegisters, RealTimeClock,
    RegisterAddress, ResetRegister, Trigger,
};
use ring3_boot::{BootImage, PhysRange, PhysicalMemory, StartState, WriteError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The memory of the machines here.
pub const RAM_BYTES: u64 = 512 << 20;

/// Where what belongs between 768 KiB and 1 MiB waits until RAM is visible there.
const STAGING: u64 = 0x0a00_0000;
const SHADOW_START: u64 = 0xc_0000;
const SHADOW_END: u64 = 0x10_0000;

/// QEMU's PIIX4 power-management block, where the ROM puts it.
const PM_BASE: u16 = 0x600;
/// Where QEMU takes the exit status from (its `isa-debug-exit` device).
pub const EXIT_PORT: u16 = 0xf4;

/// The tool, or `None` with a message.
pub fn qemu() -> Option<&'static str> {
    const QEMU: &str = "qemu-system-x86_64";
    if Command::new(QEMU).arg("--version").output().is_ok() {
        return Some(QEMU);
    }
    println!("skipped: {QEMU} is not installed");
    None
}

/// What QEMU's "pc" machine has, in the words of our ACPI parameters.
pub fn acpi(processors: u32) -> AcpiParameters {
    let level_high = |irq: u8| InterruptOverride {
        isa_irq: irq,
        gsi: irq.into(),
        polarity: Polarity::ActiveHigh,
        trigger: Trigger::Level,
    };
    let mut interrupt_overrides = AcpiParameters::pc_overrides(9);
    interrupt_overrides.extend([level_high(10), level_high(11)]);
    AcpiParameters {
        processors: (0..processors).map(ApicId).collect(),
        local_apic_address: 0xfee0_0000,
        local_apic_nmi_pin: Some(1),
        io_apics: vec![IoApic {
            id: 0,
            address: 0xfec0_0000,
            gsi_base: 0,
        }],
        interrupt_overrides,
        legacy_interrupt_controller: Some(LegacyInterruptController {
            master_port: 0x20,
            slave_port: 0xa0,
        }),
        power: PowerRegisters {
            event_port: PM_BASE,
            control_port: PM_BASE + 4,
            timer_port: Some(PM_BASE + 8),
            timer_32_bit: false,
            sci_irq: 9,
            soft_off_type: 0,
            power_button: true,
        },
        reset: Some(ResetRegister {
            address: RegisterAddress::Port(0xcf9),
            value: 6,
        }),
        timer: Some(IsaDevice { port: 0x40, irq: 0 }),
        clock: Some(RealTimeClock {
            port: 0x70,
            irq: 8,
            century_index: Some(0x32),
        }),
        keyboard_controller: Some(KeyboardController {
            data_port: 0x60,
            command_port: 0x64,
            keyboard_irq: 1,
            mouse_irq: Some(12),
        }),
        vga: false,
        serial_ports: vec![IsaDevice {
            port: 0x3f8,
            irq: 4,
        }],
        hpet: Some(Hpet {
            address: 0xfed0_0000,
            capabilities: 0x8086_a201,
            minimum_tick: 0,
        }),
        pci: Some(PciRoot {
            last_bus: 0xff,
            memory_windows: vec![
                PhysRange::between(GuestPhys(0xc000_0000), GuestPhys(0xfec0_0000)).unwrap(),
            ],
            port_windows: vec![(0, 0xcf7), (0xd00, 0xffff)],
            // The PIIX3 turns the pins by the device number; the ROM routes PIRQA and B to 10, C
            // and D to 11.
            interrupts: (1..32)
                .flat_map(|device| {
                    (0..4).map(move |pin| PciInterrupt {
                        device,
                        pin,
                        gsi: if (device - 1 + pin) & 3 < 2 { 10 } else { 11 },
                    })
                })
                .collect(),
        }),
    }
}

/// Memory that remembers what was written, for loading it into QEMU.
struct Ram(Vec<u8>);

impl PhysicalMemory for Ram {
    fn write(&mut self, address: GuestPhys, bytes: &[u8]) -> Result<(), WriteError> {
        let start = address.0 as usize;
        let range = start..start + bytes.len();
        assert!(
            !(0xa_0000..0xe_0000).contains(&start),
            "a write to where devices are"
        );
        self.0
            .get_mut(range)
            .ok_or(WriteError {
                address,
                length: bytes.len() as u64,
            })?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }
}

/// What became of a run.
pub struct Outcome {
    /// What the guest wrote to COM1.
    pub serial: Vec<u8>,
    /// QEMU's exit status: 0 after power-off, an odd number if the guest wrote to [`EXIT_PORT`].
    pub status: Option<i32>,
}

/// Runs a boot image; `extra` are further arguments for QEMU.
pub fn run(qemu: &str, name: &str, image: &BootImage, extra: &[&str]) -> Outcome {
    let mut ram = Ram(vec![0; RAM_BYTES as usize]);
    image.write_to(&mut ram).unwrap();
    for write in &image.writes {
        let staging = PhysRange::new(GuestPhys(STAGING), SHADOW_END - SHADOW_START).unwrap();
        assert!(!write.range().overlaps(staging), "{write:?}");
    }

    let scratch = Scratch::new(name);
    let rom = scratch.file("rom", &rom(image.start));
    let mut command = Command::new(qemu);
    command.arg("-bios").arg(&rom);
    let shadow = SHADOW_START as usize..SHADOW_END as usize;
    for (label, bytes, address) in [
        ("low", &ram.0[..0xa_0000], 0),
        ("shadow", &ram.0[shadow], STAGING),
    ] {
        load(&mut command, &scratch.file(label, bytes), address);
    }
    // Everything above 1 MiB, without the long stretches of zeros that RAM begins as.
    const PIECE: usize = 1 << 20;
    for (index, piece) in ram.0.chunks(PIECE).enumerate().skip(1) {
        if piece.iter().any(|b| *b != 0) {
            let file = scratch.file(&format!("piece{index}"), piece);
            load(&mut command, &file, (index * PIECE) as u64);
        }
    }
    command.args(extra);
    finish(command, &scratch)
}

/// Lets QEMU's own firmware and Multiboot loader boot a kernel, for comparison.
pub fn run_with_its_own_loader(
    qemu: &str,
    name: &str,
    kernel: &[u8],
    command_line: &str,
    modules: &[(&[u8], &str)],
) -> Outcome {
    let scratch = Scratch::new(name);
    let mut command = Command::new(qemu);
    command.arg("-kernel").arg(scratch.file("kernel", kernel));
    command.args(["-append", command_line]);
    let modules: Vec<String> = modules
        .iter()
        .enumerate()
        .map(|(index, (bytes, arguments))| {
            let file = scratch.file(&format!("module{index}"), bytes);
            format!("{} {arguments}", file.display())
        })
        .collect();
    command.args(["-initrd", &modules.join(",")]);
    finish(command, &scratch)
}

/// Adds what every run has, runs it, and waits for its end.
fn finish(mut command: Command, scratch: &Scratch) -> Outcome {
    command.args(["-M", "pc", "-accel", "tcg", "-m", "512M", "-nodefaults"]);
    command.args(["-display", "none", "-monitor", "none", "-no-reboot"]);
    let serial = scratch.0.join("serial");
    let exit = format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4");
    command.args(["-device", &exit]);
    command
        .arg("-serial")
        .arg(format!("file:{}", serial.display()));
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    Outcome {
        serial: std::fs::read(serial).unwrap_or_default(),
        status,
    }
}

fn load(command: &mut Command, file: &Path, address: u64) {
    command.arg("-device").arg(format!(
        "loader,file={},addr={address:#x},force-raw=on",
        file.display()
    ));
}

/// A directory for the files of one run, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ring3-boot-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The ROM: 64 KiB below 4 GiB, written with the instruction encodings of SDM Vol. 2.
fn rom(start: StartState) -> Vec<u8> {
    const SIZE: usize = 0x1_0000;
    const BASE: u32 = 0xffff_0000;
    const CODE: usize = 0xf000;
    const GDT: usize = 0xfe00;
    const GDT_POINTER: usize = 0xfe40;
    const IMAGE_GDT_POINTER: usize = 0xfe48;
    const RESET: usize = 0xfff0;

    let (gdt, code, data) = match start {
        StartState::Long64(s) => (s.gdt, s.code.selector, s.data.selector),
        StartState::Protected32(s) => (s.gdt, s.code.selector, s.data.selector),
    };
    let mut rom = vec![0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| rom[at..at + bytes.len()].copy_from_slice(bytes);
    // Flat 32-bit code at 10h and data at 18h.
    put(GDT + 0x10, &0x00cf_9b00_0000_ffff_u64.to_le_bytes());
    put(GDT + 0x18, &0x00cf_9300_0000_ffff_u64.to_le_bytes());
    put(GDT_POINTER, &0x1f_u16.to_le_bytes());
    put(GDT_POINTER + 2, &(BASE + GDT as u32).to_le_bytes());
    put(IMAGE_GDT_POINTER, &gdt.limit.to_le_bytes());
    put(IMAGE_GDT_POINTER + 2, &(gdt.base.0 as u32).to_le_bytes());
    // jmp CODE
    let distance = CODE as i32 - (RESET as i32 + 3);
    put(RESET, &[0xe9]);
    put(RESET + 1, &(distance as i16).to_le_bytes());

    let mut asm = Assembler {
        bytes: Vec::new(),
        base: BASE + CODE as u32,
    };
    // Real mode: cli; lgdt cs:[GDT_POINTER]; set CR0.PE; far jump to 32-bit code.
    asm.emit(&[0xfa, 0x66, 0x2e, 0x0f, 0x01, 0x16]);
    asm.emit(&(GDT_POINTER as u16).to_le_bytes());
    asm.emit(&[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0]);
    asm.emit(&[0x66]);
    asm.far_jump_behind(0x10);
    asm.data_segments(0x18);

    // i440FX: RAM, readable and writable, at C0000h to FFFFFh (PAM registers 59h to 5Fh).
    asm.pci_write(0, 0, 0x58, 0x3333_3000);
    asm.pci_write(0, 0, 0x5c, 0x3333_3333);
    // PIIX3: PIRQA and B to 10, C and D to 11.
    asm.pci_write(1, 0, 0x60, 0x0b0b_0a0a);
    // PIIX4: power-management registers at PM_BASE, enabled, in ACPI mode (SCI_EN).
    asm.pci_write(1, 3, 0x40, u32::from(PM_BASE) | 1);
    asm.pci_write(1, 3, 0x80, 1);
    asm.out8(0xb2, 0xf1);
    // Copy what waits: mov esi, mov edi, mov ecx, cld, rep movsb.
    asm.mov(6, STAGING as u32);
    asm.mov(7, SHADOW_START as u32);
    asm.mov(1, (SHADOW_END - SHADOW_START) as u32);
    asm.emit(&[0xfc, 0xf3, 0xa4]);

    // lgdt [IMAGE_GDT_POINTER]
    let lgdt = |asm: &mut Assembler| {
        asm.emit(&[0x0f, 0x01, 0x15]);
        asm.emit(&(BASE + IMAGE_GDT_POINTER as u32).to_le_bytes());
    };
    match start {
        StartState::Long64(s) => {
            // CR3, CR4, IA32_EFER.LME, CR0: in that order ("Initializing IA-32e Mode").
            asm.mov(0, s.cr3.0 as u32);
            asm.emit(&[0x0f, 0x22, 0xd8]);
            asm.mov(0, s.cr4 as u32);
            asm.emit(&[0x0f, 0x22, 0xe0]);
            asm.mov(1, 0xc000_0080);
            asm.mov(2, 0);
            asm.mov(0, s.efer as u32 & !(1 << 10));
            asm.emit(&[0x0f, 0x30]);
            asm.mov(0, s.cr0 as u32);
            asm.emit(&[0x0f, 0x22, 0xc0]);
            lgdt(&mut asm);
            asm.far_jump_behind(code);
            asm.data_segments(data);
            // 64-bit: mov rsp, imm64; mov rsi, imm64; push RFLAGS, popfq; mov rax, rip; jmp rax.
            asm.emit(&[0x48, 0xbc]);
            asm.emit(&s.rsp.to_le_bytes());
            asm.emit(&[0x48, 0xbe]);
            asm.emit(&s.rsi.to_le_bytes());
            asm.emit(&[0x68]);
            asm.emit(&(s.rflags as u32).to_le_bytes());
            asm.emit(&[0x9d, 0x48, 0xb8]);
            asm.emit(&s.rip.to_le_bytes());
            asm.emit(&[0xff, 0xe0]);
        }
        StartState::Protected32(s) => {
            asm.mov(0, s.cr0 as u32);
            asm.emit(&[0x0f, 0x22, 0xc0]);
            lgdt(&mut asm);
            asm.far_jump_behind(code);
            asm.data_segments(data);
            // Everything the protocols leave open is made implausible.
            for register in [1, 2, 5, 6, 7] {
                asm.mov(register, 0xdead_0000 + u32::from(register));
            }
            asm.mov(4, s.esp);
            asm.mov(0, s.eax);
            asm.mov(3, s.ebx);
            // jmp code:eip
            asm.emit(&[0xea]);
            asm.emit(&s.eip.to_le_bytes());
            asm.emit(&code.to_le_bytes());
        }
    }
    put(CODE, &asm.bytes);
    rom
}

/// Instructions, one behind the other.
struct Assembler {
    bytes: Vec<u8>,
    base: u32,
}

impl Assembler {
    fn emit(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// mov r32, imm32
    fn mov(&mut self, register: u8, value: u32) {
        self.emit(&[0xb8 + register]);
        self.emit(&value.to_le_bytes());
    }

    /// jmp selector:offset, to what follows.
    fn far_jump_behind(&mut self, selector: u16) {
        let target = self.base + self.bytes.len() as u32 + 7;
        self.emit(&[0xea]);
        self.emit(&target.to_le_bytes());
        self.emit(&selector.to_le_bytes());
    }

    /// mov eax, selector; mov ds/es/ss/fs/gs, eax
    fn data_segments(&mut self, selector: u16) {
        self.mov(0, selector.into());
        self.emit(&[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8]);
    }

    /// mov edx, port; mov eax, value; out dx, eax
    fn out32(&mut self, port: u16, value: u32) {
        self.mov(2, port.into());
        self.mov(0, value);
        self.emit(&[0xef]);
    }

    /// mov edx, port; mov eax, value; out dx, al
    fn out8(&mut self, port: u16, value: u8) {
        self.mov(2, port.into());
        self.mov(0, value.into());
        self.emit(&[0xee]);
    }

    /// Configuration mechanism #1, bus 0.
    fn pci_write(&mut self, device: u32, function: u32, register: u32, value: u32) {
        self.out32(0xcf8, 1 << 31 | device << 11 | function << 8 | register);
        self.out32(0xcfc, value);
    }
}
