//! The `cnf` claim (RFC 7800 section 3.1, RFC 9449 section 6.1).

use crate::jwk::Thumbprint;
use crate::jws::json::Value;

/// How a token wants its holder confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// There is no `cnf`: a bearer token.
    Absent,
    /// By a DPoP proof of the key with this thumbprint, and by nothing else.
    Jkt(Thumbprint),
    /// `cnf` is malformed, empty, or asks for something a proof does not confirm. Such a token is good under no scheme
    /// (R-RS-08, R-RS-09).
    Unusable,
}

impl Confirmation {
    /// Reads `cnf`: absent, or an object whose only member is `jkt`.
    pub(crate) fn read(cnf: Option<&Value<'_>>) -> Self {
        let Some(cnf) = cnf else { return Self::Absent };
        let Some(methods) = cnf.as_object() else {
            return Self::Unusable;
        };
        let jkt = methods.get("jkt").and_then(Value::as_str).and_then(|jkt| jkt.parse().ok());
        match (jkt, methods.iter().count()) {
            (Some(jkt), 1) => Self::Jkt(jkt),
            _ => Self::Unusable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jws::json::Object;

    // R-RS-08, R-RS-09
    #[test]
    fn only_a_lone_jkt_binds() {
        let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let read = |text: String| Confirmation::read(Object::parse(text.as_bytes()).unwrap().get("cnf"));
        assert_eq!(read("{}".into()), Confirmation::Absent);
        assert_eq!(read(format!(r#"{{"cnf":{{"jkt":"{jkt}"}}}}"#)), Confirmation::Jkt(jkt.parse().unwrap()));
        for cnf in [
            "null".into(),
            "[]".into(),
            "{}".into(),
            format!("{jkt:?}"),
            r#"{"jkt":""}"#.into(),
            r#"{"jkt":null}"#.into(),
            format!(r#"{{"jkt":["{jkt}"]}}"#),
            format!(r#"{{"jkt":"{jkt}="}}"#),
            format!(r#"{{"jkt":"{}"}}"#, &jkt[1..]),
            format!(r#"{{"jkt":"{jkt}","x5t#S256":"{jkt}"}}"#),
            format!(r#"{{"x5t#S256":"{jkt}"}}"#),
            r#"{"kid":"1"}"#.into(),
        ] {
            assert_eq!(read(format!(r#"{{"cnf":{cnf}}}"#)), Confirmation::Unusable, "{cnf}");
        }
    }
}
