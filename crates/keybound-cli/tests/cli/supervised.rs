//! `keybound serve` as a supervisor runs it: on sockets that are passed in, and telling how it is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::serve::{gateway, sample};
use crate::support::{PATIENCE, Place, Service, get};

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
    // Whoever is connected may be slow to ask.
    let limits = "[limits]\ndrain_idle_timeout = \"30s\"\n";
    place.write("keybound.toml", &(text.replace("[[route]]", "[[route]]\nmode = \"open\"") + limits));
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
