//! Clients of the store, which registered themselves or which an administrator put there: their metadata as it was sent (RFC 7591
//! section 2), read into a [`Client`].

use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::AwsLc;
use keybound::jws::json::Object;
use keybound::refusal::{Denial, Fault, Reason, Refusal};
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::State;
use crate::client::{Authentication, Client, GrantType, Secret};
use crate::config::{Registration, is_redirect_uri};
use crate::grants::{scope, scopes};
use crate::handle;
use crate::store::to_json;

/// What is kept of one client at most: some keys, some addresses.
const MAX_REGISTERED: usize = 16 * 1024;

/// More addresses than anybody has.
const MAX_URIS: usize = 32;

/// How clients authenticate, in the RFC's words; by the last they do not.
pub(crate) const WAYS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

/// What is kept of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub(crate) client_id: Box<str>,
    issued_at: u64,
    /// The digest of its secret.
    secret: Option<Box<str>>,
    /// The digest of what it manages its registration with (RFC 7592); empty for one that does not.
    token: Box<str>,
    /// What it said of itself, as far as it is understood, with what is so by default.
    metadata: Map<String, Value>,
    /// Whether an administrator put it here.
    #[serde(default)]
    is_managed: bool,
}

/// What a client is told once.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) secret: Option<String>,
    token: Option<String>,
}

/// What clients may have.
pub(crate) struct Rules<'r> {
    /// Scopes among these; any, if there are none named.
    scope: Option<&'r str>,
    /// Grants of clients that act for themselves.
    for_machines: bool,
    /// Whether tokens are bound where nothing is said.
    bound: bool,
}

impl<'r> Rules<'r> {
    /// Those of clients that register themselves. R-AS-11: `false` is the default there.
    pub(crate) fn of_registration(state: &'r State) -> Self {
        let is_open = matches!(state.config.registration, Registration::Open);
        Self { scope: Some(&state.config.registration_scope), for_machines: !is_open, bound: false }
    }

    /// Whoever administers the issuer knows what a client is for.
    pub(crate) const ADMINISTRATOR: Rules<'static> = Rules { scope: None, for_machines: true, bound: true };
}

impl Registered {
    /// Of this body; `before` is what it takes the place of.
    pub(crate) fn new(state: &State, body: &[u8], before: Option<&Self>) -> Result<(Self, Secrets), Denial> {
        let sent = Object::parse(body).map_err(|_| Reason::RegistrationMetadata)?.to_json();
        let metadata = metadata(&Rules::of_registration(state), &sent)?;
        let mut secrets = Secrets::default();
        let secret = secret(&metadata, before, &mut secrets)?;
        let token = match before {
            Some(before) => before.token.clone(),
            None => {
                let new = handle::secret()?;
                let digest = handle::digest(&new);
                secrets.token = Some(new);
                digest
            }
        };
        let (client_id, issued_at) = match before {
            Some(before) => (before.client_id.clone(), before.issued_at),
            None => (handle::name()?.into(), state.clock.now().as_secs()),
        };
        let registered = Self { client_id, issued_at, secret, token, metadata, is_managed: false };
        registered.checked()?;
        Ok((registered, secrets))
    }

    /// As an administrator says; `before` is what it takes the place of.
    pub(crate) fn managed(
        client_id: &str,
        sent: &Map<String, Value>,
        before: Option<&Self>,
        now: UnixTime,
    ) -> Result<(Self, Secrets), Denial> {
        if sent.get("grant_types").is_none() {
            return Err(unfit("grant_types is missing: it names what the client may do").into());
        }
        let metadata = metadata(&Rules::ADMINISTRATOR, sent)?;
        let mut secrets = Secrets::default();
        let registered = Self {
            client_id: client_id.into(),
            issued_at: before.map_or(now.as_secs(), |before| before.issued_at),
            secret: secret(&metadata, before, &mut secrets)?,
            token: before.map(|before| before.token.clone()).unwrap_or_default(),
            metadata,
            is_managed: before.is_none_or(|before| before.is_managed),
        };
        registered.checked()?;
        Ok((registered, secrets))
    }

    /// The same with another secret, which is told once; nothing if it has none.
    pub(crate) fn with_new_secret(&self) -> Result<Option<(Self, Secrets)>, Denial> {
        if self.secret.is_none() {
            return Ok(None);
        }
        let mut secrets = Secrets::default();
        let secret = secret(&self.metadata, None, &mut secrets)?;
        Ok(Some((Self { secret, ..self.clone() }, secrets)))
    }

    /// What is stored can be read again, and is not too long.
    fn checked(&self) -> Result<(), Denial> {
        if to_json(self).len() > MAX_REGISTERED {
            return Err(unfit("all that is said of a client is too long: it may take 16 KiB").into());
        }
        // Everything else has been looked at.
        let _ = self.client().ok_or_else(|| unfit("jwks is no set of public keys, each of a kind that can sign"))?;
        Ok(())
    }

    /// What an administrator sees of it.
    pub(crate) fn facts(&self) -> Map<String, Value> {
        let mut facts = self.metadata.clone();
        facts.insert("client_id".to_owned(), json!(self.client_id));
        facts.insert("client_id_issued_at".to_owned(), json!(self.issued_at));
        let by = if self.is_managed { "administrator" } else { "itself" };
        facts.insert("registered_by".to_owned(), json!(by));
        facts
    }

    /// What was said of it.
    pub(crate) const fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// The client information response (RFC 7591 section 3.2.1, RFC 7592 section 3).
    pub(crate) fn information(&self, state: &State, secrets: Option<&Secrets>) -> Value {
        let mut information = self.metadata.clone();
        let mut add = |name: &str, value: Value| information.insert(name.to_owned(), value);
        add("client_id", json!(self.client_id));
        add("client_id_issued_at", json!(self.issued_at));
        let at = [state.endpoints.register.as_str(), "/", &self.client_id].concat();
        add("registration_client_uri", json!(at));
        if let Some(secret) = secrets.and_then(|secrets| secrets.secret.as_ref()) {
            add("client_secret", json!(secret));
        }
        if self.secret.is_some() {
            add("client_secret_expires_at", json!(0));
        }
        if let Some(token) = secrets.and_then(|secrets| secrets.token.as_ref()) {
            add("registration_access_token", json!(token));
        }
        information.into()
    }

    pub(crate) fn is_token(&self, token: &str) -> bool {
        Secret::of_digest(&self.token).is_some_and(|expected| expected.is(token))
    }

    /// The client; nothing if the record is none of this version's.
    pub(crate) fn client(&self) -> Option<Client> {
        let text = |name: &str| self.metadata.get(name).and_then(Value::as_str);
        let texts = |name: &str| self.metadata.get(name).and_then(Value::as_array).into_iter().flatten();
        let secret = || Secret::of_digest(self.secret.as_deref()?);
        let keys = self
            .metadata
            .get("jwks")
            .map(|jwks| KeySet::read_strictly(jwks.to_string().as_bytes(), &AwsLc, AlgSet::ALL).ok());
        let authentication = match text("token_endpoint_auth_method")? {
            "client_secret_basic" => Authentication::SecretBasic(secret()?),
            "client_secret_post" => Authentication::SecretPost(secret()?),
            "private_key_jwt" => Authentication::PrivateKeyJwt(keys.clone()??),
            "none" => Authentication::None,
            _ => return None,
        };
        let mut client = Client::new(self.client_id.clone(), authentication).scope(text("scope").unwrap_or_default());
        if let Some(name) = text("client_name") {
            client = client.name(name);
        }
        if let Some(keys) = keys {
            client = client.keys(keys?);
        }
        for grant in texts("grant_types") {
            client = client.grant_type(grant.as_str()?.parse().ok()?);
        }
        for uri in texts("redirect_uris") {
            client = client.redirect_uri(uri.as_str()?);
        }
        for uri in texts("post_logout_redirect_uris") {
            client = client.post_logout_redirect_uri(uri.as_str()?);
        }
        let bound = self.metadata.get("dpop_bound_access_tokens") == Some(&Value::Bool(true));
        let client = if bound { client.dpop_bound_access_tokens() } else { client };
        Some(if self.is_managed { client } else { client.stranger() })
    }
}

/// The digest of the secret, if it authenticates by one: the one it has, or a new one, which is told once.
fn secret(
    metadata: &Map<String, Value>,
    before: Option<&Registered>,
    secrets: &mut Secrets,
) -> Result<Option<Box<str>>, Fault> {
    let method = metadata.get("token_endpoint_auth_method").and_then(Value::as_str);
    if !method.is_some_and(|way| way.starts_with("client_secret")) {
        return Ok(None);
    }
    if let Some(kept) = before.and_then(|before| before.secret.clone()) {
        return Ok(Some(kept));
    }
    let new = handle::secret()?;
    let digest = handle::digest(&new);
    secrets.secret = Some(new);
    Ok(Some(digest))
}

/// What is understood of the metadata that was sent, each member of its type, with the defaults of RFC 7591 section 2.
fn metadata<'s>(rules: &Rules<'_>, sent: &'s Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut metadata = Map::new();
    // What people and operators are shown of it: a line, and nothing that moves a cursor.
    let is_line = |text: &&str| !text.chars().any(char::is_control);
    let line = |name: &str, value: &'s Value| {
        value.as_str().filter(is_line).ok_or_else(|| unfit(format!("{name} is not one line of text")))
    };
    let text = |name: &str| sent.get(name).map(|value| line(name, value)).transpose();
    for name in ["client_name", "client_uri", "logo_uri", "policy_uri", "tos_uri", "software_id", "software_version"] {
        if let Some(said) = text(name)? {
            metadata.insert(name.to_owned(), said.into());
        }
    }
    let way = text("token_endpoint_auth_method")?.unwrap_or("client_secret_basic");
    if !WAYS.contains(&way) {
        return Err(unfit(format!("token_endpoint_auth_method is not one of {}", WAYS.join(", "))));
    }
    metadata.insert("token_endpoint_auth_method".to_owned(), way.into());
    if let Some(jwks) = sent.get("jwks") {
        metadata.insert("jwks".to_owned(), jwks.clone());
    } else if way == "private_key_jwt" {
        return Err(unfit("jwks is missing: private_key_jwt is checked with the public keys in it"));
    }
    let grants = grants(rules, sent, way)?;
    let sends_back = grants.contains(&GrantType::AuthorizationCode);
    for name in ["redirect_uris", "post_logout_redirect_uris"] {
        let uris = uris(sent, name)?;
        if name == "redirect_uris" && sends_back && uris.is_empty() {
            let missing = "redirect_uris is missing: it names where codes are sent";
            return Err(Refusal::with_detail(Reason::RegistrationRedirect, missing));
        }
        if !uris.is_empty() {
            metadata.insert(name.to_owned(), uris.into());
        }
    }
    metadata.insert("grant_types".to_owned(), grants.iter().map(|grant| grant.as_str()).collect());
    let types = sent.get("response_types").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if sent.contains_key("response_types") && types.iter().any(|kind| kind != "code") {
        return Err(unfit("response_types is not [\"code\"]: that is the only kind there is"));
    }
    metadata.insert("response_types".to_owned(), if sends_back { json!(["code"]) } else { json!([]) });
    let asked = text("scope")?;
    // An administrator names any scope: those asked for are those allowed.
    let allowed = rules.scope.unwrap_or(asked.unwrap_or_default());
    let asked = asked.filter(|asked| rules.scope.is_some() || !asked.is_empty());
    let granted = scope(asked, scopes(allowed)).map_err(|_| match rules.scope {
        Some(_) => unfit("scope is not a list of names that clients may have, with one space between them"),
        None => unfit("scope is not a list of names with one space between them"),
    })?;
    metadata.insert("scope".to_owned(), granted.into());
    // R-AS-11
    let bound = sent.get("dpop_bound_access_tokens").map_or(Some(rules.bound), Value::as_bool);
    let bound = bound.ok_or_else(|| unfit("dpop_bound_access_tokens is neither true nor false"))?;
    metadata.insert("dpop_bound_access_tokens".to_owned(), bound.into());
    Ok(metadata)
}

/// The grants, each known; those for machines only where not everybody may register.
fn grants(rules: &Rules<'_>, sent: &Map<String, Value>, way: &str) -> Result<Vec<GrantType>, Refusal> {
    let Some(named) = sent.get("grant_types") else { return Ok(vec![GrantType::AuthorizationCode]) };
    let named = named.as_array().ok_or_else(|| unfit("grant_types is not an array of names"))?;
    let mut grants = Vec::new();
    for grant in named {
        let grant: GrantType = grant
            .as_str()
            .and_then(|grant| grant.parse().ok())
            .ok_or_else(|| unfit("grant_types has one that this issuer does not know"))?;
        let is_for_machines = matches!(grant, GrantType::ClientCredentials | GrantType::TokenExchange);
        if is_for_machines && way == "none" {
            return Err(unfit("grant_types has one for machines, which have to authenticate: not with \"none\""));
        }
        if is_for_machines && !rules.for_machines {
            return Err(unfit("grant_types has one for machines, which whoever registers unasked does not get"));
        }
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    Ok(grants)
}

fn uris(sent: &Map<String, Value>, name: &str) -> Result<Vec<Value>, Refusal> {
    let Some(named) = sent.get(name) else { return Ok(Vec::new()) };
    let unfit = |fault: &str| Refusal::with_detail(Reason::RegistrationRedirect, format!("{name} {fault}"));
    let named = named.as_array().filter(|uris| uris.len() <= MAX_URIS);
    let named = named.ok_or_else(|| unfit("is not an array, or one of too many"))?;
    let is_fit = |uri: &Value| uri.as_str().is_some_and(|uri| uri.len() <= 2048 && is_redirect_uri(uri));
    if named.iter().all(is_fit) {
        return Ok(named.clone());
    }
    Err(unfit(
        "has one that is neither https, nor http on loopback, nor of a scheme like com.example.app; or has a fragment or *",
    ))
}

fn unfit(sentence: impl Into<Box<str>>) -> Refusal {
    Refusal::with_detail(Reason::RegistrationMetadata, sentence)
}
