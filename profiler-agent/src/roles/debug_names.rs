//! `vesta debug names`: names of addresses, looked up as the agent does.

use std::{
    fmt::Write,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde_json::json;
use symbols::symbolizer::Name;

use crate::{
    account::cpu_seconds,
    cli::{debug::NamesArgs, hexadecimal},
    exit::Failure,
    naming::FileNames,
    roles::{print_json, print_text, source},
};

/// Addresses that are asked for at once. More than anyone has in one file, and some hundred megabytes of names.
const ADDRESSES_MAX: usize = 1 << 20;

/// `vesta debug names FILE`.
pub(crate) fn names(args: &NamesArgs) -> Result<(), Failure> {
    let path = &args.file;
    let file = File::open(path)
        .map_err(|error| Failure::error(format_args!("{} cannot be opened: {error}", path.display())))?;
    let mut addresses = args.at.clone();
    if let Some(list) = &args.addresses {
        addresses.extend(read(source::open(list)?, list)?);
    }
    if addresses.len() > ADDRESSES_MAX {
        return Err(Failure::error(format_args!("more than {ADDRESSES_MAX} addresses")));
    }
    let mut names = FileNames::new(file, path);
    if !names.is_elf() {
        return Err(Failure::error(format_args!("{} is no x86-64 ELF file", path.display())));
    }
    let start = cpu_seconds();
    let found = names.at(&addresses);
    let first = cpu_seconds() - start;
    if args.stats {
        let start = cpu_seconds();
        let again = names.at(&addresses);
        let again_cpu_s = cpu_seconds() - start;
        let named = again.iter().filter(|names| !names.is_empty()).count();
        let inlined = again.iter().flat_map(|names| names.iter()).filter(|name| name.inlined).count();
        if args.json {
            return print_json(&json!({
                "addresses": addresses.len(),
                "named": named,
                "inlined": inlined,
                "cpu_s": first,
                "again_cpu_s": again_cpu_s,
            }));
        }
        return print_text(&format!(
            "{named} of {} addresses have names, and {inlined} functions are inlined there\n\
             looked up in {:.1} ms of CPU time, and again in {:.2} ms\n",
            addresses.len(),
            first * 1e3,
            again_cpu_s * 1e3,
        ));
    }
    if args.json {
        let all: Vec<_> = addresses
            .iter()
            .zip(&found)
            .map(|(address, names)| json!({ "address": address, "functions": names.iter().map(to_json).collect::<Vec<_>>() }))
            .collect();
        return print_json(&all);
    }
    let mut text = String::new();
    for (address, names) in addresses.iter().zip(&found) {
        // Writing to a String cannot fail.
        let _ = match &names[..] {
            [] => writeln!(text, "{address:#x} nothing known"),
            names => names.iter().try_for_each(|name| {
                let inlined = if name.inlined { " (inlined)" } else { "" };
                writeln!(text, "{address:#x} {}{inlined}{}", name.function, place(name))
            }),
        };
    }
    print_text(&text)
}

fn place(name: &Name) -> String {
    if name.file.is_empty() { String::new() } else { format!(" {}:{}", name.file, name.line) }
}

fn to_json(name: &Name) -> serde_json::Value {
    json!({
        "function": name.function,
        "system_name": name.system_name,
        "file": name.file,
        "line": name.line,
        "inlined": name.inlined,
    })
}

fn read(list: impl Read, path: &Path) -> Result<Vec<u64>, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::error(format_args!("{}: {error}", path.display()));
    let mut addresses = Vec::new();
    for line in BufReader::new(list).lines().take(ADDRESSES_MAX + 1) {
        let line = line.map_err(|error| bad(&error))?;
        let word = line.trim();
        if !word.is_empty() {
            addresses.push(hexadecimal(word).map_err(|error| bad(&error))?);
        }
    }
    Ok(addresses)
}
