//! The tables that all threads of a Firefox profile share: stacks, frames, functions, files, strings.

use rustc_hash::FxHashMap;
use serde::Serialize;
use store::model::{FrameId, FrameKind, NodeId, Profile, StringId};

use super::firefox::{category, row_of};
use super::names;
use crate::flame::NodeKind;

/// Addresses are numbers of JavaScript there.
const ADDRESS_MAX: u64 = 1 << 53;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shared {
    stack_table: StackTable,
    frame_table: FrameTable,
    func_table: FuncTable,
    resource_table: ResourceTable,
    native_symbols: NativeSymbols,
    string_array: Vec<String>,
    sources: Sources,
}

/// The tree of stacks, parents before children.
#[derive(Default, Serialize)]
struct StackTable {
    length: usize,
    frame: Vec<u32>,
    prefix: Vec<Option<u32>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FrameTable {
    length: usize,
    address: Vec<i64>,
    inline_depth: Vec<u32>,
    category: Vec<u32>,
    subcategory: Vec<u32>,
    func: Vec<u32>,
    native_symbol: Vec<Option<u32>>,
    #[serde(rename = "innerWindowID")]
    inner_window_id: Vec<Option<u32>>,
    line: Vec<Option<u32>>,
    column: Vec<Option<u32>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FuncTable {
    length: usize,
    name: Vec<u32>,
    #[serde(rename = "isJS")]
    is_js: Vec<bool>,
    #[serde(rename = "relevantForJS")]
    relevant_for_js: Vec<bool>,
    /// The binary; -1 for none.
    resource: Vec<i64>,
    source: Vec<Option<u32>>,
    line_number: Vec<Option<u32>>,
    column_number: Vec<Option<u32>>,
}

/// Binaries, in the order of `libs`.
#[derive(Default, Serialize)]
struct ResourceTable {
    length: usize,
    lib: Vec<u32>,
    name: Vec<u32>,
    host: Vec<Option<u32>>,
    r#type: Vec<u32>,
}

/// Symbols that start at known addresses; here they do not.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct NativeSymbols {
    length: usize,
    address: [u64; 0],
    function_size: [u64; 0],
    lib_index: [u32; 0],
    name: [u32; 0],
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sources {
    length: usize,
    id: Vec<Option<String>>,
    filename: Vec<u32>,
    start_line: Vec<u32>,
    start_column: Vec<u32>,
    #[serde(rename = "sourceMapURL")]
    source_map_url: Vec<Option<u32>>,
}

/// `type` of a resource that is a library.
const LIBRARY: u32 = 1;

/// What makes one function: name, binary (-1 for none), source file.
type FuncKey = (u32, i64, Option<u32>);

#[derive(Default)]
struct Builder {
    strings: FxHashMap<String, u32>,
    string_array: Vec<String>,
    functions: FxHashMap<FuncKey, u32>,
    files: FxHashMap<StringId, u32>,
    /// By frame and how deep it is inlined.
    frames: FxHashMap<(FrameId, u32), u32>,
    frame_table: FrameTable,
    func_table: FuncTable,
    sources: Sources,
}

impl Shared {
    pub(super) fn new(profile: &Profile) -> Self {
        let mut builder = Builder::default();
        let resource_table = builder.resources(profile);
        let mut stack_table = StackTable::default();
        let mut depths = vec![0u32; profile.stacks.len()];
        for node in profile.stacks.nodes() {
            let Some(frame) = profile.stacks.frame(node) else { continue };
            let parent = profile.stacks.parent(node);
            let depth = inline_depth(profile, frame, parent, depths[parent.0 as usize]);
            depths[node.0 as usize] = depth;
            stack_table.frame.push(builder.frame(profile, frame, depth));
            stack_table.prefix.push(row_of(parent));
        }
        stack_table.length = stack_table.frame.len();
        let Builder { string_array, mut frame_table, mut func_table, mut sources, .. } = builder;
        frame_table.length = frame_table.func.len();
        func_table.length = func_table.name.len();
        sources.length = sources.filename.len();
        let native_symbols = NativeSymbols::default();
        Self { stack_table, frame_table, func_table, resource_table, native_symbols, string_array, sources }
    }
}

/// How deep a frame is inlined: 0 for the function that the code is in, 1 for one inlined into it, ….
fn inline_depth(profile: &Profile, id: FrameId, parent: NodeId, parent_depth: u32) -> u32 {
    let frame = profile.frame(id);
    let outer = profile.stacks.frame(parent).map(|id| profile.frame(id));
    match outer {
        Some(outer)
            if frame.kind == FrameKind::Inlined
                && (outer.binary, outer.address) == (frame.binary, frame.address) =>
        {
            parent_depth + 1
        }
        _ => 0,
    }
}

impl Builder {
    fn string(&mut self, text: &str) -> u32 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let id = self.string_array.len() as u32;
        self.string_array.push(text.to_owned());
        self.strings.insert(text.to_owned(), id);
        id
    }

    fn resources(&mut self, profile: &Profile) -> ResourceTable {
        let mut table = ResourceTable { length: profile.binaries.len(), ..ResourceTable::default() };
        for (lib, binary) in profile.binaries.iter().enumerate() {
            let path = profile.text(binary.path);
            table.lib.push(lib as u32);
            table.name.push(self.string(path.rsplit('/').next().unwrap_or(path)));
            table.host.push(None);
            table.r#type.push(LIBRARY);
        }
        table
    }

    fn frame(&mut self, profile: &Profile, id: FrameId, depth: u32) -> u32 {
        let next = self.frame_table.func.len() as u32;
        let at = *self.frames.entry((id, depth)).or_insert(next);
        if at < next {
            return at;
        }
        let frame = profile.frame(id);
        let name = self.string(&names::plain(NodeKind::Frame(frame.kind), profile.text(frame.function)));
        let source = (frame.file != StringId::EMPTY).then(|| self.source(profile, frame.file));
        let resource = frame.binary.map_or(-1, |binary| i64::from(binary.0));
        let func = self.function((name, resource, source));
        let table = &mut self.frame_table;
        let known = frame.binary.is_some() && frame.address <= ADDRESS_MAX;
        table.address.push(if known { frame.address as i64 } else { -1 });
        table.inline_depth.push(depth);
        table.category.push(category(frame.kind));
        table.subcategory.push(0);
        table.func.push(func);
        table.native_symbol.push(None);
        table.inner_window_id.push(Some(0));
        table.line.push((frame.line > 0).then_some(frame.line));
        table.column.push(None);
        at
    }

    fn function(&mut self, key: FuncKey) -> u32 {
        let table = &mut self.func_table;
        let next = table.name.len() as u32;
        let at = *self.functions.entry(key).or_insert(next);
        if at == next {
            table.name.push(key.0);
            table.is_js.push(false);
            table.relevant_for_js.push(false);
            table.resource.push(key.1);
            table.source.push(key.2);
            table.line_number.push(None);
            table.column_number.push(None);
        }
        at
    }

    fn source(&mut self, profile: &Profile, file: StringId) -> u32 {
        if let Some(known) = self.files.get(&file) {
            return *known;
        }
        let filename = self.string(profile.text(file));
        let table = &mut self.sources;
        let id = table.filename.len() as u32;
        table.id.push(None);
        table.filename.push(filename);
        table.start_line.push(1);
        table.start_column.push(1);
        table.source_map_url.push(None);
        self.files.insert(file, id);
        id
    }
}
