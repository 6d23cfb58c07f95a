//! `docs/metrics.md` is printed from what `/metrics` says, and other pages speak of metrics that there are. After a change:
//! `UPDATE=1 cargo test -p keybound-gateway --test admin`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use crate::dashboard::metrics;
use crate::scene::folder;

/// One family, as its lines have it.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    /// Names of its samples.
    samples: BTreeSet<String>,
}

/// In the order of the text, which keeps together what belongs together.
fn families(text: &str) -> Vec<Family> {
    let mut families = Vec::<Family>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            let (name, help) = (name.to_owned(), help.trim_end_matches('.').to_owned());
            families.push(Family { name, help, ..Family::default() });
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            families.last_mut().unwrap().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let family = families.last_mut().unwrap();
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            family.samples.insert(name.to_owned());
            // A label is a word before `="`; values hold none of these here.
            let labels = rest.split("=\"").map(|part| part.rsplit(['{', ',']).next().unwrap().to_owned());
            let count = rest.matches("=\"").count();
            family.labels.extend(labels.take(count).filter(|label| label != "le"));
        }
    }
    families
}

fn page(families: &[Family]) -> String {
    let mut text = "# Metrics\n\nWhat `/metrics` of the admin listener says (OpenMetrics). This page is printed from what it says; what to \
                    watch and when\nto be woken up stands under [operations](operations.md#what-to-watch).\n\n\
                    | metric | type | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for Family { name, kind, help, labels, .. } in families {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        // The name a query has.
        let suffix = match &**kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        writeln!(text, "| `{name}{suffix}` | {kind} | {labels} | {help} |").unwrap();
    }
    text + "\nA histogram has `_bucket`, `_sum` and `_count`. A metric with the label `reason` is there once there was one; the codes are \
            those of\n[reasons](refusals.md). `route` is the path of the route as configured, and empty where a request reached none; \
            `client` is the\nclient that a verified token names, the first 100 of them, all others together being `other`.\n"
}

#[test]
fn the_page_is_what_the_gateway_says() {
    let path = folder().join("../../docs/metrics.md");
    let printed = page(&families(&metrics()));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p keybound-gateway --test admin";
    assert!(written == printed, "docs/metrics.md is not what /metrics says; renew it: {renew}");
}

#[test]
fn the_book_speaks_of_metrics_that_there_are() {
    let families = families(&metrics());
    let there: BTreeSet<&str> = families
        .iter()
        .flat_map(|family| family.samples.iter().map(String::as_str).chain([family.name.as_str()]))
        .collect();
    let mut spoken_of = 0;
    for page in fs::read_dir(folder().join("../../docs")).unwrap() {
        let path = page.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        // Crates are `keybound_` too, as Rust has them.
        let crates = ["keybound_tower", "keybound_client", "keybound_issuer", "keybound_gateway"];
        let named = |word: &str| word.strip_prefix("keybound_").is_some_and(|rest| !rest.is_empty());
        for word in words.filter(|word| named(word) && !crates.contains(word)) {
            assert!(there.contains(word), "{word} of {} is no metric", path.display());
            spoken_of += 1;
        }
    }
    assert!(spoken_of > 20, "{spoken_of}");
}
