//! `keybound issuer user`: the users in the store of an issuer.

use clap::{Args, Subcommand};
use keybound_issuer::admin::Description;
use keybound_issuer::users::User;
use serde_json::Value;

use super::place::{NewPlace, PAGE, Password, Place, Source, all, failure, print, told_once};
use crate::ask::agreed;
use crate::outcome::{Outcome, Result};
use crate::output;
use crate::token::block_on;

/// Look after the users of an issuer
///
/// They stand in its store, beside those of its configuration, which are changed there. A password is asked for, or comes from a file or
/// standard input; of it the store has an argon2id hash.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound issuer user add alice --config issuer.toml
  keybound issuer user password alice --config issuer.toml --password-stdin < secret
  keybound issuer user disable alice --store sqlite:id.db")]
pub(super) struct Users {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Add a user
    #[command(after_help = "Examples:
  keybound issuer user add alice --config issuer.toml --full-name \"Alice Liddell\" --email alice@example.com
  keybound issuer user add bob --config issuer.toml --generate --json")]
    Add {
        /// The name to sign in with
        name: String,
        /// As people call them
        #[arg(long)]
        full_name: Option<String>,
        /// Where mail reaches them
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        password: Source,
        #[command(flatten)]
        place: NewPlace,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the users
    #[command(after_help = "Example: keybound issuer user list --config issuer.toml --json")]
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what is known of a user
    #[command(after_help = "Example: keybound issuer user show alice --config issuer.toml")]
    Show(Named),
    /// Give a user another password; who is signed in as this user is not any more
    #[command(after_help = "Example: keybound issuer user password alice --config issuer.toml --generate")]
    Password {
        #[command(flatten)]
        password: Source,
        #[command(flatten)]
        named: Named,
    },
    /// Let nobody sign in as this user, and end what is signed in
    #[command(after_help = "Example: keybound issuer user disable alice --config issuer.toml")]
    Disable(Named),
    /// Let a user sign in again
    #[command(after_help = "Example: keybound issuer user enable alice --config issuer.toml")]
    Enable(Named),
    /// Revoke all that a user granted clients: refresh tokens are good for nothing from now on
    #[command(after_help = "Example: keybound issuer user revoke alice --config issuer.toml")]
    Revoke {
        /// The name to sign in with
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Delete a user, and revoke all that was granted
    #[command(after_help = "Example: keybound issuer user delete alice --config issuer.toml --yes")]
    Delete {
        /// The name to sign in with
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// The name to sign in with
    name: String,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Users {
    pub(super) fn run(&self) -> Result {
        match &self.what {
            What::Add { name, full_name, email, password, place, json } => {
                let place = place.open()?;
                let mut known = Description::default();
                known.full_name = full_name.as_deref().map(Box::from);
                known.email = email.as_deref().map(Box::from);
                let password = password.read()?;
                let added = block_on(place.add_user(name, known, password.as_deref()))?.map_err(failure("user"))?;
                told(&added, &password, *json)
            }
            What::List { place, json } => list(place, *json),
            What::Show(Named { name, place, json }) => {
                let place = place.open()?;
                told(&block_on(place.user(name))?.map_err(failure("user"))?, &Password::None, *json)
            }
            What::Password { password, named: Named { name, place, json } } => {
                let place = place.open()?;
                block_on(place.user(name))?.map_err(failure("user"))?;
                let password = password.read()?;
                let user = block_on(place.set_password(name, password.as_deref()))?.map_err(failure("user"))?;
                told(&user, &password, *json)
            }
            What::Disable(Named { name, place, json }) => {
                let place = place.open()?;
                told(&block_on(place.disable_user(name))?.map_err(failure("user"))?, &Password::None, *json)
            }
            What::Enable(Named { name, place, json }) => {
                let place = place.open()?;
                told(&block_on(place.enable_user(name))?.map_err(failure("user"))?, &Password::None, *json)
            }
            What::Revoke { name, place } => {
                let place = place.open()?;
                let subject = block_on(place.subject(name))?.map_err(failure("user"))?;
                let revoked = block_on(place.revoke_grants(&subject))?.map_err(failure("user"))?;
                output::aside(format_args!("grants revoked: {revoked}"));
                Ok(Outcome::Done)
            }
            What::Delete { name, yes, place } => delete(name, *yes, place),
        }
    }
}

fn told(user: &User, password: &Password, json: bool) -> Result {
    let mut facts = user.facts();
    let Some(made) = password.made() else { return print(&facts, json).map(|()| Outcome::Done) };
    facts.insert("password".to_owned(), made.into());
    let again = format!("keybound issuer user password {} --generate", user.name());
    told_once(print(&facts, json), "the password", &again)?;
    Ok(Outcome::Done)
}

fn list(place: &Place, json: bool) -> Result {
    let place = place.open()?;
    let users = all(async |after| {
        let page = place.users(after, PAGE).await?;
        let next = page.last().filter(|_| page.len() == PAGE as usize).map(|user| user.id().into());
        Ok((page, next))
    })?;
    if json {
        let rows: Vec<Value> = users.iter().map(|user| user.facts().into()).collect();
        output::line(format_args!("{:#}", Value::from(rows)))?;
        return Ok(Outcome::Done);
    }
    let width = users.iter().map(|user| user.name().chars().count()).max().unwrap_or(0);
    for user in &users {
        let state = if user.is_disabled() { "disabled" } else { "enabled" };
        let name = output::tame(user.full_name().unwrap_or_default());
        output::line(format_args!("{:width$}  {state:8}  {}  {name}", user.name(), user.subject()))?;
    }
    Ok(Outcome::Done)
}

fn delete(name: &str, yes: bool, place: &Place) -> Result {
    let place = place.open()?;
    block_on(place.user(name))?.map_err(failure("user"))?;
    if !agreed(yes, &format!("delete the user {name}, and revoke what was granted?"))? {
        return Ok(Outcome::Refused);
    }
    let revoked = block_on(place.delete_user(name))?.map_err(failure("user"))?;
    output::aside(format_args!("deleted; grants revoked: {revoked}"));
    Ok(Outcome::Done)
}
