//! What the issuer says of itself (RFC 8414): only what is true.

use std::collections::BTreeSet;

use keybound::crypto::{Alg, AlgSet};
use keybound::request::TargetUri;
use serde_json::{Value, json};

use crate::State;
use crate::client::GrantType;
use crate::config::{IssuerConfig, Registration};
use crate::registered::WAYS;

/// Where clients find what.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) token: TargetUri,
    pub(crate) authorize: TargetUri,
    pub(crate) par: TargetUri,
    pub(crate) device_authorization: TargetUri,
    pub(crate) device: TargetUri,
    pub(crate) introspect: TargetUri,
    pub(crate) revoke: TargetUri,
    pub(crate) register: TargetUri,
    pub(crate) userinfo: TargetUri,
    pub(crate) end_session: TargetUri,
    /// Behind it the name of what is being decided.
    pub(crate) sign_in: TargetUri,
    /// Where users look after what they sign in with.
    pub(crate) account: TargetUri,
    /// The script of passkeys.
    pub(crate) passkeys: TargetUri,
    pub(crate) jwks: TargetUri,
    /// The path of the metadata document: the well-known name goes between host and path of the issuer (R-MD-01).
    pub(crate) metadata: Box<str>,
    /// The path of the same document under the name that OpenID Connect has for it, behind the path of the issuer.
    pub(crate) openid: Box<str>,
    /// The path of the issuer without a slash at its end.
    pub(crate) prefix: Box<str>,
}

impl Endpoints {
    pub(crate) fn of(issuer: &TargetUri) -> Option<Self> {
        let prefix = issuer.path().trim_end_matches('/');
        let under = |name| TargetUri::parse(&[issuer.origin(), prefix, name].concat()).ok();
        Some(Self {
            token: under("/token")?,
            authorize: under("/authorize")?,
            par: under("/par")?,
            device_authorization: under("/device_authorization")?,
            device: under("/device")?,
            introspect: under("/introspect")?,
            revoke: under("/revoke")?,
            register: under("/register")?,
            userinfo: under("/userinfo")?,
            end_session: under("/logout")?,
            sign_in: under("/sign-in")?,
            account: under("/account")?,
            passkeys: under("/passkeys.js")?,
            jwks: under("/jwks")?,
            metadata: ["/.well-known/oauth-authorization-server", prefix].concat().into(),
            openid: [prefix, "/.well-known/openid-configuration"].concat().into(),
            prefix: prefix.into(),
        })
    }
}

/// The document of this issuer as it is now: the algorithms of its signatures change with its keys.
pub(crate) fn of(state: &State) -> String {
    let proofs = state.server.verifier().algorithms();
    document(&state.config, &state.endpoints, proofs, &state.keys.algs()).to_string()
}

/// The document. `algs` are the algorithms proofs may have, the very set that is enforced (R-AS-12).
fn document(config: &IssuerConfig, endpoints: &Endpoints, algs: AlgSet, signs: &[Alg]) -> Value {
    let signs: Vec<&str> = signs.iter().map(|alg| alg.name()).collect();
    let names = |algs: AlgSet| -> Vec<&str> { algs.iter().map(Alg::name).collect() };
    let grants: Vec<&str> = GrantType::ALL.iter().map(|grant| grant.as_str()).collect();
    let registrable = crate::grants::scopes(&config.registration_scope);
    let scopes: BTreeSet<&str> = config.clients.iter().flat_map(|client| client.scopes()).chain(registrable).collect();
    let authenticated: Vec<&str> = WAYS.into_iter().filter(|way| *way != "none").collect();
    let mut document = json!({
        "issuer": config.issuer,
        "token_endpoint": endpoints.token.as_str(),
        "jwks_uri": endpoints.jwks.as_str(),
        "authorization_endpoint": endpoints.authorize.as_str(),
        "pushed_authorization_request_endpoint": endpoints.par.as_str(),
        "device_authorization_endpoint": endpoints.device_authorization.as_str(),
        "introspection_endpoint": endpoints.introspect.as_str(),
        "revocation_endpoint": endpoints.revoke.as_str(),
        "userinfo_endpoint": endpoints.userinfo.as_str(),
        "end_session_endpoint": endpoints.end_session.as_str(),
        "introspection_endpoint_auth_methods_supported": authenticated,
        "introspection_endpoint_auth_signing_alg_values_supported": names(AlgSet::ALL),
        "introspection_signing_alg_values_supported": signs,
        "request_parameter_supported": true,
        "request_uri_parameter_supported": false,
        "request_object_signing_alg_values_supported": names(AlgSet::ALL),
        "claims_supported": ["sub", "auth_time", "preferred_username", "name", "email"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": signs,
        "grant_types_supported": grants,
        "revocation_endpoint_auth_methods_supported": WAYS,
        "revocation_endpoint_auth_signing_alg_values_supported": names(AlgSet::ALL),
        "token_endpoint_auth_methods_supported": WAYS,
        "token_endpoint_auth_signing_alg_values_supported": names(AlgSet::ALL),
        "dpop_signing_alg_values_supported": names(algs),
    });
    if !matches!(config.registration, Registration::Off) {
        document["registration_endpoint"] = json!(endpoints.register.as_str());
    }
    if !scopes.is_empty() {
        document["scopes_supported"] = json!(scopes);
    }
    document
}
