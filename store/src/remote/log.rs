//! The log of commits: read to its end, and written by whoever makes the next number first.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ulid::Ulid;

use super::client::{Made, Object};
use super::error::{RemoteError, Result};
use super::format::{Commit, LAYOUT, MARKER, MAX_CHECKPOINT, MAX_COMMIT, MAX_MARKER, Marker, State, seal};
use super::ours::Tried;
use super::state::{Prepared, Proposal};
use super::{Inner, Known};

/// Folders of the log.
pub(super) const COMMITS: &str = "commits";
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// Whoever opens a store reads at most about so many commits.
pub(super) const CHECKPOINT_EVERY: u64 = 64;
/// Commits that are fetched at once.
const BATCH: usize = 64;
/// A commit that loses to others this often has met more writers than a store is for.
const MAX_TRIES: u32 = 40;
/// Longest pause between two tries.
const MAX_PAUSE_MS: u64 = 500;

/// Name of a commit's object.
pub(super) fn commit_name(sequence: u64) -> String {
    format!("{COMMITS}/{sequence:020}.json")
}

/// Name of a checkpoint's object.
fn checkpoint_name(sequence: u64) -> String {
    format!("{CHECKPOINTS}/{sequence:020}.json.zst")
}

/// The number in the name of an object of a folder; none for what is not ours.
pub(super) fn sequence_of(name: &str, folder: &str, end: &str) -> Option<u64> {
    let digits = name.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(end)?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Inner {
    /// Reads what has been committed since the last time.
    pub(super) fn refresh(&self) -> Result<()> {
        let _alone = self.following.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let followed = self.identify().and_then(|()| self.follow(None));
        self.known().trouble = followed.as_ref().err().map(ToString::to_string);
        followed
    }

    /// Finds out which store it is, once; a writer makes one where nothing is.
    fn identify(&self) -> Result<()> {
        if self.known().is_identified {
            return Ok(());
        }
        let marker = match self.read_marker() {
            Err(error) if error.is_missing() && self.is_writer => self.make_marker()?,
            Err(error) if error.is_missing() => {
                return Err(RemoteError::NotAStore { url: self.client.url().to_owned() });
            }
            marker => marker?,
        };
        let ours = self.known().ours.clone().of_store(marker.id);
        if self.is_writer {
            self.notes.write(&ours)?;
        }
        let mut known = self.known();
        if known.ours.store != Some(marker.id) {
            known.reset(State::empty(), &self.cache);
        }
        known.ours = ours;
        known.is_identified = true;
        Ok(())
    }

    fn read_marker(&self) -> Result<Marker> {
        let json = self.client.get(MARKER, MAX_MARKER)?;
        let marker: Marker = serde_json::from_slice(&json)
            .map_err(|error| self.client.damaged(MARKER, format!("it cannot be read: {error}")))?;
        if marker.layout != LAYOUT {
            let reason =
                format!("it has layout {}; this version of Vesta knows layout {LAYOUT}", marker.layout);
            return Err(self.client.damaged(MARKER, reason));
        }
        Ok(marker)
    }

    fn make_marker(&self) -> Result<Marker> {
        if let Some(object) = self.client.any()? {
            // Unless another writer has been quicker.
            return self.read_marker().map_err(|error| match error.is_missing() {
                true => RemoteError::Foreign { url: self.client.url().to_owned(), object },
                false => error,
            });
        }
        let marker = Marker { layout: LAYOUT, id: Ulid::new() };
        let json = serde_json::to_vec(&marker).map_err(|error| RemoteError::Local(error.to_string()))?;
        // Whatever became of it: the one that is there counts.
        let made = self.client.make(MARKER, json.into());
        self.read_marker().or_else(|error| made.and(Err(error)))
    }

    /// Takes in the commits after the last known one. `own` is one of them that need not be fetched.
    fn follow(&self, own: Option<&Commit>) -> Result<()> {
        let mut has_jumped = false;
        loop {
            let next = self.known().state.sequence + 1;
            let objects = self.client.list(COMMITS, Some(&commit_name(next - 1)))?;
            let commits: Vec<_> = objects
                .into_iter()
                .filter_map(|object| Some((sequence_of(&object.name, COMMITS, ".json")?, object)))
                .filter(|(sequence, _)| *sequence >= next)
                .collect();
            let is_whole = (next..).zip(&commits).all(|(expected, (sequence, _))| expected == *sequence);
            let is_long = commits.len() as u64 > CHECKPOINT_EVERY;
            if !has_jumped && (!is_whole || is_long || next == 1) {
                has_jumped = true;
                if self.jump()? {
                    continue;
                }
            }
            if !is_whole {
                let expected = (next..).zip(&commits).find(|(n, (sequence, _))| n != sequence);
                let object = commit_name(expected.map_or(next, |(n, _)| n));
                return Err(RemoteError::Missing { url: self.client.url().to_owned(), object });
            }
            self.take(&commits, own)?;
            self.known().refreshed = Some(Instant::now());
            return Ok(());
        }
    }

    fn take(&self, commits: &[(u64, Object)], own: Option<&Commit>) -> Result<()> {
        for batch in commits.chunks(BATCH) {
            let is_own = |sequence: u64| own.filter(|own| own.sequence == sequence);
            let names = batch.iter().filter(|(sequence, _)| is_own(*sequence).is_none());
            let names: Vec<_> = names.map(|(_, object)| (object.name.clone(), MAX_COMMIT)).collect();
            let mut fetched = self.client.get_all(&names).into_iter();
            for (sequence, object) in batch {
                let commit = match is_own(*sequence) {
                    Some(own) => own.clone(),
                    None => {
                        let json =
                            fetched.next().unwrap_or_else(|| self.client.get(&object.name, MAX_COMMIT))?;
                        Commit::read(&json, *sequence)
                            .map_err(|reason| self.client.damaged(&object.name, reason))?
                    }
                };
                self.known().apply(commit, object.modified_ms, &self.cache);
            }
        }
        Ok(())
    }

    /// Goes on from the newest checkpoint that can be read, if it is newer than what is known.
    fn jump(&self) -> Result<bool> {
        let known = self.known().state.sequence;
        let objects = self.client.list(CHECKPOINTS, None)?;
        let newer = objects
            .into_iter()
            .rev()
            .filter_map(|object| Some((sequence_of(&object.name, CHECKPOINTS, ".json.zst")?, object.name)));
        for (sequence, name) in newer.filter(|(sequence, _)| *sequence > known) {
            let state = self.client.get(&name, MAX_CHECKPOINT).and_then(|packed| {
                let state = State::unpack(&packed).map_err(|reason| self.client.damaged(&name, reason))?;
                let wrong = || self.client.damaged(&name, format!("it is of commit {}", state.sequence));
                if state.sequence == sequence { Ok(state) } else { Err(wrong()) }
            });
            match state {
                Ok(state) => {
                    self.known().reset(state, &self.cache);
                    return Ok(true);
                }
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => tracing::warn!(%error, "an earlier checkpoint is used"),
            }
        }
        Ok(false)
    }

    /// Commits what of a proposal fits the store as it is by then; the segments that it refused come back.
    pub(super) fn commit(&self, proposal: &Proposal, now_ms: i64) -> Result<Vec<Ulid>> {
        let _alone = self.following.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let id = Ulid::new();
        let mut last = None;
        for tries in 0..MAX_TRIES {
            if tries > 0 {
                pause(tries);
            }
            let prepared = self.known().state.prepare(proposal);
            if prepared.is_empty() {
                return Ok(prepared.refused);
            }
            let refused = prepared.refused.clone();
            let commit = self.commit_of(prepared, id, now_ms);
            self.note(&commit)?;
            match self.try_commit(&commit) {
                Ok(true) => {
                    self.follow(Some(&commit))?;
                    let writer = self.known().ours.writer;
                    let is_last =
                        self.known().state.writers.get(&writer).is_some_and(|writer| writer.commit == id);
                    if is_last {
                        self.settle()?;
                        self.checkpoint(&commit);
                        return Ok(refused);
                    }
                    // The number was one of long ago, whose object had been deleted: nobody reads it.
                    self.client.delete_all(vec![commit_name(commit.sequence)])?;
                }
                Ok(false) => {
                    self.conflicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    self.follow(None)?;
                }
                Err(error) if error.is_passing() => last = Some(error),
                Err(error) => return Err(error),
            }
            if last.is_some() && tries >= 3 {
                break;
            }
        }
        Err(last.unwrap_or_else(|| RemoteError::Refused {
            url: self.client.url().to_owned(),
            action: "commit".to_owned(),
            reason: format!("others were quicker {MAX_TRIES} times"),
        }))
    }

    fn commit_of(&self, prepared: Prepared, id: Ulid, now_ms: i64) -> Commit {
        let Prepared { added, replaced, expired, deleted, pins, refused: _ } = prepared;
        let known = self.known();
        let (sequence, writer) = (known.state.sequence + 1, known.ours.writer);
        let (layout, host, time_ms) = (LAYOUT, self.host.clone(), now_ms);
        Commit { layout, sequence, id, writer, host, time_ms, added, replaced, expired, deleted, pins }
    }

    /// Writes down what is tried before it is, for whoever comes after a crash.
    fn note(&self, commit: &Commit) -> Result<()> {
        let tried =
            Tried { commit: commit.id, segments: commit.added.iter().map(|entry| entry.id).collect() };
        let ours = {
            let mut known = self.known();
            if known.ours.tried.as_ref() == Some(&tried) {
                return Ok(());
            }
            known.ours.tried = Some(tried);
            known.ours.clone()
        };
        self.notes.write(&ours)
    }

    /// Whether the commit is the one of its number. An answer may be lost, so that what is there tells.
    fn try_commit(&self, commit: &Commit) -> Result<bool> {
        let json = seal(commit).map_err(|error| RemoteError::Local(error.to_string()))?;
        let name = commit_name(commit.sequence);
        match self.client.make(&name, Bytes::from(json)) {
            Ok(Made::Made) => return Ok(true),
            Ok(Made::Exists) => {}
            Err(error) if error.is_passing() => match self.client.get(&name, MAX_COMMIT) {
                Ok(json) => {
                    return Ok(Commit::read(&json, commit.sequence).is_ok_and(|found| found.id == commit.id));
                }
                Err(_) => return Err(error),
            },
            Err(error) => return Err(error),
        }
        let json = self.client.get(&name, MAX_COMMIT)?;
        let found =
            Commit::read(&json, commit.sequence).map_err(|reason| self.client.damaged(&name, reason))?;
        Ok(found.id == commit.id)
    }

    /// What was tried has happened, or not.
    pub(super) fn settle(&self) -> Result<()> {
        let ours = {
            let mut known = self.known();
            let Known { ours, state, .. } = &mut *known;
            let before = ours.clone();
            ours.settle(state);
            if *ours == before {
                return Ok(());
            }
            ours.clone()
        };
        self.notes.write(&ours)
    }

    /// Writes a checkpoint when it is time. One that fails is made up for by the next.
    fn checkpoint(&self, commit: &Commit) {
        if !commit.sequence.is_multiple_of(CHECKPOINT_EVERY) {
            return;
        }
        let (sequence, packed) = {
            let known = self.known();
            (known.state.sequence, known.state.pack())
        };
        let store = self.known().ours.store;
        let written = packed.map_err(RemoteError::Local).and_then(|packed| {
            if let Some(store) = store {
                self.notes.write_state(store, &packed)?;
            }
            self.client.make(&checkpoint_name(sequence), packed.into())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "no checkpoint this time");
        }
    }
}

/// Waits before another try, the longer the more there were, and not as long as others do.
fn pause(tries: u32) {
    let most = (10u64 << tries.min(6)).min(MAX_PAUSE_MS);
    let random = (Ulid::new().random() as u64) % most;
    thread::sleep(Duration::from_millis(most / 2 + random / 2));
}
