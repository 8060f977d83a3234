use std::time::Instant;

/// Anything that stops a measurement.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One figure.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// What the ratio should be at least.
    pub(crate) goal: f64,
    pub(crate) what: &'static str,
    pub(crate) measure: fn() -> Result<Pairs, BoxError>,
}

/// Rates of neighbouring runs: ours, and the raw limit, each in jobs a second.
pub(crate) struct Pairs(Vec<(f64, f64)>);

/// Runs that count.
const RUNS: usize = 5;

impl Pairs {
    /// Runs ours and the raw limit in turn; each answers how many jobs it did.
    pub(crate) fn measure(
        mut ours: impl FnMut() -> Result<Timed, BoxError>,
        mut raw: impl FnMut() -> Result<Timed, BoxError>,
    ) -> Result<Self, BoxError> {
        ours()?;
        raw()?;
        let pairs = (0..RUNS).map(|_| Ok((ours()?.0, raw()?.0))).collect::<Result<_, BoxError>>()?;
        Ok(Self(pairs))
    }
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
    Ok(Timed(jobs as f64 / start.elapsed().as_secs_f64()))
}

impl Figure {
    pub(crate) fn print(&self, json: bool) -> Result<(), BoxError> {
        let Pairs(pairs) = (self.measure)()?;
        let of = |value: fn(&(f64, f64)) -> f64| sorted(pairs.iter().map(value).collect());
        let (ours, raw, ratios) = (of(|pair| pair.0), of(|pair| pair.1), of(|pair| pair.0 / pair.1));
        let (ratio, goal) = (median(&ratios), self.goal);
        let (low, high) = (ratios.first().copied().unwrap_or(ratio), ratios.last().copied().unwrap_or(ratio));
        let (ours, raw, name) = (median(&ours), median(&raw), self.name);
        if json {
            let line = serde_json::json!({
                "name": name, "ratio": ratio, "goal": goal, "ours": ours, "raw": raw, "low": low, "high": high,
            });
            println!("{line}");
        } else {
            println!(
                "bench {name}: ratio {ratio:.2} (goal ≥ {goal}), ours {ours:.0}/s, raw {raw:.0}/s [{low:.2}..{high:.2}]"
            );
        }
        Ok(())
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A runtime as `#[tokio::main]` makes it.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, BoxError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
