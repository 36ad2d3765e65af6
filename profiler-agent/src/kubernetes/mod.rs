//! What Kubernetes calls the pods of this node, their containers and workloads, from its API server. Off unless someone names
//! one. Asked on a thread of its own, and only while a pod or a container is sampled that is not known: neither sampling
//! nor naming waits, and samples get their labels as long as their window is open.

mod client;
mod pod;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::config::KubernetesOptions;
use client::Client;
use pod::{Label, Pod};

/// How long the server is left alone between two questions, whatever starts on the node.
const REST: Duration = Duration::from_secs(2);
/// A container the server does not know (yet) is asked for again after this time, each time twice as long.
const PATIENCE: Duration = Duration::from_secs(2);
/// A server that fails is left alone, the longer the more often in a row.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// How long a pod is remembered that is no longer on the node: its samples may still wait for their names.
const KEEP_GONE: Duration = Duration::from_secs(120);
/// Containers whose next question is remembered, some 200 bytes each: many times those of a node. Beyond it all are forgotten.
const ASKED_MAX: usize = 4096;

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct PodCounts {
    /// Lists that came.
    pub(crate) lists: AtomicU64,
    /// Errors, and answers that were none.
    pub(crate) failed: AtomicU64,
    /// Pods that are known now.
    pub(crate) pods: AtomicU64,
    /// Sampled containers that the server does not know, now.
    pub(crate) unknown: AtomicU64,
}

/// When a container that is not known is asked for.
struct Asked {
    pause: Duration,
    not_before: Instant,
}

/// By uid of the pod and id of the container.
type Container = (String, Option<String>);

#[derive(Default)]
struct Known {
    pods: HashMap<String, (Pod, Instant)>,
    asked: HashMap<Container, Asked>,
}

/// The thread that asks, as the rest of the agent sees it. It ends with the last of these.
#[derive(Clone)]
pub(crate) struct Pods {
    known: Arc<Mutex<Known>>,
    counts: Arc<PodCounts>,
    /// Says that something is wanted; one such word is enough.
    wanted: SyncSender<()>,
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Pods {
    /// Starts it. Errors name a certificate that cannot be used.
    pub(crate) fn start(options: &KubernetesOptions) -> io::Result<Self> {
        let client = Client::new(options)?;
        let (wanted, wants) = sync_channel(1);
        let pods = Self { known: Arc::default(), counts: Arc::default(), wanted };
        let (known, counts) = (pods.known.clone(), pods.counts.clone());
        thread::Builder::new()
            .name("vesta-pods".into())
            .spawn(move || keep_up(&client, &wants, &known, &counts))?;
        Ok(pods)
    }

    /// The labels of a process in this container of a pod, both as its cgroup calls them; none as long as the server's
    /// answer does not have them. Never waits: what is not known is asked for.
    pub(crate) fn labels(&self, uid: &str, container: Option<&str>) -> Option<Vec<Label>> {
        let mut known = lock(&self.known);
        let labels = known.pods.get(uid).and_then(|(pod, _)| pod.labels_in(container));
        if labels.is_none() && known.want(uid, container, Instant::now()) {
            // Full: it has been told.
            let _ = self.wanted.try_send(());
        }
        labels
    }

    /// Counters.
    pub(crate) fn counts(&self) -> &PodCounts {
        &self.counts
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Whether the server is to be asked for a container now.
    fn want(&mut self, uid: &str, container: Option<&str>, now: Instant) -> bool {
        if self.asked.len() >= ASKED_MAX {
            self.asked.clear();
        }
        let container = (uid.to_owned(), container.map(str::to_owned));
        let asked = self.asked.entry(container).or_insert(Asked { pause: PATIENCE, not_before: now });
        asked.not_before <= now
    }

    fn is_due(&self, now: Instant) -> bool {
        self.asked.values().any(|asked| asked.not_before <= now)
    }

    /// Takes in what is on the node now.
    fn take_in(&mut self, pods: HashMap<String, Pod>, now: Instant) {
        self.pods.retain(|_, (_, listed)| now.duration_since(*listed) < KEEP_GONE);
        self.pods.extend(pods.into_iter().map(|(uid, pod)| (uid, (pod, now))));
        let pods = &self.pods;
        self.asked.retain(|(uid, container), asked| {
            let is_known =
                pods.get(uid).is_some_and(|(pod, _)| pod.labels_in(container.as_deref()).is_some());
            if asked.not_before <= now {
                asked.not_before = now + asked.pause;
                asked.pause = (asked.pause * 2).min(LONGEST_PAUSE);
            }
            !is_known
        });
    }
}

/// Asks whenever something is wanted, until nobody is left who could want it.
fn keep_up(client: &Client, wants: &Receiver<()>, known: &Mutex<Known>, counts: &PodCounts) {
    let (mut told, mut pause) = (String::new(), PAUSE);
    while wants.recv().is_ok() {
        // The word may be of before the last answer.
        if !lock(known).is_due(Instant::now()) {
            continue;
        }
        let rest = match client.pods() {
            Ok(pods) => {
                let mut known = lock(known);
                known.take_in(pods, Instant::now());
                counts.lists.fetch_add(1, Ordering::Relaxed);
                counts.pods.store(known.pods.len() as u64, Ordering::Relaxed);
                counts.unknown.store(known.asked.len() as u64, Ordering::Relaxed);
                (told, pause) = (String::new(), PAUSE);
                REST
            }
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                if told != error {
                    tracing::warn!(%error, "Kubernetes does not say what its pods are called; it will be asked again");
                    told = error;
                }
                let longer = (pause * 2).min(LONGEST_PAUSE);
                std::mem::replace(&mut pause, longer)
            }
        };
        thread::sleep(rest);
    }
}

#[cfg(test)]
mod tests;
