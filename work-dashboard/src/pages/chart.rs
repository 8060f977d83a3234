use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::parts::{ago, span};
use crate::snapshot::{Bar, Lately};

const WIDTH: usize = 720;
const HEIGHT: usize = 160;

/// Bars of what ended: well below, dead letters above.
pub(super) fn bars(lately: &Lately, now: DateTime<Utc>) -> Markup {
    let total = |bar: &Bar| bar.completed + bar.discarded + bar.other;
    let most = lately.bars.iter().map(total).max().unwrap_or(0).max(1);
    let step = WIDTH as f64 / lately.bars.len().max(1) as f64;
    let height = |count: u32| f64::from(count) * (HEIGHT - 8) as f64 / f64::from(most);
    let rate = f64::from(most) / lately.bar_seconds.max(0.001);
    let about = format!(
        "{} jobs ended: {} well, {} as dead letters; at most {rate:.1} a second",
        lately.jobs, lately.completed, lately.discarded
    );
    html! {
        p.scale { span { "at most " (most) (if most == 1 { " job" } else { " jobs" }) " in " (span(Duration::from_secs_f64(lately.bar_seconds.clamp(0.001, 1e6)))) } }
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(about) preserveAspectRatio="none" {
            @for part in 1..4 { line.grid x1="0" x2=(WIDTH) y1=(HEIGHT * part / 4) y2=(HEIGHT * part / 4) {} }
            @for (place, bar) in lately.bars.iter().enumerate() {
                g {
                    title { (told(bar)) }
                    (stack(place as f64 * step + 1.0, step - 2.0, [
                        (height(bar.completed), "bar-completed"),
                        (height(bar.other), "bar-other"),
                        (height(bar.discarded), "bar-discarded"),
                    ]))
                }
            }
        }
        p.scale {
            @if let Some(from) = lately.from { (ago(from, now)) }
            span { "now" }
        }
    }
}

fn told(bar: &Bar) -> String {
    format!("{} completed, {} dead letters, {} cancelled", bar.completed, bar.discarded, bar.other)
}

/// Parts of one bar, from below.
fn stack(x: f64, width: f64, parts: [(f64, &str); 3]) -> Markup {
    let mut top = HEIGHT as f64;
    let mut rects = Vec::new();
    for (height, class) in parts {
        if height > 0.0 {
            let height = height.max(2.0);
            top -= height;
            rects.push((top.max(0.0), height, class));
        }
    }
    html! {
        @for (y, height, class) in rects {
            rect class=(class) x=(format!("{x:.1}")) y=(format!("{y:.1}")) width=(format!("{width:.1}"))
                height=(format!("{height:.1}")) rx="1.5" {}
        }
    }
}
