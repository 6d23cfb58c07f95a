use super::*;
use crate::store::MemoryStore;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(NOW))
}

fn refused(reason: &str, time: u64) -> Refused {
    let refused = Refused::because(reason);
    Refused { entry: Entry { time, ..refused.entry.at("token", None) }, ..refused }
}

async fn listed(store: &dyn Store, query: Query) -> Vec<(u64, String)> {
    let page = list::list(store, &query, NOW).await.unwrap();
    let row = |noted: Noted| (noted.entry.time, noted.entry.reason.unwrap_or_default().into_string());
    page.entries.into_iter().map(row).collect()
}

#[tokio::test]
async fn the_latest_come_first() {
    let (audit, store) = (Audit::default(), store());
    for (reason, second) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        audit.refused(&store, refused(reason, NOW.as_secs() + second)).await;
    }
    let reasons =
        async |query: Query| listed(&*store, query).await.into_iter().map(|(_, reason)| reason).collect::<String>();
    assert_eq!(reasons(Query::default()).await, "dcba");
    let at = |second| Some(NOW.as_secs() + second);
    assert_eq!(reasons(Query { since: at(2), until: at(2), ..Query::default() }).await, "cb");
    assert_eq!(reasons(Query { since: at(3), ..Query::default() }).await, "d");
    assert_eq!(reasons(Query { until: at(1), ..Query::default() }).await, "a");
    assert_eq!(reasons(Query { reason: Some("b".into()), ..Query::default() }).await, "b");
    assert_eq!(reasons(Query { event: "request.".parse().ok(), ..Query::default() }).await, "dcba");
    assert_eq!(reasons(Query { event: "token.issued".parse().ok(), ..Query::default() }).await, "");
    let mut pages = String::new();
    let mut after = None;
    loop {
        let query = Query { limit: Some(1), after, ..Query::default() };
        let page = list::list(&*store, &query, NOW).await.unwrap();
        pages.extend(page.entries.iter().filter_map(|noted| noted.entry.reason.as_deref()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, "dcba");
}

#[tokio::test]
async fn strangers_leave_so_many_refusals_and_no_more() {
    let (audit, store) = (Audit::default(), store());
    while audit.0.strangers.take(1 << 20, None, NOW).is_ok() {}
    while audit.0.strangers.take(1, None, NOW).is_ok() {}
    for _ in 0..3 {
        audit.refused(&store, refused("client.authentication", NOW.as_secs())).await;
    }
    assert_eq!(listed(&*store, Query::default()).await, []);
    // A client that authenticated has its place; and it is said what is missing.
    audit.refused(&store, Refused { is_known: true, ..refused("grant.invalid", NOW.as_secs()) }).await;
    let page = list::list(&*store, &Query::default(), NOW).await.unwrap();
    let said: Vec<_> = page.entries.iter().map(|noted| (&*noted.entry.event, noted.entry.count)).collect();
    assert_eq!(said, [("entries.left_out", Some(3)), ("request.refused", None)]);
    // All are counted.
    let refused = |reason: &str, count| Count::Refused { endpoint: "token".into(), reason: reason.into(), count };
    assert_eq!(audit.counts(), [refused("client.authentication", 3), refused("grant.invalid", 1)]);
    audit.refused(&store, refused_tomorrow()).await;
    assert_eq!(listed(&*store, Query::default()).await.len(), 3);
}

fn refused_tomorrow() -> Refused {
    refused("client.authentication", NOW.as_secs() + 86_400)
}

/// Neither the entries of others nor the disk are one stranger's to take.
#[tokio::test]
async fn one_network_leaves_its_part_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (audit, store) = (Audit::new(Some(DEFAULT_AUDIT_LIFETIME), Some(&path)).unwrap(), store());
    let of = |peer: &str, reason| {
        let refused = refused(reason, NOW.as_secs());
        Refused { entry: refused.entry.at("token", Some(peer.parse().unwrap())), ..refused }
    };
    let loud = network("192.0.2.1".parse().unwrap());
    while audit.0.strangers.take(1 << 16, loud, NOW).is_ok() {}
    while audit.0.strangers.take(1, loud, NOW).is_ok() {}
    for port in 1..4 {
        audit.refused(&store, of(&format!("192.0.2.1:{port}"), "client.authentication")).await;
    }
    assert_eq!(listed(&*store, Query::default()).await, []);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    audit.refused(&store, of("192.0.2.2:1", "grant.invalid")).await;
    let reasons: Vec<_> = listed(&*store, Query::default()).await.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, ["", "grant.invalid"], "and what is missing");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains(r#""event":"entries.left_out","count":3"#), "{text}");
}

#[tokio::test]
async fn what_comes_together_is_written_together() {
    let (audit, store) = (Audit::default(), store());
    let turn = audit.0.turn.lock().await;
    let crowd = (0..700).map(|_| audit.refused(&store, refused("grant.invalid", NOW.as_secs())));
    let crowd = futures_util::future::join_all(crowd);
    let release = async {
        // Polled after all of the crowd was.
        assert_eq!(audit.0.waiting.lock().changes.len(), 700);
        drop(turn);
    };
    futures_util::future::join(crowd, release).await;
    assert!(audit.0.waiting.lock().changes.is_empty());
    let all = store.list(Kind::AUDIT, "", 1000, NOW).await.unwrap();
    assert_eq!(all.len(), 700);
}

/// Nobody else may be refused for a long time.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_waited_for_is_written_all_the_same() {
    let (audit, store) = (Audit::default(), store());
    let mut written = 0;
    for reasons in [&["grant.invalid", "grant.key"][..], &["grant.invalid"]] {
        let turn = audit.0.turn.lock().await;
        for reason in reasons {
            audit.refused(&store, refused(reason, NOW.as_secs())).await;
        }
        assert_eq!(listed(&*store, Query::default()).await.len(), written);
        drop(turn);
        written += reasons.len();
        let all_are_there = async {
            while listed(&*store, Query::default()).await.len() < written {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(10 * PATIENCE, all_are_there).await.expect("nothing is left waiting");
    }
}

#[tokio::test]
async fn the_store_in_memory_forgets_the_earliest() {
    let (audit, store) = (Audit::default(), MemoryStore::new(NOW));
    for number in 0..10_020_u64 {
        let entry = Entry { count: Some(number), ..Entry::new(Event::TokenIssued, NOW) };
        let changes = audit.change(&entry).into_iter().collect();
        assert_eq!(store.write(changes, NOW).await, Ok(crate::store::Written::Done));
    }
    let all = store.list(Kind::AUDIT, "", 20_000, NOW).await.unwrap();
    let numbers = |(_, record): &(Box<str>, crate::store::Record)| {
        serde_json::from_str::<Entry>(&record.body).unwrap().count.unwrap()
    };
    assert_eq!((all.first().map(numbers), all.last().map(numbers)), (Some(10_019), Some(19)));
    assert_eq!(all.len(), 10_001);
}

#[tokio::test]
async fn a_file_has_a_line_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = Audit::new(None, Some(&path)).unwrap();
    let entry = Entry::new(Event::TokenIssued, NOW).client("app").at("token", Some(([127, 0, 0, 1], 5).into()));
    audit.tell(&entry).await;
    audit.tell(&entry.clone().by("command")).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let line = r#"{"time":1700000000,"event":"token.issued","endpoint":"token","client":"app","peer":"127.0.0.1:5"}"#;
    assert_eq!(text.lines().next(), Some(line));
    assert_eq!(text.lines().count(), 2);
    assert_eq!(serde_json::from_str::<Entry>(line).unwrap(), entry);
    assert!(audit.change(&entry).is_none(), "nothing goes to the store");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
