//! What a machine answered, and whether that is as it has to be.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::work::{CASES, Case, SECONDS, share};

/// User stacks that have to be complete, in percent: what is not is a program's start, before its tables are there.
const LEAST_COMPLETE: f64 = 95.0;
/// Samples that a CPU can have more than its time has room for: one for the time before its first, and what clocks differ.
const SPARE_SAMPLES: f64 = 2.0;
/// Samples of a program that make its shares mean something; a machine that is starved of CPU gives fewer.
const LEAST_SAMPLES: u64 = 100;

/// What came of one kernel.
pub(super) struct Report {
    /// As it was asked for.
    wanted: String,
    /// As the kernel calls itself; empty if it did not get so far.
    kernel: String,
    /// Verified instructions by program.
    instructions: Map<String, Value>,
    recordings: Vec<Recording>,
    took: Duration,
    /// What is not as it has to be.
    failures: Vec<String>,
}

/// One program, recorded.
struct Recording {
    program: &'static str,
    taken: u64,
    lost: u64,
    user_stacks: u64,
    complete: u64,
    /// For how long samples were taken; what was asked for is [`SECONDS`].
    seconds: f64,
    /// Samples a second and CPU, and CPUs.
    frequency_hz: u64,
    cpus: u64,
}

impl Recording {
    fn complete_percent(&self) -> f64 {
        if self.user_stacks == 0 { 0.0 } else { self.complete as f64 * 100.0 / self.user_stacks as f64 }
    }

    /// The most samples that its time has room for. More of them are not of this recording, or counted twice.
    fn room(&self) -> u64 {
        let a_cpu = self.seconds * self.frequency_hz as f64 + SPARE_SAMPLES;
        (a_cpu * self.cpus as f64) as u64
    }
}

/// Lines `NAME TEXT`.
struct Answers<'a>(&'a str);

impl<'a> Answers<'a> {
    fn lines(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = move |line: &'a str| line.strip_prefix(name)?.strip_prefix(' ');
        self.0.lines().filter_map(of_name)
    }

    fn text(&self, name: &'a str) -> &'a str {
        self.lines(name).next().unwrap_or_default()
    }

    fn json(&self, name: &'a str) -> Value {
        serde_json::from_str(self.text(name)).unwrap_or(Value::Null)
    }
}

impl Report {
    /// Of a machine that did not do its work.
    pub(super) fn failed(wanted: String, took: Duration, error: String) -> Report {
        let (kernel, instructions, recordings) = Default::default();
        Report { wanted, kernel, instructions, recordings, took, failures: vec![error] }
    }

    /// Judges what a machine answered.
    pub(super) fn judge(wanted: String, took: Duration, answers: &str) -> Report {
        let answers = Answers(answers);
        let mut report = Report::failed(wanted, took, String::new());
        report.failures.clear();
        report.kernel = answers.text("kernel").to_owned();
        report.doctor(&answers.json("doctor"), answers.text("doctor.exit"));
        for case in &CASES {
            report.recording(case, &answers);
        }
        report.failures.extend(answers.lines("complaint").map(|line| format!("the kernel says: {line}")));
        report
    }

    /// Loading is what the doctor tries; without instructions it did not.
    fn doctor(&mut self, doctor: &Value, exit: &str) {
        self.instructions = doctor["instructions"].as_object().cloned().unwrap_or_default();
        if doctor["ok"] == true && exit == "0" && !self.instructions.is_empty() {
            return;
        }
        let findings = doctor["findings"].as_array().into_iter().flatten();
        let missing = findings.filter(|finding| finding["verdict"] == "missing");
        let told: Vec<String> =
            missing.map(|finding| format!("{}: {}", finding["name"], finding["found"])).collect();
        self.failures.push(format!("`vesta doctor` ended with {exit:?}; missing: {told:?}"));
    }

    fn recording(&mut self, case: &Case, answers: &Answers<'_>) {
        let program = case.program.name();
        let summary = answers.json(program);
        let number = |key: &str| summary[key].as_u64().unwrap_or(0);
        let lost =
            summary["lost"].as_object().map_or(0, |lost| lost.values().filter_map(Value::as_u64).sum());
        let recording = Recording {
            program,
            taken: number("samples_taken"),
            lost,
            user_stacks: number("user_stacks"),
            complete: number("complete"),
            seconds: summary["duration_s"].as_f64().unwrap_or(0.0),
            frequency_hz: number("frequency_hz"),
            cpus: number("cpus"),
        };
        let mut wrong = |text: String| self.failures.push(format!("{program}: {text}"));
        let exit_name = format!("{program}.exit");
        let exit = Answers(answers.0).text(&exit_name).to_owned();
        if exit != "0" {
            wrong(format!("`vesta record` ended with {exit:?}"));
        }
        if recording.taken < LEAST_SAMPLES {
            wrong(format!("{} samples, fewer than {LEAST_SAMPLES}", recording.taken));
        }
        if recording.taken > recording.room() {
            let (taken, seconds, room) = (recording.taken, recording.seconds, recording.room());
            wrong(format!("{taken} samples in {seconds} s, which have room for {room}"));
        }
        let stored = number("samples_stored");
        if recording.taken != stored + lost {
            wrong(format!("{} samples were taken, but {stored} stored and {lost} lost", recording.taken));
        }
        if recording.complete_percent() < LEAST_COMPLETE {
            let percent = recording.complete_percent();
            wrong(format!(
                "{percent:.1} % of user stacks are complete; the others: {}",
                summary["incomplete"]
            ));
        }
        let stacks_name = format!("{program}.stack");
        for expected in case.expected {
            let found = share(Answers(answers.0).lines(&stacks_name), program, expected.frames);
            if !expected.percent.contains(&found) {
                let frames = expected.frames.join(";");
                wrong(format!("{found:.1} % of samples have {frames}, not {:?} %", expected.percent));
            }
        }
        self.recordings.push(recording);
    }

    /// True if something got too little CPU for the rest to mean anything: a program (few samples, most of them of its
    /// start), or Vesta (it saw late that the time was up, and until then built no unwind tables). Of samples in excess that
    /// is no excuse.
    pub(super) fn is_starved(&self) -> bool {
        if self.recordings.iter().any(|recording| recording.taken > recording.room()) {
            return false;
        }
        let few = |recording: &Recording| (1..LEAST_SAMPLES).contains(&recording.taken);
        let late = |recording: &Recording| recording.seconds > 1.3 * f64::from(SECONDS);
        self.recordings.iter().any(|recording| few(recording) || late(recording))
    }

    pub(super) fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// How the kernel is called in headings.
    pub(super) fn title(&self) -> &str {
        if self.kernel.is_empty() { &self.wanted } else { &self.kernel }
    }

    /// One object of `cargo xtask vm --json`.
    pub(super) fn json(&self) -> Value {
        let recordings = self.recordings.iter().map(|recording| {
            json!({
                "program": recording.program,
                "samples_taken": recording.taken,
                "samples_lost": recording.lost,
                "samples_room": recording.room(),
                "seconds": recording.seconds,
                "user_stacks": recording.user_stacks,
                "complete": recording.complete,
            })
        });
        json!({
            "wanted": self.wanted,
            "kernel": self.kernel,
            "instructions": self.instructions,
            "recordings": recordings.collect::<Vec<_>>(),
            "seconds": self.took.as_secs(),
            "failures": self.failures,
        })
    }
}

/// All kernels, for people.
pub(super) fn table(reports: &[Report]) -> String {
    let mut rows =
        vec![["kernel", "loads", "verified", "program", "samples", "lost", "complete"].map(str::to_owned)];
    for report in reports {
        let verified = report.instructions.get("sample_cpu").map_or_else(String::new, Value::to_string);
        let loads = if verified.is_empty() { "NO" } else { "yes" };
        let head = [report.title().to_owned(), loads.to_owned(), verified];
        let mut heads = std::iter::once(head).chain(std::iter::repeat_with(Default::default));
        for recording in &report.recordings {
            let [kernel, loads, verified] = heads.next().unwrap_or_default();
            let (samples, lost) = (recording.taken.to_string(), recording.lost.to_string());
            let complete = format!("{:.1} %", recording.complete_percent());
            rows.push([kernel, loads, verified, recording.program.to_owned(), samples, lost, complete]);
        }
        if report.recordings.is_empty() {
            let [kernel, loads, verified] = heads.next().unwrap_or_default();
            rows.push([kernel, loads, verified, String::new(), String::new(), String::new(), String::new()]);
        }
    }
    aligned(&rows)
}

/// Columns of the width of their longest text.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> String {
        let doctor = r#"{"ok":true,"instructions":{"sample_cpu":4606,"watch_exit":20},"findings":[]}"#;
        let mut text = format!("kernel.exit 0\nkernel 6.1.0-50-amd64\ndoctor.exit 0\ndoctor {doctor}\n");
        let stacks = [
            ("shares", "shares;_start;main;work;burn_seventy"),
            ("syscalls", "syscalls;_start;main;busy_syscalls;read_zero;ksys_read_[k];vfs_read_[k]"),
            ("jit", "jit;_start;main;run_emitted;emitted_outer_[j];emitted_loop_[j]"),
        ];
        for (name, stack) in stacks {
            text.push_str(&format!(
                r#"{name}.exit 0
{name} {{"samples_taken":500,"samples_stored":499,"lost":{{"ring_full":1,"unread":0}},"user_stacks":499,"complete":490,"duration_s":5.1,"frequency_hz":99,"cpus":2}}
{name}.stack.exit 0
{name}.stack {stack} 350
{name}.stack {} 149
"#,
                stack.replace("burn_seventy", "burn_ten"),
            ));
        }
        text + "complaint.exit 0\n"
    }

    fn judged(answers: &str) -> Report {
        Report::judge("6.1".into(), Duration::from_secs(40), answers)
    }

    #[test]
    fn a_kernel_on_which_all_is_well_has_no_failures_and_a_line_for_each_program() {
        let report = judged(&answers());
        assert_eq!(report.failures(), [""; 0]);
        let expected = "\
kernel          loads  verified  program   samples  lost  complete
6.1.0-50-amd64  yes    4606      shares    500      1     98.2 %
                                 syscalls  500      1     98.2 %
                                 jit       500      1     98.2 %";
        assert_eq!(table(&[report]), expected);
    }

    #[test]
    fn every_check_fails_on_its_own() {
        let wrong = [
            ("doctor.exit 0", "doctor.exit 3", "`vesta doctor` ended with \"3\""),
            (r#""ok":true"#, r#""ok":false"#, "`vesta doctor`"),
            (r#"{"sample_cpu":4606,"watch_exit":20}"#, "{}", "`vesta doctor`"),
            ("jit.exit 0", "jit.exit 1", "jit: `vesta record` ended with \"1\""),
            (
                r#""samples_taken":500"#,
                r#""samples_taken":501"#,
                "501 samples were taken, but 499 stored and 1",
            ),
            (r#""samples_taken":500"#, r#""samples_taken":50"#, "shares: 50 samples"),
            (
                r#""samples_taken":500"#,
                r#""samples_taken":1014"#,
                "1014 samples in 5.1 s, which have room for 1013",
            ),
            (r#""complete":490"#, r#""complete":470"#, "94.2 % of user stacks are complete"),
            ("burn_seventy 350", "burn_seventy 50", "shares: 25.1 % of samples"),
            ("vfs_read_[k] 350", "x 350", "syscalls: "),
            ("emitted_loop_[j] 149", "x 149", "jit: 70.1 % of samples"),
            ("complaint.exit 0", "complaint [1.0] BUG: scheduling", "the kernel says: [1.0] BUG"),
        ];
        for (right, replacement, expected) in wrong {
            let report = judged(&answers().replace(right, replacement));
            assert!(
                report.failures().iter().any(|failure| failure.contains(expected)),
                "{:?}",
                report.failures()
            );
        }
    }

    #[test]
    fn a_program_that_the_kernel_refuses_is_told_with_the_reason() {
        let doctor = r#"{"ok":false,"instructions":{},"findings":[{"name":"BPF program","verdict":"missing","found":"R1 !read_ok"}]}"#;
        let report = judged(&format!("kernel 6.1\ndoctor.exit 3\ndoctor {doctor}\n"));
        assert!(report.failures()[0].contains("R1 !read_ok"), "{:?}", report.failures());
        assert!(table(&[report]).contains("NO"));
    }

    #[test]
    fn few_or_late_samples_are_told_from_none() {
        assert!(!judged(&answers()).is_starved());
        assert!(judged(&answers().replace("\"samples_taken\":500", "\"samples_taken\":50")).is_starved());
        assert!(!judged(&answers().replace("\"samples_taken\":500", "\"samples_taken\":0")).is_starved());
        let late = answers().replace("\"duration_s\":5.1", "\"duration_s\":14.0");
        assert!(judged(&late).is_starved());
        let too_many = late.replacen("\"samples_taken\":500", "\"samples_taken\":2777", 1);
        assert!(!judged(&too_many).is_starved(), "more than 14 s have room for is a fault");
    }

    #[test]
    fn a_machine_that_answered_nothing_has_failed() {
        assert!(!judged("").is_good());
        let report = Report::failed("7.3".into(), Duration::ZERO, "the machine did not end".into());
        assert!(table(&[report]).ends_with("7.3     NO"));
    }
}
