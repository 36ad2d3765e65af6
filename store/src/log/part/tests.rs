use super::*;
use crate::model::Profile;
use proptest::prelude::*;

/// What is added to a window: (process, stack, thread, time, samples, whether their times are known).
type Addition = (u8, Vec<u8>, u8, u16, u8, bool);

fn additions() -> impl Strategy<Value = Vec<Addition>> {
    let stack = proptest::collection::vec(0..9u8, 0..6);
    let one = (0..4u8, stack, 0..3u8, any::<u16>(), 1..5u8, any::<bool>());
    proptest::collection::vec(one, 0..12)
}

fn add(b: &mut ProfileBuilder, addition: &Addition) {
    let (process, stack, thread, time, samples, timed) = addition;
    let mut labels = vec![(b.string("event"), b.string("cpu"))];
    let process = b.string(["", "a", "日本語", "b\0"][usize::from(*process)]);
    labels.push((b.string("process"), process));
    let series = b.cpu_series(labels, i64::MAX / 4);
    let mut node = NodeId::ROOT;
    for n in stack {
        let n = usize::from(*n);
        let (path, build_id) = (b.string(&format!("/lib/{}", n % 2)), b.string("c0ffee"));
        let binary = (n % 3 > 0).then(|| b.binary(Binary { path, build_id }));
        let function = b.string(&format!("f{n}"));
        let frame = Frame {
            kind: FrameKind::ALL[n % FrameKind::ALL.len()],
            unwound: Unwound::ALL[n % Unwound::ALL.len()],
            function,
            system_name: if n % 2 == 0 { function } else { StringId::EMPTY },
            file: StringId::EMPTY,
            line: if n == 1 { u32::MAX } else { 3 },
            binary,
            address: u64::MAX / (n as u64 + 1),
        };
        let frame = b.frame(frame);
        node = b.child(node, frame);
    }
    let (thread, status) = (b.string(["", "main", "w"][usize::from(*thread)]), b.string("complete"));
    let key = RowKey {
        series,
        node,
        pid: u32::from(*time) << 16,
        tid: u32::MAX - u32::from(*time),
        thread,
        status,
        time_ms: i64::from(*time) * 1_000_000_000,
    };
    let exact = vec![Exact { offset_ms: *time, cpu: 7 }; if *timed { usize::from(*samples) } else { 0 }];
    b.add(key, u64::from(*samples), i64::from(*time) - 9, &exact);
    let host = b.string("web-01");
    b.account(key.time_ms, host, thread, u64::from(*samples));
}

fn same(a: &Profile, b: &Profile) {
    assert_eq!(a.strings.iter().collect::<Vec<_>>(), b.strings.iter().collect::<Vec<_>>());
    assert_eq!((&a.binaries, &a.frames, &a.stacks), (&b.binaries, &b.frames, &b.stacks));
    assert_eq!((&a.series, &a.rows, &a.exact, &a.accounts), (&b.series, &b.rows, &b.exact, &b.accounts));
}

proptest! {
    #[test]
    fn what_was_logged_part_by_part_is_the_window(parts in proptest::collection::vec(additions(), 1..6)) {
        let mut window = ProfileBuilder::logged();
        let mut read = ProfileBuilder::default();
        let mut marks = Marks::default();
        for (n, part) in parts.iter().enumerate() {
            part.iter().for_each(|addition| add(&mut window, addition));
            let mut content = Vec::new();
            let next = encode(&window, marks, n as i64, &mut content);
            prop_assert_eq!(next.is_none(), part.is_empty());
            let Some(next) = next else { continue };
            marks = next;
            window.clear_journal();
            prop_assert_eq!(decode(&content, &mut read), Ok(n as i64));
        }
        same(&window.finish(0, 1), &read.finish(0, 1));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), part in additions()) {
        let mut window = ProfileBuilder::logged();
        part.iter().for_each(|addition| add(&mut window, addition));
        let mut content = Vec::new();
        if encode(&window, Marks::default(), 0, &mut content).is_some() {
            for (at, byte) in bytes.iter().enumerate().filter(|(at, _)| *at < content.len()) {
                let mut flipped = content.clone();
                flipped[at] = *byte;
                let mut read = ProfileBuilder::default();
                if decode(&flipped, &mut read).is_ok() {
                    read.finish(0, 1);
                }
            }
        }
        let _ = decode(&bytes, &mut ProfileBuilder::default());
    }
}

#[test]
fn a_second_part_costs_its_samples_and_no_names() {
    let mut window = ProfileBuilder::logged();
    let addition = (1, vec![1, 2, 3, 4, 5, 6], 1, 5, 1, true);
    add(&mut window, &addition);
    let mut first = Vec::new();
    let marks = encode(&window, Marks::default(), 5_000_000_000, &mut first);
    window.clear_journal();
    add(&mut window, &addition);
    let mut second = Vec::new();
    assert_eq!(encode(&window, marks.unwrap(), 5_000_000_000, &mut second), marks);
    assert!(second.len() < 50 && first.len() > 150, "{} then {}", first.len(), second.len());
}
