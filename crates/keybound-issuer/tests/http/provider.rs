//! Another OpenID provider, in octets: whoever comes with a code gets the claims that are written in it, signed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};
use keybound::jws::{decode_base64url, encode_base64url};
use serde_json::{Value, json};

use crate::browser::{Browser, Shown};
use crate::people::{decoded, encoded};

/// The one there is, for all tests: it keeps nothing.
pub(crate) static PROVIDER: LazyLock<Provider> = LazyLock::new(Provider::start);

pub(crate) struct Provider {
    pub(crate) issuer: String,
    key: SoftwareKey,
}

/// What a browser was sent there with.
pub(crate) struct Sent(String);

impl Sent {
    /// Off this page.
    pub(crate) fn by(page: &Shown) -> Self {
        let location = page.body.split("content=\"0;url=").nth(1).unwrap_or_else(|| panic!("it stays: {page:?}"));
        Self(location.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.0.split_once('?')?.1.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| decoded(value))
    }

    /// Comes back as this user, of whom the ID token says this as well.
    pub(crate) fn back(&self, browser: &mut Browser<'_>, sub: &str, now: u64, more: &Value) -> Shown {
        let mut claims = json!({
            "iss": PROVIDER.issuer, "aud": "us", "sub": sub, "nonce": self.parameter("nonce"), "iat": now, "exp": now + 300,
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let (code, state) = (encode_base64url(claims.to_string().as_bytes()), self.parameter("state").unwrap());
        browser.open(&format!("/sign-in/from/work?code={code}&state={}", encoded(&state)))
    }
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = SoftwareKey::generate(Alg::Es256).unwrap();
        // It ends with the process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                PROVIDER.answer(&connection.unwrap());
            }
        });
        Self { issuer, key }
    }

    fn answer(&self, connection: &TcpStream) {
        let mut reader = BufReader::new(connection);
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).unwrap();
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).unwrap();
            match field.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap();
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let text = self.said(line.split(' ').nth(1).unwrap_or_default(), &String::from_utf8(body).unwrap()).to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        write!(&mut &*connection, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    }

    fn said(&self, path: &str, body: &str) -> Value {
        let base = &self.issuer;
        match path {
            "/.well-known/openid-configuration" => json!({
                "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"), "jwks_uri": format!("{base}/jwks"),
            }),
            "/jwks" => json!({ "keys": [serde_json::from_str::<Value>(&self.key.public_jwk().to_json()).unwrap()] }),
            _ => {
                let code = body.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap_or_default();
                let claims = decode_base64url(code).unwrap();
                let signed = format!("{}.{}", encode_base64url(br#"{"alg":"ES256"}"#), encode_base64url(&claims));
                let signature = encode_base64url(&self.key.sign(signed.as_bytes()).unwrap());
                json!({ "access_token": "of no use", "token_type": "Bearer", "id_token": format!("{signed}.{signature}") })
            }
        }
    }
}
