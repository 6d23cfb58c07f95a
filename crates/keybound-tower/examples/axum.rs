//! An API of axum that serves only who holds the key of the token: `cargo run -p keybound-tower --example axum`.

#[path = "support/cast.rs"]
pub(crate) mod cast;

use axum::routing::get;
use axum::{Extension, Json, Router};
use cast::{Client, Failure, Issuer, now};
use http::Method;
use keybound::replay::MemoryStore;
use keybound::token::Admission;
use keybound_tower::{Policy, ProtectLayer, ResourceServer};
use tokio::net::TcpListener;

// ANCHOR: app
/// Everybody may look at `/`; `/orders` asks for a bound token with the scope `orders:read`, and its proof.
pub(crate) fn app(server: ResourceServer<MemoryStore>) -> Result<Router, Failure> {
    let policy = Policy::required().scope("orders:read")?;
    let orders = Router::new().route("/orders", get(orders)).route_layer(ProtectLayer::new(server, policy));
    Ok(Router::new().route("/", get(async || "try /orders\n")).merge(orders))
}

/// The admission is there, or this is not called.
async fn orders(Extension(admission): Extension<Admission>) -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "subject": admission.subject(),
        "client": admission.client_id(),
        "jkt": admission.jkt().to_string(),
        "orders": [17, 42],
    }))
}
// ANCHOR_END: app

/// Serves until Ctrl-C.
#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let (issuer, client) = (Issuer::new()?, Client::new()?);
    let server = cast::resource_server(&origin, &issuer, cast::verifier()?.build()?, now())?.build()?;

    let url = format!("{origin}/orders");
    let token = issuer.sign(&Issuer::claims(&client, &origin, "orders:read", now()))?;
    let proof = client.prove(&Method::GET, &url, &token, None, now())?;
    println!("Good for one call in the next five minutes; call it twice:\n");
    println!("curl -i {url} -H 'Authorization: DPoP {token}' -H 'DPoP: {proof}'\n");
    println!("A thief has the token alone:\n\ncurl -i {url} -H 'Authorization: Bearer {token}'\n");

    let stop = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("cannot wait for Ctrl-C: {error}");
        }
    };
    axum::serve(listener, app(server)?).with_graceful_shutdown(stop).await?;
    Ok(())
}
