use std::fmt::Write as _;

/// Lines over time, as a picture of 960 by 300.
pub(crate) struct Plot<'a> {
    /// The values that are drawn as a grid; the last is the top.
    pub(crate) grid: &'a [f64],
    pub(crate) lines: &'a [Line<'a>],
    /// What is below, on the right, and where it begins.
    pub(crate) note: (u32, &'a str),
}

pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) color: &'a str,
    /// Where its name is written.
    pub(crate) at: u32,
    /// From left to right.
    pub(crate) values: &'a [f64],
}

/// What the values take of the width.
const WIDTH: f64 = 900.0;

impl Plot<'_> {
    pub(crate) fn svg(&self) -> String {
        let mut svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 300\" font-family=\"sans-serif\" \
                       font-size=\"12\">\n<rect width=\"960\" height=\"300\" fill=\"white\"/>\n"
            .to_owned();
        for rate in self.grid {
            let y = self.y(*rate);
            let _ = writeln!(
                svg,
                "<path d=\"M50 {y:.0}H950\" stroke=\"#ddd\"/><text x=\"10\" y=\"{y:.0}\">{rate}/s</text>"
            );
        }
        for Line { name, color, at, values } in self.lines {
            let step = WIDTH / values.len().max(1) as f64;
            let point = |(n, value): (usize, &f64)| format!("{:.0},{:.1} ", 50.0 + n as f64 * step, self.y(*value));
            let points: String = values.iter().enumerate().map(point).collect();
            let _ =
                writeln!(svg, "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{points}\"/>");
            let _ = writeln!(svg, "<text x=\"{at}\" y=\"295\" fill=\"{color}\">{name}</text>");
        }
        let _ = writeln!(svg, "<text x=\"{}\" y=\"295\">{}</text>\n</svg>", self.note.0, self.note.1);
        svg
    }

    fn y(&self, rate: f64) -> f64 {
        let highest = self.grid.last().copied().unwrap_or(1.0);
        270.0 - rate.min(highest) / highest * 250.0
    }
}
