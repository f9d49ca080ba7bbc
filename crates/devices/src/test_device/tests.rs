use super::*;
use crate::storm::{self, NoRam};

fn write(device: &mut TestDevice, region: usize, offset: u64, size: u8, value: u64) -> Effects {
    let mut effects = vec![];
    device.write(
        Ticks(0),
        region,
        offset,
        size,
        value,
        &mut NoRam,
        &mut effects,
    );
    effects
}

fn read(device: &mut TestDevice, region: usize, offset: u64, size: u8) -> u64 {
    device.read(Ticks(0), region, offset, size, &mut vec![])
}

#[test]
fn a_port_is_a_line() {
    let mut device = TestDevice::new();
    let line = |irq, asserted| vec![Effect::Line { irq, asserted }];
    assert_eq!(write(&mut device, LINES, 14, 1, 1), line(14, true));
    assert_eq!(read(&mut device, LINES, 14, 1), 1);
    assert_eq!(write(&mut device, LINES, 14, 4, 0), line(14, false));
    assert_eq!(read(&mut device, LINES, 14, 1), 0);
    assert_eq!(write(&mut device, LINES, 23, 1, 0x80), line(23, true));
}

#[test]
fn scratch_holds_what_was_written() {
    let mut device = TestDevice::new();
    for region in [SCRATCH, MEMORY] {
        assert_eq!(read(&mut device, region, 0, 4), 0);
        assert_eq!(write(&mut device, region, 0, 4, 0x1234_5678), []);
        assert_eq!(write(&mut device, region, 1, 1, 0xff), []);
        assert_eq!(read(&mut device, region, 0, 4), 0x1234_ff78);
    }
    assert_eq!(write(&mut device, MEMORY, 0xfff8, 8, u64::MAX), []);
    assert_eq!(read(&mut device, MEMORY, 0xfff8, 8), u64::MAX);
    device.reset();
    assert_eq!(read(&mut device, MEMORY, 0, 8), 0);
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(TestDevice::new, 1, 20_000, |_, _, _, _| 0);
}
