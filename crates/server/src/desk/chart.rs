//! Charts as SVG, without a script: bars that stand on each other, and lines. Each chart has its figures in a table behind it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::html::{self, Html, escaped};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// How low a bar may be that stands for something.
const LEAST: f64 = 1.5;

/// One column of a chart, or one point of its lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// The time from which it is.
    pub(super) at: Timestamp,
    /// A value of each series; absent values are gaps in a line.
    pub(super) values: Vec<Option<f64>>,
}

impl Point {
    /// The time, as the title of a shape has it.
    fn label(&self) -> String {
        self.at.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }
}

/// A series: its name, and the class of its colour.
pub(super) type Series = (&'static str, &'static str);

/// A chart, until it is written.
#[derive(Clone, Copy)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What is written instead if there is nothing to show.
    pub(super) empty: &'a str,
    pub(super) series: &'a [Series],
    pub(super) points: &'a [Point],
    /// How a value is written.
    pub(super) shown: fn(f64) -> String,
}

impl Chart<'_> {
    /// Bars: the series stand on each other.
    pub(super) fn bars(self) -> Html {
        let sum = |point: &Point| point.values.iter().flatten().sum::<f64>();
        let most = self.points.iter().map(sum).fold(0.0, f64::max);
        let mut svg = String::new();
        let width = WIDTH / self.points.len().max(1) as f64;
        for (at, point) in self.points.iter().enumerate() {
            let mut bottom = HEIGHT;
            for (value, (name, class)) in point.values.iter().zip(self.series) {
                let value = value.unwrap_or_default();
                if value <= 0.0 || most <= 0.0 {
                    continue;
                }
                let height = (value / most * HEIGHT).max(LEAST);
                bottom -= height;
                let _ = write!(
                    svg,
                    "<rect class=\"bar {class}\" x=\"{:.2}\" y=\"{bottom:.2}\" width=\"{:.2}\" height=\"{height:.2}\"><title>{}: {} {name}</title></rect>",
                    at as f64 * width + width * 0.08,
                    (width * 0.84).max(0.5),
                    point.label(),
                    (self.shown)(value),
                );
            }
        }
        let total = |number: usize| {
            let values = self.points.iter().filter_map(|point| *point.values.get(number)?);
            (self.shown)(values.sum())
        };
        self.around(&svg, most, total)
    }

    /// Lines.
    pub(super) fn lines(self) -> Html {
        let values = self.points.iter().flat_map(|point| point.values.iter().flatten());
        let most = values.copied().fold(0.0, f64::max);
        let mut svg = String::new();
        let step = WIDTH / (self.points.len().max(2) - 1) as f64;
        for (number, (name, class)) in self.series.iter().enumerate() {
            let value = |at: usize| self.points.get(at).and_then(|point| *point.values.get(number)?);
            let (mut path, mut is_gap) = (String::new(), true);
            for (at, point) in self.points.iter().enumerate() {
                let Some(known) = value(at) else {
                    is_gap = true;
                    continue;
                };
                let y = if most > 0.0 { HEIGHT - known / most * HEIGHT } else { HEIGHT };
                let x = at as f64 * step;
                let command = if is_gap { 'M' } else { 'L' };
                let _ = write!(path, "{command}{x:.2} {y:.2}");
                if is_gap && value(at + 1).is_none() {
                    // A point without neighbours is no line.
                    let (label, text) = (point.label(), (self.shown)(known));
                    let _ = write!(
                        svg,
                        "<path class=\"dot {class}\" d=\"M{x:.2} {y:.2}h0.01\"><title>{label}: {text} {name}</title></path>"
                    );
                }
                is_gap = false;
            }
            let _ = write!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
        }
        let last = |number: usize| {
            let last = self.points.iter().rev().find_map(|point| *point.values.get(number)?);
            last.map(self.shown).unwrap_or_default()
        };
        self.around(&svg, most, last)
    }

    /// The shapes with their title, axes and legend, and the figures in a table.
    fn around(self, shapes: &str, most: f64, number: impl Fn(usize) -> String) -> Html {
        let title = escaped(self.title);
        let has_figures = |point: &&Point| point.values.iter().flatten().any(|value| *value != 0.0);
        if !self.points.iter().any(|point| has_figures(&point)) {
            return Html::of(format!(
                "<figure class=\"chart\"><figcaption>{title}</figcaption><p class=\"empty\">{}</p></figure>",
                escaped(self.empty)
            ));
        }
        let middle = HEIGHT / 2.0;
        let mut svg = format!(
            "<figure class=\"chart\"><figcaption>{title} <span class=\"most\">most: {}</span></figcaption>\
             <svg viewBox=\"0 -4 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{title}\" preserveAspectRatio=\"none\">\
             <path class=\"grid\" d=\"M0 0H{WIDTH}M0 {middle}H{WIDTH}\"/>\
             <path class=\"axis\" d=\"M0 {HEIGHT}H{WIDTH}\"/>{shapes}</svg>",
            (self.shown)(most),
            HEIGHT + 6.0,
        );
        if let [first, .., last] = self.points {
            let _ = write!(
                svg,
                "<p class=\"span\">{} {}</p>",
                html::short_time(first.at),
                html::short_time(last.at)
            );
        }
        svg.push_str("<ul class=\"legend\">");
        for (at, (name, class)) in self.series.iter().enumerate() {
            let _ = write!(
                svg,
                "<li><span class=\"key {class}\" aria-hidden=\"true\"></span>{name} <b>{}</b></li>",
                number(at)
            );
        }
        svg.push_str("</ul><details><summary>The figures</summary><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"The figures\"><table><thead><tr><th scope=\"col\">From</th>");
        for (name, _) in self.series {
            let _ = write!(svg, "<th scope=\"col\" class=\"n\">{name}</th>");
        }
        svg.push_str("</tr></thead><tbody>");
        for point in self.points.iter().filter(has_figures) {
            let _ = write!(svg, "<tr><th scope=\"row\">{}</th>", html::time(point.at));
            for value in &point.values {
                let text = value.map_or_else(|| "–".to_owned(), self.shown);
                let _ = write!(svg, "<td class=\"n\">{text}</td>");
            }
            svg.push_str("</tr>");
        }
        svg.push_str("</tbody></table></div></details></figure>");
        Html::of(svg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, values: &[Option<f64>]) -> Point {
        Point { at: Timestamp::from_second(second).unwrap(), values: values.to_vec() }
    }

    fn chart<'a>(series: &'a [Series], points: &'a [Point]) -> Chart<'a> {
        Chart {
            title: "What <b>",
            empty: "Nothing <i>",
            series,
            points,
            shown: |value| format!("{value:.0}"),
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_fill_the_height() {
        let series = [("Good", "good"), ("Bad", "failed")];
        let points = [point(0, &[Some(3.0), Some(1.0)]), point(60, &[None, Some(2.0)])];
        let html = chart(&series, &points).bars().to_string();
        assert!(
            html.contains("class=\"bar good\" x=\"24.00\" y=\"30.00\" width=\"252.00\" height=\"90.00\""),
            "{html}"
        );
        assert!(html.contains("class=\"bar failed\" x=\"24.00\" y=\"0.00\""), "{html}");
        assert!(html.contains("<title>1970-01-01 00:00 UTC: 3 Good</title>"), "{html}");
        assert!(html.contains("What &lt;b&gt;") && !html.contains("<b>W"), "{html}");
        for text in
            ["<td class=\"n\">–</td><td class=\"n\">2</td>", "most: 4", "Good <b>3</b>", "Bad <b>3</b>"]
        {
            assert!(html.contains(text), "{text}: {html}");
        }
    }

    #[test]
    fn what_is_little_beside_much_is_seen() {
        let points = [point(0, &[Some(1.0)]), point(60, &[Some(100_000.0)])];
        let html = chart(&[("Good", "good")], &points).bars().to_string();
        assert!(html.contains("height=\"1.50\""), "{html}");
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let values = [Some(1.0), None, Some(2.0), Some(2.0)];
        let points: Vec<Point> = values.iter().zip(0..).map(|(value, at)| point(at, &[*value])).collect();
        let html = chart(&[("New", "new")], &points).lines().to_string();
        assert!(html.contains("class=\"line new\" d=\"M0.00 60.00M400.00 0.00L600.00 0.00\""), "{html}");
        assert!(html.contains("class=\"dot new\" d=\"M0.00 60.00h0.01\""), "{html}");
        assert_eq!(html.matches("class=\"dot").count(), 1, "{html}");
    }

    #[test]
    fn what_has_no_figures_says_so() {
        let nothing = [point(0, &[Some(0.0)]), point(60, &[None])];
        for points in [&nothing[..], &[]] {
            for empty in [chart(&[("a", "b")], points).bars(), chart(&[("a", "b")], points).lines()] {
                assert!(
                    empty.to_string().contains("Nothing &lt;i&gt;") && !empty.to_string().contains("<svg")
                );
            }
        }
    }
}
