//! `vesta symbols …`: names for what was stored without.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use serde_json::json;
use store::{Nameless, NamelessFile, Pace, SegmentInfo, Store, TimeRange};
use symbols::symbolizer::Options;

use crate::{
    cli::symbols::{ResolveArgs, SymbolsCommand},
    config,
    debuginfod::{Debuginfod, Fate},
    exit::Failure,
    late::{LateNamer, Outcome},
    processor::unix_ms,
    roles::{care, print_json, print_text},
};

/// Memory for debug info: a command may take more than an agent.
const MEMORY: u64 = 1 << 30;
/// Files without names that are listed.
const SHOWN: usize = 10;

/// Runs the command.
pub(crate) fn symbols(command: &SymbolsCommand, file: Option<&Path>) -> Result<(), Failure> {
    match command {
        SymbolsCommand::Resolve(args) => resolve(args, file),
    }
}

fn resolve(args: &ResolveArgs, file: Option<&Path>) -> Result<(), Failure> {
    let data_dir = care::data_dir(&args.store, file)?;
    let range = TimeRange::parse(&args.from, &args.until, unix_ms()).map_err(Failure::usage)?;
    let servers = config::debuginfod(&args.debuginfod, file, &data_dir)?;
    let reader = Store::open_reader(&data_dir)?;
    let store = if args.dry_run { reader } else { Store::open_writer(&data_dir)? };
    let mut options = Options { memory: MEMORY, kept: MEMORY, ..Options::default() };
    options.debug_folders.extend(args.debug_dir.iter().cloned());
    let mut debuginfod = None;
    if let Some(servers) = &servers {
        options.fetched = Some(servers.folder.clone());
        let opened = Debuginfod::new(servers, Arc::default());
        debuginfod = Some(
            opened.map_err(|error| Failure::error(format_args!("{}: {error}", servers.folder.display())))?,
        );
    }
    let mut outcome = Outcome::default();
    let mut wanted: Vec<(Arc<SegmentInfo>, Nameless)> = Vec::new();
    for segment in store.nameable(range)? {
        match store.nameless(&segment) {
            Ok(nameless) if nameless.is_empty() => outcome.segments += 1,
            Ok(nameless) => wanted.push((segment, nameless)),
            Err(reason) => {
                let path = segment.path().to_owned();
                outcome.skipped.push(store::Skipped { path, reason });
            }
        }
    }
    let fetched = debuginfod.as_mut().map_or(0, |debuginfod| fetch(debuginfod, &wanted));
    let mut namer = LateNamer::new(options);
    let pace = Pace::default();
    for (segment, nameless) in &wanted {
        namer.segment(&store, segment, nameless, (&pace, args.dry_run), &mut outcome)?;
    }
    if args.store.json {
        return print_json(&json!({
            "segments": outcome.segments,
            "renamed": outcome.renamed,
            "places": outcome.places,
            "named": outcome.named,
            "fetched": fetched,
            "left": by_file(&outcome).into_iter().map(|(file, places)| json!({
                "path": file.path,
                "build_id": file.build_id,
                "places": places,
            })).collect::<Vec<_>>(),
            "skipped": care::named(&outcome.skipped),
        }));
    }
    print_text(&told(&outcome, fetched, args.dry_run))
}

/// Asks for the debug info of all files without names, each once; how many came.
fn fetch(debuginfod: &mut Debuginfod, wanted: &[(Arc<SegmentInfo>, Nameless)]) -> usize {
    let files = wanted.iter().flat_map(|(_, nameless)| nameless.keys());
    let ids: BTreeSet<&str> = files.map(|file| &*file.build_id).collect();
    let ids = ids.into_iter().filter(|id| crate::debuginfod::is_build_id(id));
    ids.filter(|id| debuginfod.get(id) == Fate::Fetched).count()
}

/// Files with places that have no name, those with most first.
fn by_file(outcome: &Outcome) -> Vec<(&NamelessFile, usize)> {
    let mut files: Vec<_> = outcome.left.iter().map(|(file, places)| (file, *places)).collect();
    files.sort_by_key(|(_, places)| std::cmp::Reverse(*places));
    files
}

fn told(outcome: &Outcome, fetched: usize, is_dry: bool) -> String {
    let Outcome { segments, renamed, places, named, skipped, .. } = outcome;
    let have = if is_dry { "would have" } else { "have" };
    let mut text = format!(
        "{segments} segments, {places} places without names: {named} {have} one now, in {renamed} segments\n"
    );
    if fetched > 0 {
        text += &format!("{fetched} files of debug info were fetched\n");
    }
    let left = by_file(outcome);
    for (file, places) in left.iter().take(SHOWN) {
        text += &format!("{places:>8} left in {} ({})\n", file.path, file.build_id);
    }
    if left.len() > SHOWN {
        text += &format!("{:>8} more files\n", left.len() - SHOWN);
    }
    for skipped in skipped {
        text += &format!("cannot be read: {}: {}\n", skipped.path.display(), skipped.reason);
    }
    text
}
