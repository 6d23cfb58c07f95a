//! A key in a cloud's key service, whose private half nobody sees: each proof costs a request to the service. The service is asked
//! as AWS KMS is (`GetPublicKey`, `Sign` with `ECDSA_SHA_256`); here a stand-in on loopback answers. The real one wants its requests
//! signed by the cloud's own library, at the place that is marked.
//!
//! ```text
//! cargo run -p keybound-client --example kms
//! ```

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::post};
use data_encoding::BASE64;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, Crypto as _, Signer as _, SigningFailed};
use keybound::jwk::{KeyOctets, PublicJwk};
use keybound::jws::{decode_base64url, encode_base64url};
use keybound_client::{AsyncSigner, Client, Key, PlainHttp, Signing, Token};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A key of the service.
#[derive(Debug)]
pub(crate) struct KmsKey {
    http: reqwest::Client,
    endpoint: String,
    id: String,
    public: PublicJwk,
}

impl KmsKey {
    /// Asks for the public half, once.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the key is none on P-256.
    pub(crate) async fn open(endpoint: &str, id: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answer = ask(&http, endpoint, "GetPublicKey", &json!({"KeyId": id})).await?;
        let der = BASE64.decode(answer["PublicKey"].as_str().ok_or("no PublicKey")?.as_bytes())?;
        // SubjectPublicKeyInfo of P-256 ends with the point: 4, x, y.
        let point = der.len().checked_sub(65).map(|start| &der[start..]).ok_or("not a key on P-256")?;
        let (x, y) = (encode_base64url(&point[1..33]), encode_base64url(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}).to_string();
        let public = PublicJwk::from_json(jwk.as_bytes()).map_err(|_| "not a key on P-256")?;
        Ok(Self { http, endpoint: endpoint.to_owned(), id: id.to_owned(), public })
    }
}

impl AsyncSigner for KmsKey {
    fn alg(&self) -> Alg {
        Alg::Es256
    }

    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    fn sign<'s>(&'s self, message: &'s [u8]) -> Signing<'s> {
        Box::pin(async move {
            let failed = |why: Failure| SigningFailed::new(why.to_string());
            let asked = json!({
                "KeyId": self.id,
                "Message": BASE64.encode(message),
                "MessageType": "RAW",
                "SigningAlgorithm": "ECDSA_SHA_256",
            });
            let answer = ask(&self.http, &self.endpoint, "Sign", &asked).await.map_err(failed)?;
            let signature = answer["Signature"].as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
            signature.as_deref().and_then(raw).ok_or_else(|| SigningFailed::new("the service gave no signature"))
        })
    }
}

async fn ask(http: &reqwest::Client, endpoint: &str, action: &str, body: &Value) -> Result<Value, Failure> {
    let request = http.post(endpoint).header("x-amz-target", format!("TrentService.{action}")).json(body);
    // Here the cloud's library signs the request (AWS: Signature Version 4).
    Ok(request.send().await?.error_for_status()?.json().await?)
}

/// R and S at full length, as JWS wants them, out of the DER that services give (RFC 3279 section 2.2.3).
fn raw(der: &[u8]) -> Option<Vec<u8>> {
    fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
        let [2, length, rest @ ..] = der else { return None };
        let (octets, rest) = rest.split_at_checked((*length).into())?;
        Some((octets.strip_prefix(&[0]).unwrap_or(octets), rest))
    }
    let [0x30, length, rest @ ..] = der else { return None };
    let (r, rest) = integer(rest.get(..usize::from(*length))?)?;
    let (s, _) = integer(rest)?;
    let mut both = vec![0; 64];
    both.get_mut(32_usize.checked_sub(r.len())?..32)?.copy_from_slice(r);
    both.get_mut(64_usize.checked_sub(s.len())?..)?.copy_from_slice(s);
    Some(both)
}

/// Gets one request through, and checks the signature of its proof.
///
/// # Errors
///
/// Anything that went wrong.
pub(crate) async fn run() -> Result<String, Failure> {
    let service =
        serve(Router::new().route("/", post(stand_in)).with_state(Arc::new(SoftwareKey::generate(Alg::Es256)?)))
            .await?;
    let key = KmsKey::open(&service, "alias/orders").await?;
    let public = key.public_jwk().clone();

    let (sender, mut proofs) = tokio::sync::mpsc::channel(1);
    let api = Router::new().fallback(move |fields: http::HeaderMap| async move {
        // A closed channel: nobody looks any more.
        let _ = sender.send(fields.get("dpop").cloned()).await;
        "hello"
    });
    let api = serve(api).await?;
    let client =
        Client::builder(Key::remote(key)).plain_http(PlainHttp::Loopback).token(Token::new("token")?).build()?;
    client.get(&api).send().await?;

    let proof = proofs.recv().await.flatten().ok_or("no proof came")?;
    let (signed, signature) = proof.to_str()?.rsplit_once('.').ok_or("no proof came")?;
    let signature = decode_base64url(signature).map_err(|why| format!("{why:?}"))?;
    let prepared = AwsLc.prepare(&public, Alg::Es256).map_err(|why| format!("{why:?}"))?;
    prepared.verify(signed.as_bytes(), &signature).map_err(|_| "the signature is not the key's")?;
    Ok(public.thumbprint().to_string())
}

/// The stand-in for the service.
async fn stand_in(
    State(key): State<Arc<SoftwareKey>>,
    fields: http::HeaderMap,
    Json(asked): Json<Value>,
) -> Json<Value> {
    let sign = fields.get("x-amz-target").is_some_and(|action| action == "TrentService.Sign");
    if sign {
        let message = BASE64.decode(asked["Message"].as_str().unwrap_or_default().as_bytes()).unwrap_or_default();
        let signature = key.sign(&message).unwrap_or_default();
        return Json(json!({"Signature": BASE64.encode(&der(&signature))}));
    }
    let KeyOctets::Ec { x, y } = key.public_jwk().octets() else { return Json(Value::Null) };
    // What stands before a point on P-256 is always the same.
    let info = [
        0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
        3, 0x42, 0, 4,
    ];
    Json(json!({"PublicKey": BASE64.encode(&[&info[..], x, y].concat())}))
}

fn der(signature: &[u8]) -> Vec<u8> {
    let integers: Vec<u8> = signature
        .chunks(32)
        .flat_map(|number| {
            let bare: Vec<u8> = number.iter().copied().skip_while(|octet| *octet == 0).collect();
            let sign = bare.first().is_some_and(|first| first & 0x80 != 0).then_some(0);
            let octets: Vec<u8> = sign.into_iter().chain(bare).collect();
            [&[2, u8::try_from(octets.len()).unwrap_or_default()], &octets[..]].concat()
        })
        .collect();
    [&[0x30, u8::try_from(integers.len()).unwrap_or_default()], &integers[..]].concat()
}

/// Serves on a port of loopback, for as long as the program runs.
async fn serve(app: Router) -> Result<String, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    println!("a request was proved by the key {}, which never left its service", run().await?);
    Ok(())
}
