//! A new connection to an upstream, with TLS where that is asked for.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{HttpVersion, UpstreamUrl};

/// What octets to an upstream go through.
pub(crate) trait Octets: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Octets for T {}

/// A connection, not yet of any protocol.
pub(crate) enum Dialled {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects.
pub(crate) async fn dial(url: &UpstreamUrl) -> io::Result<Dialled> {
    let stream = TcpStream::connect((url.host(), url.port())).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = url.tls() else {
        return Ok(Dialled::Plain(stream));
    };
    let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls.speaking(url.version()));
    let stream = connector.connect(name, stream).await?;
    if url.version() == HttpVersion::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("it does not speak HTTP/2"));
    }
    Ok(Dialled::Tls(Box::new(stream)))
}
