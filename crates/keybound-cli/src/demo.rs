//! `keybound demo`: the tour. A real issuer and a real gateway, a client that calls an API, and a thief who has all that can be
//! stolen on the way and gets nothing.

mod attack;
mod cast;
mod draft;
mod loot;
mod report;
mod service;
mod wire;

use std::time::{Duration, SystemTime};

use clap::Args;
use http::Method;
use keybound::refusal::Reason;
use keybound::time::UnixTime;
use tokio::signal::unix::{SignalKind, signal};

use self::attack::{ACTS, AFTER_RESTART, Attack, READY_FOR_RESTART};
use self::cast::Cast;
use self::loot::Loot;
use self::report::{Finding, Report};
use crate::outcome::{Failure, Outcome, Result};
use crate::token::block_on;

type Done = std::result::Result<(), Failure>;

/// Show what a stolen token is worth
///
/// Starts an issuer and a gateway on free ports of loopback, in a temporary directory; a client gets a bound token and calls
/// an API. Then a thief tries everything that can be done with what was stolen, and each answer is shown with its reason. The
/// status is 0 if every honest request passed and every attack was refused for its own reason, else 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound demo
  keybound demo --json | jq '.[] | select(.ok | not)'")]
pub(crate) struct Demo {
    /// Print one JSON array: case, kind, status, error, reason, expected_reason and ok of each request
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) fn run(&self) -> Result {
        let mut report = Report::new(self.json);
        block_on(async {
            let (mut interrupt, mut terminate) = (
                signal(SignalKind::interrupt()).map_err(Failure::failed)?,
                signal(SignalKind::terminate()).map_err(Failure::failed)?,
            );
            // Whichever ends first, the other is dropped, and with the tour go its processes and its directory.
            tokio::select! {
                done = tour(&mut report) => done,
                _ = interrupt.recv() => Err(Failure::failed("interrupted")),
                _ = terminate.recv() => Err(Failure::failed("terminated")),
            }
        })??;
        report.end()?;
        Ok(if report.is_good() { Outcome::Done } else { Outcome::Refused })
    }
}

async fn tour(report: &mut Report) -> Done {
    let mut cast = Cast::assemble().await?;
    report.begin(&cast)?;
    report.act("The client gets a token bound to its key, and calls the API.")?;
    honest(&cast, report, "first-request", Method::GET, "/hello").await?;
    honest(&cast, report, "second-request", Method::GET, "/hello").await?;
    honest(&cast, report, "post-request", Method::POST, "/orders/17").await?;
    for act in ACTS {
        report.act(act.title)?;
        let loot = Loot::gather(&cast).await?;
        attacks(&loot, report, act.attacks).await?;
        honest(&cast, report, act.then, Method::GET, "/hello").await?;
    }
    restart(&mut cast, report).await?;
    cast.end().await;
    Ok(())
}

/// The one proof that nothing but the barrier can refuse: no nonce, never expired, admitted once by the process before. A
/// client's clock may be a minute ahead, so there is one a second after the gateway's start.
async fn restart(cast: &mut Cast, report: &mut Report) -> Done {
    report.act("One more proof is captured: it has no nonce, and is good for another six minutes.")?;
    wait_for_the_second_after(cast.gateway_began()).await;
    let mut loot = Loot::gather(cast).await?;
    let ahead = loot.sign_ahead(Duration::from_secs(60))?;
    let answer = loot.send(ahead).await?;
    report.add(Finding::honest("clock-ahead", "a client whose clock is a minute ahead", &answer, 1))?;
    attacks(&loot, report, READY_FOR_RESTART).await?;
    report.act(
        "The gateway is killed (kill -9) and started again. Its memory of used proofs is gone, the issuer is not.",
    )?;
    cast.restart_gateway().await?;
    attacks(&loot, report, AFTER_RESTART).await?;
    honest(cast, report, "after-restart", Method::GET, "/hello").await?;
    honest(cast, report, "after-restart-again", Method::GET, "/hello").await
}

async fn wait_for_the_second_after(moment: UnixTime) {
    let next = moment.plus(Duration::from_secs(1));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    tokio::time::sleep(Duration::from_secs(next.as_secs()).saturating_sub(since)).await;
}

async fn attacks(loot: &Loot, report: &mut Report, attacks: &[Attack]) -> Done {
    for attack in attacks {
        let answer = loot.send((attack.build)(loot)?).await?;
        report.add(Finding::attack(attack.case, attack.tried, attack.reason, &answer))?;
    }
    Ok(())
}

async fn honest(cast: &Cast, report: &mut Report, case: &'static str, method: Method, path: &str) -> Done {
    let tried = format!("{method} {path} with a proof for it");
    let (answer, tries) = cast.call(method, path).await?;
    report.add(Finding::honest(case, tried, &answer, tries))
}

/// The row of a reason code, if it is one of ours.
fn meaning(code: &str) -> Option<&'static str> {
    Reason::from_code(code).map(|reason| reason.entry().meaning)
}
