//! The way there through TLS: whom to believe, for which name, and what a server asks for.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use keybound::replay::{ReplayStore as _, Seen};
use keybound_redis::RedisSettings;
use redis_rig::{Cluster, Sentinels, Server, Settings};

use crate::support::{Proof, connected, eventually, new_epoch, refused, server, settings};

/// An authority, and a server and a client with certificates of it.
struct Stage {
    folder: tempfile::TempDir,
    authority: String,
}

impl Stage {
    fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        for (name, names) in [("server", names), ("client", vec!["client".to_owned()])] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(names).expect("parameters");
            // Who has the name of its issuer would pass for one that signed itself.
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).expect("a file");
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).expect("a file");
        }
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("a file");
        Self { authority: authority.pem(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, clients: &str) -> Settings {
        let [certificate, key, authority] = ["server.pem", "server.key", "ca.pem"].map(|name| self.path(name));
        let (own, own_key) =
            (self.path("client.pem").display().to_string(), self.path("client.key").display().to_string());
        let cli = ["--insecure", "--cert", &own, "--key", &own_key];
        Settings::new().tls(&certificate, &key, &authority, clients, &cli)
    }

    fn server(&self, clients: &str) -> Server {
        Server::start(self.settings(clients)).expect("a server")
    }

    /// Of one who believes this authority.
    fn believing(&self, url: &str) -> RedisSettings {
        settings(url).authorities(self.authority.as_bytes()).expect("authorities")
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }
}

fn url(server: &Server) -> String {
    format!("rediss://{}", server.address())
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_certificate_of_the_authority_for_the_address_is_taken() {
    let stage = Stage::new(&["localhost"]);
    // The address differs from server to server; the proxy's does not.
    let server = stage.server("no");
    let proxy = redis_rig::Proxy::to(server.address()).expect("a proxy");
    let named = settings(&format!("rediss://localhost:{}", proxy.address().port()));
    let named = named.authorities(stage.authority.as_bytes()).expect("authorities");
    let store = connected(named).await;
    assert_eq!(Proof::new(1, "j").at(&store).await, Ok(Seen::Never));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_certificate_for_another_name_or_of_a_stranger_is_not() {
    let stage = Stage::new(&["elsewhere.example"]);
    let server = stage.server("no");
    let known = settings(&url(&server)).authorities(stage.authority.as_bytes()).expect("authorities");
    let error = refused(known).await;
    assert!(error.is_configuration() && error.to_string().contains("TLS fails"), "{error}");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let error = refused(settings(&url(&server))).await;
    assert!(error.is_configuration() && error.to_string().contains("TLS fails"), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_may_ask_for_our_certificate() {
    let stage = Stage::new(&["localhost"]);
    let server = stage.server("yes");
    let proxy = redis_rig::Proxy::to(server.address()).expect("a proxy");
    let named = settings(&format!("rediss://localhost:{}", proxy.address().port()));
    let named = named.authorities(stage.authority.as_bytes()).expect("authorities");
    let error = refused(named.clone()).await;
    assert!(error.to_string().contains("certificate") || error.to_string().contains("broke"), "{error}");
    let named = named.identity(&stage.read("client.pem"), &stage.read("client.key")).expect("an identity");
    let store = connected(named).await;
    assert_eq!(Proof::new(1, "j").at(&store).await, Ok(Seen::Never));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn who_speaks_tls_and_who_does_not_is_said() {
    let plain = server();
    let error = refused(settings(&format!("rediss://{}", plain.address()))).await;
    assert!(error.to_string().contains("TLS"), "{error}");
    let stage = Stage::new(&["localhost"]);
    let error = refused(settings(&stage.server("no").url())).await;
    assert!(error.to_string().contains("does it want TLS?"), "{error}");
}

// Sentinels and servers alike, and the one that takes over.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn under_sentinel_all_of_the_way_goes_through_tls() {
    let stage = Stage::new(&["127.0.0.1"]);
    let mut sentinels = Sentinels::start(2, &stage.settings("no")).expect("servers");
    let url = sentinels.url().replace("redis-sentinel", "rediss-sentinel");
    let store = connected(stage.believing(&url)).await;
    let (before, used) = (store.epoch(), Proof::new(1, "j"));
    assert_eq!(used.at(&store).await, Ok(Seen::Never));
    sentinels.nodes()[0].server.kill().expect("an end");
    new_epoch(&store, before).await;
    assert_eq!(used.under(before, &store).await, Ok(Seen::Forgotten));
    assert_eq!(Proof::new(1, "k").at(&store).await, Ok(Seen::Never));

    let error = refused(settings(&sentinels.url())).await;
    assert!(error.to_string().contains("the connection broke"), "{error}");
    let error = refused(settings(&url)).await;
    assert!(error.is_configuration() && error.to_string().contains("TLS fails"), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn in_a_cluster_all_of_the_way_goes_through_tls() {
    let stage = Stage::new(&["127.0.0.1"]);
    let mut cluster = Cluster::start(3, &stage.settings("no")).expect("servers");
    let url = cluster.url().replace("redis-cluster", "rediss-cluster");
    let store = connected(stage.believing(&url)).await;
    let error = refused(settings(&url)).await;
    assert!(error.is_configuration() && error.to_string().contains("TLS fails"), "{error}");
    let before = store.epoch();
    for key in 0..=255 {
        assert_eq!(Proof::new(key, "j").at(&store).await, Ok(Seen::Never), "{key}");
        assert_eq!(Proof::new(key, "j").at(&store).await, Ok(Seen::Before), "{key}");
    }
    cluster.nodes()[0].server.kill().expect("an end");
    new_epoch(&store, before).await;
    eventually("a record", async || Proof::new(0, "k").at(&store).await.is_ok()).await;
}
