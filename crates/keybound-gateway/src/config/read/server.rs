//! `[authorization_server]`, its clients and users.

use core::str::FromStr;
use std::path::Path;

use keybound::crypto::AlgSet;
use keybound_issuer::GrantType;
use keybound_issuer::store::Location;
use keybound_issuer::users::UserError;

use super::nonces::{NonceRules, nonces};
use super::{not_empty, plain, scope_token, texts};
use crate::config::file::KeyFile;
use crate::config::mistake::Mistakes;
use crate::config::section::{Read, Section, child, shortened};
use crate::config::sign_in::sign_in;
use crate::config::signing::signing_keys;
use crate::config::source::Located;
use crate::config::{AuthorizationServer, Client, ClientAuthentication, Registration, User, check};
use crate::signing_key;

pub(super) fn authorization_server(
    section: Section<'_>,
    root: &Located,
    base: &Path,
    rules: NonceRules,
    mistakes: &Mistakes,
) -> Option<Read<AuthorizationServer>> {
    let url = section.text("url", FromStr::from_str);
    let audience = section.texts("audience", resource);
    let store = section.text("store", |text| match text.parse() {
        Ok(Location::Sqlite(file)) => Ok(Location::Sqlite(base.join(file))),
        Ok(location) => Ok(location),
        // An address holds a password.
        Err(error) if text.contains("://") => Err(error.to_string()),
        Err(error) => Err(format!("{:?} is {error}", shortened(text))),
    });
    let signing_key = section.text("signing_key", |text| {
        let path = base.join(not_empty(text)?);
        signing_key::judge(&path).map(|()| path)
    });
    let located = store.as_ref().map(|store| &store.value);
    let keys = signing_keys(section.inside("authorization_server.keys"), base, located, section.has("signing_key"));
    let nonces = nonces(section.inside("authorization_server.nonce"), rules);
    let audit = section.choice("audit", "a place for the audit log", |text| Some(text == "store"));
    let audit_lifetime = section.duration("audit_lifetime");
    let audit_file = section.text("audit_file", |text| not_empty(text).map(|file| base.join(file)));
    let auto_approve = section.text("auto_approve", not_empty);
    let token = section.text("registration_token", long_enough);
    let registration = section.choice("registration", "a way to register", |text| match text {
        "open" => Some(Registration::Open),
        "token" => Some(Registration::WithToken(token.as_ref().map(|token| token.value.clone()).unwrap_or_default())),
        _ => Some(Registration::Off),
    });
    if let Some(registration) = &registration
        && matches!(&registration.value, Registration::WithToken(token) if token.is_empty())
        && !section.has("registration_token")
    {
        section.mistake("registration", &registration.place, "\"token\" needs a registration_token");
    }
    let registration_scope = section.texts("registration_scope", scope_token);
    let tables = Section::repeated(child(root, "authorization_server"), "authorization_server.client", mistakes);
    let clients: Vec<_> = tables.into_iter().map(|table| client(table, base)).collect();
    check::twice(&clients, "authorization_server.client", "client_id", |client| &client.id, mistakes);
    let tables = Section::repeated(child(root, "authorization_server"), "authorization_server.user", mistakes);
    let users: Vec<_> = tables.into_iter().map(|table| user(table, &clients)).collect();
    check::twice(&users, "authorization_server.user", "username", |user| &user.username, mistakes);
    let session_lifetime = section.duration("session_lifetime");
    let tables = Section::repeated(child(root, "authorization_server"), "authorization_server.sign_in", mistakes);
    let providers: Vec<_> = tables.into_iter().map(|table| sign_in(table, base)).collect();
    check::twice(&providers, "authorization_server.sign_in", "name", |provider| provider.name(), mistakes);
    if let Some(user) = &auto_approve
        && clients.iter().flatten().any(|client| client.value.id == user.value)
    {
        section.mistake(
            "auto_approve",
            &user.place,
            "is the client_id of a client too, and sub of their tokens would be the same",
        );
    }
    section.finish();
    let url = url?;
    let server = AuthorizationServer {
        url: url.value,
        audience: audience.map(texts).unwrap_or_default(),
        store: store?.value,
        nonces,
        registration: registration?.value,
        registration_scope: texts(registration_scope?),
        audit_lifetime: Some(audit_lifetime?.value).filter(|_| audit.is_none_or(|audit| audit.value)),
        audit_file: audit_file.map(|file| file.value),
        auto_approve: auto_approve.map(|user| user.value),
        signing_key: signing_key.map(|file| file.value),
        session_lifetime: session_lifetime?.value,
        keys: keys?,
        clients: plain(clients)?,
        users: plain(users)?,
        sign_in: plain(providers)?,
    };
    Some(Read { value: server, place: url.place, written: true })
}

fn user(section: Section<'_>, clients: &[Option<Read<Client>>]) -> Option<Read<User>> {
    let username = section.text("username", |text| match keybound_issuer::users::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{:?}: {}", shortened(text), UserError::Name)),
    });
    if let Some(username) = &username
        && clients.iter().flatten().any(|client| client.value.id == username.value)
    {
        let message = "is the client_id of a client too, and sub of their tokens would be the same";
        section.mistake("username", &username.place, message);
    }
    // A password that was written in its place is not repeated.
    let password_hash = section.text("password_hash", str::parse);
    let name = section.text("name", line);
    let email = section.text("email", line);
    section.finish();
    let username = username?;
    let user = User {
        username: username.value,
        password_hash: password_hash?.value,
        name: name.map(|name| name.value),
        email: email.map(|email| email.value),
    };
    Some(Read { value: user, place: username.place, written: true })
}

/// Text for people.
fn line(text: &str) -> Result<String, String> {
    match not_empty(text)? {
        text if text.len() <= 256 && !text.chars().any(char::is_control) => Ok(text),
        _ => Err("is more than one line of 256 octets".to_owned()),
    }
}

fn client(section: Section<'_>, base: &Path) -> Option<Read<Client>> {
    let id = section.text("client_id", client_id);
    let name = section.text("client_name", line);
    let secret = section.text("client_secret", long_enough);
    let file = section.text("jwks_file", |text| KeyFile::read(base, text, AlgSet::ALL)).map(|file| file.value);
    let grant_types = section.texts("grant_types", grant_type);
    let method = section.choice("token_endpoint_auth_method", "a way to authenticate", |text| Some(text.to_owned()));
    let authentication = method.and_then(|method| {
        let unfit = |why| {
            section.mistake("token_endpoint_auth_method", &method.place, format!("{:?} {why}", method.value));
            None
        };
        let is_of_machines = |grants: &Read<Vec<Read<GrantType>>>| {
            let for_machines = [GrantType::ClientCredentials, GrantType::TokenExchange];
            grants.value.iter().any(|grant| for_machines.contains(&grant.value))
        };
        match &*method.value {
            "client_secret_basic" | "client_secret_post" if !section.has("client_secret") => {
                unfit("needs a client_secret")
            }
            "client_secret_basic" => Some(ClientAuthentication::SecretBasic),
            "client_secret_post" => Some(ClientAuthentication::SecretPost),
            "private_key_jwt" if !section.has("jwks_file") => unfit("needs a jwks_file"),
            "private_key_jwt" => file.clone().map(ClientAuthentication::PrivateKeyJwt),
            _ if grant_types.as_ref().is_some_and(is_of_machines) => {
                unfit("does not go with client_credentials and token exchange, which are for clients that authenticate")
            }
            _ => Some(ClientAuthentication::None),
        }
    });
    let redirect_uris = section.texts("redirect_uris", redirect_uri);
    let sends_back = |grants: &Read<Vec<Read<GrantType>>>| {
        grants.value.iter().any(|grant| grant.value == GrantType::AuthorizationCode)
    };
    if let Some(grants) = grant_types.as_ref().filter(|grants| sends_back(grants))
        && redirect_uris.as_ref().is_some_and(|uris| uris.value.is_empty())
    {
        section.mistake("redirect_uris", &grants.place, "is missing: authorization_code sends codes there");
    }
    let post_logout_redirect_uris = section.texts("post_logout_redirect_uris", redirect_uri);
    let scope = section.texts("scope", scope_token);
    let bound = section.flag("dpop_bound_access_tokens");
    section.finish();
    let id = id?;
    let client = Client {
        id: id.value,
        name: name.map(|name| name.value),
        secret: secret.map(|secret| secret.value),
        authentication: authentication?,
        grant_types: grant_types?.value.into_iter().map(|grant| grant.value).collect(),
        keys: file,
        redirect_uris: texts(redirect_uris?),
        post_logout_redirect_uris: texts(post_logout_redirect_uris?),
        scope: texts(scope?),
        dpop_bound_access_tokens: bound?.value,
    };
    Some(Read { value: client, place: id.place, written: true })
}

fn grant_type(text: &str) -> Result<GrantType, String> {
    let known = || GrantType::ALL.iter().map(|grant| grant.as_str()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| format!("{:?} is not a grant type; use {}", shortened(text), known()))
}

fn long_enough(secret: &str) -> Result<String, String> {
    match secret.len() {
        16.. => Ok(secret.to_owned()),
        _ => Err("is shorter than 16 characters, and could be guessed".to_owned()),
    }
}

fn redirect_uri(text: &str) -> Result<String, String> {
    if keybound_issuer::is_redirect_uri(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{:?} is not one of https, of http on loopback or of a scheme like com.example.app, without fragment",
        shortened(text)
    ))
}

/// RFC 6749 appendix A.1; a blank at either end is a slip of the pen.
fn client_id(text: &str) -> Result<String, String> {
    match not_empty(text)? {
        id if id.trim() == id && id.bytes().all(|octet| matches!(octet, b' '..=b'~')) => Ok(id),
        id => Err(format!("{:?} has a character that is not printable ASCII, or a blank at an end", shortened(&id))),
    }
}

/// RFC 8707 section 2.
fn resource(text: &str) -> Result<String, String> {
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
    };
    let absolute = text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
    if absolute && !text.contains('#') && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{:?} is not an absolute URI without fragment, like \"https://api.example.com\"", shortened(text)))
    }
}
