//! Rows that were read off the code, held against those of call frame information.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use profiler_unwind::Rule;
use profiler_unwind::rule::Cfa;
use symbols::unwind_rows::{CallFrameInfo, UnwindRowsError, UnwindTable};

/// Bytes of code by what both say.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// The CFA is counted from the same register, and as far.
    pub(crate) agree: u64,
    /// From the same register, and not as far.
    pub(crate) differ: u64,
    /// From another register, which cannot be compared.
    pub(crate) other_register: u64,
    pub(crate) only_described: u64,
    /// Where they differ: address, what is described, what was followed.
    pub(crate) differences: Vec<(u64, Rule, Rule)>,
}

/// Compares what is described of a file's code with what the code says if nothing else is asked.
pub(crate) fn compare(
    file: &File,
    path: &Path,
    described: &UnwindTable,
) -> Result<Compared, UnwindRowsError> {
    let followed = UnwindTable::compile(&CallFrameInfo::read_code_only(file, path)?, path)?;
    let tables = [described, &followed];
    let mut rows: BTreeMap<u64, [Option<Rule>; 2]> = BTreeMap::new();
    for (which, table) in tables.iter().enumerate() {
        table.rows().for_each(|(address, rule)| rows.entry(address).or_default()[which] = Some(rule));
    }
    let mut compared = Compared::default();
    let mut now = [Rule::NONE; 2];
    let mut rows = rows.into_iter().peekable();
    while let Some((address, changed)) = rows.next() {
        now.iter_mut().zip(changed).for_each(|(now, changed)| *now = changed.unwrap_or(*now));
        let bytes = rows.peek().map_or(0, |(next, _)| next - address);
        let [described, followed] = now;
        let count = match (described.cfa, followed.cfa) {
            (Cfa::None, _) => continue,
            (_, Cfa::None) => &mut compared.only_described,
            (one, other) if one != other || described.cfa_register != followed.cfa_register => {
                &mut compared.other_register
            }
            _ if described.cfa_offset == followed.cfa_offset => &mut compared.agree,
            _ => {
                compared.differences.push((address, described, followed));
                &mut compared.differ
            }
        };
        *count += bytes;
    }
    Ok(compared)
}
