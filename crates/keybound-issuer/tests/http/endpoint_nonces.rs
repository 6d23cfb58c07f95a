//! Each endpoint that takes proofs by a nonce policy of its own, and what it shares with the others all the same.

use std::sync::Arc;

use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::aws_lc::AwsLc;
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::verify::NoncePolicy::{self, Off, Offer, Require};
use keybound::verify::Verifier;
use keybound_issuer::ProofEndpoint::{self, DeviceAuthorization, Par, Token, Userinfo};
use keybound_issuer::{Clock, Issuer, IssuerConfig, Keys};
use sha2::{Digest as _, Sha256};

use crate::people::{Parameters, form, proof_for, to_local};
use crate::support::{Answer, HOLDER, Jws, MARK, SECRET, Server, Setup};

/// A client of an issuer where all endpoints but one have one policy.
struct Caller {
    server: Server,
    /// For the claims of its user.
    token: String,
}

impl Caller {
    fn of(setup: Setup) -> Self {
        let server = setup.approving().start();
        let code = server.code(&Parameters::authorization().set("scope", "openid"));
        let redeem = |proof: &Jws| server.token(&form("/token", &Parameters::redemption(&code)).dpop(proof));
        let first = redeem(&proof_for(&server, &HOLDER, "/token"));
        let answer = match first.field("dpop-nonce") {
            Some(nonce) if first.status == 400 => redeem(&proof_for(&server, &HOLDER, "/token").claim("nonce", nonce)),
            _ => first,
        };
        let token = answer.access_token().text;
        Self { server, token }
    }

    /// Where one endpoint has this policy and the others have that one.
    fn where_one_has(endpoint: ProofEndpoint, policy: NoncePolicy, others: NoncePolicy) -> Self {
        Self::of(Setup::new().nonces(others).nonces_at(endpoint, policy))
    }

    fn proof(&self, at: ProofEndpoint) -> Jws {
        let proof = proof_for(&self.server, &HOLDER, &format!("/{at}"));
        if at != Userinfo {
            return proof;
        }
        proof.claim("htm", "GET").claim("ath", encode_base64url(&Sha256::digest(self.token.as_bytes())))
    }

    fn send(&self, at: ProofEndpoint, proof: &Jws) -> Answer {
        let path = format!("/{at}");
        let of_machine = || Parameters::none().set("grant_type", "client_credentials");
        let request = match at {
            Token => form(&path, &of_machine()).basic("basic", SECRET),
            Par => form(&path, &Parameters::authorization()),
            DeviceAuthorization => form(&path, &Parameters::of_app().set("scope", "read")),
            _ => to_local("GET /userinfo").field(format!("Authorization: DPoP {}", self.token)),
        };
        self.server.raw(request.dpop(proof).octets())
    }

    /// The nonce that came along, if one did.
    #[track_caller]
    fn is_served(&self, at: ProofEndpoint, proof: &Jws) -> Option<String> {
        let answer = self.send(at, proof);
        let status = if at == Par { 201 } else { 200 };
        assert_eq!(answer.status, status, "{at}: {answer:?}");
        answer.field("dpop-nonce").map(str::to_owned)
    }

    /// The nonce that comes with a refusal by this reason.
    #[track_caller]
    fn demanded(&self, at: ProofEndpoint, proof: &Jws, code: &str) -> String {
        let answer = self.send(at, proof);
        let (status, name) = if at == Userinfo { (401, "reason") } else { (400, "error_description") };
        assert_eq!((answer.status, answer.error().0.as_str()), (status, "use_dpop_nonce"), "{at}: {answer:?}");
        assert_eq!(answer.json()[name], code, "{at}");
        answer.field("dpop-nonce").expect("a nonce").to_owned()
    }

    #[track_caller]
    fn refused(&self, at: ProofEndpoint, proof: &Jws, code: &str) {
        let answer = self.send(at, proof);
        let name = if at == Userinfo { "reason" } else { "error_description" };
        assert_eq!((answer.json()[name].as_str(), answer.field("dpop-nonce")), (Some(code), None), "{at}: {answer:?}");
    }
}

// R-NONCE-01, R-NONCE-05, R-NONCE-06, R-NONCE-07: one thing wrong at a time.
#[test]
fn one_endpoint_demands_them() {
    for at in ProofEndpoint::ALL {
        let caller = Caller::where_one_has(at, Require, Off);
        let nonce = caller.demanded(at, &caller.proof(at), "nonce.missing");
        for foreign in [MARK, "", &nonce[1..]] {
            caller.demanded(at, &caller.proof(at).claim("nonce", foreign), "nonce.unknown");
        }
        caller.refused(
            at,
            &caller.proof(at).claim("nonce", nonce.as_str()).claim("htu", "https://b.example/"),
            "htu.mismatch",
        );
        caller.is_served(at, &caller.proof(at).claim("nonce", nonce.as_str()));
        let others = ProofEndpoint::ALL.into_iter().filter(|other| *other != at);
        for other in others {
            assert_eq!(caller.is_served(other, &caller.proof(other)), None, "{other} has none beside {at}");
            assert_eq!(caller.is_served(other, &caller.proof(other).claim("nonce", MARK)), None, "{other} beside {at}");
        }
        caller.server.turn(301);
        caller.demanded(at, &caller.proof(at).claim("nonce", nonce), "nonce.stale");
    }
}

// R-NONCE-22: and the others demand them as before.
#[test]
fn one_endpoint_has_none() {
    for at in ProofEndpoint::ALL {
        let caller = Caller::where_one_has(at, Off, Require);
        assert_eq!(caller.is_served(at, &caller.proof(at)), None, "{at}");
        assert_eq!(caller.is_served(at, &caller.proof(at).claim("nonce", MARK)), None, "{at}");
        // No nonce is the way out for a clock that is wrong.
        caller.refused(at, &caller.proof(at).claim("iat", caller.server.now() - 301), "iat.past");
        for other in ProofEndpoint::ALL.into_iter().filter(|other| *other != at) {
            let nonce = caller.demanded(other, &caller.proof(other), "nonce.missing");
            caller.is_served(other, &caller.proof(other).claim("nonce", nonce));
        }
    }
}

// R-NONCE-10, R-NONCE-12
#[test]
fn one_endpoint_offers_them() {
    for at in ProofEndpoint::ALL {
        let caller = Caller::where_one_has(at, Offer, Off);
        let nonce = caller.is_served(at, &caller.proof(at)).expect("a nonce with the first success");
        caller.demanded(at, &caller.proof(at).claim("nonce", MARK), "nonce.unknown");
        let late = |caller: &Caller| caller.proof(at).claim("iat", caller.server.now() - 7200);
        caller.demanded(at, &late(&caller), "iat.past");
        caller.is_served(at, &late(&caller).claim("nonce", nonce.as_str()));
        // A new one past half of its life.
        caller.server.turn(160);
        assert!(caller.is_served(at, &caller.proof(at).claim("nonce", nonce)).is_some(), "{at}");
    }
}

// R-NONCE-13: the endpoints of the authorization server have nonces in common, the protected resource has its own.
#[test]
fn nonces_are_those_of_the_server() {
    let caller = Caller::of(
        Setup::new().nonces(Off).nonces_at(Token, Require).nonces_at(Par, Offer).nonces_at(Userinfo, Require),
    );
    let nonce = caller.demanded(Token, &caller.proof(Token), "nonce.missing");
    for at in [Token, Par, DeviceAuthorization] {
        caller.is_served(at, &caller.proof(at).claim("nonce", nonce.as_str()));
    }
    let of_resource = caller.demanded(Userinfo, &caller.proof(Userinfo).claim("nonce", nonce), "nonce.unknown");
    caller.demanded(Token, &caller.proof(Token).claim("nonce", of_resource), "nonce.unknown");
}

// R-RS-01 holds whatever the policy: what was used once is refused, with its nonce and without one.
#[test]
fn used_proofs_stay_used() {
    for (at, policy) in ProofEndpoint::ALL.into_iter().flat_map(|at| [Off, Offer, Require].map(|policy| (at, policy))) {
        let caller = Caller::where_one_has(at, policy, if policy == Require { Off } else { Require });
        let mut proof = caller.proof(at);
        if policy == Require {
            let nonce = caller.demanded(at, &proof, "nonce.missing");
            proof = proof.claim("nonce", nonce);
        }
        caller.is_served(at, &proof);
        let again = caller.send(at, &proof);
        let name = if at == Userinfo { "reason" } else { "error_description" };
        assert_eq!(again.json()[name], "replay.seen", "{at} {policy:?}: {again:?}");
    }
}

/// The later of two settings counts.
#[test]
fn the_last_word_counts() {
    let caller = Caller::of(Setup::new().nonces(Off).nonces_at(Par, Require).nonces_at(Par, Offer));
    assert!(caller.is_served(Par, &caller.proof(Par)).is_some());
}

/// The profile of FAPI goes with nonces.
#[test]
fn off_is_not_for_fapi() {
    let start = |policy| {
        let clock = Clock::system();
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
        let server = AuthorizationServer::new(Verifier::builder(Arc::new(AwsLc), nonces).build().unwrap());
        let replays = MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, clock.now())).unwrap();
        let config = IssuerConfig::new("https://id.example.com", "https://api.example.com").fapi();
        let config = ProofEndpoint::ALL.into_iter().fold(config, |config, at| config.nonce_policy(at, policy));
        Issuer::new(config, Keys::generate().unwrap(), server, Arc::new(replays), clock)
    };
    assert!(start(Offer).is_ok() && start(Require).is_ok());
    let said = start(Off).unwrap_err().to_string();
    for at in ProofEndpoint::ALL {
        assert!(said.contains(&format!("nonces are off at the endpoint {at},")), "{said}");
    }
}
