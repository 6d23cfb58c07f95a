//! Clients that do as RFC 9449 says, and thieves that send again what they have seen.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::client::Client;
use crate::gateways::{Gateways, PROOF_NUMBER};
use crate::ledger::{Ledger, Request};

/// How many of the last proofs are sent to every gateway once more when all is over.
const LAST: usize = 2000;

pub(crate) struct Callers<'g> {
    gateways: &'g Gateways,
    ledger: &'g Ledger,
    clients: Vec<Client>,
    next: AtomicU64,
}

/// What a gateway answered; 0 if it did not.
struct Answer {
    status: u16,
    nonce: Option<String>,
}

impl<'g> Callers<'g> {
    pub(crate) fn new(gateways: &'g Gateways, ledger: &'g Ledger) -> Self {
        let clients = (0..3).map(|_| Client::new(&gateways.issuer)).collect();
        Self { gateways, ledger, clients, next: AtomicU64::new(1) }
    }

    /// Calls until it is over, now as a client and now as a thief.
    pub(crate) fn call(&self, number: usize, mut chance: Chance, over: &AtomicBool) {
        let client = &self.clients[number % self.clients.len()];
        let mut nonce: Option<String> = None;
        while !over.load(Ordering::Acquire) {
            // Leaves the machine time for the servers.
            thread::sleep(chance.pause(0, 10));
            let at = chance.below(self.gateways.all().len());
            if chance.once_in(3)
                && let Some(old) = self.ledger.old(chance.below(usize::MAX))
            {
                self.send(&old, at);
                continue;
            }
            let request = self.request(client, nonce.as_deref());
            let answer = if chance.once_in(3) { self.everywhere(&request, at) } else { self.send(&request, at) };
            if answer.nonce.is_some() {
                nonce = answer.nonce;
                if answer.status == 401 {
                    self.everywhere(&self.request(client, nonce.as_deref()), at);
                }
            }
        }
    }

    /// How long it takes until every gateway has served a client, with the one retry that a nonce may ask for.
    pub(crate) fn recovery(&self, most: Duration) -> Duration {
        let began = Instant::now();
        for at in 0..self.gateways.all().len() {
            while !self.is_served(at) {
                if began.elapsed() > most {
                    self.ledger.tell(&format!("gateway {at} has not served a client for {most:?}"));
                    return began.elapsed();
                }
                // One whose servers were not there yet took connections and ended: whoever looks after it starts it again.
                self.gateways.all()[at].begin();
                thread::sleep(Duration::from_millis(20));
            }
        }
        began.elapsed()
    }

    fn is_served(&self, at: usize) -> bool {
        let client = &self.clients[0];
        let first = self.send(&self.request(client, None), at);
        first.status == 200
            || first.nonce.is_some_and(|nonce| self.send(&self.request(client, Some(&nonce)), at).status == 200)
    }

    /// All that was sent of late, once more to every gateway.
    pub(crate) fn replay_all(&self) {
        let last = self.ledger.newest(LAST);
        thread::scope(|scope| {
            for at in 0..self.gateways.all().len() {
                let last = &last;
                scope.spawn(move || last.iter().for_each(|request| drop(self.send(request, at))));
            }
        });
    }

    fn request(&self, client: &Client, nonce: Option<&str>) -> Request {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let request = Arc::new((
            number,
            format!(
                "GET /a HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n{PROOF_NUMBER}: {number}\r\n\
                 {}\r\n",
                client.fields(nonce)
            ),
        ));
        self.ledger.file(&request);
        request
    }

    /// To every gateway at once; what this one answered.
    fn everywhere(&self, request: &Request, at: usize) -> Answer {
        thread::scope(|scope| {
            for other in (0..self.gateways.all().len()).filter(|other| *other != at) {
                scope.spawn(move || self.send(request, other));
            }
            self.send(request, at)
        })
    }

    fn send(&self, request: &Request, at: usize) -> Answer {
        let answer = self.exchange(&request.1, at).unwrap_or(Answer { status: 0, nonce: None });
        self.ledger.answered(answer.status);
        answer
    }

    fn exchange(&self, octets: &str, at: usize) -> Option<Answer> {
        let address = self.gateways.all()[at].address;
        let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        connection.write_all(octets.as_bytes()).ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let nonce = text.lines().find_map(|line| line.strip_prefix("dpop-nonce: "));
        Some(Answer { status, nonce: nonce.map(str::to_owned) })
    }
}
