//! How a frame was found, and why a walk ended.

/// How the walker got from a frame's callee to the frame. Travels in the top bits of each user frame.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The sampled instruction itself.
    Leaf = 0,
    /// Through the frame pointer.
    FramePointer = 1,
    /// From the top of the stack: the callee was at its first instruction (`push %rbp`) or at its return.
    AtEntry = 2,
    /// From one word below the top of the stack: the callee had pushed the frame pointer, not yet set it.
    AfterPush = 3,
    /// By a row of an unwind table.
    Table = 4,
    /// By a row of an unwind table that says that a signal interrupted this frame: its instruction comes next, it is no
    /// return address.
    Interrupted = 5,
}

impl Method {
    /// All, by number.
    pub const ALL: [Self; 6] =
        [Self::Leaf, Self::FramePointer, Self::AtEntry, Self::AfterPush, Self::Table, Self::Interrupted];

    /// Whether a frame's address is that of the instruction it stands at; others have called, and stand after the call.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Leaf | Self::Interrupted)
    }

    /// The method of a number out of a record; none for a number this version does not know.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(raw as usize).copied()
    }
}

/// Why the walk of a user stack ended. Only [`WalkEnd::Proven`] means that the kernel side knows the stack to
/// be complete; the agent may prove more ends from the files behind the addresses, never fewer.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WalkEnd {
    /// No user stack: a kernel thread.
    NoUserStack = 0,
    /// The outermost frame's return address is undefined, by the unwind table, or zero where that says it is.
    Proven = 1,
    /// The chain of frame pointers ended in zero, as thread and process start code leaves it.
    ZeroFramePointer = 2,
    /// More frames than [`crate::USER_FRAMES_MAX`].
    DepthLimit = 3,
    /// Stack memory could not be read (not resident, or the frame pointer is no pointer).
    UnreadableStack = 4,
    /// The frame pointer does not lie above the previous one: overwritten, or used for something else.
    NotAscending = 5,
    /// The word where the return address should be is no address of user code.
    BadReturnAddress = 6,
    /// The process is exiting, or calling exec, and its memory is gone: there is no user stack any more, and no frame of it.
    AddressSpaceGone = 7,
    /// The user registers could not be read.
    NoRegisters = 8,
    /// No row of the unwind table covers the address.
    NoRow = 9,
    /// The row's rule is one that no walk can follow.
    UnsupportedRule = 10,
    /// The row's rule needs a register of a caller that the walk does not carry along.
    UnknownRegister = 11,
    /// The walk left the part of the stack that was copied. Only the agent's walks of copies end so.
    CopyEnded = 12,
}

impl WalkEnd {
    /// All, by number.
    pub const ALL: [Self; 13] = [
        Self::NoUserStack,
        Self::Proven,
        Self::ZeroFramePointer,
        Self::DepthLimit,
        Self::UnreadableStack,
        Self::NotAscending,
        Self::BadReturnAddress,
        Self::AddressSpaceGone,
        Self::NoRegisters,
        Self::NoRow,
        Self::UnsupportedRule,
        Self::UnknownRegister,
        Self::CopyEnded,
    ];

    /// The end of a number out of a record; none for a number this version does not know.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(raw as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (i, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, i);
        }
        for (i, end) in WalkEnd::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, i);
        }
        assert_eq!(WalkEnd::from_raw(13), None);
        assert_eq!(Method::from_raw(6), None);
    }
}
