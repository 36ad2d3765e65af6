//! From a row of call frame information to a rule.
//!
//! Formats: DWARF 5, sections 2.5 (expressions) and 6.4; x86-64 psABI, figure 3.36 (register numbers).

use gimli::{
    ArrayLike, CfaRule, Encoding, Operation, Register, RegisterRule, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow, X86_64,
};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, Rbp, Reason, ReturnAddress};

use super::evaluate::Bytes;

/// Reads rules out of rows of one entry.
pub(super) struct Reader<'s, S> {
    pub(super) section: &'s S,
    pub(super) encoding: Encoding,
    pub(super) return_address: Register,
    /// Whether the entry is marked as a signal frame.
    pub(super) is_signal: bool,
}

impl<'a, S: UnwindSection<Bytes<'a>>> Reader<'_, S> {
    /// The rule that says what the row says.
    pub(super) fn rule<T>(&self, row: &UnwindTableRow<usize, T>) -> Rule
    where
        T: UnwindContextStorage<usize>,
        T::Rules: ArrayLike<Item = (Register, RegisterRule<usize>)>,
    {
        let return_address = row.register(self.return_address);
        if return_address == Some(RegisterRule::Undefined) {
            return Rule::END;
        }
        let rbp = row.register(X86_64::RBP);
        if self.is_signal && self.is_kernel_frame(row.cfa(), rbp.as_ref(), return_address.as_ref()) {
            return Rule::SIGNAL;
        }
        let mut rule = self.cfa(row.cfa());
        if rule.cfa == Cfa::Unsupported {
            return rule;
        }
        // The caller's rsp is the CFA, unless a rule says otherwise.
        if !matches!(row.register(X86_64::RSP), None | Some(RegisterRule::ValOffset(0))) {
            return Rule::unsupported(Reason::StackPointer);
        }
        rule.interrupts = self.is_signal;
        (rule.return_address, rule.return_address_operand) = match return_address {
            Some(RegisterRule::Offset(offset)) => match i32::try_from(offset) {
                Ok(offset) => (ReturnAddress::AtCfa, offset),
                Err(_) => return Rule::unsupported(Reason::Offset),
            },
            Some(RegisterRule::Register(Register(number @ 0..=15))) => {
                (ReturnAddress::InRegister, number.into())
            }
            _ => return Rule::unsupported(Reason::ReturnAddress),
        };
        (rule.rbp, rule.rbp_operand) = self.rbp(rbp);
        rule
    }

    fn cfa(&self, cfa: &CfaRule<usize>) -> Rule {
        match *cfa {
            CfaRule::RegisterAndOffset { register: Register(number @ 0..=15), offset } => {
                match i32::try_from(offset) {
                    Ok(offset) => Rule::register(number as u8, offset),
                    Err(_) => Rule::unsupported(Reason::Offset),
                }
            }
            CfaRule::RegisterAndOffset { .. } => Rule::unsupported(Reason::CfaRegister),
            CfaRule::Expression(expression) => self.cfa_expression(&expression),
        }
    }

    fn cfa_expression(&self, expression: &UnwindExpression<usize>) -> Rule {
        use Operation::{Deref, Plus, PlusConstant, RegisterOffset, UnsignedConstant};
        let operations = self.operations(expression);
        let (register, offset, addend) = match *operations.as_slice() {
            [RegisterOffset { register, offset, .. }] => {
                return self.cfa(&CfaRule::RegisterAndOffset { register, offset });
            }
            [RegisterOffset { register, offset, .. }, Deref { space: false, size: 8, .. }] => {
                (register, offset, 0)
            }
            [
                RegisterOffset { register, offset, .. },
                Deref { space: false, size: 8, .. },
                PlusConstant { value: addend },
            ]
            | [
                RegisterOffset { register, offset, .. },
                Deref { space: false, size: 8, .. },
                UnsignedConstant { value: addend },
                Plus,
            ] => (register, offset, addend),
            _ => return self.plt(&operations).unwrap_or(Rule::unsupported(Reason::CfaExpression)),
        };
        let deref = match register {
            X86_64::RSP => Rule::deref_rsp,
            X86_64::RBP => Rule::deref_rbp,
            _ => return Rule::unsupported(Reason::CfaExpression),
        };
        match (i16::try_from(offset), i16::try_from(addend)) {
            (Ok(offset), Ok(addend)) => deref(offset, addend),
            _ => Rule::unsupported(Reason::Offset),
        }
    }

    /// What linkers write for a procedure linkage table: rsp + offset + ((rip & 15) >= pushed) * 8.
    fn plt(&self, operations: &[Operation<Bytes<'a>>]) -> Option<Rule> {
        use Operation::{And, Ge, Plus, RegisterOffset, Shl, UnsignedConstant};
        match *operations {
            [
                RegisterOffset { register: X86_64::RSP, offset, .. },
                RegisterOffset { register: X86_64::RA, offset: 0, .. },
                UnsignedConstant { value: 15 },
                And,
                UnsignedConstant { value: pushed @ 0..=16 },
                Ge,
                UnsignedConstant { value: 3 },
                Shl,
                Plus,
            ] => Some(Rule::plt(offset.try_into().ok()?, pushed.try_into().ok()?)),
            _ => None,
        }
    }

    fn rbp(&self, rule: Option<RegisterRule<usize>>) -> (Rbp, i32) {
        let place = |kind, offset: i64| i32::try_from(offset).map(|offset| (kind, offset)).ok();
        let known = match rule {
            None | Some(RegisterRule::SameValue) => Some((Rbp::Same, 0)),
            Some(RegisterRule::Undefined) => Some((Rbp::Undefined, 0)),
            Some(RegisterRule::Offset(offset)) => place(Rbp::AtCfa, offset),
            Some(RegisterRule::Register(Register(number @ 0..=15))) => Some((Rbp::InRegister, number.into())),
            Some(RegisterRule::Expression(expression)) => match self.register_offset(&expression) {
                Some((X86_64::RBP, offset)) => place(Rbp::AtRbp, offset),
                Some((X86_64::RSP, offset)) => place(Rbp::AtRsp, offset),
                _ => None,
            },
            _ => None,
        };
        known.unwrap_or((Rbp::Unsupported, 0))
    }

    /// Whether the rules are those of the frame that the kernel makes for a signal handler: the interrupted
    /// registers lie in the `ucontext` at rsp (rbp, rsp and rip at 120, 160 and 168: `uc_mcontext.gregs`).
    fn is_kernel_frame(
        &self,
        cfa: &CfaRule<usize>,
        rbp: Option<&RegisterRule<usize>>,
        return_address: Option<&RegisterRule<usize>>,
    ) -> bool {
        let CfaRule::Expression(cfa) = cfa else { return false };
        let at = |rule: Option<&RegisterRule<usize>>, place| match rule {
            Some(RegisterRule::Expression(expression)) => {
                self.register_offset(expression) == Some((X86_64::RSP, place))
            }
            _ => false,
        };
        self.cfa_expression(cfa) == Rule::deref_rsp(160, 0) && at(rbp, 120) && at(return_address, 168)
    }

    /// The register and offset of an expression that is no more than these.
    fn register_offset(&self, expression: &UnwindExpression<usize>) -> Option<(Register, i64)> {
        match *self.operations(expression).as_slice() {
            [Operation::RegisterOffset { register, offset, .. }] => Some((register, offset)),
            _ => None,
        }
    }

    /// The operations of an expression; none if it is broken, or longer than any that is understood.
    fn operations(&self, expression: &UnwindExpression<usize>) -> Vec<Operation<Bytes<'a>>> {
        const AT_MOST: usize = 9;
        let Ok(expression) = expression.get(self.section) else { return Vec::new() };
        let mut operations = expression.operations(self.encoding);
        let mut list = Vec::with_capacity(AT_MOST);
        loop {
            match operations.next() {
                Ok(Some(operation)) if list.len() < AT_MOST => list.push(operation),
                Ok(None) => return list,
                _ => return Vec::new(),
            }
        }
    }
}
