//! Keeps an idle machine from rushing ahead of the person who sits at it.
//!
//! Virtual time skips pauses, which is what everybody wants of a batch run. At a prompt it would mean
//! that every time-out passes at once and that a host processor is busy simulating timer ticks. So
//! while a person is at the machine, a pause takes as long as it says. Work still takes as long as it
//! takes: time that the machine was too slow for is not caught up with.

use ring3_clock::Ticks;
use std::time::{Duration, Instant};

/// Running ahead by less than this is not worth a wait.
const SLACK: Duration = Duration::from_millis(2);

/// See the module.
pub struct Pace {
    host: Instant,
    guest: Ticks,
}

impl Pace {
    /// From now on, with the machine at `guest`.
    pub fn new(guest: Ticks) -> Pace {
        Pace {
            host: Instant::now(),
            guest,
        }
    }

    /// How far the machine is ahead, if it is worth waiting for.
    pub fn ahead(&mut self, guest: Ticks) -> Option<Duration> {
        self.ahead_at(guest, Instant::now())
    }

    fn ahead_at(&mut self, guest: Ticks, host: Instant) -> Option<Duration> {
        let guest_passed = Duration::from_nanos(guest.saturating_sub(self.guest).as_nanos());
        let host_passed = host.saturating_duration_since(self.host);
        match guest_passed.checked_sub(host_passed) {
            Some(ahead) => (ahead >= SLACK).then_some(ahead),
            None => {
                *self = Pace { host, guest };
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_clock::TSC_HZ;

    #[test]
    fn pauses_take_their_time_and_work_is_not_caught_up_with() {
        let seconds = |n: u64| Ticks(n * TSC_HZ);
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_secs(n);
        let mut pace = Pace {
            host: start,
            guest: seconds(0),
        };
        // A pause of 10 s, skipped at once.
        assert_eq!(
            pace.ahead_at(seconds(10), at(0)),
            Some(Duration::from_secs(10))
        );
        assert_eq!(pace.ahead_at(seconds(10), at(10)), None);
        // Work: 1 s of guest time takes 40 s here. Then another pause of 5 s.
        assert_eq!(pace.ahead_at(seconds(11), at(50)), None);
        assert_eq!(
            pace.ahead_at(seconds(16), at(50)),
            Some(Duration::from_secs(5))
        );
    }
}
