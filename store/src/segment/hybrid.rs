//! Small numbers as Parquet has them: runs of the same one, and others bit by bit.

/// Numbers that are packed together.
const GROUP: usize = 8;
/// Groups whose count fits into one byte.
const MAX_GROUPS: usize = 63;

/// Bits that numbers up to this one need.
pub(super) fn width_of(most: u32) -> u8 {
    (u32::BITS - most.leading_zeros()) as u8
}

/// Adds numbers of so many bits each.
pub(super) fn encode(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let mut rest = numbers;
    // Where the head of the open run of packed groups stands, and how many groups it has.
    let mut packed: Option<(usize, usize)> = None;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|number| *number == first).count();
        let is_end = same == rest.len() && packed.is_none();
        if same >= GROUP || is_end {
            packed = None;
            write_number((same as u64) << 1, out);
            out.extend_from_slice(&first.to_le_bytes()[..usize::from(width.div_ceil(8))]);
            rest = &rest[same..];
            continue;
        }
        let (head, groups) = packed.filter(|(_, groups)| *groups < MAX_GROUPS).unwrap_or_else(|| {
            out.push(0);
            (out.len() - 1, 0)
        });
        let group = &rest[..rest.len().min(GROUP)];
        pack(group, width, out);
        out[head] = ((groups + 1) << 1 | 1) as u8;
        packed = Some((head, groups + 1));
        rest = &rest[group.len()..];
    }
}

/// Adds a group of numbers bit by bit; zeros follow those that are too few.
fn pack(group: &[u32], width: u8, out: &mut Vec<u8>) {
    let width = usize::from(width);
    if width * GROUP <= 64 {
        let bits =
            group.iter().enumerate().fold(0, |bits, (i, number)| bits | u64::from(*number) << (i * width));
        out.extend_from_slice(&bits.to_le_bytes()[..width]);
        return;
    }
    let (mut bits, mut len) = (0u64, 0);
    let numbers = group.iter().copied().chain(std::iter::repeat(0));
    for number in numbers.take(GROUP) {
        bits |= u64::from(number) << len;
        len += width;
        while len >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            len -= 8;
        }
    }
}

/// LEB128.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader finds.
    fn decode(mut bytes: &[u8], width: u8, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let mut head = 0u64;
            for shift in (0..64).step_by(7) {
                let byte = bytes[0];
                bytes = &bytes[1..];
                head |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if head & 1 == 0 {
                let len = usize::from(width.div_ceil(8));
                let mut number = [0; 4];
                number[..len].copy_from_slice(&bytes[..len]);
                bytes = &bytes[len..];
                numbers.extend(std::iter::repeat_n(u32::from_le_bytes(number), (head >> 1) as usize));
                continue;
            }
            let (packed, rest) = bytes.split_at((head >> 1) as usize * usize::from(width));
            bytes = rest;
            for i in 0..(head >> 1) as usize * GROUP {
                let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
                numbers.push((0..usize::from(width)).map(|b| bit(i * usize::from(width) + b) << b).sum());
            }
        }
        assert!(bytes.is_empty());
        numbers.truncate(count);
        numbers
    }

    #[test]
    fn what_is_packed_is_read_again_whatever_repeats_in_it() {
        let mut state = 11u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % limit) as u32
        };
        assert_eq!([0, 1, 2, 255, 256, u32::MAX].map(width_of), [0, 1, 2, 8, 9, 32]);
        for width in 0..=32u8 {
            for _ in 0..40 {
                let mut numbers: Vec<u32> = Vec::new();
                let len = below(1500) as usize;
                while numbers.len() < len {
                    let number = below(1 << width);
                    let times = if below(3) == 0 { 1 + below(40) } else { 1 };
                    numbers.extend(std::iter::repeat_n(number, times as usize));
                }
                let mut bytes = Vec::new();
                encode(&numbers, width, &mut bytes);
                assert_eq!(decode(&bytes, width, numbers.len()), numbers, "{width} bits");
            }
        }
    }
}
