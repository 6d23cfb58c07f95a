//! The replay store: one success for one proof, and what its answers become.

use super::*;

// R-SEC-02, R-ERR-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_proof_at_once_from_many_sides_gets_through_once() {
    let scene = Scene::new();
    let token = scene.token();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let (token, proof) = (format!("DPoP {token}"), scene.proof(&token));
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (layer, token, proof) = (layer.clone(), token.clone(), proof.clone());
            tokio::spawn(async move { ask(&layer, &[("authorization", &token), ("dpop", &proof)]).await })
        })
        .collect();
    let (mut admitted, mut replayed) = (0, 0);
    for one in all {
        let answer = one.await.unwrap();
        match answer.status.as_u16() {
            200 => admitted += 1,
            401 if answer.reason() == "replay.seen" => replayed += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((admitted, replayed), (1, 49));
}

#[tokio::test]
async fn a_proof_that_is_checked_alone_is_left_to_the_service_behind() {
    let scene = Scene::new();
    let token = scene.token();
    let fields = dpop(&token, &scene.proof(&token));
    let policy = Policy::required().proof(ProofHandling::Check);
    for _ in 0..2 {
        let answer = scene.ask(&policy, &fields.fields()).await;
        assert_eq!(answer.body, "alice LeftToUpstream");
    }
    assert_eq!(scene.server.replays().entries(), 0);
}

// R-ERR-20: the scope is judged before the proof is recorded, so that a refused proof is not spent.
#[tokio::test]
async fn a_refusal_does_not_spend_the_proof() {
    let scene = Scene::new();
    let token = scene.token();
    let fields = dpop(&token, &scene.proof(&token));
    let admin = Policy::required().scope("admin").unwrap();
    assert_eq!(scene.ask(&admin, &fields.fields()).await.status, 403);
    assert_eq!(scene.ask(&Policy::required(), &fields.fields()).await.status, 200);
}

// R-SEC-05, R-ERR-21, and 429 for a key with too many live proofs
#[tokio::test]
async fn a_key_over_its_quota_waits() {
    let scene = Scene::with(NoncePolicy::Off, MemoryLimits::new().per_key(1));
    let token = scene.token();
    assert_eq!(scene.ask_with(&Policy::required(), &token).await.status, 200);
    let answer = scene.ask_with(&Policy::required(), &token).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (429, "replay.quota"));
    let wait: u64 = answer.line("retry-after").parse().unwrap();
    assert!((300..=320).contains(&wait), "{wait}");
    assert!(answer.lines("www-authenticate").is_empty());
}

/// A store that always answers the same, and counts.
#[derive(Debug)]
struct Says(Result<Seen, Fault>, AtomicU32);

impl ReplayStore for Says {
    fn epoch(&self) -> Epoch {
        Epoch::new(7, UnixTime::from_secs(0))
    }

    async fn record(&self, _: &ReplayEntry<'_>, _: UnixTime) -> Result<Seen, Fault> {
        self.1.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.0
    }
}

// R-ERR-21: a fault is 503, never a success and never a challenge; and whatever is answered instead of the service, it was not asked.
#[tokio::test]
async fn what_a_store_says_and_what_is_answered() {
    let scene = Scene::new();
    for (says, status, reason, nonce) in [
        (Ok(Seen::Never), 200, "", false),
        (Ok(Seen::Before), 401, "replay.seen", false),
        (Ok(Seen::Forgotten), 401, "replay.forgotten", true),
        (Err(Fault::ReplayFull), 503, "replay.full", false),
        (Err(Fault::ReplayUnreachable), 503, "replay.unreachable", false),
    ] {
        let verifier = cast::verifier().unwrap().nonce_policy(NoncePolicy::Off).build().unwrap();
        let origins = keybound::request::Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
        let server = ResourceServer::builder(verifier, origins, Says(says, AtomicU32::new(0)))
            .issuer(TokenPolicy::new(cast::ISSUER, [ORIGIN]), scene.keys.clone())
            .clock(scene.clock.clone())
            .build()
            .unwrap();
        let token = scene.token();
        let layer = ProtectLayer::new(server.clone(), Policy::required());
        let served = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&served);
        let service = layer.layer(service_fn(move |_: Request<Empty<Bytes>>| {
            counted.fetch_add(1, Ordering::Relaxed);
            core::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        }));
        let response = service.oneshot(request(&dpop(&token, &scene.proof(&token)).fields())).await.unwrap();
        let answer = Answer::read(response).await;
        assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason));
        assert_eq!(served.load(Ordering::Relaxed), u32::from(status == 200), "{reason}");
        assert_eq!(answer.lines("dpop-nonce").len(), usize::from(nonce), "{reason}");
        assert_eq!(answer.lines("retry-after").len(), usize::from(status == 503), "{reason}");
        assert_eq!(answer.lines("www-authenticate").len(), usize::from(status == 401), "{reason}");
        assert_eq!(server.replays().1.load(Ordering::Relaxed), 1);
    }
}
