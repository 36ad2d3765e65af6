//! `--help` is what the golden files say: a change of the command line shows in the change's diff.
//! `VESTA_UPDATE_GOLDEN=1 cargo test …` rewrites them.

use crate::vesta::{golden, run, text};

#[test]
fn help_texts_are_as_agreed() {
    for (name, args) in [
        ("vesta.txt", &["--help"][..]),
        ("run.txt", &["run", "--help"]),
        ("record.txt", &["record", "--help"]),
        ("query.txt", &["query", "--help"]),
        ("sql.txt", &["sql", "--help"]),
        ("import.txt", &["import", "--help"]),
        ("convert.txt", &["convert", "--help"]),
        ("store.txt", &["store", "--help"]),
        ("store-check.txt", &["store", "check", "--help"]),
        ("store-stats.txt", &["store", "stats", "--help"]),
        ("store-compact.txt", &["store", "compact", "--help"]),
        ("store-export.txt", &["store", "export", "--help"]),
        ("store-gc.txt", &["store", "gc", "--help"]),
        ("store-pin.txt", &["store", "pin", "--help"]),
        ("store-unpin.txt", &["store", "unpin", "--help"]),
        ("store-pins.txt", &["store", "pins", "--help"]),
        ("doctor.txt", &["doctor", "--help"]),
        ("debug-unwind-table.txt", &["debug", "unwind-table", "--help"]),
        ("symbols-resolve.txt", &["symbols", "resolve", "--help"]),
        ("debug-names.txt", &["debug", "names", "--help"]),
        ("debug-kernel-stack.txt", &["debug", "kernel-stack", "--help"]),
    ] {
        let help = text(&run(args, 0).stdout);
        let path = golden(name);
        if std::env::var_os("VESTA_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &help).unwrap();
        }
        let agreed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, agreed, "vesta {args:?} differs from {}", path.display());
    }
}

#[test]
fn a_files_unwind_table_can_be_looked_at() {
    let program = crate::vesta::program(testprogs::Program::Shares, testprogs::Variant::NoFramePointers);
    let stats = run(&["debug", "unwind-table", &program, "--stats", "--json"], 0);
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    for key in ["rows", "rules", "bytes", "eh_frame_bytes"] {
        assert!(stats[key].as_u64() > Some(0), "{key} in {stats}");
    }
    let rows = text(&run(&["debug", "unwind-table", &program], 0).stdout);
    assert_eq!(rows.lines().count() as u64, stats["rows"].as_u64().unwrap());
    let (address, rule) =
        rows.lines().find(|row| row.ends_with("cfa=rsp+8")).unwrap().split_once(' ').unwrap();
    let at = text(&run(&["debug", "unwind-table", &program, "--at", address], 0).stdout);
    assert!(at.trim_end().ends_with(rule), "{at} is not {rule}");
    let refused = run(&["debug", "unwind-table", "/etc/hostname"], 1);
    assert!(text(&refused.stderr).contains("/etc/hostname"), "{}", text(&refused.stderr));
}

#[test]
fn the_version_is_told() {
    let version = text(&run(&["--version"], 0).stdout);
    assert_eq!(version.trim(), format!("vesta {}", env!("CARGO_PKG_VERSION")));
}
