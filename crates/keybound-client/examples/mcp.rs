//! A client of the Model Context Protocol that needs to know nothing but the server's URL: it asks the server where tokens come
//! from, registers, has its user log in, and calls the first tool. `cargo run -p keybound-client --example mcp -- URL [TOOL]`.

use std::error::Error;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Client, Login, PlainHttp, Registration, ResourceFault, Response, SystemBrowser};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The edition of the protocol, unless another one is asked for.
const EDITION: &str = "2025-11-25";

/// From this edition on there is no session: each request says itself what `initialize` said before.
const WITHOUT_SESSION: &str = "2026";

/// The largest message that is read.
const MAX_MESSAGE: usize = 1024 * 1024;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

// ANCHOR: client
/// A client for the server at `url`, whose tokens come from an issuer that the server names.
async fn client_for(url: &str) -> Result<Client> {
    let key = Arc::new(SoftwareKey::generate(Alg::Es256)?);
    let builder = || Client::builder(Arc::clone(&key)).plain_http(PlainHttp::Loopback);

    // First it trusts none: which ones the server has is in what it says then.
    let stranger = builder().discover(|_: &str| None).build()?;
    let issuer = match stranger.request(Method::POST, url).send().await {
        Ok(open) if open.status().is_success() => return Ok(stranger), // it asks for no token
        Ok(other) => return Err(format!("{url} answered {} and names no issuer", other.status()).into()),
        Err(keybound_client::Error::Resource { fault: ResourceFault::NoIssuer(issuers), .. }) => {
            issuers.into_iter().next().ok_or("the server names no issuer")?
        }
        Err(error) => return Err(error.into()),
    };

    let registration = Registration::native("keybound MCP example", ["http://127.0.0.1/callback"]);
    let registered = stranger.register(&issuer, &registration).await?;
    let access = Access::authorization_code(&*issuer, registered.client_id, Login::new(SystemBrowser::new()));
    Ok(builder().discover(move |found: &str| (found == &*issuer).then(|| access.clone())).build()?)
}
// ANCHOR_END: client

/// A server, and what is said to it with each request.
struct Server {
    client: Client,
    url: String,
    edition: String,
    session: Option<HeaderValue>,
    last: u64,
}

impl Server {
    fn has_sessions(&self) -> bool {
        &*self.edition < WITHOUT_SESSION
    }

    /// Sends a message. Nonces, tokens and retries are the client's work, not this one's.
    async fn post(&mut self, message: &Value) -> Result<Response> {
        let json = HeaderValue::from_static("application/json");
        let both = HeaderValue::from_static("application/json, text/event-stream");
        let mut request = self.client.request(Method::POST, &self.url).header(CONTENT_TYPE, json).header(ACCEPT, both);
        request = request.header(PROTOCOL_VERSION, HeaderValue::from_str(&self.edition)?);
        if let Some(session) = &self.session {
            request = request.header(SESSION_ID, session.clone());
        }
        if !self.has_sessions() {
            let field = |name: &'static str, at: &str| {
                let value = message.pointer(at).and_then(Value::as_str)?;
                Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
            };
            for (name, value) in
                [field("mcp-method", "/method"), field("mcp-name", "/params/name")].into_iter().flatten()
            {
                request = request.header(name, value);
            }
        }
        let response = request.body(message.to_string()).send().await?;
        if !response.status().is_success() {
            return Err(format!("{} answered {}", self.url, response.status()).into());
        }
        Ok(response)
    }

    /// Calls a method and waits for its result.
    async fn call(&mut self, method: &str, mut params: Value) -> Result<Value> {
        self.last += 1;
        if !self.has_sessions() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.edition,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "keybound", "version": env!("CARGO_PKG_VERSION")},
            });
        }
        let message = json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params});
        let response = self.post(&message).await?;
        if let Some(session) = response.headers().get(SESSION_ID) {
            self.session = Some(session.clone());
        }
        let mut answer = answer_to(self.last, response).await?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(format!("{method}: {}", answer["error"]).into()),
        }
    }

    async fn initialize(&mut self) -> Result<()> {
        let who = json!({"name": "keybound", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": self.edition, "capabilities": {}, "clientInfo": who});
        let result = self.call("initialize", params).await?;
        if let Some(edition) = result["protocolVersion"].as_str() {
            edition.clone_into(&mut self.edition); // the server has the last word
        }
        self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(())
    }
}

/// The answer to request `id`: one JSON text, or one event of several (server-sent events).
async fn answer_to(id: u64, mut response: Response) -> Result<Value> {
    let events =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if !events {
        return Ok(serde_json::from_slice(&response.bytes(MAX_MESSAGE).await?)?);
    }
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        read.extend_from_slice(&chunk);
        if read.len() > MAX_MESSAGE {
            return Err("an event is too long".into());
        }
        while let Some(end) = read.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            let message = line.strip_prefix(b"data:").and_then(|data| serde_json::from_slice::<Value>(data).ok());
            if let Some(message) = message.filter(|message| message["id"] == id) {
                return Ok(message);
            }
        }
    }
    Err("the server ended its events without an answer".into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: mcp URL [TOOL]")?;
    let tool = arguments.next();
    let edition = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_else(|_| EDITION.to_owned());
    let mut server = Server { client: client_for(&url).await?, url, edition, session: None, last: 0 };
    if server.has_sessions() {
        server.initialize().await?;
    }
    let tools = server.call("tools/list", json!({})).await?;
    let tool = tool.or_else(|| tools.pointer("/tools/0/name")?.as_str().map(str::to_owned));
    let tool = tool.ok_or("the server has no tools")?;
    let result = server.call("tools/call", json!({"name": tool, "arguments": {}})).await?;
    println!("{tool}: {result:#}");
    Ok(())
}
