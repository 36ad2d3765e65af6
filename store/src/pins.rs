//! Pinned ranges of time: what lies in them is neither deleted nor made coarser.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::elsewhere::Elsewhere;
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;
use crate::query::TimeRange;

/// Name of the file, in the data directory.
const FILE_NAME: &str = "pins.json";
/// Ranges that can be pinned at once: each is a disk's worth of someone's attention.
const MAX_PINS: usize = 1000;
/// Bytes of a note.
const MAX_NOTE: usize = 1024;
/// Bytes of the file: all pins with the longest notes, escaped.
const MAX_BYTES: u64 = 8 << 20;

/// A pinned range of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Names the pin.
    pub id: String,
    /// First millisecond, Unix time.
    pub from_ms: i64,
    /// First millisecond that is not in it any more.
    pub until_ms: i64,
    /// Why, in the words of whoever pinned it.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
struct Checked {
    /// CRC-32 of the compact JSON of `pins`.
    crc32: u32,
    pins: Vec<Pin>,
}

impl Store {
    /// Keeps all segments that overlap a range, as they are now, whatever the retention, until it is unpinned.
    ///
    /// # Errors
    /// When the store is open for reading only, the note is too long, there are too many pins, or the file of pins
    /// cannot be read or written.
    pub fn pin(&self, range: TimeRange, note: &str) -> Result<Pin> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        let mut pins = self.pins()?;
        if note.len() > MAX_NOTE {
            return Err(Error::Unstorable(format!("a note of {} bytes, at most {MAX_NOTE}", note.len())));
        }
        if pins.len() >= MAX_PINS {
            return Err(Error::Unstorable(format!("there are {MAX_PINS} pinned ranges already")));
        }
        let (from_ms, until_ms) = (range.from_ms, range.until_ms);
        let pin = Pin { id: Ulid::new().to_string(), from_ms, until_ms, note: note.to_owned() };
        pins.push(pin.clone());
        self.write_pins(pins)?;
        Ok(pin)
    }

    /// Takes back a pin. False if there is none of this id.
    ///
    /// # Errors
    /// When the store is open for reading only, or the file of pins cannot be read or written.
    pub fn unpin(&self, id: &str) -> Result<bool> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        let mut pins = self.pins()?;
        let before = pins.len();
        pins.retain(|pin| pin.id != id);
        let is_gone = pins.len() < before;
        if is_gone {
            self.write_pins(pins)?;
        }
        Ok(is_gone)
    }

    /// All pinned ranges, in the order they were pinned.
    ///
    /// # Errors
    /// When the file of pins cannot be read. Then nothing may be deleted.
    pub fn pins(&self) -> Result<Vec<Pin>> {
        let mut pins = self.own_pins()?;
        for pin in self.elsewhere().map_or_else(Vec::new, Elsewhere::pins) {
            if pins.iter().all(|own| own.id != pin.id) {
                pins.push(pin);
            }
        }
        Ok(pins)
    }

    /// Those of this data directory.
    pub(crate) fn own_pins(&self) -> Result<Vec<Pin>> {
        let path = self.path().join(FILE_NAME);
        read(&path).context("read", &path)
    }

    fn write_pins(&self, pins: Vec<Pin>) -> Result<()> {
        let json = to_json(pins).map_err(|error| Error::Unstorable(error.to_string()))?;
        self.replace(Path::new(FILE_NAME), &json)
    }
}

/// Whether a pin holds what lies between two times.
pub(crate) fn is_pinned(pins: &[Pin], min_ms: i64, max_ms: i64) -> bool {
    pins.iter().any(|pin| min_ms < pin.until_ms && pin.from_ms < max_ms)
}

fn crc32(pins: &[Pin]) -> serde_json::Result<u32> {
    Ok(crc32fast::hash(&serde_json::to_vec(pins)?))
}

fn to_json(pins: Vec<Pin>) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(&Checked { crc32: crc32(&pins)?, pins })?;
    json.push(b'\n');
    Ok(json)
}

fn read(path: &Path) -> io::Result<Vec<Pin>> {
    let mut json = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut json)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let damaged = |reason: &dyn std::fmt::Display| {
        let help = "mend or remove it; until then nothing is deleted";
        io::Error::new(io::ErrorKind::InvalidData, format!("{reason} ({help})"))
    };
    let Checked { crc32: expected, pins } = serde_json::from_slice(&json).map_err(|error| damaged(&error))?;
    match crc32(&pins) {
        Ok(found) if found == expected => Ok(pins),
        _ => Err(damaged(&"its checksum is wrong")),
    }
}
