//! When a change of configuration needs a barrier: when what was recorded so far does not tell any more which proofs were
//! used.

use keybound_issuer::ProofEndpoint;

use crate::config::{Config, Mode, NoncePolicy, ProofHandling, ProofPolicy, Route};

/// Whether a proof that was used under `before` could pass under `after` without anybody noticing.
pub(crate) fn is_due(before: &Config, after: &Config) -> bool {
    windows_differ(before, after) || is_recorded_newly(before, after)
}

/// An entry is found by the proof's `expires`, and that follows from these.
fn windows_differ(before: &Config, after: &Config) -> bool {
    if ProofEndpoint::ALL.into_iter().any(|endpoint| nonces_at(before, endpoint) != nonces_at(after, endpoint)) {
        return true;
    }
    let (before, after) = (&before.proof, &after.proof);
    before.max_age != after.max_age
        || before.max_future != after.max_future
        || before.nonce != after.nonce
        || before.nonce_lifetime != after.nonce_lifetime
        || before.iat_with_nonce != after.iat_with_nonce
}

/// The policy at this endpoint of the embedded issuer. Without an issuer it is that of all, so that one that goes and comes again
/// with another policy is noticed once.
fn nonces_at(config: &Config, endpoint: ProofEndpoint) -> NoncePolicy {
    let own = config.authorization_server.iter().flat_map(|settings| &settings.nonces);
    own.filter(|(of, _)| *of == endpoint).map(|(_, policy)| *policy).next_back().unwrap_or(config.proof.nonce)
}

/// Whether proofs for some path are recorded from now on, and were passed on unrecorded before.
fn is_recorded_newly(before: &Config, after: &Config) -> bool {
    let now_recorded = |path: &str| chosen(after, path).is_some_and(records);
    let was_passed = |path: &str| chosen(before, path).is_some_and(|route| !records(route));
    // Every boundary of both configurations lies at the path of a route.
    let mut paths = before.routes.iter().chain(&after.routes).map(|route| route.path.as_str());
    paths.any(|path| was_passed(path) && now_recorded(path))
}

/// The same in words, for a memory that compares over a restart, when the configuration before is gone. It tells more apart than
/// [`is_due`] does.
pub(crate) fn judged_by(config: &Config) -> String {
    let ProofPolicy { max_age, max_future, nonce, nonce_lifetime, iat_with_nonce, .. } = &config.proof;
    let mut text = format!("{max_age:?} {max_future:?} {nonce:?} {nonce_lifetime:?} {iat_with_nonce:?}");
    for endpoint in ProofEndpoint::ALL {
        let own = nonces_at(config, endpoint);
        if own != *nonce {
            text.push_str(&format!("\n{endpoint} {own:?}"));
        }
    }
    let mut routes: Vec<_> = config.routes.iter().map(|route| (route.path.as_str(), records(route))).collect();
    routes.sort_unstable();
    for (path, is_recorded) in routes {
        text.push_str(if is_recorded { "\nrecorded " } else { "\npassed " });
        text.push_str(path);
    }
    text
}

fn chosen<'c>(config: &'c Config, path: &str) -> Option<&'c Route> {
    config.routes.iter().find(|route| route.path.covers(path))
}

fn records(route: &Route) -> bool {
    matches!(route.mode, Mode::Required | Mode::Optional) && route.proof != ProofHandling::Check
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let rest = "[[origin]]\nurl = \"https://api.example.com\"\n[[issuer]]\nurl = \"https://id.example.com\"\naudience = [\"x\"]\n";
        Config::parse(&[rest, text].concat(), Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn route(path: &str, settings: &str) -> String {
        format!("[[route]]\npath = \"{path}\"\nupstream = [\"http://127.0.0.1:9000\"]\n{settings}\n")
    }

    #[test]
    fn what_moves_an_entry_needs_a_barrier() {
        let root = route("/", "");
        for (before, after, expected) in [
            ("", "", false),
            ("", "max_age = \"600s\"", true),
            ("max_age = \"600s\"", "", true),
            ("", "max_future = \"30s\"", true),
            ("", "nonce = \"require\"", true),
            ("", "nonce_lifetime = \"100s\"", true),
            ("", "preset = \"mcp\"", true),
            ("", "algorithms = [\"ES256\"]", false),
        ] {
            let [before, after] = [before, after].map(|proof| config(&format!("[proof]\n{proof}\n{root}")));
            assert_eq!(is_due(&before, &after), expected, "{:?} to {:?}", before.proof, after.proof);
            assert_eq!(judged_by(&before) != judged_by(&after), expected, "{:?} to {:?}", before.proof, after.proof);
        }
    }

    #[test]
    fn nonces_of_one_endpoint_need_a_barrier() {
        let issuer = |nonces: &str| {
            let text = "[authorization_server]\nurl = \"https://as.example.com\"\nstore = \"memory\"\n";
            config(&[&route("/", ""), text, "[authorization_server.nonce]\n", nonces].concat())
        };
        let without = config(&route("/", ""));
        for (before, after, expected) in [
            (issuer(""), issuer("par = \"require\""), true),
            (issuer("par = \"require\""), issuer("token = \"require\""), true),
            (issuer("userinfo = \"off\""), issuer(""), true),
            // What all have, said once more.
            (issuer(""), issuer("token = \"offer\""), false),
            // And where there was no issuer in between.
            (issuer("token = \"off\""), without.clone(), true),
            (without.clone(), issuer("token = \"off\""), true),
            (without.clone(), issuer(""), false),
        ] {
            let nonces =
                [&before, &after].map(|config| config.authorization_server.as_ref().map(|own| own.nonces.clone()));
            assert_eq!(is_due(&before, &after), expected, "{nonces:?}");
            assert_eq!(judged_by(&before) != judged_by(&after), expected, "{nonces:?}");
        }
    }

    #[test]
    fn what_is_recorded_from_now_on_needs_a_barrier() {
        let [required, open, report] = ["", "mode = \"open\"", "mode = \"report\""].map(|mode| route("/", mode));
        let check = route("/", "proof = \"check\"\nupstream_authorization = \"pass\"");
        let orders = |settings| route("/orders", settings);
        for (before, after, expected) in [
            (required.clone(), required.clone(), false),
            (open.clone(), required.clone(), true),
            (report, required.clone(), true),
            (check.clone(), required.clone(), true),
            (required.clone(), check, false),
            (open.clone(), open.clone() + &orders(""), true),
            (required.clone() + &orders("mode = \"open\""), required.clone(), true),
            (required.clone(), required.clone() + &orders("mode = \"open\""), false),
            (orders(""), required, false),
        ] {
            let (before, after) = (config(&before), config(&after));
            assert_eq!(is_due(&before, &after), expected, "{:?} to {:?}", before.routes, after.routes);
            // Whatever is due is due after a restart as well.
            assert!(!expected || judged_by(&before) != judged_by(&after), "{:?} to {:?}", before.routes, after.routes);
        }
    }
}
