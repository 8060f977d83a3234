use std::time::Instant;

/// Anything that stops a measurement.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A benchmark: one line, or a few.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Printer) -> Result<(), BoxError>,
}

/// Rates of neighbouring runs: ours, and the raw limit, each in jobs a second.
pub(crate) struct Pairs(Vec<(f64, f64)>);

/// Runs that count.
const RUNS: usize = 5;

impl Pairs {
    /// Runs ours and the raw limit in turn.
    pub(crate) fn measure(
        ours: impl FnMut() -> Result<Timed, BoxError>,
        raw: impl FnMut() -> Result<Timed, BoxError>,
    ) -> Result<Self, BoxError> {
        Ok(in_turn(ours, raw)?.into_iter().map(|(ours, raw)| (ours.0, raw.0)).collect())
    }
}

impl FromIterator<(f64, f64)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (f64, f64)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Runs one and the other in turn, after a warm-up of both.
pub(crate) fn in_turn<T>(
    mut ours: impl FnMut() -> Result<T, BoxError>,
    mut raw: impl FnMut() -> Result<T, BoxError>,
) -> Result<Vec<(T, T)>, BoxError> {
    ours()?;
    raw()?;
    (0..RUNS).map(|_| Ok((ours()?, raw()?))).collect()
}

/// The rate of a run.
pub(crate) struct Timed(f64);

impl Timed {
    /// So many jobs in so many seconds.
    pub(crate) fn of(jobs: u64, seconds: f64) -> Self {
        Self(jobs as f64 / seconds)
    }

    /// How long `jobs` jobs took.
    pub(crate) fn seconds(&self, jobs: u64) -> f64 {
        jobs as f64 / self.0
    }
}

/// Times what `run` does with `jobs` jobs.
pub(crate) fn time(jobs: u64, run: impl FnOnce() -> Result<(), BoxError>) -> Result<Timed, BoxError> {
    let start = Instant::now();
    run()?;
    Ok(Timed::of(jobs, start.elapsed().as_secs_f64()))
}

/// How a rate is shown.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Jobs a second.
    Rate,
    /// Microseconds a job.
    Micros,
    /// Bytes a job; the rates are jobs a byte, so that more is better here too.
    Bytes,
    /// Transactions that wrote, for 1,000 jobs; the rates are jobs a transaction.
    Commits,
}

impl Unit {
    fn value(self, rate: f64) -> f64 {
        match self {
            Self::Rate => rate,
            Self::Micros => 1e6 / rate,
            Self::Bytes => 1.0 / rate,
            Self::Commits => 1e3 / rate,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Rate => "/s",
            Self::Micros => " µs",
            Self::Bytes => " B a job",
            Self::Commits => " per 1,000 jobs",
        }
    }

    const fn digits(self) -> usize {
        match self {
            Self::Commits => 1,
            Self::Rate | Self::Micros | Self::Bytes => 0,
        }
    }
}

/// Prints figures, and says what is to be measured.
pub(crate) struct Printer {
    pub(crate) json: bool,
    /// Also what takes minutes.
    pub(crate) full: bool,
}

impl Printer {
    /// Prints one figure. The goal is the least that the ratio should be; without one the figure only informs.
    pub(crate) fn line(&self, name: &str, goal: Option<f64>, unit: Unit, Pairs(pairs): &Pairs) {
        let of = |value: fn(&(f64, f64)) -> f64| sorted(pairs.iter().map(value).collect());
        let (ours, raw, ratios) = (of(|pair| pair.0), of(|pair| pair.1), of(|pair| pair.0 / pair.1));
        let (ratio, ours, raw) = (median(&ratios), unit.value(median(&ours)), unit.value(median(&raw)));
        let (low, high) = (ratios.first().copied().unwrap_or(ratio), ratios.last().copied().unwrap_or(ratio));
        let (sign, digits) = (unit.sign(), unit.digits());
        if self.json {
            let line = serde_json::json!({
                "name": name, "ratio": ratio, "goal": goal, "ours": ours, "raw": raw, "spread": [low, high],
                "unit": sign.trim(),
            });
            println!("{line}");
        } else {
            let goal = goal.map_or("no goal".to_owned(), |goal| format!("goal ≥ {goal}"));
            let (ours, raw) = (format!("{ours:.digits$}{sign}"), format!("{raw:.digits$}{sign}"));
            println!("bench {name}: ratio {ratio:.2} ({goal}), ours {ours}, raw {raw} [{low:.2}..{high:.2}]");
        }
    }
}

/// Delays of neighbouring runs, each in seconds and in ascending order: ours, and those of the raw limit.
pub(crate) type Delays = Vec<(Vec<f64>, Vec<f64>)>;

impl Printer {
    /// Prints the median of the delays, and what a hundredth of them is above. The goals are as those of a line.
    pub(crate) fn ranks(&self, name: &str, [p50, p99]: [Option<f64>; 2], runs: &Delays) {
        for (rank, percent, goal) in [("p50", 50, p50), ("p99", 99, p99)] {
            let at = |delays: &[f64]| delays.get(delays.len() * percent / 100).copied().unwrap_or(f64::NAN);
            // As rates, so that more is better here too.
            let pairs = runs.iter().map(|(ours, raw)| (1.0 / at(ours), 1.0 / at(raw))).collect();
            self.line(&format!("{name}_{rank}"), goal, Unit::Micros, &pairs);
        }
    }
}

/// In ascending order.
pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A runtime as `#[tokio::main]` makes it, with two threads wherever it runs.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, BoxError> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
