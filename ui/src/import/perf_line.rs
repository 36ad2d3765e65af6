//! Lines of `perf script`: heads of samples, frames, and mappings. What stands in them is chosen by its `-F`.

/// The first line of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) comm: &'a str,
    /// Not printed unless asked for.
    pub(super) pid: Option<u32>,
    pub(super) tid: u32,
    pub(super) cpu: Option<u16>,
    /// Microseconds since the clock's zero.
    pub(super) time_us: Option<i64>,
    pub(super) period: Option<u64>,
    /// Without its modifiers.
    pub(super) event: &'a str,
    /// What follows: the frame of a sample without a stack, or fields of a tracepoint.
    pub(super) rest: &'a str,
}

/// Whether a line can be the first of a file: a head, or a mapping.
pub(super) fn is_head(line: &str) -> bool {
    line.contains("PERF_RECORD_") || head(line).is_some()
}

/// A word and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Reads `comm pid/tid [cpu] flags time: period event: …`, of which only comm, an id and the event must be there.
/// A comm may have spaces and numbers in it, so that what has a time is believed first.
pub(super) fn head(line: &str) -> Option<Head<'_>> {
    let mut after = word(line)?.1;
    let mut untimed = None;
    while let Some((id, rest)) = word(after) {
        let comm_end = line.len() - rest.len() - id.len();
        if let Some((pid, tid)) = ids(id)
            && let Some(head) = after_ids(rest)
        {
            let head = Head { comm: line[..comm_end].trim(), pid, tid, ..head };
            if head.time_us.is_some() {
                return Some(head);
            }
            untimed.get_or_insert(head);
        }
        after = rest;
    }
    untimed
}

/// `tid` or `pid/tid`; those of the idle task and of exited threads are -1.
fn ids(word: &str) -> Option<(Option<u32>, u32)> {
    let id = |text: &str| if text == "-1" { Some(0) } else { digits(text)?.parse().ok() };
    match word.split_once('/') {
        Some((pid, tid)) => Some((Some(id(pid)?), id(tid)?)),
        None => Some((None, id(word)?)),
    }
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

fn after_ids(rest: &str) -> Option<Head<'_>> {
    let mut head =
        Head { comm: "", pid: None, tid: 0, cpu: None, time_us: None, period: None, event: "", rest };
    let (mut this, mut rest) = word(rest)?;
    if let Some(cpu) = this.strip_prefix('[').and_then(|cpu| cpu.strip_suffix(']')) {
        head.cpu = Some(digits(cpu)?.parse().ok()?);
        (this, rest) = word(rest)?;
    }
    // Interrupt flags such as `d..2.`.
    if this.contains('.') && !this.ends_with(':') {
        (this, rest) = word(rest)?;
    }
    if let Some(time_us) = time(this) {
        head.time_us = Some(time_us);
        (this, rest) = word(rest)?;
    }
    if let Some(period) = digits(this) {
        head.period = Some(period.parse().ok()?);
        (this, rest) = word(rest)?;
    }
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let event = this.strip_suffix(':').filter(|event| !is_number(event))?;
    Some(Head { event: without_modifiers(event), rest: rest.trim(), ..head })
}

/// `1234.567890:`, in microseconds.
fn time(word: &str) -> Option<i64> {
    let (seconds, fraction) = word.strip_suffix(':')?.split_once('.')?;
    let seconds: i64 = digits(seconds)?.parse().ok()?;
    let micros: i64 = format!("{:0<6.6}", digits(fraction)?).parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// `cycles:ppp` is `cycles`; `sched:sched_switch` stays.
fn without_modifiers(event: &str) -> &str {
    match event.rsplit_once(':') {
        Some((name, modifiers))
            if !name.is_empty() && modifiers.bytes().all(|b| b"ukhIGHpPSDWeb".contains(&b)) =>
        {
            name
        }
        _ => event,
    }
}

/// A line of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) address: u64,
    /// Empty when unknown.
    pub(super) function: &'a str,
    /// The binary; empty when unknown, and for inlined functions.
    pub(super) path: &'a str,
    /// The place in the binary, with `-F +dsoff`.
    pub(super) file_offset: Option<u64>,
    pub(super) inlined: bool,
}

/// Reads `55d0c0 function+0x1f (binary)`.
pub(super) fn frame(line: &str) -> Option<Frame<'_>> {
    let (address, rest) = word(line)?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let (name, place) = split_place(rest.trim());
    let (name, _) = split_offset(name);
    let (path, file_offset) = split_offset(place);
    let function = if name == "[unknown]" { "" } else { name };
    let inlined = place == "inlined";
    let path = if inlined || path == "[unknown]" { "" } else { path };
    Some(Frame { address, function, path, file_offset, inlined })
}

/// `name (place)`; a place may have parentheses itself, as `/tmp/x (deleted)` has.
fn split_place(text: &str) -> (&str, &str) {
    let Some(inner) = text.strip_suffix(')') else { return (text, "") };
    let mut open = 1;
    for (i, byte) in inner.bytes().enumerate().rev() {
        match byte {
            b')' => open += 1,
            b'(' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return (inner[..i].trim_end(), &inner[i + 1..]);
        }
    }
    (text, "")
}

/// `name+0x1f` without its offset.
fn split_offset(text: &str) -> (&str, Option<u64>) {
    match text.rsplit_once("+0x") {
        Some((name, offset)) if !name.is_empty() => match u64::from_str_radix(offset, 16) {
            Ok(offset) => (name, Some(offset)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

/// `file.c:12`, which follows a frame with `-F +srcline`.
pub(super) fn source_line(line: &str) -> Option<(&str, u32)> {
    let (file, line) = line.trim().rsplit_once(':')?;
    // A discriminator may follow the number.
    let number = line.split(' ').next()?;
    Some((file, digits(number)?.parse().ok()?)).filter(|(file, _)| !file.is_empty())
}

/// `[kernel.kallsyms][ffffffff81000e06]` or `function+12`, where `-F +srcline` knows no line.
pub(super) fn is_place_without_line(line: &str) -> bool {
    let line = line.trim();
    let address = line.strip_suffix(']').and_then(|line| line.rsplit_once('['));
    let is_address = |(file, at): (&str, &str)| !file.is_empty() && u64::from_str_radix(at, 16).is_ok();
    let is_offset = |(_, at): (&str, &str)| digits(at).is_some();
    address.is_some_and(is_address) || line.rsplit_once('+').is_some_and(is_offset)
}

/// A mapping of a process, from `--show-mmap-events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping<'a> {
    pub(super) pid: u32,
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) file_offset: u64,
    /// Empty when it is not told.
    pub(super) build_id: &'a str,
    pub(super) path: &'a str,
}

/// Reads `… PERF_RECORD_MMAP2 pid/tid: [0xstart(0xlength) @ offset … or <build ID>]: prot path`.
pub(super) fn mapping(line: &str) -> Option<Mapping<'_>> {
    let (_, record) = line.split_once("PERF_RECORD_MMAP")?;
    let (ids_word, rest) = record.split_once(": [")?;
    let (pid, _) = ids(word(ids_word.strip_prefix('2').unwrap_or(ids_word))?.0)?;
    let (place, rest) = rest.split_once("]: ")?;
    let (range, facts) = place.split_once(" @ ")?;
    let (start, length) = range.strip_suffix(')')?.split_once('(')?;
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
    let (offset, facts) = word(facts)?;
    let build_id = facts.trim().strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or("");
    let (_, path) = word(rest)?;
    Some(Mapping {
        pid: pid.unwrap_or(0),
        start: hex(start)?,
        length: hex(length)?,
        file_offset: hex(offset)?,
        build_id,
        path: path.trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_what_was_asked_for() {
        let all = head("tokio run 12  123/125   [002] d..2. 1234.567891:   10101010 cycles:ppp:  ").unwrap();
        assert_eq!((all.comm, all.pid, all.tid, all.cpu), ("tokio run 12", Some(123), 125, Some(2)));
        assert_eq!((all.time_us, all.period, all.event), (Some(1_234_567_891), Some(10_101_010), "cycles"));
        let plain =
            head("           shares    77 12.5: cpu-clock:pppH:   55d0 burn+0x1 (/bin/shares)").unwrap();
        assert_eq!((plain.comm, plain.pid, plain.tid, plain.time_us), ("shares", None, 77, Some(12_500_000)));
        assert_eq!((plain.event, plain.rest), ("cpu-clock", "55d0 burn+0x1 (/bin/shares)"));
        let trace = head("swapper 0 [000] 1.000000001: sched:sched_switch: prev_comm=swapper/0").unwrap();
        assert_eq!(
            (trace.event, trace.time_us, trace.rest),
            ("sched:sched_switch", Some(1_000_000), "prev_comm=swapper/0")
        );
        assert_eq!(head("x -1/-1 cycles:").unwrap().tid, 0);
        let strange = head("# 7 a:    12/13   1.5: 9 cycles: ").unwrap();
        assert_eq!((strange.comm, strange.tid, strange.event), ("# 7 a:", 13, "cycles"));
        for bad in
            ["", "main;f 12", "a b c", "77 12.5: cycles:", "\t55d0 burn+0x1 (/bin/shares)", "x 1 [a] cycles:"]
        {
            assert_eq!(head(bad), None, "{bad}");
        }
        assert_eq!(head("x 1 99999999999999999999.5: cycles:"), None);
    }

    #[test]
    fn frames_have_names_and_places_with_parentheses() {
        let f = |line| frame(line).map(|f| (f.address, f.function, f.path, f.file_offset, f.inlined));
        assert_eq!(
            f("\t    7f01 operator new(unsigned long)+0x1d (/usr/lib/libstdc++.so.6)"),
            Some((0x7f01, "operator new(unsigned long)", "/usr/lib/libstdc++.so.6", None, false))
        );
        assert_eq!(f(" 1 a (/memfd:x (deleted))"), Some((1, "a", "/memfd:x (deleted)", None, false)));
        assert_eq!(f(" 1 inner (inlined)"), Some((1, "inner", "", None, true)));
        assert_eq!(f(" 1 [unknown] ([unknown])"), Some((1, "", "", None, false)));
        assert_eq!(f(" 1 f+0x2 (/bin/a+0x1f40)"), Some((1, "f", "/bin/a", Some(0x1f40), false)));
        assert_eq!(f(" ffffffff81000000 f"), Some((0xffff_ffff_8100_0000, "f", "", None, false)));
        assert_eq!(f("  main.c:12"), None);
        assert_eq!(source_line("  src/main.c:12"), Some(("src/main.c", 12)));
        assert_eq!(source_line("nothing"), None);
        for place in ["  [kernel.kallsyms][ffffffff81000e06]", "  libc.so.6[27249]", "  irq_exit+12", "  +7"]
        {
            assert!(is_place_without_line(place), "{place}");
        }
        for other in ["what is this?", "[unknown]", "a[b", "c++", "[12]"] {
            assert!(!is_place_without_line(other), "{other}");
        }
    }

    #[test]
    fn mappings_are_read_with_and_without_build_ids() {
        let line =
            "perf 12/12 1.0: PERF_RECORD_MMAP2 12/13: [0x55d0(0x1000) @ 0x2000 08:01 99 0]: r-xp /bin/a b";
        let expected = Mapping {
            pid: 12,
            start: 0x55d0,
            length: 0x1000,
            file_offset: 0x2000,
            build_id: "",
            path: "/bin/a b",
        };
        assert_eq!(mapping(line), Some(expected));
        let line = "x 1 PERF_RECORD_MMAP2 1/1: [0x5(0x6) @ 0 <0123ab>]: r-xp /bin/a";
        assert_eq!(mapping(line).unwrap().build_id, "0123ab");
        assert_eq!(mapping("x 1 PERF_RECORD_COMM: x:1/1"), None);
        assert!(is_head("x 1 PERF_RECORD_COMM: x:1/1"));
    }
}
