//! A table held against the oracle: where both say the same, and in which ways they may differ.

use std::collections::BTreeMap;

use crate::unwind_oracle::{Caller, Machine, Oracle, by_rule};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Rbp, Reason};
use symbols::unwind_rows::UnwindTable;

/// How often a table and the oracle agreed, and in which way they differ.
#[derive(Default, Debug)]
pub(crate) struct Agreement {
    pub(crate) same: u64,
    /// In alignment padding, where nothing is executed, the table goes on with what was before it.
    pub(crate) padding: u64,
    /// The same at a `ret` that its entry leaves out; it is where the table goes on with the right rule.
    pub(crate) returns: u64,
    /// No entry describes the address, but Go's own table of functions does.
    pub(crate) of_go: u64,
    /// In one of the few functions of Go that change stacks, of which call frame information knows one stack only.
    pub(crate) switching: u64,
    /// More than one entry describes the address.
    pub(crate) overlapping: u64,
    /// The same but for the caller's rbp, which a rule cannot express.
    pub(crate) without_rbp: u64,
    /// What a rule cannot express, by reason.
    pub(crate) unsupported: BTreeMap<&'static str, u64>,
    /// Everything else.
    pub(crate) unexplained: u64,
    /// The first of these.
    pub(crate) examples: Vec<String>,
}

/// Unexplained differences that are put in words.
const EXAMPLES: usize = 8;

impl Agreement {
    fn check(&mut self, table: &UnwindTable, oracle: &Oracle, vaddr: u64) {
        let machine = Machine::at(vaddr, 0x5eed ^ vaddr << 7);
        let rule = table.rule_at(vaddr);
        let (by_table, said) = (by_rule(rule, machine), oracle.says(vaddr, machine));
        let reason = rule.and_then(|rule| rule.reason());
        if by_table == Some(said.caller) {
            self.same += 1;
        } else if said.is_ambiguous {
            self.overlapping += 1;
        } else if said.caller == Caller::Unknown && oracle.is_padding(vaddr) {
            self.padding += 1;
        } else if said.caller == Caller::Unknown
            && rule == Some(Rule::register(7, 8))
            && oracle.is_return_out_of_entry(vaddr)
        {
            self.returns += 1;
        } else if said.caller == Caller::Unknown && table.stats().entries_of_go > 0 {
            self.of_go += 1;
        } else if let Some(reason) = reason.filter(|reason| said.excuses.contains(reason)) {
            *self.unsupported.entry(name(reason)).or_default() += 1;
        } else if said.rbp_is_unusual
            && by_table == Some(said.caller.without_bp())
            && rule.is_some_and(|rule| rule.rbp == Rbp::Unsupported)
        {
            self.without_rbp += 1;
        } else if table.stats().entries_of_go > 0 && oracle.changes_stacks(vaddr) {
            self.switching += 1;
        } else {
            self.unexplained += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(format!("at {vaddr:#x}: {rule:?}, {by_table:?}, but {said:?}"));
            }
        }
    }
}

/// What a reason means, in a few words.
pub(crate) fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::CfaExpression => "CFA is an expression",
        Reason::CfaRegister => "CFA is in no general register",
        Reason::Offset => "an offset is too large",
        Reason::ReturnAddress => "return address is an expression",
        Reason::Crowded => "too many rules in a block",
        Reason::StackPointer => "stack pointer is not the CFA",
    }
}

/// Checks every `stride`th stretch of code of which both the table and the call frame information say one thing: with
/// 1 every address is covered. A stretch is checked at its first, its middle and its last address.
pub(crate) fn agreement(table: &UnwindTable, oracle: &Oracle, stride: usize) -> Agreement {
    let mut agreement = Agreement::default();
    let mut borders: Vec<u64> = table.rows().map(|(vaddr, _)| vaddr).chain(oracle.borders()).collect();
    borders.sort_unstable();
    borders.dedup();
    for stretch in borders.windows(2).step_by(stride) {
        let (first, last) = (stretch[0], stretch[1] - 1);
        agreement.check(table, oracle, first);
        if last > first {
            agreement.check(table, oracle, first.midpoint(last));
            agreement.check(table, oracle, last);
        }
    }
    if let (Some(first), Some(last)) = (borders.first(), borders.last()) {
        agreement.check(table, oracle, first - 1);
        agreement.check(table, oracle, *last);
    }
    agreement
}

/// The same, where a difference that is not explained fails the test.
pub(crate) fn compare(table: &UnwindTable, oracle: &Oracle, stride: usize) -> Agreement {
    let rows: Vec<u64> = table.rows().map(|(vaddr, _)| vaddr).collect();
    assert!(rows.windows(2).all(|row| row[0] < row[1]), "rows do not ascend");
    let agreement = agreement(table, oracle, stride);
    assert_eq!(agreement.unexplained, 0, "{:#?}", agreement.examples);
    for row in rows.iter().step_by(rows.len() / 4 + 1) {
        let said = oracle.says(*row, Machine::at(*row, 1)).caller;
        assert_eq!(oracle.is_found_by_search(*row), said != Caller::Unknown, "{row:#x}");
    }
    agreement
}
