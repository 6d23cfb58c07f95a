//! Clients that do as RFC 9449 says, and thieves that send again what they have seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::client::Client;
use crate::exchange::{Answer, exchange};
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
            while !self.is_served(at, &mut None) {
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

    /// Whether this gateway serves a client that has this nonce, and comes again once if it is given another.
    pub(crate) fn is_served(&self, at: usize, nonce: &mut Option<String>) -> bool {
        let client = &self.clients[at % self.clients.len()];
        for _ in 0..2 {
            let answer = self.send(&self.request(client, nonce.as_deref()), at);
            let is_asked_again = answer.status == 401 && answer.nonce.is_some();
            if answer.nonce.is_some() {
                *nonce = answer.nonce;
            }
            if !is_asked_again {
                return answer.status == 200;
            }
        }
        false
    }

    /// A nonce of this gateway, which it gives with a demand for one or with a success.
    pub(crate) fn nonce(&self, at: usize) -> Option<String> {
        self.send(&self.request(&self.clients[0], None), at).nonce
    }

    /// What this gateway answers to a client that has this nonce.
    pub(crate) fn status_with(&self, nonce: &str, at: usize) -> u16 {
        self.send(&self.request(&self.clients[0], Some(nonce)), at).status
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
        let answer = exchange(self.gateways.all()[at].address, &request.1).unwrap_or_default();
        self.ledger.answered(answer.status);
        answer
    }
}
