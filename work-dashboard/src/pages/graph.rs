//! The graph of a workflow as SVG, drawn here: states by how far they are from the start, with what is in them.

use maud::{Markup, html};

use super::Frame;
use super::parts::grouped;
use crate::call::encoded;
use crate::workflows::{RunView, StateView};

/// Which way it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the right, for wide windows.
    Across,
    /// Downwards, for phones.
    Down,
}

/// Sizes in pixels: of a state, and what is between two of them along the way and beside it.
struct Sizes {
    wide: i32,
    high: i32,
    along: i32,
    beside: i32,
}

impl Way {
    const fn sizes(self) -> Sizes {
        match self {
            Self::Across => Sizes { wide: 178, high: 62, along: 62, beside: 30 },
            Self::Down => Sizes { wide: 150, high: 58, along: 44, beside: 22 },
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Across => "across",
            Self::Down => "down",
        }
    }
}

/// What an arrow means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrow {
    To,
    Kick,
    Dead,
}

impl Arrow {
    const fn class(self) -> &'static str {
        match self {
            Self::To => "to",
            Self::Kick => "kick",
            Self::Dead => "dead",
        }
    }
}

/// Where a state is: how far from the start, and where in its row.
type Spot = (usize, usize);

pub(super) fn draw(frame: &Frame, run: &RunView, way: Way) -> Markup {
    let arrows = arrows(&run.states);
    let spots = spots(&run.states, &arrows);
    let sizes = way.sizes();
    let ranks = spots.iter().map(|(rank, _)| rank + 1).max().unwrap_or(1);
    let most = (0..ranks).map(|rank| row(&spots, rank)).max().unwrap_or(1);
    let corners: Vec<(i32, i32)> = spots.iter().map(|spot| corner(*spot, row(&spots, spot.0), most, way)).collect();
    // What goes back or far is drawn beside the row.
    let margin = if arrows.iter().any(|(from, to, _)| beside(&spots, *from, *to)) { 40 } else { 6 };
    let (along, across) = match way {
        Way::Across => (sizes.wide, sizes.high),
        Way::Down => (sizes.high, sizes.wide),
    };
    let length = int(ranks) * (along + sizes.along) - sizes.along + 12;
    let breadth = int(most) * (across + sizes.beside) - sizes.beside + 2 * margin;
    let (width, height) = if way == Way::Across { (length, breadth) } else { (breadth, length) };
    let shift = if way == Way::Across { (6, margin) } else { (margin, 6) };
    let marker = |arrow: Arrow| format!("tip-{}-{}", way.name(), arrow.class());
    html! {
        svg class={ "graph " (way.name()) } width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) }
            role="group" aria-label="States and how they are joined" {
            defs { @for arrow in [Arrow::To, Arrow::Kick, Arrow::Dead] {
                marker id=(marker(arrow)) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
                    path class={ "tip " (arrow.class()) } d="M0 0L8 4L0 8z" {}
                }
            } }
            g transform={ "translate(" (shift.0) " " (shift.1) ")" } {
                @for (from, to, arrow) in &arrows {
                    @let line = line(corners[*from], corners[*to], beside(&spots, *from, *to), way);
                    path class={ "arrow " (arrow.class()) } d=(line) marker-end={ "url(#" (marker(*arrow)) ")" } {}
                }
                @for (state, corner) in run.states.iter().zip(&corners) { (node(frame, run, state, *corner, &sizes)) }
            }
        }
    }
}

fn node(frame: &Frame, run: &RunView, state: &StateView, (x, y): (i32, i32), sizes: &Sizes) -> Markup {
    let name = state.shape.state.as_str();
    let counts = counts(run, state);
    let words: Vec<String> = counts.iter().map(|(what, count, _)| format!("{count} {what}")).collect();
    let words = if words.is_empty() { "nothing here".to_owned() } else { words.join(", ") };
    let href = frame.link(&format!("/jobs?queue={}", encoded(&format!("{}.{name}", run.name()))));
    let class = match state {
        _ if state.failed > 0 => "node failed",
        _ if state.executing > 0 => "node busy",
        _ if state.shape.terminal => "node end",
        _ => "node",
    };
    let small = if name.len() > 15 { "name small" } else { "name" };
    html! {
        a href=(href) class=(class) {
            title { (name) ": " (words) }
            rect class="box" x=(x) y=(y) width=(sizes.wide) height=(sizes.high) rx=(if state.shape.terminal { sizes.high / 2 } else { 10 }) {}
            text class=(small) x=(x + sizes.wide / 2) y=(y + 25) text-anchor="middle" { (name) }
            text class="counts" x=(x + sizes.wide / 2) y=(y + 46) text-anchor="middle" {
                @if counts.is_empty() { tspan class="none" { "–" } }
                @for (place, (what, _, text)) in counts.iter().enumerate() {
                    @if place > 0 { " " }
                    tspan class={ "sign " (what) } { "●" } tspan { "\u{2009}" (text) "\u{2002}" }
                }
            }
        }
    }
}

/// What is in a state: the word, the number, and the number as it is shown.
fn counts(run: &RunView, state: &StateView) -> Vec<(&'static str, u64, String)> {
    let done =
        run.ended.as_ref().map_or(0, |ended| ended.by_state.get(&state.shape.state).copied().unwrap_or_default());
    let complete = run.ended.as_ref().is_none_or(|ended| ended.complete);
    let all = [
        ("waiting", state.waiting),
        ("running", state.executing),
        ("failed", state.failed),
        ("cancelled", state.cancelled),
        ("done", done),
    ];
    let shown = |(what, count): (&'static str, u64)| {
        let more = if what == "done" && !complete { "+" } else { "" };
        (what, count, format!("{}{more}", grouped(count)))
    };
    all.into_iter().filter(|(_, count)| *count > 0).map(shown).collect()
}

fn index(states: &[StateView], name: &str) -> Option<usize> {
    states.iter().position(|state| state.shape.state == name)
}

fn arrows(states: &[StateView]) -> Vec<(usize, usize, Arrow)> {
    let mut all = Vec::new();
    for (from, state) in states.iter().enumerate() {
        let shape = &state.shape;
        let of = |names: &[String], arrow| {
            let found = names.iter().filter_map(|name| index(states, name));
            found.map(|to| (from, to, arrow)).collect::<Vec<_>>()
        };
        all.extend(of(&shape.to, Arrow::To));
        all.extend(of(&shape.kicks, Arrow::Kick));
        all.extend(of(shape.dead.as_slice(), Arrow::Dead));
    }
    all
}

/// Each state stands one further than the furthest that leads to it; ways back are left out.
fn spots(states: &[StateView], arrows: &[(usize, usize, Arrow)]) -> Vec<Spot> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); states.len()];
    arrows.iter().for_each(|(from, to, _)| next[*from].push(*to));
    let mut ranks = vec![0_usize; states.len()];
    let mut seen = vec![Seen::No; states.len()];
    let mut order = Vec::new();
    let starts = (0..states.len()).filter(|state| states[*state].shape.start).chain(0..states.len());
    for start in starts {
        visit(start, &next, &mut seen, &mut order);
    }
    // Each comes before those that it leads to, but for ways back.
    order.reverse();
    let place: Vec<usize> =
        (0..states.len()).map(|state| order.iter().position(|one| *one == state).unwrap_or_default()).collect();
    for from in &order {
        for to in next[*from].iter().filter(|to| place[**to] > place[*from]) {
            ranks[*to] = ranks[*to].max(ranks[*from] + 1);
        }
    }
    let mut rows = vec![0_usize; states.len() + 1];
    let spot = |rank: usize| {
        rows[rank] += 1;
        (rank, rows[rank] - 1)
    };
    ranks.into_iter().map(spot).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    Yes,
}

/// Depth first, without recursion: names come from a store. What is done last stands first in `order`.
fn visit(start: usize, next: &[Vec<usize>], seen: &mut [Seen], order: &mut Vec<usize>) {
    if seen[start] == Seen::Yes {
        return;
    }
    seen[start] = Seen::Yes;
    let mut way = vec![(start, 0)];
    while let Some((state, place)) = way.pop() {
        // The first that is declared is visited last, so that it stands next to its state.
        let Some(to) = next[state].iter().rev().nth(place) else {
            order.push(state);
            continue;
        };
        way.push((state, place + 1));
        if seen[*to] == Seen::No {
            seen[*to] = Seen::Yes;
            way.push((*to, 0));
        }
    }
}

fn row(spots: &[Spot], rank: usize) -> usize {
    spots.iter().filter(|spot| spot.0 == rank).count()
}

/// The upper left corner; shorter rows are in the middle.
fn corner((rank, place): Spot, row: usize, most: usize, way: Way) -> (i32, i32) {
    let Sizes { wide, high, along, beside } = way.sizes();
    let (step, across) = if way == Way::Across { (wide + along, high + beside) } else { (high + along, wide + beside) };
    let (far, aside) = (int(rank) * step, int(place) * across + int(most - row) * across / 2);
    if way == Way::Across { (far, aside) } else { (aside, far) }
}

/// True if the arrow goes back, or past others.
fn beside(spots: &[Spot], from: usize, to: usize) -> bool {
    let ((from, _), (to, place)) = (spots[from], spots[to]);
    let others = spots.iter().any(|spot| spot.0 > from && spot.0 < to && spot.1 == place);
    to <= from || (to > from + 1 && others)
}

fn line((ax, ay): (i32, i32), (bx, by): (i32, i32), beside: bool, way: Way) -> String {
    let Sizes { wide, high, .. } = way.sizes();
    let (mid_x, mid_y) = (wide / 2, high / 2);
    match (way, beside) {
        (Way::Across, false) => {
            let (x, y, to_x, to_y) = (ax + wide, ay + mid_y, bx - 2, by + mid_y);
            let half = (to_x - x) / 2;
            format!("M{x} {y}C{} {y} {} {to_y} {to_x} {to_y}", x + half, to_x - half)
        }
        (Way::Down, false) => {
            let (x, y, to_x, to_y) = (ax + mid_x, ay + high, bx + mid_x, by - 2);
            let half = (to_y - y) / 2;
            format!("M{x} {y}C{x} {} {to_x} {} {to_x} {to_y}", y + half, to_y - half)
        }
        // Back over the top, forward under the bottom.
        (Way::Across, true) if bx <= ax => {
            let (x, to_x, top, to) = (ax + mid_x - 20, bx + mid_x + 20, ay, by - 2);
            format!("M{x} {top}C{} {} {} {} {to_x} {to}", x, top - 46, to_x, to - 46)
        }
        (Way::Across, true) => {
            let (x, to_x, low, to) = (ax + mid_x + 20, bx + mid_x - 20, ay + high, by + high + 2);
            format!("M{x} {low}C{} {} {} {} {to_x} {to}", x, low + 46, to_x, to + 46)
        }
        (Way::Down, true) if by <= ay => {
            let (y, to_y, right, to) = (ay + mid_y - 10, by + mid_y + 10, ax + wide, bx + wide + 2);
            format!("M{right} {y}C{} {y} {} {to_y} {to} {to_y}", right + 46, to + 46)
        }
        (Way::Down, true) => {
            let (y, to_y, left, to) = (ay + mid_y + 10, by + mid_y - 10, ax, bx - 2);
            format!("M{left} {y}C{} {y} {} {to_y} {to} {to_y}", left - 46, to - 46)
        }
    }
}

/// Workflows have few states; one that has not is drawn small.
fn int(count: usize) -> i32 {
    i32::try_from(count.min(1000)).unwrap_or(1000)
}
