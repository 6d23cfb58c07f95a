//! `keybound issuer audit`: the audit log in the store of an issuer.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use clap::Args;
use keybound::time::UnixTime;
use keybound_issuer::admin::Administration;
use keybound_issuer::audit::{Events, MOST_LISTED, Noted, Query};

use super::entry::{as_json, as_text};
use super::place::{Place, failure};
use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::token::block_on;

/// How often is looked for new entries.
const PAUSE: Duration = Duration::from_secs(1);

/// An entry can stand behind others of the same time when it was begun before them: so far back is looked again.
const OVERLAP: u64 = 15;

/// Show what happened at an issuer: tokens issued, requests refused and why, what was revoked, who signed in, what was changed
///
/// The earliest entry comes first. There is never a token, a secret or a proof in one: a token is told by its jti and by the beginning of
/// its digest, which a gateway logs as token_sha256 too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound issuer audit --config issuer.toml --since 1h
  keybound issuer audit --config issuer.toml --event request.refused --client orders --json
  keybound issuer audit --config issuer.toml --follow --limit 10")]
pub(super) struct Entries {
    #[command(flatten)]
    place: Place,
    /// What happened: token.issued for example, or client. for all that begin so
    #[arg(long)]
    event: Option<Events>,
    /// The client_id
    #[arg(long)]
    client: Option<String>,
    /// sub of the user
    #[arg(long)]
    subject: Option<String>,
    /// The reason code of a refusal
    #[arg(long)]
    reason: Option<String>,
    /// How long ago it was at most: 30m, 12h, 7d; or a time, like 2026-01-31T12:00:00Z
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// So many of the latest; with --follow, so many from before, and then all that follow
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=100_000))]
    limit: u32,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

fn now() -> u64 {
    UnixTime::from(SystemTime::now()).as_secs()
}

fn moment(text: &str) -> std::result::Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    for (unit, seconds) in units {
        if let Some(Ok(number)) = text.strip_suffix(unit).map(str::parse::<u64>) {
            return Ok(now().saturating_sub(number.saturating_mul(seconds)));
        }
    }
    let moment: jiff::Timestamp =
        text.parse().map_err(|_| "neither a span like 12h nor a time like 2026-01-31T12:00:00Z".to_owned())?;
    Ok(u64::try_from(moment.as_second()).unwrap_or(0))
}

impl Entries {
    pub(super) fn run(&self) -> Result {
        let place = self.place.open()?;
        // Whatever is left out at first is so for good: looked for again, it would come behind what is later.
        let mut shown = if self.follow { self.known(&place)? } else { HashSet::new() };
        let latest = self.read(&place, self.since, self.limit as usize)?;
        shown.extend(latest.iter().map(|noted| noted.id.clone()));
        show(latest, self.json)?;
        if !self.follow {
            return Ok(Outcome::Done);
        }
        loop {
            output::pause(PAUSE)?;
            let found = self.read(&place, Some(now().saturating_sub(OVERLAP)), usize::MAX)?;
            // What cannot come again need not be known.
            let still = found.iter().map(|noted| noted.id.clone()).collect();
            show(found.into_iter().filter(|noted| !shown.contains(&noted.id)).collect(), self.json)?;
            shown = still;
        }
    }

    /// What is there already of all that is looked at again.
    fn known(&self, place: &Administration) -> std::result::Result<HashSet<Box<str>>, Failure> {
        let found = self.read(place, Some(now().saturating_sub(OVERLAP)), usize::MAX)?;
        Ok(found.into_iter().map(|noted| noted.id).collect())
    }

    /// The latest of those that fit.
    fn read(
        &self,
        place: &Administration,
        since: Option<u64>,
        most: usize,
    ) -> std::result::Result<Vec<Noted>, Failure> {
        let text = |text: &Option<String>| text.as_deref().map(Box::from);
        let mut query = Query::default();
        query.event = self.event.clone();
        query.client = text(&self.client);
        query.subject = text(&self.subject);
        query.reason = text(&self.reason);
        query.since = since;
        let mut found = Vec::new();
        while found.len() < most {
            query.limit = Some((most - found.len()).min(MOST_LISTED));
            let page = block_on(place.entries(&query))?.map_err(failure("entry"))?;
            found.extend(page.entries);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// The earliest first.
fn show(found: Vec<Noted>, json: bool) -> std::result::Result<(), Failure> {
    found.iter().rev().try_for_each(|noted| output::line(if json { as_json(noted) } else { as_text(&noted.entry) }))
}
