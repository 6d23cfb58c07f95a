//! An issuer with its administration, and answers that are held against the description.

#[path = "../stores/mod.rs"]
#[expect(dead_code, reason = "the tests over HTTP use all of it")]
mod stores;

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use data_encoding::BASE64;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use keybound::authorization_server::AuthorizationServer;
use keybound::client::{ProofClaims, Prover};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey, random_array};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore as Proofs};
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound::verify::Verifier;
use keybound_issuer::admin::OPENAPI;
use keybound_issuer::audit::Audit;
use keybound_issuer::store::Store;
use keybound_issuer::{Authentication, Client, Clock, Connection, GrantType, Issuer, IssuerConfig, Keys, Secret};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) use self::stores::Place;

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
/// Of the administrators, and of the one configured client.
pub(crate) const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";
/// What the issuer is called: on loopback, where `alice` agrees to everything.
pub(crate) const ISSUER: &str = "http://localhost:8090";
pub(crate) const REDIRECT: &str = "https://app.example.com/back";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) static KEY: LazyLock<SoftwareKey> = LazyLock::new(|| SoftwareKey::generate(Alg::Es256).unwrap());
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(OPENAPI).unwrap());

pub(crate) fn description() -> &'static Value {
    &DESCRIPTION
}

/// An answer, its body read to the end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The access token, and the refresh token if there is one.
    #[track_caller]
    pub(crate) fn tokens(&self) -> (String, Option<String>) {
        assert_eq!(self.status, 200, "{self:?}");
        let body = self.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        (text("access_token").unwrap(), text("refresh_token"))
    }
}

pub(crate) struct Scene {
    pub(crate) issuer: Issuer,
    /// Of its store, if that is its own.
    _place: Option<Place>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with_keys(|_, _| Keys::generate().unwrap())
    }

    pub(crate) fn over(store: Arc<dyn Store>, change: impl FnOnce(IssuerConfig) -> IssuerConfig) -> Self {
        Self { issuer: Self::of(store, change, |_| Keys::generate().unwrap()), _place: None }
    }

    /// With these keys, which may be kept in its store and noted where the issuer notes what it does.
    pub(crate) fn with_keys(keys: impl FnOnce(Arc<dyn Store>, &Audit) -> Keys) -> Self {
        let place = Place::new();
        let store = place.open(UnixTime::from_secs(1_699_000_000));
        let issuer = Self::of(Arc::clone(&store), |config| config, |audit| keys(store, audit));
        Self { issuer, _place: Some(place) }
    }

    fn of(
        store: Arc<dyn Store>,
        change: impl FnOnce(IssuerConfig) -> IssuerConfig,
        keys: impl FnOnce(&Audit) -> Keys,
    ) -> Issuer {
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [1; 32])));
        let verifier = Verifier::builder(Arc::new(AwsLc), nonces).build().unwrap();
        let epoch = Epoch::new(42, UnixTime::from_secs(1_699_000_000));
        let proofs = Arc::new(Proofs::new(MemoryLimits::new(), [7; 16], epoch).unwrap());
        let client = Client::new("app", Authentication::SecretBasic(Secret::new(SECRET.to_owned()).unwrap()))
            .grant_type(GrantType::AuthorizationCode)
            .grant_type(GrantType::RefreshToken)
            .grant_type(GrantType::ClientCredentials)
            .redirect_uri(REDIRECT)
            .scope("read write");
        let config = IssuerConfig::new(ISSUER, "https://api.example.com").client(client).auto_approve("alice");
        let server = AuthorizationServer::new(verifier);
        let audit = Audit::default();
        let keys = keys(&audit);
        Issuer::with_store(change(config.audit(audit)), keys, server, proofs, store, Clock::new(|| NOW)).unwrap()
    }

    /// A request to the administration, with the secret.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        self.admin_with(method, path, &[], body).await
    }

    pub(crate) async fn admin_with(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !fields.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {SECRET}"));
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            Value::String(text) => Body::from(text),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        let router = self.issuer.administration().router(Secret::new(SECRET.to_owned()).unwrap());
        let answer = answered(router, request.body(body).unwrap()).await;
        self.held_against_the_description(method, path, &answer);
        answer
    }

    /// Whether it is one that the description tells of.
    #[track_caller]
    fn held_against_the_description(&self, method: &str, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap();
        let Some((template, _)) = operations().into_iter().find(|(template, of)| of == method && fits(template, path))
        else {
            assert!(matches!(answer.status, 401 | 404 | 405), "{method} {path}: {answer:?}");
            return;
        };
        let operation = &description()["paths"][&template][method.to_lowercase()];
        let told = &operation["responses"][answer.status.to_string()];
        let told = match told["$ref"].as_str() {
            Some(name) => description().pointer(&name[1..]).unwrap(),
            None => told,
        };
        assert!(told.is_object(), "{method} {path} does not tell of {}", answer.status);
        if answer.status == 204 {
            assert_eq!(answer.text, "");
            return;
        }
        let kind = answer.field("content-type").unwrap();
        let schema = &told["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: {kind}: {answer:?}");
        let schema = json!({ "allOf": [schema], "components": description()["components"] });
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let faults: Vec<_> = validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{method} {path}: {faults:?}: {answer:?}");
        for name in told["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            assert!(answer.headers.contains_key(name), "{method} {path}: {name}");
        }
        if template != "/openapi.json" {
            assert_eq!(answer.field("cache-control"), Some("no-store"), "{answer:?}");
        }
    }

    /// A request to the issuer itself.
    pub(crate) async fn issuer(&self, mut request: Request<Body>) -> Answer {
        request
            .extensions_mut()
            .insert(Connection::new("127.0.0.1:8090".parse().unwrap(), "127.0.0.1:50000".parse().unwrap()));
        request.headers_mut().insert("host", "localhost:8090".parse().unwrap());
        answered(self.issuer.router(), request).await
    }

    /// A token request of a client that authenticates by Basic.
    pub(crate) async fn token(&self, id: &str, secret: &str, form: &str) -> Answer {
        let basic = BASE64.encode(format!("{id}:{secret}").as_bytes());
        let request = Request::post("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", format!("Basic {basic}"))
            .header("dpop", proof("/token"));
        self.issuer(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// What `alice` grants this client.
    pub(crate) async fn code(&self, client: &str) -> String {
        let query = format!(
            "response_type=code&client_id={client}&redirect_uri={REDIRECT}&code_challenge={CHALLENGE}&code_challenge_method=S256"
        );
        let answer = self.issuer(Request::get(format!("/authorize?{query}")).body(Body::empty()).unwrap()).await;
        let location = answer.field("location").unwrap_or_else(|| panic!("{answer:?}"));
        location.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap().to_owned()
    }

    /// The tokens that come of a code.
    pub(crate) async fn redeemed(&self, id: &str, secret: &str) -> (String, Option<String>) {
        let code = self.code(id).await;
        let form =
            format!("grant_type=authorization_code&code={code}&redirect_uri={REDIRECT}&code_verifier={VERIFIER}");
        self.token(id, secret, &form).await.tokens()
    }

    /// The entries of the audit log that fit a query.
    pub(crate) async fn entries(&self, query: &str) -> Vec<Value> {
        let answer = self.admin("GET", &format!("/v1/audit?{query}"), Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["entries"].as_array().unwrap().clone()
    }
}

async fn answered(router: axum::Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text }
}

/// A proof that nobody has seen.
pub(crate) fn proof(path: &str) -> String {
    let endpoint = TargetUri::parse(&[ISSUER, path].concat()).unwrap();
    let claims = ProofClaims::new(&Method::POST, &endpoint, random_array::<16>().unwrap(), NOW);
    Prover::of(&*KEY).unwrap().prepare(&claims).sign(&*KEY).unwrap().as_str().to_owned()
}

/// Every operation that is described: path and method.
pub(crate) fn operations() -> Vec<(String, String)> {
    let paths = description()["paths"].as_object().unwrap();
    let methods = |item: &Value| {
        item.as_object().unwrap().keys().filter(|name| *name != "parameters").cloned().collect::<Vec<_>>()
    };
    let all =
        paths.iter().flat_map(|(path, item)| methods(item).into_iter().map(|name| (path.clone(), name.to_uppercase())));
    all.collect()
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(wanted, part)| wanted.starts_with('{') || *wanted == part)
}
