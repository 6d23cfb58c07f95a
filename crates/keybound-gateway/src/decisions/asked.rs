//! The request that a proxy asks about, out of the fields of its question. What is missing or said twice is the fault of whoever
//! set the proxy up, and never guessed.

use core::fmt;

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::answer::Problem;
use crate::config::DecisionFields;

/// Why there is no request to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Whoever set up proxy and gateway has to mend it.
    Fault(Misset),
    /// The client sent what no server would take.
    Client(Problem),
}

/// A field that does not tell what it is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misset {
    field: Box<str>,
    fault: &'static str,
}

impl Misset {
    pub(super) fn new(field: impl Into<Box<str>>, fault: &'static str) -> Self {
        Self { field: field.into(), fault }
    }
}

impl From<Misset> for Unasked {
    fn from(misset: Misset) -> Self {
        Self::Fault(misset)
    }
}

impl fmt::Display for Misset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.fault)
    }
}

/// Makes of a question the request it is about: its method, its target, and, where `Host` chooses among several origins, its
/// host.
pub(super) fn about(mut question: Parts, fields: &DecisionFields, host_chooses: bool) -> Result<Parts, Unasked> {
    let method = the_one(&question.headers, &fields.method)?;
    let uri = the_one(&question.headers, &fields.uri)?;
    let host = if host_chooses { Some(the_one(&question.headers, &fields.host)?.clone()) } else { None };
    let method = (fields.method.as_str(), method.as_bytes());
    let uri = (fields.uri.as_str(), uri.as_bytes());
    (question.method, question.uri) = aim(method, uri)?;
    if let Some(host) = host {
        question.headers.insert(HOST, host);
    }
    Ok(question)
}

/// Method and target out of what says so, each with the name it has there.
pub(super) fn aim(method: (&str, &[u8]), target: (&str, &[u8])) -> Result<(Method, Uri), Unasked> {
    let (name, octets) = method;
    let method = Method::from_bytes(octets).map_err(|_| Misset::new(name, "is no method"))?;
    let (name, octets) = target;
    if !(octets.starts_with(b"/") || (octets == b"*" && method == Method::OPTIONS)) {
        let fault = "does not begin with a slash; it is path and query, as the client sent them";
        return Err(Misset::new(name, fault).into());
    }
    let invalid = Unasked::Client(Problem::TargetInvalid);
    // The library drops a fragment silently, and no client sends one.
    if octets.contains(&b'#') {
        return Err(invalid);
    }
    let target = PathAndQuery::try_from(octets).map_err(|_| invalid)?;
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(Unasked::Client(Problem::MethodRefused));
    }
    Ok((method, target.into()))
}

fn the_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, Unasked> {
    let mut values = headers.get_all(name).iter();
    let fault = match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => return Ok(value),
        (Some(_), None) => "is empty",
        (Some(_), Some(_)) => "came more than once",
        (None, _) => "is missing",
    };
    Err(Misset::new(name.as_str(), fault).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn ask(fields: &[(&str, &str)], host_chooses: bool) -> Result<(String, String, String), String> {
        let mut question = Request::get("/ask").header("host", "keybound");
        for (name, value) in fields {
            question = question.header(*name, *value);
        }
        let names = DecisionFields {
            method: HeaderName::from_static("x-forwarded-method"),
            uri: HeaderName::from_static("x-forwarded-uri"),
            host: HeaderName::from_static("x-forwarded-host"),
        };
        match about(question.body(()).unwrap().into_parts().0, &names, host_chooses) {
            Ok(parts) => Ok((
                parts.method.to_string(),
                parts.uri.to_string(),
                parts.headers["host"].to_str().unwrap().to_owned(),
            )),
            Err(Unasked::Fault(misset)) => Err(misset.to_string()),
            Err(Unasked::Client(problem)) => Err(problem.code().to_owned()),
        }
    }

    const POST: (&str, &str) = ("x-forwarded-method", "POST");
    const URI: (&str, &str) = ("x-forwarded-uri", "/a%2Fb//c?d=%20");

    #[test]
    fn method_and_target_are_those_of_the_fields() {
        let said = |host: &str| Ok(("POST".to_owned(), "/a%2Fb//c?d=%20".to_owned(), host.to_owned()));
        assert_eq!(ask(&[POST, URI], false), said("keybound"));
        let hosts = [("x-forwarded-host", "a.example"), ("x-forwarded-host", "b.example")];
        assert_eq!(ask(&[POST, URI, hosts[0], hosts[1]], false), said("keybound"), "one origin: not looked at");
        assert_eq!(ask(&[POST, URI, hosts[0]], true), said("a.example"));
    }

    #[test]
    fn what_is_not_said_once_is_not_guessed() {
        for (fields, host_chooses, expected) in [
            (&[][..], false, "x-forwarded-method is missing"),
            (&[POST], false, "x-forwarded-uri is missing"),
            (&[POST, POST, URI], false, "x-forwarded-method came more than once"),
            (&[POST, URI, URI], false, "x-forwarded-uri came more than once"),
            (&[POST, ("x-forwarded-uri", "")], false, "x-forwarded-uri is empty"),
            (&[("x-forwarded-method", "PO ST"), URI], false, "x-forwarded-method is no method"),
            (&[POST, URI], true, "x-forwarded-host is missing"),
            (
                &[POST, URI, ("x-forwarded-host", "a"), ("x-forwarded-host", "a")],
                true,
                "x-forwarded-host came more than once",
            ),
        ] {
            assert_eq!(ask(fields, host_chooses), Err(expected.to_owned()), "{fields:?}");
        }
        for uri in ["https://api.example.com/a", "a", "*"] {
            assert!(ask(&[POST, ("x-forwarded-uri", uri)], false).unwrap_err().contains("begin with a slash"), "{uri}");
        }
    }

    #[test]
    fn what_the_client_sent_is_the_clients() {
        for (method, uri, expected) in [
            ("GET", "/a#b", "target.invalid"),
            ("GET", "/a b", "target.invalid"),
            ("TRACE", "/a", "method.refused"),
            ("CONNECT", "/a", "method.refused"),
        ] {
            let fields = [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
            assert_eq!(ask(&fields, false), Err(expected.to_owned()), "{method} {uri}");
        }
        assert!(ask(&[("x-forwarded-method", "OPTIONS"), ("x-forwarded-uri", "*")], false).is_ok());
    }
}
