//! Reads settings out of a table of the file, one by one, and notes every mistake on the way.

use core::cell::RefCell;
use core::fmt::Display;
use core::time::Duration;
use std::collections::BTreeMap;

use keybound::crypto::{Alg, AlgSet};

use super::keys::{self, Absent, Kind};
use super::mistake::{Mistakes, Place, meant};
use super::source::{Entry, Located, Value, literal, unknown};

/// One table under examination.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// With positions, for people: `route[0]`.
    shown: String,
    /// Without, for the table of keys: `route`.
    path: &'static str,
    place: Place,
    entries: Option<&'a BTreeMap<String, Entry>>,
    asked: RefCell<Vec<&'static str>>,
    preset: core::cell::Cell<ChosenPreset>,
    mistakes: &'a Mistakes,
}

/// Which column of defaults holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChosenPreset {
    Default,
    Fapi,
    Mcp,
}

/// A value that was read, and where a mistake in its meaning is to be noted.
#[derive(Clone, Debug)]
pub(crate) struct Read<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
    /// Whether somebody wrote it; otherwise it is the default.
    pub(crate) written: bool,
}

impl<'a> Section<'a> {
    /// The table `[path]`, which may be missing.
    pub(crate) fn single(root: &'a Located, path: &'static str, mistakes: &'a Mistakes) -> Self {
        let held = child(root, path);
        let entries = held.and_then(|held| match &held.value {
            Value::Table(entries) => Some(entries),
            other => {
                mistakes.add(&held.place, path, format!("is {}; write a table, [{path}]", other.kind()));
                None
            }
        });
        Self::new(path.to_owned(), path, held.map_or(Place::Missing, |held| held.place.clone()), entries, mistakes)
    }

    /// The table `name` inside this one, which may be missing; `path` is its path in the table of keys.
    pub(crate) fn inside(&self, path: &'static str) -> Self {
        let name = path.rsplit('.').next().unwrap_or(path);
        let shown = format!("{}.{name}", self.shown);
        let held = self.entries.and_then(|entries| entries.get(name)).map(|entry| &entry.held);
        let entries = held.and_then(|held| match &held.value {
            Value::Table(entries) => Some(entries),
            other => {
                self.mistakes.add(&held.place, &shown, format!("is {}; write a table, {{ .. }}", other.kind()));
                None
            }
        });
        Self::new(shown, path, held.map_or(Place::Missing, |held| held.place.clone()), entries, self.mistakes)
    }

    /// Each table `[[path]]` of `parent`, in the order of the file.
    pub(crate) fn repeated(parent: Option<&'a Located>, path: &'static str, mistakes: &'a Mistakes) -> Vec<Self> {
        let name = path.rsplit('.').next().unwrap_or(path);
        let Some(held) = parent.and_then(|parent| child(parent, name)) else {
            return Vec::new();
        };
        let wrong = |place, kind| mistakes.add(place, path, format!("is {kind}; write a table for each, [[{path}]]"));
        let Value::List(tables) = &held.value else {
            wrong(&held.place, held.value.kind());
            return Vec::new();
        };
        let section = |(position, table): (usize, &'a Located)| {
            let Value::Table(entries) = &table.value else {
                wrong(&table.place, table.value.kind());
                return None;
            };
            Some(Self::new(format!("{path}[{position}]"), path, table.place.clone(), Some(entries), mistakes))
        };
        tables.iter().enumerate().filter_map(section).collect()
    }

    fn new(
        shown: String,
        path: &'static str,
        place: Place,
        entries: Option<&'a BTreeMap<String, Entry>>,
        mistakes: &'a Mistakes,
    ) -> Self {
        let preset = core::cell::Cell::new(ChosenPreset::Default);
        Self { shown, path, place, entries, asked: RefCell::default(), preset, mistakes }
    }

    /// Whether the file has this table.
    pub(crate) const fn is_there(&self) -> bool {
        self.entries.is_some()
    }

    /// Where it stands.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether somebody wrote the setting `name`, whatever is wrong with it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(name))
    }

    /// The setting `name` need not be written here, and is not.
    pub(crate) fn excuse(&self, name: &str) {
        self.asked.borrow_mut().push(keys::find(&format!("{}.{name}", self.path)).path);
    }

    /// From here on defaults are those of this preset.
    pub(crate) fn choose(&self, preset: ChosenPreset) {
        self.preset.set(preset);
    }

    /// Notes a mistake in the setting `name`; at the table itself, if `name` is empty.
    pub(crate) fn mistake(&self, name: &str, place: &Place, message: impl Into<Box<str>>) {
        let path = if name.is_empty() { self.shown.clone() } else { format!("{}.{name}", self.shown) };
        self.mistakes.add(place, &path, message);
    }

    /// What is written, or else the default; `None` without either, or if it must be written and is not.
    fn located(&self, name: &str) -> Option<Read<Located>> {
        let key = keys::find(&format!("{}.{name}", self.path));
        self.asked.borrow_mut().push(key.path);
        if let Some(entry) = self.entries.and_then(|entries| entries.get(name)) {
            let place = entry.held.place.clone();
            return Some(Read { value: entry.held.clone(), place, written: true });
        }
        let default = match (key.absent, self.preset.get()) {
            (Absent::Is(default), _)
            | (Absent::ByPreset { default, .. }, ChosenPreset::Default)
            | (Absent::ByPreset { fapi: default, .. }, ChosenPreset::Fapi)
            | (Absent::ByPreset { mcp: default, .. }, ChosenPreset::Mcp) => default,
            (Absent::Required(example) | Absent::Expected(example), _) => {
                self.mistake(name, &self.place, format!("is missing; for example {name} = {example}"));
                return None;
            }
            (Absent::Unset(_), _) => return None,
        };
        Some(Read { value: literal(default), place: self.place.clone(), written: false })
    }

    /// The setting `name`, put through `convert`, which says what is wrong with it.
    pub(crate) fn value<T>(&self, name: &str, convert: impl FnOnce(&Value) -> Result<T, String>) -> Option<Read<T>> {
        let Read { value: located, place, written } = self.located(name)?;
        match convert(&located.value) {
            Ok(value) => Some(Read { value, place, written }),
            Err(message) => {
                self.mistake(name, &place, message);
                None
            }
        }
    }

    /// A text, parsed.
    pub(crate) fn text<T, E: Display>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<Read<T>> {
        self.value(name, |value| parse(expect_text(value)?).map_err(|error| error.to_string()))
    }

    /// A list of texts, each parsed; a mistake in one does not hide the next.
    pub(crate) fn texts<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Read<Vec<Read<T>>>> {
        let Read { value: located, place, written } = self.located(name)?;
        let Value::List(items) = &located.value else {
            self.mistake(name, &place, format!("is {}; write a list, [\"..\"]", located.value.kind()));
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        let mut whole = true;
        for item in items {
            match expect_text(&item.value).and_then(&parse) {
                Ok(value) => read.push(Read { value, place: item.place.clone(), written }),
                Err(message) => {
                    whole = false;
                    self.mistake(name, &item.place, message);
                }
            }
        }
        whole.then_some(Read { value: read, place, written })
    }

    /// One of the choices of the table of keys, as `meaning` reads it; `noun` says what it is: "a mode".
    pub(crate) fn choice<T>(&self, name: &str, noun: &str, meaning: impl Fn(&str) -> Option<T>) -> Option<Read<T>> {
        let Kind::Choice(choices) = keys::find(&format!("{}.{name}", self.path)).kind else {
            return None;
        };
        self.text(name, |text| {
            let chosen = choices.contains(&text).then(|| meaning(text)).flatten();
            chosen.ok_or_else(|| match choices.split_last() {
                Some((last, others)) => format!("{text:?} is not {noun}; use {} or {last}", others.join(", ")),
                None => format!("{text:?} is not {noun}"),
            })
        })
    }

    /// A span of time that is not zero.
    pub(crate) fn duration(&self, name: &str) -> Option<Read<Duration>> {
        self.text(name, parse_duration)
    }

    /// A number of octets that is not zero.
    pub(crate) fn size(&self, name: &str) -> Option<Read<u64>> {
        self.text(name, parse_size)
    }

    /// A whole number within the bounds of the table of keys.
    pub(crate) fn count<N: TryFrom<u64>>(&self, name: &str) -> Option<Read<N>> {
        let Kind::Count { least, most } = keys::find(&format!("{}.{name}", self.path)).kind else {
            return None;
        };
        self.value(name, |value| {
            let Value::Integer(number) = value else {
                return Err(format!("is {}; write a number", value.kind()));
            };
            let within = u64::try_from(*number).ok().filter(|number| (least..=most).contains(number));
            within
                .and_then(|number| N::try_from(number).ok())
                .ok_or_else(|| format!("{number} is out of range; use {least} to {most}"))
        })
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Option<Read<bool>> {
        self.value(name, |value| match value {
            Value::Flag(flag) => Ok(*flag),
            other => Err(format!("is {}; write true or false", other.kind())),
        })
    }

    /// A list of algorithm names with something in it.
    pub(crate) fn algorithms(&self, name: &str) -> Option<AlgSet> {
        let algs = self.texts(name, |text| text.parse::<Alg>().map_err(|_| unknown_algorithm(text)))?;
        if algs.value.is_empty() {
            self.mistake(name, &algs.place, "is empty: no proof or token could pass; leave it out to allow all");
            return None;
        }
        Some(algs.value.into_iter().map(|alg| alg.value).collect())
    }

    /// Notes every name in the table that nobody asked for. Call it last.
    pub(crate) fn finish(self) {
        let Some(entries) = self.entries else { return };
        for (name, entry) in entries {
            if !keys::names_in(self.path).any(|known| known == name) {
                let elsewhere = keys::KEYS.iter().find(|key| key.path.rsplit('.').next() == Some(name));
                let message = match (meant(name, keys::names_in(self.path)), elsewhere) {
                    (None, Some(key)) => format!("is not a setting of this table; there is {}", key.path),
                    (guess, _) => unknown("is not a setting", guess),
                };
                self.mistake(&shortened(name), &entry.key, message);
            }
        }
        let unread = |key: &&keys::Key| keys::is_in(key.path, self.path) && !self.asked.borrow().contains(&key.path);
        debug_assert_eq!(
            keys::KEYS.iter().find(unread).map(|key| key.path),
            None,
            "a documented key that nobody reads"
        );
    }
}

/// What is said of the name of no algorithm of ours. Nobody who wrote one that is never allowed mistyped another.
fn unknown_algorithm(text: &str) -> String {
    if text.eq_ignore_ascii_case("none") {
        return format!("{text:?} signs nothing, and is never allowed; use a signature algorithm, like ES256");
    }
    if text.get(..2).is_some_and(|family| family.eq_ignore_ascii_case("HS")) {
        return format!(
            "{text:?} is a MAC, whose key would be known to whoever checks it, and never allowed; use a signature \
             algorithm, like ES256"
        );
    }
    let shown = shortened(text);
    match meant(text, Alg::ALL.iter().map(|alg| alg.name())) {
        Some(guess) => format!("{shown:?} is not an algorithm; did you mean {guess}?"),
        None => format!("{shown:?} is not a signature algorithm; known are {}", AlgSet::ALL),
    }
}

/// The value of `name` in `parent`, which is a table.
pub(crate) fn child<'a>(parent: &'a Located, name: &str) -> Option<&'a Located> {
    let Value::Table(entries) = &parent.value else {
        return None;
    };
    entries.get(name).map(|entry| &entry.held)
}

/// At most 40 characters of a name somebody wrote.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(40).chain("..".chars()).collect() }
}

fn expect_text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::List(_) => Err("is a list; write one text, \"..\"".to_owned()),
        other => Err(format!("is {}; write it in quotes, \"..\"", other.kind())),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let milliseconds =
        number_with_unit(text, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)])
            .ok_or_else(|| {
                format!("{text:?} is not a span of time; write a number and ms, s, m, h or d, like \"30s\"")
            })?;
    match milliseconds {
        0 => Err("must not be zero".to_owned()),
        _ if milliseconds > 366 * 86_400_000 => Err(format!("{text:?} is longer than a year")),
        _ => Ok(Duration::from_millis(milliseconds)),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let octets =
        number_with_unit(text, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)])
            .ok_or_else(|| format!("{text:?} is not a size; write a number and B, KiB, MiB or GiB, like \"64MiB\""))?;
    if octets == 0 { Err("must not be zero".to_owned()) } else { Ok(octets) }
}

fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans_of_time() {
        for (text, expected) in [
            ("300s", Some(300_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("250 ms", Some(250)),
            ("1d", Some(86_400_000)),
            ("300", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("0s", None),
            ("18446744073709551615h", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, expected) in
            [("256MiB", Some(1 << 28)), ("8192 B", Some(8192)), ("1MB", None), ("0KiB", None), ("MiB", None)]
        {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
