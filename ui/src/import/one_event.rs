//! One event of a profile that has several: bytes, objects and time have no sum, and whatever shows a single number for
//! a stack would add them up.

use std::collections::BTreeMap;

use store::model::{Keep, Profile, ProfileBuilder, Row};

use super::{Imported, events};
use crate::render::values::{CPU, ValueType};

/// What was chosen of several events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneEvent {
    /// The event whose samples are left.
    pub kept: String,
    /// Those whose samples are not.
    pub others: Vec<String>,
}

impl Imported {
    /// Leaves the samples of one event: the one that the file means to be seen first, else CPU time, else the one with
    /// most samples. None if there are no others.
    pub fn keep_one_event(&mut self) -> Option<OneEvent> {
        let profile = &self.profile;
        let mut others = events(profile);
        if others.len() < 2 {
            return None;
        }
        let main = self.main_event.clone().filter(|event| others.contains(event));
        let kept = main.unwrap_or_else(|| main_of(profile));
        others.remove(&kept);
        let mut builder = ProfileBuilder::default();
        builder.merge(profile, Keep::ALL, i64::MIN..i64::MAX, |row| event(profile, row) == kept);
        self.profile = builder.finish(profile.start_ms, profile.end_ms);
        Some(OneEvent { kept, others: others.into_iter().collect() })
    }
}

fn event<'a>(profile: &'a Profile, row: &Row) -> &'a str {
    profile.label(row.key.series, "event").unwrap_or_default()
}

fn main_of(profile: &Profile) -> String {
    // CPU time goes before any number of samples.
    let mut ranks: BTreeMap<&str, (bool, u64)> = BTreeMap::new();
    for row in &profile.rows {
        let (is_cpu, samples) = ranks.entry(event(profile, row)).or_default();
        *is_cpu |= ValueType::of(profile, row.key.series) == CPU;
        *samples += row.samples;
    }
    ranks.into_iter().max_by_key(|(_, rank)| *rank).map(|(event, _)| event.to_owned()).unwrap_or_default()
}
