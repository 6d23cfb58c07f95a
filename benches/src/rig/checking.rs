//! A reverse proxy of the gateway's own parts that does nothing for a request but pass it on, and on one path checks a signature
//! before: what a bare check takes where a gateway has to make it, between requests.

use core::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use http::Response;
use keybound::crypto::{Alg, Signer as _};
use keybound_gateway::body::Body;
use keybound_gateway::config::Config;
use keybound_gateway::front::{Front, Handler, Inbound, Stop};
use keybound_gateway::proxy::{Origin, Proxy, Terms, Upstreams};

use super::{Child, Side, await_listener, free_address, on};
use crate::bare::Bare;
use crate::subject::Server;

/// The first argument of this program when it is to be that proxy.
const ARGUMENT: &str = "checking";

/// Where requests are checked.
const CHECKED: &str = "/checked";

/// How many keys take turns.
const KEYS: usize = 16;

/// That proxy, in a process of its own.
#[derive(Debug)]
pub struct Checking {
    process: Child,
    address: SocketAddr,
}

impl Checking {
    /// In front of this upstream. The program has to begin with [`Checking::serve`].
    pub fn start(upstream: SocketAddr) -> Self {
        let own = std::env::current_exe().expect("this program is a file");
        let address = free_address();
        let mut command = on(Side::Subject, own.to_str().expect("cargo's folders are UTF-8"));
        command.args([ARGUMENT, &address.to_string(), &upstream.to_string()]);
        let process = Child::start(command);
        await_listener(address);
        Self { process, address }
    }

    /// Is that proxy to its end, if this process was started as one.
    pub fn serve() -> Option<ExitCode> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [ARGUMENT, address, upstream] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            return None;
        };
        let text = format!(
            "[listen]\naddress = \"{address}\"\nworkers = 1\n[[origin]]\nurl = \"http://{address}\"\n\
             [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{upstream}\"]\n"
        );
        let config = Config::parse(&text, Path::new("checking.toml")).expect("a file that fits");
        let front = Front::bind(&config.listen, &config.limits).expect("a free port");
        front.run(|proxy| Check::new(proxy, &config), &Stop::new()).expect("a thread for the worker");
        Some(ExitCode::SUCCESS)
    }

    /// The process, to be measured.
    pub const fn process(&self) -> &Child {
        &self.process
    }

    /// The URL at which requests are passed on without a check.
    pub fn plain(&self) -> String {
        format!("http://{}/plain", self.address)
    }

    /// The URL at which a signature is checked for each request.
    pub fn checked(&self) -> String {
        format!("http://{}{CHECKED}", self.address)
    }
}

/// One worker.
struct Check {
    proxy: Rc<Proxy>,
    origin: Origin,
    upstreams: Upstreams,
    signatures: Vec<Bare>,
    turn: Cell<usize>,
}

impl Check {
    fn new(proxy: Rc<Proxy>, config: &Config) -> Self {
        let signature = |_| {
            let mut client = Server::new(std::time::SystemTime::now().into()).client(Alg::Es256);
            let key = client.key().public_jwk().clone();
            Bare::of(&key, &client.prove())
        };
        Self {
            origin: Origin::new(&config.origins[0]),
            upstreams: proxy.upstreams(&config.routes[0].upstreams),
            signatures: (0..KEYS).map(signature).collect(),
            turn: Cell::new(0),
            proxy,
        }
    }
}

impl Handler for Check {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        if inbound.head.uri.path() == CHECKED {
            let turn = self.turn.get();
            self.turn.set((turn + 1) % KEYS);
            self.signatures[turn].check();
        }
        self.proxy.forward(inbound, &self.upstreams, &Terms::unchanged(&self.origin)).await
    }
}
