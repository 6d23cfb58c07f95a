//! How pages look and what they may do: the words stand in `templates/`, the fields of every answer here.

use std::sync::LazyLock;

use askama::Template;
use axum::response::Response;
use data_encoding::BASE64;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use keybound::challenge::TokenErrorAnswer;
use keybound::refusal::Denial;
use sha2::{Digest as _, Sha256};

use super::account::Account;
use super::interaction::{Interaction, Problem, Wanted};
use super::ways::Ways;
use crate::State;
use crate::answer;
use crate::client::Client;
use crate::endpoints::device::spelled;
use crate::grants::scopes;
use crate::users::User;

/// What every page wears. It stands in the page, so that there is nothing to load, and nothing else of its kind is let in.
const STYLE: &str = include_str!("../../templates/page.css");

/// The one style sheet that a browser takes.
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(STYLE.as_bytes()))));

/// The longest text of somebody else that is shown.
const SHOWN: usize = 80;

/// What every form needs.
pub(super) struct Page {
    pub(super) host: String,
    pub(super) token: String,
    pub(super) action: String,
    pub(super) client: Option<Application>,
}

/// A client, as people see it.
pub(super) struct Application {
    name: String,
    /// Whether the operator has looked at it.
    is_known: bool,
}

impl Application {
    pub(super) fn of(client: &Client) -> Self {
        Self { name: shown(client.shown()), is_known: client.is_vouched_for() }
    }
}

/// Text of somebody else: on one line, of sensible length, and read in the direction it is written in.
fn shown(text: &str) -> String {
    let is_fit = |letter: &char| {
        !letter.is_control()
            && !matches!(
                letter,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            )
    };
    let mut letters = text.chars().filter(is_fit);
    let mut shown: String = letters.by_ref().take(SHOWN).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'p> {
    page: &'p Page,
    style: &'p str,
    is_device: bool,
    name: &'p str,
    problem: Option<Problem>,
    /// Whether it has to do with the two fields.
    is_mistyped: bool,
    provider: &'p str,
    /// Whether there is more than one way.
    has_others: bool,
    ways: &'p Ways<'p>,
}

#[derive(Template)]
#[template(path = "code.html")]
struct Code<'p> {
    page: &'p Page,
    style: &'p str,
    user: String,
    code: String,
    problem: Option<Problem>,
    provider: &'p str,
    has_others: bool,
}

#[derive(Template)]
#[template(path = "leave.html")]
struct Leave<'p> {
    style: &'p str,
    provider: &'p str,
    location: &'p str,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'p> {
    page: &'p Page,
    style: &'p str,
    user: String,
    account: &'p Account<'p>,
}

#[derive(Template)]
#[template(path = "decide.html")]
struct Decide<'p> {
    page: &'p Page,
    style: &'p str,
    user: String,
    /// What is asked for.
    scopes: Vec<String>,
    /// Where it is good.
    resource: String,
    /// Where the browser goes afterwards.
    back: String,
    /// The code that the device shows.
    code: Option<String>,
}

#[derive(Template)]
#[template(path = "connect.html")]
struct Connect<'p> {
    style: &'p str,
    host: String,
    client: Application,
    user: String,
    code: String,
}

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOut<'p> {
    page: &'p Page,
    style: &'p str,
    user: String,
    kept: &'p [(&'static str, String)],
}

#[derive(Template)]
#[template(path = "told.html")]
struct Told<'p> {
    style: &'p str,
    title: &'p str,
    text: &'p str,
    code: Option<&'p str>,
}

/// Who somebody is, in one of these ways.
pub(super) fn sign_in(page: Page, interaction: &Interaction, ways: Ways<'_>) -> Response {
    let said = interaction.said.as_ref();
    let hint = match &interaction.wanted {
        Wanted::Code { asked, .. } => asked.login_hint.as_deref().filter(|hint| crate::users::identity(hint).is_some()),
        Wanted::Device { .. } | Wanted::Account => None,
    };
    let script = ways.passkey.as_ref().map(|passkey| passkey.script);
    html_with(
        StatusCode::OK,
        &SignIn {
            style: STYLE,
            is_device: matches!(interaction.wanted, Wanted::Device { .. }),
            name: said.map(|said| &*said.name).or(hint).unwrap_or_default(),
            problem: said.map(|said| said.what),
            is_mistyped: said
                .is_some_and(|said| matches!(said.what, Problem::Password | Problem::Wait(_) | Problem::Busy)),
            provider: said.map(|said| &*said.provider).unwrap_or_default(),
            has_others: ways.number() > 1,
            ways: &ways,
            page: &page,
        },
        back_of(interaction),
        script,
    )
}

/// On to another provider, by a link that goes by itself: a form would have to know beforehand where it ends.
pub(super) fn leave(provider: &str, location: &str) -> Response {
    html(StatusCode::OK, &Leave { style: STYLE, provider, location }, None)
}

/// What somebody has to sign in with.
pub(super) fn account(page: Page, user: &User, account: &Account<'_>) -> Response {
    let script = account.new_passkey.as_ref().map(|passkey| passkey.script);
    let template = AccountPage { style: STYLE, user: shown(user.shown()), account, page: &page };
    html_with(StatusCode::OK, &template, None, script)
}

/// The code that a device shows.
pub(super) fn code(page: Page, interaction: &Interaction, user: &User) -> Response {
    let typed = match &interaction.wanted {
        Wanted::Device { typed, .. } => spelled(typed),
        Wanted::Code { .. } | Wanted::Account => String::new(),
    };
    let problem = interaction.said.as_ref().map(|said| said.what);
    let user = shown(user.shown());
    let template = Code { style: STYLE, user, code: typed, problem, provider: "", has_others: false, page: &page };
    html(StatusCode::OK, &template, None)
}

/// What a client or a device is to be allowed.
pub(super) fn decide(page: Page, interaction: &Interaction, user: &User) -> Response {
    let (scope, resource, back, code) = match &interaction.wanted {
        Wanted::Code { asked, .. } => (&*asked.scope, &*asked.audience, place(&asked.redirect_uri), None),
        Wanted::Device { typed, found } => {
            let found = found.as_ref();
            let scope = found.map_or("", |found| &*found.scope);
            (scope, found.map_or("", |found| &*found.audience), String::new(), Some(spelled(typed)))
        }
        Wanted::Account => ("", "", String::new(), None),
    };
    let template = Decide {
        style: STYLE,
        user: shown(user.shown()),
        scopes: scopes(scope).map(shown).collect(),
        resource: shown(resource),
        back: shown(&back),
        code,
        page: &page,
    };
    html(StatusCode::OK, &template, back_of(interaction))
}

/// Whether a device is to be connected as the one user of a developer. The link leads to where the browser is already.
pub(crate) fn connect(state: &State, client: &Client, user: &str, typed: &str) -> Response {
    let (client, user, code) = (Application::of(client), shown(user), spelled(typed));
    html(StatusCode::OK, &Connect { style: STYLE, host: host(state), client, user, code }, None)
}

/// Whether to sign out, and what comes back with the answer.
pub(super) fn sign_out(page: Page, user: &User, kept: &[(&'static str, String)], back: Option<&str>) -> Response {
    html(StatusCode::OK, &SignOut { style: STYLE, user: shown(user.shown()), kept, page: &page }, back)
}

/// A page of one thing.
pub(crate) fn told(title: &str, text: &str) -> Response {
    html(StatusCode::OK, &Told { style: STYLE, title, text, code: None }, None)
}

/// What is wrong, for a person whom it is not safe to send anywhere.
pub(crate) fn refused(denial: &Denial) -> Response {
    let meaning = match denial {
        Denial::Refused(refusal) => refusal.reason().entry().meaning,
        Denial::Failed(fault) => fault.meaning(),
        _ => "the request was refused",
    };
    let status = TokenErrorAnswer::new(denial, None).status();
    let text = format!("What was found: {meaning}.");
    let told = Told { style: STYLE, title: "This cannot go on", text: &text, code: Some(denial.code()) };
    let mut response = html(status, &told, None);
    if let Denial::Failed(_) = denial {
        // It passes, as it does where programs ask.
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// The host of this server, for people to compare.
pub(super) fn host(state: &State) -> String {
    place(&state.config.issuer)
}

/// Where an address is: its host, or the scheme of an app.
fn place(uri: &str) -> String {
    let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
    match rest.strip_prefix("//") {
        Some(rest) if scheme == "https" || scheme == "http" => {
            rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
        }
        _ => format!("{scheme}:"),
    }
}

/// The address of the client, whither the browser may go from here.
fn back_of(interaction: &Interaction) -> Option<&str> {
    match &interaction.wanted {
        Wanted::Code { asked, .. } => Some(&asked.redirect_uri),
        Wanted::Device { .. } | Wanted::Account => None,
    }
}

/// Where a form may lead besides this server, in the words of a content security policy: where this address is, and where its
/// client sends the browser on to. Chromium holds the whole chain of redirects behind a form against the policy, so that an
/// origin alone would stop everybody whose client lives at two.
fn sources(uri: &str) -> String {
    let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
    match scheme {
        "https" => " https:".to_owned(),
        // A policy has no word for an address in brackets.
        "http" if rest.starts_with("//[") => " http: https:".to_owned(),
        "http" => " http://127.0.0.1:* http://localhost:* https:".to_owned(),
        own => format!(" {own}:"),
    }
}

/// A page that nobody frames, stores or hears of, that runs nothing, and whose forms go here and on to where `back` is.
fn html(status: StatusCode, template: &impl Template, back: Option<&str>) -> Response {
    html_with(status, template, back, None)
}

/// The same with one script of ours, by its address and no other's.
fn html_with(status: StatusCode, template: &impl Template, back: Option<&str>, script: Option<&str>) -> Response {
    let Ok(text) = template.render() else {
        return answer::malformed(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let back = back.map(sources).unwrap_or_default();
    // A path may hold what ends a word of the policy.
    let word = |address: &str| if address.contains([';', ',']) { "'self'".to_owned() } else { address.to_owned() };
    let script = script.map(|address| format!("script-src {}; ", word(address))).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; {script}style-src {}; form-action 'self'{back}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_SOURCE
    );
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    answer::never_stored(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_strangers_are_tame() {
        assert_eq!(shown("Acme\u{202e}\n\u{200b} Mail"), "Acme Mail");
        assert_eq!(shown("A\u{ad}c\u{61c}m\u{180e}e\u{fffa}\u{e0041}"), "Acme");
        assert_eq!(shown(&"a".repeat(81)).chars().count(), 81);
        assert!(shown(&"a".repeat(81)).ends_with('…'));
    }

    #[test]
    fn a_policy_has_a_word_for_every_address() {
        for (uri, expected) in [
            ("https://app.example.com/back?a=b", " https:"),
            ("http://127.0.0.1:50123/back", " http://127.0.0.1:* http://localhost:* https:"),
            ("http://[::1]:50123/back", " http: https:"),
            ("com.example.app:/back", " com.example.app:"),
        ] {
            assert_eq!(sources(uri), expected);
        }
    }
}
