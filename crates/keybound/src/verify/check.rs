//! One proof under examination: a check for each step of RFC 9449 section 4.3, and their order.

use core::time::Duration;
use std::sync::Arc;

use http::Method;
use subtle::ConstantTimeEq as _;

use super::known::KnownHeader;
use super::{Expected, FUTURE_CAP, IAT_WITH_NONCE, NoncePolicy, Recorder, Verifier};
use crate::nonce::Verdict;
use crate::proof::{Ath, Htm, ParsedProof, Seconds};
use crate::refusal::{Reason, Refusal};
use crate::replay::Epoch;
use crate::request::TargetUri;
use crate::time::UnixTime;

type Check<'c> = fn(&mut Checking<'c>) -> Result<(), Refusal>;

/// One proof, what it must speak about, and what was found so far.
pub(super) struct Checking<'c> {
    verifier: &'c Verifier,
    proof: &'c ParsedProof<'c>,
    expected: &'c Expected<'c>,
    epoch: Epoch,
    now: UnixTime,
    pub(super) key: Option<Arc<KnownHeader>>,
    pub(super) freshness: Option<Freshness>,
    nonce_issued: Option<UnixTime>,
    nonce_due: bool,
}

/// The times of a proof that is fresh.
pub(super) struct Freshness {
    pub(super) iat: UnixTime,
    pub(super) nonce_issued: Option<UnixTime>,
    pub(super) nonce_due: bool,
}

impl<'c> Checking<'c> {
    /// In the precedence of R-ERR-20: nobody is told about claims they did not sign.
    const ALL: [(&'static str, &'static str, Check<'c>); 8] = [
        ("alg", "4.3(5)", Self::alg),
        ("signature", "4.3(6)", Self::signature),
        ("claims", "4.3(3)", Self::claims),
        ("htm", "4.3(8)", Self::htm),
        ("htu", "4.3(9)", Self::htu),
        ("nonce", "4.3(10)", Self::nonce),
        ("time", "4.3(11)", Self::time),
        ("ath", "4.3(12)", Self::ath),
    ];

    pub(super) const fn new(
        verifier: &'c Verifier,
        proof: &'c ParsedProof<'c>,
        expected: &'c Expected<'c>,
        epoch: Epoch,
        now: UnixTime,
    ) -> Self {
        Self { verifier, proof, expected, epoch, now, key: None, freshness: None, nonce_issued: None, nonce_due: false }
    }

    /// Stops at the first failure.
    pub(super) fn run(&mut self) -> Result<(), Refusal> {
        Self::ALL.iter().try_for_each(|(_, _, check)| check(self))
    }

    /// Runs them all.
    pub(super) fn examine(mut self) -> Examination {
        let findings = Self::ALL
            .iter()
            .map(|(name, step, check)| Finding { name, step, refusal: check(&mut self).err() })
            .collect();
        Examination { findings }
    }

    /// (5) The algorithm is on this server's list.
    fn alg(&mut self) -> Result<(), Refusal> {
        let alg = self.proof.alg();
        if self.verifier.settings.algs.contains(alg) {
            Ok(())
        } else {
            let allowed = self.verifier.settings.algs;
            Err(Refusal::with_detail(Reason::AlgUnsupported, format!("got {alg}, allowed are {allowed}")))
        }
    }

    /// (6) The signature verifies under the key in the header, over the octets received.
    fn signature(&mut self) -> Result<(), Refusal> {
        let known = match self.key.take() {
            Some(known) => known,
            None => {
                let header = self.proof.header.clone();
                let key = self.verifier.settings.crypto.prepare(&header.jwk, header.alg)?;
                Arc::new(KnownHeader { jkt: header.jwk.thumbprint(), key, header })
            }
        };
        let signed = self.proof.compact.signing_input.as_bytes();
        known.key.verify(signed, self.proof.signature.as_slice()).map_err(|_| Reason::SignatureInvalid)?;
        self.key = Some(known);
        Ok(())
    }

    /// (3) All required claims are there, and each has its type.
    fn claims(&mut self) -> Result<(), Refusal> {
        let claims = &self.proof.claims;
        let htu = self.normal_htu();
        let required =
            [claims.jti.as_ref().err(), claims.htm.as_ref().err(), htu.as_ref().err(), claims.iat.as_ref().err()];
        let optional = [
            claims.exp.as_ref().err(),
            claims.nbf.as_ref().err(),
            claims.ath.as_ref().err(),
            claims.nonce.as_ref().err(),
        ];
        match required.into_iter().chain(optional).flatten().next() {
            Some(reason) => Err((*reason).into()),
            None => Ok(()),
        }
    }

    /// (8) `htm` is the method, octet for octet.
    fn htm(&mut self) -> Result<(), Refusal> {
        let sent = self.expected.method;
        match &self.proof.claims.htm {
            Ok(Htm::Method(method)) if method == sent => Ok(()),
            Ok(found) => Err(Refusal::with_detail(Reason::HtmMismatch, other_method(found, sent))),
            Err(reason) => Err((*reason).into()),
        }
    }

    /// (9) `htu` is the target URI, both in normal form.
    fn htu(&mut self) -> Result<(), Refusal> {
        let target = self.expected.target;
        match self.normal_htu()? {
            None => Ok(()),
            Some(htu) if htu == *target => Ok(()),
            Some(htu) => Err(Refusal::with_detail(Reason::HtuMismatch, difference(htu.as_str(), target.as_str()))),
        }
    }

    /// The normal form of `htu`; nothing if it is the very text of the target, whose normal form is known.
    fn normal_htu(&self) -> Result<Option<TargetUri>, Reason> {
        let htu = self.proof.claims.htu.as_deref().map_err(|reason| *reason)?;
        if htu == self.expected.target.as_str() {
            return Ok(None);
        }
        TargetUri::parse(htu).map(Some).map_err(|_| Reason::HtuInvalid)
    }

    /// (10) The nonce is one of ours, where one is due. Under `Off` it is judged only while a barrier stands, for then it
    /// alone tells that the proof was made under this epoch. Where a service behind records the proof, the nonce is that
    /// service's.
    fn nonce(&mut self) -> Result<(), Refusal> {
        let settings = &self.verifier.settings;
        let nonce = self.proof.claims.nonce.as_ref().map_err(|reason| *reason)?.as_deref();
        if self.expected.recorder == Recorder::Upstream {
            return Ok(());
        }
        let Some(nonce) = nonce else {
            self.nonce_due = settings.policy != NoncePolicy::Off;
            return match settings.policy {
                NoncePolicy::Require => Err(Reason::NonceMissing.into()),
                _ => Ok(()),
            };
        };
        // A proof with a nonce may have an `iat` a day off, so that it could come into the window long after a restart.
        if settings.policy == NoncePolicy::Off && !self.barrier_stands(IAT_WITH_NONCE) {
            return Ok(());
        }
        match settings.nonces.judge(nonce, self.expected.purpose, self.now) {
            Verdict::Current { issued } => self.nonce_issued = Some(issued),
            Verdict::Aging { issued } => {
                self.nonce_issued = Some(issued);
                self.nonce_due = true;
            }
            Verdict::Stale => return Err(Reason::NonceStale.into()),
            Verdict::Unknown => return Err(Reason::NonceUnknown.into()),
        }
        Ok(())
    }

    /// (11) The proof is of now: by its nonce if it has one of ours, else by `iat`. Inside the window, it was not accepted
    /// before the replay memory began.
    fn time(&mut self) -> Result<(), Refusal> {
        let iat = self.proof.claims.iat?;
        let here = self.expected.recorder == Recorder::Here;
        let barrier = here && self.nonce_issued.is_none() && self.barrier_stands(FUTURE_CAP);
        self.window(iat, barrier)?;
        if barrier && iat.floor() <= self.epoch.opened().plus(FUTURE_CAP) {
            return Err(Reason::NonceBarrier.into());
        }
        self.lifetime_claims()?;
        self.freshness =
            Some(Freshness { iat: iat.floor(), nonce_issued: self.nonce_issued, nonce_due: self.nonce_due });
        Ok(())
    }

    /// `iat` lies in the window. The client recovers by a nonce where one widens it, and at a barrier, where any other proof
    /// would be asked for one as well.
    fn window(&self, iat: Seconds, barrier: bool) -> Result<(), Refusal> {
        let settings = &self.verifier.settings;
        let timed_by_nonce = self.nonce_issued.is_some();
        let (past, future) = match settings.iat_with_nonce {
            // Under `Off` the nonce is no longer looked at once the barrier is gone: no `iat` that would then be fresh.
            Some(wide) if timed_by_nonce && settings.policy == NoncePolicy::Off => (wide, settings.max_future),
            Some(wide) if timed_by_nonce => (wide, wide),
            _ => (settings.max_age, settings.max_future),
        };
        let reason = if iat.floor().plus(past) < self.now {
            Reason::IatPast
        } else if iat.ceil() > self.now.plus(future) {
            Reason::IatFuture
        } else {
            return Ok(());
        };
        let detail =
            format!("iat is {}, now is {}, allowed are {past:?} past and {future:?} ahead", iat.floor(), self.now);
        let refusal = Refusal::with_detail(reason, detail);
        let here = self.expected.recorder == Recorder::Here;
        let by_nonce = here && settings.policy != NoncePolicy::Off && settings.iat_with_nonce.is_some();
        let widens = by_nonce && !timed_by_nonce;
        Err(if widens || barrier { refusal.recoverable_by_nonce() } else { refusal })
    }

    /// `exp` and `nbf` need not be there; if they are, they hold, with the allowance of `iat` (R-PRF-37).
    fn lifetime_claims(&self) -> Result<(), Refusal> {
        let allowance = self.verifier.settings.max_future;
        if self.proof.claims.exp?.is_some_and(|exp| exp.floor().plus(allowance) <= self.now) {
            return Err(Reason::ExpPast.into());
        }
        if self.proof.claims.nbf?.is_some_and(|nbf| nbf.ceil() > self.now.plus(allowance)) {
            return Err(Reason::NbfFuture.into());
        }
        Ok(())
    }

    /// (12), first half: `ath` is the hash of this very token, compared in constant time.
    fn ath(&mut self) -> Result<(), Refusal> {
        let Some(expected) = &self.expected.ath else {
            return Ok(());
        };
        match &self.proof.claims.ath {
            Ok(Some(Ath::Digest(digest))) if bool::from(digest.ct_eq(expected)) => Ok(()),
            Ok(Some(_)) => Err(Reason::AthMismatch.into()),
            Ok(None) => Err(Reason::AthMissing.into()),
            Err(reason) => Err((*reason).into()),
        }
    }

    /// Whether a proof from before this epoch, with an `iat` up to `ahead` after its beginning, could still be in the window.
    fn barrier_stands(&self, ahead: Duration) -> bool {
        let settings = &self.verifier.settings;
        let longest = ahead.saturating_add(settings.max_age.max(settings.nonces.lifetime()));
        self.now <= self.epoch.opened().plus(longest)
    }
}

/// Both sides and where they part, for the log: the most common trouble users have.
fn difference(htu: &str, target: &str) -> String {
    let common = htu.bytes().zip(target.bytes()).take_while(|(left, right)| left == right).count();
    let show = |text: &str| text.chars().take(256).collect::<String>();
    let rest = |text: &str| text.get(common..).unwrap_or_default().chars().take(32).collect::<String>();
    format!(
        "htu is {:?}, the request is for {:?}; they part at octet {common}: {:?} against {:?}",
        show(htu),
        show(target),
        rest(htu),
        rest(target)
    )
}

/// Both methods, quoted, escaped and cut: each is as long as a client likes.
fn other_method(htm: &Htm, sent: &Method) -> String {
    let show = |method: &Method| method.as_str().chars().take(32).collect::<String>();
    match htm {
        Htm::Method(htm) => format!("htm is {:?}, the request is {:?}", show(htm), show(sent)),
        Htm::NoMethod => format!("htm is no method, the request is {:?}", show(sent)),
    }
}

/// What every check said of one proof.
#[derive(Debug)]
#[must_use = "an examination is for reading"]
pub struct Examination {
    findings: Vec<Finding>,
}

impl Examination {
    /// One finding a check, in the order of precedence.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// What one check said.
#[derive(Debug)]
pub struct Finding {
    name: &'static str,
    step: &'static str,
    refusal: Option<Refusal>,
}

impl Finding {
    /// What was checked.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The step of RFC 9449.
    pub const fn step(&self) -> &'static str {
        self.step
    }

    /// Why it failed, if it did.
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }
}
