//! Requests that are wrong as HTTP: bodies of the wrong kind, too long, too slow, too late; hosts; what is glued together.

use crate::support::{Connection, MARK, Request, SECRET, Setup};

/// RFC 6749 section 3.2: a form, one, each parameter once.
#[test]
fn bodies_that_are_no_form_are_refused() {
    let server = Setup::new().start();
    let typed = |field: &str| Request::of_basic().only_field(field);
    let bodied = |body: &str| Request::of_basic().body(body);
    let many: String = (0..100).map(|number| format!("&p{number}=1")).collect();
    let cases: Vec<(&str, Request)> = vec![
        ("JSON", typed("Content-Type: application/json").body(r#"{"grant_type":"client_credentials"}"#)),
        ("text", typed("Content-Type: text/plain")),
        ("multipart", typed("Content-Type: multipart/form-data; boundary=zebra7")),
        ("almost a form", typed("Content-Type: application/x-www-form-urlencoded-zebra7")),
        ("empty type", typed("Content-Type:")),
        ("no type", Request::new("POST /token").basic("basic", SECRET).body("grant_type=client_credentials")),
        ("two types", Request::of_basic().field("Content-Type: application/x-www-form-urlencoded")),
        ("grant twice", Request::of_basic().with("grant_type=client_credentials")),
        ("scope twice", Request::of_basic().with("scope=read&scope=write")),
        ("name twice by encoding", Request::of_basic().with("scope=read&%73cope=write")),
        ("secret twice", Request::token().with("client_id=post&client_secret=a&client_secret=b")),
        ("bad percent", bodied("grant_type=client_credentials&scope=%zz")),
        ("cut percent", bodied("grant_type=client_credentials&scope=%4")),
        ("not UTF-8", bodied("grant_type=client_credentials&scope=%ff")),
        ("empty", bodied("")),
        ("too many parameters", Request::of_basic().with(&many)),
        ("JSON called a form", bodied(r#"{"grant_type":"zebra7"}"#)),
    ];
    for (name, request) in cases {
        let answer = server.token(&request);
        let expected = ("invalid_request".to_owned(), "request.malformed".to_owned());
        assert_eq!((answer.status, answer.error()), (400, expected), "{name}");
    }
    for fine in ["application/x-www-form-urlencoded; charset=UTF-8", "APPLICATION/X-WWW-Form-urlencoded ;x=y"] {
        assert_eq!(server.token(&typed(&format!("Content-Type: {fine}"))).status, 200, "{fine}");
    }
}

/// Parameters count in the body alone.
#[test]
fn the_query_is_no_body() {
    let server = Setup::new().start();
    let request = Request::new(&format!("POST /token?grant_type=client_credentials&client_secret={SECRET}"))
        .field("Content-Type: application/x-www-form-urlencoded")
        .body("client_id=post");
    assert_eq!(server.token(&request).status, 401);
    let request = Request::new("POST /token?access_token=zebra7&scope=zebra7")
        .field("Content-Type: application/x-www-form-urlencoded")
        .basic("basic", SECRET)
        .body("grant_type=client_credentials");
    assert_eq!(server.token(&request).status, 200);
}

// R-URI-10
#[test]
fn requests_without_one_host_are_refused() {
    let server = Setup::new().start();
    for (name, hosts) in [
        ("none", ""),
        ("two", "Host: id.example.com\r\nHost: zebra7\r\n"),
        ("one twice", "Host: id.example.com\r\nHost: id.example.com\r\n"),
        ("empty", "Host:\r\n"),
        ("a list", "Host: id.example.com, zebra7\r\n"),
        ("a path", "Host: id.example.com/zebra7\r\n"),
        ("user", "Host: zebra7@id.example.com\r\n"),
    ] {
        for line in ["POST /token", "GET /jwks", "OPTIONS /token"] {
            let answer = server.raw(format!("{line} HTTP/1.1\r\n{hosts}Content-Length: 0\r\n\r\n"));
            assert_eq!((answer.status, answer.error().1.as_str()), (400, "host.invalid"), "{name}: {line}");
            assert!(!answer.body.contains(MARK));
        }
    }
    let absolute = Request::new("GET https://zebra7/jwks");
    assert_eq!(server.raw(absolute.octets()).status, 400);
}

/// A body that is announced to be too long is refused unread; one that does not say is read up to the limit.
#[test]
fn long_bodies_are_refused() {
    let server = Setup::new().start();
    let head = "POST /token HTTP/1.1\r\nHost: id.example.com\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    for framing in ["Content-Length: 65537\r\n\r\n", "Content-Length: 99999999999\r\n\r\n"] {
        let mut connection = Connection::to(server.address);
        connection.send(format!("{head}{framing}"));
        let answer = connection.answer().unwrap();
        assert_eq!((answer.status, answer.error().1.as_str()), (413, "request.malformed"), "{framing}");
    }
    let mut connection = Connection::to(server.address);
    connection.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    connection.send(chunk.repeat(17));
    assert_eq!(connection.answer().unwrap().status, 413);
}

/// RFC 9110 section 10.1.1: a body is asked for where it will be read, and only there.
#[test]
fn who_waits_to_be_asked_is_asked_for_a_fitting_body() {
    let server = Setup::new().start();
    let head = "POST /token HTTP/1.1\r\nHost: id.example.com\r\nExpect: 100-continue\r\n";
    for (fields, status) in [
        ("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 65537\r\n", 413),
        ("Content-Type: application/json\r\nContent-Length: 20\r\n", 400),
    ] {
        let mut connection = Connection::to(server.address);
        connection.send(format!("{head}{fields}\r\n"));
        assert_eq!(connection.answer().unwrap().status, status, "{fields}");
    }
    let request = String::from_utf8(Request::of_basic().field("Expect: 100-continue").octets()).unwrap();
    let (fields, body) = request.split_once("\r\n\r\n").unwrap();
    let mut connection = Connection::to(server.address);
    connection.send(format!("{fields}\r\n\r\n"));
    assert_eq!(connection.answer().unwrap().status, 100);
    connection.send(body);
    assert_eq!(connection.answer().unwrap().status, 200);
}

/// What nobody reads is not taken without end.
#[test]
fn a_flood_behind_a_refusal_is_cut_off() {
    let server = Setup::new().start();
    let mut connection = Connection::to(server.address);
    connection.send(
        "POST /token HTTP/1.1\r\nHost: id.example.com\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 9999999999\r\n\r\n",
    );
    let limit = 256 << 20;
    assert!(connection.send_while_taken(&[b'a'; 65_536], limit) < limit);
}

/// Header and body must come in their time; other clients are served meanwhile. The server's timers are fast-forwarded.
#[test]
fn slow_requests_are_ended() {
    let request = String::from_utf8(Request::of_basic().octets()).unwrap();
    let (server, mut connection) = Setup::new().time_flies().start_after(|address| {
        let mut connection = Connection::to(address);
        connection.send(&request[..request.len() - 5]);
        connection
    });
    assert_eq!(connection.answer().unwrap().status, 408);
    assert!(connection.is_over());
    drop(server);

    let (_server, mut connection) = Setup::new().time_flies().start_after(|address| {
        let mut connection = Connection::to(address);
        connection.send(&request[..request.len() / 2]);
        connection
    });
    assert!(connection.is_over());
}

/// A client that is slow holds up nobody else.
#[test]
fn others_are_served_meanwhile() {
    let server = Setup::new().start();
    let request = String::from_utf8(Request::of_basic().octets()).unwrap();
    let mut slow = Connection::to(server.address);
    slow.send(&request[..request.len() - 5]);
    for _ in 0..10 {
        assert_eq!(server.token(&Request::of_basic().dpop(&server.proof())).status, 200);
    }
    slow.send(&request[request.len() - 5..]);
    assert_eq!(slow.answer().unwrap().status, 200);
}

/// A header beyond 32 KiB is not read; one with the longest proof and credentials is.
#[test]
fn headers_are_bounded() {
    let server = Setup::new().start();
    let roomy = Request::of_basic().dpop(&server.proof().claim("x", "y".repeat(5000)));
    assert_eq!(server.token(&roomy).status, 200);
    let flood = Request::of_basic().field(format!("X: {}", "x".repeat(64 * 1024)));
    assert_eq!(server.raw(flood.octets()).status, 431);
    let fields = (0..200).fold(Request::of_basic(), |request, number| request.field(format!("X{number}: x")));
    assert_eq!(server.raw(fields.octets()).status, 431);
}

/// A second request glued to the first is answered as what it is, and what has two lengths is not answered with a token.
#[test]
fn requests_on_one_connection_are_told_apart() {
    let server = Setup::new().start();
    let mut connection = Connection::to(server.address);
    connection.send([Request::of_basic().octets(), Request::token().octets(), Request::of_basic().octets()].concat());
    let statuses = [(); 3].map(|()| connection.answer().unwrap().status);
    assert_eq!(statuses, [200, 401, 200]);

    let smuggling = Request::of_basic().field("Transfer-Encoding: chunked").octets();
    let mut connection = Connection::to(server.address);
    connection.send(smuggling);
    assert_ne!(connection.answer().map(|answer| answer.status), Some(200));
}

/// What is no HTTP at all gets an end, and the next one its token.
#[test]
fn rubbish_ends_its_own_connection() {
    let server = Setup::new().start();
    for rubbish in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "POST /token HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"] {
        let mut connection = Connection::to(server.address);
        connection.send(rubbish);
        if let Some(answer) = connection.answer() {
            assert_eq!(answer.status, 400, "{rubbish:?}");
        }
        assert!(connection.is_over(), "{rubbish:?}");
        assert_eq!(server.token(&Request::of_basic()).status, 200);
    }
}
