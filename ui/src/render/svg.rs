//! One interactive SVG file, drawn by inferno from the folded lines of the pruned tree.

use std::io::{self, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Direction, TextTruncateDirection};
use store::model::{FrameKind, Profile};

use super::top::percent_of_all;
use super::{RenderOptions, folded, names};
use crate::flame::{FlameTree, NodeKind, Weight};

/// Writes a flame graph: frames coloured by kind, native code by binary. Samples of pruned nodes are drawn as
/// their parent's own.
pub fn svg(profile: &Profile, options: &RenderOptions, out: &mut dyn Write) -> io::Result<()> {
    let mut tree = folded::tree(profile, &options.by);
    if tree.samples() == 0 {
        return out.write_all(EMPTY.as_bytes());
    }
    tree.prune(options.max_nodes);
    let mut lines = Vec::new();
    folded::lines(&tree, |line| {
        lines.push(line.to_owned());
        Ok(())
    })?;
    let mut palette = palette(&tree);
    let mut drawing = flamegraph::Options::default();
    drawing.title = names::printable(&options.title);
    drawing.subtitle = Some(subtitle(profile, &tree));
    // As on the page: the root on top, where one looks first, however deep the stacks are.
    drawing.direction = Direction::Inverted;
    drawing.name_type = "Frame:".to_owned();
    drawing.bgcolors = Some(BackgroundColor::Flat(rgb(0xfaf9f7)));
    drawing.text_truncate_direction = TextTruncateDirection::Right;
    drawing.palette_map = Some(&mut palette);
    flamegraph::from_lines(&mut drawing, lines.iter().map(String::as_str), out)
}

/// Inferno draws an error when there is nothing to draw; nothing having run is none.
const EMPTY: &str = concat!(
    r#"<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="60">"#,
    r#"<text x="600" y="34" text-anchor="middle" font-family="sans-serif" font-size="14">"#,
    "No samples in this range</text></svg>\n"
);

fn subtitle(profile: &Profile, tree: &FlameTree) -> String {
    let share = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
    let samples = profile.samples();
    let mut text = match Weight::of(profile).unit(profile) {
        "samples" => format!("{samples} samples"),
        unit => format!("{} {} in {samples} samples", tree.samples(), names::printable(unit)),
    };
    let complete = percent_of_all(profile.complete_samples(), samples);
    text.push_str(&format!(", {complete} % of stacks complete"));
    if tree.pruned_samples() > 0 {
        let pruned = share(tree.pruned_samples(), tree.samples());
        text.push_str(&format!(", {pruned:.2} % pruned into their callers"));
    }
    text
}

/// Frame tones of the page's eight bands, one of which a binary gets by the hash of its name.
const BANDS: [u32; 8] = [0xe4bcbe, 0xd1b38f, 0xe6dca8, 0xe8eec7, 0x96b7a3, 0xbde9ee, 0xa4cef6, 0xbcaed4];
const KERNEL: u32 = 0xcfd5db;
const TRUNCATED: u32 = 0xe6e2db;
const ROOT: u32 = 0xf3f1ed;

fn palette(tree: &FlameTree) -> PaletteMap {
    let mut palette = PaletteMap::default();
    for frame in &tree.frames {
        let name = tree.text(frame.function);
        let tone = match frame.kind {
            NodeKind::Root => ROOT,
            NodeKind::Group => BANDS[band(name)],
            NodeKind::Frame(FrameKind::Kernel) => KERNEL,
            NodeKind::Frame(FrameKind::Truncated) => TRUNCATED,
            // Hollow on the page; here a lighter tone.
            NodeKind::Frame(FrameKind::Inlined) => tint(BANDS[band(tree.text(frame.binary))]),
            NodeKind::Frame(_) => BANDS[band(tree.text(frame.binary))],
        };
        palette.insert(names::folded(frame.kind, name), rgb(tone));
    }
    palette
}

/// The band of a binary: by its base name without version, so that it is the same everywhere.
fn band(binary: &str) -> usize {
    let base = binary.rsplit('/').next().unwrap_or(binary);
    let key = base.split_once(".so").map_or(base, |(name, _)| name);
    let hash =
        key.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash % 8) as usize
}

fn tint(tone: u32) -> u32 {
    let lighter = |shift: u32| (((tone >> shift) & 0xff) * 2 + 0xff) / 3;
    lighter(16) << 16 | lighter(8) << 8 | lighter(0)
}

fn rgb(tone: u32) -> Color {
    let [_, r, g, b] = tone.to_be_bytes();
    Color { r, g, b }
}
