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
        let (Some(percent), Some(rate)) = (self.cpu_percent, self.bytes_per_second) else { return };
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.is_over() {
            return;
        }
        let for_cpu = worked * (100 - percent) / percent;
        let for_disk = Duration::from_secs_f64(written as f64 / rate as f64).saturating_sub(worked);
        thread::sleep(for_cpu.max(for_disk).min(MAX_PAUSE));
        *since = Some(Instant::now());
    }

    /// Work begins: the time since the last piece was not work.
    pub(crate) fn begin(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
