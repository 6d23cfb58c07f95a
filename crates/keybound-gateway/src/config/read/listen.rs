//! `[listen]`, with the files and the secret it names.

use core::net::SocketAddr;
use core::num::NonZero;
use core::str::FromStr;
use std::path::Path;

use super::decisions::{Deciding, decision_listeners, networks};
use crate::config::file::readable;
use crate::config::section::{Read, Section, shortened};
use crate::config::{AdminSecret, Listen, Tls, tls};

pub(super) fn listen(section: Section<'_>, base: &Path) -> Option<Read<Listen>> {
    let address = section.text("address", socket_address);
    let mut admin = section.text("admin", socket_address);
    let secret = admin_secret(&section, base);
    if let Some(admin) = admin.as_ref().filter(|admin| !admin.value.ip().is_loopback())
        && matches!(secret, Some(None))
    {
        let message =
            "is off loopback, where anybody could read the console; set listen.admin_secret_file too, or use 127.0.0.1";
        section.mistake("admin", &admin.place, message);
    }
    let trusted_peers = section.texts("trusted_peers", FromStr::from_str);
    let proxy_protocol_peers = section.texts("proxy_protocol_peers", FromStr::from_str);
    let workers = section.count::<usize>("workers");
    let tls = section.inside("listen.tls");
    let tls = if tls.is_there() { tls_files(tls, base).map(Some) } else { Some(None) };
    let deciding = decision_listeners(&section, [&address, &admin]);
    if let (Some(address), Some(admin)) = (&address, &mut admin)
        && address.value == admin.value
        && address.value.port() != 0
    {
        if admin.written {
            section.mistake("admin", &admin.place, format!("is {}, which listen.address is too", admin.value));
        }
        admin.value.set_port(0);
    }
    section.finish();
    let (address, admin) = (address?, admin?);
    let Deciding { decisions, ext_authz } = deciding?;
    let listen = Listen {
        address: address.value,
        admin: admin.value,
        admin_is_chosen: admin.written,
        admin_secret: secret?,
        trusted_peers: networks(trusted_peers?),
        proxy_protocol_peers: networks(proxy_protocol_peers?),
        decisions,
        ext_authz,
        tls: tls?,
        workers: NonZero::new(workers?.value),
    };
    Some(Read { value: listen, place: address.place, written: address.written })
}

/// Read and checked at once, so that a wrong file is a mistake of the configuration.
fn tls_files(section: Section<'_>, base: &Path) -> Option<Tls> {
    let certificate = section.text("certificate", |text| readable(base, text));
    let key = section.text("key", |text| readable(base, text));
    let noted = |name, place, fault: String| section.mistake(name, place, fault);
    let chain = certificate
        .as_ref()
        .and_then(|file| tls::chain(&file.value).map_err(|fault| noted("certificate", &file.place, fault)).ok());
    let own = key
        .as_ref()
        .and_then(|file| tls::private_key(&file.value).map_err(|fault| noted("key", &file.place, fault)).ok());
    let certified = chain.zip(own).zip(key.as_ref()).and_then(|((chain, own), file)| {
        tls::certified(chain, &own).map_err(|fault| noted("key", &file.place, fault)).ok()
    });
    section.finish();
    Some(Tls { certificate: certificate?.value, key: key?.value, certified: certified? })
}

/// `None` if it is written and cannot be had.
fn admin_secret(section: &Section<'_>, base: &Path) -> Option<Option<AdminSecret>> {
    const NAMES: [&str; 2] = ["admin_secret", "admin_secret_file"];
    let [written, in_file] = NAMES.map(|name| section.has(name));
    let here = section.text(NAMES[0], AdminSecret::parse);
    let file = section.text(NAMES[1], |text| {
        let read = readable(base, text).and_then(|path| AdminSecret::read(&path));
        read.map_err(|fault| if fault.starts_with('"') { fault } else { format!("{:?}: {fault}", shortened(text)) })
    });
    match (here, file) {
        (Some(_), Some(file)) => {
            section.mistake(NAMES[1], &file.place, "is set besides listen.admin_secret; leave one of them out");
            None
        }
        (None, None) if written || in_file => None,
        (here, file) => Some(here.or(file).map(|secret| secret.value)),
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{:?} is not an IP address and port, like \"127.0.0.1:8080\"", shortened(text)))
}
