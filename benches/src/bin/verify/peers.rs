//! Other crates for DPoP, each doing what it does of the same work: proof, `ath`, replay. None of them binds the token.

use std::collections::HashSet;

use async_trait::async_trait;
use dpop_verifier::{DpopError, DpopVerifier, ReplayContext, ReplayStore};
use keybound_benches::subject::{Request, URL};
use keybound_benches::{CpuTime, Round};
use tokio::runtime::Runtime;
use turbomcp_dpop::{DpopProofGenerator, ProofContext};

/// The peers and what they need.
pub(crate) struct Peers {
    runtime: Runtime,
    store: SetStore,
    turbomcp: DpopProofGenerator,
}

/// A plain set of hashes: less than a store has to do.
struct SetStore(HashSet<[u8; 32]>);

#[async_trait]
impl ReplayStore for SetStore {
    async fn insert_once(&mut self, hash: [u8; 32], _: ReplayContext<'_>) -> Result<bool, DpopError> {
        Ok(self.0.insert(hash))
    }
}

impl Peers {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let turbomcp = runtime.block_on(DpopProofGenerator::new_simple()).expect("a generator");
        Self { runtime, store: SetStore(HashSet::new()), turbomcp }
    }

    pub(crate) fn run(&mut self, round: &mut Round, requests: &[Request]) {
        let proofs: Vec<_> = requests.iter().map(|request| (request.proof(), request.token())).collect();
        let times = proofs.len() as u64;
        let Self { runtime, store, turbomcp } = self;
        round.time(
            "peer dpop-verifier",
            CpuTime::measure(times, || {
                for (proof, token) in &proofs {
                    let verifier = DpopVerifier::new().with_max_age_seconds(300);
                    let verified = runtime.block_on(verifier.verify(store, proof, URL, "GET", Some(token)));
                    verified.expect("dpop-verifier takes the proof");
                }
            }),
        );
        round.time(
            "peer turbomcp-dpop",
            CpuTime::measure(times, || {
                for (proof, token) in &proofs {
                    let context = ProofContext::ResourceServer;
                    let result =
                        runtime.block_on(turbomcp.parse_and_validate_jwt(proof, "GET", URL, Some(token), context));
                    assert!(result.expect("turbomcp-dpop reads the proof").valid);
                }
            }),
        );
    }
}
