//! What is wrong with a configuration: every mistake, each with the place a person has to look at.

use core::cell::RefCell;
use core::fmt;
use std::path::Path;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// This line of the file, counted from 1.
    Line(usize),
    /// Nowhere: it is missing.
    Missing,
    /// This variable of the environment.
    Environment(Box<str>),
    /// This flag of the command line.
    Flag(&'static str),
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// Where to look.
    pub place: Place,
    /// The setting, like `route[0].mode`; empty if none can be named.
    pub path: Box<str>,
    /// What is wrong, and what to write instead.
    pub message: Box<str>,
}

/// Every mistake of a configuration, in the order of its lines; what comes from elsewhere stands last. Never empty.
///
/// It prints one line for each, `keybound.toml:12: route[0].mode: "requird" is not a mode; use ..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    file: Box<str>,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The mistakes.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// The file they are in, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let message = format!(
            "cannot be read: {error}; name another with --config, or begin with: keybound config default > {}",
            file.display()
        );
        let error = ConfigError { place: Place::Missing, path: "".into(), message: message.into() };
        Self { file: file.display().to_string().into(), errors: vec![error] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ConfigError { place, path, message }) in self.errors.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            match place {
                Place::Line(line) => write!(f, "{}:{line}: ", self.file)?,
                Place::Missing => write!(f, "{}: ", self.file)?,
                Place::Environment(variable) => write!(f, "{variable}: ")?,
                Place::Flag(flag) => write!(f, "{flag}: ")?,
            }
            if !path.is_empty() {
                write!(f, "{path}: ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigErrors {}

/// Collects mistakes while the configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: RefCell<Vec<ConfigError>>,
}

impl Mistakes {
    pub(crate) fn add(&self, place: &Place, path: &str, message: impl Into<Box<str>>) {
        let error = ConfigError { place: place.clone(), path: path.into(), message: message.into() };
        self.found.borrow_mut().push(error);
    }

    /// `Ok` if there are none. What the reader made of a line that is not TOML is no second mistake.
    pub(crate) fn into_result<T>(
        self,
        file: &str,
        syntax: Vec<ConfigError>,
        value: Option<T>,
    ) -> Result<T, ConfigErrors> {
        let mut errors = self.found.into_inner();
        errors.retain(|error| !syntax.iter().any(|other| other.place == error.place));
        if !syntax.is_empty() {
            errors.retain(|error| error.place != Place::Missing);
        }
        errors.extend(syntax);
        errors.sort_by(|one, other| one.place.cmp(&other.place));
        errors.dedup();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors { file: file.into(), errors }),
        }
    }
}

/// The name among `known` that `typed` was probably meant to be.
pub(crate) fn meant<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    let near = |name: &&str| distance(&typed, &name.to_ascii_lowercase()) <= 1 + name.len() / 4;
    known.into_iter().filter(near).min_by_key(|name| distance(&typed, &name.to_ascii_lowercase()))
}

/// How many letters to add, drop, change or swap with their neighbour to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(64).collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_what_was_meant() {
        let known = ["required", "optional", "report", "open"];
        for (typed, expected) in [
            ("requird", Some("required")),
            ("Required", Some("required")),
            ("reprot", Some("report")),
            ("opne", Some("open")),
            ("bearer", None),
            ("", None),
        ] {
            assert_eq!(meant(typed, known), expected, "{typed}");
        }
    }
}
