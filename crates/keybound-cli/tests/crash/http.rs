//! A client of the issuer that tells an answer from no answer: over one connection, with proofs and assertions made by hand.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer as _};
use keybound::jws::encode_base64url;
use serde_json::{Value, json};

/// No wait for an answer is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn demands_nonce(&self) -> bool {
        self.status == 400 && self.json()["error"] == "use_dpop_nonce"
    }

    /// The issuer says that it could not do it, and perhaps has: to a program in JSON, to a person on a page.
    pub(crate) fn is_unavailable(&self) -> bool {
        if self.status != 503 {
            return false;
        }
        assert!(self.fields.contains_key("retry-after"), "{self:?}");
        assert_eq!(self.fields["cache-control"], "no-store", "{self:?}");
        let is_page = self.fields["content-type"] == "text/html; charset=utf-8" && self.body.contains("<h1>");
        assert!(is_page || self.fields["content-type"] == "application/json", "{self:?}");
        true
    }
}

/// One client with a key of its own.
pub(crate) struct Peer {
    address: SocketAddr,
    key: SoftwareKey,
    nonce: Option<String>,
    connection: Option<BufReader<TcpStream>>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, key: SoftwareKey::generate(Alg::Es256).unwrap(), nonce: None, connection: None }
    }

    /// Another one with the key of this one, and nothing else.
    pub(crate) fn twin(&self) -> Self {
        let key = SoftwareKey::from_jwk(self.key.to_private_jwk().unwrap().as_bytes()).unwrap();
        Self { address: self.address, key, nonce: self.nonce.clone(), connection: None }
    }

    /// Forgets the connection, whose other end may be gone.
    pub(crate) fn reconnect(&mut self) {
        self.connection = None;
    }

    /// The thumbprint of its key.
    pub(crate) fn jkt(&self) -> String {
        self.key.thumbprint().to_string()
    }

    /// What the user's browser gets.
    pub(crate) fn get(&mut self, target: &str) -> io::Result<Answer> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.send(&head)
    }

    /// A form without a proof.
    pub(crate) fn post(&mut self, path: &str, form: &str) -> io::Result<Answer> {
        self.posted(path, form, "")
    }

    /// A token request with a proof; again with a nonce where one is demanded, which consumes nothing (R-AS-22).
    pub(crate) fn token(&mut self, form: &str) -> io::Result<Answer> {
        for _ in 0..3 {
            let proof = self.proof();
            let answer = self.posted("/token", form, &format!("DPoP: {proof}\r\n"))?;
            if let Some(nonce) = answer.fields.get("dpop-nonce") {
                self.nonce = Some(nonce.clone());
            }
            if !answer.demands_nonce() {
                return Ok(answer);
            }
        }
        panic!("a nonce is demanded again and again");
    }

    fn posted(&mut self, path: &str, form: &str, fields: &str) -> io::Result<Answer> {
        let (host, length) = (self.address, form.len());
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n");
        self.send(&format!("{head}Content-Type: application/x-www-form-urlencoded\r\n{fields}\r\n{form}"))
    }

    fn send(&mut self, request: &str) -> io::Result<Answer> {
        let result = self.try_send(request);
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn try_send(&mut self, request: &str) -> io::Result<Answer> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut().expect("it was made");
        connection.get_mut().write_all(request.as_bytes())?;
        read_answer(connection)
    }

    fn proof(&self) -> String {
        let jwk: Value = serde_json::from_str(&self.key.public_jwk().to_json()).unwrap();
        let mut claims = json!({
            "jti": unique(), "htm": "POST", "htu": format!("http://{}/token", self.address), "iat": now(),
        });
        if let Some(nonce) = &self.nonce {
            claims["nonce"] = nonce.as_str().into();
        }
        sign(&self.key, &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }), &claims)
    }
}

/// An answer with all of its body: anything less is no answer.
fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let line = |connection: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        match connection.read_line(&mut line)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ if !line.ends_with("\r\n") => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let status = line(connection)?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let mut fields = BTreeMap::new();
    loop {
        let field = line(connection)?;
        let Some((name, value)) = field.split_once(':') else { break };
        fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = fields.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(Answer { status, fields, body: String::from_utf8(body).expect("text") })
}

/// An assertion of the client `service` (RFC 7523).
pub(crate) fn assertion(key: &SoftwareKey, issuer: &str) -> String {
    let claims = json!({
        "iss": "service", "sub": "service", "aud": issuer, "jti": unique(), "iat": now(), "exp": now() + 300,
    });
    sign(key, &json!({ "typ": "JWT", "alg": "ES256" }), &claims)
}

fn sign(key: &SoftwareKey, header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| encode_base64url(part.to_string().as_bytes()));
    let input = [&*header, ".", &claims].concat();
    let signature = key.sign(input.as_bytes()).unwrap();
    [&*input, ".", &encode_base64url(&signature)].concat()
}

pub(crate) fn unique() -> String {
    encode_base64url(&random_array::<16>().unwrap())
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
