//! Files of other profilers, as `vesta import` and `vesta convert` read them.

use std::{fs::File, io::Read, path::Path};

use store::{
    model::{Keep, Profile, ProfileBuilder},
    parse_time,
};
use ui::import::{self, Imported, Options};

use crate::{cli::SourceArgs, exit::Failure, processor::unix_ms};

/// What the command line says of the files.
pub(super) fn options(args: &SourceArgs) -> Result<Options, Failure> {
    let now_ms = unix_ms();
    let start = args.time.as_deref().map(|text| parse_time(text, now_ms));
    Ok(Options {
        labels: args.label.clone(),
        start_ms: start.transpose().map_err(Failure::usage)?,
        event: args.event.clone(),
        now_ms,
        limits: import::Limits::default(),
    })
}

/// What a file holds; `-` is standard input.
pub(super) fn read(path: &Path, options: &Options) -> Result<Imported, Failure> {
    import::read_file(open(path)?, options)
        .map_err(|error| Failure::error(format_args!("{}: {error}", path.display())))
}

/// A file to read; `-` is standard input.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::error(format_args!("{} cannot be read: {error}", path.display()))),
    }
}

/// One profile of several; of what their writers mean to be seen first, the first file's counts.
pub(super) fn merged(mut files: Vec<Imported>) -> Imported {
    if files.len() == 1 {
        return files.remove(0);
    }
    let main_event = files.iter().find_map(|file| file.main_event.clone());
    let profiles: Vec<Profile> = files.into_iter().map(|file| file.profile).collect();
    let mut builder = ProfileBuilder::default();
    for profile in &profiles {
        builder.merge(profile, Keep::ALL, i64::MIN..i64::MAX, |_| true);
    }
    let start_ms = profiles.iter().map(|profile| profile.start_ms).min().unwrap_or(0);
    let end_ms = profiles.iter().map(|profile| profile.end_ms).max().unwrap_or(0);
    Imported { profile: builder.finish(start_ms, end_ms), main_event }
}
