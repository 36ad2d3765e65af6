//! SIGINT and SIGTERM: the first asks for an end, the second ends at once.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};

/// How often the request is looked for where nothing tells of it.
const TICK: Duration = Duration::from_millis(50);

/// Set by the first signal.
#[derive(Clone)]
pub(crate) struct StopRequest {
    requested: Arc<AtomicBool>,
    /// Has something to read since the first signal. Nobody does, so that all who wait are told.
    told: Arc<UnixStream>,
}

impl StopRequest {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let requested = Arc::<AtomicBool>::default();
        let (told, teller) = UnixStream::pair()?;
        told.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM] {
            // In this order: the shutdown acts only if the flag was set by an earlier signal, and who is told finds it set.
            signal_hook::flag::register_conditional_shutdown(signal, 130, requested.clone())?;
            signal_hook::flag::register(signal, requested.clone())?;
            pipe::register(signal, teller.try_clone()?)?;
        }
        Ok(Self { requested, told: Arc::new(told) })
    }

    /// Whether a signal came.
    pub(crate) fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until a signal comes; whether one did.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let timeout = Timespec::try_from(at_most).ok();
        match poll(&mut [PollFd::new(&*self.told, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::debug!(%error, "waiting for signals by looking");
                thread::sleep(at_most.min(TICK));
            }
        }
        self.requested()
    }

    /// Waits until a signal comes.
    pub(crate) async fn come(&self) {
        let told = self.told.try_clone().and_then(tokio::net::UnixStream::from_std);
        while !self.requested() {
            let waited = match &told {
                Ok(told) => told.readable().await.is_ok(),
                Err(_) => false,
            };
            if !waited {
                tokio::time::sleep(TICK).await;
            }
        }
    }
}
