//! `[limits]` and `[log]`

use std::collections::BTreeMap;

use crate::config::mistake::Mistakes;
use crate::config::section::Section;
use crate::config::source::{Located, Value};
use crate::config::{Limits, Log, LogFormat, LoggedDecisions, Place};

/// The limits where nothing is written.
pub(crate) fn default_limits() -> Limits {
    let nothing = Located { place: Place::Missing, value: Value::Table(BTreeMap::new()) };
    limits(Section::single(&nothing, "limits", &Mistakes::default())).expect("defaults are right: a test reads each")
}

pub(super) fn limits(section: Section<'_>) -> Option<Limits> {
    let connections = section.count("connections");
    let streams = section.count("streams");
    let header_bytes = bounded_size(&section, "header_bytes", 4 << 10, 1 << 20, "4KiB to 1MiB");
    let header_fields = section.count("header_fields");
    let body_bytes = section.size("body_bytes");
    let upstream_idle = section.count("upstream_idle");
    let time = |name| section.duration(name).map(|span| span.value);
    let header_timeout = time("header_timeout");
    let handshake_timeout = time("handshake_timeout");
    let idle_timeout = time("idle_timeout");
    let client_timeout = time("client_timeout");
    let request_timeout = time("request_timeout");
    let connect_timeout = time("connect_timeout");
    let response_timeout = time("response_timeout");
    let stream_timeout = time("stream_timeout");
    let tunnel_timeout = time("tunnel_timeout");
    let upstream_idle_timeout = time("upstream_idle_timeout");
    let drain_delay = time("drain_delay");
    let drain_timeout = time("drain_timeout");
    let drain_idle_timeout = time("drain_idle_timeout");
    section.finish();
    Some(Limits {
        connections: connections?.value,
        streams: streams?.value,
        header_bytes: header_bytes?,
        header_fields: header_fields?.value,
        body_bytes: body_bytes?.value,
        header_timeout: header_timeout?,
        handshake_timeout: handshake_timeout?,
        idle_timeout: idle_timeout?,
        client_timeout: client_timeout?,
        request_timeout: request_timeout?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        stream_timeout: stream_timeout?,
        tunnel_timeout: tunnel_timeout?,
        upstream_idle: upstream_idle?.value,
        upstream_idle_timeout: upstream_idle_timeout?,
        drain_delay,
        drain_timeout: drain_timeout?,
        drain_idle_timeout: drain_idle_timeout?,
    })
}

fn bounded_size(section: &Section<'_>, name: &str, least: u64, most: u64, shown: &str) -> Option<usize> {
    let size = section.size(name)?;
    if !(least..=most).contains(&size.value) {
        section.mistake(name, &size.place, format!("is out of range; use {shown}"));
        return None;
    }
    usize::try_from(size.value).ok()
}

pub(super) fn log(section: Section<'_>) -> Option<Log> {
    let format = section.choice("format", "a form of the log", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let decisions = section.choice("decisions", "a choice of decisions", |text| match text {
        "refused" => Some(LoggedDecisions::Refused),
        "all" => Some(LoggedDecisions::All),
        _ => None,
    });
    section.finish();
    Some(Log { format: format?.value, decisions: decisions?.value })
}
