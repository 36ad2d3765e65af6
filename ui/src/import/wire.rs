//! Fields of a protocol buffer one by one, without building what they are part of: a message of a few bytes can
//! stand for a hundred times as many in memory.

use prost::DecodeError;
use prost::encoding::{WireType, decode_key, decode_varint};

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// An integer.
    Varint(u64),
    /// A string, a message, or several integers.
    Bytes(&'a [u8]),
    /// Eight or four bytes, which pprof does not use.
    Fixed,
}

/// The fields of a message: (tag, value). Ends after the first error.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), DecodeError> {
        let (tag, wire) = decode_key(&mut self.0)?;
        let value = match wire {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0)?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0)?;
                Value::Bytes(self.bytes(length)?)
            }
            WireType::SixtyFourBit => self.bytes(8).map(|_| Value::Fixed)?,
            WireType::ThirtyTwoBit => self.bytes(4).map(|_| Value::Fixed)?,
            WireType::StartGroup | WireType::EndGroup => return Err(DecodeError::new("a group")),
        };
        Ok((tag, value))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let cut = || DecodeError::new("a field ends beyond the end of its message");
        let length = usize::try_from(length).map_err(|_| cut())?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Adds the integers of one field of a repeated one, packed or not.
pub(super) fn integers(value: Value<'_>, into: &mut Vec<u64>) -> Result<(), DecodeError> {
    match value {
        Value::Varint(number) => into.push(number),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                into.push(decode_varint(&mut packed)?);
            }
        }
        Value::Fixed => return Err(DecodeError::new("a number of fixed length")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_one_by_one_and_end_with_an_error() {
        let all: Vec<_> = Fields(&[0x08, 0x96, 0x01, 0x12, 0x02, 5, 6]).collect();
        assert_eq!(all, [Ok((1, Value::Varint(150))), Ok((2, Value::Bytes(&[5, 6])))]);
        for bad in [&[0x12, 0x05, 1][..], &[0x08], &[0x00], &[0x0b], &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            let all: Vec<_> = Fields(bad).collect();
            assert!(all.len() == 1 && all[0].is_err(), "{bad:?}: {all:?}");
        }
    }

    #[test]
    fn integers_are_packed_or_not() {
        let mut all = Vec::new();
        integers(Value::Bytes(&[1, 0x96, 0x01]), &mut all).unwrap();
        integers(Value::Varint(7), &mut all).unwrap();
        assert_eq!(all, [1, 150, 7]);
        assert!(integers(Value::Bytes(&[0x80]), &mut all).is_err());
    }
}
