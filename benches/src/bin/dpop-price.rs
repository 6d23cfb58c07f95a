//! What it costs to require DPoP: processor time of the gateway for a request with token and proof on a route that requires them,
//! less that for the same request on an open one, in bare ES256 signature checks of the same run: one made between a request and
//! its passing on, where a gateway has to make it, and one of many in a loop of nothing else. What the two fields cost where nobody
//! looks at them is a figure of its own.

use std::process::ExitCode;

use keybound::crypto::{Alg, Signer as _};
use keybound_benches::bare::Bare;
use keybound_benches::rig::{Checking, Gateway, Nginx, measure, prepare};
use keybound_benches::subject::Server;
use keybound_benches::{CpuTime, Figure, interleaved};
use keybound_probe::load::Load;

/// How many keys take turns.
const KEYS: usize = 16;

/// How many bare checks are measured in a round.
const CHECKS: u64 = 1_000;

fn main() -> ExitCode {
    if let Some(ended) = Checking::serve() {
        return ended;
    }
    prepare();
    let upstream = Nginx::upstream();
    let gateway = Gateway::start(upstream.address());
    let checking = Checking::start(upstream.address());
    let mut client = Server::new(std::time::SystemTime::now().into()).client(Alg::Es256);
    let key = client.key().public_jwk().clone();
    let bare: Vec<Bare> = (0..CHECKS).map(|_| Bare::of(&key, &client.prove())).collect();
    let rounds = interleaved(|round| {
        round.time("bare in a loop", CpuTime::measure(CHECKS, || bare.iter().for_each(Bare::check)));
        let at = |url: &str| measure(checking.process(), &Load::new(url).expect("a URL of loopback")).0;
        let plain = at(&checking.plain());
        round.value("bare", at(&checking.checked()) - plain);
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
        round.value("price", required - passed);
        round.value("fields", passed - open);
        round.value("required", required);
        round.value("required rate", report.rate());
    });
    let yardstick = rounds.median("bare");
    let figure = Figure::new("dpop-price", "ns CPU per request", rounds.median("price"));
    println!("{}", figure.beside(yardstick).aim_at_ratio(1.25));
    let figure = Figure::new("dpop-price.fields", "ns CPU per request", rounds.median("fields"));
    println!("{}", figure.beside(yardstick));
    let figure = Figure::new("dpop-price.bare", "ns CPU per check", yardstick);
    println!("{}", figure.beside(rounds.median("bare in a loop")));
    println!("{}", Figure::new("dpop-price.whole", "ns CPU per request", rounds.median("required")));
    println!("{}", Figure::new("dpop-price.throughput", "requests/s", rounds.median("required rate")));
    ExitCode::SUCCESS
}
