//! Logins: what a user sees of the authorization code and device code grants.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Prompt, Show, Shown};

/// How long a user may take, unless set otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

/// A login with a browser on this machine.
#[derive(Clone)]
#[must_use = "to be given to Access::authorization_code"]
pub struct Login {
    pub(crate) show: Shown,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) path: Box<str>,
    pub(crate) patience: Duration,
    pub(crate) parameters: Vec<(Box<str>, Box<str>)>,
    pub(crate) fresh_key: bool,
}

impl Login {
    /// With the browser that `show` opens.
    pub fn new(show: impl Show + 'static) -> Self {
        Self {
            show: Arc::new(show),
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            path: "/callback".into(),
            patience: PATIENCE,
            parameters: Vec::new(),
            fresh_key: false,
        }
    }

    /// The port of loopback where the answer is awaited; any that is free, unless set. Issuers let a native client choose
    /// (RFC 8252 section 7.3).
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The path of the redirect URI, `/callback` unless set. The issuer knows it from the client's registration.
    pub fn path(mut self, path: impl Into<Box<str>>) -> Self {
        self.path = path.into();
        self
    }

    /// How long the user may take, five minutes unless set.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A further parameter of the authorization request, `prompt` or `login_hint`. Those of the protocol are this client's own
    /// and are not replaced.
    pub fn parameter(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Makes a new key for each login, of the kind of the client's first (R-CLI-28). It lives as long as the client does, and
    /// so do its tokens: they are not kept between runs.
    pub const fn fresh_key(mut self) -> Self {
        self.fresh_key = true;
        self
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("show", &self.show).field("path", &self.path).finish_non_exhaustive()
    }
}

/// A login on another device: this one shows a URL and a code.
#[derive(Clone, Debug)]
#[must_use = "to be given to Access::device_code"]
pub struct DeviceCode {
    pub(crate) show: Shown,
}

impl DeviceCode {
    /// Shown by `show`.
    pub fn new(show: impl Show + 'static) -> Self {
        Self { show: Arc::new(show) }
    }
}

/// Opens URLs with the program in `$BROWSER`, else with what the platform has for that (`xdg-open`, `open`).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemBrowser;

impl SystemBrowser {
    /// The browser of this user.
    pub const fn new() -> Self {
        Self
    }
}

impl Show for SystemBrowser {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        let url = prompt.complete.unwrap_or(prompt.url);
        let program = std::env::var_os("BROWSER").filter(|program| !program.is_empty());
        let mut command = match &program {
            Some(program) => std::process::Command::new(program),
            None if cfg!(target_os = "macos") => std::process::Command::new("open"),
            None if cfg!(windows) => {
                let mut command = std::process::Command::new("rundll32");
                command.arg("url.dll,FileProtocolHandler");
                command
            }
            None => std::process::Command::new("xdg-open"),
        };
        let nowhere = std::process::Stdio::null;
        let mut child = command.arg(url).stdin(nowhere()).stdout(nowhere()).stderr(nowhere()).spawn()?;
        // A browser may run for as long as it likes; somebody has to take note of its end.
        std::thread::Builder::new().name("keybound-browser".to_owned()).spawn(move || child.wait())?;
        Ok(())
    }
}
