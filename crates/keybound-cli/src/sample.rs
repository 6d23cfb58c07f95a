//! The small API behind `serve` without a file: it knows nothing of DPoP and says who the gateway says is calling.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

/// Starts it on a port of loopback that is free, on a thread of its own, and says where it is.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let accept = async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
            tokio::spawn(async move { drop(connection.await) });
        }
    };
    std::thread::Builder::new().name("sample-api".to_owned()).spawn(move || runtime.block_on::<_>(accept))?;
    Ok(address)
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let body = json!({
        "message": "the gateway let you in",
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "subject": field("keybound-subject"),
        "client": field("keybound-client"),
        "scope": field("keybound-scope"),
        "jkt": field("keybound-jkt"),
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{body:#}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
