//! HAProxy, by its HTTP client in Lua.

use std::process::Command;

use crate::checks::{self, Known};
use crate::program::{Program, example};
use crate::stage::Stage;

#[test]
fn haproxy() {
    let stage = Stage::new();
    let proxy = start(&stage);
    checks::all(stage.behind(proxy), Known { challenges: 2, crowded: (400, "") });
}

fn start(stage: &Stage) -> Program {
    let lua = example("haproxy/keybound.lua", &[("127.0.0.1:8082", stage.decisions.to_string())]);
    let file = example(
        "haproxy/haproxy.cfg",
        &[
            ("127.0.0.1:8000", stage.public.to_string()),
            ("127.0.0.1:8080", stage.gateway.to_string()),
            ("127.0.0.1:9000", stage.app.address.to_string()),
        ],
    );
    stage.scene.write("keybound.lua", &lua);
    stage.scene.write("haproxy.cfg", &file);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-C").arg(stage.scene.path("")).arg("-f").arg("haproxy.cfg");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Program::start(command, &stage.scene.path("haproxy.log"), stage.public)
}
