//! The builder thread: one file at a time. At the usual priority, so that on a busy machine, which is the one to look at,
//! tables come while they are needed: a file costs some ten milliseconds once, and what is built again has an allowance.

use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
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

/// Files with the builder at once: one in work, and one for the moment until the next is ordered. Whatever is missed most
/// then waits for two at most.
const ORDERS_MAX: usize = 2;

/// The builder, seen from the processor.
pub(crate) struct Builder {
    orders: SyncSender<(BinaryHandle, MappedFile)>,
    ordered: usize,
}

impl Builder {
    /// Starts the thread; it ends when this is dropped, or when `done` says that nobody waits for what is built.
    pub(crate) fn start(
        source: Arc<TableSource>,
        done: impl Fn(Built) -> Result<(), ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, orders_out) = sync_channel::<(BinaryHandle, MappedFile)>(ORDERS_MAX);
        thread::Builder::new().name("vesta-tables".into()).spawn(move || {
            while let Ok((binary, file)) = orders_out.recv() {
                let before = thread_cpu_ns();
                let table = source.get(binary, &file);
                let cost_ns = thread_cpu_ns() - before;
                if done(Built { binary, table, cost_ns }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders, ordered: 0 })
    }

    /// How many files may be ordered now.
    pub(crate) fn room(&self) -> usize {
        ORDERS_MAX - self.ordered
    }

    /// Hands a file to the builder, which has room.
    pub(crate) fn order(&mut self, binary: BinaryHandle, file: MappedFile) {
        self.ordered += usize::from(self.orders.try_send((binary, file)).is_ok());
    }

    /// An order has come back.
    pub(crate) fn taken_back(&mut self) {
        self.ordered -= 1;
    }
}
