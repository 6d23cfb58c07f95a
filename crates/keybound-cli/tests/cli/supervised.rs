//! `keybound serve` as a supervisor runs it: on sockets that are passed in, and telling how it is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::serve::{gateway, sample};
use crate::support::{PATIENCE, Place, Service, after, free_address, get};

/// The shell hands its standard input on as the first socket that is passed in, under its own process number.
fn passing(place: &Place, socket: &TcpListener, name: &str, arguments: &[&str]) -> Command {
    let plain = place.command(arguments);
    let mut command = Command::new("sh");
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let script = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&0 </dev/null"#;
    command.args(["-c", script]).arg(plain.get_program()).args(plain.get_args()).current_dir(place.work());
    command.env("LISTEN_FDNAMES", name).stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

fn listening() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

const SERVE: [&str; 3] = ["serve", "--config", "keybound.toml"];

/// Three restarts while clients come, each on a connection of its own: whoever comes meanwhile waits, and nobody is lost.
#[test]
fn a_restart_loses_no_connection() {
    let place = Place::new();
    let (socket, address) = listening();
    let text = gateway(&address.to_string(), "http://127.0.0.1:9", &sample());
    place.write("keybound.toml", &text.replace("[[route]]", "[[route]]\nmode = \"open\""));
    let start = || {
        let mut service = Service::start(passing(&place, &socket, "keybound.socket", &SERVE));
        assert_eq!(service.address(), address);
        service
    };
    let (enough, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let mut service = start();
        let ask = || {
            while !enough.load(Ordering::Relaxed) {
                let answer = get(address, "/", "");
                assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("the sample answers"), "{answer}");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for _ in 0..3 {
            let before = answers.load(Ordering::Relaxed);
            while answers.load(Ordering::Relaxed) < before + 20 && !clients.iter().any(|client| client.is_finished()) {
                thread::yield_now();
            }
            assert_eq!(service.terminate(), Some(0));
            let mut waiting = TcpStream::connect(address).expect("the socket is still there");
            waiting.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            service = start();
            let mut answer = String::new();
            waiting.set_read_timeout(Some(PATIENCE)).unwrap();
            waiting.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        enough.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(service.terminate(), Some(0));
    });
}

#[test]
fn a_socket_that_does_not_fit_the_configuration_is_refused() {
    let place = Place::new();
    let (socket, address) = listening();
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], address.port()));
    let refused = |listen: SocketAddr, name: &str, arguments: &[&str]| {
        place.write("keybound.toml", &gateway(&listen.to_string(), "http://127.0.0.1:9", "http://127.0.0.1:9"));
        let output = passing(&place, &socket, name, arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = refused(elsewhere, "address", &SERVE);
    let expected = format!(
        "error: cannot listen at {elsewhere}: the socket that was passed in for it is at {address}; the setting and \
         ListenStream= must agree\n"
    );
    assert_eq!((status, said), (Some(1), expected));
    let named =
        "error: a socket was passed in as \"http\"; FileDescriptorName= may be address, admin, decisions, ext_authz\n";
    assert_eq!(refused(address, "http", &SERVE), (Some(2), named.to_owned()));
    for setting in ["decisions", "ext_authz"] {
        let (status, said) = refused(elsewhere, setting, &SERVE);
        assert_eq!(status, Some(2), "{said}");
        let nothing = format!("a socket was passed in for listen.{setting}, and nothing listens there\n");
        assert!(said.ends_with(&nothing), "{said}");
    }
    let trial = "error: sockets were passed in (LISTEN_FDS), and no --config says what listens there\n";
    assert_eq!(refused(address, "address", &["serve"]), (Some(2), trial.to_owned()));
}

/// Envoy's questions come by the socket that is named for them; clients by a port that is taken as configured.
#[test]
fn envoys_socket_is_passed_in_by_its_name() {
    let place = Place::new();
    let (socket, ext_authz) = listening();
    let listen = format!("[listen]\next_authz = \"{ext_authz}\"\ndecision_peers = [\"127.0.0.1\"]\n");
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample());
    place.write("keybound.toml", &text.replace("[listen]\n", &listen));
    let mut service = Service::start(passing(&place, &socket, "ext_authz", &SERVE));
    assert_ne!(service.address(), ext_authz);
    service.line(&format!("listening for questions of Envoy address={ext_authz}"));
    let answer = get(ext_authz, "/", "");
    assert!(answer.starts_with("HTTP/1.1 415 ") && answer.contains("grpc-status: 3\r\n"), "{answer}");
    assert_eq!(service.terminate(), Some(0));
    assert!(TcpStream::connect(ext_authz).is_ok(), "it outlives the process");
}

#[test]
fn a_supervisor_is_told() {
    let place = Place::new();
    let socket = place.work().join("notify");
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 512];
        let length = supervisor.recv(&mut text).expect("the supervisor is told");
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", "http://127.0.0.1:9");
    place.write("keybound.toml", &text);
    let mut command = place.command(&SERVE);
    command.env("NOTIFY_SOCKET", &socket);
    let mut service = Service::start(command);
    assert_eq!(told(), "READY=1\nSTATUS=serving\n");

    for (file, outcome) in [
        (text.as_str(), "READY=1\nSTATUS=serving\n"),
        ("odd = 1\n", "READY=1\nSTATUS=serving; the configuration was not reloaded, the log says why\n"),
    ] {
        place.write("keybound.toml", file);
        service.signal("HUP");
        let reloading = told();
        assert!(reloading.starts_with("RELOADING=1\n"), "{reloading}");
        let (_, microseconds) = reloading.split_once("MONOTONIC_USEC=").expect("systemd wants it since version 253");
        assert!(microseconds.trim_end().parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
        assert_eq!(told(), outcome);
    }
    service.signal("TERM");
    assert_eq!(told(), "STOPPING=1\nSTATUS=finishing the requests in flight\n");
    assert_eq!(service.ended().code(), Some(0));
}

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
