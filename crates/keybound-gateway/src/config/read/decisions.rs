//! The listener for decisions and `[decisions]`: who may ask, and which fields tell of the request.

use core::net::SocketAddr;
use core::str::FromStr;

use http::HeaderName;

use super::listen::socket_address;
use crate::config::section::{Read, Section, shortened};
use crate::config::{DecisionFields, DecisionListener, Network};

/// `None` if it is written and cannot be had. `others` are the listeners that have their ports already.
pub(super) fn decision_listener(
    section: &Section<'_>,
    others: [&Option<Read<SocketAddr>>; 2],
) -> Option<Option<DecisionListener>> {
    const NAMES: [&str; 2] = ["decisions", "decision_peers"];
    let [written, peers_are] = NAMES.map(|name| section.has(name));
    let address = section.text(NAMES[0], socket_address);
    let peers = section.texts(NAMES[1], FromStr::from_str);
    if let Some(address) = &address {
        let same = |other: &&Read<SocketAddr>| other.value == address.value && address.value.port() != 0;
        if others.iter().filter_map(|other| other.as_ref()).any(|other| same(&other)) {
            let message = format!("is {}, where another listener is already; use a port of its own", address.value);
            section.mistake(NAMES[0], &address.place, message);
        }
        let nobody = peers.as_ref().is_some_and(|peers| peers.value.is_empty());
        if nobody || !peers_are {
            let message = "needs listen.decision_peers: the proxies that may ask there, for example decision_peers = [\"127.0.0.1\"]";
            section.mistake(NAMES[0], &address.place, message);
        }
    }
    if let Some(peers) = peers.as_ref().filter(|_| !written) {
        section.mistake(NAMES[1], &peers.place, "is set without listen.decisions, and has no meaning alone");
    }
    match (written, peers_are) {
        (false, _) => Some(None),
        (true, _) => Some(Some(DecisionListener { address: address?.value, peers: networks(peers?) })),
    }
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
