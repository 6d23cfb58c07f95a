//! The barrier at the start, at every endpoint that takes a proof.

use keybound::jws::encode_base64url;
use keybound::verify::NoncePolicy;
use sha2::{Digest as _, Sha256};

use crate::people::{Parameters, form, proof_for, to_local};
use crate::support::{Answer, HOLDER, Jws, SECRET, START, Server, Setup};

const ENDPOINTS: [&str; 4] = ["/token", "/par", "/device_authorization", "/userinfo"];

/// A client that calls one of them.
struct Caller {
    server: Server,
    path: &'static str,
    /// For the claims of its user.
    token: String,
}

impl Caller {
    fn of(server: Server, path: &'static str) -> Self {
        let code = server.code(&Parameters::authorization().set("scope", "openid"));
        let redeem = |proof: &Jws| server.token(&form("/token", &Parameters::redemption(&code)).dpop(proof));
        let proof = || proof_for(&server, &HOLDER, "/token");
        let nonce = redeem(&proof()).field("dpop-nonce").expect("a nonce").to_owned();
        let token = redeem(&proof().claim("nonce", nonce)).access_token().text;
        Self { server, path, token }
    }

    fn proof(&self) -> Jws {
        let proof = proof_for(&self.server, &HOLDER, self.path);
        if self.path != "/userinfo" {
            return proof;
        }
        proof.claim("htm", "GET").claim("ath", encode_base64url(&Sha256::digest(self.token.as_bytes())))
    }

    fn send(&self, proof: &Jws) -> Answer {
        let of_machine = || Parameters::none().set("grant_type", "client_credentials");
        let request = match self.path {
            "/token" => form(self.path, &of_machine()).basic("basic", SECRET),
            "/par" => form(self.path, &Parameters::authorization()),
            "/device_authorization" => form(self.path, &Parameters::of_app().set("scope", "read")),
            _ => to_local("GET /userinfo").field(format!("Authorization: DPoP {}", self.token)),
        };
        self.server.raw(request.dpop(proof).octets())
    }

    #[track_caller]
    fn is_served(&self, proof: &Jws) {
        let answer = self.send(proof);
        let status = if self.path == "/par" { 201 } else { 200 };
        assert_eq!(answer.status, status, "{}: {answer:?}", self.path);
    }

    /// The nonce that is demanded instead.
    #[track_caller]
    fn demanded(&self, proof: &Jws) -> String {
        let answer = self.send(proof);
        let (status, name) = if self.path == "/userinfo" { (401, "reason") } else { (400, "error_description") };
        assert_eq!((answer.status, answer.error().0.as_str()), (status, "use_dpop_nonce"), "{}: {answer:?}", self.path);
        assert_eq!(answer.json()[name], "nonce.barrier", "{}", self.path);
        answer.field("dpop-nonce").expect("a nonce").to_owned()
    }
}

/// A process that just started does not know which proofs the one before it took. Each policy lets clients in by one retry.
#[test]
fn the_barrier_at_the_start() {
    let policies = [NoncePolicy::Off, NoncePolicy::Offer];
    for (policy, path) in policies.into_iter().flat_map(|policy| ENDPOINTS.map(|path| (policy, path))) {
        let caller = Caller::of(Setup::new().approving().nonces(policy).just_started().start(), path);
        let proof = caller.proof();
        let nonce = caller.demanded(&proof);
        caller.is_served(&caller.proof().claim("nonce", nonce));
        // What was signed up to 60 s ahead before the start might have been used then.
        caller.demanded(&caller.proof().claim("iat", START + 60));
        caller.server.turn(60);
        caller.demanded(&caller.proof());
        // After that, ordinary clients notice nothing; the proof from before stays out.
        caller.server.turn(1);
        caller.is_served(&caller.proof());
        caller.demanded(&proof);
    }
}
