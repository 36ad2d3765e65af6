//! What users and their deploys say about moments and spans of time.

use std::path::Path;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::checked::{read_checked, to_checked};
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;
use crate::query::TimeRange;

/// Name of the file, in the data directory.
const FILE_NAME: &str = "annotations.json";
/// Annotations kept: a deploy every quarter of an hour for a year is 35,000, but nobody reads more than these.
/// The oldest gives way.
const MAX_ANNOTATIONS: usize = 10_000;
/// Bytes of a text: a line on the time line.
const MAX_TEXT: usize = 200;
/// Bytes of the file: all annotations with the longest texts, escaped.
const MAX_BYTES: u64 = 16 << 20;

/// What an annotation is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationKind {
    /// A remark.
    #[default]
    Note,
    /// A new version of something began to run.
    Deploy,
}

/// A remark on a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// Names it.
    pub id: String,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// What it is about.
    pub kind: AnnotationKind,
    /// In the words of whoever made it.
    pub text: String,
}

impl Store {
    /// Keeps an annotation, and gives up the oldest where there are 10,000 already.
    ///
    /// # Errors
    /// When the store is open for reading only, the text is empty or longer than 200 bytes, the time is out of range,
    /// or the file of annotations cannot be read or written.
    pub fn annotate(&self, time_ms: i64, kind: AnnotationKind, text: &str) -> Result<Annotation> {
        self.dir().require_writer()?;
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_TEXT {
            let reason = format!("an annotation has from 1 to {MAX_TEXT} bytes, not {}", text.len());
            return Err(Error::Unstorable(reason));
        }
        if !TimeRange::ALL.as_range().contains(&time_ms) {
            return Err(Error::Unstorable(format!("time {time_ms} ms is out of range")));
        }
        let _alone = self.maintenance();
        let mut all = self.all_annotations()?;
        let annotation = Annotation { id: Ulid::new().to_string(), time_ms, kind, text: text.to_owned() };
        let place = all.partition_point(|other| other.time_ms <= time_ms);
        all.insert(place, annotation.clone());
        if all.len() > MAX_ANNOTATIONS {
            tracing::warn!(limit = MAX_ANNOTATIONS, "the oldest annotation gives way");
            all.remove(0);
        }
        self.write_annotations(&all)?;
        Ok(annotation)
    }

    /// Takes back an annotation. False if there is none of this id.
    ///
    /// # Errors
    /// When the store is open for reading only, or the file of annotations cannot be read or written.
    pub fn unannotate(&self, id: &str) -> Result<bool> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        let mut all = self.all_annotations()?;
        let before = all.len();
        all.retain(|annotation| annotation.id != id);
        let is_gone = all.len() < before;
        if is_gone {
            self.write_annotations(&all)?;
        }
        Ok(is_gone)
    }

    /// The annotations of a range, oldest first.
    ///
    /// # Errors
    /// When the file of annotations cannot be read.
    pub fn annotations(&self, range: TimeRange) -> Result<Vec<Annotation>> {
        let mut all = self.all_annotations()?;
        all.retain(|annotation| range.as_range().contains(&annotation.time_ms));
        Ok(all)
    }

    fn all_annotations(&self) -> Result<Vec<Annotation>> {
        let path = self.path().join(FILE_NAME);
        read_checked(&path, MAX_BYTES, "mend or remove it").context("read", &path)
    }

    fn write_annotations(&self, all: &[Annotation]) -> Result<()> {
        let json = to_checked(all).map_err(|error| Error::Unstorable(error.to_string()))?;
        self.replace(Path::new(FILE_NAME), &json)
    }
}
