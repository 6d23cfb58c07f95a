//! The device code grant (RFC 8628): a URL and a code are shown, and the issuer is asked until the user is done.

use std::time::Duration;

use http::StatusCode;
use keybound::client::{Form, Secret};
use keybound::jws::json::{Number, Object, Value};
use tokio::time::Instant;

use super::{answered, for_what};
use crate::access::Prompt;
use crate::client::now;
use crate::endpoint::Asking;
use crate::error::{Error, visible};
use crate::key::Holder;
use crate::login::DeviceCode;
use crate::token::Token;

/// How long between two questions where the issuer does not say, and how much longer each time it wants less of them.
const INTERVAL: Duration = Duration::from_secs(5);

/// No issuer is asked more often, even one that says so.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest a login is waited for, whatever the issuer says.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the issuer answers at first (section 3.2).
struct Begun {
    device_code: Secret,
    user_code: String,
    uri: String,
    complete: Option<String>,
    life: Duration,
    interval: Duration,
}

/// Has the user log in elsewhere.
pub(super) async fn log_in(asking: Asking<'_>, device: &DeviceCode, holder: &Holder) -> Result<Token, Error> {
    let begun = begin(asking).await?;
    let prompt = Prompt { url: &begun.uri, user_code: Some(&begun.user_code), complete: begun.complete.as_deref() };
    device.show.show(&prompt).map_err(Error::Login)?;
    let end = Instant::now() + begun.life;
    let mut interval = begun.interval;
    loop {
        if Instant::now() + interval > end {
            return Err(Error::LoginLate { limit: begun.life });
        }
        tokio::time::sleep(interval).await;
        let asked = now();
        let fill = |form: &mut Form| {
            form.pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
                .pair("device_code", begun.device_code.expose());
            for resource in &asking.access.resources {
                form.pair("resource", resource);
            }
        };
        let reply = match asking.proved(asking.metadata.token_endpoint(), holder, fill).await {
            // Section 3.5: an issuer that cannot be reached is asked less often.
            Err(Error::Timeout { .. } | Error::Network { .. }) => {
                interval = interval.saturating_mul(2);
                continue;
            }
            reply => reply?,
        };
        match reply.error().as_deref() {
            Some("authorization_pending") if reply.status == StatusCode::BAD_REQUEST => {}
            Some("slow_down") if reply.status == StatusCode::BAD_REQUEST => interval += INTERVAL,
            _ => return answered(asking, &reply, asked),
        }
    }
}

async fn begin(asking: Asking<'_>) -> Result<Begun, Error> {
    let endpoint = asking.metadata.device_authorization_endpoint()?;
    let reply = asking.plain(endpoint, |form| for_what(asking.access, form)).await?;
    let issuer = &asking.access.issuer;
    if reply.status != StatusCode::OK {
        return Err(reply.refused(issuer));
    }
    read(&reply.body).ok_or_else(|| {
        let fault = "its answer to the device authorization request is not complete";
        Error::TokenResponse { issuer: issuer.clone(), fault }
    })
}

fn read(body: &[u8]) -> Option<Begun> {
    let object = Object::parse(body).ok()?;
    let text = |name| object.get(name).and_then(Value::as_str);
    let seconds = |name| match object.get(name) {
        Some(Value::Number(Number::Whole(seconds))) => Some(Duration::from_secs(*seconds)),
        _ => None,
    };
    Some(Begun {
        device_code: Secret::new(text("device_code")?),
        user_code: visible(text("user_code")?),
        uri: shown(text("verification_uri")?)?,
        complete: text("verification_uri_complete").and_then(shown),
        life: seconds("expires_in")?.min(LONGEST),
        interval: seconds("interval").unwrap_or(INTERVAL).max(SHORTEST),
    })
}

/// A URL that a browser may be told to open: not a file, not a script.
fn shown(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    matches!(url.scheme(), "https" | "http").then(|| url.into())
}
