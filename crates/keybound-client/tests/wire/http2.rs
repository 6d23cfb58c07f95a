//! HTTP/2: negotiated or known beforehand, and what becomes of requests that the server did not look at.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::stream;
use h2::{Reason, server};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use keybound_client::{Body, Error, Url, Watch};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{USE_NONCE, part, with_token};

/// What a server does with a connection.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers, a nonce demanded where this says so.
    Answer { nonce: bool },
    /// Answers after it has refused the first stream.
    RefuseOne,
    /// Goes away without having looked at any stream.
    GoAway,
    /// Says of the first stream that it failed.
    Fail,
}

/// The proofs of requests, as they are sent.
#[derive(Clone, Debug, Default)]
struct Proofs(Arc<Mutex<Vec<String>>>);

impl Watch for Proofs {
    fn sending(&self, _: &Method, _: &Url, fields: &HeaderMap) {
        self.0.lock().push(fields["dpop"].to_str().unwrap().to_owned());
    }

    fn answered(&self, _: Version, _: StatusCode, _: &HeaderMap) {}
}

impl Proofs {
    /// How many there were; each was made for one request alone.
    #[track_caller]
    fn different(&self) -> usize {
        let mut all: Vec<String> =
            self.0.lock().iter().map(|proof| part(proof, 1)["jti"].as_str().unwrap().to_owned()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "a proof was sent twice");
        count
    }
}

/// A server that does this with its connections, one after the other, and the last with all that come then.
async fn server(script: &'static [Does]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/r", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut script = script.iter().copied().peekable();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let does = if script.len() > 1 { script.next() } else { script.peek().copied() };
            tokio::spawn(serve(stream, does.unwrap()));
        }
    });
    url
}

async fn serve(stream: TcpStream, does: Does) {
    if matches!(does, Does::GoAway) {
        return go_away(stream).await;
    }
    let mut connection = server::handshake(stream).await.unwrap();
    let mut first = true;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        match does {
            Does::RefuseOne if first => respond.send_reset(Reason::REFUSED_STREAM),
            Does::Fail if first => respond.send_reset(Reason::INTERNAL_ERROR),
            _ => answer(&request, respond, matches!(does, Does::Answer { nonce: true })),
        }
        first = false;
    }
}

fn answer(request: &Request<h2::RecvStream>, mut respond: server::SendResponse<Bytes>, nonce: bool) {
    let proof = request.headers()["dpop"].to_str().unwrap();
    let mut response = Response::new(());
    if nonce && part(proof, 1)["nonce"].is_null() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().insert("www-authenticate", USE_NONCE.parse().unwrap());
        response.headers_mut().insert("dpop-nonce", "n".parse().unwrap());
    }
    respond.send_response(response, true).unwrap();
}

/// Waits for the first fields and says that it has seen no stream (RFC 9113 section 6.8).
async fn go_away(mut stream: TcpStream) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS, empty
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            break; // HEADERS
        }
    }
    // GOAWAY, of all streams, NO_ERROR.
    stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

// R-CLI-01, R-NONCE-19: the same policy as over HTTP/1.1
#[tokio::test]
async fn a_nonce_is_answered_on_the_same_connection() {
    let url = server(&[Does::Answer { nonce: true }, Does::GoAway]).await;
    let proofs = Proofs::default();
    let client = with_token().http2_prior_knowledge().watch(proofs.clone()).build().unwrap();
    for tries in [2, 1] {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version(), response.tries()), (200, Version::HTTP_2, tries));
    }
    assert_eq!(proofs.different(), 3);
}

// R-CLI-01: what the server did not look at is sent again, with another proof
#[tokio::test]
async fn what_was_not_looked_at_is_sent_with_another_proof() {
    for script in [&[Does::RefuseOne][..], &[Does::GoAway, Does::Answer { nonce: false }]] {
        let url = server(script).await;
        let proofs = Proofs::default();
        let client = with_token().http2_prior_knowledge().watch(proofs.clone()).build().unwrap();
        let response = client.request(Method::POST, &url).body("whole").send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.tries()), (200, 2), "{script:?}");
        assert_eq!(proofs.different(), 2, "{script:?}");
    }
}

// R-CLI-17: once, if it cannot be sent again; and neither again and again, nor when the server may have seen it
#[tokio::test]
async fn nothing_else_is_sent_again() {
    let body = || {
        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"once")));
        Body::stream(StreamBody::new(stream::iter([frame])))
    };
    for (script, body, sent) in [
        (&[Does::RefuseOne][..], body(), 1),
        (&[Does::GoAway, Does::Answer { nonce: false }], body(), 1),
        (&[Does::GoAway], "whole".into(), 2),
        (&[Does::Fail], "whole".into(), 1),
    ] {
        let url = server(script).await;
        let proofs = Proofs::default();
        let client = with_token().http2_prior_knowledge().watch(proofs.clone()).build().unwrap();
        let error = client.request(Method::POST, &url).body(body).send().await.unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{script:?}: {error:?}");
        assert_eq!(proofs.different(), sent, "{script:?}");
    }
}

// Where TLS negotiates it, it is spoken without a word.
#[tokio::test]
async fn http2_is_negotiated() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/r", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        answer_all(stream).await;
    });
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(cert.der()));
    let authority = keybound_client::Certificate::from_pem(pem.as_bytes()).unwrap();
    let client = with_token().root_certificate(authority).build().unwrap();
    let response = client.get(&url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version(), response.tries()), (200, Version::HTTP_2, 2));
}

async fn answer_all(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        answer(&request, respond, true);
    }
}
