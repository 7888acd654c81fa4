//! A timeline as a picture: tasks as rows, steps from left to right.

use std::fmt::Write as _;

use asupersync_lab::{Row, Timeline};

/// The picture as SVG; it follows the reader's light or dark setting.
pub(crate) fn svg(timeline: &Timeline) -> String {
    let rows = timeline.rows();
    let lanes = lanes(rows);
    let names = lanes
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default();
    let left = MARGIN * 2 + names * CHARACTER;
    let width = left + rows.len() * STEP + MARGIN;
    let height = MARGIN * 2 + HEAD + lanes.len() * LANE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, monospace\" font-size=\"12\">\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    // Writing to a `String` does not fail.
    for (lane, name) in lanes.iter().enumerate() {
        let y = lane_y(lane);
        let _ = writeln!(
            text,
            "<text x=\"{MARGIN}\" y=\"{}\">{}</text>",
            y + 4,
            escaped(name)
        );
        let _ = writeln!(
            text,
            "<line class=\"lane\" x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>",
            width - MARGIN
        );
    }
    for (column, row) in rows.iter().enumerate() {
        let x = left + column * STEP + STEP / 2;
        if column % LABEL_EVERY == 0 {
            let _ = writeln!(
                text,
                "<text class=\"faint\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">#{}</text>",
                MARGIN + HEAD / 2,
                row.step
            );
        }
        let lane = lanes
            .iter()
            .position(|name| *name == row.who)
            .unwrap_or_default();
        step(&mut text, row, x, lane_y(lane));
        for other in woken(row) {
            let target = lanes
                .iter()
                .position(|name| name.split(' ').next() == Some(other));
            if let Some(target) = target.filter(|target| *target != lane) {
                arrow(&mut text, x, lane_y(lane), lane_y(target));
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

/// A page that holds the picture and the steps as text.
pub(crate) fn page(program: &str, finding: &str, timeline: &Timeline) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n<style>body {{ font-family: system-ui, sans-serif; margin: 1.5rem; }} .wide {{ overflow-x: auto; }}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<p>{1}</p>\n<div class=\"wide\">\n{2}</div>\n<pre>{3}</pre>\n</body>\n</html>\n",
        escaped(program),
        escaped(finding),
        svg(timeline),
        escaped(&timeline.to_string()),
    )
}

/// Who takes steps, in the order of their first.
fn lanes(rows: &[Row]) -> Vec<String> {
    let mut lanes: Vec<String> = Vec::new();
    for row in rows {
        if !lanes.contains(&row.who) {
            lanes.push(row.who.clone());
        }
    }
    lanes
}

const fn lane_y(lane: usize) -> usize {
    MARGIN + HEAD + lane * LANE + LANE / 2
}

fn step(text: &mut String, row: &Row, x: usize, y: usize) {
    let class = class_of(row);
    let _ = writeln!(
        text,
        "<g><title>#{} {} {}\n{}</title><rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{BOX}\" height=\"{BOX}\" rx=\"3\"/></g>",
        row.step,
        row.at,
        escaped(&row.who),
        escaped(&row.did.join("\n")),
        x - BOX / 2,
        y - BOX / 2,
    );
}

/// What a step mainly was.
fn class_of(row: &Row) -> &'static str {
    let any = |test: fn(&str) -> bool| row.did.iter().any(|did| test(did));
    if any(|did| did.starts_with("FAULT")) {
        "fault"
    } else if any(|did| did.contains("Panicked") || did.contains("Err")) {
        "bad"
    } else if any(|did| did.starts_with("asks ")) {
        "cancel"
    } else if any(|did| did.contains(".wait") || did.starts_with("waits")) {
        "wait"
    } else {
        "poll"
    }
}

/// The tasks that a step wakes, spawns or asks to stop.
fn woken(row: &Row) -> impl Iterator<Item = &str> {
    row.did.iter().filter_map(|did| {
        let rest = did
            .strip_prefix("wakes ")
            .or_else(|| did.strip_prefix("spawns "));
        rest.or_else(|| did.strip_prefix("asks ")?.split(' ').next())
    })
}

fn arrow(text: &mut String, x: usize, from: usize, to: usize) {
    let (start, end) = if from < to {
        (from + BOX / 2, to - BOX / 2)
    } else {
        (from - BOX / 2, to + BOX / 2)
    };
    let tip = if from < to { end - 4 } else { end + 4 };
    let _ = writeln!(
        text,
        "<path class=\"arrow\" d=\"M{x} {start}L{x} {end}M{} {tip}L{x} {end}L{} {tip}\"/>",
        x - 3,
        x + 3
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const MARGIN: usize = 12;
const HEAD: usize = 20;
const LANE: usize = 26;
const STEP: usize = 20;
const BOX: usize = 14;
/// About the width of a character.
const CHARACTER: usize = 8;
/// Numbers of steps would overlap if each stood there.
const LABEL_EVERY: usize = 3;

const STYLE: &str = "text{fill:#222}.faint{fill:#888;font-size:10px}.ground{fill:#fff}.lane{stroke:#ddd}.poll{fill:#4a7fb5}.wait{fill:none;stroke:#4a7fb5;stroke-width:2}.cancel{fill:#d98a1f}.fault{fill:#9b4fc0}.bad{fill:#c8332b}.arrow{fill:none;stroke:#999}@media(prefers-color-scheme:dark){text{fill:#ddd}.ground{fill:#161a1d}.lane{stroke:#333}.arrow{stroke:#777}}";

#[cfg(test)]
mod tests {
    use super::*;
    use asupersync_lab::{LabRuntime, Timeline};
    use asupersync_zoo::programs;

    fn timeline(name: &str) -> Timeline {
        let program = programs().iter().find(|program| program.name == name);
        let program = program.expect("the zoo has it");
        let report = LabRuntime::new(program.config()).run(program.buggy);
        Timeline::of(&report.trace, report.trace.events.len())
    }

    #[test]
    fn every_step_is_a_box_and_every_task_a_row() {
        let timeline = timeline("philosophers-4");
        let svg = svg(&timeline);
        assert_eq!(svg.matches("<g><title>").count(), timeline.rows().len());
        assert_eq!(
            svg.matches("class=\"lane\"").count(),
            lanes(timeline.rows()).len()
        );
        assert!(svg.contains("class=\"arrow\""), "somebody is woken");
    }

    #[test]
    fn text_of_a_program_cannot_leave_its_place() {
        let page = page("<script>", "a & b", &timeline("account"));
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; b"));
        assert!(!page.contains("<script>"));
    }
}
