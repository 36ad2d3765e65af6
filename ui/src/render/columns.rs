//! The flame tree as bytes in the order in which it is drawn (docs/api.md): what the page looks at without reading it
//! through first.
//!
//! A header in JSON says how long the columns behind it are. All numbers are little-endian, and every column begins at
//! a multiple of eight bytes, so that a reader may lay typed arrays over the answer as it came.

use std::io::{self, Write};

use serde::Serialize;
use store::model::{Profile, StringTable};
use store::{Skipped, TimeRange};

use super::json::FlameFacts;
use crate::flame::{FlameFrame, FlameTree};

/// The MIME type.
pub const COLUMNS_MIME: &str = "application/vnd.vesta.flame";
/// What the answer begins with.
const MAGIC: &[u8; 8] = b"VESTAFL1";
/// Where a column may begin.
const ALIGN: usize = 8;

/// What is known before the columns.
#[derive(Serialize)]
struct Header<'a> {
    #[serde(flatten)]
    facts: FlameFacts<'a>,
    /// First and last time of all data, as it was when the tree was asked for.
    data: Data,
    /// Lengths of the columns.
    nodes: usize,
    frames: usize,
    strings: usize,
    /// Bytes of all strings.
    text_bytes: usize,
    /// Bytes of a value: 4 for whole numbers, 8 for floating-point ones, where there are larger ones.
    value_bytes: u8,
}

#[derive(Serialize)]
struct Data {
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// Writes `tree`, which was built from `profile` and has its siblings from wide to narrow.
///
/// # Errors
/// Those of `out`.
pub fn flame_columns(
    profile: &Profile,
    tree: &FlameTree,
    skipped: &[Skipped],
    data: Option<TimeRange>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let whole = u32::try_from(tree.samples()).is_ok();
    let header = Header {
        facts: FlameFacts::new(profile, tree, skipped),
        data: Data { from_ms: data.map(|span| span.from_ms), until_ms: data.map(|span| span.until_ms) },
        nodes: tree.len(),
        frames: tree.frames.len(),
        strings: tree.strings.len(),
        text_bytes: tree.strings.iter().map(str::len).sum(),
        value_bytes: if whole { 4 } else { 8 },
    };
    let mut header = serde_json::to_vec(&header)?;
    // The length stands behind the magic, so the columns begin where these three together end.
    header.resize((header.len() + 4).next_multiple_of(ALIGN) - 4, b' ');
    out.write_all(MAGIC)?;
    out.write_all(&u32::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes())?;
    out.write_all(&header)?;
    for values in [&tree.own, &tree.total] {
        if whole {
            column(out, values.iter().map(|value| (*value as u32).to_le_bytes()))?;
        } else {
            column(out, values.iter().map(|value| (*value as f64).to_le_bytes()))?;
        }
    }
    for numbers in [&tree.parent, &tree.frame] {
        column(out, numbers.iter().map(|number| number.to_le_bytes()))?;
    }
    let frames = &tree.frames;
    column(out, frames.iter().map(|frame| [frame.kind.index() as u8]))?;
    let cells: [fn(&FlameFrame) -> u32; 7] = [
        |frame| frame.function.0,
        |frame| frame.system_name.0,
        |frame| frame.file.0,
        |frame| frame.line,
        |frame| frame.binary.0,
        |frame| frame.build_id.0,
        |frame| frame.unwound.0,
    ];
    for cell in cells {
        column(out, frames.iter().map(|frame| cell(frame).to_le_bytes()))?;
    }
    column(out, frames.iter().map(|frame| fnv1a(tree.text(frame.function)).to_le_bytes()))?;
    texts(out, &tree.strings)
}

/// 32-bit FNV-1a, by which the page chooses the shade of a function.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Where each text ends, in UTF-16 code units, and all of them one after the other in UTF-8.
fn texts(out: &mut dyn Write, strings: &StringTable) -> io::Result<()> {
    let mut end = 0u32;
    column(
        out,
        strings.iter().map(|text| {
            let units = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
            end = end.wrapping_add(units as u32);
            end.to_le_bytes()
        }),
    )?;
    strings.iter().try_for_each(|text| out.write_all(text.as_bytes()))
}

/// Writes cells, and zeros up to where the next column may begin.
fn column<const N: usize>(out: &mut dyn Write, cells: impl Iterator<Item = [u8; N]>) -> io::Result<()> {
    let mut bytes: Vec<u8> = cells.flatten().collect();
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    out.write_all(&bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::flame::{self, GroupBy};
    use crate::support::{Maker, REDIS, native, profile};

    /// A tree read back: its header, and each node as depth, name, own and total value.
    pub(crate) fn read(bytes: &[u8]) -> (Value, Vec<(usize, String, f64, f64)>) {
        assert_eq!(&bytes[..8], MAGIC);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut at = 12 + word(8) as usize;
        let header: Value = serde_json::from_slice(&bytes[12..at]).unwrap();
        let length = |name: &str| header[name].as_u64().unwrap() as usize;
        let mut column = |cells: usize, width: usize| {
            assert_eq!(at % ALIGN, 0);
            let start = at;
            at += (cells * width).next_multiple_of(ALIGN);
            move |i: usize| start + i * width
        };
        let value_bytes = length("value_bytes");
        let value = |at: usize| match value_bytes {
            4 => f64::from(word(at)),
            _ => f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()),
        };
        let (own, total) = (column(length("nodes"), value_bytes), column(length("nodes"), value_bytes));
        let (parent, frame) = (column(length("nodes"), 4), column(length("nodes"), 4));
        let _kind = column(length("frames"), 1);
        let [function, .., hash] = [0; 8].map(|_| column(length("frames"), 4));
        let ends = column(length("strings"), 4);
        let text: Vec<u16> = std::str::from_utf8(&bytes[at..]).unwrap().encode_utf16().collect();
        assert_eq!(bytes.len() - at, length("text_bytes"));
        let string = |i: usize| {
            let from = if i == 0 { 0 } else { word(ends(i - 1)) as usize };
            String::from_utf16(&text[from..word(ends(i)) as usize]).unwrap()
        };
        let mut depth: Vec<usize> = Vec::new();
        let nodes = (0..length("nodes")).map(|node| {
            let distance = word(parent(node)) as usize;
            depth.push(if node == 0 { 0 } else { depth[node - distance] + 1 });
            let name = string(word(function(word(frame(node)) as usize)) as usize);
            assert_eq!(word(hash(word(frame(node)) as usize)), fnv1a(&name));
            (depth[node], name, value(own(node)), value(total(node)))
        });
        let nodes = nodes.collect();
        (header, nodes)
    }

    fn written(profile: &Profile) -> Vec<u8> {
        let mut tree = flame::build(profile, &GroupBy::default());
        tree.widest_first();
        let mut out = Vec::new();
        let data = TimeRange::new(5, 9).unwrap();
        flame_columns(profile, &tree, &[], Some(data), &mut out).unwrap();
        out
    }

    #[test]
    fn a_reader_finds_every_node_and_every_name() {
        let p = profile(&[(&["main", "größe😀"], 1), (&["main", "b"], 3), (&["ümläut"], 2)]);
        let (header, nodes) = read(&written(&p));
        let expected = [
            (0, "all", 0.0, 6.0),
            (1, "redis-server", 0.0, 6.0),
            (2, "main", 0.0, 4.0),
            (3, "b", 3.0, 3.0),
            (3, "größe😀", 1.0, 1.0),
            (2, "ümläut", 2.0, 2.0),
        ];
        assert_eq!(nodes, expected.map(|(depth, name, own, total)| (depth, name.to_owned(), own, total)));
        assert_eq!(header["samples"], 6);
        assert_eq!(header["data"], serde_json::json!({"from_ms": 5, "until_ms": 9}));
        assert_eq!(header["kinds"][7], "truncated");
    }

    #[test]
    fn names_have_the_hash_that_others_compute() {
        // From the list of its authors, http://www.isthe.com/chongo/tech/comp/fnv.
        assert_eq!([fnv1a(""), fnv1a("a"), fnv1a("foobar")], [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
    }

    #[test]
    fn values_beyond_four_bytes_are_written_in_eight() {
        let mut maker = Maker::default();
        maker.stack(REDIS, &[native("main")], 5_000_000_000);
        let (header, nodes) = read(&written(&maker.finish()));
        assert_eq!(header["value_bytes"], 8);
        assert_eq!(nodes[2].3, 5e9);
        let (header, nodes) = read(&written(&Profile::default()));
        assert_eq!((&header["value_bytes"], nodes.len()), (&serde_json::json!(4), 1));
    }
}
