//! What DPoP costs on top of passing a request on: processor time of the gateway on a route that requires it, less that on
//! an open one, in bare ES256 signature checks of the same run.

use keybound::crypto::{Alg, Signer as _};
use keybound_benches::bare::Bare;
use keybound_benches::rig::{Gateway, Nginx, measure, prepare};
use keybound_benches::subject::Server;
use keybound_benches::{CpuTime, Figure, interleaved};
use keybound_probe::load::Load;

/// How many keys take turns.
const KEYS: usize = 16;

/// How many bare checks are measured in a round.
const CHECKS: u64 = 1_000;

fn main() {
    prepare();
    let upstream = Nginx::upstream();
    let gateway = Gateway::start(upstream.address());
    let mut client = Server::new(std::time::SystemTime::now().into()).client(Alg::Es256);
    let key = client.key().public_jwk().clone();
    let bare: Vec<Bare> = (0..CHECKS).map(|_| Bare::of(&key, &client.prove())).collect();
    let rounds = interleaved(|round| {
        round.time("bare", CpuTime::measure(CHECKS, || bare.iter().for_each(Bare::check)));
        // Tokens live for minutes, and the run for longer.
        let callers: Vec<_> = (0..KEYS).map(|_| gateway.caller()).collect();
        let with_proofs = |path: &str| {
            let load = Load::new(&gateway.url(path)).expect("a URL of loopback");
            callers.iter().fold(load, |load, caller| load.caller(caller.clone()))
        };
        let open = Load::new(&gateway.url("/open/64")).expect("a URL of loopback");
        let (open, _) = measure(gateway.process(), &open);
        let (passed, _) = measure(gateway.process(), &with_proofs("/open/64"));
        let (required, report) = measure(gateway.process(), &with_proofs("/required/64"));
        round.value("price", required - open);
        round.value("price of the check", required - passed);
        round.value("required", required);
        round.value("required rate", report.rate());
    });
    let yardstick = rounds.median("bare");
    let figure = Figure::new("dpop-price", "ns CPU per request", rounds.median("price"));
    println!("{}", figure.beside(yardstick).aim_at_ratio(1.25));
    // The open route carries token and proof too, and hands them on.
    let figure = Figure::new("dpop-price.check", "ns CPU per request", rounds.median("price of the check"));
    println!("{}", figure.beside(yardstick));
    println!("{}", Figure::new("dpop-price.whole", "ns CPU per request", rounds.median("required")));
    println!("{}", Figure::new("dpop-price.throughput", "requests/s", rounds.median("required rate")));
}
