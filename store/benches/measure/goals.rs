//! Figures beside their goals.

/// What a figure is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// One line: what, how much, and whether its goal is met.
pub(crate) fn line(what: &str, value: f64, unit: &str, goal: Goal) {
    let (text, is_met) = match goal {
        Goal::AtMost(most) => (format!("at most {most}"), value <= most),
        Goal::AtLeast(least) => (format!("at least {least}"), value >= least),
    };
    let verdict = if is_met { "met" } else { "MISSED" };
    println!("{what:<74} {value:>9.3} {unit:<12} goal: {text:<13} {verdict}");
}

/// A figure without a goal.
pub(crate) fn plain(what: &str, value: f64, unit: &str) {
    println!("{what:<74} {value:>9.3} {unit}");
}
