//! A proxy as a process: it is ready when it listens, and ends when it is dropped.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts it and waits until it listens at `address`. What it says is in the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path, address: SocketAddr) -> Self {
        let said = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} is not installed? {error}"));
        let mut program = Self { child };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = program.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                panic!("{command:?} does not listen: {}", std::fs::read_to_string(log).unwrap());
            }
            thread::sleep(Duration::from_millis(20));
        }
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of a file of `examples/`, with each text of `instead` replaced; one that is not there is a mistake of the test.
pub(crate) fn example(file: &str, instead: &[(&str, String)]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file);
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (old, new) in instead {
        assert!(text.contains(old), "{old} is not in {file}");
        text = text.replace(old, new);
    }
    text
}
