//! gRPC through the gateway, by tonic on both sides: streams both ways, trailers, and refusals as its clients read them.

use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use http::uri::PathAndQuery;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::MetadataMap;
use tonic::server::{NamedService, ServerStreamingService, StreamingService, UnaryService};
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tower::Service;

use crate::support::{Caller, Gateway, route};

const ONE: &str = "/test.Words/One";
const MANY: &str = "/test.Words/Many";
const TALK: &str = "/test.Words/Talk";
const PATIENCE: Duration = Duration::from_secs(30);

type Words = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

/// What a protobuf compiler would write.
#[derive(Clone)]
struct Words0;

impl NamedService for Words0 {
    const NAME: &'static str = "test.Words";
}

impl Service<Request<Body>> for Words0 {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            assert_eq!(request.headers().get("te").map(http::HeaderValue::as_bytes), Some(&b"trailers"[..]));
            let mut grpc = tonic::server::Grpc::new(TextCodec);
            Ok(match request.uri().path() {
                ONE => grpc.unary(One, request).await,
                MANY => grpc.server_streaming(Many, request).await,
                TALK => grpc.streaming(Talk, request).await,
                _ => Status::new(Code::Unimplemented, "").into_http(),
            })
        })
    }
}

/// Says who is calling.
struct One;

impl UnaryService<String> for One {
    type Response = String;
    type Future = Answer<String>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let who = request.metadata().get("keybound-subject").map_or("nobody", |who| who.to_str().unwrap()).to_owned();
        Box::pin(async move {
            match request.get_ref().as_str() {
                "fail" => Err(Status::invalid_argument("no such word")),
                word => Ok(tonic::Response::new(format!("{who}: {word}"))),
            }
        })
    }
}

/// Each letter, and then a failure.
struct Many;

impl ServerStreamingService<String> for Many {
    type Response = String;
    type ResponseStream = Words;
    type Future = Answer<Words>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let letters: Vec<_> = request.get_ref().chars().map(|letter| Ok(letter.to_string())).collect();
        let end = Err(Status::out_of_range("no more letters"));
        Box::pin(
            async move { Ok(tonic::Response::new(Box::pin(stream::iter(letters.into_iter().chain([end]))) as Words)) },
        )
    }
}

/// Answers each word when it comes.
struct Talk;

impl StreamingService<String> for Talk {
    type Response = String;
    type ResponseStream = Words;
    type Future = Answer<Words>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        let words = request.into_inner().map(|word| word.map(|word| word.to_uppercase()));
        Box::pin(async move { Ok(tonic::Response::new(Box::pin(words) as Words)) })
    }
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder().add_routes(Routes::new(Words0)).serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(serving);
    address
}

/// A service behind a gateway, and somebody who may call it.
struct Set {
    gateway: Gateway,
    caller: Caller,
    channel: Channel,
}

impl Set {
    async fn new(limits: &str) -> Self {
        let upstream = server().await;
        let gateway = Gateway::with(&route(&format!("h2c://{upstream}"), &format!("[limits]\n{limits}")));
        let caller = gateway.caller();
        let channel = Channel::from_shared(format!("http://{}", gateway.address)).unwrap().connect().await.unwrap();
        Self { gateway, caller, channel }
    }

    async fn client(&self) -> tonic::client::Grpc<Channel> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        client
    }

    fn request<T>(&self, path: &str, nonce: Option<&str>, message: T) -> tonic::Request<T> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("DPoP {}", self.caller.token).parse().unwrap());
        metadata.insert("dpop", self.caller.prove("POST", path, nonce).parse().unwrap());
        metadata.insert("keybound-subject", "eve".parse().unwrap());
        tonic::Request::from_parts(metadata, tonic::Extensions::default(), message)
    }

    async fn unary(&self, nonce: Option<&str>, word: &str) -> Result<tonic::Response<String>, Status> {
        let request = self.request(ONE, nonce, word.to_owned());
        self.client().await.unary(request, PathAndQuery::from_static(ONE), TextCodec).await
    }

    /// As clients of gRPC get one: from the metadata of a refusal.
    async fn nonce(&self) -> String {
        let refusal = self.unary(None, "x").await.unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), (Code::Unauthenticated, "nonce.barrier"));
        let challenge = refusal.metadata().get("www-authenticate").unwrap().to_str().unwrap();
        assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\""), "{challenge}");
        refusal.metadata().get("dpop-nonce").unwrap().to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_its_refusals() {
    let set = Set::new("").await;
    let nonce = set.nonce().await;
    let answer = set.unary(Some(&nonce), "hello").await.unwrap();
    assert_eq!(answer.get_ref(), "alice: hello");

    // The status of the service comes in trailers, and stays its own.
    let failed = set.unary(Some(&nonce), "fail").await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::InvalidArgument, "no such word"));

    let mut request = set.request(ONE, Some(&nonce), "x".to_owned());
    request.metadata_mut().remove("dpop");
    let refusal =
        set.client().await.unary::<String, String, _>(request, PathAndQuery::from_static(ONE), TextCodec).await;
    let refusal = refusal.unwrap_err();
    assert_eq!((refusal.code(), refusal.message()), (Code::Unauthenticated, "proof.missing"));
    assert!(refusal.metadata().get("www-authenticate").unwrap().to_str().unwrap().starts_with("DPoP "));

    // A proof for another method of the service.
    let request = set.request(MANY, Some(&nonce), "x".to_owned());
    let refusal =
        set.client().await.unary::<String, String, _>(request, PathAndQuery::from_static(ONE), TextCodec).await;
    assert_eq!(refusal.unwrap_err().message(), "htu.mismatch");
    drop(set.gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_the_server_ends_with_its_status() {
    let set = Set::new("").await;
    let nonce = set.nonce().await;
    let request = set.request(MANY, Some(&nonce), "abc".to_owned());
    let path = PathAndQuery::from_static(MANY);
    let mut letters =
        set.client().await.server_streaming::<String, String, _>(request, path, TextCodec).await.unwrap().into_inner();
    for letter in ["a", "b", "c"] {
        assert_eq!(letters.message().await.unwrap().as_deref(), Some(letter));
    }
    let end = letters.message().await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::OutOfRange, "no more letters"));
}

/// Each word is answered before the next is sent; for longer than any time of a request, as long as something is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_both_ways_at_once() {
    let set = Set::new("client_timeout = \"4s\"\nrequest_timeout = \"8s\"\nstream_timeout = \"30s\"").await;
    let nonce = set.nonce().await;
    let (say, said) = mpsc::channel::<String>(1);
    let words = stream::unfold(said, |mut said| async { said.recv().await.map(|word| (word, said)) });
    let request = set.request(TALK, Some(&nonce), Box::pin(words));
    let path = PathAndQuery::from_static(TALK);
    let mut client = set.client().await;
    say.send("first".to_owned()).await.unwrap();
    let mut answers = client.streaming::<_, String, String, _>(request, path, TextCodec).await.unwrap().into_inner();
    let mut next = async || tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap();
    assert_eq!(next().await.as_deref(), Some("FIRST"));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(4500)).await;
        say.send("again".to_owned()).await.unwrap();
        assert_eq!(next().await.as_deref(), Some("AGAIN"));
    }
    drop(say);
    assert_eq!(next().await, None);
}

/// Many calls share one connection to the service, more than it takes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_connections() {
    let set = Set::new("streams = 8").await;
    let nonce = set.nonce().await;
    let words: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let answers = words.iter().map(|word| set.unary(Some(&nonce), word));
    for (answer, word) in futures_util::future::join_all(answers).await.into_iter().zip(&words) {
        assert_eq!(answer.unwrap().get_ref(), &format!("alice: {word}"));
    }
}

/// Messages that are plain text.
#[derive(Clone, Copy)]
struct TextCodec;

impl Codec for TextCodec {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, text.as_bytes());
        Ok(())
    }
}

impl Decoder for TextCodec {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let octets = bytes::Buf::copy_to_bytes(buffer, bytes::Buf::remaining(buffer));
        String::from_utf8(octets.into()).map(Some).map_err(|_| Status::invalid_argument("not UTF-8"))
    }
}
