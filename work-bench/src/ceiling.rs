//! How well an adaptive limit uses a ceiling that it does not see, in simulated time.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use work_core::limit::{Adaptive, Adapts, Aimd, Answer};

use crate::figure::{Bench, BoxError, Pairs, Printer, Unit};
use crate::plot::{Line, Plot};

pub(crate) const CEILING: Bench = Bench {
    name: "limit_ceiling",
    what: "what adaptive limits use of a ceiling that moves, against all of it; --full writes docs/adaptive.svg",
    run: ceiling,
};

const SECONDS: u32 = 900;

/// Calls a second that the other side takes.
const fn takes(second: u32) -> f64 {
    match second {
        0..300 => 100.0,
        300..600 => 200.0,
        _ => 50.0,
    }
}

/// What was used in each second.
struct Seen {
    rates: Vec<f64>,
    accepted: f64,
    refused: f64,
}

/// Calls as often as the limit lets it. What is over the ceiling in a second is refused, each call for itself.
fn simulate(limit: &dyn Adapts) -> Seen {
    let start = Instant::now();
    let mut seen = Seen { rates: Vec::new(), accepted: 0.0, refused: 0.0 };
    for second in 0..SECONDS {
        let mut calls = 0.0;
        for ms in 0..1000 {
            let now = start + Duration::from_secs(second.into()) + Duration::from_millis(ms);
            while limit.try_acquire(now).is_ok() {
                calls += 1.0;
                let refused = calls > takes(second);
                *(if refused { &mut seen.refused } else { &mut seen.accepted }) += 1.0;
                limit.observe(now, if refused { Answer::REFUSED } else { Answer::Accepted });
            }
        }
        seen.rates.push(limit.rate());
    }
    seen
}

fn ceiling(printer: &Printer) -> Result<(), BoxError> {
    let adaptive = simulate(&Adaptive::new(10.0, 1.0, 10_000.0)?);
    let plain = simulate(&Aimd::new(10.0, 1.0, 10_000.0)?);
    for (name, goal, seen) in [("limit_ceiling_adaptive", Some(0.85), &adaptive), ("limit_ceiling_plain", None, &plain)]
    {
        let all: f64 = (0..SECONDS).map(takes).sum();
        let pair = (seen.accepted / f64::from(SECONDS), all / f64::from(SECONDS));
        printer.line(name, goal, Unit::Rate, &Pairs::from_iter([pair]));
        let pair = (seen.refused, seen.accepted + seen.refused);
        printer.line(&format!("{name}_refused"), None, Unit::Rate, &Pairs::from_iter([pair]));
    }
    if printer.full {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/adaptive.svg");
        std::fs::write(docs, svg(&adaptive, &plain))?;
    }
    Ok(())
}

fn svg(adaptive: &Seen, plain: &Seen) -> String {
    let ceiling: Vec<f64> = (0..SECONDS).map(takes).collect();
    let plot = Plot {
        grid: &[0.0, 50.0, 100.0, 150.0, 200.0, 250.0],
        lines: &[
            Line { name: "the ceiling", color: "#999", at: 60, values: &ceiling },
            Line { name: "Aimd", color: "#d95f02", at: 160, values: &plain.rates },
            Line { name: "Adaptive", color: "#1b5e9f", at: 220, values: &adaptive.rates },
        ],
        note: (780, "900 s, a second a point"),
    };
    plot.svg()
}
