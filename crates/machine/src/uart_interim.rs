//! Stand-in.
use ring3_bus::*;
use ring3_clock::Ticks;

pub(crate) struct Uart;

impl Device for Uart {
    fn name(&self) -> String {
        "uart".into()
    }
    fn regions(&self) -> Vec<Region> {
        vec![Region {
            space: Space::Port,
            base: 0x3f8,
            size: 8,
        }]
    }
    fn read(&mut self, _: Ticks, _: usize, offset: u64, _: u8, _: &mut Effects) -> u64 {
        if offset == 5 { 0x60 } else { 0 }
    }
    fn write(
        &mut self,
        _: Ticks,
        _: usize,
        offset: u64,
        _: u8,
        value: u64,
        _: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        if offset == 0 {
            effects.push(Effect::Output {
                stream: 0,
                bytes: vec![value as u8],
            });
        }
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        vec![]
    }
    fn load(&mut self, _: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }
}
