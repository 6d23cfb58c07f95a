//! Traces, as a receiver of OTLP gets them and as upstreams see them.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use crate::log;
use crate::scene::Scene;
use crate::support::{Answer, Upstream, field, nobody};

const LONGEST: Duration = Duration::from_secs(30);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A receiver, and what it gets: the header of each request, and its spans.
fn receiver() -> (SocketAddr, Receiver<(String, ExportTraceServiceRequest)>) {
    let (send, received) = mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        while let Some(head) = client.head() {
            let (body, _) = client.body(&head);
            let request = ExportTraceServiceRequest::decode(&*body).unwrap();
            // The test may have what it wants.
            let _ = send.send((head, request));
            client.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (upstream.address, received)
}

/// A gateway with a route `/echo` and these settings of `[telemetry]`.
fn scene(settings: &str) -> Scene {
    let upstream = Upstream::echo();
    let route = format!("[[route]]\npath = \"/echo\"\nmode = \"open\"\nupstream = [\"http://{}\"]\n", upstream.address);
    Scene::new("", &format!("{route}{settings}"))
}

fn sent_to(receiver: SocketAddr) -> String {
    format!("[telemetry]\nendpoint = \"http://{receiver}\"\n")
}

fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

/// So many of them, however many requests they come in.
fn next(received: &Receiver<(String, ExportTraceServiceRequest)>, count: usize) -> Vec<Span> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(spans(&received.recv_timeout(LONGEST).unwrap().1).cloned());
    }
    assert_eq!(found.len(), count, "{found:?}");
    found
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(octets)
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

/// What the upstream got of trace, span and flags.
fn passed_on(answer: &Answer) -> [String; 3] {
    let text = answer.text();
    let parts: Vec<_> = field(&text, "traceparent").unwrap().split('-').map(str::to_owned).collect();
    assert_eq!((parts.len(), &*parts[0]), (4, "00"), "{text}");
    [parts[1].clone(), parts[2].clone(), parts[3].clone()]
}

#[test]
fn each_request_has_a_span_in_the_trace_it_belongs_to() {
    let (address, received) = receiver();
    let scene = scene(&(sent_to(address) + "headers = [\"x-api-key=secret\"]\nservice = \"edge\"\n"));
    let said = format!("00-{TRACE}-{PARENT}-01");
    let answer = scene.get(
        "/echo/7?page=2",
        &[("traceparent", &said), ("tracestate", "a=1"), ("tracestate", "b=2"), ("Authorization", "Bearer token-1")],
    );
    let [trace, span, flags] = passed_on(&answer);
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    assert_ne!(span, PARENT);
    assert_eq!(field(&answer.text(), "tracestate"), Some("a=1,b=2"));

    let (head, request) = received.recv_timeout(LONGEST).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        (field(&head, "content-type"), field(&head, "x-api-key")),
        (Some("application/x-protobuf"), Some("secret"))
    );
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("edge"));
    let found: Vec<_> = spans(&request).collect();
    let [only] = *found else { panic!("{found:?}") };
    assert_eq!([hex(&only.trace_id), hex(&only.span_id), hex(&only.parent_span_id)], [TRACE, &*span, PARENT]);
    assert_eq!((&*only.name, only.kind()), ("GET /echo", SpanKind::Server));
    assert!(only.end_time_unix_nano > only.start_time_unix_nano);
    for (name, value) in [
        ("http.request.method", Some("GET")),
        ("http.route", Some("/echo")),
        ("http.response.status_code", Some("200")),
        ("keybound.mode", Some("open")),
        ("keybound.reason", None),
        ("keybound.iat_offset", None),
    ] {
        assert_eq!(attribute(&only.attributes, name).as_deref(), value, "{name}");
    }
    assert!(attribute(&only.attributes, "keybound.upstream").unwrap().starts_with("http://127.0.0.1:"));
    let all = format!("{request:?}");
    for secret in ["token-1", "page=2", "/echo/7"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    until(&scene, "keybound_spans_total{result=\"sent\"}", 1.0);
}

#[test]
fn a_span_says_what_was_decided() {
    let (address, received) = receiver();
    let scene = scene(&sent_to(address));
    let token = scene.token("traced-app");
    let proof = scene.proof("/orders", &token, None);
    // Two that say where they belong, and so do not say it.
    let said = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(scene.get("/orders", &[("traceparent", &*said); 2]).status, 401);
    let authorization = format!("DPoP {token}");
    let answer = scene.get("/orders", &[("Authorization", &authorization), ("DPoP", &proof)]);
    let nonce = answer.field("dpop-nonce").unwrap();
    let proof = scene.proof("/orders", &token, Some(nonce));
    assert_eq!(scene.get("/orders", &[("Authorization", &authorization), ("DPoP", &proof)]).status, 200);

    let found = next(&received, 3);
    let reason = |span: &Span| attribute(&span.attributes, "keybound.reason");
    let of = |code: &str| found.iter().find(|span| reason(span).as_deref() == Some(code)).unwrap();
    let (stranger, challenged) = (of("credentials.missing"), of("nonce.barrier"));
    assert!(hex(&stranger.trace_id) != TRACE && stranger.parent_span_id.is_empty(), "{stranger:?}");
    for span in [stranger, challenged] {
        assert_eq!(attribute(&span.attributes, "http.response.status_code").as_deref(), Some("401"));
        assert_eq!((attribute(&span.attributes, "keybound.upstream"), &*span.name), (None, "GET /"));
        assert_eq!(span.status.clone().unwrap_or_default().code(), StatusCode::Unset, "the client's fault, not ours");
    }
    let admitted = found.iter().find(|span| reason(span).is_none()).unwrap();
    assert_eq!(attribute(&admitted.attributes, "keybound.mode").as_deref(), Some("required"));
    let offset: i64 = attribute(&admitted.attributes, "keybound.iat_offset").unwrap().parse().unwrap();
    assert!(offset.abs() < 60, "{offset}");
    let all = format!("{found:?}");
    for secret in [&*token, &proof, proof.rsplit('.').next().unwrap()] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn without_traces_the_fields_pass_unchanged() {
    let scene = scene("");
    let fields = [("traceparent", "cc-whatever"), ("tracestate", "a=1")];
    let text = scene.get("/echo", &fields).text();
    for (name, value) in fields {
        assert_eq!(field(&text, name), Some(value));
    }
    assert_eq!(field(&scene.get("/echo", &[]).text(), "traceparent"), None);
}

#[test]
fn who_decides_about_a_span() {
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    for (settings, parent, flags) in [
        ("", &unsampled, "00"),
        ("sampling = \"0\"\n", &sampled, "01"),
        ("sampling = \"0\"\nparent = \"ignore\"\n", &sampled, "00"),
        ("parent = \"ignore\"\n", &unsampled, "01"),
    ] {
        let (address, received) = receiver();
        let scene = scene(&(sent_to(address) + settings));
        let [trace, span, said] = passed_on(&scene.get("/echo", &[("traceparent", parent)]));
        assert_eq!((&*trace, &*said), (TRACE, flags), "{settings}");
        assert_ne!(span, PARENT);
        // At the end all is handed over that there is.
        scene.end();
        let handed_over = received.try_iter().map(|(_, request)| spans(&request).count()).sum::<usize>();
        assert_eq!(handed_over, usize::from(flags == "01"), "{settings}");
    }
}

/// Waits for a metric to reach a value.
fn until(scene: &Scene, metric: &str, least: f64) {
    let patience = Instant::now() + LONGEST;
    while scene.metric(metric).unwrap() < least {
        assert!(Instant::now() < patience, "{}", scene.look("/metrics").text());
        thread::yield_now();
    }
}

#[test]
fn a_dead_receiver_costs_a_line_and_a_count() {
    let address = nobody();
    let scene = scene(&sent_to(address));
    for count in 1..=2 {
        assert_eq!(scene.get("/echo", &[]).status, 200);
        until(&scene, "keybound_spans_total{result=\"failed\"}", f64::from(count));
    }
    let text = log::text();
    let of_this = |line: &&str| line.contains("spans cannot be handed over") && line.contains(&address.to_string());
    let lines = text.lines().filter(of_this);
    assert_eq!(lines.count(), 1, "{text}");
}

#[test]
fn a_receiver_that_says_nothing_holds_up_nobody_and_no_more_than_the_queue() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    loop {
        let scene = scene(&(sent_to(silent.local_addr().unwrap()) + "queue = 3\n"));
        for _ in 0..5 {
            assert_eq!(scene.get("/echo", &[]).status, 200);
        }
        let dropped = scene.metric("keybound_spans_total{result=\"dropped\"}");
        // After 5 s those in the queue are given up, and make room: then it took too long here.
        if scene.metric("keybound_spans_total{result=\"failed\"}") == Some(0.0) {
            return assert_eq!(dropped, Some(2.0));
        }
    }
}
