//! `route.health`: how the addresses of a route are looked after.

use core::time::Duration;

use http::uri::PathAndQuery;

use super::section::{Section, shortened};

/// What is asked of each upstream address, and what its answers mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HealthCheck {
    /// What is asked for, with `GET`.
    pub path: PathAndQuery,
    /// From one answer to the next question.
    pub interval: Duration,
    /// For the answer to come, the connection included.
    pub timeout: Duration,
    /// So many good answers in a row bring an address back.
    pub healthy: u32,
    /// So many bad ones in a row put it last.
    pub unhealthy: u32,
}

/// `None` if anything is wrong; then there is a mistake that says what.
pub(super) fn health(section: Section<'_>) -> Option<HealthCheck> {
    let path = section.text("path", |text| match text.parse::<PathAndQuery>() {
        Ok(path) if text.starts_with('/') && !text.contains('#') => Ok(path),
        _ => Err(format!("{:?} is not a path; write it like \"/healthz\"", shortened(text))),
    });
    let interval = section.duration("interval");
    let timeout = section.duration("timeout");
    let healthy = section.count("healthy");
    let unhealthy = section.count("unhealthy");
    section.finish();
    Some(HealthCheck {
        path: path?.value,
        interval: interval?.value,
        timeout: timeout?.value,
        healthy: healthy?.value,
        unhealthy: unhealthy?.value,
    })
}
