//! The example of tonic over real sockets: what clients of gRPC see of a refusal.

#[path = "../examples/tonic.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod example;

use example::cast::{self, Client, Issuer, now};
use example::{COUNT, count};
use http::Method;
use keybound::verify::NoncePolicy;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

struct Served {
    origin: String,
    issuer: Issuer,
    client: Client,
    channel: Channel,
}

impl Served {
    async fn new(nonces: NoncePolicy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (issuer, client) = (Issuer::new().unwrap(), Client::new().unwrap());
        let verifier = cast::verifier().unwrap().nonce_policy(nonces).build().unwrap();
        let server = cast::resource_server(&origin, &issuer, verifier, now()).unwrap().build().unwrap();
        let app = example::app(server).unwrap();
        tokio::spawn(app.serve_with_incoming(TcpIncoming::from(listener)));
        let channel = Channel::from_shared(origin.clone()).unwrap().connect().await.unwrap();
        Self { origin, issuer, client, channel }
    }

    fn token(&self, scope: &str) -> String {
        let claims = Issuer::claims(&self.client, &self.origin, scope, now());
        self.issuer.sign(&claims).unwrap()
    }

    fn proof(&self, client: &Client, token: &str, nonce: Option<&str>) -> String {
        let url = format!("{}{COUNT}", self.origin);
        client.prove(&Method::POST, &url, token, nonce, now()).unwrap()
    }

    async fn call(
        &self,
        what: &str,
        credentials: &str,
        proof: Option<&str>,
    ) -> Result<tonic::Response<String>, Status> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", credentials.parse().unwrap());
        if let Some(proof) = proof {
            metadata.insert("dpop", proof.parse().unwrap());
        }
        count(self.channel.clone(), what, metadata).await
    }
}

fn field<'m>(metadata: &'m MetadataMap, name: &str) -> &'m str {
    metadata.get(name).map_or("", |value| value.to_str().unwrap())
}

// R-RS-03, R-RS-06, R-RS-20, R-SEC-02
#[tokio::test]
async fn refusals_as_clients_of_grpc_read_them() {
    let served = Served::new(NoncePolicy::Off).await;
    let token = served.token("orders:read");
    let dpop = format!("DPoP {token}");
    let proof = served.proof(&served.client, &token, None);
    let answer = served.call("books", &dpop, Some(&proof)).await.unwrap();
    assert_eq!(answer.get_ref(), "alice: 2 books");

    let thief = served.proof(&Client::new().unwrap(), &token, None);
    let other = served.token("orders:write");
    let unscoped = served.proof(&served.client, &other, None);
    for (credentials, proof, code, reason) in [
        (&dpop, Some(&proof), Code::Unauthenticated, "replay.seen"),
        (&dpop, Some(&thief), Code::Unauthenticated, "key.mismatch"),
        (&dpop, None, Code::Unauthenticated, "proof.missing"),
        (&format!("Bearer {token}"), None, Code::Unauthenticated, "token.downgrade"),
        (&format!("DPoP {other}"), Some(&unscoped), Code::PermissionDenied, "scope.insufficient"),
    ] {
        let status = served.call("books", credentials, proof.map(|proof| &**proof)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, reason));
        let challenge = field(status.metadata(), "www-authenticate");
        assert!(challenge.starts_with("DPoP error="), "{challenge}");
    }
}

// R-NONCE-10: with answers of the service, errors among them, and with refusals.
#[tokio::test]
async fn nonces_in_metadata() {
    let served = Served::new(NoncePolicy::Require).await;
    let token = served.token("orders:read");
    let dpop = format!("DPoP {token}");
    let first = served.call("books", &dpop, Some(&served.proof(&served.client, &token, None))).await;
    let demand = first.unwrap_err();
    assert_eq!((demand.code(), demand.message()), (Code::Unauthenticated, "nonce.missing"));
    let nonce = field(demand.metadata(), "dpop-nonce");
    let proof = served.proof(&served.client, &token, Some(nonce));
    assert!(served.call("books", &dpop, Some(&proof)).await.is_ok());

    let served = Served::new(NoncePolicy::Offer).await;
    let token = served.token("orders:read");
    let dpop = format!("DPoP {token}");
    let proof = served.proof(&served.client, &token, None);
    let answer = served.call("books", &dpop, Some(&proof)).await.unwrap();
    assert!(!field(answer.metadata(), "dpop-nonce").is_empty());
    let proof = served.proof(&served.client, &token, None);
    let error = served.call("nothing", &dpop, Some(&proof)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "the service's own");
    assert!(!field(error.metadata(), "dpop-nonce").is_empty());
}
