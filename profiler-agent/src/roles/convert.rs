//! `vesta convert`: profiles of other tools, and our own exports, as a table or in another format.

use crate::{
    cli::ConvertArgs,
    exit::Failure,
    roles::{
        query::{format_of, show},
        source,
    },
};

/// Runs the command.
pub(crate) fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    let format = format_of(&args.out)?;
    let options = source::options(&args.source)?;
    let profiles = args.source.files.iter().map(|file| source::read(file, &options));
    let profile = source::merged(profiles.collect::<Result<_, _>>()?);
    show(&profile, format, args.out.output.as_deref())
}
