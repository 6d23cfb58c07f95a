//! The decision listener behind real proxies, with the configurations of `examples/`: nginx, Caddy and HAProxy as Debian has
//! them must be installed, and Envoy as the variable `ENVOY` names it. Each runs in a folder and on ports of its own and ends with its test.

#[path = "../whole/scene.rs"]
#[expect(dead_code, reason = "the tests of the whole gateway use the rest")]
mod scene;
#[path = "../wire/support.rs"]
#[expect(dead_code, reason = "the tests of the wire use the rest")]
mod support;

mod caddy;
mod checks;
mod envoy;
mod haproxy;
mod nginx;
mod program;
mod stage;
