//! Making a proof with `ath`, beside the bare signature of the same key over octets of the same length.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use keybound::crypto::Alg;
use keybound::time::UnixTime;
use keybound_benches::subject::Server;
use keybound_benches::{CpuTime, Figure, interleaved};

const BATCH: u64 = 4_000;

fn main() {
    let mut client = Server::new(UnixTime::from_secs(1_800_000_000)).client(Alg::Es256);
    let bare = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the library makes keys");
    let random = SystemRandom::new();
    let proof = client.prove();
    let signed = proof.rsplit_once('.').expect("three segments").0;
    let rounds = interleaved(|round| {
        round.time(
            "bare",
            CpuTime::measure(BATCH, || {
                for _ in 0..BATCH {
                    std::hint::black_box(bare.sign(&random, signed.as_bytes()).expect("a signature"));
                }
            }),
        );
        round.time(
            "prove",
            CpuTime::measure(BATCH, || {
                for _ in 0..BATCH {
                    std::hint::black_box(client.prove());
                }
            }),
        );
    });
    let figure = Figure::new("prove", "ns CPU", rounds.median("prove")).beside(rounds.median("bare")).aim_at_ratio(1.2);
    println!("{figure}");
}
