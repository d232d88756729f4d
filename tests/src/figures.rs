//! Figures of benchmarks: medians with bounds, as a table and as JSON.

use anyhow::bail;
use serde_json::Value;

/// A figure with its bounds.
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Unit of the numbers.
    pub unit: &'static str,
    /// Least that is good.
    pub low: f64,
    /// Most that is good.
    pub high: f64,
    /// What each run gave.
    pub runs: Vec<f64>,
}

impl Figure {
    /// One that nothing is known of yet.
    pub fn new(name: &str, unit: &'static str, low: f64, high: f64) -> Self {
        Self { name: name.to_owned(), unit, low, high, runs: Vec::new() }
    }

    /// The middle one of its runs.
    pub fn median(&self) -> f64 {
        let mut runs = self.runs.clone();
        runs.sort_by(f64::total_cmp);
        runs.get(runs.len() / 2).copied().unwrap_or(0.0)
    }

    /// Whether the median is within the bounds.
    pub fn is_within(&self) -> bool {
        !self.runs.is_empty() && (self.low..=self.high).contains(&self.median())
    }
}

/// Prints a table.
pub fn show(figures: &[Figure]) {
    println!("\n  median     from       to");
    for figure in figures {
        let Figure { name, unit, low, high, .. } = figure;
        let mark = if figure.is_within() { "ok" } else { "not ok  <-- out of bounds" };
        println!("{:8.1} {low:8.1} {high:8.1}  {unit:4}  {name}: {mark}", figure.median());
    }
}

/// Writes them to the file behind `--json`, where that is among the options.
pub fn write(options: &[&str], figures: &[Figure]) -> anyhow::Result<()> {
    let path = options.iter().position(|option| *option == "--json").and_then(|at| options.get(at + 1));
    let Some(path) = path else { return Ok(()) };
    let rows: Vec<Value> = figures
        .iter()
        .map(|figure| {
            serde_json::json!({"name": figure.name, "unit": figure.unit, "median": figure.median(), "runs": figure.runs})
        })
        .collect();
    Ok(std::fs::write(path, serde_json::to_string_pretty(&rows)?)?)
}

/// An error when one of them is out of bounds.
pub fn check(figures: &[Figure]) -> anyhow::Result<()> {
    let wrong = figures.iter().filter(|figure| !figure.is_within()).count();
    if wrong > 0 {
        bail!("{wrong} of {} figures are out of bounds", figures.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_good_when_its_median_is() {
        for (runs, want) in [
            (vec![1.0, 9.0, 2.0], true),
            (vec![9.0, 9.0, 1.0], false),
            (vec![0.0; 3], false),
            (vec![], false),
        ] {
            let figure = Figure { runs, ..Figure::new("a", "ms", 1.0, 5.0) };
            assert_eq!(figure.is_within(), want, "{:?}", figure.runs);
        }
    }
}
