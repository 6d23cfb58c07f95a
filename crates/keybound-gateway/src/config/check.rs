//! Rules that bind several settings. Each mistake is noted at the setting that a person would change.

use keybound::request::{Origin, Origins};

use super::mistake::{Mistakes, Place};
use super::section::Read;
use super::{AuthorizationServer, Issuer, Listen, Mode, ProofHandling, PublicUrl, Reader, Route};
use crate::attestation;

/// What was read, as far as it could be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    pub(crate) reader: Reader,
    pub(crate) listen: Option<&'a Read<Listen>>,
    pub(crate) origins: &'a [Option<Read<PublicUrl>>],
    pub(crate) issuers: &'a [Option<Read<Issuer>>],
    pub(crate) routes: &'a [Option<Read<Route>>],
    pub(crate) server: Option<&'a Read<AuthorizationServer>>,
    pub(crate) has_server: bool,
}

/// Notes every mistake between the tables of a configuration.
pub(crate) fn whole(written: &Written<'_>, mistakes: &Mistakes) {
    listener(written, mistakes);
    match written.reader {
        Reader::Serve => {
            needs_of_a_gateway(written, mistakes);
            shadowed(written, mistakes);
        }
        Reader::Issuer => needs_of_an_issuer(written, mistakes),
    }
    origins(written, mistakes);
    twice(written.issuers, "issuer", "url", |issuer| issuer.url.as_str(), mistakes);
    twice(written.routes, "route", "path", |route| route.path.as_str(), mistakes);
    issuer_of_our_own(written, mistakes);
}

/// `Host` tells origins apart, and nothing else does.
fn origins(written: &Written<'_>, mistakes: &Mistakes) {
    twice(written.origins, "origin", "url", |url| url.as_str(), mistakes);
    for (position, table) in written.origins.iter().enumerate() {
        let Some(table) = table else { continue };
        let is_one_with = |other: &&Read<PublicUrl>| other.value != table.value && is_at(&other.value, &table.value);
        if let Some(earlier) = written.origins.iter().take(position).flatten().find(is_one_with) {
            let message = format!(
                "\"{}\" has the host and port of \"{}\"{}: requests for one could not be told from those for the other",
                table.value,
                earlier.value,
                in_line(&earlier.place)
            );
            mistakes.add(&table.place, &format!("origin[{position}].url"), message);
        }
    }
}

fn in_line(place: &Place) -> String {
    match place {
        Place::Line(line) => format!(" in line {line}"),
        _ => String::new(),
    }
}

/// Whether requests to the one come to the other.
fn is_at(url: &PublicUrl, origin: &PublicUrl) -> bool {
    let [url, origin] = [url, origin].map(|url| url.as_str().parse::<Origin>());
    url.ok().zip(origin.ok()).is_some_and(|(url, origin)| Origins::new(vec![url, origin]).is_err())
}

/// A route that no request could reach, for the gateway answers there itself.
fn shadowed(written: &Written<'_>, mistakes: &Mistakes) {
    const RESOURCE: &str = "/.well-known/oauth-protected-resource";
    const ISSUER: &str = "/.well-known/oauth-authorization-server";
    let checks = written.routes.iter().flatten().any(|route| route.value.mode != Mode::Open);
    let attests = written.routes.iter().flatten().any(|route| route.value.proof == ProofHandling::Attest);
    let issuer = written.server.map(|server| server.value.url.path().trim_end_matches('/'));
    let home = written
        .server
        .and_then(|server| written.origins.iter().flatten().find(|origin| is_at(&server.value.url, &origin.value)));
    // With a host of its own, or at one origin of several, it leaves these paths to routes at the others.
    let only_there = issuer.filter(|_| home.is_some() && written.origins.len() == 1);
    let ours = [
        (checks.then_some(RESOURCE), "what the gateway says of its resources"),
        (attests.then_some(attestation::WELL_KNOWN), "the key set of proof = \"attest\""),
        (only_there.map(|_| ISSUER), "what the embedded issuer says of itself"),
        (only_there.filter(|path| !path.is_empty()), "the embedded issuer, by authorization_server.url"),
    ];
    if let (Some(server), Some(origin), Some("")) = (written.server, home, issuer) {
        let message = format!(
            "is the whole of the origin {}: every request would be the issuer's, and none a route's; add a path, like /issuer",
            origin.value
        );
        mistakes.add(&server.place, "authorization_server.url", message);
    }
    for (position, route) in written.routes.iter().enumerate() {
        let Some(route) = route else { continue };
        let path = route.value.path.as_str();
        let lies_under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some((Some(prefix), what)) = ours.iter().find(|(prefix, _)| prefix.is_some_and(lies_under)) {
            let message = format!("{path:?} would never be reached: under {prefix} is {what}; use another path");
            mistakes.add(&route.place, &format!("route[{position}].path"), message);
        }
    }
}

fn needs_of_a_gateway(written: &Written<'_>, mistakes: &Mistakes) {
    if written.origins.is_empty() {
        let message =
            "there is none; add the address that clients call: [[origin]] with url = \"https://api.example.com\"";
        mistakes.add(&Place::Missing, "origin", message);
    }
    if written.routes.is_empty() {
        let message = "there is none; add what to protect: [[route]] with path = \"/\" and upstream = [\"http://127.0.0.1:9000\"]";
        mistakes.add(&Place::Missing, "route", message);
    }
    trust(written, mistakes);
}

fn needs_of_an_issuer(written: &Written<'_>, mistakes: &Mistakes) {
    if !written.has_server {
        let message = "there is none, and it is what this command runs; add [authorization_server] with url = \"https://id.example.com\"";
        mistakes.add(&Place::Missing, "authorization_server", message);
    }
    let Some(server) = written.server else { return };
    if written.origins.is_empty() && server.value.audience.is_empty() {
        let message = "is missing, and there is no [[origin]]: tokens would be for nothing; for example audience = \
                       [\"https://api.example.com\"]";
        mistakes.add(&server.place, "authorization_server.audience", message);
    }
}

/// R-SEC-01: from off loopback by TLS, or behind a proxy that is named.
fn listener(written: &Written<'_>, mistakes: &Mistakes) {
    let Some(listen) = written.listen else { return };
    let Listen { address, tls, trusted_peers, proxy_protocol_peers, .. } = &listen.value;
    let behind_proxy = !(trusted_peers.is_empty() && proxy_protocol_peers.is_empty());
    if !address.ip().is_loopback() && tls.is_none() && !behind_proxy {
        let message = "is off loopback, where clients must use TLS: add [listen.tls] with certificate and key, or end it in a proxy \
                       in front of this one, name that proxy in listen.trusted_peers, and keep the https URL that clients use in \
                       [[origin]]";
        mistakes.add(&listen.place, "listen.address", message);
    }
}

pub(super) fn twice<T>(
    tables: &[Option<Read<T>>],
    path: &str,
    name: &str,
    text: impl Fn(&T) -> &str,
    mistakes: &Mistakes,
) {
    for (position, table) in tables.iter().enumerate() {
        let Some(table) = table else { continue };
        let earlier = tables.iter().take(position).flatten().find(|other| text(&other.value) == text(&table.value));
        if let Some(earlier) = earlier {
            let message = format!("{:?} stands{} already", text(&table.value), in_line(&earlier.place));
            mistakes.add(&table.place, &format!("{path}[{position}].{name}"), message);
        }
    }
}

/// A route that looks at tokens needs somebody whose tokens it accepts.
fn trust(written: &Written<'_>, mistakes: &Mistakes) {
    if !written.issuers.is_empty() || written.has_server {
        return;
    }
    let looks = |route: &&Option<Read<Route>>| route.as_ref().is_some_and(|route| route.value.mode != Mode::Open);
    if written.routes.iter().any(|route| looks(&route)) {
        let message = "there is none, so no token could be accepted; add [[issuer]] with url and audience, or an \
                       [authorization_server], or use mode = \"open\"";
        mistakes.add(&Place::Missing, "issuer", message);
    }
}

fn issuer_of_our_own(written: &Written<'_>, mistakes: &Mistakes) {
    let Some(server) = written.server else { return };
    let url = &server.value.url;
    let path = "authorization_server.url";
    if written.issuers.iter().flatten().any(|issuer| issuer.value.url == *url) {
        mistakes.add(&server.place, path, "is an [[issuer]] too; it is trusted by itself, so leave that out");
    }
    let on_loopback = url.is_loopback() && written.listen.is_none_or(|listen| listen.value.address.ip().is_loopback());
    if server.value.auto_approve.is_some() && !on_loopback {
        let message =
            "lets everybody in, so it is for development, with the issuer and listen.address on loopback; leave it out";
        mistakes.add(&server.place, "authorization_server.auto_approve", message);
    }
    let shared = |origin: &&Read<PublicUrl>| origin.value.authority().eq_ignore_ascii_case(url.authority());
    if !url.is_loopback()
        && let Some(origin) = written.origins.iter().flatten().find(shared)
    {
        let message =
            format!("shares its host with the origin {}; off loopback an issuer has a host of its own", origin.value);
        mistakes.add(&server.place, path, message);
    }
}
