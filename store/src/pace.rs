//! How fast work in the background may be.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

/// Longest pause at once: whoever stops the program waits for it.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Limits for merging: how much of one CPU, and how many bytes a second it writes. Without limits by default.
#[derive(Default)]
pub struct Pace {
    /// Share of one CPU, 1 to 100 percent.
    cpu_percent: Option<u32>,
    bytes_per_second: Option<u64>,
    since: Mutex<Option<Instant>>,
    is_over: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Pace {
    /// At most so much of one CPU, in percent, and so many bytes written a second.
    pub fn limited(cpu_percent: u32, bytes_per_second: u64) -> Self {
        Self {
            cpu_percent: Some(cpu_percent.clamp(1, 100)),
            bytes_per_second: Some(bytes_per_second.max(1)),
            since: Mutex::new(None),
            is_over: None,
        }
    }

    /// From the moment that `is_over` says so there are no pauses, and nothing new is begun.
    pub fn until(self, is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { is_over: Some(Box::new(is_over)), ..self }
    }

    /// Whether nothing new is to be begun.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.as_ref().is_some_and(|is_over| is_over())
    }

    /// Called after each piece of work, some milliseconds long; `written` is in bytes. Sleeps for as long as the piece
    /// was too fast.
    pub(crate) fn rest(&self, written: u64) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = since.map_or(Duration::ZERO, |since| since.elapsed());
        let mut left = self.pause(worked, written);
        while !left.is_zero() && !self.is_over() {
            let now = left.min(MAX_PAUSE);
            thread::sleep(now);
            left -= now;
        }
        *since = Some(Instant::now());
    }

    /// How long to rest after a piece of work.
    fn pause(&self, worked: Duration, written: u64) -> Duration {
        let (Some(percent), Some(rate)) = (self.cpu_percent, self.bytes_per_second) else {
            return Duration::ZERO;
        };
        let for_cpu = worked * (100 - percent) / percent;
        let for_disk = Duration::from_secs_f64(written as f64 / rate as f64).saturating_sub(worked);
        for_cpu.max(for_disk)
    }

    /// Work begins: the time since the last piece was not work.
    pub(crate) fn begin(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn work_rests_for_the_cpu_or_for_the_disk_whichever_takes_longer() {
        let ms = Duration::from_millis;
        let pace = Pace::limited(20, 1000);
        assert_eq!(pace.pause(ms(10), 0), ms(40));
        assert_eq!(pace.pause(ms(10), 20), ms(40));
        assert_eq!(pace.pause(ms(10), 3000), ms(2990));
        assert_eq!(Pace::limited(100, 1000).pause(ms(10), 0), ms(0));
        assert_eq!(Pace::default().pause(ms(10), 1 << 30), ms(0));
    }

    #[test]
    fn a_piece_is_followed_by_its_rest() {
        let pace = Pace::limited(100, 1000);
        pace.begin();
        let begin = Instant::now();
        // Longer than one pause.
        pace.rest(700);
        assert!(begin.elapsed() >= Duration::from_millis(700));
    }

    #[test]
    fn whoever_ends_the_program_waits_for_one_pause_at_most() {
        let asked = Arc::new(AtomicU32::new(0));
        let own = asked.clone();
        let pace = Pace::limited(100, 1).until(move || own.fetch_add(1, Ordering::Relaxed) > 0);
        let begin = Instant::now();
        pace.rest(1 << 30);
        assert!(begin.elapsed() < Duration::from_secs(60));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
