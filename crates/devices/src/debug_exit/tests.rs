use super::*;
use crate::storm::{self, NoRam};

fn write(offset: u64, size: u8, value: u64) -> Effects {
    let mut effects = vec![];
    DebugExit::new().write(Ticks(0), 0, offset, size, value, &mut NoRam, &mut effects);
    effects
}

#[test]
fn the_value_written_is_the_status() {
    for (size, value) in [(1, 0), (1, 0xff), (2, 0xbeef), (4, 0xdead_beef)] {
        let status = Some(value as u32);
        assert_eq!(write(0, size, value), [Effect::PowerOff { status }]);
    }
}

#[test]
fn a_write_beside_it_does_nothing() {
    assert!(matches!(write(1, 1, 0)[..], [Effect::Warning(_)]));
}

#[test]
fn saved_bytes_of_something_else_are_refused() {
    let mut port = DebugExit::new();
    assert!(port.load(&port.clone().save()).is_ok());
    for (bytes, why) in [
        (&[][..], "it is empty"),
        (&[2], "version 2, expected 1"),
        (&[1, 0], "1 bytes too many"),
    ] {
        let LoadError(text) = port.load(bytes).unwrap_err();
        assert_eq!(text, format!("saved state of debug-exit: {why}"));
    }
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(DebugExit::new, 1, 100_000, |_, _, _, _| 0);
}
