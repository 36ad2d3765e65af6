//! Kernels of Debian's releases: which there are, and the image of one, kept for the next time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::apt::{self, Apt};
use crate::process::{output, run_with_retries, say};

/// Suites with the kernels of the matrix, oldest first. 6.1 is bookworm's, 6.12 trixie's, what follows its backports'.
const SUITES: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];
/// What kernel packages are called. Where there is a `binary`, the `image` is empty and depends on it.
const BINARY: &str = "linux-binary-";
const IMAGE: &str = "linux-image-";
const ARCHITECTURE: &str = "-amd64";
/// The file that the names of all kernels are kept in.
const LIST: &str = "packages.txt";
/// How long a list of kernels is believed: new ones come every few days.
const LIST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A kernel to boot.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// The newest one whose version begins with these numbers.
    Version(Vec<u32>),
    /// The newest one there is.
    Newest,
    /// An image of one's own.
    File(PathBuf),
}

impl Wanted {
    /// `6.1`, `6.12.117`, `newest`, or a path.
    pub(super) fn from_argument(argument: &str) -> Option<Wanted> {
        if argument == "newest" {
            return Some(Wanted::Newest);
        }
        if argument.contains('/') {
            return Some(Wanted::File(argument.into()));
        }
        let numbers: Option<Vec<u32>> = argument.split('.').map(|part| part.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() > 1).map(Wanted::Version)
    }

    /// How it was asked for.
    pub(super) fn name(&self) -> String {
        match self {
            Wanted::Version(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join("."),
            Wanted::Newest => "newest".to_owned(),
            Wanted::File(path) => path.display().to_string(),
        }
    }
}

/// The images of the kernels that are wanted, in their order, fetched where they were not before.
pub(super) fn images(wanted: &[Wanted], cache: &Path) -> Result<Vec<PathBuf>> {
    let mut known = None;
    let mut images = Vec::new();
    for one in wanted {
        if let Wanted::File(path) = one {
            images.push(path.clone());
            continue;
        }
        let kernels = match &mut known {
            Some(kernels) => kernels,
            none => none.insert(Kernels::list(cache)?),
        };
        images.push(kernels.image(one)?);
    }
    Ok(images)
}

/// The kernels of the archive.
struct Kernels {
    folder: PathBuf,
    apt: Apt,
    /// Names of packages.
    names: Vec<String>,
}

impl Kernels {
    /// Asks the archive, at most once a day.
    fn list(cache: &Path) -> Result<Kernels> {
        let folder = cache.join("kernels");
        let apt = Apt::new(folder.join("apt"), &apt::archive()?, &SUITES);
        let path = folder.join(LIST);
        let age = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if age.and_then(|time| time.elapsed().ok()).is_none_or(|age| age > LIST_AGE) {
            say("asking which kernels there are");
            match ask(&apt) {
                Ok(names) => {
                    fs::write(&path, names).with_context(|| format!("cannot write {}", path.display()))?;
                }
                // Those that were fetched before can be booted all the same.
                Err(error) if path.exists() => say(&format!("{error:#}; an older list will do")),
                Err(error) => return Err(error),
            }
        }
        let names = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Kernels { folder, apt, names: names.lines().map(str::to_owned).collect() })
    }

    fn image(&self, wanted: &Wanted) -> Result<PathBuf> {
        let Some(name) = choose(&self.names, wanted) else {
            let list = self.folder.join(LIST);
            bail!(
                "there is no kernel {} in {}; those there are: {}",
                wanted.name(),
                SUITES.join(", "),
                list.display()
            );
        };
        let image = self.folder.join(format!("vmlinuz-{name}"));
        if !image.exists() {
            self.fetch(name, &image)?;
        }
        Ok(image)
    }

    fn fetch(&self, name: &str, image: &Path) -> Result<()> {
        // By process, so that two at once do not meet.
        let folder = self.folder.join(format!(".{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        say(&format!("fetching {name}: the kernel is kept, the modules are not needed"));
        let mut download = self.apt.command("apt-get");
        run_with_retries(download.args(["download", "--quiet", name]).current_dir(&folder)).with_context(
            || format!("if it is gone, remove {} to ask anew", self.folder.join(LIST).display()),
        )?;
        let package = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).next();
        let package = package.with_context(|| format!("apt-get downloaded no {name}"))?;
        let aside = folder.join("vmlinuz");
        extract(&package, &aside)?;
        fs::rename(&aside, image).with_context(|| format!("cannot write {}", image.display()))?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }
}

/// The names of all kernel packages, one a line.
fn ask(apt: &Apt) -> Result<String> {
    apt.update().context("the list of kernels could not be fetched")?;
    let pattern = format!("^({BINARY}|{IMAGE})[0-9].*{ARCHITECTURE}$");
    let found = output(apt.command("apt-cache").args(["search", "--names-only", &pattern]));
    let found = found.context("`apt-cache search` failed")?;
    Ok(found.lines().filter_map(|line| Some(format!("{}\n", line.split_once(' ')?.0))).collect())
}

/// The package of the newest kernel that is as wanted.
fn choose<'a>(names: &'a [String], wanted: &Wanted) -> Option<&'a str> {
    let fits = |version: &[u32]| match wanted {
        Wanted::Version(numbers) => version.starts_with(numbers),
        Wanted::Newest => true,
        Wanted::File(_) => false,
    };
    let versions = names.iter().filter_map(|name| Some((version(name)?, name)));
    let fitting = versions.filter(|(version, _)| fits(version));
    let (_, name) = fitting.max_by_key(|(version, name)| (version.clone(), name.starts_with(BINARY)))?;
    Some(name)
}

/// `[6, 12, 117]` of `linux-image-6.12.117+deb13-amd64`; nothing of the flavours `cloud` and `rt`.
fn version(package: &str) -> Option<Vec<u32>> {
    let rest = package.strip_prefix(BINARY).or_else(|| package.strip_prefix(IMAGE))?;
    let mut numbers = Vec::new();
    for part in rest.strip_suffix(ARCHITECTURE)?.split(['.', '-', '+']) {
        match part.parse() {
            Ok(number) => numbers.push(number),
            Err(_) if part.starts_with("deb") || part.starts_with("bpo") => {}
            Err(_) => return None,
        }
    }
    Some(numbers)
}

/// Writes the one kernel of the package to a file.
fn extract(package: &Path, to: &Path) -> Result<()> {
    let mut unpack =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let tar = unpack.stdout.take().context("no standard output")?;
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    // In /boot, or since 6.19 beside the modules.
    let mut pick = Command::new("tar");
    pick.args(["--extract", "--to-stdout", "--wildcards", "*/vmlinuz*"]).stdin(tar).stdout(file);
    let picked = pick.status().context("cannot start `tar`")?;
    let unpacked = unpack.wait().context("cannot wait for `dpkg-deb`")?;
    if !picked.success() || !unpacked.success() || fs::metadata(to)?.len() == 0 {
        bail!("there is no kernel in {}", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: &str) -> Option<String> {
        let names = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-51-cloud-amd64",
            "linux-image-6.12.107+deb13-amd64",
            "linux-image-6.18.15+deb13-amd64",
            "linux-image-6.18.15+deb13-rt-amd64",
            "linux-image-6.18.9+deb13-amd64",
            "linux-binary-7.0.4+deb13-amd64",
            "linux-image-7.0.4+deb13-amd64",
        ];
        let names = names.map(str::to_owned);
        choose(&names, &Wanted::from_argument(wanted).unwrap()).map(str::to_owned)
    }

    #[test]
    fn the_newest_of_a_version_is_chosen_by_its_numbers() {
        assert_eq!(chosen("6.1").as_deref(), Some("linux-image-6.1.0-50-amd64"));
        assert_eq!(chosen("6.18").as_deref(), Some("linux-image-6.18.15+deb13-amd64"));
        assert_eq!(chosen("6.18.9").as_deref(), Some("linux-image-6.18.9+deb13-amd64"));
        assert_eq!(chosen("6.6"), None);
    }

    #[test]
    fn a_package_that_only_depends_on_another_is_not_chosen() {
        assert_eq!(chosen("newest").as_deref(), Some("linux-binary-7.0.4+deb13-amd64"));
    }

    #[test]
    fn kernels_are_named_by_version_or_path() {
        assert_eq!(Wanted::from_argument("6.12"), Some(Wanted::Version(vec![6, 12])));
        assert_eq!(Wanted::from_argument("./bzImage"), Some(Wanted::File("./bzImage".into())));
        for wrong in ["6", "latest", "6.x", "--all", ""] {
            assert_eq!(Wanted::from_argument(wrong), None, "{wrong}");
        }
        assert_eq!(Wanted::from_argument("6.12.117").unwrap().name(), "6.12.117");
    }
}
