//! The same profile as a gzip pprof file, to compare with: samples by stack and labels, functions, locations, mappings.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use pprof::protos::{self, Message};
use rustc_hash::FxHashMap;
use store::model::{Profile, RowKey, StringId};

use crate::Result;

/// Its length in bytes.
pub(crate) fn gzipped(profile: &Profile) -> Result<u64> {
    // Strings keep their handles; those of our own come behind.
    let mut strings: Vec<String> = profile.strings.iter().map(str::to_owned).collect();
    let mut own = |text: &str| {
        strings.push(text.to_owned());
        strings.len() as i64 - 1
    };
    let sample_type = vec![
        protos::ValueType { ty: own("samples"), unit: own("count") },
        protos::ValueType { ty: own("cpu"), unit: own("nanoseconds") },
    ];
    let thread = own("thread");
    let string = |id: StringId| i64::from(id.0);
    let mut functions: FxHashMap<StringId, u64> = FxHashMap::default();
    let mut out = protos::Profile { sample_type, ..protos::Profile::default() };
    for (i, binary) in profile.binaries.iter().enumerate() {
        out.mapping.push(protos::Mapping {
            id: i as u64 + 1,
            filename: string(binary.path),
            build_id: string(binary.build_id),
            ..protos::Mapping::default()
        });
    }
    for (i, frame) in profile.frames.iter().enumerate() {
        let next = functions.len() as u64 + 1;
        let function_id = *functions.entry(frame.function).or_insert(next);
        if function_id == next {
            out.function.push(protos::Function {
                id: next,
                name: string(frame.function),
                system_name: string(frame.system_name),
                filename: string(frame.file),
                ..protos::Function::default()
            });
        }
        out.location.push(protos::Location {
            id: i as u64 + 1,
            mapping_id: frame.binary.map_or(0, |binary| u64::from(binary.0) + 1),
            address: frame.address,
            line: vec![protos::Line { function_id, line: i64::from(frame.line) }],
            ..protos::Location::default()
        });
    }
    for row in &profile.rows {
        let RowKey { series, node, thread: name, .. } = row.key;
        let labels = profile.series(series).labels.iter().map(|(key, value)| (string(*key), string(*value)));
        let label = |(key, str)| protos::Label { key, str, ..protos::Label::default() };
        out.sample.push(protos::Sample {
            location_id: profile.stacks.leaf_to_root(node).map(|frame| u64::from(frame.0) + 1).collect(),
            value: vec![row.samples as i64, row.value],
            label: labels.chain([(thread, string(name))]).map(label).collect(),
        });
    }
    out.string_table = strings;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&out.encode_to_vec())?;
    Ok(gzip.finish()?.len() as u64)
}
