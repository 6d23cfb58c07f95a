//! Introspection (RFC 7662), as JSON or signed (RFC 9701). A proof is neither asked for nor looked at: whoever asks is not who
//! holds the token (R-AS-25).

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use keybound::refusal::{Denial, Reason};
use keybound::token::introspection::SIGNED_ANSWER;
use serde_json::{Value, json};

use crate::State;
use crate::answer;
use crate::client::Client;
use crate::exchange::{Exchange, malformed, read_form};
use crate::form::Form;
use crate::grants::refresh_token;
use crate::handle;
use crate::store::{Kind, parse};
use crate::tokens;

/// Answers a POST of a resource server, which is a client that authenticates.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts, &state.endpoints.introspect);
    let signed = wants_signed(&parts.headers);
    match introspect(&mut exchange, &body, signed).await {
        Ok(body) if signed => {
            let mut response = answer::json(StatusCode::OK, body);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SIGNED_ANSWER));
            exchange.complete(response)
        }
        Ok(body) => exchange.granted(StatusCode::OK, body),
        Err(denial) => exchange.refused(&denial),
    }
}

/// Whether a signed answer is asked for by its name, and liked no less than JSON, be that meant by a wildcard alone (RFC 9110 section
/// 12.5.1).
fn wants_signed(headers: &HeaderMap) -> bool {
    // As JSON is meant by the name that says most.
    const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];
    let (mut signed, mut json) = (0.0, [None; 3]);
    let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    for range in fields.flat_map(|field| field.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let read = |weight: &str| weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight));
        let weight: f32 = weight.map_or(1.0, |(_, weight)| read(weight).unwrap_or(0.0));
        if kind.eq_ignore_ascii_case(SIGNED_ANSWER) {
            signed = weight;
        } else if let Some(place) = JSON.iter().position(|name| kind.eq_ignore_ascii_case(name)) {
            json[place] = Some(weight);
        }
    }
    signed > 0.0 && signed >= json.into_iter().flatten().next().unwrap_or(0.0)
}

async fn introspect(exchange: &mut Exchange<'_>, body: &[u8], signed: bool) -> Result<String, Denial> {
    let form = Form::parse(body)?;
    let authenticated = exchange.authenticate(&form).await?;
    let client = authenticated.client.clone();
    if client.is_public() {
        // Anybody could ask about tokens that were found somewhere (RFC 7662 section 2.1).
        return Err(Reason::ClientAuthentication.into());
    }
    let token = form.get("token").ok_or_else(|| malformed("token is missing"))?;
    let said = facts(exchange, token, &client).await?.unwrap_or_else(|| json!({ "active": false }));
    let _ = exchange.commit(authenticated, Vec::new()).await?;
    if !signed {
        return Ok(said.to_string());
    }
    let claims = json!({
        "iss": exchange.state.config.issuer,
        "aud": client.id,
        "iat": exchange.now.as_secs(),
        "token_introspection": said,
    });
    Ok(exchange.state.keys.sign("token-introspection+jwt", &claims, exchange.now).await?)
}

/// What there is to say of a token that is alive (R-AS-24, R-AS-26).
async fn facts(exchange: &Exchange<'_>, token: &str, client: &Client) -> Result<Option<Value>, Denial> {
    let state = exchange.state;
    if let Some(token) = tokens::read(state, token, exchange.now).await? {
        // Where anybody registers, a client that did is no resource server: it asks about tokens of its own.
        if state.came_unasked(client) && *token.client_id != *client.id() {
            return Ok(None);
        }
        let token_type = if token.cnf.is_some() { "DPoP" } else { "Bearer" };
        let mut said = token.claims;
        said.insert("active".into(), true.into());
        said.insert("token_type".into(), token_type.into());
        return Ok(Some(said.into()));
    }
    let id = handle::digest(token);
    let Some(record) = state.store.read(Kind::REFRESH, &id, exchange.now).await? else { return Ok(None) };
    let stored: refresh_token::Stored = parse(&record)?;
    // Refresh tokens are between their client and this server.
    if stored.used || *stored.client != *client.id() {
        return Ok(None);
    }
    let mut said = json!({
        "active": true,
        "iss": state.config.issuer,
        "client_id": stored.client,
        "sub": stored.subject,
        "scope": stored.scope,
        "exp": record.expires.as_secs(),
    });
    if let Some(jkt) = stored.jkt {
        said["cnf"] = json!({ "jkt": jkt });
    }
    Ok(Some(said))
}
