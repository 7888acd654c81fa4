//! The ratios as a picture: a bar for each figure that counts, from the line of the best peer to ours.
//!
//! The scale is logarithmic, so that half as much and twice as much are as far from the line.

use std::fmt::Write as _;

use super::figures::{CLASSES, Line};
use crate::bench::svg;

/// The chart as SVG; it follows the reader's light or dark setting.
pub(super) fn chart(lines: &[Line]) -> String {
    let lines: Vec<&Line> = lines
        .iter()
        .filter(|line| line.counted().count() > 0)
        .collect();
    let label = |line: &Line| format!("{}, {}", line.row, line.unit);
    let widest = lines.iter().map(|line| label(line).chars().count()).max();
    let left = MARGIN + widest.unwrap_or_default() * CHARACTER;
    let width = left + SCALE + 2 * MARGIN + NUMBER;
    let height = HEAD + lines.len() * ROW + MARGIN;
    let mut text = svg::open(width, height);
    // Writing to a `String` does not fail.
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"{MARGIN}\">ours / best peer with as many workers: upper bar {}, lower bar {}; left of the line is ahead</text>",
        CLASSES[0].workers, CLASSES[1].workers
    );
    for octave in -OCTAVES..=OCTAVES {
        tick(&mut text, left + SCALE / 2, octave, height);
    }
    for (index, line) in lines.iter().enumerate() {
        let y = HEAD + index * ROW;
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - MARGIN / 2,
            y + BAR + 4,
            svg::escaped(&label(line))
        );
        bars(&mut text, line, left + SCALE / 2, y);
    }
    text.push_str(svg::CLOSE);
    text
}

/// A line of the scale, with its ratio above it.
fn tick(text: &mut String, middle: usize, octave: i32, height: usize) {
    let x = middle as f64 + f64::from(octave) * OCTAVE;
    let class = if octave == 0 { "even" } else { "faint" };
    let ratio = if octave < 0 {
        format!("1/{}", 1 << -octave)
    } else {
        format!("{}", 1 << octave)
    };
    let _ = writeln!(
        text,
        "<text class=\"small\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{ratio}</text>\n<line class=\"{class}\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>",
        HEAD - 8,
        HEAD - 4,
        height - MARGIN / 2
    );
}

fn bars(text: &mut String, line: &Line, middle: usize, y: usize) {
    for (place, class) in CLASSES.iter().enumerate() {
        let Some(ratio) = line.ratio(class) else {
            continue;
        };
        let limit = f64::from(OCTAVES) * OCTAVE;
        let reach = (ratio.log2() * OCTAVE).clamp(-limit, limit);
        let (x, wide) = (middle as f64 + reach.min(0.0), reach.abs().max(1.0));
        let class = if ratio < 1.0 { "ahead" } else { "behind" };
        let top = y + place * BAR;
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top}\" width=\"{wide:.1}\" height=\"{}\"/>\n<text class=\"small\" x=\"{}\" y=\"{}\">{ratio:.2}</text>",
            BAR - 1,
            middle + SCALE / 2 + MARGIN / 2,
            top + BAR - 1
        );
    }
}

/// All in pixels.
const MARGIN: usize = 20;
const HEAD: usize = 56;
const ROW: usize = 28;
const BAR: usize = 11;
const CHARACTER: usize = 8;
const NUMBER: usize = 40;
const OCTAVE: f64 = 64.0;
/// Powers of two to either side; what is further off ends there.
const OCTAVES: i32 = 4;
const SCALE: usize = 2 * OCTAVES as usize * OCTAVE as usize;

#[cfg(test)]
mod tests {
    use super::super::figures::tests::timed;
    use super::*;

    #[test]
    fn half_of_the_best_peer_is_one_octave_to_the_left_and_green() {
        let text = chart(&timed(&[("ours", 1.0), ("tokio", 2.0)]));
        assert_eq!(text.matches("class=\"ahead\"").count(), 1, "{text}");
        assert!(!text.contains("class=\"behind\""));
        assert!(
            text.contains("width=\"64.0\"") && text.contains(">0.50<"),
            "{text}"
        );
    }

    #[test]
    fn what_is_far_behind_ends_at_the_edge_of_the_scale() {
        let text = chart(&timed(&[("ours-1", 999.0), ("smol-1", 1.0)]));
        assert!(
            text.contains("class=\"behind\"") && text.contains("width=\"256.0\""),
            "{text}"
        );
        assert!(text.contains(">999.00<"));
    }

    #[test]
    fn a_line_without_a_peer_has_no_bar() {
        assert!(!chart(&timed(&[("ours", 1.0)])).contains(", cpu"));
    }
}
