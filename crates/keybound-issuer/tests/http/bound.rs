//! A client that is registered for bound tokens gets no others, by whichever grant it comes (RFC 9449 section 5.2).

use std::sync::Arc;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::time::UnixTime;
use keybound_issuer::{Authentication, Client, GrantType, IssuerConfig, Keys, Secret};

use crate::people::{Parameters, form, proof_for, to_local};
use crate::support::{Answer, HOLDER, Place, REDIRECT, Request, SECRET, START, Server, Setup};

/// Comes by every grant there is.
fn client() -> Client {
    let secret = Secret::new(SECRET.to_owned()).unwrap();
    let client = Client::new("all", Authentication::SecretBasic(secret)).scope("read").redirect_uri(REDIRECT);
    GrantType::ALL.iter().copied().fold(client, Client::grant_type)
}

fn free(config: IssuerConfig) -> IssuerConfig {
    config.auto_approve("alice").client(client())
}

fn bound(config: IssuerConfig) -> IssuerConfig {
    config.auto_approve("alice").client(client().dpop_bound_access_tokens())
}

fn of_all(path: &str, parameters: &Parameters) -> Request {
    form(path, &parameters.clone().without("client_id")).basic("all", SECRET)
}

fn redeem(server: &Server, parameters: &Parameters, key: Option<&'static SoftwareKey>) -> Answer {
    let request = of_all("/token", parameters);
    match key {
        Some(key) => server.token(&request.dpop(&proof_for(server, key, "/token"))),
        None => server.token(&request),
    }
}

/// What the client holds for a request by this grant, and no key in it.
fn held(server: &Server, grant: GrantType) -> Parameters {
    let by_grant = || Parameters::none().set("grant_type", grant.as_str());
    let redemption = || Parameters::redemption(&server.code(&Parameters::authorization().set("client_id", "all")));
    match grant {
        GrantType::ClientCredentials => by_grant(),
        GrantType::AuthorizationCode => redemption(),
        GrantType::RefreshToken => Parameters::refresh(&redeem(server, &redemption(), None).refresh_token()),
        GrantType::DeviceCode => {
            let begun = of_all("/device_authorization", &Parameters::none().set("scope", "read"));
            let codes = server.token(&begun).json();
            let code = |name: &str| codes[name].as_str().unwrap().to_owned();
            let visit = to_local(&format!("GET /device?user_code={}", code("user_code")));
            assert_eq!(server.raw(visit.octets()).status, 200);
            by_grant().set("device_code", code("device_code"))
        }
        GrantType::TokenExchange => by_grant()
            .set("subject_token", redeem(server, &redemption(), None).access_token().text)
            .set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        _ => panic!("a grant without a case here: {grant}"),
    }
}

/// Even for what it got while it was not registered so: there no other rule asks for a proof. What is refused is not used up.
// R-AS-10, R-AS-23
#[test]
fn a_bound_client_is_never_unbound_by_any_grant() {
    for grant in GrantType::ALL.iter().copied() {
        let keys = Keys::generate().unwrap();
        let place = Place::new();
        let store = place.open(UnixTime::from_secs(START - 86_400));
        let on = |config: fn(IssuerConfig) -> IssuerConfig| {
            Setup::new().registering(config).keeping(Arc::clone(&store)).signing(&keys).start()
        };
        let before = on(free);
        let held = held(&before, grant);
        drop(before);
        let server = on(bound);
        let unproven = |parameters: &Parameters| {
            let answer = redeem(&server, parameters, None);
            let expected = ("invalid_request".to_owned(), "proof.required".to_owned());
            assert_eq!((answer.status, answer.error()), (400, expected), "{grant}");
        };
        unproven(&held);
        unproven(&held);
        let answer = redeem(&server, &held, Some(&HOLDER));
        assert_eq!(answer.access_token().claims["cnf"]["jkt"], HOLDER.thumbprint().to_string(), "{grant}");
        assert_eq!(answer.json()["token_type"], "DPoP", "{grant}");
        if let Some(refresh) = answer.json()["refresh_token"].as_str() {
            unproven(&Parameters::refresh(refresh));
        }
    }
}
