//! A signing key that cannot be used for a while, as one of an HSM that is away: 503, and what was to be redeemed is as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer, SigningFailed};
use keybound::jwk::PublicJwk;
use keybound_issuer::Keys;

use crate::people::{Parameters, form, of_web, proof_for, to_local};
use crate::support::{Answer, HOLDER, LOCAL, SECRET, Server, Setup};

/// Signs unless it is away.
#[derive(Debug)]
struct Moody {
    key: SoftwareKey,
    is_away: Arc<AtomicBool>,
}

impl Signer for Moody {
    fn alg(&self) -> Alg {
        self.key.alg()
    }

    fn public_jwk(&self) -> &PublicJwk {
        self.key.public_jwk()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(SigningFailed::new("zebra7 has no power".to_owned())),
            false => self.key.sign(message),
        }
    }
}

/// Asks in vain, twice, and then once more with the same.
fn in_vain(is_away: &AtomicBool, ask: impl Fn() -> Answer) -> Answer {
    is_away.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let answer = ask();
        let expected = ("temporarily_unavailable".to_owned(), "crypto.failure".to_owned());
        assert_eq!((answer.status, answer.error()), (503, expected), "{answer:?}");
        assert!(answer.field("retry-after").is_some(), "{answer:?}");
    }
    is_away.store(false, Ordering::SeqCst);
    let answer = ask();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn each_grant_is_left(server: &Server, is_away: &AtomicBool) {
    let machine = form("/token", &Parameters::none().set("grant_type", "client_credentials"));
    let machine = machine.basic("basic", SECRET);
    let _ = in_vain(is_away, || server.token(&machine));

    let assertion = server.assertion().claim("aud", LOCAL).text();
    let asserted = form("/token", &Parameters::none().set("grant_type", "client_credentials")).assertion(&assertion);
    let _ = in_vain(is_away, || server.token(&asserted));
    assert_eq!(server.token(&asserted).status, 401, "it is used now");

    let code = Parameters::redemption(&server.code(&Parameters::authorization().set("scope", "openid read")));
    let tokens = in_vain(is_away, || server.redeem(&code, Some(&HOLDER)));
    let refresh = Parameters::refresh(&tokens.refresh_token());
    let tokens = in_vain(is_away, || server.redeem(&refresh, Some(&HOLDER)));

    let begun = server.token(&form("/device_authorization", &Parameters::of_app().set("scope", "read"))).json();
    let visit = to_local(&format!("GET /device?user_code={}", begun["user_code"].as_str().unwrap()));
    assert_eq!(server.raw(visit.octets()).status, 200);
    let device = Parameters::of_app().set("device_code", begun["device_code"].as_str().unwrap());
    let device = device.set("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let _ = in_vain(is_away, || server.redeem(&device, Some(&HOLDER)));

    let code = server.code(&Parameters::authorization().set("client_id", "web").set("scope", "read"));
    let bearer = server.token(&of_web(form("/token", &Parameters::redemption(&code).without("client_id"))));
    let exchange = Parameters::none()
        .set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .set("subject_token", bearer.access_token().text)
        .set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
    let exchange = || of_web(form("/token", &exchange)).dpop(&proof_for(server, &HOLDER, "/token"));
    let _ = in_vain(is_away, || server.token(&exchange()));

    // Nothing of it was taken for a second use.
    let question = form("/introspect", &Parameters::none().set("token", tokens.access_token().text));
    assert_eq!(server.token(&of_web(question)).json()["active"], true);
    assert_eq!(server.redeem(&Parameters::refresh(&tokens.refresh_token()), Some(&HOLDER)).status, 200);
}

// R-ERR-21, R-AS-23
#[test]
fn what_could_not_be_signed_is_not_used_up() {
    let both: [fn(Moody) -> Keys; 2] = [Keys::new, Keys::waiting];
    for of in both {
        let is_away = Arc::new(AtomicBool::new(false));
        let key = SoftwareKey::generate(Alg::Es256).unwrap();
        let keys = of(Moody { key, is_away: Arc::clone(&is_away) });
        let server = Setup::new().approving().signing(&keys).start();
        each_grant_is_left(&server, &is_away);
    }
}
