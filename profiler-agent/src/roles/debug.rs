//! `vesta debug`: a look into what Vesta works with.

use std::{fmt::Write, fs::File};

use serde_json::json;
use symbols::unwind_rows::{UnwindTable, text::Shown};

use crate::{
    account::cpu_seconds,
    cli::debug::UnwindTableArgs,
    exit::Failure,
    roles::{print_json, print_text},
};

/// `vesta debug unwind-table FILE`.
pub(crate) fn unwind_table(args: &UnwindTableArgs) -> Result<(), Failure> {
    let path = &args.file;
    let file = File::open(path)
        .map_err(|error| Failure::error(format_args!("{} cannot be opened: {error}", path.display())))?;
    let before = cpu_seconds();
    let table = UnwindTable::read(&file, path).map_err(Failure::error)?;
    let build_cpu_s = cpu_seconds() - before;
    match args.at {
        Some(address) => print_at(args, &table, address),
        None if args.stats => print_stats(args, &table, build_cpu_s),
        None => print_rows(args, &table),
    }
}

fn print_at(args: &UnwindTableArgs, table: &UnwindTable, address: u64) -> Result<(), Failure> {
    let rule = table.rule_at(address).map(|rule| Shown(rule).to_string());
    if args.json {
        return print_json(&json!({ "address": address, "rule": rule }));
    }
    let rule = rule.unwrap_or_else(|| "nothing known".into());
    print_text(&format!("{address:#x} {rule}\n"))
}

fn print_stats(args: &UnwindTableArgs, table: &UnwindTable, build_cpu_s: f64) -> Result<(), Failure> {
    let stats = table.stats();
    let bytes_per_row = stats.bytes as f64 / stats.rows.max(1) as f64;
    if args.json {
        return print_json(&json!({
            "rows": stats.rows,
            "rules": stats.rules,
            "bytes": stats.bytes,
            "bytes_per_row": bytes_per_row,
            "eh_frame_bytes": stats.eh_frame_bytes,
            "debug_frame_bytes": stats.debug_frame_bytes,
            "build_cpu_s": build_cpu_s,
            "runs": table.runs().len(),
            "gap_rows": stats.gap_rows,
            "entries": stats.entries,
            "entries_of_go": stats.entries_of_go,
            "entries_of_code": stats.entries_of_code,
            "broken_entries": stats.broken_entries,
            "overlapping_entries": stats.overlapping_entries,
            "unsupported_rows": stats.unsupported_rows.iter().sum::<u64>(),
        }));
    }
    print_text(&format!(
        "{} rows, {} rules, {} runs\n{} bytes in the kernel's maps, {bytes_per_row:.2} a row\n\
         made of {} bytes of .eh_frame and {} of .debug_frame, {} entries ({} of Go's, {} of followed code, {} broken, {} overlapping)\n\
         {} rows begin a gap, {} cannot be expressed\nbuilt in {:.1} ms of CPU time\n",
        stats.rows,
        stats.rules,
        table.runs().len(),
        stats.bytes,
        stats.eh_frame_bytes,
        stats.debug_frame_bytes,
        stats.entries,
        stats.entries_of_go,
        stats.entries_of_code,
        stats.broken_entries,
        stats.overlapping_entries,
        stats.gap_rows,
        stats.unsupported_rows.iter().sum::<u64>(),
        build_cpu_s * 1e3,
    ))
}

fn print_rows(args: &UnwindTableArgs, table: &UnwindTable) -> Result<(), Failure> {
    if args.json {
        let rows: Vec<_> = table
            .rows()
            .map(|(address, rule)| json!({ "address": address, "rule": Shown(rule).to_string() }))
            .collect();
        return print_json(&rows);
    }
    let mut text = String::new();
    for (address, rule) in table.rows() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address:#018x} {}", Shown(rule));
    }
    print_text(&text)
}
