//! Stand-in until the arithmetic crate has x87.
use serde::{Deserialize, Serialize};

/// x87 registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct X87 {
    pub control: u16,
    pub status: u16,
    image: Vec<u8>,
}

impl Default for X87 {
    fn default() -> Self {
        X87 {
            control: 0x37f,
            status: 0,
            image: vec![0; 160],
        }
    }
}

impl X87 {
    pub fn is_initial(&self) -> bool {
        *self == X87::default()
    }
    pub fn to_fxsave(&self, _wide: bool) -> [u8; 160] {
        let mut image: [u8; 160] = self.image.clone().try_into().unwrap();
        image[0..2].copy_from_slice(&self.control.to_le_bytes());
        image[2..4].copy_from_slice(&self.status.to_le_bytes());
        image
    }
    pub fn load_fxsave(&mut self, image: &[u8; 160], _wide: bool) {
        self.image = image.to_vec();
        self.control = u16::from_le_bytes([image[0], image[1]]);
        self.status = u16::from_le_bytes([image[2], image[3]]);
        self.image[0..4].fill(0);
        self.image[24..32].fill(0);
    }
}
