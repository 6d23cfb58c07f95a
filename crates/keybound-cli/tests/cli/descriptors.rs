//! `keybound serve` with few descriptors: however many somebody asks for, some are left for everybody else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Instant;

use h2::client::{ResponseFuture, handshake};
use http::Request;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::serve::{gateway, sample};
use crate::support::{PATIENCE, Place, Service, after, free_address, get};

const SERVE: [&str; 3] = ["serve", "--config", "keybound.toml"];

/// Somebody connects as often as the limit on open files allows, and asks for nothing: who is connected is served, who comes is
/// told, and the admin listener answers.
#[test]
fn descriptors_are_left_for_upstreams_and_the_admin_listener() {
    let place = Place::new();
    let text =
        gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample()).replace("[[route]]", "[[route]]\nmode = \"open\"");
    place.write(
        "keybound.toml",
        &text.replace("[listen]", "[listen]\nworkers = 2").replace("http://127.0.0.1:0", "https://a.example"),
    );
    let mut service = Service::start(with_descriptors(&place, 128, &SERVE));
    service.line("leaves 16 connections of clients at listen.address, fewer than limits.connections, 10000");
    let address = service.address();
    let admin = admin_of(&mut service);
    let connect = || TcpStream::connect(address).unwrap();
    let mut known = connect();
    known.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut is_served = || {
        known.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let (mut answer, mut piece) = (String::new(), [0; 4096]);
        while !answer.ends_with("the sample answers") {
            let length = known.read(&mut piece).unwrap();
            assert_ne!(length, 0, "{answer}");
            answer.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    is_served();
    let mut garbage: Vec<_> = (0..20).map(|_| connect()).collect();
    garbage.iter_mut().for_each(|stream| stream.write_all(b"GET / HT").unwrap());
    is_served();
    let told = get(address, "/", "");
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("limits.connections"), "{told}");
    garbage.extend((0..150).map(|_| connect()));
    is_served();
    assert!(get(admin, "/healthz", "").starts_with("HTTP/1.1 200 "));
    drop(garbage);
}

/// The command, with so many descriptors.
fn with_descriptors(place: &Place, number: usize, arguments: &[&str]) -> Command {
    let plain = place.command(arguments);
    let mut command = Command::new("sh");
    let script = format!(r#"ulimit -n {number}; exec "$0" "$@""#);
    command.args(["-c", &script]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(place.work()).stdin(Stdio::null());
    command
}

fn admin_of(service: &mut Service) -> SocketAddr {
    let line = service.line("listening address=");
    after(&line, "admin=").split_whitespace().next().unwrap().parse().unwrap()
}

/// Somebody connects to every listener for requests as often as the limit on open files allows.
#[test]
fn descriptors_are_shared_by_all_listeners() {
    let place = Place::new();
    let [decisions, ext_authz] = [(); 2].map(|()| free_address());
    let listen = format!(
        "[listen]\nworkers = 2\ndecision_peers = [\"127.0.0.1\"]\ndecisions = \"{decisions}\"\next_authz = \"{ext_authz}\"\n"
    );
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample()).replace("[listen]\n", &listen);
    place.write("keybound.toml", &text.replace("http://127.0.0.1:0", "https://a.example"));
    let mut service = Service::start(with_descriptors(&place, 256, &SERVE));
    let (address, admin) = (service.address(), admin_of(&mut service));
    service.line(&format!("listening for questions of Envoy address={ext_authz}"));
    let connect = |address| TcpStream::connect(address).unwrap();
    let mut garbage: Vec<_> = (0..100).flat_map(|_| [address, decisions, ext_authz].map(connect)).collect();
    // The last ones are closed, for there are too many; so all before them were taken.
    for last in garbage.iter_mut().rev().take(3) {
        last.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(last.read(&mut [0]).expect("it is closed"), 0);
    }
    assert!(get(admin, "/healthz", "").starts_with("HTTP/1.1 200 "));
    drop(garbage);
    let fronts = "each of listen.address, listen.decisions, listen.ext_authz";
    service.line(&format!("leaves 16 connections of clients at {fronts}, fewer than limits.connections, 10000"));
    service.signal("TERM");
    service.ended();
    let said = |words: &str| service.said().iter().filter(|line| line.contains(words)).count();
    assert_eq!((said("leaves"), said("cannot take connections")), (1, 0), "{:#?}", service.said());
}

#[test]
fn few_descriptors_are_said_in_the_form_of_the_log() {
    let place = Place::new();
    let text =
        gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample()).replace("http://127.0.0.1:0", "https://a.example");
    place.write("keybound.toml", &format!("{text}[log]\nformat = \"json\"\n"));
    let mut service = Service::start(with_descriptors(&place, 128, &SERVE));
    let line = service.line("the limit on open files");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line["level"], "WARN");
}

/// An upstream that answers while it can read `gate`, and where each request is announced.
fn waiting_for(gate: &Arc<RwLock<()>>) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (announce, came) = channel();
    let gate = Arc::clone(gate);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, announce, gate) = (stream.unwrap(), announce.clone(), Arc::clone(&gate));
            thread::spawn(move || {
                while has_request(&mut stream) {
                    let _ = announce.send(());
                    drop(gate.read());
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            });
        }
    });
    (address, came)
}

/// Reads one, if there is one.
fn has_request(stream: &mut TcpStream) -> bool {
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut octet) {
            Ok(1) => head.push(octet[0]),
            _ => return false,
        }
    }
    true
}

/// The requests of three clients, each on one connection of HTTP/2.
async fn ask_for_much(address: SocketAddr) -> JoinSet<(u16, String)> {
    let mut answers = JoinSet::new();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..90 {
            client = client.ready().await.unwrap();
            let request = Request::get("http://a.example/slow").body(()).unwrap();
            answers.spawn(answer(client.send_request(request, true).unwrap().0));
        }
    }
    answers
}

/// Its status, and the body.
async fn answer(response: ResponseFuture) -> (u16, String) {
    let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
    let status = response.status().as_u16();
    let (mut body, mut text) = (response.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        text.extend(piece.unwrap());
    }
    (status, String::from_utf8(text).unwrap())
}

/// Three clients and a slow upstream: as many connections are opened to it as there is room for upstreams, the rest is told at once,
/// and what else the gateway does goes on. Afterwards `then` with the address; at `/quick` there is an upstream without any
/// connection so far.
fn with_a_slow_upstream(workers: usize, room: usize, then: impl FnOnce(SocketAddr)) {
    let (slow, quick) = (Arc::new(RwLock::new(())), Arc::new(RwLock::new(())));
    let held = slow.write().unwrap();
    let ((slow, came), (quick, _asked)) = (waiting_for(&slow), waiting_for(&quick));
    let place = Place::new();
    let listen = format!("[listen]\naddress = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = {workers}\n");
    let open = |path: &str, upstream| {
        format!("[[route]]\npath = \"{path}\"\nmode = \"open\"\nupstream = [\"http://{upstream}\"]\n")
    };
    let origin = "[[origin]]\nurl = \"https://a.example\"\n";
    place.write("keybound.toml", &[&listen, origin, &open("/slow", slow), &open("/quick", quick)].concat());
    let mut service = Service::start(with_descriptors(&place, 256, &SERVE));
    let (address, admin) = (service.address(), admin_of(&mut service));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut answers = runtime.block_on(ask_for_much(address));
    let mut next = || runtime.block_on(answers.join_next()).unwrap().unwrap();
    for _ in room..270 {
        assert_eq!(next(), (503, "{\"reason\":\"upstream.overload\"}\n".to_owned()));
    }
    (0..room).for_each(|_| came.recv_timeout(PATIENCE).unwrap());
    let told = get(address, "/quick", "");
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: 1\r\n"), "{told}");
    assert!(get(admin, "/healthz", "").starts_with("HTTP/1.1 200 "));

    drop(held);
    (0..room).for_each(|_| assert_eq!(next(), (200, String::new())));
    assert!(came.try_recv().is_err(), "more requests came");
    then(address);
    service.signal("TERM");
    service.ended();
    assert!(!service.said().iter().any(|line| line.contains("cannot")), "{:#?}", service.said());
}

#[test]
fn a_slow_upstream_leaves_descriptors_to_others() {
    with_a_slow_upstream(1, 102, |address| {
        let answer = get(address, "/quick", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "a connection that rests makes way: {answer}");
    });
}

#[test]
fn workers_share_the_room_for_connections_to_upstreams() {
    with_a_slow_upstream(2, 103, |address| {
        let asked = Instant::now();
        // Those that rest may be the other worker's, which closes them by and by.
        while !get(address, "/quick", "").starts_with("HTTP/1.1 200 ") {
            assert!(asked.elapsed() < PATIENCE, "no connection that rests makes way");
        }
    });
}
