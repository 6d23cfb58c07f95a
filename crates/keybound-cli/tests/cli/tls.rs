//! TLS at a real `serve`: the certificate that a SIGHUP changes.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::serve::{gateway, sample};
use crate::support::{PATIENCE, Place};

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A new pair, in place of what was there.
fn write(place: &Place) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    place.write("cert.pem", &cert.pem());
    place.write("key.pem", &signing_key.serialize_pem());
    cert.der().clone()
}

/// A connection with somebody who shows this certificate.
fn connect(address: SocketAddr, shown: &CertificateDer<'static>) -> io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots.add(shown.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// One request on a connection that stays.
fn ask(stream: &mut Secure) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"the sample answers") {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).unwrap();
        assert_ne!(length, 0, "it was dropped: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..length]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

/// However a test ends, those who ask stop.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_certificate_is_renewed_under_load() {
    let place = Place::new();
    let old = write(&place);
    let tls = "[listen]\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample());
    let text = text.replace("[listen]\n", tls).replace("http://127.0.0.1:0", "https://localhost");
    place.write("keybound.toml", &text.replace("[[route]]", "[[route]]\nmode = \"open\""));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let address = service.address();
    let (over, served) = (AtomicBool::new(false), [(); 4].map(|()| AtomicUsize::new(0)));
    let (over, served, old) = (&over, &served, &old);
    thread::scope(|scope| {
        let _ends = Ends(over);
        for served in served {
            scope.spawn(move || {
                let mut stream = connect(address, old).unwrap();
                while !over.load(Ordering::Relaxed) {
                    ask(&mut stream);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Each of them three times from now on, on the connection that it has.
        let all_are_served = || {
            let (deadline, before) =
                (Instant::now() + PATIENCE, served.each_ref().map(|served| served.load(Ordering::Relaxed)));
            while served.iter().zip(before).any(|(served, before)| served.load(Ordering::Relaxed) < before + 3) {
                assert!(Instant::now() < deadline, "somebody is served no more");
                thread::yield_now();
            }
        };
        all_are_served();
        let new = write(&place);
        service.signal("HUP");
        service.line("read again and is in force");
        ask(&mut connect(address, &new).unwrap());
        assert!(connect(address, old).is_err(), "the one before is shown to nobody new");
        all_are_served();

        place.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
        service.signal("HUP");
        service.line("is not the key of the first certificate");
        service.line("the one before stays in force");
        ask(&mut connect(address, &new).unwrap());
        all_are_served();
    });
    assert_eq!(service.terminate(), Some(0));
}
