//! The tables of a pprof file: where the entries are, and what is in them when they are asked for.

use std::borrow::Cow;

use ::pprof::protos;
use prost::Message;
use rustc_hash::FxHashMap;

use super::ImportError;
use super::wire::{Fields, Value};

/// Entries of all tables together: some forty bytes each. The programs of a whole machine have a million.
const ENTRIES_MAX: usize = 16_000_000;

/// An error in the file's structure.
pub(super) fn bad(error: impl std::fmt::Display) -> ImportError {
    ImportError::Pprof(error.to_string())
}

/// A function: its texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) name: i64,
    pub(super) system_name: i64,
    pub(super) filename: i64,
}

/// A mapped file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    pub(super) memory_start: u64,
    pub(super) file_offset: u64,
    pub(super) filename: i64,
    pub(super) build_id: i64,
}

/// What of a file is not samples.
#[derive(Default)]
pub(super) struct Tables<'a> {
    strings: Vec<&'a [u8]>,
    functions: FxHashMap<u64, Function>,
    locations: FxHashMap<u64, &'a [u8]>,
    mappings: FxHashMap<u64, Mapping>,
    first_mapping: Option<Mapping>,
    value_types: Vec<protos::ValueType>,
    period_type: protos::ValueType,
    default_type: i64,
    period: i64,
    time_nanos: i64,
    duration_nanos: i64,
}

impl<'a> Tables<'a> {
    /// Looks through a file.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, ImportError> {
        let mut tables = Self::default();
        let mut entries = 0usize;
        for field in Fields(bytes) {
            let (tag, value) = field.map_err(bad)?;
            entries += usize::from(tag != super::pprof::protos_tags::SAMPLE);
            if entries > ENTRIES_MAX {
                return Err(ImportError::TooLarge(format!("more than {ENTRIES_MAX} entries in its tables")));
            }
            tables.field(tag, value)?;
        }
        // The format wants the empty string first; without it nothing in the file means what it says.
        if tables.strings.first().is_some_and(|first| first.is_empty()) {
            return Ok(tables);
        }
        Err(bad("its table of strings does not begin with the empty one"))
    }

    /// Takes one field of `Profile`.
    fn field(&mut self, tag: u32, value: Value<'a>) -> Result<(), ImportError> {
        match (tag, value) {
            (1, Value::Bytes(bytes)) => self.value_types.push(decode(bytes)?),
            (3, Value::Bytes(bytes)) => {
                let protos::Mapping { id, memory_start, file_offset, filename, build_id, .. } =
                    decode(bytes)?;
                let mapping = Mapping { memory_start, file_offset, filename, build_id };
                self.first_mapping.get_or_insert(mapping);
                self.mappings.insert(id, mapping);
            }
            (4, Value::Bytes(bytes)) => {
                self.locations.insert(location_id(bytes)?, bytes);
            }
            (5, Value::Bytes(bytes)) => {
                let protos::Function { id, name, system_name, filename, .. } = decode(bytes)?;
                self.functions.insert(id, Function { name, system_name, filename });
            }
            (6, Value::Bytes(bytes)) => self.strings.push(bytes),
            (9, Value::Varint(number)) => self.time_nanos = number as i64,
            (10, Value::Varint(number)) => self.duration_nanos = number as i64,
            (11, Value::Bytes(bytes)) => self.period_type = decode(bytes)?,
            (12, Value::Varint(number)) => self.period = number as i64,
            (14, Value::Varint(id)) => self.default_type = id as i64,
            _ => {}
        }
        Ok(())
    }

    /// A string; bytes that are no UTF-8 are replaced.
    pub(super) fn text(&self, id: i64) -> Result<Cow<'a, str>, ImportError> {
        let known = usize::try_from(id).ok().and_then(|id| self.strings.get(id));
        let bytes = known.ok_or_else(|| bad(format!("there is no string {id} of {}", self.strings.len())))?;
        Ok(String::from_utf8_lossy(bytes))
    }

    pub(super) fn function(&self, id: u64) -> Result<Function, ImportError> {
        self.functions.get(&id).copied().ok_or_else(|| bad(format!("there is no function {id}")))
    }

    pub(super) fn location(&self, id: u64) -> Result<&'a [u8], ImportError> {
        self.locations.get(&id).copied().ok_or_else(|| bad(format!("there is no location {id}")))
    }

    pub(super) fn mapping(&self, id: u64) -> Result<Mapping, ImportError> {
        self.mappings.get(&id).copied().ok_or_else(|| bad(format!("there is no mapping {id}")))
    }

    /// Names and units of the columns of values.
    pub(super) fn value_types(&self) -> Result<Vec<(String, String)>, ImportError> {
        let both =
            |of: &protos::ValueType| Ok((self.text(of.ty)?.into_owned(), self.text(of.unit)?.into_owned()));
        self.value_types.iter().map(both).collect()
    }

    /// A sample each so much, of what, in which unit.
    pub(super) fn period(&self) -> Result<(i64, String, String), ImportError> {
        let protos::ValueType { ty, unit } = self.period_type;
        Ok((self.period.max(0), self.text(ty)?.into_owned(), self.text(unit)?.into_owned()))
    }

    /// The value type that viewers show first; empty where the file leaves it to them.
    pub(super) fn default_type(&self) -> Result<Cow<'a, str>, ImportError> {
        self.text(self.default_type)
    }

    /// Unix milliseconds of the start, if the file says it.
    pub(super) fn start_ms(&self) -> Option<i64> {
        (self.time_nanos > 0).then_some(self.time_nanos / 1_000_000)
    }

    /// How long it was profiled; at least a millisecond.
    pub(super) fn duration_ms(&self) -> i64 {
        (self.duration_nanos / 1_000_000).max(1)
    }

    /// The program that was profiled: readers take the first mapping for it.
    pub(super) fn program(&self) -> Result<Option<String>, ImportError> {
        let Some(mapping) = self.first_mapping else { return Ok(None) };
        let path = self.text(mapping.filename)?;
        Ok((!path.is_empty() && !path.starts_with('[')).then(|| path.into_owned()))
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, ImportError> {
    M::decode(bytes).map_err(bad)
}

fn location_id(message: &[u8]) -> Result<u64, ImportError> {
    for field in Fields(message) {
        if let (1, Value::Varint(id)) = field.map_err(bad)? {
            return Ok(id);
        }
    }
    Err(bad("a location without an id"))
}
