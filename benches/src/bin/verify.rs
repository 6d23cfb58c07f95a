//! Whole verification of an ES256 proof with `ath`, binding and replay insert, beside the bare check of its signature with
//! the key already parsed: for keys that were never seen before, and for a client that returns. With the feature `peers`,
//! other crates verify the same proofs in the same run.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use keybound::crypto::{Alg, Signer as _};
use keybound::jwk::{KeyOctets, PublicJwk};
use keybound::jws::decode_base64url;
use keybound_benches::subject::{Client, Request, Server};
use keybound_benches::{CpuTime, Figure, interleaved};

#[cfg(feature = "peers")]
#[path = "verify/peers.rs"]
mod peers;

/// Requests of each sort in one round.
const BATCH: u64 = 1_000;

/// So many requests of each sort are made and then served, in turns: what a neighbour does meets all of them alike, and a request is as warm in the cache as one that was just read.
const TURN: u64 = 50;

/// A parsed key, signed octets and the signature.
struct Bare {
    key: ParsedPublicKey,
    signed: String,
    signature: Vec<u8>,
}

impl Bare {
    fn of(key: &PublicJwk, request: &Request) -> Self {
        let KeyOctets::Ec { x, y } = key.octets() else { panic!("ES256 has an EC key") };
        let point = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).expect("a point on the curve");
        let (signed, signature) = request.proof().rsplit_once('.').expect("three segments");
        Self { key, signed: signed.to_owned(), signature: decode_base64url(signature).expect("base64url") }
    }

    fn check(&self) {
        self.key.verify_sig(self.signed.as_bytes(), &self.signature).expect("a good signature");
    }
}

/// One request each of clients that were never here, and the bare checks of their proofs.
fn strangers(server: &Server) -> (Vec<Request>, Vec<Bare>) {
    let mut clients: Vec<Client> = (0..TURN).map(|_| server.client(Alg::Es256)).collect();
    clients
        .iter_mut()
        .map(|client| {
            let request = client.request();
            let bare = Bare::of(client.key().public_jwk(), &request);
            (request, bare)
        })
        .unzip()
}

fn admit(server: &Server, requests: &[Request]) -> CpuTime {
    CpuTime::measure(TURN, || requests.iter().for_each(|request| drop(server.admit(request))))
}

/// Heap allocations of one of these requests: the median, because the tables of the server grow now and then.
fn allocations(server: &Server, requests: &[Request]) -> f64 {
    let count = |request| allocation_counter::measure(|| drop(server.admit(request))).count_total;
    let mut counts: Vec<u64> = requests.iter().map(count).collect();
    counts.sort_unstable();
    counts[counts.len() / 2] as f64
}

fn main() {
    let server = Server::new(std::time::SystemTime::now().into());
    let mut client = server.client(Alg::Es256);
    let mut again = |count| -> Vec<Request> { (0..count).map(|_| client.request()).collect() };
    #[cfg(feature = "peers")]
    let mut peers = peers::Peers::new();

    let rounds = interleaved(|round| {
        for _ in 0..BATCH / TURN {
            let (first, bare) = strangers(&server);
            let returning = again(TURN);
            round.time("bare", CpuTime::measure(TURN, || bare.iter().for_each(Bare::check)));
            round.time("new", admit(&server, &first));
            round.time("returning", admit(&server, &returning));
            #[cfg(feature = "peers")]
            peers.run(round, &first);
        }
    });
    let yardstick = rounds.median("bare");
    println!("{}", Figure::new("verify", "ns CPU", rounds.median("new")).beside(yardstick).aim_at_ratio(1.10));
    println!("{}", Figure::new("verify.returning", "ns CPU", rounds.median("returning")).beside(yardstick));
    for name in rounds.names().filter(|name| name.starts_with("peer ")) {
        let crate_name = name.trim_start_matches("peer ");
        println!("{}", Figure::new(format!("verify.{crate_name}"), "ns CPU", rounds.median(name)).beside(yardstick));
    }
    let (first, _) = strangers(&server);
    for (name, requests) in [("verify.allocations", first), ("verify.allocations.returning", again(100))] {
        println!("{}", Figure::new(name, "heap allocations", allocations(&server, &requests)).aim_at(10.0));
    }
}
