//! TLS on the listener: what is spoken inside, how the certificate changes, and what does not get through.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keybound_gateway::config::Config;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::support::{Client, Gateway, Upstream, field};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Certificate and key in a folder of their own.
pub(crate) struct Files {
    folder: TempDir,
    certificate: CertificateDer<'static>,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = write(folder.path());
        Self { folder, certificate }
    }

    fn certificate(&self) -> String {
        self.folder.path().join("cert.pem").display().to_string()
    }

    fn key(&self) -> String {
        self.folder.path().join("key.pem").display().to_string()
    }

    /// The settings of `[listen]` for them.
    pub(crate) fn listen(&self) -> String {
        format!("tls = {{ certificate = {:?}, key = {:?} }}\n", self.certificate(), self.key())
    }

    /// The setting of a route that trusts this certificate alone.
    pub(crate) fn authority(&self) -> String {
        format!("upstream_ca = {:?}", self.certificate())
    }

    /// Trusts nobody but this certificate, and speaks these protocols.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A connection whose handshake is done.
    fn connect(&self, gateway: &Gateway, config: ClientConfig) -> io::Result<Secure> {
        self.connect_over(Client::to(gateway.address).stream, config)
    }

    /// The same, on this one.
    pub(crate) fn connect_over(&self, mut socket: TcpStream, config: ClientConfig) -> io::Result<Secure> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(session, socket))
    }
}

pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A new pair, in place of what was there.
fn write(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn open(upstream: &Upstream, listen: &str, limits: &str) -> Gateway {
    let route = format!(
        "[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]\n[limits]\n{limits}",
        upstream.address
    );
    Gateway::listening(listen, &route)
}

/// The answer to a request, to the end of the connection.
pub(crate) fn last_answer(stream: &mut Secure, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    // A server may end TCP without ending TLS.
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn speaks_both_versions_of_tls_and_http() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let gateway = open(&upstream, &files.listen(), "");
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        for (offered, chosen) in [(&["http/1.1"][..], Some("http/1.1")), (&["h2", "http/1.1"], Some("h2")), (&[], None)]
        {
            let mut stream = files.connect(&gateway, files.client(&[version], offered)).unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(expected));
            assert_eq!(stream.conn.alpn_protocol(), chosen.map(str::as_bytes));
            if chosen != Some("h2") {
                let answer = last_answer(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            }
        }
    }
    let refused = files.connect(&gateway, files.client(&[&TLS13], &["smtp"]));
    assert!(refused.is_err(), "no protocol in common");
}

// R-SEC-17: what is looked at is what was inside.
#[test]
fn ambiguous_framing_is_seen_inside() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let gateway = open(&upstream, &files.listen(), "");
    let mut stream = files.connect(&gateway, files.client(&[&TLS13], &["http/1.1"])).unwrap();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = last_answer(&mut stream, request);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("framing.ambiguous"), "{answer}");
    assert_eq!(upstream.connections(), 0);
}

/// A connection that is open keeps its certificate and goes on; the next gets the new one. A file that cannot be used
/// changes nothing.
#[test]
fn the_certificate_changes_without_a_dropped_connection() {
    let (mut files, upstream) = (Files::new(), Upstream::echo());
    let gateway = open(&upstream, &files.listen(), "");
    let old = files.certificate.clone();
    let shown = |stream: &Secure| stream.conn.peer_certificates().unwrap()[0].clone();
    let mut open = files.connect(&gateway, files.client(&[&TLS13], &["http/1.1"])).unwrap();
    let ask = |stream: &mut Secure| {
        stream.write_all(GET.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            head.extend(octet);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let mut body = vec![0; field(&head, "content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
    };
    ask(&mut open);
    assert_eq!(shown(&open), old);

    files.certificate = write(files.folder.path());
    let text = format!(
        "[listen]\n{}[[origin]]\nurl = \"https://a\"\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:1\"]",
        files.listen()
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    gateway.certificates.as_ref().unwrap().reload(config.listen.tls.as_ref().unwrap());
    let mut new = files.connect(&gateway, files.client(&[&TLS13], &["http/1.1"])).unwrap();
    assert_eq!(shown(&new), files.certificate);
    assert_ne!(files.certificate, old);
    ask(&mut new);
    ask(&mut open);

    std::fs::write(files.key(), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let errors = Config::parse(&text, Path::new("test.toml")).unwrap_err().to_string();
    assert!(errors.contains("is not the key of the first certificate"), "{errors}");
    assert!(files.connect(&gateway, files.client(&[&TLS13], &["http/1.1"])).is_ok());
}

#[test]
fn a_slow_handshake_is_cut_off() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let gateway = open(&upstream, &files.listen(), "handshake_timeout = \"200ms\"");
    let began = Instant::now();
    assert!(gateway.client().is_over());
    let mut client = gateway.client();
    // The beginning of a record that does not end.
    client.send(b"\x16\x03\x01\x02\x00");
    assert!(client.is_over());
    let waited = began.elapsed();
    // By itself each would take ten.
    assert!(waited > Duration::from_millis(390) && waited < Duration::from_secs(15), "{waited:?}");
}

#[test]
fn what_is_not_tls_gets_no_service() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let gateway = open(&upstream, &files.listen(), "");
    let mut client = gateway.client();
    client.send(GET);
    assert!(!String::from_utf8_lossy(&client.read_out()).contains("HTTP"));
    assert_eq!(upstream.connections(), 0);
}

/// With TLS the gateway may listen to the world; each mistake in the files has its line.
#[test]
fn mistakes_in_the_files_have_their_line() {
    let (files, other) = (Files::new(), Files::new());
    std::fs::write(files.folder.path().join("empty.pem"), "").unwrap();
    let empty = files.folder.path().join("empty.pem").display().to_string();
    let rest = "[[origin]]\nurl = \"https://a\"\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:1\"]";
    let lines = |certificate: &str, key: &str| {
        let text = format!(
            "[listen]\naddress = \"0.0.0.0:8443\"\n[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{rest}"
        );
        Config::parse(&text, Path::new("k.toml")).map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    assert_eq!(lines(&files.certificate(), &files.key()), "");
    for (certificate, key, line) in [
        (&empty, &files.key(), "k.toml:4: listen.tls.certificate: "),
        (&files.key(), &files.key(), "k.toml:4: listen.tls.certificate: "),
        (&files.certificate(), &empty, "k.toml:5: listen.tls.key: "),
        (&files.certificate(), &files.certificate(), "k.toml:5: listen.tls.key: "),
        (&files.certificate(), &other.key(), "k.toml:5: listen.tls.key: is not the key of the first certificate"),
    ] {
        let said = lines(certificate, key);
        assert!(said.starts_with(line) && said.lines().count() == 1, "{said}");
    }
    let both = lines(&empty, &empty);
    assert!(both.contains("holds no certificate") && both.contains("holds no private key"), "{both}");
}
