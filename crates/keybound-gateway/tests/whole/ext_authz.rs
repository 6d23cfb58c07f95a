//! `listen.ext_authz`: the words of `envoy.service.auth.v3`, spoken by the client of tonic. The real Envoy is among the tests of
//! proxies.

use std::collections::HashMap;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::Method;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::scene::{ISSUER, Running, Scene};

#[path = "../../src/decisions/envoy/messages.rs"]
mod messages;
mod policy;

use messages::{
    AppendAction, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderMap, HeaderValue,
    HeaderValueOption, HttpRequest, HttpResponse, OkHttpResponse, Request,
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const OVERWRITE: i32 = AppendAction::OverwriteIfExistsOrAdd as i32;

const ROUTES: &str = "[[route]]\npath = \"/\"\nscope = [\"orders:read\"]\n\
                      [[route]]\npath = \"/bearer\"\nupstream_authorization = \"bearer\"\n\
                      [[route]]\npath = \"/check\"\nproof = \"check\"\nupstream_authorization = \"pass\"\n\
                      [[route]]\npath = \"/signed\"\nproof = \"attest\"\nattestation_audience = [\"http://orders\"]\n\
                      methods = [\"GET\"]\n\
                      [[route]]\npath = \"/both\"\nmode = \"optional\"\n\
                      [[route]]\npath = \"/report\"\nmode = \"report\"\n\
                      [[route]]\npath = \"/open\"\nmode = \"open\"\n";

/// A question as Envoy puts it, with these fields, each ended by CRLF.
fn question(method: &str, path: &str, fields: &str) -> HttpRequest {
    let fields = fields.split_terminator("\r\n").map(|field| field.split_once(": ").unwrap());
    let mut headers: HashMap<String, String> =
        [(":method", method), (":path", path), (":authority", "api.example.com"), (":scheme", "https")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    for (name, value) in fields {
        let values = headers.entry(name.to_ascii_lowercase()).or_default();
        *values = if values.is_empty() { value.to_owned() } else { format!("{values},{value}") };
    }
    let text = str::to_owned;
    let (method, path, host, scheme) = (text(method), text(path), text("api.example.com"), text("https"));
    HttpRequest { method, path, host, scheme, headers, ..HttpRequest::default() }
}

fn get(path: &str, fields: &str) -> HttpRequest {
    question("GET", path, fields)
}

/// With each value by itself.
fn raw(mut http: HttpRequest, more: &[(&str, &[u8])]) -> HttpRequest {
    let field = |key: &str, value: &[u8]| HeaderValue {
        key: key.to_owned(),
        raw_value: Bytes::copy_from_slice(value),
        ..HeaderValue::default()
    };
    let headers = core::mem::take(&mut http.headers);
    let headers = headers.iter().map(|(name, value)| field(name, value.as_bytes()));
    let headers = headers.chain(more.iter().map(|(name, value)| field(name, value))).collect();
    HttpRequest { header_map: Some(HeaderMap { headers }), ..http }
}

/// Octets in, octets out.
struct Octets;

impl Codec for Octets {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, octets: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&octets);
        Ok(())
    }
}

impl Decoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A listener for Envoy in this process.
struct Service(Running);

impl Service {
    fn call(&self, method: &'static str, octets: Bytes) -> Result<Bytes, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.0.address)).unwrap();
            let mut client = Grpc::new(endpoint.connect().await.unwrap());
            client.ready().await.unwrap();
            let answer = client.unary(tonic::Request::new(octets), PathAndQuery::from_static(method), Octets).await;
            answer.map(tonic::Response::into_inner)
        })
    }

    fn check(&self, http: HttpRequest) -> CheckResponse {
        let attributes = Some(AttributeContext { request: Some(Request { http: Some(http) }) });
        let octets = CheckRequest { attributes }.encode_to_vec().into();
        CheckResponse::decode(self.call(CHECK, octets).unwrap()).unwrap()
    }

    fn passes(&self, http: HttpRequest) -> OkHttpResponse {
        match self.check(http) {
            CheckResponse { status: Some(status), http_response: Some(HttpResponse::Ok(ok)) } if status.code == 0 => ok,
            other => panic!("{other:?}"),
        }
    }

    fn denies(&self, http: HttpRequest) -> DeniedHttpResponse {
        match self.check(http) {
            CheckResponse { status: Some(status), http_response: Some(HttpResponse::Denied(denied)) }
                if status.code != 0 =>
            {
                denied
            }
            other => panic!("{other:?}"),
        }
    }

    /// Status and reason of a denial.
    fn reason(&self, http: HttpRequest) -> (i32, String) {
        let denied = self.denies(http);
        (denied.status.clone().unwrap().code, value(&denied.headers, "keybound-reason").unwrap_or_default())
    }
}

fn values<'o>(options: &'o [HeaderValueOption], name: &'o str) -> impl Iterator<Item = (&'o str, i32)> {
    let fields = options.iter().map(|option| (option.header.as_ref().unwrap(), option.append_action));
    fields.filter(move |(field, _)| field.key == name).map(|(field, action)| (&*field.value, action))
}

fn value(options: &[HeaderValueOption], name: &str) -> Option<String> {
    values(options, name).next().map(|(value, _)| value.to_owned())
}

fn nonce(scene: &Scene, service: &Service) -> String {
    let denied = service.denies(get("/orders", &scene.credentials(Method::GET, "/orders", None)));
    assert_eq!(denied.status.unwrap().code, 401);
    assert_eq!(value(&denied.headers, "keybound-reason").unwrap(), "nonce.barrier");
    assert!(denied.body.contains("nonce.barrier"), "{}", denied.body);
    assert!(value(&denied.headers, "www-authenticate").unwrap().contains("use_dpop_nonce"));
    value(&denied.headers, "dpop-nonce").unwrap()
}

#[test]
fn a_bound_token_passes_once_and_is_named() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let nonce = nonce(&scene, &service);
    let credentials = scene.credentials(Method::GET, "/orders/17", Some(&nonce));
    let lies = "keybound-subject: root\r\nkeybound_issuer: root\r\nkeybound-x: root\r\n";
    let ok = service.passes(get("/orders/17?page=2", &format!("{credentials}{lies}")));
    for (name, expected) in [
        ("keybound-subject", "alice"),
        ("keybound-client", "orders-app"),
        ("keybound-scope", "orders:read"),
        ("keybound-issuer", ISSUER),
    ] {
        assert_eq!(values(&ok.headers, name).collect::<Vec<_>>(), [(expected, OVERWRITE)]);
    }
    assert_eq!(value(&ok.headers, "keybound-jkt").unwrap().len(), 43);
    let mut removed = ok.headers_to_remove;
    removed.sort();
    // What is set must not be among it: Envoy sets first.
    assert_eq!(removed, ["authorization", "dpop", "keybound-attestation", "keybound-x", "keybound_issuer"]);
    let exposed: Vec<_> = values(&ok.response_headers_to_add, "access-control-expose-headers").collect();
    assert_eq!(exposed, [("WWW-Authenticate, DPoP-Nonce", AppendAction::AppendIfExistsOrAdd as i32)]);
    let allowed: Vec<_> = values(&ok.response_headers_to_add, "access-control-allow-origin").collect();
    assert_eq!(allowed, [("*", AppendAction::AddIfAbsent as i32)]);
    // R-SEC-02
    assert_eq!(service.reason(get("/orders/17?page=2", &credentials)), (401, "replay.seen".to_owned()));
}

/// RFC 7515: three segments, of which the first says what it is.
#[test]
fn a_statement_goes_to_the_app_and_nothing_of_the_client_s_does() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let nonce = nonce(&scene, &service);
    let credentials = scene.credentials(Method::GET, "/signed", Some(&nonce));
    let ok = service.passes(get("/signed", &format!("{credentials}keybound-attestation: a lie\r\n")));
    let statements: Vec<_> = values(&ok.headers, "keybound-attestation").collect();
    let [(statement, OVERWRITE)] = statements[..] else { panic!("{statements:?}") };
    assert_eq!(statement.split('.').count(), 3, "{statement}");
    let mut removed = ok.headers_to_remove;
    removed.sort();
    assert_eq!(removed, ["authorization", "dpop"]);
}

#[test]
fn a_method_that_is_not_listed_is_refused_with_those_that_are() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let denied = service.denies(question("DELETE", "/signed", ""));
    assert_eq!(denied.status.unwrap().code, 405);
    assert_eq!(value(&denied.headers, "keybound-reason").unwrap(), "method.unlisted");
    assert!(value(&denied.headers, "allow").unwrap().contains("GET"));
}

#[test]
fn the_route_says_what_becomes_of_credentials() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let nonce = nonce(&scene, &service);
    let token = scene.token();
    let ok = service.passes(get("/bearer", &scene.credentials(Method::GET, "/bearer", Some(&nonce))));
    let authorization = value(&ok.headers, "authorization").unwrap();
    assert!(authorization.starts_with("Bearer ") && authorization.len() == "Bearer ".len() + token.len());
    assert_eq!(ok.headers_to_remove, ["keybound-attestation", "dpop"]);
    let ok = service.passes(get("/check", &scene.credentials(Method::GET, "/check", Some(&nonce))));
    assert_eq!(value(&ok.headers, "authorization"), None);
    assert_eq!(ok.headers_to_remove, ["keybound-attestation"]);
    // Nobody is vouched for: no identity, and what a client says it is goes away.
    for path in ["/open", "/report"] {
        let ok = service.passes(get(path, "authorization: Bearer x\r\nkeybound_jkt: root\r\n"));
        assert!(ok.headers.is_empty() && ok.response_headers_to_add.is_empty(), "{ok:?}");
        assert_eq!(ok.headers_to_remove.len(), 7, "{ok:?}");
        assert!(ok.headers_to_remove.iter().all(|name| name.starts_with("keybound")), "{ok:?}");
    }
}

#[test]
fn refusals_are_those_of_the_gateway() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let denied = service.denies(get("/both", ""));
    let challenges: Vec<_> = values(&denied.headers, "www-authenticate").map(|(_, action)| action).collect();
    assert_eq!(challenges, [OVERWRITE, AppendAction::AppendIfExistsOrAdd as i32], "{denied:?}");
    assert_eq!(value(&denied.headers, "access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(service.reason(get("/orders/a%2Fb", "")), (400, "path.ambiguous".to_owned()));
    let preflight = "origin: https://app.example\r\naccess-control-request-method: PUT\r\n";
    let denied = service.denies(question("OPTIONS", "/orders", preflight));
    assert_eq!(denied.status.unwrap().code, 204);
    assert_eq!(value(&denied.headers, "access-control-allow-methods").as_deref(), Some("PUT"));
    assert_eq!(service.reason(question("TRACE", "/orders", "")), (405, "method.refused".to_owned()));
    let elsewhere = HttpRequest { host: "evil.example".to_owned(), headers: HashMap::new(), ..get("/orders", "") };
    let two = Service(scene.for_envoy("127.0.0.1", "[[origin]]\nurl = \"https://other.example.com\"\n", ROUTES));
    assert_eq!(two.reason(elsewhere), (421, "host.unknown".to_owned()));
}

// R-PRF-01, R-PRF-02
#[test]
fn doubled_fields_are_refused_however_they_come() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let nonce = nonce(&scene, &service);
    let credentials = scene.credentials(Method::GET, "/orders", Some(&nonce));
    let repeated = || (401, "proof.repeated".to_owned());
    for second in ["dpop: a.b.c\r\n", "dpop: \r\n"] {
        assert_eq!(service.reason(get("/orders", &format!("{credentials}{second}"))), repeated());
    }
    for second in [&b"a.b.c"[..], b"", b"\xff"] {
        assert_eq!(service.reason(raw(get("/orders", &credentials), &[("dpop", second)])), repeated());
    }
    let (authorization, _) = credentials.split_once("\r\n").unwrap();
    for scheme in ["Bearer abc", "DPoP abc", ""] {
        let answer = service.reason(get("/orders", &format!("{authorization}\r\nauthorization: {scheme}\r\n")));
        assert_eq!(answer, (400, "credentials.repeated".to_owned()), "{scheme}");
    }
    service.passes(raw(get("/orders", &credentials), &[]));
}

// R-RS-10, R-RS-11
#[test]
fn a_form_is_looked_into_if_it_is_sent() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let asked = |fields: &str| question("POST", "/orders", &format!("{form}{fields}"));
    let body = || "a=1&access_token=abc".to_owned();
    let text = HttpRequest { body: body(), ..asked("authorization: DPoP abc\r\n") };
    assert_eq!(service.reason(text).1, "credentials.repeated");
    let octets = HttpRequest { raw_body: body().into(), ..asked("") };
    assert_eq!(service.reason(octets).1, "credentials.form");
    let encoded = HttpRequest { raw_body: body().into(), ..asked("content-encoding: gzip\r\n") };
    assert_eq!(service.reason(encoded), (415, "form.encoded".to_owned()));
    assert_eq!(service.reason(asked("")).1, "credentials.missing");
}

#[test]
fn a_question_that_does_not_tell_is_a_fault_of_the_setup() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let fault = || (500, "decision.fields".to_owned());
    let without = |change: fn(&mut HttpRequest)| {
        let mut http = get("/open", "");
        change(&mut http);
        http
    };
    for http in [
        without(|http| http.method.clear()),
        without(|http| http.path.clear()),
        without(|http| http.host.clear()),
        without(|http| http.scheme.clear()),
        without(|http| http.scheme = "ftp".to_owned()),
        without(|http| http.method = "GE T".to_owned()),
        without(|http| http.path = "https://api.example.com/open".to_owned()),
        // What is sent on is the field.
        without(|http| http.path = "/open/other".to_owned()),
        without(|http| http.method = "POST".to_owned()),
        without(|http| http.host = "other.example.com".to_owned()),
        without(|http| http.header_map = Some(HeaderMap::default())),
    ] {
        assert_eq!(service.reason(http.clone()), fault(), "{http:?}");
    }
    let octets = service.call(CHECK, Bytes::new()).unwrap();
    assert!(String::from_utf8_lossy(&octets).contains("decision.fields"));
    // What is no text was replaced in the attribute.
    let mut http = get("/open/!", "");
    http.headers.remove(":path");
    let answer = service.reason(raw(http, &[(":path", b"/open/\xff")]));
    assert_eq!(answer, (400, "target.invalid".to_owned()));
    assert_eq!(service.reason(raw(get("/open", ""), &[("x y", b"z")])), (400, "request.malformed".to_owned()));
}

#[test]
fn a_call_that_is_none_of_ours_fails() {
    let scene = Scene::new();
    let service = Service(scene.for_envoy("127.0.0.1", "", ROUTES));
    let failed = |method, octets: Bytes| service.call(method, octets).unwrap_err().code();
    assert_eq!(failed("/envoy.service.auth.v2.Authorization/Check", Bytes::new()), Code::Unimplemented);
    assert_eq!(failed(CHECK, Bytes::from_static(b"\x0a\xff\xff")), Code::InvalidArgument);
    assert_eq!(failed(CHECK, vec![b'a'; (256 << 10) + 1].into()), Code::ResourceExhausted);
    // By HTTP/1.1, and no gRPC at all.
    let answer = service.0.get("/", "");
    assert_eq!((answer.status, answer.field("grpc-status")), (415, Some("3")));
    let stranger = Service(scene.for_envoy("192.0.2.1", "", ROUTES));
    assert_eq!(stranger.call(CHECK, Bytes::new()).unwrap_err().code(), Code::PermissionDenied);
}
