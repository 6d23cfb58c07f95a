//! A service of tonic that serves only who holds the key of the token: `cargo run -p keybound-tower --example tonic`. Its
//! one method takes and gives plain text, so that no protobuf compiler is needed.

#[path = "support/cast.rs"]
pub(crate) mod cast;
#[path = "support/text.rs"]
mod text;

use core::convert::Infallible;
use core::future::{Ready, ready};
use core::pin::Pin;
use core::task::{Context, Poll};

use cast::{Client, Failure, Issuer, now};
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use keybound::replay::MemoryStore;
use keybound::token::Admission;
use keybound_tower::{Policy, ProtectLayer, ResourceServer};
use text::TextCodec;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::{NamedService, UnaryService};
use tonic::service::Routes;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tower::Service;
use tower::layer::util::{Identity, Stack};

pub(crate) const COUNT: &str = "/keybound.example.Orders/Count";

// ANCHOR: app
/// The layer goes around all services of the server, as any other.
pub(crate) fn app(
    server: ResourceServer<MemoryStore>,
) -> Result<Router<Stack<ProtectLayer<MemoryStore>, Identity>>, Failure> {
    let policy = Policy::required().scope("orders:read")?;
    Ok(Server::builder().layer(ProtectLayer::new(server, policy)).add_routes(Routes::new(Orders)))
}
// ANCHOR_END: app

/// What the protobuf compiler would write: the name, the path, and which method is behind it.
#[derive(Clone)]
struct Orders;

impl NamedService for Orders {
    const NAME: &'static str = "keybound.example.Orders";
}

impl Service<Request<Body>> for Orders {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                COUNT => tonic::server::Grpc::new(TextCodec).unary(Count, request).await,
                _ => Status::new(Code::Unimplemented, "").into_http(),
            })
        })
    }
}

struct Count;

impl UnaryService<String> for Count {
    type Response = String;
    type Future = Ready<Result<tonic::Response<String>, Status>>;

    // ANCHOR: method
    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let admission = request.extensions().get::<Admission>();
        ready(match (admission, &**request.get_ref()) {
            (None, _) => Err(Status::internal("the layer is missing")),
            (_, "nothing") => Err(Status::invalid_argument("count what?")),
            (Some(admission), what) => Ok(tonic::Response::new(format!("{}: 2 {what}", admission.subject()))),
        })
    }
    // ANCHOR_END: method
}

/// Calls the method with this metadata.
pub(crate) async fn count(
    channel: Channel,
    what: &str,
    metadata: MetadataMap,
) -> Result<tonic::Response<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = tonic::Request::from_parts(metadata, tonic::Extensions::default(), what.to_owned());
    client.unary(request, PathAndQuery::from_static(COUNT), TextCodec).await
}

/// Serves until Ctrl-C, and calls itself once.
#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let (issuer, client) = (Issuer::new()?, Client::new()?);
    let server = cast::resource_server(&origin, &issuer, cast::verifier()?.build()?, now())?.build()?;
    let serving = tokio::spawn(app(server)?.serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("cannot wait for Ctrl-C: {error}");
        }
    }));

    let channel = Channel::from_shared(origin.clone())?.connect().await?;
    let token = issuer.sign(&Issuer::claims(&client, &origin, "orders:read", now()))?;
    let proof = client.prove(&Method::POST, &format!("{origin}{COUNT}"), &token, None, now())?;
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", format!("DPoP {token}").parse()?);
    println!(
        "without a proof: {:?}",
        count(channel.clone(), "books", metadata.clone()).await.map_err(|status| status.code())
    );
    metadata.insert("dpop", proof.parse()?);
    println!("with a proof: {:?}", count(channel.clone(), "books", metadata.clone()).await?.into_inner());
    println!("again: {:?}", count(channel, "books", metadata).await.map_err(|status| status.code()));
    println!("serving {origin}{COUNT}; Ctrl-C ends it");
    Ok(serving.await??)
}
