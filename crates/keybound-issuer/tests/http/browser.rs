//! A browser with a cookie jar: it follows the issuer's redirects, and sends the forms of its pages as a person fills them in.

use std::collections::BTreeMap;

use keybound::verify::NoncePolicy;

use crate::people::{Parameters, encoded, to_local};
use crate::support::{Answer, LOCAL, Server, Setup};
use keybound_issuer::IssuerConfig;
use keybound_issuer::users::NewUser;

/// Of the password `correct horse`, made with little memory.
pub(crate) const HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$+C4f67MQrSoF4qvwplvyQQ$R/qX4hbHxWWwaf5VXrPkMcafJ3honlSMrDlFvNaLi/o";
pub(crate) const PASSWORD: &str = "correct horse";

/// With the users alice and bob, who have one password.
pub(crate) fn with_users(config: IssuerConfig) -> IssuerConfig {
    let user = |name: &str| NewUser::new(name).password(HASH.parse().unwrap());
    config.user(user("alice")).user(user("bob").full_name("Bob <b>&amp;\"'"))
}

impl Setup {
    /// On loopback, where people sign in.
    pub(crate) fn of_people(self) -> Self {
        self.registering(with_users).nonces(NoncePolicy::Offer)
    }
}

/// One browser.
#[derive(Clone)]
pub(crate) struct Browser<'s> {
    server: &'s Server,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Where it is.
    pub(crate) at: String,
}

/// A page, or where the browser was sent.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Out of the issuer.
    pub(crate) left_for: Option<String>,
    pub(crate) policy: String,
}

impl<'s> Browser<'s> {
    pub(crate) fn of(server: &'s Server) -> Self {
        Self { server, cookies: BTreeMap::new(), at: String::new() }
    }

    fn cookie(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// One request, with the cookies; those that come are kept.
    pub(crate) fn ask(&mut self, line: &str, fields: &[&str], body: &str) -> Answer {
        let mut request = to_local(line);
        if !self.cookies.is_empty() {
            request = request.field(format!("Cookie: {}", self.cookie()));
        }
        if !body.is_empty() {
            request = request.field("Content-Type: application/x-www-form-urlencoded").body(body);
        }
        request = fields.iter().fold(request, |request, field| request.field(*field));
        let answer = self.server.raw(request.octets());
        for cookie in answer.cookies() {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{cookie}");
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// Opens an address, and follows where it leads within the issuer.
    pub(crate) fn open(&mut self, path: &str) -> Shown {
        let answer = self.ask(&format!("GET {path}"), &[], "");
        path.clone_into(&mut self.at);
        self.follow(answer)
    }

    pub(crate) fn follow(&mut self, mut answer: Answer) -> Shown {
        for _ in 0..5 {
            let Some(location) = answer.field("location").map(str::to_owned) else {
                let policy = answer.field("content-security-policy").unwrap_or_default().to_owned();
                return Shown { status: answer.status, body: answer.body, left_for: None, policy };
            };
            assert_eq!(answer.status, 303, "no method but GET follows a form");
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            let Some(path) = location.strip_prefix(LOCAL) else {
                let (body, policy) = (String::new(), String::new());
                return Shown { status: answer.status, body, left_for: Some(location), policy };
            };
            path.clone_into(&mut self.at);
            answer = self.ask(&format!("GET {path}"), &[], "");
        }
        panic!("the redirects do not end");
    }

    /// Opens the authorization request.
    pub(crate) fn authorize(&mut self, parameters: &Parameters) -> Shown {
        self.open(&format!("/authorize?{}", parameters.text()))
    }

    /// Presses the button with this name on the page, with these fields filled in.
    pub(crate) fn press(&mut self, page: &Shown, step: &str, filled: &[(&str, &str)]) -> Shown {
        let answer = self.send(&page.form(step, filled), &["Sec-Fetch-Site: same-origin", "Origin: null"]);
        self.follow(answer)
    }

    /// Sends a form to where the browser is.
    pub(crate) fn send(&mut self, body: &str, fields: &[&str]) -> Answer {
        let path = self.at.split('?').next().unwrap().to_owned();
        self.ask(&format!("POST {path}"), fields, body)
    }

    pub(crate) fn sign_in(&mut self, page: &Shown, name: &str) -> Shown {
        self.press(page, "password", &[("username", name), ("password", PASSWORD)])
    }

    /// The code for this request: signs in as `alice` and agrees, as far as that is asked for.
    pub(crate) fn code(&mut self, parameters: &Parameters) -> String {
        let mut page = self.authorize(parameters);
        if page.asks_for_password() {
            page = self.sign_in(&page, "alice");
        }
        if page.asks_for_consent() {
            page = self.press(&page, "allow", &[]);
        }
        page.back("code").unwrap_or_else(|| panic!("no code: {page:?}"))
    }
}

impl Shown {
    pub(crate) fn asks_for_password(&self) -> bool {
        self.status == 200 && self.body.contains("name=\"password\"")
    }

    pub(crate) fn asks_for_consent(&self) -> bool {
        self.status == 200 && self.body.contains("value=\"allow\"")
    }

    pub(crate) fn asks_for_code(&self) -> bool {
        self.status == 200 && self.body.contains("name=\"user_code\"")
    }

    pub(crate) fn hidden(&self) -> Vec<(String, String)> {
        Self::hidden_in(self.form_with(""))
    }

    /// The form with the button of this step, or the first there is.
    fn form_with(&self, step: &str) -> &str {
        let mut forms = self.body.split("<form ").skip(1).filter_map(|rest| rest.split("</form>").next());
        let has_button = |form: &&str| form.contains(&format!("name=\"step\" value=\"{step}\""));
        let first = forms.clone().next().unwrap_or_default();
        forms.find(|form| !step.is_empty() && has_button(form)).unwrap_or(first)
    }

    fn hidden_in(form: &str) -> Vec<(String, String)> {
        let fields = form.split("<input type=\"hidden\" name=\"").skip(1);
        let pair = |field: &str| {
            let (name, rest) = field.split_once("\" value=\"")?;
            Some((name.to_owned(), rest.split('"').next()?.to_owned()))
        };
        fields.filter_map(pair).collect()
    }

    pub(crate) fn token(&self) -> String {
        self.hidden().into_iter().find(|(name, _)| name == "csrf").map(|(_, value)| value).unwrap()
    }

    /// What the form sends.
    pub(crate) fn form(&self, step: &str, filled: &[(&str, &str)]) -> String {
        let hidden = Self::hidden_in(self.form_with(step));
        let hidden = hidden.iter().filter(|(name, _)| name != "step" && !filled.iter().any(|(other, _)| name == other));
        let hidden = hidden.map(|(name, value)| (name.as_str(), value.as_str()));
        let all = hidden.chain(filled.iter().copied()).chain([("step", step)]);
        all.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
    }

    /// A parameter with which the browser is back at the client.
    pub(crate) fn back(&self, name: &str) -> Option<String> {
        let query = self.left_for.as_deref()?.split_once('?')?.1;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| crate::people::decoded(value))
    }

    /// What the page says is wrong.
    pub(crate) fn problem(&self) -> String {
        let text = self.body.split("role=\"alert\">").nth(1).unwrap_or_default();
        text.split("<p>").nth(1).unwrap_or_default().split("</p>").next().unwrap_or_default().trim().to_owned()
    }

    /// Without its style sheet.
    pub(crate) fn text(&self) -> String {
        let (before, after) = self.body.split_once("<style>").unwrap_or(("", &self.body));
        [before, after.split_once("</style>").map_or(after, |(_, after)| after)].concat()
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.left_for, self.text())
    }
}
