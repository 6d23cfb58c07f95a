//! A browser that goes from a client to the issuer and back, and the client behind it.

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jws::encode_base64url;
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, Jws, LOCAL, REDIRECT, Request, SECRET, Server};

/// What the client keeps until the code comes back.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Parameters of a request, by name; the later of two of a name counts, and an empty one is not sent.
#[derive(Clone)]
pub(crate) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// With the name of the client `app`, which does not authenticate.
    pub(crate) fn of_app() -> Self {
        Self::none().set("client_id", "app")
    }

    /// Of an authorization request of the client `app`, good in every way.
    pub(crate) fn authorization() -> Self {
        let challenge = encode_base64url(&Sha256::digest(VERIFIER.as_bytes()));
        Self(Vec::new())
            .set("client_id", "app")
            .set("response_type", "code")
            .set("redirect_uri", REDIRECT)
            .set("state", "st&te")
            .set("code_challenge", challenge)
            .set("code_challenge_method", "S256")
    }

    /// Of a token request of the client `app` with this code.
    pub(crate) fn redemption(code: &str) -> Self {
        Self(Vec::new())
            .set("grant_type", "authorization_code")
            .set("client_id", "app")
            .set("code", code)
            .set("redirect_uri", REDIRECT)
            .set("code_verifier", VERIFIER)
    }

    /// Of a token request of the client `app` with this refresh token.
    pub(crate) fn refresh(token: &str) -> Self {
        Self(Vec::new()).set("grant_type", "refresh_token").set("client_id", "app").set("refresh_token", token)
    }

    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.into()));
        self
    }

    /// Once more, beside what is there.
    pub(crate) fn and(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    pub(crate) fn without(self, name: &'static str) -> Self {
        self.set(name, "")
    }

    /// With their values, for a request object.
    pub(crate) fn list(&self) -> &[(&'static str, String)] {
        &self.0
    }

    pub(crate) fn text(&self) -> String {
        let sent = self.0.iter().filter(|(_, value)| !value.is_empty());
        sent.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
    }
}

pub(crate) fn encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") })
        .collect()
}

pub(crate) fn decoded(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(core::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).unwrap()
}

/// A request to this endpoint of the issuer [`LOCAL`].
pub(crate) fn to_local(line: &str) -> Request {
    Request::new(line).only_field("Host: localhost:8090")
}

/// A form for this endpoint.
pub(crate) fn form(path: &str, parameters: &Parameters) -> Request {
    to_local(&format!("POST {path}")).field("Content-Type: application/x-www-form-urlencoded").body(parameters.text())
}

/// A good proof of this key for this endpoint.
pub(crate) fn proof_for(server: &Server, key: &'static SoftwareKey, path: &str) -> Jws {
    Jws::proof(key, server.now()).claim("htu", format!("{LOCAL}{path}"))
}

impl Server {
    /// What a browser gets.
    pub(crate) fn browse(&self, parameters: &Parameters) -> Answer {
        self.raw(to_local(&format!("GET /authorize?{}", parameters.text())).octets())
    }

    /// The code for this authorization request.
    pub(crate) fn code(&self, parameters: &Parameters) -> String {
        let answer = self.browse(parameters);
        answer.back("code").unwrap_or_else(|| panic!("no code: {answer:?}"))
    }

    /// What the client gets from the token endpoint, with a proof of this key or without one.
    pub(crate) fn redeem(&self, parameters: &Parameters, key: Option<&'static SoftwareKey>) -> Answer {
        let request = form("/token", parameters);
        match key {
            Some(key) => self.token(&request.dpop(&proof_for(self, key, "/token"))),
            None => self.token(&request),
        }
    }
}

/// As the client `web` instead.
pub(crate) fn of_web(request: Request) -> Request {
    request.basic("web", SECRET)
}

impl Answer {
    /// A parameter with which the browser is sent back to the client.
    pub(crate) fn back(&self, name: &str) -> Option<String> {
        let query = self.field("location")?.split_once('?')?.1;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| decoded(value))
    }

    /// The refresh token.
    pub(crate) fn refresh_token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {self:?}")).to_owned()
    }
}
