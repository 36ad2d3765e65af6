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
        ("doctor.txt", &["doctor", "--help"]),
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
fn the_version_is_told() {
    let version = text(&run(&["--version"], 0).stdout);
    assert_eq!(version.trim(), format!("vesta {}", env!("CARGO_PKG_VERSION")));
}
