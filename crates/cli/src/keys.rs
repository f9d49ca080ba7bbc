//! What keys mean to ring3 itself while the terminal is raw.

use std::time::{Duration, Instant};

const CTRL_A: u8 = 0x01;
const CTRL_C: u8 = 0x03;

/// What was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A byte for the guest.
    Byte(u8),
    /// Stop the machine.
    Leave,
    /// Show the keys.
    Help,
    /// Show where the machine is.
    Information,
}

/// The keys of a serial console: Ctrl-A and a letter are for ring3.
#[derive(Debug)]
pub struct ConsoleKeys {
    enabled: bool,
    prefix: bool,
}

impl ConsoleKeys {
    /// If not `enabled`, every byte is for the guest: the input of a script is data.
    pub fn new(enabled: bool) -> ConsoleKeys {
        ConsoleKeys {
            enabled,
            prefix: false,
        }
    }

    /// Takes bytes as they were typed.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|&byte| self.key(byte)).collect()
    }

    fn key(&mut self, byte: u8) -> Option<Key> {
        if !self.enabled {
            return Some(Key::Byte(byte));
        }
        if !std::mem::take(&mut self.prefix) {
            self.prefix = byte == CTRL_A;
            return (!self.prefix).then_some(Key::Byte(byte));
        }
        match byte.to_ascii_lowercase() {
            b'x' => Some(Key::Leave),
            b'h' | b'?' => Some(Key::Help),
            b'i' => Some(Key::Information),
            b'a' | CTRL_A => Some(Key::Byte(CTRL_A)),
            _ => None,
        }
    }
}

/// Counts how urgently a person wants the program to end.
#[derive(Debug, Default)]
pub struct Impatience {
    first: Option<Instant>,
    times: u32,
    reacted: bool,
}

/// A second request counts as impatience within this time.
const WITHIN: Duration = Duration::from_secs(1);

impl Impatience {
    /// The program has done something that can be seen.
    pub fn reaction(&mut self) {
        self.reacted = true;
    }

    /// The person asked the program to end, at `now`. Returns whether it is time to stop the machine.
    pub fn request(&mut self, now: Instant) -> bool {
        match self.first {
            Some(first) if now.saturating_duration_since(first) <= WITHIN => self.times += 1,
            _ => {
                *self = Impatience {
                    first: Some(now),
                    times: 1,
                    reacted: false,
                };
            }
        }
        self.times >= 3 || self.times == 2 && !self.reacted
    }

    /// Takes typed bytes; returns whether it is time to stop the machine.
    pub fn typed(&mut self, bytes: &[u8], now: Instant) -> bool {
        let requests = bytes.iter().filter(|&&byte| byte == CTRL_C).count();
        (0..requests).fold(false, |stop, _| stop | self.request(now))
    }
}

/// Whether output is more than a terminal's echo of Ctrl-C.
pub fn is_reaction(output: &[u8]) -> bool {
    output.iter().any(|byte| !b"^C\r\n".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_console() {
        let mut keys = ConsoleKeys::new(true);
        assert_eq!(keys.take(b"a"), [Key::Byte(b'a')]);
        assert_eq!(keys.take(b"\x01"), []);
        assert_eq!(keys.take(b"x"), [Key::Leave]);
        assert_eq!(
            keys.take(b"\x01\x01\x01h\x01I\x01qx\x03"),
            [
                Key::Byte(1),
                Key::Help,
                Key::Information,
                Key::Byte(b'x'),
                Key::Byte(3)
            ]
        );
        let mut keys = ConsoleKeys::new(false);
        assert_eq!(keys.take(b"\x01x"), [Key::Byte(1), Key::Byte(b'x')]);
    }

    #[test]
    fn the_second_request_stops_what_does_not_react_and_the_third_anything() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut impatience = Impatience::default();
        assert!(!impatience.request(at(0)));
        assert!(impatience.request(at(500)));

        let mut impatience = Impatience::default();
        assert!(!impatience.request(at(0)));
        assert!(!impatience.request(at(1500)), "a new first one");
        impatience.reaction();
        assert!(!impatience.request(at(1700)));
        assert!(impatience.request(at(1800)));

        let mut impatience = Impatience::default();
        assert!(!impatience.typed(b"abc", at(0)));
        assert!(impatience.typed(b"\x03\x03", at(0)));
    }

    #[test]
    fn an_echo_is_no_reaction() {
        assert!(!is_reaction(b"^C\r\n"));
        assert!(is_reaction(b"^C\r\n$ "));
    }
}
