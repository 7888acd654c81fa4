//! The curves as a picture: a panel for each row, cost by operation against what grows, both on logarithmic scales.
//!
//! A flat line costs the same whatever is live; every panel has the same three powers of ten upwards, so slopes can be compared.

use std::fmt::Write as _;

use super::curve::{Curve, FLOOR};
use crate::bench::figure::short;
use crate::bench::summary::OURS;
use crate::bench::svg;

/// The plot as SVG; it follows the reader's light or dark setting.
pub(super) fn plot(curves: &[&Curve]) -> String {
    let rows = curves.len().div_ceil(COLUMNS);
    let width = MARGIN + COLUMNS * (PANEL_WIDTH + MARGIN);
    let height = HEAD + rows * (PANEL_HEIGHT + MARGIN);
    let time = curves.first().map_or("ns", |curve| curve.counted().unit());
    let mut text = svg::open(width, height);
    // Writing to a `String` does not fail.
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"{MARGIN}\">{time}, {DECADES} powers of ten from the foot of a panel to its top: ours green, tokio grey, the floor dotted</text>"
    );
    for (index, curve) in curves.iter().enumerate() {
        let left = MARGIN + index % COLUMNS * (PANEL_WIDTH + MARGIN);
        let top = HEAD + index / COLUMNS * (PANEL_HEIGHT + MARGIN);
        let panel = Panel::of(curve, left as f64, top as f64);
        panel.frame(&mut text, curve);
        for runtime in curve.runtimes() {
            panel.line(&mut text, runtime, &curve.medians(runtime));
        }
    }
    text.push_str(svg::CLOSE);
    text
}

/// Where the costs of a curve stand.
struct Panel {
    left: f64,
    bottom: f64,
    /// The logarithms of the first point and the last.
    first: f64,
    last: f64,
    /// The logarithm of the cost at the bottom.
    base: f64,
}

impl Panel {
    fn of(curve: &Curve, left: f64, top: f64) -> Self {
        let runtimes = curve.runtimes().into_iter();
        let all: Vec<(u64, f64)> = runtimes.flat_map(|one| curve.medians(one)).collect();
        let [first, last] = bounds(all.iter().map(|(point, _)| along(*point)));
        let [low, high] = bounds(all.iter().map(|(_, cost)| up(*cost)));
        Self {
            left,
            bottom: top + PANEL_HEIGHT as f64 - FOOT,
            first,
            last,
            // What is measured stands in the middle of the panel.
            base: f64::midpoint(low, high) - DECADES / 2.0,
        }
    }

    /// The row's name and the points, the last with what all of them count.
    fn frame(&self, text: &mut String, curve: &Curve) {
        let (left, bottom, right) = (self.left, self.bottom, self.left + PANEL_WIDTH as f64);
        let title = bottom + FOOT - PANEL_HEIGHT as f64 + TITLE - GAP;
        let foot = bottom + FOOT - GAP;
        let (row, axis) = (svg::escaped(&curve.row), svg::escaped(&curve.axis));
        let _ = writeln!(
            text,
            "<text x=\"{left}\" y=\"{title}\">{row}</text>\n<line class=\"faint\" x1=\"{left}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>"
        );
        let points = curve.medians(OURS);
        let Some(((last, _), others)) = points.split_last() else {
            return;
        };
        for (point, _) in others {
            let (x, _) = self.place(*point, 1.0);
            let point = rounded(*point);
            let _ = writeln!(
                text,
                "<text class=\"small\" x=\"{x:.1}\" y=\"{foot}\">{point}</text>"
            );
        }
        let last = rounded(*last);
        let _ = writeln!(
            text,
            "<text class=\"small\" x=\"{right}\" y=\"{foot}\" text-anchor=\"end\">{last} {axis}</text>"
        );
    }

    /// A runtime's costs; the first and the last of ours are written out.
    fn line(&self, text: &mut String, runtime: &str, medians: &[(u64, f64)]) {
        let class = match runtime {
            OURS => "ours",
            FLOOR => "floor",
            _ => "peer",
        };
        let places = medians
            .iter()
            .map(|(point, cost)| self.place(*point, *cost));
        let places: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let places = places.join(" ");
        let _ = writeln!(text, "<polyline class=\"{class}\" points=\"{places}\"/>");
        let ends = medians.first().into_iter().chain(medians.last());
        for (point, cost) in ends.filter(|_| runtime == OURS) {
            let (x, y) = self.place(*point, *cost);
            let (y, cost) = (y - GAP, short(*cost));
            let _ = writeln!(
                text,
                "<text class=\"small\" x=\"{x:.1}\" y=\"{y:.1}\">{cost}</text>"
            );
        }
    }

    fn place(&self, point: u64, cost: f64) -> (f64, f64) {
        let right = (along(point) - self.first) / (self.last - self.first).max(f64::MIN_POSITIVE);
        let above = ((up(cost) - self.base) / DECADES).clamp(0.0, 1.0);
        (
            self.left + right * (PANEL_WIDTH as f64 - NUMBER),
            self.bottom - above * (PANEL_HEIGHT as f64 - FOOT - TITLE),
        )
    }
}

fn along(point: u64) -> f64 {
    (point as f64).log10()
}

/// What costs nothing has no logarithm; it stands at the bottom.
fn up(cost: f64) -> f64 {
    cost.max(1e-3).log10()
}

/// The least and the most.
fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold(
        [f64::INFINITY, f64::NEG_INFINITY],
        |[least, most], value| [least.min(value), most.max(value)],
    )
}

/// A point of an axis, in few signs.
fn rounded(point: u64) -> String {
    match point {
        point if point >= 1_000_000 => format!("{}M", point / 1_000_000),
        point if point >= 1_000 => format!("{}k", point / 1_000),
        point => point.to_string(),
    }
}

/// All in pixels.
const MARGIN: usize = 20;
const HEAD: usize = 36;
const PANEL_WIDTH: usize = 280;
const PANEL_HEIGHT: usize = 130;
const TITLE: f64 = 20.0;
const FOOT: f64 = 20.0;
const NUMBER: f64 = 36.0;
/// Between a text and what it names.
const GAP: f64 = 5.0;
const COLUMNS: usize = 4;
/// Powers of ten that a panel is high.
const DECADES: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::super::curve::tests::curve;
    use super::*;

    #[test]
    fn a_flat_curve_is_a_level_line_and_a_steep_one_is_not() {
        let flat = plot(&[&curve("regions", &[("ours/10", 8.0), ("ours/1000", 8.0)])]);
        let points = |text: &str| -> Vec<String> {
            let (_, points) = text.split_once("points=\"").expect("has a curve");
            let (points, _) = points.split_once('"').expect("is closed");
            points.split(' ').map(str::to_owned).collect()
        };
        let heights = |text: &str| -> Vec<String> {
            let of = |place: &String| place.split(',').next_back().map(str::to_owned);
            points(text).iter().filter_map(of).collect()
        };
        let level = heights(&flat);
        assert_eq!(level[0], level[1]);
        let steep = plot(&[&curve("regions", &[("ours/10", 8.0), ("ours/1000", 80.0)])]);
        assert_ne!(heights(&steep)[0], heights(&steep)[1]);
    }

    #[test]
    fn every_runtime_has_its_line_and_points_are_short() {
        let text = plot(&[&curve(
            "live tasks",
            &[("ours/1000", 1.0), ("tokio/1000", 2.0), ("floor/1000", 1.0)],
        )]);
        for class in ["ours", "peer", "floor"] {
            assert!(
                text.contains(&format!("<polyline class=\"{class}\"")),
                "{text}"
            );
        }
        assert_eq!(
            [rounded(100), rounded(10_000), rounded(1_000_000)],
            ["100", "10k", "1M"]
        );
        assert!(text.contains(">1k live tasks</text>"), "{text}");
    }
}
