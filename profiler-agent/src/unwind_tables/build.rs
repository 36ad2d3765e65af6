//! The builder thread: one file at a time, at a lower priority than what is profiled. Not at the lowest: on a busy machine,
//! which is the one to look at, that would be a hundredth of a CPU, and tables would come when all is over.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::source::{FileTable, NoTable, TableSource, thread_cpu_ns};
use crate::processes::{BinaryHandle, MappedFile};

/// A file that the builder is done with.
pub(crate) struct Built {
    pub(crate) binary: BinaryHandle,
    pub(crate) table: Result<Arc<FileTable>, NoTable>,
    /// CPU time that it took, nanoseconds.
    pub(crate) cost_ns: u64,
}

/// Files with the builder at once: enough to keep it busy between two looks of the processor, few enough that a file
/// that is missed much does not wait for many.
const ORDERS_MAX: usize = 8;

/// The builder, seen from the processor.
pub(crate) struct Builder {
    orders: SyncSender<(BinaryHandle, MappedFile)>,
    results: Receiver<Built>,
    ordered: usize,
}

impl Builder {
    /// Starts the thread; it ends when this is dropped.
    pub(crate) fn start(source: Arc<TableSource>) -> std::io::Result<Self> {
        let (orders, orders_out) = sync_channel::<(BinaryHandle, MappedFile)>(ORDERS_MAX);
        let (results_in, results) = sync_channel(ORDERS_MAX);
        thread::Builder::new().name("vesta-tables".into()).spawn(move || {
            be_nice();
            while let Ok((binary, file)) = orders_out.recv() {
                let before = thread_cpu_ns();
                let table = source.get(binary, &file);
                let cost_ns = thread_cpu_ns() - before;
                if results_in.send(Built { binary, table, cost_ns }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders, results, ordered: 0 })
    }

    /// How many files may be ordered now.
    pub(crate) fn room(&self) -> usize {
        ORDERS_MAX - self.ordered
    }

    /// Hands a file to the builder, which has room.
    pub(crate) fn order(&mut self, binary: BinaryHandle, file: MappedFile) {
        self.ordered += usize::from(self.orders.try_send((binary, file)).is_ok());
    }

    /// A file that is done, if there is one.
    pub(crate) fn done(&mut self) -> Option<Built> {
        let built = self.results.try_recv().ok()?;
        self.ordered -= 1;
        Some(built)
    }
}

/// About a third of the CPU that an ordinary thread gets, where both want it.
const NICENESS: i32 = 5;

/// Lowers the priority of this thread alone.
fn be_nice() {
    // Without it the thread works at the usual priority, which costs others a little.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "tables are built at the usual priority");
    }
}
