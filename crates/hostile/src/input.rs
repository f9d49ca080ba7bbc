//! Reads decisions from bytes.

/// What is left of an input.
pub(crate) struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; zero behind the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number as guests write them. One byte says of which kind, so that short inputs can say
    /// much.
    pub(crate) fn value(&mut self) -> u64 {
        match self.byte() {
            kind @ 0..0x40 => kind.into(),
            kind @ 0x40..0x80 => 1 << (kind & 63),
            kind @ 0x80..0xc0 => u64::MAX >> (kind & 63),
            0xc0..0xe0 => self.word().into(),
            0xe0..0xf0 => u64::from(self.word()) << 16 | u64::from(self.word()),
            _ => (0..4).fold(0, |value, _| value << 16 | u64::from(self.word())),
        }
    }

    /// 1, 2, 4 or 8.
    pub(crate) fn size(&mut self) -> u8 {
        1 << (self.byte() & 3)
    }
}

/// RAM that a device reaches.
pub(crate) struct SmallRam(pub Vec<u8>);

impl ring3_bus::Dma for SmallRam {
    fn read(
        &mut self,
        address: ring3_arch::GuestPhys,
        into: &mut [u8],
    ) -> Result<(), ring3_bus::DmaError> {
        let length = into.len();
        let found = usize::try_from(address.0)
            .ok()
            .and_then(|at| self.0.get(at..at.checked_add(length)?));
        into.copy_from_slice(found.ok_or(ring3_bus::DmaError { address, length })?);
        Ok(())
    }

    fn write(
        &mut self,
        address: ring3_arch::GuestPhys,
        from: &[u8],
    ) -> Result<(), ring3_bus::DmaError> {
        let length = from.len();
        let place = usize::try_from(address.0)
            .ok()
            .and_then(|at| self.0.get_mut(at..at.checked_add(length)?));
        place
            .ok_or(ring3_bus::DmaError { address, length })?
            .copy_from_slice(from);
        Ok(())
    }
}
