//! Saved images: FSTENV, FSAVE and their counterparts in four formats, and the x87 part of the
//! FXSAVE area.
//!
//! Sources: SDM Vol. 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE" and the
//! figures there; "Layout of the FXSAVE Area" in "FXSAVE-Save x87 FPU, MMX Technology, and SSE
//! State", Vol. 2.

use super::{CONTROL_FIXED, F80, X87};
use serde::{Deserialize, Serialize};

/// The format of an FSTENV or FSAVE image, by operand size and mode. 64-bit mode uses
/// [`ImageFormat::Protected32`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImageFormat {
    /// 16-bit operand size in real-address or virtual-8086 mode.
    Real16,
    /// 16-bit operand size in protected mode.
    Protected16,
    /// 32-bit operand size in real-address or virtual-8086 mode.
    Real32,
    /// 32-bit operand size in protected mode.
    Protected32,
}

impl ImageFormat {
    /// All of them, in the order of their discriminants.
    pub const ALL: [ImageFormat; 4] = [
        ImageFormat::Real16,
        ImageFormat::Protected16,
        ImageFormat::Real32,
        ImageFormat::Protected32,
    ];

    /// Bytes of an environment: 14 or 28.
    pub const fn environment_size(self) -> usize {
        match self {
            ImageFormat::Real16 | ImageFormat::Protected16 => 14,
            ImageFormat::Real32 | ImageFormat::Protected32 => 28,
        }
    }

    /// Bytes of a whole state: 94 or 108.
    pub const fn state_size(self) -> usize {
        self.environment_size() + 80
    }

    /// Bytes of a field of the environment, of which there are seven: 2 or 4.
    pub const fn field_size(self) -> usize {
        self.environment_size() / 7
    }
}

impl X87 {
    /// FNSTENV: the image in the first [`ImageFormat::environment_size`] bytes. All exceptions are
    /// masked afterwards.
    pub fn store_environment(&mut self, format: ImageFormat) -> [u8; 28] {
        let image = self.environment(format);
        self.set_control(self.control | super::EXCEPTIONS);
        image
    }

    fn environment(&self, format: ImageFormat) -> [u8; 28] {
        let (ip, dp) = (self.instruction_pointer as u32, self.data_pointer as u32);
        let (cs, ds) = (u32::from(self.code_selector), u32::from(self.data_selector));
        let opcode = u32::from(self.opcode);
        let pointers = match format {
            ImageFormat::Protected32 => [ip, cs | opcode << 16, dp, ds],
            ImageFormat::Protected16 => [ip, cs, dp, ds],
            ImageFormat::Real32 | ImageFormat::Real16 => [
                ip & 0xffff,
                (ip >> 16) << 12 | opcode,
                dp & 0xffff,
                (dp >> 16) << 12,
            ],
        };
        let [a, b, c, d] = pointers;
        // The upper halves of the first three 32-bit fields are reserved, and stored as ones.
        let words = [self.control, self.status_word(), self.tag_word()]
            .map(|word| u32::from(word) | 0xffff_0000);
        let ds = if matches!(format, ImageFormat::Protected32) {
            d | 0xffff_0000
        } else {
            d
        };
        let fields = [words[0], words[1], words[2], a, b, c, ds];
        let mut image = [0; 28];
        let size = format.field_size();
        for (i, field) in fields.into_iter().enumerate() {
            image[i * size..(i + 1) * size].copy_from_slice(&field.to_le_bytes()[..size]);
        }
        image
    }

    /// FLDENV: takes control, status and tags, and pointers, from the first
    /// [`ImageFormat::environment_size`] bytes.
    pub fn load_environment(&mut self, format: ImageFormat, image: &[u8; 28]) {
        let size = format.field_size();
        let field = |i: usize| {
            let mut bytes = [0; 4];
            bytes[..size].copy_from_slice(&image[i * size..(i + 1) * size]);
            u32::from_le_bytes(bytes)
        };
        let [a, b, c, d] = [field(3), field(4), field(5), field(6)];
        match format {
            ImageFormat::Protected32 | ImageFormat::Protected16 => {
                self.instruction_pointer = a.into();
                self.code_selector = b as u16;
                self.data_pointer = c.into();
                self.data_selector = d as u16;
                // The 16-bit format does not hold the opcode.
                self.opcode = (b >> 16) as u16 & 0x7ff;
            }
            ImageFormat::Real32 | ImageFormat::Real16 => {
                self.instruction_pointer = (a & 0xffff | b >> 12 << 16).into();
                self.data_pointer = (c & 0xffff | d >> 12 << 16).into();
                self.opcode = b as u16 & 0x7ff;
                self.code_selector = 0;
                self.data_selector = 0;
            }
        }
        self.set_words(field(0) as u16, field(1) as u16);
        self.set_tag_word(field(2) as u16);
    }

    /// FNSAVE: the image in the first [`ImageFormat::state_size`] bytes: environment, then ST(0) to
    /// ST(7) of ten bytes each. The x87 is initialised afterwards, its registers kept.
    pub fn store_state(&mut self, format: ImageFormat) -> [u8; 108] {
        let mut image = [0; 108];
        let size = format.environment_size();
        image[..size].copy_from_slice(&self.environment(format)[..size]);
        for (i, slot) in image[size..size + 80].chunks_exact_mut(10).enumerate() {
            let register = self.registers[self.physical(i as u8)];
            slot.copy_from_slice(&register.to_bits().to_le_bytes()[..10]);
        }
        self.initialise();
        image
    }

    /// FRSTOR: the counterpart of [`X87::store_state`].
    pub fn load_state(&mut self, format: ImageFormat, image: &[u8; 108]) {
        let mut environment = [0; 28];
        environment.copy_from_slice(&image[..28]);
        self.load_environment(format, &environment);
        let size = format.environment_size();
        for (i, slot) in image[size..size + 80].chunks_exact(10).enumerate() {
            let mut bytes = [0; 16];
            bytes[..10].copy_from_slice(slot);
            let at = self.physical(i as u8);
            self.registers[at] = F80::from_bits(u128::from_le_bytes(bytes));
        }
    }

    /// FNINIT.
    pub(super) fn initialise(&mut self) {
        *self = X87 {
            registers: self.registers,
            ..X87::INITIAL
        };
    }

    fn set_words(&mut self, control: u16, status: u16) {
        self.status = status & 0x47ff & !super::status::ES;
        self.top = (status >> super::status::TOP_SHIFT) as u8 & 7;
        self.set_control(control);
    }

    /// Takes which registers are empty from a full tag word; the other tags follow from the
    /// registers.
    fn set_tag_word(&mut self, tags: u16) {
        self.valid = (0..8).fold(0, |valid, i| {
            valid | u8::from(tags >> (2 * i) & 3 != 3) << i
        });
    }

    /// Writes the x87 part of an FXSAVE area: bytes 0 to 23 and 32 to 159. With `wide` (REX.W) the
    /// pointers are 64 bits long and the selectors are left out.
    pub fn store_legacy_area(&self, wide: bool, area: &mut [u8; 512]) {
        area[0..2].copy_from_slice(&self.control.to_le_bytes());
        area[2..4].copy_from_slice(&self.status_word().to_le_bytes());
        area[4] = self.valid;
        area[5] = 0;
        area[6..8].copy_from_slice(&self.opcode.to_le_bytes());
        let narrow = |offset: u64, selector: u16| {
            (offset & 0xffff_ffff | u64::from(selector) << 32).to_le_bytes()
        };
        if wide {
            area[8..16].copy_from_slice(&self.instruction_pointer.to_le_bytes());
            area[16..24].copy_from_slice(&self.data_pointer.to_le_bytes());
        } else {
            area[8..16].copy_from_slice(&narrow(self.instruction_pointer, self.code_selector));
            area[16..24].copy_from_slice(&narrow(self.data_pointer, self.data_selector));
        }
        for (i, slot) in area[32..160].chunks_exact_mut(16).enumerate() {
            let register = self.registers[self.physical(i as u8)];
            slot.copy_from_slice(&register.to_bits().to_le_bytes());
        }
    }

    /// Takes the x87 part of an FXSAVE area: the counterpart of [`X87::store_legacy_area`].
    pub fn load_legacy_area(&mut self, wide: bool, area: &[u8; 512]) {
        let word = |at: usize| u16::from_le_bytes([area[at], area[at + 1]]);
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&area[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        self.valid = area[4];
        self.opcode = word(6) & 0x7ff;
        if wide {
            self.instruction_pointer = long(8);
            self.data_pointer = long(16);
            self.code_selector = 0;
            self.data_selector = 0;
        } else {
            self.instruction_pointer = long(8) & 0xffff_ffff;
            self.code_selector = word(12);
            self.data_pointer = long(16) & 0xffff_ffff;
            self.data_selector = word(20);
        }
        self.set_words(word(0) | CONTROL_FIXED, word(2));
        for (i, slot) in area[32..160].chunks_exact(16).enumerate() {
            let mut bytes = [0; 16];
            bytes[..10].copy_from_slice(&slot[..10]);
            let at = self.physical(i as u8);
            self.registers[at] = F80::from_bits(u128::from_le_bytes(bytes));
        }
    }
}
