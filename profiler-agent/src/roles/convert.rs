//! `vesta convert`: profiles of other tools, and our own exports, as a table or in another format.

use ui::import::OneEvent;

use crate::{
    cli::ConvertArgs,
    exit::Failure,
    roles::{
        query::{format_of, show, tell},
        source,
    },
};

/// Runs the command.
pub(crate) fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    let format = format_of(&args.out)?;
    let options = source::options(&args.source)?;
    let files = args.source.files.iter().map(|file| source::read(file, &options));
    let mut merged = source::merged(files.collect::<Result<_, _>>()?);
    if !format.tells_events()
        && let Some(OneEvent { kept, others }) = merged.keep_one_event()
    {
        tell(&format!("this is `{kept}`; `--event` shows another: {}", others.join(", ")));
    }
    show(&merged.profile, format, args.out.output.as_deref())
}
