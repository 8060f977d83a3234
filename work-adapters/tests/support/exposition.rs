use std::collections::{BTreeMap, BTreeSet};

/// Prometheus' text format, read strictly: whatever a scrape would refuse is an error here.
pub(crate) struct Exposition {
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// The value of a series, written `name{label=value,…}` with the labels in order.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut types, mut helped) = (BTreeMap::new(), BTreeSet::new());
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                match comment.splitn(3, ' ').collect::<Vec<_>>()[..] {
                    ["HELP", name, help] if !help.is_empty() && helped.insert(name.to_owned()) => {}
                    ["TYPE", name, kind @ ("counter" | "gauge" | "histogram")]
                        if types.insert(name.to_owned(), kind).is_none() => {}
                    _ => return Err(format!("a comment out of place: {line}")),
                }
                continue;
            }
            let (series, name, value) = sample(line).ok_or_else(|| format!("no sample: {line}"))?;
            let family = family(&types, &name).ok_or_else(|| format!("no type: {line}"))?;
            if !helped.contains(family) || (types[family] == "counter") != name.ends_with("_total") {
                return Err(format!("no help, or a wrong name: {line}"));
            }
            if samples.insert(series, value).is_some() {
                return Err(format!("twice: {line}"));
            }
        }
        let read = Self { samples };
        read.check_histograms()?;
        Ok(read)
    }

    /// Each bucket has what the one before has, and the last has everything.
    fn check_histograms(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, count) in &self.samples {
            let Some((name, labels)) = series.split_once("_bucket{") else { continue };
            let (le, rest): (Vec<_>, Vec<_>) =
                labels.trim_end_matches('}').split(',').partition(|label| label.starts_with("le="));
            let end =
                le.first().and_then(|le| le[3..].replace("+Inf", "inf").parse().ok()).ok_or("a bucket has no end")?;
            buckets.entry(format!("{name}_count{{{}}}", rest.join(","))).or_default().push((end, *count));
        }
        for (count, mut ends) in buckets {
            ends.sort_by(|a, b| a.0.total_cmp(&b.0));
            let rises = ends.is_sorted_by(|a, b| a.1 <= b.1) && ends.len() > 2;
            let last = ends.last().filter(|(end, _)| end.is_infinite()).map(|(_, count)| *count);
            if !rises || last.is_none() || last != self.value(&count) {
                return Err(format!("buckets of {count}: {ends:?}"));
            }
        }
        Ok(())
    }
}

/// The name whose type covers this sample.
fn family<'t>(types: &'t BTreeMap<String, &str>, name: &str) -> Option<&'t str> {
    let of_histogram = || {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
        types.get_key_value(base).filter(|(_, kind)| **kind == "histogram")
    };
    types.get_key_value(name).or_else(of_histogram).map(|(name, _)| &**name)
}

/// The series in its normal form, its name, and its value.
fn sample(line: &str) -> Option<(String, String, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.replace("+Inf", "inf").parse().ok()?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let word = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut pairs = Vec::new();
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once("=\"")?;
        let value = value.strip_suffix('"').filter(|value| !value.contains(['"', '\\', '\n']))?;
        pairs.push(format!("{key}={value}"));
        word(key).then_some(())?;
    }
    pairs.sort();
    word(name).then(|| (format!("{name}{{{}}}", pairs.join(",")), name.to_owned(), value))
}
