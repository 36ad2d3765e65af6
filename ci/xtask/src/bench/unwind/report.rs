//! What came out: lines while it runs, tables at the end, JSON for programs, and where a goal is missed.

use serde_json::{Value, json};

use super::machine::Machine;
use super::measure::{Cell, HZ, WARM_HZ};
use super::table::Table;
use super::tools::Tool;
use super::workloads::Workload;

/// All cells of a run.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) seconds: u64,
    pub(super) cells: Vec<Cell>,
}

/// At least this share of the ticks of CPU time should have a sample.
const KEPT_GOAL_PERCENT: f64 = 99.9;
/// BPF time beside lightswitch's: no workload above.
const BPF_WORST_GOAL: f64 = 0.65;
/// The same: the median of the workloads.
const BPF_MEDIAN_GOAL: f64 = 0.25;
/// The same with warm caches.
const BPF_WARM_GOAL: f64 = 0.3;
/// Bytes of unwind tables beside lightswitch's.
const MAP_BYTES_GOAL: f64 = 0.25;

impl Cell {
    /// Samples for each tick of CPU time, in percent. Both begin and end at some place between two ticks, so that some
    /// tenths of a percent are chance.
    fn kept_percent(&self) -> f64 {
        self.judged.samples as f64 * 100.0 / self.ticks
    }

    /// Time in BPF for each tick of CPU time that was used, of all processes. Runs on idle CPUs add little to the
    /// time, and nothing to the ticks: what is said is rather too much.
    fn bpf_ns_per_sample(&self) -> Option<f64> {
        (self.bpf.runs > 0)
            .then(|| self.bpf.nanoseconds as f64 / self.machine_ticks.min(self.bpf.runs as f64))
    }
}

/// One cell, while the others are still to come.
pub(super) fn line(cell: &Cell) -> String {
    let broken = cell.judged.broken_percent().map_or("-".into(), |percent| format!("{percent:.2}"));
    let bpf = cell.bpf_ns_per_sample().map_or("-".into(), |ns| format!("{ns:.0}"));
    let mut reasons: Vec<(&String, &u64)> = cell.judged.reasons.iter().collect();
    reasons.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
    let reasons: Vec<String> =
        reasons.iter().take(3).map(|(reason, samples)| format!("{samples}x {reason}")).collect();
    format!(
        "{:<12} {:<12} {:>4} Hz: {:>6} samples, kept {:.1} %, broken {broken} %, BPF {bpf} ns, maps {:.1} MB, \
         CPU {:.1} s, {:.0} MB; workload's share of the machine {:.0} %; {}",
        cell.workload.name,
        cell.tool.name(),
        cell.hz,
        cell.judged.samples,
        cell.kept_percent(),
        megabytes(cell.map_bytes),
        cell.usage.cpu_seconds,
        megabytes(cell.usage.resident_bytes),
        cell.ticks * 100.0 / cell.machine_ticks,
        reasons.join(", "),
    )
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Report {
    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let tables: Vec<String> = self.tables().iter().map(Table::text).collect();
        let missed = self.missed();
        let missed = if missed.is_empty() { "Every goal is met.".into() } else { missed.join("\n  ") };
        format!("{}\n\n{}\nGoals that are missed:\n  {missed}", self.circumstances(), tables.join("\n"))
    }

    /// For docs/benchmarks.md.
    pub(super) fn markdown(&self) -> String {
        let tables: Vec<String> = self.tables().iter().map(Table::markdown).collect();
        let missed = self.missed().iter().map(|line| format!("- {line}\n")).collect::<String>();
        format!("{}\n\n{}\n**Goals that are missed**\n\n{missed}", self.circumstances(), tables.join("\n"))
    }

    fn circumstances(&self) -> String {
        let Machine { cpus, model, kernel, date, tools } = &self.machine;
        let tools: Vec<String> =
            tools.iter().map(|(tool, version)| format!("{} ({version})", tool.name())).collect();
        format!(
            "{date}; {cpus} CPUs ({model}), Linux {kernel}; {} s per cell at {HZ} Hz; {}.",
            self.seconds,
            tools.join(", ")
        )
    }

    fn workloads(&self) -> Vec<&'static Workload> {
        let mut workloads: Vec<&Workload> = Vec::new();
        for cell in &self.cells {
            if !workloads.iter().any(|known| known.name == cell.workload.name) {
                workloads.push(cell.workload);
            }
        }
        workloads
    }

    fn cell(&self, workload: &Workload, tool: Tool, hz: u64) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.workload.name == workload.name && cell.tool == tool && cell.hz == hz)
    }

    fn tables(&self) -> Vec<Table> {
        let walkers = [Tool::Vesta, Tool::Lightswitch, Tool::PerfFp, Tool::PerfDwarf];
        let in_bpf = [Tool::Vesta, Tool::Lightswitch, Tool::Bpftrace];
        let mut tables = vec![
            self.table("Broken user stacks, %", &walkers, HZ, |cell| {
                cell.judged.broken_percent().map(|percent| format!("{percent:.2}"))
            }),
            self.table("Samples for each tick of the programs' CPU time, %", &walkers, HZ, |cell| {
                Some(format!("{:.1}", cell.kept_percent()))
            }),
            self.bpf_table("BPF time per sample, ns", &in_bpf, HZ),
            self.bpf_table("BPF time per sample with warm caches, ns", &in_bpf, WARM_HZ),
            self.table("Unwind tables in BPF maps, MB", &in_bpf[..2], HZ, |cell| {
                Some(format!("{:.1}", megabytes(cell.map_bytes)))
            }),
            self.table("CPU time of the profiler beside BPF, s", &walkers, HZ, |cell| {
                Some(format!("{:.1}", cell.usage.cpu_seconds))
            }),
            self.table("Memory of the profiler, MB", &walkers, HZ, |cell| {
                Some(format!("{:.0}", megabytes(cell.usage.resident_bytes)))
            }),
        ];
        tables.retain(|table| !table.rows.is_empty());
        tables
    }

    fn table(&self, title: &str, tools: &[Tool], hz: u64, figure: impl Fn(&Cell) -> Option<String>) -> Table {
        let tools: Vec<Tool> = tools.iter().copied().filter(|tool| self.has(*tool, hz)).collect();
        let mut table = Table { title: title.to_owned(), header: vec!["workload".into()], rows: Vec::new() };
        table.header.extend(tools.iter().map(|tool| tool.name().to_owned()));
        for workload in self.workloads() {
            let mut row = vec![workload.name.to_owned()];
            let cells = tools.iter().map(|tool| self.cell(workload, *tool, hz));
            row.extend(cells.map(|cell| cell.and_then(&figure).unwrap_or("-".into())));
            if row[1..].iter().any(|cell| cell != "-") {
                table.rows.push(row);
            }
        }
        table
    }

    fn has(&self, tool: Tool, hz: u64) -> bool {
        self.cells.iter().any(|cell| cell.tool == tool && cell.hz == hz)
    }

    /// With a last column: ours beside lightswitch's.
    fn bpf_table(&self, title: &str, tools: &[Tool], hz: u64) -> Table {
        let figure = |cell: &Cell| cell.bpf_ns_per_sample().map(|ns| format!("{ns:.0}"));
        let mut table = self.table(title, tools, hz, figure);
        let ratios = self.bpf_ratios(hz);
        if ratios.is_empty() {
            return table;
        }
        table.header.push("vesta / lightswitch".into());
        for row in &mut table.rows {
            let ratio = ratios.iter().find(|(name, _)| *name == row[0]);
            row.push(ratio.map_or("-".into(), |(_, ratio)| format!("{ratio:.2}")));
        }
        if let Some(median) = median(ratios.iter().map(|(_, ratio)| *ratio).collect()) {
            let mut row = vec!["median".to_owned()];
            row.resize(table.header.len() - 1, String::new());
            row.push(format!("{median:.2}"));
            table.rows.push(row);
        }
        table
    }

    fn bpf_ratios(&self, hz: u64) -> Vec<(&'static str, f64)> {
        self.ratios(hz, |cell| cell.bpf_ns_per_sample().unwrap_or_default())
    }

    /// Ours beside lightswitch's, where both were measured.
    fn ratios(&self, hz: u64, figure: impl Fn(&Cell) -> f64) -> Vec<(&'static str, f64)> {
        let both = self.workloads().into_iter().filter_map(|workload| {
            let ours = figure(self.cell(workload, Tool::Vesta, hz)?);
            let theirs = figure(self.cell(workload, Tool::Lightswitch, hz)?);
            (theirs > 0.0).then_some((workload.name, ours / theirs))
        });
        both.collect()
    }

    /// A line for each goal that is missed.
    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for workload in self.workloads() {
            let Some(ours) = self.cell(workload, Tool::Vesta, HZ) else { continue };
            let (broken, goal) = (ours.judged.broken_percent(), workload.kind.broken_percent_goal());
            if broken.is_none_or(|broken| broken > goal) {
                let broken =
                    broken.map_or("no stacks at all".into(), |broken| format!("{broken:.2} % broken"));
                missed.push(format!("{}: {broken}; the goal is {goal} %", workload.name));
            }
            for tool in [Tool::Lightswitch, Tool::PerfFp, Tool::PerfDwarf] {
                let theirs = self.cell(workload, tool, HZ).and_then(|cell| cell.judged.broken_percent());
                if let (Some(ours), Some(theirs)) = (broken, theirs)
                    && ours > theirs
                {
                    let name = tool.name();
                    missed.push(format!("{}: {ours:.2} % broken; {name} has {theirs:.2} %", workload.name));
                }
            }
            if ours.kept_percent() < KEPT_GOAL_PERCENT {
                let kept = ours.kept_percent();
                // perf loses none, and shows what ticks that fall between two processes come to.
                let perf = self.cell(workload, Tool::PerfFp, HZ).map(Cell::kept_percent);
                let perf = perf.map_or(String::new(), |kept| format!("; perf-fp has {kept:.1} %"));
                let name = workload.name;
                missed.push(format!("{name}: {kept:.1} % kept; the goal is {KEPT_GOAL_PERCENT} %{perf}"));
            }
            if let Some((taken, kept)) = ours.taken_and_kept.filter(|(taken, kept)| kept < taken) {
                missed.push(format!(
                    "{}: {} of {taken} samples lost by vesta's own count",
                    workload.name,
                    taken - kept
                ));
            }
        }
        let bpf = self.bpf_ratios(HZ);
        let above = bpf.iter().filter(|(_, ratio)| *ratio > BPF_WORST_GOAL);
        missed.extend(above.map(|(name, ratio)| {
            format!("{name}: BPF time {ratio:.2} of lightswitch's; the goal is {BPF_WORST_GOAL}")
        }));
        let mut medians = |what: &str, ratios: Vec<(&str, f64)>, goal: f64| {
            if let Some(ratio) =
                median(ratios.into_iter().map(|(_, ratio)| ratio).collect()).filter(|r| *r > goal)
            {
                missed.push(format!("{what} {ratio:.2} of lightswitch's (median); the goal is {goal}"));
            }
        };
        medians("BPF time", bpf, BPF_MEDIAN_GOAL);
        medians("BPF time with warm caches", self.bpf_ratios(WARM_HZ), BPF_WARM_GOAL);
        medians("unwind tables", self.ratios(HZ, |cell| cell.map_bytes as f64), MAP_BYTES_GOAL);
        missed
    }

    /// For programs: every figure as it was measured.
    pub(super) fn json(&self) -> Value {
        let Machine { cpus, model, kernel, date, tools } = &self.machine;
        let tools: Value =
            tools.iter().map(|(tool, version)| (tool.name().to_owned(), json!(version))).collect();
        json!({
            "machine": {"cpus": cpus, "model": model, "kernel": kernel},
            "date": date,
            "seconds": self.seconds,
            "tools": tools,
            "cells": self.cells.iter().map(cell_json).collect::<Vec<_>>(),
            "missed": self.missed(),
        })
    }
}

fn cell_json(cell: &Cell) -> Value {
    json!({
        "workload": cell.workload.name,
        "tool": cell.tool.name(),
        "hz": cell.hz,
        "samples": cell.judged.samples,
        "samples_of_all_processes": cell.judged.everyone,
        "samples_without_user_stack": cell.judged.no_stack,
        "broken": cell.judged.broken,
        "broken_percent": cell.judged.broken_percent(),
        "broken_reasons": cell.judged.reasons,
        "ticks": cell.ticks,
        "ticks_of_all_processes": cell.machine_ticks,
        "kept_percent": cell.kept_percent(),
        "taken": cell.taken_and_kept.map(|(taken, _)| taken),
        "stored": cell.taken_and_kept.map(|(_, kept)| kept),
        "bpf_ns": cell.bpf.nanoseconds,
        "bpf_runs": cell.bpf.runs,
        "bpf_ns_per_sample": cell.bpf_ns_per_sample(),
        "unwind_map_bytes": cell.map_bytes,
        "cpu_s": cell.usage.cpu_seconds,
        "resident_bytes": cell.usage.resident_bytes,
    })
}

/// The middle one; of an even number, the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { *upper } else { (values[values.len() / 2 - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::stacks::Judged;
    use super::super::system::{BpfRuns, Usage};
    use super::super::workloads::WORKLOADS;
    use super::*;

    /// 1,000 samples on one CPU, of which so many are broken.
    fn measured(tool: Tool, broken: u64, bpf_us: u64, map_bytes: u64) -> Cell {
        let judged = Judged { samples: 1000, everyone: 1000, broken, ..Judged::default() };
        Cell {
            workload: &WORKLOADS[0],
            tool,
            hz: HZ,
            judged,
            ticks: 1000.0,
            machine_ticks: 1000.0,
            taken_and_kept: None,
            bpf: BpfRuns { nanoseconds: bpf_us * 1_000_000, runs: 2000 },
            map_bytes,
            usage: Usage { cpu_seconds: Duration::from_secs(1).as_secs_f64(), resident_bytes: 1_000_000 },
        }
    }

    fn report(cells: Vec<Cell>) -> Report {
        let (kernel, date) = ("6.1".into(), "2000-01-01".into());
        let machine = Machine { cpus: 1, model: "X".into(), kernel, date, tools: Vec::new() };
        Report { machine, seconds: 10, cells }
    }

    #[test]
    fn what_meets_every_goal_is_not_named() {
        let cells =
            vec![measured(Tool::Vesta, 1, 5, 1_000_000), measured(Tool::Lightswitch, 1, 25, 80_000_000)];
        let report = report(cells);
        assert_eq!(report.missed(), Vec::<String>::new());
        assert!(report.text().contains("Every goal is met."));
    }

    #[test]
    fn each_goal_that_is_missed_is_named_with_its_figures() {
        let mut ours = measured(Tool::Vesta, 2, 20, 40_000_000);
        (ours.judged.samples, ours.taken_and_kept) = (998, Some((1000, 998)));
        let missed = report(vec![ours, measured(Tool::Lightswitch, 1, 25, 80_000_000)]).missed();
        let expected = [
            "redis: 0.20 % broken; the goal is 0.1 %",
            "redis: 0.20 % broken; lightswitch has 0.10 %",
            "redis: 99.8 % kept; the goal is 99.9 %",
            "redis: 2 of 1000 samples lost by vesta's own count",
            "redis: BPF time 0.80 of lightswitch's; the goal is 0.65",
            "BPF time 0.80 of lightswitch's (median); the goal is 0.25",
            "unwind tables 0.50 of lightswitch's (median); the goal is 0.25",
        ];
        assert_eq!(missed, expected);
    }

    #[test]
    fn the_time_in_bpf_is_by_ticks_that_were_not_idle() {
        let mut cell = measured(Tool::Vesta, 0, 5, 0);
        assert_eq!(cell.bpf_ns_per_sample(), Some(5000.0));
        // More ticks than runs can only be a clock that is coarser than the runs.
        cell.bpf.runs = 500;
        assert_eq!(cell.bpf_ns_per_sample(), Some(10_000.0));
        cell.bpf.runs = 0;
        assert_eq!(cell.bpf_ns_per_sample(), None);
    }

    #[test]
    fn every_table_has_a_row_for_each_workload_and_a_column_for_each_tool() {
        let report = report(vec![measured(Tool::Vesta, 0, 5, 0), measured(Tool::PerfFp, 990, 0, 0)]);
        let tables = report.tables();
        assert_eq!(tables[0].header, ["workload", "vesta", "perf-fp"]);
        assert_eq!(tables[0].rows, [["redis", "0.00", "99.00"]]);
        assert!(tables.iter().all(|table| table.rows.iter().all(|row| row.len() == table.header.len())));
        assert_eq!(report.json()["cells"][1]["broken"], 990);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
