//! A way to a server that can be barred: connections go through it octet by octet, or stand still, or are gone.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Who is barred: by the address the connection comes from.
type Barred = Box<dyn Fn(SocketAddr) -> bool + Send>;

/// Passes TCP connections on to one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    gate: Arc<Gate>,
}

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
}

struct State {
    barred: Barred,
    refused: bool,
    /// Whether what the server says is held back.
    mute: bool,
    /// What clients are told in place of what the server says.
    instead: Option<Vec<u8>>,
    open: Vec<(SocketAddr, TcpStream, TcpStream)>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1 before `to`, open to everybody.
    ///
    /// # Errors
    ///
    /// If there is no port.
    pub fn to(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = State { barred: Box::new(|_| false), refused: false, mute: false, instead: None, open: Vec::new() };
        let gate = Arc::new(Gate { state: Mutex::new(state), changed: Condvar::new(), over: AtomicBool::new(false) });
        let ours = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ours.over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(client) = client else { continue };
                let gate = Arc::clone(&ours);
                thread::spawn(move || gate.serve(client, to));
            }
        });
        Ok(Self { address, gate })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing through, in either direction, and answers nothing: as a network that has lost its way. What was sent
    /// meanwhile arrives when the way is open again.
    pub fn bar(&self) {
        self.bar_those(|_| true);
    }

    /// The same for connections from these addresses. All others are free.
    pub fn bar_those(&self, barred: impl Fn(SocketAddr) -> bool + Send + 'static) {
        self.change(|state| {
            state.barred = Box::new(barred);
            state.refused = false;
            state.mute = false;
            state.instead = None;
        });
    }

    /// Lets everything through to the server, and nothing back. What was held back when connections end is lost.
    pub fn bar_answers(&self) {
        self.change(|state| state.mute = true);
    }

    /// Lets everything through to the server, and tells clients this for whatever it says.
    pub fn answer_instead(&self, answer: impl Into<Vec<u8>>) {
        let answer = answer.into();
        self.change(|state| state.instead = Some(answer));
    }

    /// Bars the other servers of the rig, and no client.
    pub fn bar_servers(&self) {
        self.bar_those(|peer| peer.ip() != Ipv4Addr::LOCALHOST);
    }

    /// Ends every connection, and takes no other.
    pub fn refuse(&self) {
        self.change(|state| {
            state.refused = true;
            state.end_all();
        });
    }

    /// Ends every connection, and takes others.
    pub fn reset(&self) {
        self.change(State::end_all);
    }

    /// Lets everything through.
    pub fn open(&self) {
        self.bar_those(|_| false);
    }

    /// How many connections go through.
    pub fn connections(&self) -> usize {
        self.gate.lock().open.len()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.gate.lock());
        self.gate.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.gate.over.store(true, Ordering::Release);
        self.change(|state| {
            state.barred = Box::new(|_| false);
            state.refused = true;
            state.end_all();
        });
        // The listener wakes up, and sees that it is over.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

impl State {
    fn end_all(&mut self) {
        for (_, one, other) in self.open.drain(..) {
            let _ = one.shutdown(Shutdown::Both);
            let _ = other.shutdown(Shutdown::Both);
        }
    }
}

impl Gate {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while this peer is barred; says whether the connection may go on.
    fn pass(&self, peer: SocketAddr, is_answer: bool) -> bool {
        let mut state = self.lock();
        while ((state.barred)(peer) || is_answer && state.mute) && !state.refused {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.refused && !self.over.load(Ordering::Acquire)
    }

    fn serve(self: &Arc<Self>, client: TcpStream, to: SocketAddr) {
        let Ok(peer) = client.peer_addr() else { return };
        if !self.pass(peer, false) {
            return;
        }
        let Ok(server) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let clones = || Ok::<_, io::Error>((client.try_clone()?, server.try_clone()?));
        let (Ok(kept), Ok(back)) = (clones(), clones()) else { return };
        self.lock().open.push((peer, kept.0, kept.1));
        let gate = Arc::clone(self);
        thread::spawn(move || gate.copy((peer, true), back.1, back.0));
        self.copy((peer, false), client, server);
        self.lock().open.retain(|(other, ..)| *other != peer);
    }

    fn copy(&self, (peer, is_answer): (SocketAddr, bool), mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if !self.pass(peer, is_answer) {
                break;
            }
            let instead = if is_answer { self.lock().instead.clone() } else { None };
            if to.write_all(instead.as_deref().unwrap_or(&buffer[..read])).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
