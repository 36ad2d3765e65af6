//! From entries of call frame information to rows, by gimli.

use std::ops::Range;
use std::path::Path;

use gimli::{
    BaseAddresses, DebugFrame, EhFrame, EndianSlice, LittleEndian, Register, RegisterRule, UnwindContext,
    UnwindContextStorage, UnwindSection, UnwindTableRow,
};
use profiler_unwind::Rule;

use super::blocks::Encoder;
use super::entries::{self, Cies, Entry, Source};
use super::followed;
use super::go_functions::{self, GoFunctions};
use super::rules::Reader;
use super::sections::CallFrameInfo;
use super::{Stats, UnwindRowsError};

pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// An entry above this is not evaluated, as if it were broken; compilers emit at most some 10 KiB.
const ENTRY_AT_MOST: usize = 256 * 1024;
/// Bytes to evaluate, per byte of the sections: with a common entry per entry it is about 2. Bounds the time that a
/// small file can take.
const WORK_PER_BYTE: usize = 8;
/// A table above this, in bytes, is not built: no kernel map has room for it by default. Some 23 million rows.
const TABLE_AT_MOST: usize = 64 * 1024 * 1024;
/// Functions start at such addresses, where the one before does not end there.
const ALIGNMENT: u64 = 16;

/// Room for the rules of all general registers and many others, and for states remembered within one another:
/// compilers remember one, gimli's own storage has room for 3.
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 40];
    type Stack = [UnwindTableRow<usize, Self>; 16];
}

/// Encodes the rows of all entries, in the order of addresses.
pub(super) fn encode(
    info: &CallFrameInfo,
    path: &Path,
    encoder: &mut Encoder,
    stats: &mut Stats,
) -> Result<(), UnwindRowsError> {
    let eh_frame = EhFrame::new(&info.eh_frame, LittleEndian);
    let debug_frame = DebugFrame::new(&info.debug_frame, LittleEndian);
    let (bases, code) = (&info.bases, info.code.as_slice());
    let go = GoFunctions::parse(&info.go_functions, info.go_text_start);
    let switches = go.as_ref().map(|go| go.switches(&info.switching)).unwrap_or_default();
    let followed: Vec<(u64, Rule)> =
        info.undescribed.iter().flat_map(|code| followed::follow(code.start, &code.bytes)).collect();
    let entries = entries::merge([described(info, stats), followed::entries(&followed)]);
    stats.entries = entries.len() as u64;
    let of = |source| entries.iter().filter(|entry| entry.source == source).count() as u64;
    (stats.entries_of_debug_frame, stats.entries_of_go) = (of(Source::DebugFrame), of(Source::Go));
    stats.entries_of_code = of(Source::Code);

    let mut work = info.size().saturating_mul(WORK_PER_BYTE);
    let mut of_eh_frame = Section::new(&eh_frame, &info.eh_frame, bases);
    let mut of_debug_frame = Section::new(&debug_frame, &info.debug_frame, bases);
    let mut rest = entries.as_slice();
    for area in code {
        encoder.begin(area.clone());
        let (here, after) = rest.split_at(rest.partition_point(|entry| entry.start < area.end));
        rest = after;
        for (number, entry) in here.iter().enumerate() {
            let next = here.get(number + 1).map_or(area.end, |next| next.start);
            let within = entry.start..entry.end.min(next);
            let (spent, reached) = match entry.source {
                Source::EhFrame => of_eh_frame.rows(entry, &within, encoder),
                Source::DebugFrame => of_debug_frame.rows(entry, &within, encoder),
                Source::Go => go.as_ref().map_or((0, within.start), |go| {
                    go.rows(entry, &within, &switches, |address, rule| encoder.row(address, rule))
                }),
                Source::Code => {
                    let rows = followed.get(entry.offset as usize..).unwrap_or_default();
                    let own = rows.iter().take_while(|(address, _)| *address < within.end);
                    own.for_each(|(address, rule)| encoder.row(*address, *rule));
                    (0, within.end)
                }
            };
            // From a broken instruction on nothing is known.
            if reached < within.end {
                stats.broken_entries += 1;
                encoder.row(reached, Rule::NONE);
            }
            work = work
                .checked_sub(spent)
                .ok_or_else(|| UnwindRowsError::TooCostly { path: path.to_owned() })?;
            end_of_entry(entry, next, encoder, stats);
            if encoder.size() > TABLE_AT_MOST {
                return Err(UnwindRowsError::TooLarge { path: path.to_owned(), limit: TABLE_AT_MOST });
            }
        }
        encoder.end();
    }
    Ok(())
}

/// The entries of all that describes code: call frame information, and Go's table of functions.
pub(super) fn described(info: &CallFrameInfo, stats: &mut Stats) -> Vec<Entry> {
    let (bases, code) = (&info.bases, info.code.as_slice());
    let (eh_frame, debug_frame) =
        (EhFrame::new(&info.eh_frame, LittleEndian), DebugFrame::new(&info.debug_frame, LittleEndian));
    let end_is_known = info.eh_frame_end_is_known;
    let of_eh_frame =
        entries::list(&eh_frame, &info.eh_frame, end_is_known, bases, code, Source::EhFrame, stats);
    let of_debug_frame =
        entries::list(&debug_frame, &info.debug_frame, true, bases, code, Source::DebugFrame, stats);
    let go = GoFunctions::parse(&info.go_functions, info.go_text_start);
    let (of_go, better) = go.as_ref().map_or_else(Default::default, |go| {
        let switches = go.switches(&info.switching);
        go.entries(code).into_iter().partition(|entry| go_functions::switch_of(entry, &switches).is_none())
    });
    entries::merge([better, of_eh_frame, of_debug_frame, of_go])
}

/// What is known between an entry's code and the next one's: nothing, except in the padding that the next one's
/// alignment makes. No address in there is ever looked up, so that it needs no row.
fn end_of_entry(entry: &Entry, next: u64, encoder: &mut Encoder, stats: &mut Stats) {
    let is_padding = next.is_multiple_of(ALIGNMENT)
        && !entry.end.is_multiple_of(ALIGNMENT)
        && next.checked_sub(entry.end).is_some_and(|size| size < ALIGNMENT);
    if entry.end > next {
        stats.overlapping_entries += 1;
    } else if is_padding {
        stats.paddings += 1;
    } else {
        encoder.row(entry.end, Rule::NONE);
    }
}

/// One section, and what is kept while its entries are evaluated.
struct Section<'s, 'a, S: UnwindSection<Bytes<'a>>> {
    section: &'s S,
    bases: &'s BaseAddresses,
    cies: Cies<'a>,
    context: Box<UnwindContext<usize, Storage>>,
}

impl<'s, 'a, S: UnwindSection<Bytes<'a>>> Section<'s, 'a, S>
where
    S::Offset: From<usize>,
{
    fn new(section: &'s S, bytes: &'a [u8], bases: &'s BaseAddresses) -> Self {
        Self { section, bases, cies: Cies::new(bytes), context: Box::new(UnwindContext::new_in()) }
    }

    /// Encodes the rows of an entry. The bytes evaluated, and the address up to which they said something.
    fn rows(&mut self, entry: &Entry, within: &Range<u64>, encoder: &mut Encoder) -> (usize, u64) {
        let (section, bases, cies) = (self.section, self.bases, &mut self.cies);
        let fde = section.fde_from_offset(
            bases,
            S::Offset::from(entry.offset as usize),
            |section, bases, offset| cies.get(section, bases, offset),
        );
        let Ok(fde) = fde else { return (0, within.start) };
        let cie = fde.cie();
        if fde.entry_len() > ENTRY_AT_MOST || cie.address_size() != 8 {
            return (0, within.start);
        }
        let spent = fde.entry_len() + cie.entry_len();
        let reader = Reader {
            section,
            encoding: cie.encoding(),
            return_address: cie.return_address_register(),
            is_signal: fde.is_signal_trampoline(),
        };
        let Ok(mut rows) = fde.rows(section, bases, &mut self.context) else { return (spent, within.start) };
        let mut reached = within.start;
        while reached < within.end {
            let Ok(Some(row)) = rows.next_row() else { break };
            let end = row.end_address().min(within.end);
            if row.start_address() < end {
                encoder.row(row.start_address(), reader.rule(row));
                reached = end;
            }
        }
        (spent, reached)
    }
}
