use super::*;
use crate::config::Config;

fn check() -> HealthCheck {
    HealthCheck {
        path: "/healthz".parse().unwrap(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        healthy: 2,
        unhealthy: 3,
    }
}

fn address() -> Address {
    Address::new("http://127.0.0.1:9000".parse().unwrap(), Some(check()))
}

fn bad() -> Result<(), String> {
    Err("answered 500".to_owned())
}

#[test]
fn the_first_answer_counts_at_once() {
    for (answer, standing, rank) in
        [(Ok(()), Standing::Healthy, Rank::Good), (bad(), Standing::Unhealthy, Rank::Unhealthy)]
    {
        let address = address();
        assert_eq!((address.standing(), address.rank()), (Standing::Unknown, Rank::Good));
        assert_eq!(address.trouble().unwrap(), "http://127.0.0.1:9000 was not asked yet");
        address.answered(answer);
        assert_eq!((address.standing(), address.rank()), (standing, rank));
    }
}

#[test]
fn after_that_it_takes_some_in_a_row() {
    let address = address();
    address.answered(Ok(()));
    for answer in [bad(), bad(), Ok(()), bad(), bad()] {
        address.answered(answer);
        assert_eq!(address.standing(), Standing::Healthy);
    }
    address.answered(bad());
    assert_eq!(address.standing(), Standing::Unhealthy);
    assert_eq!(address.trouble().unwrap(), "http://127.0.0.1:9000: answered 500");
    for answer in [Ok(()), bad(), Ok(())] {
        address.answered(answer);
        assert_eq!(address.standing(), Standing::Unhealthy);
    }
    assert_eq!(address.trouble().unwrap(), "http://127.0.0.1:9000: on its way back");
    address.answered(Ok(()));
    assert_eq!((address.standing(), address.trouble()), (Standing::Healthy, None));
    let Figures { good, bad, .. } = address.figures();
    assert_eq!((good, bad), (5, 6));
}

#[test]
fn one_that_cannot_be_reached_rests() {
    let address = address();
    address.unreachable();
    assert_eq!((address.rank(), address.figures().unreachable), (Rank::Resting, 1));
    address.reached();
    assert_eq!(address.rank(), Rank::Good);
}

fn routes(text: &str) -> Vec<Route> {
    let around =
        "[[origin]]\nurl = \"https://a.example\"\n[[issuer]]\nurl = \"https://i.example\"\naudience = [\"x\"]\n";
    Config::parse(&format!("{around}{text}"), "test.toml".as_ref()).unwrap().routes
}

#[test]
fn unchanged_addresses_are_as_they_were() {
    let route = |path: &str, health: &str| {
        format!("[[route]]\npath = \"{path}\"\nupstream = [\"http://127.0.0.1:9000\"]\nhealth = {{ {health} }}\n")
    };
    let first = addresses(&routes(&(route("/a", "path = \"/z\"") + &route("/b", "path = \"/z\""))), &[]);
    assert_eq!(checked(&first).len(), 1, "routes that ask the same share what they hear");
    first[0][0].answered(bad());

    let second = addresses(&routes(&(route("/c", "path = \"/z\"") + &route("/d", "path = \"/other\""))), &first);
    let standings: Vec<_> = second.iter().map(|of_route| of_route[0].standing()).collect();
    assert_eq!(standings, [Standing::Unhealthy, Standing::Unknown]);
    let third = addresses(&routes(&route("/c", "path = \"/z\", healthy = 7")), &second);
    assert_eq!(third[0][0].standing(), Standing::Unknown, "it is asked in another way");
}
