//! What is said at the start about servers and settings that do not fit, each shown by the real thing.

use keybound::replay::Seen;
use redis_rig::{Server, Settings};

use crate::support::{Proof, connected, refused, server, settings};

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_evicts_is_refused() {
    let evicting = Server::start(Settings::new().line("maxmemory-policy volatile-ttl")).expect("a server");
    let error = refused(settings(&evicting.url())).await;
    assert!(error.is_configuration());
    assert!(error.to_string().contains("maxmemory-policy volatile-ttl"), "{error}");
    assert!(error.to_string().contains(&evicting.address().to_string()), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn nobody_at_the_address_is_said() {
    let error = refused(settings("redis://u:hunter2@127.0.0.1:1")).await;
    assert!(!error.is_configuration());
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    // Too long to be one: nobody is asked, who might not answer in time.
    let name = "no".repeat(32);
    let error = refused(settings(&format!("redis://{name}"))).await;
    assert!(error.to_string().contains(&format!("{name}:6379: there is no address for this name")), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn passwords_are_asked_for_and_checked() {
    let server = Server::start(Settings::new().line("requirepass right").cli(&["-a", "right", "--no-auth-warning"]));
    let server = server.expect("a server");
    let with = |user: &str| format!("redis://{user}{}", server.address());
    for (user, expected) in [("", "asks for a password"), (":wrong@", "password is wrong"), ("x:right@", "is wrong")] {
        let error = refused(settings(&with(user))).await;
        assert!(error.is_configuration() && error.to_string().contains(expected), "{user}: {error}");
        assert!(!error.to_string().contains(":wrong"), "{error}");
    }
    let store = connected(settings(&with(":right@"))).await;
    assert_eq!(Proof::new(1, "j").at(&store).await, Ok(Seen::Never));
    let login = settings(&server.url()).login(None, Some("right"));
    connected(login).await;
}

/// The rules that the documentation gives.
pub(crate) const RULES: &str = "user replays on >secret ~kb:* resetchannels -@all +info +time +eval +evalsha +get +set +pttl +pexpire \
     +zadd +zrem +zscore +zmscore +zcount +zrange +zremrangebyrank";

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_user_with_the_rules_of_the_documentation_is_enough() {
    let server = Server::start(Settings::new().line(RULES)).expect("a server");
    let url = format!("redis://replays:secret@{}", server.address());
    let store = connected(settings(&url)).await;
    assert_eq!(Proof::new(1, "j").at(&store).await, Ok(Seen::Never));
    assert_eq!(Proof::new(1, "j").at(&store).await, Ok(Seen::Before));
    assert_eq!(server.ask(&["ACL", "LOG"]).expect("an answer"), "", "nothing was denied");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_user_who_may_not_is_told_what() {
    for (missing, expected) in [("+info", "info"), ("+eval ", "eval"), ("+zadd", "run this command"), ("~kb:*", "key")]
    {
        let rules = RULES.replace(missing, "");
        let server = Server::start(Settings::new().line(rules)).expect("a server");
        let url = format!("redis://replays:secret@{}", server.address());
        let error = refused(settings(&url)).await;
        assert!(error.is_configuration(), "{missing}: {error}");
        assert!(error.to_string().contains(expected), "{missing}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn servers_of_another_kind_are_told_apart() {
    let single = server();
    let error = refused(settings(&format!("redis-cluster://{}", single.address()))).await;
    assert!(error.is_configuration() && error.to_string().contains("is no node of a Cluster"), "{error}");
    let error = refused(settings(&format!("redis-sentinel://{}?master=m", single.address()))).await;
    assert!(error.is_configuration() && error.to_string().contains("is no Sentinel"), "{error}");
    let replica = Server::start(Settings::new().line(format!("replicaof 127.0.0.1 {}", single.port())));
    let replica = replica.expect("a server");
    let error = refused(settings(&replica.url())).await;
    assert!(error.to_string().contains("is a replica"), "{error}");
    let error = refused(settings(&format!("{}/99", single.url()))).await;
    assert!(error.to_string().contains("out of range"), "{error}");
}
