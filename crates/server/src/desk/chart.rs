//! Charts as SVG, without a script: bars that stand on each other, and lines. Each chart has its figures in a table behind it.

use std::fmt::Write as _;

use super::html::{Html, escaped};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// One column of a chart, or one point of its lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Point {
    /// What it is of, such as a time.
    pub(super) label: String,
    /// A value of each series; absent values are gaps in a line.
    pub(super) values: Vec<Option<f64>>,
}

/// A series: its name, and the class of its colour.
pub(super) type Series = (&'static str, &'static str);

/// Bars: the series stand on each other.
pub(super) fn bars(title: &str, series: &[Series], points: &[Point], shown: fn(f64) -> String) -> Html {
    let sum = |point: &Point| point.values.iter().flatten().sum::<f64>();
    let most = points.iter().map(sum).fold(0.0, f64::max);
    let mut svg = begin(title, most, shown);
    let width = WIDTH / points.len().max(1) as f64;
    for (at, point) in points.iter().enumerate() {
        let mut bottom = HEIGHT;
        for (value, (name, class)) in point.values.iter().zip(series) {
            let value = value.unwrap_or_default();
            if value <= 0.0 || most <= 0.0 {
                continue;
            }
            let height = value / most * HEIGHT;
            bottom -= height;
            let _ = write!(
                svg,
                "<rect class=\"bar {class}\" x=\"{:.2}\" y=\"{bottom:.2}\" width=\"{:.2}\" height=\"{height:.2}\"><title>{}: {} {name}</title></rect>",
                at as f64 * width,
                (width - 1.0).max(0.5),
                escaped(&point.label),
                shown(value),
            );
        }
    }
    end(svg, series, points, shown)
}

/// Lines.
pub(super) fn lines(title: &str, series: &[Series], points: &[Point], shown: fn(f64) -> String) -> Html {
    let most = points.iter().flat_map(|point| point.values.iter().flatten()).copied().fold(0.0, f64::max);
    let mut svg = begin(title, most, shown);
    let step = WIDTH / (points.len().max(2) - 1) as f64;
    for (number, (_, class)) in series.iter().enumerate() {
        let mut path = String::new();
        let mut is_gap = true;
        for (at, point) in points.iter().enumerate() {
            let Some(Some(value)) = point.values.get(number) else {
                is_gap = true;
                continue;
            };
            let y = if most > 0.0 { HEIGHT - value / most * HEIGHT } else { HEIGHT };
            let command = if is_gap { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.2} {y:.2}", at as f64 * step);
            if is_gap {
                path.push_str("h0.01"); // a point without neighbours is seen
            }
            is_gap = false;
        }
        let _ = write!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
    }
    end(svg, series, points, shown)
}

fn begin(title: &str, most: f64, shown: fn(f64) -> String) -> String {
    let title = escaped(title);
    format!(
        "<figure class=\"chart\"><figcaption>{title} <span class=\"most\">most: {}</span></figcaption>\
         <svg viewBox=\"0 -2 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{title}\" preserveAspectRatio=\"none\">\
         <line class=\"axis\" x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/>",
        shown(most),
        HEIGHT + 4.0,
    )
}

fn end(mut svg: String, series: &[Series], points: &[Point], shown: fn(f64) -> String) -> Html {
    svg.push_str("</svg><ul class=\"legend\">");
    for (name, class) in series {
        let _ = write!(svg, "<li><span class=\"key {class}\" aria-hidden=\"true\"></span>{name}</li>");
    }
    svg.push_str("</ul><details><summary>The figures</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">From</th>");
    for (name, _) in series {
        let _ = write!(svg, "<th scope=\"col\" class=\"n\">{name}</th>");
    }
    svg.push_str("</tr></thead><tbody>");
    for point in points.iter().filter(|point| point.values.iter().flatten().any(|value| *value != 0.0)) {
        let _ = write!(svg, "<tr><th scope=\"row\">{}</th>", escaped(&point.label));
        for value in &point.values {
            let text = value.map_or_else(|| "–".to_owned(), shown);
            let _ = write!(svg, "<td class=\"n\">{text}</td>");
        }
        svg.push_str("</tr>");
    }
    svg.push_str("</tbody></table></div></details></figure>");
    Html::of(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, values: &[Option<f64>]) -> Point {
        Point { label: label.to_owned(), values: values.to_vec() }
    }

    fn whole(value: f64) -> String {
        format!("{value:.0}")
    }

    #[test]
    fn bars_stand_on_each_other_and_fill_the_height() {
        let series = [("Good", "good"), ("Bad", "failed")];
        let points = [point("<1>", &[Some(3.0), Some(1.0)]), point("2", &[None, Some(2.0)])];
        let html = bars("What ended", &series, &points, whole).to_string();
        assert!(
            html.contains("class=\"bar good\" x=\"0.00\" y=\"30.00\" width=\"299.00\" height=\"90.00\""),
            "{html}"
        );
        assert!(html.contains("class=\"bar failed\" x=\"0.00\" y=\"0.00\""), "{html}");
        assert!(html.contains("<title>&lt;1&gt;: 3 Good</title>") && !html.contains("<1>"), "{html}");
        assert!(
            html.contains("<td class=\"n\">–</td><td class=\"n\">2</td>") && html.contains("most: 4"),
            "{html}"
        );
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let points = [point("1", &[Some(1.0)]), point("2", &[None]), point("3", &[Some(2.0)])];
        let html = lines("Backlog", &[("New", "new")], &points, whole).to_string();
        assert!(html.contains("d=\"M0.00 60.00h0.01M600.00 0.00h0.01\""), "{html}");
        for empty in [bars("x", &[], &[], whole), lines("x", &[("a", "b")], &[], whole)] {
            assert!(empty.to_string().contains("most: 0"), "nothing is divided by zero");
        }
    }
}
