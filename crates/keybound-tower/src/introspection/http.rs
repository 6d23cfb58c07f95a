//! Questions over HTTP. Connections are kept: there may be many questions a second.

use core::time::Duration;
use std::sync::OnceLock;

use reqwest::Client;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use super::{Ask, Asking, Question, Said};
use crate::fetch::{FetchError, bounded, client, transport};

/// How long a connection may rest.
const IDLE: Duration = Duration::from_secs(30);

/// Resting connections for each endpoint.
const IDLE_MOST: usize = 16;

/// Asks over HTTPS, and over HTTP on loopback hosts. The client behind it, with the roots of the operating system, is made at
/// first use.
#[derive(Debug, Default)]
pub struct HttpAsk {
    client: OnceLock<Client>,
}

impl HttpAsk {
    /// One without a client yet.
    pub const fn new() -> Self {
        Self { client: OnceLock::new() }
    }

    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = client().pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_MOST).build();
        let made = made.map_err(|error| transport(&error))?;
        Ok(self.client.get_or_init(|| made))
    }

    async fn post(&self, question: Question<'_>) -> Result<Said, FetchError> {
        let mut request = self
            .client()?
            .post(question.endpoint)
            .header(ACCEPT, question.accept)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(question.form.as_str().to_owned());
        if let Some(credentials) = question.authorization {
            request = request.header(AUTHORIZATION, credentials);
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        Ok(Said::new(bounded(response).await?))
    }
}

impl Ask for HttpAsk {
    fn ask<'a>(&'a self, question: Question<'a>) -> Asking<'a> {
        Box::pin(self.post(question))
    }
}
