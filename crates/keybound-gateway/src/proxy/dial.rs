//! A new connection to an upstream, with TLS where that is asked for.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io::{self, IoSlice};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{HttpVersion, UpstreamUrl};

/// What octets to an upstream go through.
pub(crate) trait Octets: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Octets for T {}

/// A connection, not yet of any protocol.
#[derive(Debug)]
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

impl Dialled {
    /// Whether it is open and nothing has come, as far as the system has told: it is not asked.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut octet = [0];
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut octet), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // What is for TLS alone, such as a ticket, is not for us. A task that has had its share of reading is told that
            // there is nothing, which also ends this where such things never end.
            Self::Tls(stream) => {
                let mut room = ReadBuf::new(&mut octet);
                Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut room).is_pending()
            }
        }
    }

    /// Says inside TLS that it is the end (RFC 8446 section 6.1), if that can be said at once.
    pub(crate) fn take_leave(&mut self) {
        if let Self::Tls(stream) = self {
            let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for Dialled {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
