//! Rules for people.

use std::fmt::{Display, Formatter, Result};

use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, RETURN_ADDRESS_OFFSET, Rbp, Reason, ReturnAddress};

/// DWARF's numbering: x86-64 psABI, figure 3.36.
const REGISTERS: [&str; 16] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// Shows a rule in one line, for example `cfa=rsp+16 rbp=[cfa-16]`. Brackets stand for the word at an address; the
/// return address is at cfa-8 where nothing else is said.
pub struct Shown(pub Rule);

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Rule { cfa_offset: offset, cfa_addend: addend, .. } = self.0;
        match self.0.cfa {
            Cfa::None => return f.write_str("nothing known"),
            Cfa::End => return f.write_str("outermost frame"),
            Cfa::Signal => return f.write_str("signal frame"),
            Cfa::Unsupported => return write!(f, "unsupported: {}", reason(self.0.reason())),
            Cfa::Rsp => write!(f, "cfa=rsp{offset:+}")?,
            Cfa::Rbp => write!(f, "cfa=rbp{offset:+}")?,
            Cfa::Register => write!(f, "cfa={}{offset:+}", register(self.0.cfa_register.into()))?,
            Cfa::Plt => write!(f, "cfa=rsp{offset:+}, from byte {addend} of 16 on rsp{:+}", offset + 8)?,
            Cfa::DerefRsp => write!(f, "cfa=[rsp{offset:+}]{addend:+}")?,
            Cfa::DerefRbp => write!(f, "cfa=[rbp{offset:+}]{addend:+}")?,
            Cfa::OtherStack => write!(f, "cfa=rbp{offset:+} on another stack")?,
            Cfa::Goroutine => write!(f, "cfa=sp{offset:+} of the goroutine at m{addend:+}")?,
            Cfa::Parked => return write!(f, "as the goroutine at m{offset:+} was left"),
            Cfa::LeftGoroutine => {
                write!(
                    f,
                    "cfa=stack end{addend:+} of the goroutine at [rsp{:+}], less [rsp{offset:+}]",
                    offset + 8
                )?;
            }
        }
        let operand = self.0.rbp_operand;
        match self.0.rbp {
            Rbp::Same => {}
            Rbp::AtCfa => write!(f, " rbp=[cfa{operand:+}]")?,
            Rbp::AtRbp => write!(f, " rbp=[rbp{operand:+}]")?,
            Rbp::AtRsp => write!(f, " rbp=[rsp{operand:+}]")?,
            Rbp::InRegister => write!(f, " rbp={}", register(operand))?,
            Rbp::Undefined => f.write_str(" rbp=undefined")?,
            Rbp::Unsupported => f.write_str(" rbp=unsupported")?,
        }
        let operand = self.0.return_address_operand;
        match self.0.return_address {
            ReturnAddress::AtCfa if operand == RETURN_ADDRESS_OFFSET => {}
            ReturnAddress::AtCfa => write!(f, " ra=[cfa{operand:+}]")?,
            ReturnAddress::InRegister => write!(f, " ra={}", register(operand))?,
        }
        f.write_str(if self.0.interrupts { " interrupted" } else { "" })
    }
}

fn register(number: i32) -> &'static str {
    usize::try_from(number).ok().and_then(|number| REGISTERS.get(number)).unwrap_or(&"?")
}

/// What an unsupported row is called, in statistics, too.
pub fn reason(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::CfaExpression) => "cfa_expression",
        Some(Reason::CfaRegister) => "cfa_register",
        Some(Reason::Offset) => "offset",
        Some(Reason::ReturnAddress) => "return_address",
        Some(Reason::Crowded) => "crowded",
        Some(Reason::StackPointer) => "stack_pointer",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_shown_with_what_differs_from_the_usual() {
        let usual = Rule::register(7, 8);
        let cases = [
            (usual, "cfa=rsp+8"),
            (Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::register(6, 16) }, "cfa=rbp+16 rbp=[cfa-16]"),
            (Rule::register(10, 0), "cfa=r10+0"),
            (Rule { rbp: Rbp::AtRbp, ..Rule::deref_rbp(-8, 0) }, "cfa=[rbp-8]+0 rbp=[rbp+0]"),
            (Rule::plt(8, 11), "cfa=rsp+8, from byte 11 of 16 on rsp+16"),
            (Rule { rbp: Rbp::InRegister, rbp_operand: 9, ..usual }, "cfa=rsp+8 rbp=r9"),
            (Rule { return_address_operand: -24, ..usual }, "cfa=rsp+8 ra=[cfa-24]"),
            (
                Rule { return_address: ReturnAddress::InRegister, return_address_operand: 1, ..usual },
                "cfa=rsp+8 ra=rdx",
            ),
            (Rule { interrupts: true, ..usual }, "cfa=rsp+8 interrupted"),
            (Rule::SIGNAL, "signal frame"),
            (Rule::END, "outermost frame"),
            (Rule::NONE, "nothing known"),
            (Rule::unsupported(Reason::CfaExpression), "unsupported: cfa_expression"),
        ];
        for (rule, shown) in cases {
            assert_eq!(Shown(rule).to_string(), shown);
        }
    }
}
