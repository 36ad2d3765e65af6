//! The frames of a pprof file's locations, each made when a sample first needs it.

use ::pprof::protos;
use prost::Message;
use rustc_hash::FxHashMap;
use store::model::{FrameId, ProfileBuilder};

use super::ImportError;
use super::frames::{self, Named, Place};
use super::pprof::MESSAGE_BYTES_MAX;
use super::pprof_tables::{Tables, bad};
use super::wire::{Fields, Value};
use crate::render::NO_STACK;

/// Lines of all locations together, inlined ones included: four bytes each.
const LINES_MAX: usize = 64_000_000;

/// By location: its frames, innermost first.
pub(super) struct Frames {
    known: FxHashMap<u64, (usize, usize)>,
    list: Vec<FrameId>,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { known: FxHashMap::default(), list: Vec::new() }
    }

    /// The frames of a location, innermost first; none for samples without a stack.
    pub(super) fn of_location(
        &mut self,
        id: u64,
        tables: &Tables<'_>,
        builder: &mut ProfileBuilder,
    ) -> Result<&[FrameId], ImportError> {
        let (first, end) = match self.known.get(&id) {
            Some(known) => *known,
            None => {
                let first = self.list.len();
                self.add(tables.location(id)?, tables, builder)?;
                if self.list.len() > LINES_MAX {
                    return Err(ImportError::TooLarge(format!("more than {LINES_MAX} lines of locations")));
                }
                self.known.insert(id, (first, self.list.len()));
                (first, self.list.len())
            }
        };
        Ok(&self.list[first..end])
    }

    fn add(
        &mut self,
        message: &[u8],
        tables: &Tables<'_>,
        builder: &mut ProfileBuilder,
    ) -> Result<(), ImportError> {
        let location = Location::new(message)?;
        let mapping = match location.mapping_id {
            0 => None,
            id => Some(tables.mapping(id)?),
        };
        let text = |id: Option<i64>| id.map_or(Ok("".into()), |id| tables.text(id));
        let (path, build_id) = (text(mapping.map(|m| m.filename))?, text(mapping.map(|m| m.build_id))?);
        let address = mapping.map_or(location.address, |m| {
            frames::own_address(location.address, m.memory_start, m.file_offset)
        });
        let place = Place { path: &path, build_id: &build_id, address };
        let kind = frames::kind(&place);
        let last = location.lines.len().saturating_sub(1);
        for (i, (function_id, line)) in location.lines.iter().enumerate() {
            let function = match function_id {
                0 => None,
                id => Some(tables.function(*id)?),
            };
            let name = text(function.map(|f| f.name))?;
            if mapping.is_none() && address == 0 && location.lines.len() == 1 {
                if name == NO_STACK {
                    return Ok(());
                }
                if frames::is_mark(&name) {
                    self.list.push(frames::mark(builder, &name));
                    return Ok(());
                }
            }
            let (system_name, file) =
                (text(function.map(|f| f.system_name))?, text(function.map(|f| f.filename))?);
            let line = u32::try_from(*line).unwrap_or(0);
            let named =
                Named { function: &name, system_name: &system_name, file: &file, line, inlined: i < last };
            self.list.push(frames::frame(builder, kind, &place, &named));
        }
        if location.lines.is_empty() {
            self.list.push(frames::frame(builder, kind, &place, &Named::default()));
        }
        Ok(())
    }
}

/// A location, its lines innermost first.
#[derive(Default)]
struct Location {
    mapping_id: u64,
    address: u64,
    /// (function, line)
    lines: Vec<(u64, i64)>,
}

impl Location {
    fn new(message: &[u8]) -> Result<Self, ImportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(ImportError::TooLarge(format!("a location of {} bytes", message.len())));
        }
        let mut location = Self::default();
        for field in Fields(message) {
            match field.map_err(bad)? {
                (2, Value::Varint(id)) => location.mapping_id = id,
                (3, Value::Varint(address)) => location.address = address,
                (4, Value::Bytes(line)) => {
                    let line = protos::Line::decode(line).map_err(bad)?;
                    location.lines.push((line.function_id, line.line));
                }
                _ => {}
            }
        }
        Ok(location)
    }
}
