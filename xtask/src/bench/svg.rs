//! What all pictures have: a frame, a ground, and colours that follow the reader's light or dark setting.

/// The beginning of a picture; sizes are in pixels.
pub(super) fn open(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, monospace\" font-size=\"12\">\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
    )
}

/// Its end.
pub(super) const CLOSE: &str = "</svg>\n";

/// Text that may hold any sign.
pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

const STYLE: &str = ".ground{fill:#fff}text{fill:#222}.small{font-size:10px;fill:#555}.faint{stroke:#ddd}.even{stroke:#222}.ahead{fill:#2a7f62}.behind{fill:#c0452e}.ours{stroke:#2a7f62;fill:none;stroke-width:2}.peer{stroke:#888;fill:none}.floor{stroke:#888;fill:none;stroke-dasharray:2 3}@media(prefers-color-scheme:dark){.ground{fill:#16181c}text{fill:#ddd}.small{fill:#aaa}.faint{stroke:#333}.even{stroke:#ddd}.ahead{fill:#4fb892}.behind{fill:#e2735c}.ours{stroke:#4fb892}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_escaped() {
        assert_eq!(escaped("1->8 & 2"), "1-&gt;8 &amp; 2");
    }
}
