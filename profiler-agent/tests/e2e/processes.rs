//! Processes that are not as most are.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use testprogs::{
    Program,
    Variant::{FramePointers, NoFramePointers},
};

use crate::vesta::{Background, Recording, Stack, program, quiet, record, signal, text};

#[test]
fn a_process_whose_first_thread_has_ended_has_names() {
    let _quiet = quiet();
    let headless = Background::start(&program(Program::Headless, NoFramePointers), &["30"]);
    thread::sleep(Duration::from_millis(300));
    let recording = record(&["--frequency", "499", "--duration", "2s"], &[]);
    drop(headless);
    let all = recording.samples(|stack| stack.process == "headless");
    let named = recording.samples(|stack| stack.has("worker") && stack.has("burn_on") && stack.is_whole());
    assert!(all > 20 && named * 100 >= all * 90, "{named} of {all}\n{}", recording.show());
}

#[test]
fn a_process_whose_first_thread_ends_while_it_is_watched_has_names() {
    let _quiet = quiet();
    let recording = record(&["--frequency", "499"], &[&program(Program::Headless, NoFramePointers), "2"]);
    let all = recording.samples(|stack| stack.has("burn_on"));
    let named = recording.samples(|stack| stack.has("worker") && stack.has("burn_on") && stack.is_whole());
    assert!(all > 20 && named * 100 >= all * 90, "{named} of {all}\n{}", recording.show());
}

/// The samples of functions that only this program has, and those of them that are said to be of another process.
fn attributed(stacks: &[Stack], function: &str, process: &str) -> (u64, u64) {
    let samples = |wanted: &dyn Fn(&Stack) -> bool| -> u64 {
        stacks.iter().filter(|stack| wanted(stack)).map(|stack| stack.samples).sum()
    };
    let all = samples(&|stack| stack.has(function));
    (all, samples(&|stack| stack.has(function) && stack.process != process))
}

#[test]
fn storms_of_short_lived_processes_are_attributed_to_their_program() {
    let _quiet = quiet();
    let program = program(Program::ShortLived, NoFramePointers);
    for (per_second, child_seconds, enough) in [("40", "0.03", 40), ("500", "0.001", 20)] {
        let recording = record(&["--frequency", "499"], &[&program, per_second, "4", child_seconds]);
        let (all, wrong) = attributed(&recording.stacks, "short_work", "short_lived");
        assert!(all > enough && wrong == 0, "{wrong} of {all}\n{}", recording.show());
        let nameless = recording.samples(|stack| {
            stack.process == "short_lived"
                && stack.frames.iter().any(|frame| frame.starts_with("[short_lived+"))
        });
        assert_eq!(nameless, 0, "{per_second}\n{}", recording.show());
        assert_eq!(recording.summary["lost"]["queue_full"], 0, "{}", recording.summary);
    }
}

#[test]
fn a_program_that_is_replaced_on_disk_keeps_its_own_names() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("replaced"), folder.path().join("other"));
    fs::copy(program(Program::Shares, FramePointers), &path).unwrap();
    fs::copy(program(Program::Recursion, FramePointers), &other).unwrap();
    let running = Background::start(path.to_str().unwrap(), &["30"]);
    thread::sleep(Duration::from_millis(200));
    fs::rename(&other, &path).unwrap();
    let recording = record(&["--frequency", "499", "--duration", "2s"], &[]);
    drop(running);
    let all = recording.samples(|stack| stack.process == "replaced");
    let named = recording.samples(|stack| {
        ["burn_seventy", "burn_twenty", "burn_ten"].iter().any(|function| stack.has(function))
    });
    assert!(all > 20 && named * 100 >= all * 95, "{named} of {all}\n{}", recording.show());
}

/// A folder with a program at a path where we have another one, and the libraries that it needs.
fn other_root(folder: &Path, program: &str, path: &str) {
    let listed = text(&Command::new("ldd").arg(program).output().unwrap().stdout);
    let libraries = listed.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    for (from, to) in libraries.map(|library| (library, library)).chain([(program, path)]) {
        let to = folder.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_program_in_its_own_namespaces_and_root_has_the_names_of_its_own_files() {
    let _quiet = quiet();
    let root = tempfile::tempdir().unwrap();
    // What we have there is another program.
    let path = "/usr/bin/env";
    assert!(Path::new(path).exists());
    other_root(root.path(), &program(Program::Shares, FramePointers), path);
    let arguments = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--kill-child",
        "--fork",
        "chroot",
        root.path().to_str().unwrap(),
        path,
        "30",
    ];
    let inside = Background::start("unshare", &arguments);
    let recording = record(&["--frequency", "499", "--duration", "3s"], &[]);
    drop(inside);
    let all = recording.samples(|stack| stack.process == "env");
    let named = recording
        .samples(|stack| stack.has("main") && stack.has("__libc_start_main_impl") && stack.process == "env");
    assert!(all > 20 && named * 100 >= all * 95, "{named} of {all}\n{}", recording.show());
}

#[test]
fn a_container_on_overlayfs_has_the_names_of_its_files_also_once_they_are_copied_up() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let path = "/usr/bin/env";
    assert!(Path::new(path).exists());
    // As container runtimes do it: an image below, a container's changes above, and the root is both. On a file system of
    // its own, since an overlay cannot change another one. All of it is gone with the process.
    let image = folder.path().join("image");
    other_root(&image, &program(Program::Shares, FramePointers), path);
    let script = "
        set -e
        cd \"$1\"
        mkdir all
        mount -t tmpfs none all
        mkdir all/above all/work all/root
        mount -t overlay overlay -o \"lowerdir=$1/image,upperdir=all/above,workdir=all/work\" all/root
        chroot all/root /usr/bin/env 30 &
        trap 'kill $!' TERM
        # What runs is the image's file; what has its name from now on is the container's.
        sleep 2.5
        chmod 755 all/root/usr/bin/env
        test -e all/above/usr/bin/env
        echo copied
        wait
    ";
    let arguments = ["--mount", "sh", "-c", script, "sh", folder.path().to_str().unwrap()];
    let mut inside = Command::new("unshare").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let named_of = |recording: &Recording| {
        let all = recording.samples(|stack| stack.process == "env");
        let named = recording.samples(|stack| {
            stack.process == "env" && stack.has("main") && stack.has("__libc_start_main_impl")
        });
        assert!(all > 20 && named * 100 >= all * 95, "{named} of {all}\n{}", recording.show());
    };
    named_of(&record(&["--frequency", "499", "--duration", "2s"], &[]));
    let mut said = String::new();
    BufReader::new(inside.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "copied\n");
    named_of(&record(&["--frequency", "499", "--duration", "2s"], &[]));
    signal(inside.id(), rustix::process::Signal::TERM);
    inside.wait().unwrap();
}
