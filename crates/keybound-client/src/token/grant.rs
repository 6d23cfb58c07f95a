//! One token request by the client credentials grant (RFC 6749 section 4.4), repeated once if a nonce is demanded.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keybound::client::{Answer, Attempt, Form, NoRetry, Replay, Sent, Unbound, Verdict, judge_token_type};
use keybound::jws::json::{Number, Object, Value};
use keybound::time::UnixTime;
use zeroize::Zeroizing;

use super::{ClientCredentials, Token};
use crate::client::{Core, jti, now};
use crate::error::{Error, visible};
use crate::metadata::Metadata;

/// The largest token response that is read.
const MAX_TOKEN_RESPONSE: usize = 64 * 1024;

/// A token response of any status.
struct Reply {
    status: StatusCode,
    fields: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Reply {
    fn answer(&self) -> Answer<'_> {
        Answer::new(self.status, &self.fields).token_body(&self.body)
    }
}

/// Asks for a token.
pub(super) async fn ask(access: &ClientCredentials, metadata: &Metadata, core: &Core) -> Result<Token, Error> {
    metadata.accept(core.key.alg())?;
    let asked = now();
    let target = metadata.token_endpoint().permitted(core.plain)?;
    let first = Attempt::at_authorization_server(&Method::POST, target);
    let (sent, reply) = send(access, metadata, core, first).await?;
    let verdict = sent.learn(&core.servers, reply.answer(), Replay::Possible, now());
    let (reply, refusal) = match verdict {
        Verdict::RetryOnce(retry) => {
            let (sent, reply) = send(access, metadata, core, retry).await?;
            match sent.learn(&core.servers, reply.answer(), now()) {
                Verdict::Challenged(why) => (reply, Some(why)),
                _ => (reply, None),
            }
        }
        Verdict::Challenged(why) => (reply, Some(why)),
        _ => (reply, None),
    };
    if reply.status == StatusCode::OK {
        token(access, &reply.body, asked)
    } else {
        Err(refused(access, &reply, refusal))
    }
}

async fn send<'r, T>(
    access: &ClientCredentials,
    metadata: &Metadata,
    core: &Core,
    attempt: Attempt<'r, T>,
) -> Result<(Sent<'r, T>, Reply), Error> {
    let endpoint = metadata.token_endpoint();
    let server = endpoint.uri().origin();
    let sent = attempt.prove(&core.prover, &core.servers, jti()?, now()).sign(&*core.key)?;
    let mut fields = HeaderMap::new();
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let mut form = Form::new();
    form.pair("grant_type", "client_credentials");
    if let Some(scope) = &access.scope {
        form.pair("scope", scope);
    }
    for resource in &access.resources {
        form.pair("resource", resource);
    }
    let time = core.servers.time_at(server, now());
    let authentication = &access.authentication;
    authentication.apply(&access.client_id, metadata, &mut form, &mut fields, time)?;
    sent.apply(&mut fields);
    let body = form.as_str().to_owned().into();
    let response = core.transport.send(&Method::POST, endpoint, fields, body).await?;
    let (status, fields) = (response.status(), response.headers().clone());
    let body = core.transport.read(response, server, MAX_TOKEN_RESPONSE).await?;
    Ok((sent, Reply { status, fields, body }))
}

/// Reads a token response (RFC 6749 section 5.1).
fn token(access: &ClientCredentials, body: &[u8], asked: UnixTime) -> Result<Token, Error> {
    let fault = |fault| Error::TokenResponse { issuer: access.issuer.clone(), fault };
    let object = Object::parse(body).map_err(|_| fault("its answer is not one JSON object"))?;
    let member = |name| object.get(name).and_then(Value::as_str);
    judge_token_type(member("token_type"), Unbound::Refuse)?;
    let text = member("access_token").ok_or_else(|| fault("its answer has no access_token"))?;
    let expires = match object.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(Value::Number(Number::Whole(seconds))) => Some(asked.plus(std::time::Duration::from_secs(*seconds))),
        Some(_) => return Err(fault("its expires_in is not a number of seconds")),
    };
    let token = Token::new(text)?.lives(asked, expires);
    // Silence means that it is the scope that was asked for.
    Ok(match member("scope").or(access.scope.as_deref()) {
        Some(scope) => token.with_scope(visible(scope)),
        None => token,
    })
}

fn refused(access: &ClientCredentials, reply: &Reply, no_retry: Option<NoRetry>) -> Error {
    let object = Object::parse(&reply.body).ok();
    let member = |name| {
        let text = object.as_ref().and_then(|object| object.get(name)?.as_str());
        text.map(|text| visible(text).into())
    };
    Error::TokenRefused {
        issuer: access.issuer.clone(),
        status: reply.status,
        error: member("error"),
        description: no_retry.map(|why| why.to_string().into()).or_else(|| member("error_description")),
    }
}
