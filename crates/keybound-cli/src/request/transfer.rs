//! One URL from request to output.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, Method};
use keybound_client::{Client, Demand, Error, Response};
use serde_json::{Map, Value, json};

use super::report::{Why, plain, refusal};
use super::write_out::Facts;
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::token::failure;

/// The largest body that is put into JSON, where it must be whole.
const MAX_JSON_BODY: usize = 64 * 1024 * 1024;

/// What is sent to each URL.
pub(super) struct Transfer {
    pub(super) client: Client,
    pub(super) method: Method,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
    pub(super) max_time: Option<Duration>,
    pub(super) include: bool,
    /// The body of a refusal is not printed.
    pub(super) fail: bool,
    /// Nothing is said of what goes wrong.
    pub(super) quiet: bool,
    pub(super) write_out: Option<String>,
    pub(super) json: bool,
}

/// What ends one transfer: trouble with the server, or with the place the answer is written to.
enum Trouble {
    Exchange(Error),
    Late(Duration),
    Output(Failure),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Exchange(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

impl Transfer {
    /// Sends it to `url` and writes the answer. What goes wrong between here and the server is said, and the next URL may
    /// fare better; output that cannot be written ends everything.
    pub(super) async fn run(&self, url: &str, sink: &mut Sink) -> Result<Outcome, Failure> {
        let exchange = self.exchange(url, sink);
        let done = match self.max_time {
            None => exchange.await,
            Some(limit) => match tokio::time::timeout(limit, exchange).await {
                Ok(done) => done,
                Err(_) => Err(Trouble::Late(limit)),
            },
        };
        let said = match done {
            Ok(outcome) => return Ok(outcome),
            Err(Trouble::Output(failure)) => return Err(failure),
            Err(Trouble::Exchange(error)) => failure(&error),
            Err(Trouble::Late(limit)) => Failure::failed(format!("not done within {} s", limit.as_secs_f64())),
        };
        let said = said.about(url);
        if said.is_usage() {
            return Err(said); // as it would be for every other URL
        }
        if self.json {
            sink.write_line(&json!({"url": url, "error": said.message()}))?;
        }
        if !self.quiet {
            said.report();
        }
        Ok(Outcome::Refused)
    }

    async fn exchange(&self, url: &str, sink: &mut Sink) -> Result<Outcome, Trouble> {
        let begun = Instant::now();
        let mut request = self.client.request(self.method.clone(), url).body(self.body.clone());
        for (name, value) in &self.fields {
            request = request.header(name.clone(), value.clone());
        }
        let (response, trouble) = match request.send().await {
            Ok(response) => (response, None),
            Err(Error::Refused(refused)) => {
                let trouble = match refused.demand() {
                    Demand::Nonce(why) => Some(why.to_string()),
                    _ => None,
                };
                (refused.into_response(), trouble)
            }
            Err(error) => return Err(error.into()),
        };
        let status = response.status();
        let good = status.as_u16() < 400;
        let why = Why::of(response.headers()).filter(|_| !good);
        if self.json {
            self.write_json(url, response, why.as_ref(), sink).await?;
        } else {
            let mut facts = Facts::of(&response);
            facts.size = self.write(response, good, sink).await?;
            facts.time = begun.elapsed();
            if let Some(format) = &self.write_out {
                output::write(facts.fill(format).as_bytes())?; // also where the answer goes to a file
            }
        }
        if good {
            return Ok(Outcome::Done);
        }
        if !self.quiet {
            refusal(url, status, why.as_ref(), trouble.as_deref());
        }
        Ok(Outcome::Refused)
    }

    /// Writes the answer; the octets of its body.
    async fn write(&self, mut response: Response, good: bool, sink: &mut Sink) -> Result<u64, Trouble> {
        if self.include {
            sink.write(format!("{:?} {}\r\n", response.version(), response.status()).as_bytes())?;
            for (name, value) in response.headers() {
                sink.write(format!("{name}: {}\r\n", plain(value)).as_bytes())?;
            }
            sink.write(b"\r\n")?;
        }
        if self.fail && !good {
            return Ok(0);
        }
        let mut size = 0;
        while let Some(chunk) = response.chunk().await? {
            size += chunk.len() as u64;
            sink.write(&chunk)?;
        }
        Ok(size)
    }

    async fn write_json(
        &self,
        url: &str,
        response: Response,
        why: Option<&Why>,
        sink: &mut Sink,
    ) -> Result<(), Trouble> {
        let mut headers = Map::new();
        for (name, value) in response.headers() {
            let values = headers.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = values {
                values.push(plain(value).into());
            }
        }
        let mut object = json!({
            "url": url,
            "status": response.status().as_u16(),
            "headers": headers,
            "attempts": response.tries(),
        });
        if let Some(why) = why {
            object["refusal"] = json!({"error": why.error, "reason": why.code, "advice": why.advice});
        }
        match String::from_utf8(response.bytes(MAX_JSON_BODY).await?) {
            Ok(text) => object["body"] = text.into(),
            Err(octets) => object["body_base64"] = BASE64.encode(octets.as_bytes()).into(),
        }
        sink.write_line(&object)?;
        Ok(())
    }
}

/// Where answers go: standard output or a file.
pub(super) struct Sink {
    output: Box<dyn Write>,
    name: String,
}

impl Sink {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let (output, name): (Box<dyn Write>, _) = match path {
            None => (Box::new(io::stdout()), "standard output".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::create(path).map_err(|why| Failure::failed(format!("{name}: {why}")))?;
                (Box::new(file), name)
            }
        };
        Ok(Self { output, name })
    }

    /// Writes and flushes: who reads along sees a slow answer as it comes.
    fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let written = self.output.write_all(octets).and_then(|()| self.output.flush());
        written.map_err(|why| output::failure(&self.name, &why))
    }

    fn write_line(&mut self, object: &Value) -> Result<(), Failure> {
        self.write(format!("{object}\n").as_bytes())
    }
}
