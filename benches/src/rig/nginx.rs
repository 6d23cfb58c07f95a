//! nginx, as the upstream and as the proxy to compare with. Debian's is installed if there is none.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Child, Side, await_listener, free_address, on, run};

/// One nginx, in a folder of its own.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

/// What the upstream answers: 64 octets.
const ANSWER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl Nginx {
    /// Answers every request itself.
    pub fn upstream() -> Self {
        let server = format!("location / {{ default_type text/plain; return 200 {ANSWER}; }}");
        Self::start(Side::Rest, "", &server)
    }

    /// Passes every request on to there, over connections that are kept.
    pub fn proxy(upstream: SocketAddr) -> Self {
        let http = format!("upstream up {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}");
        let server = "location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
        Self::start(Side::Subject, &http, server)
    }

    /// The process, to be measured.
    pub const fn process(&self) -> &Child {
        &self.process
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// One process, which is the worker too, so that it can be measured and ended as one.
    fn start(side: Side, http: &str, server: &str) -> Self {
        install();
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let (path, address) = (folder.path().display(), free_address());
        let text = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr crit;\n\
             events {{ worker_connections 16384; }}\n\
             http {{\n\
             access_log off; keepalive_timeout 3600s; keepalive_requests 1000000000;\n\
             client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
             {http}\n\
             server {{ listen {address} backlog=4096; {server} }}\n\
             }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).expect("a file in a folder of our own");
        let mut command = on(side, "nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
        let process = Child::start(command);
        await_listener(address);
        Self { process, address, _folder: folder }
    }
}

/// Debian's package, without the service that comes with it.
fn install() {
    let there = Command::new("nginx").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return;
    }
    run("apt-get", &["update", "-qq"]);
    run("env", &["RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "nginx-light"]);
}
