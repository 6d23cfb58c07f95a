//! The file, the environment and the flags as one tree of values, each with its place. Nothing is interpreted here.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Overrides;
use super::keys::{self, Kind};
use super::mistake::{ConfigError, Mistakes, Place, meant};
use super::section::child;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Located>),
    Table(BTreeMap<String, Entry>),
    Other(&'static str),
}

/// What a key of a table holds. The key has a place of its own, for when it should not be there at all.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) held: Located,
}

impl Value {
    /// What it is, for a person who wrote something else than was expected.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Reads a TOML document as far as it can be read; what cannot is in the list.
pub(crate) fn document(text: &str) -> (Located, Vec<ConfigError>) {
    let lines = Lines::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let syntax = errors
        .iter()
        .map(|error| {
            let place = error.span().map_or(Place::Missing, |span| lines.place(span.start));
            ConfigError { place, path: "".into(), message: error.message().replace('\n', " ").into() }
        })
        .collect();
    (Located { place: Place::Missing, value: table(root.get_ref(), &lines) }, syntax)
}

fn table(entries: &DeTable<'_>, lines: &Lines) -> Value {
    let entry = |(key, held): (&Spanned<_>, _)| {
        (
            AsRef::<str>::as_ref(key.get_ref()).to_owned(),
            Entry { key: lines.place(key.span().start), held: located(held, lines) },
        )
    };
    Value::Table(entries.iter().map(entry).collect())
}

fn located(spanned: &Spanned<DeValue<'_>>, lines: &Lines) -> Located {
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Value::Other("a number out of range"), Value::Integer),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(values) => Value::List(values.iter().map(|value| located(value, lines)).collect()),
        DeValue::Table(entries) => table(entries, lines),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Located { place: lines.place(spanned.span().start), value }
}

/// The value a default of the table of keys stands for.
pub(crate) fn literal(toml: &str) -> Located {
    let value = DeValue::parse(toml).expect("defaults are TOML values: a test reads each");
    Located { place: Place::Missing, ..located(&value, &Lines::of(toml)) }
}

/// Where every program finds the receiver of traces, unless it was told by its own settings.
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Puts what the environment says over what the file says.
pub(crate) fn overlay_environment(
    root: &mut Located,
    variables: impl IntoIterator<Item = (String, String)>,
    mistakes: &Mistakes,
) {
    let known: Vec<(String, &keys::Key)> = keys::settable().map(|key| (keys::variable(key), key)).collect();
    let mut collector = None;
    for (variable, text) in variables {
        if variable == COLLECTOR && !text.is_empty() {
            collector = Some(text);
            continue;
        }
        let place = Place::Environment(variable.as_str().into());
        if let Some((_, key)) = known.iter().find(|(name, _)| *name == variable) {
            set(root, key.path, &Located { value: from_text(key.kind, &text, &place), place });
        } else if keys::looks_like_ours(&variable) {
            let guess = meant(&variable, known.iter().map(|(name, _)| name.as_str()));
            mistakes.add(&place, "", unknown("not a setting", guess));
        }
    }
    if let Some(text) = collector.filter(|_| child(root, "telemetry").is_none()) {
        let place = Place::Environment(COLLECTOR.into());
        set(root, "telemetry.endpoint", &Located { value: Value::Text(text), place });
    }
}

/// Puts what the command line says over all.
pub(crate) fn overlay_flags(root: &mut Located, flags: &Overrides) {
    if let Some(listen) = &flags.listen {
        set(root, "listen.address", &Located { place: Place::Flag("--listen"), value: Value::Text(listen.clone()) });
    }
}

/// The sentence about a name nobody knows.
pub(crate) fn unknown(what: &str, guess: Option<&str>) -> String {
    guess.map_or_else(
        || format!("{what}; keybound config default lists all"),
        |guess| format!("{what}; did you mean {guess}?"),
    )
}

fn from_text(kind: Kind, text: &str, place: &Place) -> Value {
    let item = |item: &str| Located { place: place.clone(), value: Value::Text(item.trim().to_owned()) };
    match kind {
        Kind::Texts | Kind::Algorithms => {
            Value::List(text.split(',').filter(|item| !item.trim().is_empty()).map(item).collect())
        }
        Kind::Count { .. } => text.trim().parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Integer),
        Kind::Flag => text.trim().parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Flag),
        _ => Value::Text(text.to_owned()),
    }
}

/// Sets the value of a dotted path, and makes the tables on the way to it. Where something else than a table is in the
/// way it is left alone: the reader says so.
pub(crate) fn set(root: &mut Located, path: &str, located: &Located) {
    let Value::Table(entries) = &mut root.value else { return };
    let made = |value| Entry { key: located.place.clone(), held: Located { place: located.place.clone(), value } };
    match path.split_once('.') {
        None => {
            entries.insert(path.to_owned(), made(located.value.clone()));
        }
        Some((first, rest)) => {
            let entry = entries.entry(first.to_owned()).or_insert_with(|| made(Value::Table(BTreeMap::new())));
            set(&mut entry.held, rest, located);
        }
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(core::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn place(&self, offset: usize) -> Place {
        Place::Line(self.0.partition_point(|start| *start <= offset))
    }
}
