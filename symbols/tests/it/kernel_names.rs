//! Names of kernel addresses.

use std::fs;

use symbols::kernel::{self, KernelSymbolsError};
use symbols::symbolizer::Symbolizer;

/// Address and name of some functions of the kernel image that have one name only, by the list itself.
fn functions() -> Vec<(u64, String)> {
    let wanted = ["schedule", "vfs_read", "vfs_write", "do_sys_openat2", "wake_up_process"];
    let list = fs::read_to_string("/proc/kallsyms").unwrap();
    let lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| {
            fields.len() == 3 && fields[1].eq_ignore_ascii_case("t") && wanted.contains(&fields[2])
        })
        .map(|fields| (u64::from_str_radix(fields[0], 16).unwrap(), fields[2].to_owned()))
        .collect()
}

#[test]
fn kernel_addresses_get_the_names_of_kallsyms_or_an_error_that_says_what_to_type() {
    let functions = functions();
    assert!(functions.len() >= 3, "{functions:?}");
    let addresses: Vec<_> = functions.iter().map(|(address, _)| address + 4).collect();
    let mut symbolizer = Symbolizer::default();
    match kernel::check_symbols() {
        Ok(()) => {
            let found = symbolizer.kernel(&addresses).unwrap();
            let names: Vec<_> = found.iter().map(|names| names[0].function.clone()).collect();
            let expected: Vec<_> = functions.into_iter().map(|(_, name)| name).collect();
            assert_eq!(names, expected);
            assert_eq!(symbolizer.counters().unknown, 0);
        }
        Err(_) => {
            let error = symbolizer.kernel(&addresses).unwrap_err();
            assert!(matches!(error, KernelSymbolsError::Hidden { .. }), "{error}");
            assert!(error.to_string().contains("sudo sysctl kernel.kptr_restrict=1"), "{error}");
        }
    }
}

#[test]
fn an_address_below_the_kernel_has_no_name() {
    if let Ok(names) = Symbolizer::default().kernel(&[0x10]) {
        assert_eq!(names, [vec![]]);
    } else {
        kernel::check_symbols().unwrap_err();
    }
}
