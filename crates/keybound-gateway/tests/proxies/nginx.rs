//! nginx, by `auth_request`.

use std::process::Command;

use crate::checks::{self, Known};
use crate::program::{Program, example};
use crate::stage::Stage;

#[test]
fn nginx() {
    let stage = Stage::new();
    let proxy = start(&stage);
    // One of two challenges is lost in nginx before 1.23.
    checks::all(stage.behind(proxy), Known { challenges: 1, crowded: (431, "header.crowded") });
}

fn start(stage: &Stage) -> Program {
    let included = example(
        "nginx/keybound.conf",
        &[
            ("127.0.0.1:8000", stage.public.to_string()),
            ("127.0.0.1:8080", stage.gateway.to_string()),
            ("127.0.0.1:8082", stage.decisions.to_string()),
            ("127.0.0.1:9000", stage.app.address.to_string()),
        ],
    );
    stage.scene.write("keybound.conf", &included);
    let folder = stage.scene.path("");
    let here = folder.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.map(|kind| format!("{kind}_temp_path {here}/{kind};\n")).concat();
    // The master is the process that is ended, and takes its workers along.
    stage.scene.write(
        "nginx.conf",
        &format!(
            "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}include {here}/keybound.conf;\n}}\n"
        ),
    );
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(stage.scene.path("nginx.conf"));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Program::start(command, &stage.scene.path("nginx.log"), stage.public)
}
