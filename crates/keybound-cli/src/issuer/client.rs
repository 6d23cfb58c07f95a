//! `keybound issuer client`: the clients in the store of an issuer.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keybound_issuer::GrantType;
use keybound_issuer::admin::Shown;
use serde_json::{Map, Value, json};

use super::place::{NewPlace, PAGE, Place, all, failure, plain, print, told_once};
use crate::ask::agreed;
use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::token::block_on;

/// Look after the clients of an issuer
///
/// They stand in its store, beside those of its configuration, which are changed there. Of a secret the store has a digest: it is
/// printed when it is made, and never again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound issuer client add orders --config issuer.toml --grant client_credentials --scope \"read write\"
  keybound issuer client list --config issuer.toml
  keybound issuer client secret orders --store sqlite:id.db")]
pub(super) struct Clients {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Add a client, and print its secret if it has one
    #[command(after_help = "Examples:
  keybound issuer client add orders --config issuer.toml --grant client_credentials --scope \"read write\"
  keybound issuer client add app --config issuer.toml --grant authorization_code --grant refresh_token \\
    --auth-method none --redirect-uri com.example.app:/back --scope \"openid read\"")]
    Add {
        /// Its client_id; one is made if there is none
        id: Option<String>,
        #[command(flatten)]
        metadata: Metadata,
        #[command(flatten)]
        place: NewPlace,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the clients
    #[command(after_help = "Example: keybound issuer client list --config issuer.toml --json")]
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what is known of a client
    #[command(after_help = "Example: keybound issuer client show orders --config issuer.toml")]
    Show {
        /// Its client_id
        id: String,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a client: what is given is that from now on, and what is not stays
    #[command(after_help = "Example: keybound issuer client update orders --config issuer.toml --scope read")]
    Update {
        /// Its client_id
        id: String,
        #[command(flatten)]
        metadata: Metadata,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a client another secret and print it; the old one is none any more
    #[command(after_help = "Example: keybound issuer client secret orders --config issuer.toml")]
    Secret {
        /// Its client_id
        id: String,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a client, and revoke all that users granted it
    #[command(after_help = "Example: keybound issuer client delete orders --config issuer.toml --yes")]
    Delete {
        /// Its client_id
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// What is said of a client, by the names of RFC 7591.
#[derive(Debug, Args)]
struct Metadata {
    /// A grant it may use: authorization_code, client_credentials, refresh_token, device_code or token-exchange
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant)]
    grants: Vec<GrantType>,
    /// Every scope it may have, with spaces between
    #[arg(long)]
    scope: Option<String>,
    /// Where its users may be sent back with a code
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// Where they may be sent when they have signed out
    #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// How it authenticates (client_secret_basic unless given)
    #[arg(long, value_parser = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"])]
    auth_method: Option<String>,
    /// Its public keys, a JWK set: for private_key_jwt, and for request objects
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// What people know it by
    #[arg(long)]
    name: Option<String>,
    /// Whether it gets bound tokens and no others (true unless given)
    #[arg(long, value_name = "true|false")]
    bound: Option<bool>,
}

/// By its whole name, or the last part of it.
fn grant(text: &str) -> std::result::Result<GrantType, String> {
    let known = GrantType::ALL.iter().copied();
    let mut known = known.filter(|grant| grant.as_str().rsplit(':').next() == Some(text) || grant.as_str() == text);
    known.next().ok_or_else(|| {
        let names: Vec<_> = GrantType::ALL.iter().filter_map(|grant| grant.as_str().rsplit(':').next()).collect();
        format!("not a grant of this issuer; there are {}", names.join(", "))
    })
}

impl Metadata {
    fn to_json(&self) -> std::result::Result<Map<String, Value>, Failure> {
        let mut metadata = Map::new();
        let mut set = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
        if !self.grants.is_empty() {
            set("grant_types", self.grants.iter().map(|grant| grant.as_str()).collect());
        }
        if !self.redirect_uris.is_empty() {
            set("redirect_uris", json!(self.redirect_uris));
        }
        if !self.post_logout_redirect_uris.is_empty() {
            set("post_logout_redirect_uris", json!(self.post_logout_redirect_uris));
        }
        for (name, text) in
            [("scope", &self.scope), ("token_endpoint_auth_method", &self.auth_method), ("client_name", &self.name)]
        {
            if let Some(text) = text {
                set(name, json!(text));
            }
        }
        if let Some(bound) = self.bound {
            set("dpop_bound_access_tokens", json!(bound));
        }
        if let Some(file) = &self.jwks {
            let fault = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| fault(&error))?;
            set("jwks", serde_json::from_str(&text).map_err(|error| fault(&error))?);
        }
        Ok(metadata)
    }
}

impl Clients {
    pub(super) fn run(&self) -> Result {
        match &self.what {
            What::Add { id, metadata, place, json } => {
                let metadata = metadata.to_json()?;
                if !metadata.contains_key("grant_types") {
                    return Err(Failure::usage("say what it may do: --grant client_credentials, for example"));
                }
                let place = place.open()?;
                told(block_on(place.add_client(id.as_deref(), &metadata))?.map_err(failure("client"))?, *json)
            }
            What::List { place, json } => list(place, *json),
            What::Show { id, place, json } => {
                let place = place.open()?;
                told(block_on(place.client(id))?.map_err(failure("client"))?, *json)
            }
            What::Update { id, metadata, place, json } => {
                let patch = metadata.to_json()?;
                if patch.is_empty() {
                    return Err(Failure::usage("say what is to change: --scope, for example"));
                }
                let place = place.open()?;
                told(block_on(place.change_client(id, &patch, None))?.map_err(failure("client"))?, *json)
            }
            What::Secret { id, place, json } => {
                let place = place.open()?;
                told(block_on(place.new_client_secret(id))?.map_err(failure("client"))?, *json)
            }
            What::Delete { id, yes, place } => delete(id, *yes, place),
        }
    }
}

fn told(shown: Shown, json: bool) -> Result {
    let Shown { client: mut facts, secret, .. } = shown;
    let id = plain(&facts["client_id"]);
    let Some(secret) = secret else { return print(&facts, json).map(|()| Outcome::Done) };
    facts.insert("client_secret".to_owned(), secret.into());
    told_once(print(&facts, json), "the secret", &format!("keybound issuer client secret {id}"))?;
    Ok(Outcome::Done)
}

fn list(place: &Place, json: bool) -> Result {
    let place = place.open()?;
    let clients = all(async |after| place.clients(after, PAGE).await.map(|listed| (listed.clients, listed.next)))?;
    let clients: Vec<_> = clients.into_iter().map(Value::from).collect();
    if json {
        output::line(format_args!("{:#}", Value::from(clients)))?;
        return Ok(Outcome::Done);
    }
    let names: Vec<String> = clients.iter().map(|client| plain(&client["client_id"])).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (name, client) in names.iter().zip(&clients) {
        let (method, grants) = (plain(&client["token_endpoint_auth_method"]), plain(&client["grant_types"]));
        output::line(format_args!("{name:width$}  {method:19}  {grants}"))?;
    }
    Ok(Outcome::Done)
}

fn delete(id: &str, yes: bool, place: &Place) -> Result {
    let place = place.open()?;
    block_on(place.client(id))?.map_err(failure("client"))?;
    if !agreed(yes, &format!("delete the client {id}, and revoke what users granted it?"))? {
        return Ok(Outcome::Refused);
    }
    let revoked = block_on(place.delete_client(id))?.map_err(failure("client"))?;
    output::aside(format_args!("deleted; grants revoked: {revoked}"));
    Ok(Outcome::Done)
}
