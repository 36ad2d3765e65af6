//! Packages of Debian releases other than this machine's, in package lists of our own: the machine's stay as they are.
//!
//! Where the archive is, and whose key signs it, is what the machine's own package sources say.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{as_root, run_with_retries};

/// Where apt's sources are read from: one file, and a folder of files.
const SOURCES: &str = "/etc/apt/sources.list";
const SOURCE_PARTS: &str = "/etc/apt/sources.list.d";

/// A Debian archive, as this machine knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Archive {
    uri: String,
    /// The value of `Signed-By`, which may be a key of many lines.
    signed_by: Option<String>,
}

/// One entry of apt's sources.
#[derive(Debug, PartialEq)]
struct Entry {
    archive: Archive,
    suites: Vec<String>,
    components: Vec<String>,
}

/// The archive that this machine installs Debian packages from; the error says what was looked for.
pub(crate) fn archive() -> Result<Archive> {
    let mut entries = Vec::new();
    let parts = fs::read_dir(SOURCE_PARTS).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = std::iter::once(PathBuf::from(SOURCES)).chain(parts).collect();
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(text.lines().filter_map(one_line)),
            Some("sources") => entries.extend(stanzas(&text)),
            _ => {}
        }
    }
    let codename = codename().unwrap_or_default();
    debian(&entries, &codename).with_context(|| {
        format!(
            "neither {SOURCES} nor a file in {SOURCE_PARTS} names a Debian archive with the component main"
        )
    })
}

/// The name of the release that this machine runs, e.g. `bookworm`.
pub(crate) fn codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// The Debian archive among the entries: others also use its suites' names, so the path counts more.
fn debian(entries: &[Entry], codename: &str) -> Option<Archive> {
    let rank = |entry: &Entry| {
        let path = u8::from(entry.archive.uri.trim_end_matches('/').ends_with("/debian"));
        let suite = u8::from(entry.suites.iter().any(|suite| suite == codename));
        2 * path + suite
    };
    let with_main = entries.iter().filter(|entry| entry.components.iter().any(|name| name == "main"));
    let best = with_main.filter(|entry| rank(entry) > 0).max_by_key(|entry| rank(entry))?;
    Some(best.archive.clone())
}

/// `deb [signed-by=/key] URI SUITE COMPONENT…`, see sources.list(5).
fn one_line(line: &str) -> Option<Entry> {
    let mut rest = line.trim().strip_prefix("deb ")?.trim_start();
    let mut signed_by = None;
    if let Some((options, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        rest = after;
    }
    let mut words = rest.split_whitespace().take_while(|word| !word.starts_with('#')).map(str::to_owned);
    let archive = Archive { uri: words.next()?, signed_by: signed_by.map(|keys| keys.replace(',', " ")) };
    Some(Entry { archive, suites: vec![words.next()?], components: words.collect() })
}

/// The stanzas of a file in the deb822 format, see sources.list(5).
fn stanzas(text: &str) -> Vec<Entry> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(stanza).collect()
}

fn stanza(lines: &[&str]) -> Option<Entry> {
    let field = |name: &str| {
        let of_name = |line: &&str| {
            line.split_once(':').is_some_and(|(key, _)| key.trim_end().eq_ignore_ascii_case(name))
        };
        let start = lines.iter().position(of_name)?;
        let mut value = lines[start].split_once(':')?.1.trim().to_owned();
        for more in lines[start + 1..].iter().take_while(|line| line.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(more);
        }
        Some(value)
    };
    let words =
        |name| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let disabled = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if disabled || !words("Types").iter().any(|kind| kind == "deb") {
        return None;
    }
    let archive = Archive { uri: words("URIs").into_iter().next()?, signed_by: field("Signed-By") };
    Some(Entry { archive, suites: words("Suites"), components: words("Components") })
}

/// apt with package lists of its own, in a folder.
pub(crate) struct Apt {
    folder: PathBuf,
    sources: String,
}

impl Apt {
    /// apt that knows the packages of these suites of the archive, once it was updated.
    pub(crate) fn new(folder: PathBuf, archive: &Archive, suites: &[&str]) -> Apt {
        Apt { folder, sources: sources(archive, suites) }
    }

    /// A command of apt's, `apt-get` or `apt-cache`, that looks at these lists only.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options());
        command
    }

    /// The same as root, for what changes the system.
    pub(crate) fn command_as_root(&self, program: &str) -> Command {
        let mut command = as_root("env");
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(program).args(self.options());
        command
    }

    /// What fetches the lists.
    pub(crate) fn update_command(&self) -> Command {
        let mut update = self.command("apt-get");
        update.args(["update", "--quiet"]);
        update
    }

    /// Fetches the lists, from where the machine's package sources say today.
    pub(crate) fn update(&self) -> Result<()> {
        for part in ["sources", "lists/partial", "cache/archives/partial"] {
            let path = self.folder.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let path = self.folder.join("sources/debian.sources");
        fs::write(&path, &self.sources).with_context(|| format!("cannot write {}", path.display()))?;
        run_with_retries(&mut self.update_command())
    }

    fn options(&self) -> Vec<String> {
        let folder = self.folder.display();
        let settings = [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={folder}/sources"),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            // Only names and versions are asked for.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // apt's own user has no way into a home folder; when we are root, root downloads.
            "APT::Sandbox::User=root".to_owned(),
        ];
        settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
    }
}

fn sources(archive: &Archive, suites: &[&str]) -> String {
    let mut text = format!(
        "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: amd64\n",
        archive.uri,
        suites.join(" ")
    );
    if let Some(key) = &archive.signed_by {
        text.push_str(&format!("Signed-By: {key}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
# a comment
Types: deb deb-src
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://a.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
";

    #[test]
    fn stanzas_are_read_with_their_keys() {
        let entries = stanzas(STANZAS);
        assert_eq!(entries.len(), 2, "{entries:?}");
        assert_eq!(entries[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(entries[0].components, ["main", "contrib"]);
        let key = entries[0].archive.signed_by.as_deref().unwrap();
        assert!(key.starts_with("\n -----BEGIN") && key.ends_with("END PGP PUBLIC KEY BLOCK-----"), "{key}");
        assert_eq!(entries[1].archive.signed_by.as_deref(), Some("/usr/share/keyrings/debian.gpg"));
    }

    #[test]
    fn lines_are_read_with_their_options() {
        let entry =
            one_line("deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian/ trixie main # x").unwrap();
        assert_eq!(entry.archive.uri, "http://a.example/debian/");
        assert_eq!(entry.archive.signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!((entry.suites, entry.components), (vec!["trixie".to_owned()], vec!["main".to_owned()]));
        for other in ["deb-src http://a.example/debian trixie main", "# deb http://a x main", "deb", ""] {
            assert_eq!(one_line(other), None);
        }
    }

    #[test]
    fn debian_is_told_from_others_that_use_its_suites_names() {
        let mut entries = vec![
            one_line("deb https://tools.example/apt bookworm main").unwrap(),
            one_line("deb https://engine.example/linux/debian bookworm stable").unwrap(),
        ];
        assert_eq!(debian(&entries, "bookworm").unwrap().uri, "https://tools.example/apt");
        assert_eq!(debian(&entries, "trixie"), None);
        entries.extend(stanzas(STANZAS));
        assert_eq!(debian(&entries, "bookworm").unwrap().uri, "http://a.example/debian");
        assert_eq!(debian(&entries, "sid").unwrap().uri, "http://a.example/debian");
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for entry in stanzas(STANZAS) {
            let again = stanzas(&sources(&entry.archive, &["trixie", "trixie-backports"]));
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].archive, entry.archive);
            assert_eq!(again[0].suites, ["trixie", "trixie-backports"]);
        }
    }
}
