//! Rounds, medians, and the output line of a figure.

use std::time::Duration;

/// Which figures to measure.
#[derive(Debug)]
pub struct Bench {
    names: Vec<String>,
}

/// The unit of a figure, and which direction is better.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// More is better.
    PerSecond,
    /// Less is better.
    Time,
    /// Less is better.
    Bytes,
}

/// The bar of a figure: ours divided by the limit must be at least, or at most, this.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// At least this ratio.
    AtLeast(f64),
    /// At most this ratio.
    AtMost(f64),
}

impl Bench {
    /// The figures whose names begin with one of these; all if there are none.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Whether a figure is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| name.starts_with(wanted.as_str()))
    }

    /// Whether any figure with this prefix is wanted.
    pub fn wants_any(&self, beginning: &str) -> bool {
        self.wants(beginning) || self.names.iter().any(|wanted| wanted.starts_with(beginning))
    }

    /// Measures a figure: `rounds` times limit and ours, alternating.
    pub fn figure(
        &self,
        name: &str,
        unit: Unit,
        bar: Bar,
        rounds: usize,
        mut limit: impl FnMut() -> f64,
        mut ours: impl FnMut() -> f64,
    ) {
        if !self.wants(name) {
            return;
        }
        let (mut limits, mut results) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            limits.push(limit());
            results.push(ours());
        }
        print_line(name, unit, bar, median(&mut results), median(&mut limits));
    }
}

/// Prints the line of a figure.
pub fn print_line(name: &str, unit: Unit, bar: Bar, ours: f64, limit: f64) {
    let ratio = ours / limit;
    let (met, bar) = match bar {
        Bar::AtLeast(bar) => (ratio >= bar, format!(">= {bar:.2}")),
        Bar::AtMost(bar) => (ratio <= bar, format!("<= {bar:.2}")),
    };
    let mark = if met { "" } else { "  MISSED" };
    println!("{name:<24}{:>16}{:>16}{ratio:>8.2}  {bar}{mark}", shown(ours, unit), shown(limit, unit));
}

/// The median; sorts the values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A count in a time, as a rate.
pub fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Time => format!("{:.1?}", Duration::from_secs_f64(value)),
        Unit::Bytes => format!("{value:.0} B"),
    }
}
