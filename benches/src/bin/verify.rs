//! Whole verification of an ES256 proof with `ath`, binding and replay insert, beside the bare check of its signature with
//! the key already parsed. With the feature `peers`, other crates verify the same proofs in the same run.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use http::request::Parts;
use keybound::crypto::{Alg, Signer as _};
use keybound::jwk::KeyOctets;
use keybound::jws::decode_base64url;
use keybound::time::UnixTime;
use keybound_benches::subject::Subject;
use keybound_benches::{CpuTime, Figure, interleaved};

#[cfg(feature = "peers")]
#[path = "verify/peers.rs"]
mod peers;

const BATCH: u64 = 1_000;

/// Signed octets and signatures of proofs, and the key of all of them.
struct Bare {
    key: ParsedPublicKey,
    signed: Vec<(String, Vec<u8>)>,
}

impl Bare {
    fn of(subject: &Subject, requests: &[Parts]) -> Self {
        let KeyOctets::Ec { x, y } = subject.key().public_jwk().octets() else { panic!("ES256 has an EC key") };
        let point = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).expect("a point on the curve");
        let signed = requests.iter().map(|parts| {
            let proof = parts.headers["dpop"].to_str().expect("ASCII");
            let (input, signature) = proof.rsplit_once('.').expect("three segments");
            (input.to_owned(), decode_base64url(signature).expect("base64url"))
        });
        Self { key, signed: signed.collect() }
    }

    fn check(&self) {
        for (input, signature) in &self.signed {
            self.key.verify_sig(input.as_bytes(), signature).expect("a good signature");
        }
    }
}

fn requests(subject: &mut Subject) -> Vec<Parts> {
    (0..BATCH).map(|_| subject.request()).collect()
}

fn main() {
    let now: UnixTime = std::time::SystemTime::now().into();
    let mut new = Subject::new(Alg::Es256, 0, now);
    let mut returning = Subject::new(Alg::Es256, 64, now);
    #[cfg(feature = "peers")]
    let mut peers = peers::Peers::new();

    let rounds = interleaved(|round| {
        let (first, again) = (requests(&mut new), requests(&mut returning));
        let bare = Bare::of(&new, &first);
        round.time("bare", CpuTime::measure(BATCH, || bare.check()));
        round.time("new", CpuTime::measure(BATCH, || first.iter().for_each(|parts| drop(new.admit(parts)))));
        round.time("returning", CpuTime::measure(BATCH, || again.iter().for_each(|parts| drop(returning.admit(parts)))));
        #[cfg(feature = "peers")]
        {
            let others = requests(&mut new);
            peers.run(round, BATCH, new.token(), &others);
        }
    });
    let yardstick = rounds.median("bare");
    println!("{}", Figure::new("verify", "ns CPU", rounds.median("new")).beside(yardstick).aim(1.10));
    println!("{}", Figure::new("verify.returning", "ns CPU", rounds.median("returning")).beside(yardstick));
    for name in rounds.names().filter(|name| name.starts_with("peer ")) {
        let crate_name = name.trim_start_matches("peer ");
        println!("{}", Figure::new(format!("verify.{crate_name}"), "ns CPU", rounds.median(name)).beside(yardstick));
    }

    for (name, subject) in [("verify.allocations", &mut new), ("verify.allocations.returning", &mut returning)] {
        let parts = subject.request();
        let counted = allocation_counter::measure(|| drop(subject.admit(&parts)));
        println!("{}", Figure::new(name, "heap allocations", counted.count_total as f64).beside(10.0).aim(1.0));
    }
}
