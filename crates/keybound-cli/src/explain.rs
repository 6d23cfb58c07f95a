//! `keybound explain`: takes a proof apart and shows every check with its verdict, or explains a reason code.

mod report;

use std::io::Read as _;
use std::sync::Arc;

use clap::Args;
use http::Method;
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::proof::{ParsedProof, decode_for_display};
use keybound::refusal::Reason;
use keybound::replay::Epoch;
use keybound::request::{AccessToken, ProofField, TargetUri};
use keybound::time::UnixTime;
use keybound::verify::{NoncePolicy, Verifier};
use keybound_gateway::reasons::Row;
use serde_json::Value;

use self::report::{Check, Report, Verdict};
use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::style::{PLAIN, STRONG};

/// Take a proof apart and show every check, or explain a reason code
///
/// The signature, the claims and the times are checked as a server would. Method, URI and token are compared if they are
/// given; a nonce can be judged by its server alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound explain -X GET --url https://api.example.com/orders eyJ0eXAiOiJkcG9wK2p3dCIs…
  keybound explain htu.mismatch
  keybound explain --json - < proof.txt")]
pub(crate) struct Explain {
    /// The method the proof must be for
    #[arg(short = 'X', long = "method", value_name = "METHOD")]
    method: Option<Method>,
    /// The URL the proof must be for
    #[arg(long, value_name = "URL")]
    url: Option<TargetUri>,
    /// The access token the proof must be for
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, env = "KEYBOUND_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Judge the times as of then: seconds since 1970, or like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<UnixTime>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A proof, with or without "DPoP:" before it; a reason code; or - for a proof from standard input
    #[arg(value_name = "PROOF | REASON-CODE")]
    subject: String,
}

impl Explain {
    pub(crate) fn run(&self) -> Result {
        let subject = if self.subject == "-" { from_stdin()? } else { self.subject.clone() };
        let subject = without_name(subject.trim());
        if self.subject.trim().is_empty() {
            return Err(Failure::usage(
                "there is nothing to explain: give a proof, a reason code, or - for standard input",
            ));
        }
        if let Some(row) = Row::of(subject) {
            self.print_row(&row)?;
            return Ok(Outcome::Done);
        }
        if subject.len() < 40 && subject.split('.').count() == 2 {
            return Err(Failure::usage(format!("{subject:?} is no reason code{}", nearest(subject))));
        }
        let report = self.examine(subject)?;
        report.print(self.json)?;
        Ok(if report.is_good() { Outcome::Done } else { Outcome::Refused })
    }

    fn examine(&self, text: &str) -> std::result::Result<Report, Failure> {
        let token = match &self.token {
            Some(token) => {
                Some(AccessToken::parse(token).ok_or_else(|| Failure::usage("the token of --token is no token68"))?)
            }
            None => None,
        };
        let now = self.at.unwrap_or_else(|| std::time::SystemTime::now().into());
        let [header, payload] = decode_for_display(text);
        let mut report = Report { header, payload, jkt: None, at: now, checks: Vec::new() };
        let parsed = ProofField::from_octets(text.as_bytes()).and_then(ParsedProof::parse);
        let proof = match parsed {
            Ok(proof) => proof,
            Err(refusal) => {
                report.checks.push(Check::new("form", "4.3(1) to (5), (7)", Verdict::Refused(refusal)));
                return Ok(report);
            }
        };
        report.checks.push(Check::new("form", "4.3(1) to (5), (7)", Verdict::Passed));
        report.jkt = Some(proof.jwk().clone());
        self.check_claims(&proof, token, &mut report)?;
        self.check_binding(&mut report);
        Ok(report)
    }

    /// Everything the verifier checks; what nothing was given for is compared with the proof itself and marked so.
    fn check_claims(
        &self,
        proof: &ParsedProof<'_>,
        token: Option<AccessToken<'_>>,
        report: &mut Report,
    ) -> std::result::Result<(), Failure> {
        let claim = |name: &str| report.payload.as_ref().and_then(|payload| payload.get(name)?.as_str());
        let method = self.method.clone().or_else(|| claim("htm")?.parse().ok()).unwrap_or_default();
        let url = self.url.clone().or_else(|| claim("htu")?.parse().ok());
        let anywhere = TargetUri::parse("https://localhost/").map_err(Failure::failed)?;
        let has_nonce = claim("nonce").is_some();

        let secret = random_array().map_err(Failure::failed)?;
        let verifier = Verifier::builder(Arc::new(AwsLc), Arc::new(StatelessNonces::new(NonceKey::new(0, secret))))
            .nonce_policy(NoncePolicy::Off)
            .build()
            .map_err(Failure::failed)?;
        // An epoch from before every proof: no barrier stands here.
        let epoch = Epoch::new(0, UnixTime::from_secs(0));
        let examination = verifier.examine(proof, &method, url.as_ref().unwrap_or(&anywhere), token, epoch, report.at);
        for finding in examination.findings() {
            let verdict = match (finding.name(), finding.refusal()) {
                ("htm", None) if self.method.is_none() => Verdict::Open("give -X to compare it with a method"),
                ("htu", None) if self.url.is_none() => Verdict::Open("give --url to compare it with a URL"),
                ("ath", None) if self.token.is_none() => Verdict::Open("give --token to compare it with a token"),
                ("nonce", None) if has_nonce => Verdict::Open("only the server that gave it can judge it"),
                ("nonce", None) => Verdict::Open("there is none; a server may demand one"),
                (_, None) => Verdict::Passed,
                (_, Some(refusal)) => Verdict::Refused(refusal.clone()),
            };
            report.checks.push(Check::new(finding.name(), finding.step(), verdict));
        }
        Ok(())
    }

    /// Whether the token, if it is a JWT, names this key. Its signature is not checked: that takes the issuer's keys.
    fn check_binding(&self, report: &mut Report) {
        let Some(token) = &self.token else { return };
        let claims = decode_for_display(token)[1].take();
        let jkt = claims.as_ref().and_then(|claims| claims.get("cnf")?.get("jkt")?.as_str());
        let key = report.jkt.as_ref().map(|jwk| jwk.thumbprint().to_string());
        let verdict = match (jkt, key) {
            (Some(jkt), Some(key)) if jkt == key => Verdict::Passed,
            (Some(_), _) => Verdict::Refused(Reason::KeyMismatch.into()),
            (None, _) if claims.is_some() => Verdict::Refused(Reason::TokenUnbound.into()),
            (None, _) => Verdict::Open("the token is opaque; its issuer knows what it is bound to"),
        };
        report.checks.push(Check::new("binding", "4.3(12)", verdict));
    }

    fn print_row(&self, row: &Row) -> std::result::Result<(), Failure> {
        if self.json {
            output::line(format_args!("{:#}", row.json()))
        } else {
            let Row { code, rule, answer, meaning, advice, .. } = row;
            output::styled(format_args!("{STRONG}{code}{PLAIN}  {meaning}"))?;
            output::line(format_args!("  rule    {rule}\n  answer  {answer}\n  do      {advice}"))
        }
    }
}

/// The value of a field that was copied with its name.
fn without_name(text: &str) -> &str {
    match text.split_once(':') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("dpop") => value.trim(),
        _ => text,
    }
}

/// The codes of the same subject, for somebody who mistyped one.
fn nearest(code: &str) -> String {
    let subject = code.split('.').next().unwrap_or_default();
    let known: Vec<_> = Row::all().map(|row| row.code).filter(|known| known.starts_with(subject)).collect();
    if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) }
}

fn from_stdin() -> std::result::Result<String, Failure> {
    let mut text = String::new();
    let most = u64::try_from(keybound::request::MAX_PROOF * 4).unwrap_or(u64::MAX);
    std::io::stdin()
        .take(most)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
    Ok(text)
}

/// Seconds since 1970, or a timestamp of RFC 3339.
pub(crate) fn time(text: &str) -> std::result::Result<UnixTime, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(UnixTime::from_secs(seconds));
    }
    let moment: jiff::Timestamp =
        text.parse().map_err(|_| "neither seconds since 1970 nor like 2026-01-31T12:00:00Z".to_owned())?;
    Ok(UnixTime::from_secs(u64::try_from(moment.as_second()).unwrap_or(0)))
}

/// JSON of a claim set, with times a person can read beside the numbers.
fn moment(time: UnixTime) -> Value {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or(Value::Null, |moment| moment.to_string().into())
}
