//! Files that are cut, changed or made to hurt: an error that says what is wrong, in bounded memory.

use std::io::{Read, Write};

use ::pprof::protos;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use prost::Message;

use super::{ImportError, Limits, Options, read};
use crate::render::{Format, RenderOptions};
use crate::support::{Numbers, generated};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn unzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn written(format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    format.write(&generated(3, 8), &RenderOptions::default(), &mut bytes).unwrap();
    bytes
}

fn error(bytes: &[u8]) -> String {
    read(bytes, &Options::default()).unwrap_err().to_string()
}

#[test]
fn what_is_no_profile_is_called_what_it_is() {
    for (bytes, part) in [
        (&b""[..], "it is empty"),
        (b" \n\n", "it is empty"),
        (b"PERFILE2\0\0\0", "perf script -i FILE"),
        (b"\x7fELF\x02\x01", "a program or a library"),
        (b"<?xml version=\"1.0\"?><svg>", "XML"),
        (b" {\"profiles\": []}", "JSON"),
        (b"PAR1....", "Parquet"),
        (b"Dear reader,\nthis is prose.\n", "neither folded stacks nor samples of `perf script`"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "cannot be read"),
        (b"\x1f\x8bnot gzip at all", "cannot be read"),
    ] {
        let error = error(bytes);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_wrong_line_is_named() {
    assert_eq!(
        error(b"a;b 1\nc;d 2\n\nno count here\n"),
        "line 4: `no count here` is not a folded stack, which ends in a space and a count"
    );
    let script = b"app 1/1 1.0: 1 cpu-clock:\n\t 12 main (/bin/a)\nwhat is this?\n";
    assert_eq!(error(script), "line 3: `what is this?` is neither a sample of `perf script` nor a frame");
    let mut long = b"a;b 1\n".to_vec();
    long.resize(6 << 20, b'x');
    assert_eq!(error(&long), "line 2: longer than 4 MiB");
}

#[test]
fn cut_and_changed_files_are_errors_or_profiles() {
    let mut numbers = Numbers(7);
    for format in [Format::Pprof, Format::Folded, Format::PerfScript] {
        let packed = written(format);
        let bytes = if format == Format::Pprof { unzip(&packed) } else { packed.clone() };
        for file in [&bytes, &packed] {
            for _ in 0..150 {
                let cut = numbers.below(file.len() as u64) as usize;
                // A message that ends between two fields is one, too.
                drop(read(&file[..cut], &Options::default()));
                let mut changed = file.clone();
                for _ in 0..1 + numbers.below(8) {
                    let at = numbers.below(changed.len() as u64) as usize;
                    changed[at] ^= 1 << numbers.below(8);
                }
                drop(read(&*changed, &Options::default()));
            }
        }
    }
    // The checksum tells a packed file that was cut.
    let packed = written(Format::Pprof);
    assert!(error(&packed[..packed.len() - 3]).starts_with("it cannot be read: "));
}

#[test]
fn a_small_file_that_unpacks_to_a_large_one_is_refused() {
    let limits = Limits { file_bytes: 1 << 20, ..Limits::default() };
    let packed = gzip(&[&b"a;b 1\n"[..], &vec![b'\n'; 32 << 20]].concat());
    assert!((packed.len() as u64) < limits.file_bytes / 2, "{}", packed.len());
    let refused = read(&*packed, &Options { limits, ..Options::default() });
    assert_eq!(refused.unwrap_err().to_string(), "it is too large: more than 1 MiB, unpacked");
    // The message of a pprof file is bounded alike.
    let mut file = unzip(&written(Format::Pprof));
    file.resize(4 << 20, 0);
    let refused = read(&*gzip(&file), &Options { limits, ..Options::default() });
    assert!(matches!(refused, Err(ImportError::TooLarge(_))), "{refused:?}");
}

#[test]
fn what_takes_too_much_memory_is_refused() {
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let mut folded = Vec::new();
    let mut script = Vec::new();
    for i in 0..20_000 {
        writeln!(folded, "app;f{i};g{i} 1").unwrap();
        writeln!(script, "app 1/1 {i}.0: 1 cycles:\n\t {i:x} f{i} (/bin/a)\n").unwrap();
    }
    for text in [folded, script] {
        let refused = read(&*text, &options).unwrap_err();
        assert!(matches!(refused, ImportError::TooLarge(_)), "{refused}");
    }
    let refused = read(&*written_large(), &options).unwrap_err();
    assert!(matches!(refused, ImportError::TooLarge(_)), "{refused}");
}

fn written_large() -> Vec<u8> {
    let mut bytes = Vec::new();
    Format::Pprof.write(&generated(5, 3000), &RenderOptions::default(), &mut bytes).unwrap();
    bytes
}

/// A small valid profile.
fn small() -> protos::Profile {
    let strings = ["", "samples", "count", "cpu", "nanoseconds", "main", "/bin/a"];
    protos::Profile {
        sample_type: vec![protos::ValueType { ty: 1, unit: 2 }, protos::ValueType { ty: 3, unit: 4 }],
        sample: vec![protos::Sample { location_id: vec![1], value: vec![2, 20], label: vec![] }],
        mapping: vec![protos::Mapping { id: 1, filename: 6, ..Default::default() }],
        location: vec![protos::Location {
            id: 1,
            mapping_id: 1,
            address: 0x10,
            line: vec![protos::Line { function_id: 1, line: 3 }],
            is_folded: false,
        }],
        function: vec![protos::Function { id: 1, name: 5, ..Default::default() }],
        string_table: strings.map(str::to_owned).to_vec(),
        ..Default::default()
    }
}

#[test]
fn references_to_nothing_are_named() {
    assert_eq!(read(&*small().encode_to_vec(), &Options::default()).unwrap().samples(), 2);
    type Change = fn(&mut protos::Profile);
    let changes: [(Change, &str); 10] = [
        (|p| p.sample[0].location_id[0] = 9, "sample 1: there is no location 9"),
        (|p| p.location[0].mapping_id = 9, "sample 1: there is no mapping 9"),
        (|p| p.location[0].line[0].function_id = 9, "sample 1: there is no function 9"),
        (|p| p.function[0].name = 99, "sample 1: there is no string 99 of 7"),
        (|p| p.function[0].name = -1, "sample 1: there is no string -1 of 7"),
        (|p| p.sample[0].value = vec![1], "sample 1: 1 values of 2 types"),
        (|p| p.sample_type[0].ty = 99, "there is no string 99 of 7"),
        (|p| p.string_table.clear(), "its table of strings does not begin with the empty one"),
        (
            |p| p.sample[0].label.push(protos::Label { key: 77, str: 1, ..Default::default() }),
            "sample 1: there is no string 77 of 7",
        ),
        (|p| p.string_table[0] = "x".to_owned(), "its table of strings does not begin with the empty one"),
    ];
    for (change, reason) in changes {
        let mut profile = small();
        change(&mut profile);
        assert_eq!(error(&profile.encode_to_vec()), format!("not a valid pprof file: {reason}"));
    }
    let mut nothing = small();
    nothing.sample[0].value = vec![0, 0];
    assert_eq!(error(&nothing.encode_to_vec()), "none of its 1 samples has a value");
}

#[test]
fn extreme_numbers_are_kept_within_bounds() {
    let mut profile = small();
    profile.sample[0].value = vec![1 << 59, -(1 << 59)];
    (profile.time_nanos, profile.duration_nanos, profile.period) = (i64::MAX, i64::MIN, i64::MIN);
    profile.location[0].address = u64::MAX;
    profile.location[0].line[0].line = i64::MIN;
    profile.mapping[0].memory_start = u64::MAX - 1;
    let kept = read(&*profile.encode_to_vec(), &Options::default()).unwrap();
    assert_eq!((kept.rows[0].samples, kept.rows[0].value), (1 << 59, -(1 << 59)));
    for format in Format::ALL.into_iter().filter(|format| *format != Format::PerfScript) {
        format.write(&kept, &RenderOptions::default(), &mut std::io::sink()).unwrap();
    }
    profile.sample[0].value = vec![i64::MAX, i64::MIN];
    profile.sample.push(protos::Sample {
        location_id: vec![1, 1],
        value: vec![i64::MAX, i64::MIN],
        label: vec![],
    });
    for file in [
        profile.encode_to_vec(),
        b"a;b 18446744073709551615\na;c 18446744073709551615\n".to_vec(),
        b"a 4294967295/4294967295 [65535] 9223372036854.000000: 18446744073709551615 cpu-clock:\n\t ffffffffffffffff f (x)\n"
            .to_vec(),
    ] {
        let error = error(&file);
        assert!(error.starts_with("it is too large: ") && error.ends_with("are allowed"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_an_error_or_a_profile(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        lines in prop::collection::vec("(app 1/2 |\\[1\\] |9\\.5: |7 |cycles: |\t|[0-9a-f]{1,9} |\\(|\\)|;|PERF_RECORD_MMAP2 |\\PC){0,9}", 0..9),
    ) {
        drop(read(&*bytes, &Options::default()));
        drop(super::pprof::read(&bytes, &Options::default()));
        let text = lines.join("\n");
        drop(super::perf_script::read(text.as_bytes(), &Options::default()));
        drop(super::folded::read(text.as_bytes(), &Options::default()));
    }
}
