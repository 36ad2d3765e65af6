//! Builds the page in `web/` and puts it where the crate embeds it from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs, io};

/// What the page is built from, within `web/`.
const SOURCES: [&str; 7] =
    ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "src", "public"];

fn main() {
    if let Err(error) = page() {
        println!("cargo::error={}", error.replace('\n', " "));
        std::process::exit(1);
    }
}

fn page() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=VESTA_PAGE_DIST");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("page");
    let dist = match env::var_os("VESTA_PAGE_DIST").filter(|path| !path.is_empty()) {
        Some(path) => given(PathBuf::from(path))?,
        None => built(&env::current_dir().map_err(|error| error.to_string())?.join("web"))?,
    };
    let copied = remove(&out).and_then(|()| copy(&dist, &out));
    copied.map_err(|error| {
        format!("cannot copy the page from {} to {}: {error}", dist.display(), out.display())
    })
}

/// A page somebody built before; a relative path is meant from the workspace.
fn given(path: PathBuf) -> Result<PathBuf, String> {
    let dist = Path::new("..").join(&path);
    println!("cargo::rerun-if-changed={}", dist.display());
    match dist.join("index.html").is_file() {
        true => Ok(dist),
        false => Err(format!("VESTA_PAGE_DIST is {}, but there is no index.html in it", path.display())),
    }
}

/// As the lock file says, and without touching it. Not `npm ci`: that refuses a lock file that leaves out optional
/// packages of other platforms, as it does when the registry it was made with has none of them.
const INSTALL: [&str; 4] = ["install", "--no-save", "--no-audit", "--no-fund"];

/// The page, built if a source is newer.
fn built(web: &Path) -> Result<PathBuf, String> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", web.join(source).display());
    }
    let dist = web.join("dist");
    let newest = SOURCES.iter().filter_map(|source| newest(&web.join(source))).max();
    if changed(&dist.join("index.html")) > newest {
        return Ok(dist);
    }
    if changed(&web.join("node_modules/.package-lock.json")) < changed(&web.join("package-lock.json")) {
        npm(web, &INSTALL)?;
    }
    npm(web, &["run", "--silent", "build"])?;
    Ok(dist)
}

fn npm(web: &Path, arguments: &[&str]) -> Result<(), String> {
    let command = format!("npm {}", arguments.join(" "));
    match Command::new("npm").args(arguments).current_dir(web).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("npm, which builds the page, is not installed: type `cargo xtask setup`, or set \
                 VESTA_PAGE_DIST=<folder> to a page that is built already"
                .to_owned())
        }
        Err(error) => Err(format!("cannot run `{command}` in {}: {error}", web.display())),
        Ok(output) if !output.status.success() => {
            let said = [output.stdout, output.stderr].concat();
            Err(format!("`{command}` failed in {}: {}", web.display(), String::from_utf8_lossy(&said).trim()))
        }
        Ok(_) => Ok(()),
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// When a file, or anything in a folder, last changed; a folder itself changes when a file goes.
fn newest(path: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| newest(&entry.path())).chain(changed(path)).max()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to)?,
            false => fs::copy(entry.path(), to).map(drop)?,
        }
    }
    Ok(())
}
