//! Which segments there are to be: a list for each day, so that one whose folder is gone as a whole is noticed.
//!
//! A segment is on the list after its folder is there, and off it before its folder goes: whatever is interrupted, a
//! listed segment without a folder was not removed by us. The list is no part of the answer to anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use ulid::Ulid;

use crate::catalog::Skipped;
use crate::checked::{read_checked, to_checked};
use crate::error::{IoContext, Result};
use crate::handle::Store;
use crate::segment::write_file;

/// Name of the folder, in the data directory.
const FOLDER: &str = "inventory";
/// Bytes of a day's list: half a million segments.
const MAX_BYTES: u64 = 16 << 20;
const HELP: &str = "it can be deleted: it begins anew";

/// The lists of days that were written to, as their files have them.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    days: BTreeMap<String, BTreeSet<String>>,
}

/// The day and the id of a segment, by its folder.
fn names_of(path: &Path) -> Option<(String, String)> {
    let day = path.parent()?.file_name()?.to_str()?.strip_prefix("date=")?;
    let id = path.file_name()?.to_str()?.strip_prefix("segment=")?;
    Some((day.to_owned(), id.to_owned()))
}

impl Store {
    fn list_of(&self, day: &str) -> PathBuf {
        self.path().join(FOLDER).join(format!("{day}.json"))
    }

    /// A segment is there. What goes wrong is told, and costs nothing but the notice of its loss.
    pub(crate) fn note_in_inventory(&self, path: &Path) {
        let noted = self.change_inventory(path, false, |list, id| list.insert(id));
        if let Err(error) = noted {
            tracing::debug!(%error, segment = %path.display(), "not on the list of segments");
        }
    }

    /// A segment is about to go.
    pub(crate) fn strike_from_inventory(&self, path: &Path) {
        // On disk before the folder goes: else it would be missed after a power cut.
        let struck = self.change_inventory(path, true, |list, id| list.remove(&id));
        if let Err(error) = struck {
            tracing::debug!(%error, segment = %path.display(), "still on the list of segments");
        }
    }

    fn change_inventory(
        &self,
        path: &Path,
        is_synced: bool,
        change: impl FnOnce(&mut BTreeSet<String>, String) -> bool,
    ) -> io::Result<()> {
        let Some((day, id)) = names_of(path) else { return Ok(()) };
        let file = self.list_of(&day);
        let mut inventory = self.inventory().lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = match inventory.days.remove(&day) {
            Some(list) => list,
            None => read_checked(&file, MAX_BYTES, HELP)?.into_iter().collect(),
        };
        if change(&mut list, id) {
            self.write_list(&file, &list, is_synced)?;
        }
        if !list.is_empty() {
            inventory.days.insert(day, list);
        }
        Ok(())
    }

    fn write_list(&self, file: &Path, list: &BTreeSet<String>, is_synced: bool) -> io::Result<()> {
        if list.is_empty() {
            return fs::remove_file(file);
        }
        let ids: Vec<_> = list.iter().collect();
        let json = to_checked(&ids)?;
        let aside = self.dir().tmp().join(Ulid::new().to_string());
        let written = match is_synced {
            true => write_file(&aside, &json).map_err(io::Error::other),
            false => fs::write(&aside, &json),
        };
        let in_place = written.and_then(|()| {
            fs::create_dir_all(file.parent().unwrap_or(file))?;
            fs::rename(&aside, file)
        });
        in_place.inspect_err(|_| fs::remove_file(&aside).unwrap_or_default())
    }

    /// Segments that were not removed by us, and whose folders are gone; and lists that cannot be read.
    pub(crate) fn missing(&self) -> Result<Vec<Skipped>> {
        let before = self.listed()?;
        let mut found: Vec<Skipped> = Vec::new();
        let missing: Vec<(String, String)> = {
            let mut state = self.state();
            state.catalog.refresh()?;
            let is_gone = |path: &Path| fs::symlink_metadata(path).is_err();
            let is_replaced =
                |id: &str| Ulid::from_string(id).is_ok_and(|id| state.catalog.replacement_of(id).is_some());
            let listed = before.iter().filter_map(|(path, list)| Some((path, list.as_ref().ok()?)));
            let listed = listed.flat_map(|(path, list)| list.iter().map(move |id| (path, id)));
            listed
                .filter_map(|(path, id)| Some((path.file_stem()?.to_str()?.to_owned(), id.clone())))
                .filter(|(day, id)| is_gone(&self.segment_path(day, id)) && !is_replaced(id))
                .collect()
        };
        // A writer may have removed it meanwhile: then it is off the list by now.
        let after = self.listed()?;
        for (day, id) in missing {
            let list = after.get(&self.list_of(&day)).and_then(|list| list.as_ref().ok());
            if list.is_some_and(|list| list.contains(&id)) {
                let reason = "it was here, and its folder is gone".to_owned();
                found.push(Skipped { path: self.segment_path(&day, &id), reason });
            }
        }
        let unreadable = after.into_iter().filter_map(|(path, list)| Some((path, list.err()?)));
        found.extend(unreadable.map(|(path, reason)| Skipped { path, reason }));
        Ok(found)
    }

    fn segment_path(&self, day: &str, id: &str) -> PathBuf {
        self.dir().segments().join(format!("date={day}")).join(format!("segment={id}"))
    }

    /// All lists by their files, or why one cannot be read.
    fn listed(&self) -> Result<BTreeMap<PathBuf, std::result::Result<BTreeSet<String>, String>>> {
        let folder = self.path().join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error).context("read", &folder),
        };
        let mut lists = BTreeMap::new();
        for entry in entries {
            let path = entry.context("read", &folder)?.path();
            let list = read_checked::<String>(&path, MAX_BYTES, HELP);
            let list = list.map(|ids| ids.into_iter().collect()).map_err(|error| error.to_string());
            lists.insert(path, list);
        }
        Ok(lists)
    }
}
