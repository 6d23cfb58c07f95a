//! An HTTP client that holds a key and proves it on every request (DPoP, RFC 9449), on reqwest. Nonces, retries, redirects and
//! the life of the token are its work; the rules it follows are those of [`keybound::client`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use keybound::crypto::{Alg, aws_lc::SoftwareKey};
//! use keybound_client::{Access, Authentication, Client, Secret};
//!
//! # async fn call() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Arc::new(SoftwareKey::generate(Alg::Es256)?);
//! let access = Access::client_credentials("https://id.example.com", "orders-job")
//!     .authentication(Authentication::Secret(Secret::new(std::env::var("ORDERS_SECRET")?)))
//!     .scope("orders:read");
//! let client = Client::builder(key).access(access).build()?;
//!
//! let orders = client.get("https://api.example.com/orders").send().await?;
//! println!("{} after {} tries", orders.status(), orders.tries());
//! # Ok(())
//! # }
//! ```
//!
//! A response comes back as `Ok` whatever its status, unless the server refused the token or the proof and this client can do
//! nothing more about it: then it is [`Error::Refused`], with the response inside.

mod access;
mod authentication;
mod bearer;
mod body;
mod client;
mod discovery;
mod endpoint;
mod error;
pub mod files;
mod grant;
mod key;
mod login;
mod metadata;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
mod prove;
mod registration;
mod request;
mod response;
mod token;
mod tokens;
mod transport;

pub use access::{Access, Prompt, Show, TokenExchange};
pub use authentication::{Authentication, Secret};
pub use body::Body;
pub use client::{Client, ClientBuilder};
pub use discovery::Choose;
pub use error::{Demand, Error, MetadataFault, Refused, ResourceFault};
pub use key::{AsyncSigner, Key, Signing};
pub use keybound::client::PlainHttp;
pub use login::{DeviceCode, Login, SystemBrowser};
pub use prove::{Again, Once, Prove, ProveError, ProveLayer};
pub use registration::{Registered, Registration};
pub use request::RequestBuilder;
pub use reqwest::{Certificate, Url};
pub use response::{Response, ResponseBody};
pub use token::{Token, TokenId, TokenStore};
pub use transport::Watch;
