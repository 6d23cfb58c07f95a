//! What `-v` shows, and what is said of an answer that is a refusal.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use keybound::challenge::DpopChallenge;
use keybound::refusal::{Fault, Reason};
use keybound_client::{Url, Watch};

use crate::output;
use crate::style::{BAD, FAINT, PLAIN, STRONG};

/// Shows requests and answers on standard error.
#[derive(Debug)]
pub(super) struct Verbose;

impl Watch for Verbose {
    fn sending(&self, method: &Method, url: &Url, fields: &HeaderMap) {
        output::aside(format_args!("{FAINT}>{PLAIN} {method} {url}"));
        fields_of('>', fields);
    }

    fn answered(&self, version: Version, status: StatusCode, fields: &HeaderMap) {
        output::aside(format_args!("{FAINT}<{PLAIN} {version:?} {status}"));
        fields_of('<', fields);
    }
}

fn fields_of(mark: char, fields: &HeaderMap) {
    for (name, value) in fields {
        output::aside(format_args!("{FAINT}{mark}{PLAIN} {name}: {}", shown(value)));
    }
    output::aside(format_args!("{FAINT}{mark}{PLAIN}"));
}

/// Of a secret its scheme at most; of anything else what a terminal can take.
fn shown(value: &HeaderValue) -> String {
    let text = plain(value);
    if value.is_sensitive() {
        let scheme = text.split_once(' ').map_or("", |(scheme, _)| scheme);
        return format!("{scheme} ***").trim_start().to_owned();
    }
    text
}

/// The value without control characters.
pub(super) fn plain(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.chars().filter(|char| !char.is_control()).collect()
}

/// Why an answer refuses, by its DPoP challenge.
pub(super) struct Why {
    pub(super) error: Option<String>,
    pub(super) code: Option<&'static str>,
    meaning: &'static str,
    pub(super) advice: &'static str,
    description: Option<String>,
}

impl Why {
    pub(super) fn of(fields: &HeaderMap) -> Option<Self> {
        let challenge = DpopChallenge::find(fields)?;
        let visible = |text: &str| text.chars().filter(|char| !char.is_control()).take(200).collect::<String>();
        let description = challenge.error_description();
        let reason = description.and_then(|code| {
            let reason = Reason::from_code(code).map(|reason| {
                let entry = reason.entry();
                (entry.code, entry.meaning, entry.advice)
            });
            let fault = || Fault::from_code(code).map(|fault| (fault.code(), fault.meaning(), fault.advice()));
            reason.or_else(fault)
        });
        let (code, meaning, advice) = match reason {
            Some((code, meaning, advice)) => (Some(code), meaning, advice),
            None => (None, "", ""),
        };
        Some(Self {
            error: challenge.error_text().map(visible),
            code,
            meaning,
            advice,
            description: description.map(visible),
        })
    }
}

/// Says on standard error that `url` was answered with an error, and why as far as the answer tells.
pub(super) fn refusal(url: &str, status: StatusCode, why: Option<&Why>, trouble: Option<&str>) {
    let error = why.and_then(|why| why.error.as_deref()).unwrap_or_default();
    output::aside(format_args!("{BAD}refused:{PLAIN} {url}: {status} {error}"));
    if let Some(trouble) = trouble {
        output::aside(format_args!("  {trouble}"));
    }
    let Some(why) = why else { return };
    match (why.code, &why.description) {
        (Some(code), _) => {
            output::aside(format_args!("  {STRONG}{code}{PLAIN}: {}", why.meaning));
            output::aside(format_args!("  do: {}", why.advice));
        }
        (None, Some(description)) => output::aside(format_args!("  the server says: {description}")),
        (None, None) => {}
    }
}
