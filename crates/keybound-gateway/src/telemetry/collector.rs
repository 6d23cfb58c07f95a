//! The HTTP client by which spans are handed over.

use core::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use reqwest::redirect::Policy;
use tokio::runtime::{Builder, Runtime};

/// Posts, and waits for the answer on the thread it is called from: that one has nothing else to do.
#[derive(Debug)]
pub(super) struct Collector {
    client: reqwest::Client,
    /// There until the end.
    runtime: Option<Runtime>,
}

impl Collector {
    /// No answer is waited for any longer.
    pub(super) fn new(patience: Duration) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("keybound/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(patience)
            .build()
            .map_err(|error| error.to_string())?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Self { client, runtime: Some(runtime) })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let Some(runtime) = &self.runtime else { return Err("it has ended".into()) };
        let response = runtime.block_on(async { self.client.execute(request).await })?;
        // What it says besides is for nobody here.
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

impl Drop for Collector {
    /// Whoever drops it may be inside another runtime, where none may be waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
