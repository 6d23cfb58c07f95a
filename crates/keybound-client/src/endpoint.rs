//! Forms sent to an authorization server: each try with a proof and a client authentication of its own, repeated once if a
//! nonce is demanded.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keybound::client::{Answer, Attempt, Form, NoRetry, Replay, Sent, Verdict};
use keybound::jws::json::{Object, Value};
use keybound::nonce::Role;
use zeroize::Zeroizing;

use crate::access::Access;
use crate::client::{Core, now};
use crate::error::{Error, visible};
use crate::key::Holder;
use crate::metadata::Metadata;
use crate::transport::{Target, To, is_unseen};

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// An answer of any status.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    fields: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
    no_retry: Option<NoRetry>,
}

impl Reply {
    fn answer(&self) -> Answer<'_> {
        Answer::new(self.status, &self.fields).token_body(&self.body)
    }

    /// The `error` of an answer that is one.
    pub(crate) fn error(&self) -> Option<String> {
        let object = Object::parse(&self.body).ok()?;
        object.get("error").and_then(Value::as_str).map(str::to_owned)
    }

    /// The error that this answer is.
    pub(crate) fn refused(&self, issuer: &str) -> Error {
        let object = Object::parse(&self.body).ok();
        let member = |name| {
            let text = object.as_ref().and_then(|object| object.get(name)?.as_str());
            text.map(|text| visible(text).into())
        };
        Error::TokenRefused {
            issuer: issuer.into(),
            status: self.status,
            error: member("error"),
            description: self.no_retry.map(|why| why.to_string().into()).or_else(|| member("error_description")),
        }
    }
}

/// Who asks, and whom.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) access: &'a Access,
    pub(crate) metadata: &'a Metadata,
    pub(crate) core: &'a Core,
}

impl Asking<'_> {
    /// Sends what `fill` writes to `endpoint`, with a proof; once again if the server did not look at it.
    pub(crate) async fn proved(
        self,
        endpoint: &Target,
        holder: &Holder,
        fill: impl Fn(&mut Form) + Sync,
    ) -> Result<Reply, Error> {
        match self.proved_once(endpoint, holder, &fill).await {
            Err(error) if is_unseen(&error) => self.proved_once(endpoint, holder, &fill).await,
            done => done,
        }
    }

    async fn proved_once(
        self,
        endpoint: &Target,
        holder: &Holder,
        fill: &(impl Fn(&mut Form) + Sync),
    ) -> Result<Reply, Error> {
        let servers = &self.core.servers;
        let target = endpoint.permitted(self.core.plain)?;
        let first = Attempt::at_authorization_server(&Method::POST, target);
        let (sent, mut reply) = self.prove(endpoint, holder, fill, first).await?;
        match sent.learn(servers, reply.answer(), Replay::Possible, now()) {
            Verdict::RetryOnce(retry) => {
                let (sent, mut reply) = self.prove(endpoint, holder, fill, retry).await?;
                if let Verdict::Challenged(why) = sent.learn(servers, reply.answer(), now()) {
                    reply.no_retry = Some(why);
                }
                return Ok(reply);
            }
            Verdict::Challenged(why) => reply.no_retry = Some(why),
            _ => {}
        }
        Ok(reply)
    }

    async fn prove<'r, T>(
        self,
        endpoint: &Target,
        holder: &Holder,
        fill: &(impl Fn(&mut Form) + Sync),
        attempt: Attempt<'r, T>,
    ) -> Result<(Sent<'r, T>, Reply), Error> {
        let sent = holder.prove(attempt, &self.core.servers).await?;
        let mut fields = HeaderMap::new();
        sent.apply(&mut fields);
        let reply = self.send(endpoint, fill, fields).await?;
        Ok((sent, reply))
    }

    /// The same without a proof, for endpoints of which RFC 9449 says nothing.
    pub(crate) async fn plain(self, endpoint: &Target, fill: impl Fn(&mut Form) + Sync) -> Result<Reply, Error> {
        endpoint.permitted(self.core.plain)?;
        let reply = self.send(endpoint, &fill, HeaderMap::new()).await?;
        self.core.servers.learn(endpoint.uri().origin(), Role::AuthorizationServer, &reply.fields, now());
        Ok(reply)
    }

    async fn send(
        self,
        endpoint: &Target,
        fill: &(impl Fn(&mut Form) + Sync),
        mut fields: HeaderMap,
    ) -> Result<Reply, Error> {
        let Self { access, metadata, core } = self;
        let server = endpoint.uri().origin();
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut form = Form::new();
        fill(&mut form);
        let time = core.servers.time_at(server, now());
        let authentication = &access.authentication;
        authentication.apply(&access.client_id, metadata, &mut form, &mut fields, time)?;
        let body = form.as_str().to_owned().into();
        let response = core.transport.send(To::Issuer, &Method::POST, endpoint, fields, body).await?;
        let (status, fields) = (response.status(), response.headers().clone());
        let body = core.transport.read(response, server, MAX_ANSWER).await?;
        Ok(Reply { status, fields, body, no_retry: None })
    }
}
