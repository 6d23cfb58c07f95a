//! Caddy, by `forward_auth` written out.

use std::process::Command;

use crate::checks::{self, Known};
use crate::program::{Program, example};
use crate::stage::Stage;

#[test]
fn caddy() {
    let stage = Stage::new();
    let proxy = start(&stage);
    checks::all(stage.behind(proxy), Known { challenges: 2, crowded: (431, "header.crowded") });
}

fn start(stage: &Stage) -> Program {
    let file = example(
        "caddy/Caddyfile",
        &[
            ("api.example.com {", format!("http://:{} {{\nbind {}", stage.public.port(), stage.public.ip())),
            ("127.0.0.1:8080", stage.gateway.to_string()),
            ("127.0.0.1:8082", stage.decisions.to_string()),
            ("127.0.0.1:9000", stage.app.address.to_string()),
        ],
    );
    stage.scene.write("Caddyfile", &format!("{{\nadmin off\n}}\n{file}"));
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(stage.scene.path("Caddyfile"));
    // What it keeps, it keeps here.
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, stage.scene.path(""));
    }
    Program::start(command, &stage.scene.path("caddy.log"), stage.public)
}
