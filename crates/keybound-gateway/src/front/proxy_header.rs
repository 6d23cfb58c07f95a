//! The header of the PROXY protocol, versions 1 and 2, with which a proxy begins a connection to say whose it is. Only
//! declared peers may send one, and they must.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;
use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The proxy's own, such as a check of our health; or it does not say.
    Proxy,
    /// A client's.
    Client {
        address: SocketAddr,
        /// Whether the proxy had it by TLS: version 2 can say so.
        tls: bool,
    },
}

/// It is no header, or one that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Malformed> for io::Error {
    fn from(_: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, "no PROXY header, or a malformed one")
    }
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, by its specification.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2 that is read. Addresses take 36 octets; the rest is for extensions.
const LONGEST_BLOCK: usize = 4096;

/// Reads the header and not one octet more. The caller keeps the time.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Origin> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [command, family, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > LONGEST_BLOCK {
            return Err(Malformed.into());
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return Ok(version_2(command, family, &rest)?);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(Malformed.into());
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        let mut seen = [0; LONGEST_LINE];
        let room = LONGEST_LINE.saturating_sub(line.len());
        let length = stream.peek(&mut seen[..room]).await?;
        if length == 0 {
            return Err(Malformed.into());
        }
        let taken = memchr::memchr(b'\n', &seen[..length]).map_or(length, |end| end + 1);
        stream.read_exact(&mut seen[..taken]).await?;
        line.extend_from_slice(&seen[..taken]);
    }
    Ok(version_1(&line)?)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`.
fn version_1(line: &[u8]) -> Result<Origin, Malformed> {
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed)?;
    let line = core::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(Malformed);
    }
    let address = match words.next() {
        Some("UNKNOWN") => return Ok(Origin::Proxy),
        Some("TCP4") => addresses::<Ipv4Addr>(&mut words)?,
        Some("TCP6") => addresses::<Ipv6Addr>(&mut words)?,
        _ => return Err(Malformed),
    };
    if words.next().is_some() { Err(Malformed) } else { Ok(Origin::Client { address, tls: false }) }
}

/// Source, destination, and their ports; the source is what is wanted.
fn addresses<'t, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'t str>,
) -> Result<SocketAddr, Malformed> {
    let mut address = || words.next().and_then(|word| word.parse::<A>().ok()).ok_or(Malformed);
    let (source, _destination) = (address()?, address()?);
    let mut port = || {
        let word = words.next().ok_or(Malformed)?;
        let digits = !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
        digits.then(|| word.parse::<u16>().ok()).flatten().ok_or(Malformed)
    };
    let (source_port, _destination_port) = (port()?, port()?);
    Ok(SocketAddr::new(source.into(), source_port))
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Result<Origin, Malformed> {
    match command {
        // LOCAL: whatever else it says is to be passed over.
        0x20 => return Ok(Origin::Proxy),
        0x21 => {}
        _ => return Err(Malformed),
    }
    let (address, extensions) = match family {
        0x11 => {
            let (addresses, extensions) = rest.split_first_chunk::<12>().ok_or(Malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])), extensions)
        }
        0x21 => {
            let (addresses, extensions) = rest.split_first_chunk::<36>().ok_or(Malformed)?;
            let source = addresses.first_chunk::<16>().ok_or(Malformed)?;
            let port = addresses.get(32..34).and_then(<[u8]>::first_chunk).ok_or(Malformed)?;
            (SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes(*port)), extensions)
        }
        // Unspecified, or a socket of its own machine.
        0x00 | 0x31 | 0x32 => return Ok(Origin::Proxy),
        _ => return Err(Malformed),
    };
    Ok(Origin::Client { address, tls: came_by_tls(extensions)? })
}

/// Looks for the extension `PP2_TYPE_SSL`, and in it for `PP2_CLIENT_SSL`.
fn came_by_tls(mut extensions: &[u8]) -> Result<bool, Malformed> {
    let mut tls = false;
    while let Some(([kind, high, low], rest)) = extensions.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, others) = rest.split_at_checked(length).ok_or(Malformed)?;
        if *kind == 0x20 {
            tls = value.first().ok_or(Malformed)? & 1 == 1;
        }
        extensions = others;
    }
    if extensions.is_empty() { Ok(tls) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Result<Origin, Malformed> {
        Ok(Origin::Client { address: address.parse().unwrap(), tls: false })
    }

    #[test]
    fn reads_lines_of_version_1() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", client("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", client("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", Ok(Origin::Proxy)),
            ("PROXY UNKNOWN ffff::1 ::1 1 2\r\n", Ok(Origin::Proxy)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", Err(Malformed)),
            ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", Err(Malformed)),
            ("PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n", Err(Malformed)),
            ("PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n", Err(Malformed)),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n", Err(Malformed)),
            ("GET / HTTP/1.1\r\n", Err(Malformed)),
        ] {
            assert_eq!(version_1(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn reads_blocks_of_version_2() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 220, 4, 1, 187];
        let with = |extensions: &[u8]| [&v4[..], extensions].concat();
        let by_tls = Ok(Origin::Client { address: "192.0.2.1:56324".parse().unwrap(), tls: true });
        for (command, family, rest, expected) in [
            (0x21, 0x11, with(&[]), client("192.0.2.1:56324")),
            (0x21, 0x11, with(&[4, 0, 2, 0, 0]), client("192.0.2.1:56324")),
            (0x21, 0x11, with(&[4, 0, 1, 0, 0x20, 0, 5, 1, 0, 0, 0, 0]), by_tls),
            (0x21, 0x11, with(&[0x20, 0, 5, 6, 0, 0, 0, 0]), client("192.0.2.1:56324")),
            (0x20, 0x11, with(&[]), Ok(Origin::Proxy)),
            (0x20, 0x00, vec![], Ok(Origin::Proxy)),
            (0x21, 0x00, vec![], Ok(Origin::Proxy)),
            (0x21, 0x31, vec![0; 216], Ok(Origin::Proxy)),
            (0x21, 0x11, v4[..11].to_vec(), Err(Malformed)),
            (0x21, 0x21, with(&[]), Err(Malformed)),
            (0x21, 0x12, with(&[]), Err(Malformed)),
            (0x22, 0x11, with(&[]), Err(Malformed)),
            (0x11, 0x11, with(&[]), Err(Malformed)),
            (0x21, 0x11, with(&[4, 0, 9, 0]), Err(Malformed)),
            (0x21, 0x11, with(&[4, 0]), Err(Malformed)),
            (0x21, 0x11, with(&[0x20, 0, 0]), Err(Malformed)),
        ] {
            assert_eq!(version_2(command, family, &rest), expected, "{command:x} {family:x} {rest:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_a_proxy_writes_is_read_back(ip: IpAddr, port: u16, own: u16) {
            let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let expected = Ok(Origin::Client { address: SocketAddr::new(ip, port), tls: false });
            let line = format!("PROXY {family} {ip} {ip} {port} {own}\r\n");
            proptest::prop_assert_eq!(version_1(line.as_bytes()), expected);
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let block = [&octets[..], &octets, &port.to_be_bytes(), &own.to_be_bytes()].concat();
            let family = if ip.is_ipv4() { 0x11 } else { 0x21 };
            proptest::prop_assert_eq!(version_2(0x21, family, &block), expected);
        }

        #[test]
        fn no_octets_are_too_odd(line: Vec<u8>, command: u8, family: u8, rest: Vec<u8>) {
            let _ = version_1(&line);
            let _ = version_2(command, family, &rest);
            let _ = version_2(0x21, 0x11, &rest);
        }
    }
}
