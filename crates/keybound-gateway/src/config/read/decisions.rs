//! The listeners for decisions and `[decisions]`: who may ask, and which fields tell of the request.

use core::net::SocketAddr;
use core::str::FromStr;

use http::HeaderName;

use super::listen::socket_address;
use crate::config::section::{Read, Section, shortened};
use crate::config::{DecisionFields, DecisionListener, Network};

/// The listeners for questions.
pub(super) struct Deciding {
    pub(super) decisions: Option<DecisionListener>,
    pub(super) ext_authz: Option<DecisionListener>,
}

const PEERS: &str = "decision_peers";

/// `None` if one is written and cannot be had. `others` are the listeners that have their ports already.
pub(super) fn decision_listeners(section: &Section<'_>, others: [&Option<Read<SocketAddr>>; 2]) -> Option<Deciding> {
    const NAMES: [&str; 2] = ["decisions", "ext_authz"];
    let written = NAMES.map(|name| section.has(name));
    let addresses = NAMES.map(|name| section.text(name, socket_address));
    let peers_are = section.has(PEERS);
    let peers = section.texts(PEERS, FromStr::from_str);
    let nobody = !peers_are || peers.as_ref().is_some_and(|peers| peers.value.is_empty());
    let mut taken: Vec<SocketAddr> =
        others.into_iter().filter_map(|other| other.as_ref()).map(|other| other.value).collect();
    for (name, address) in NAMES.iter().zip(&addresses) {
        let Some(address) = address else { continue };
        if taken.contains(&address.value) && address.value.port() != 0 {
            let message = format!("is {}, where another listener is already; use a port of its own", address.value);
            section.mistake(name, &address.place, message);
        }
        if nobody {
            let message = "needs listen.decision_peers: the proxies that may ask there, for example decision_peers = [\"127.0.0.1\"]";
            section.mistake(name, &address.place, message);
        }
        taken.push(address.value);
    }
    if let Some(peers) = peers.as_ref().filter(|_| written == [false; 2]) {
        let message = "is set without listen.decisions or listen.ext_authz, and has no meaning alone";
        section.mistake(PEERS, &peers.place, message);
    }
    if !peers_are {
        return (written == [false; 2]).then_some(Deciding { decisions: None, ext_authz: None });
    }
    let peers = networks(peers?);
    let listener = |written: bool, address: Option<Read<SocketAddr>>| match written {
        false => Some(None),
        true => Some(Some(DecisionListener { address: address?.value, peers: peers.clone() })),
    };
    let [decisions, ext_authz] = addresses;
    Some(Deciding { decisions: listener(written[0], decisions)?, ext_authz: listener(written[1], ext_authz)? })
}

pub(super) fn networks(read: Read<Vec<Read<Network>>>) -> Vec<Network> {
    read.value.into_iter().map(|network| network.value).collect()
}

pub(super) fn decisions(section: Section<'_>) -> Option<DecisionFields> {
    let field = |name| {
        section.text(name, |text| {
            HeaderName::from_str(text).map_err(|_| format!("{:?} is not the name of a field", shortened(text)))
        })
    };
    let (method, uri, host) = (field("method_field"), field("uri_field"), field("host_field"));
    if let (Some(method), Some(uri), Some(host)) = (&method, &uri, &host)
        && (method.value == uri.value || method.value == host.value || uri.value == host.value)
    {
        let place =
            [method, uri, host].into_iter().find(|field| field.written).map_or(&method.place, |field| &field.place);
        section.mistake("", place, "names one field twice; each says something else");
    }
    section.finish();
    Some(DecisionFields { method: method?.value, uri: uri?.value, host: host?.value })
}
