//! The way of a person through the pages: sign in, enter the code of a device, decide. What comes next is read off what is so,
//! whichever page was sent; nothing is believed of a form but what its person may say.

use axum::response::Response;
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use keybound::refusal::{Fault, Reason};
use keybound::time::UnixTime;

use super::cookies::Cookie;
use super::interaction::{self, Decided, Interaction, Ongoing, Problem, Said, Wanted};
use super::session::{self, Present};
use super::throttle::From;
use super::{Connection, PasswordHash, User, Visit, Visitor, consent, guard, passkeys, providers, view, ways};
use crate::State;
use crate::audit::{Entry, Event, Refused};
use crate::authorization::{Approval, Asked, Unfit, see};
use crate::client::Client;
use crate::endpoints::device;
use crate::exchange::{Lost, write, write_noted};
use crate::form::Form;
use crate::grants::authorization_code;
use crate::grants::device_code::Decision;
use crate::store::Change;
use crate::users;

/// What a person is to do next.
enum Step {
    SignIn,
    /// Enter the code of a device.
    Code(Present),
    Decide(Present),
    /// Nothing: the one who signed in is not the one whom the client means.
    Another,
    /// Nothing: everything is known.
    Done(User),
}

/// A browser that came with an authorization request.
pub(super) async fn visit(state: &State, visit: &Visit<'_>) -> Result<Visitor, Unfit> {
    let Some(asked) = visit.asked else { return Ok(Visitor::Refuses(Reason::LoginDenied)) };
    let (asked, pushed) = (Box::new(asked.clone()), visit.pushed.map(Box::from));
    let interaction = Interaction::new(Wanted::Code { asked, pushed });
    // A form of another site comes without cookies; the page behind the redirect gets them.
    if visit.parts.method == http::Method::GET {
        let present = session::present(state, visit.parts, visit.now).await?;
        match step(state, &interaction, Some(visit.client), present, visit.now).await? {
            Step::Done(user) => return Ok(Visitor::Agrees(user)),
            step => {
                if let Some(reason) = unasked(&interaction, &step) {
                    return Ok(Visitor::Refuses(reason));
                }
            }
        }
    }
    Ok(Visitor::Sees(interaction.begin(state, visit.parts, visit.now).await?))
}

/// Where no page may be shown: what the client is told instead (OpenID Connect Core section 3.1.2.6).
fn unasked(interaction: &Interaction, step: &Step) -> Option<Reason> {
    let Wanted::Code { asked, .. } = &interaction.wanted else { return None };
    match step {
        _ if !asked.prompts("none") => None,
        Step::Decide(_) => Some(Reason::ConsentRequired),
        _ => Some(Reason::LoginRequired),
    }
}

/// A browser that came for a device, with this code perhaps.
pub(crate) async fn bring(state: &State, parts: &Parts, typed: &str, now: UnixTime) -> Result<Response, Unfit> {
    let typed = typed.chars().take(device::TYPED).collect::<String>().into();
    Interaction::new(Wanted::Device { typed, found: None }).begin(state, parts, now).await
}

async fn step(
    state: &State,
    interaction: &Interaction,
    client: Option<&Client>,
    present: Option<Present>,
    now: UnixTime,
) -> Result<Step, Fault> {
    let Some(present) = present.filter(|present| interaction.admits(present, now)) else { return Ok(Step::SignIn) };
    if !interaction.is_for(&present) {
        return Ok(Step::Another);
    }
    Ok(match (&interaction.wanted, client) {
        (Wanted::Device { found: None, .. }, _) => Step::Code(present),
        (Wanted::Code { asked, .. }, Some(client))
            if consent::is_given(state, present.user.subject(), client, asked, now).await? =>
        {
            Step::Done(present.to_user())
        }
        (Wanted::Account, _) => Step::Done(present.to_user()),
        _ => Step::Decide(present),
    })
}

/// The page of an interaction, and everything it is about.
pub(super) struct Page<'p> {
    pub(super) ongoing: Ongoing<'p>,
    client: Option<std::sync::Arc<Client>>,
    pub(super) present: Option<Present>,
    pub(super) now: UnixTime,
}

impl<'p> Page<'p> {
    async fn find(state: &State, parts: &'p Parts) -> Result<Self, Unfit> {
        let now = state.clock.now();
        let ongoing = Ongoing::find(state, parts, now).await?;
        Self::of(state, parts, ongoing, now).await
    }

    /// That of this interaction.
    pub(super) async fn of(
        state: &State,
        parts: &'p Parts,
        ongoing: Ongoing<'p>,
        now: UnixTime,
    ) -> Result<Self, Unfit> {
        let id = match &ongoing.interaction.wanted {
            Wanted::Code { asked, .. } => Some(&asked.client),
            Wanted::Device { found, .. } => found.as_ref().map(|found| &found.client),
            Wanted::Account => None,
        };
        let client = match id {
            Some(id) => Some(state.clients.find(state, id, now).await?.ok_or(Reason::LoginOver)?),
            None => None,
        };
        if let (Wanted::Code { asked, .. }, Some(client)) = (&ongoing.interaction.wanted, &client)
            && !asked.fits(client)
        {
            return Err(Reason::LoginOver.into());
        }
        Ok(Self { client, present: session::present(state, parts, now).await?, ongoing, now })
    }

    async fn step(&self, state: &State) -> Result<Step, Fault> {
        step(state, &self.ongoing.interaction, self.client.as_deref(), self.present.clone(), self.now).await
    }

    /// The code that comes of this page for who is signed in.
    fn code(&self, state: &State, parts: &Parts) -> Result<String, Reason> {
        let session = Cookie::Session.read(state, parts).ok_or(Reason::LoginOver)?;
        Ok(self.ongoing.code(session))
    }

    /// Of a form on this page, as it is now.
    fn token(&self) -> String {
        let session = self.present.as_ref().map_or("", |present| &*present.id);
        let device = match &self.ongoing.interaction.wanted {
            Wanted::Device { found: Some(found), .. } => &*found.id,
            _ => "",
        };
        guard::token(self.ongoing.browser, &[&self.ongoing.id, session, device])
    }

    fn view(&self, state: &State) -> view::Page {
        view::Page {
            host: view::host(state),
            token: self.token(),
            action: super::interaction::address(state, &self.ongoing.id),
            client: self.client.as_deref().map(view::Application::of),
        }
    }

    async fn shown(&self, state: &State, step: &Step) -> Result<Response, Fault> {
        let (page, interaction) = (self.view(state), &self.ongoing.interaction);
        Ok(match step {
            Step::SignIn => view::sign_in(page, interaction, ways::of(state, &self.ongoing, self.now).await?),
            Step::Code(present) => view::code(page, interaction, &present.user),
            Step::Decide(present) => view::decide(page, interaction, &present.user),
            Step::Done(_) | Step::Another => view::told("That is all", "You may close this page."),
        })
    }
}

/// Answers a browser that opens the page of an interaction.
pub(crate) async fn show(state: &State, parts: &Parts) -> Result<Response, Unfit> {
    if let Some(response) = interaction::claim(state, parts, state.clock.now()).await? {
        return Ok(response);
    }
    let page = Page::find(state, parts).await?;
    if page.ongoing.interaction.decided.is_some() {
        return Err(Reason::LoginOver.into());
    }
    let step = page.step(state).await?;
    if let Some(reason) = unasked(&page.ongoing.interaction, &step) {
        return refuse(state, parts, &page, reason).await;
    }
    match step {
        Step::Done(user) => approve(state, parts, &page, &user).await,
        Step::Another => refuse(state, parts, &page, Reason::LoginRequired).await,
        step => Ok(page.shown(state, &step).await?),
    }
}

/// Answers a browser that sends the form of the page.
pub(crate) async fn submit(state: &State, parts: &Parts, form: &Form) -> Result<Response, Unfit> {
    guard::comes_from_here(state, parts)?;
    let page = Page::find(state, parts).await?;
    guard::check(form, &page.token())?;
    if let Some(decided) = page.ongoing.interaction.decided {
        return once_more(state, parts, &page, decided, form).await;
    }
    match (form.get("step"), page.step(state).await?) {
        (Some("leave"), _) => refuse(state, parts, &page, Reason::LoginDenied).await,
        (Some("password"), Step::SignIn) => password(state, parts, page, form).await,
        (Some("passkey"), Step::SignIn) => passkey(state, parts, page, form).await,
        (Some("provider"), Step::SignIn) => providers::leave(state, page, form).await,
        (Some("code"), Step::Code(present)) => code(state, page, &present, form).await,
        (Some("switch"), Step::Code(_) | Step::Decide(_)) => {
            let mut page = page;
            page.ongoing.interaction.fresh = true;
            page.ongoing.interaction.signed_in = None;
            again(state, page).await
        }
        (Some("allow"), Step::Decide(present)) => approve(state, parts, &page, &present.to_user()).await,
        // What was allowed in between, by another press of the button perhaps, is not asked for any more.
        (Some("allow"), Step::Done(user)) => approve(state, parts, &page, &user).await,
        (Some("deny"), Step::Decide(_) | Step::Done(_)) => refuse(state, parts, &page, Reason::LoginDenied).await,
        // The page is another one by now.
        _ => Ok(page.ongoing.again(state, Vec::new(), page.now).await?),
    }
}

pub(super) async fn again(state: &State, page: Page<'_>) -> Result<Response, Unfit> {
    Ok(page.ongoing.again(state, vec![page.ongoing.kept()], page.now).await?)
}

async fn say(state: &State, mut page: Page<'_>, what: Problem, name: &str) -> Result<Response, Unfit> {
    let name = name.chars().take(users::MAX_NAME).collect::<String>().into();
    page.ongoing.interaction.said = Some(Said { what, name, provider: Box::default() });
    again(state, page).await
}

/// Name and password. What is wrong with them nobody is told, and whether there is such a user neither.
async fn password(state: &State, parts: &Parts, page: Page<'_>, form: &Form) -> Result<Response, Unfit> {
    let (name, now) = (form.get("username").unwrap_or_default(), page.now);
    let user = state.users.find(name, now).await?;
    let subject = user.as_ref().map_or("", users::User::subject);
    let (is_known, pair) = session::is_known(state, page.ongoing.browser, subject, now).await?;
    let peer = parts.extensions.get::<Connection>().map(|connection| connection.peer().ip());
    let from = if is_known && user.is_some() { From::Known(&pair) } else { From::Peer(peer) };
    let counted = users::identity(name).unwrap_or_default();
    let Some(place) = state.people.queue.enter(from) else {
        return Ok(noted(busy(state, page, name), "busy", subject));
    };
    if let Err(seconds) = state.people.passwords.begin(&counted, from, now) {
        // Who waits for time to go by needs no processor, and what the store does about it takes none of the places.
        drop(place);
        let said = say(state, page, Problem::Wait(seconds), name).await?;
        return Ok(noted(said, "throttled", subject));
    }
    let hash = user.as_ref().filter(|user| !user.is_disabled()).and_then(users::User::password);
    let is_right = PasswordHash::check(hash.as_ref(), form.get("password").unwrap_or_default()).await?;
    drop(place);
    let subject: Box<str> = subject.into();
    match user {
        Some(user) if is_right => {
            state.people.passwords.succeeded(&counted, from);
            signed_in(state, parts, page, &user, Way::now(Vec::new(), now)).await
        }
        _ => {
            let said = say(state, page, Problem::Password, name).await?;
            Ok(noted(said, "password", &subject))
        }
    }
}

/// The same page at once: where there is no time to look at passwords, there is none for the store either.
fn busy(state: &State, mut page: Page<'_>, name: &str) -> Response {
    let name = name.chars().take(users::MAX_NAME).collect::<String>().into();
    page.ongoing.interaction.said = Some(Said { what: Problem::Busy, name, provider: Box::default() });
    let mut response = view::sign_in(page.view(state), &page.ongoing.interaction, ways::all(state, &page.ongoing));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("3"));
    response
}

/// With what the audit log says of a try that failed.
pub(super) fn noted(mut response: Response, reason: &str, subject: &str) -> Response {
    let mut refused = Refused::because(reason);
    refused.entry.event = Event::UserNotSignedIn.code().into();
    refused.entry.subject = (!subject.is_empty()).then(|| subject.into());
    response.extensions_mut().insert(refused);
    response
}

/// A passkey, which the browser has found. What is wrong with it the log alone is told.
async fn passkey(state: &State, parts: &Parts, page: Page<'_>, form: &Form) -> Result<Response, Unfit> {
    match passkeys::sign_in(state, &page.ongoing, form, page.now).await {
        Ok((user, used)) => {
            let way = Way::now(vec![used], page.now);
            signed_in(state, parts, page, &user, way).await
        }
        Err(passkeys::Unfit::Failed(fault)) => Err(fault.into()),
        Err(unfit) => {
            tracing::info!(why = %unfit, "a passkey was not taken");
            let said = say(state, page, Problem::Passkey, "").await?;
            Ok(noted(said, "passkey", ""))
        }
    }
}

/// In which way somebody has signed in.
pub(super) struct Way {
    /// What is to be remembered of it.
    pub(super) changes: Vec<Change>,
    /// When they showed who they are, if that is known.
    pub(super) auth_time: Option<UnixTime>,
}

impl Way {
    pub(super) const fn now(changes: Vec<Change>, now: UnixTime) -> Self {
        Self { changes, auth_time: Some(now) }
    }
}

/// Whoever this is proved to be this user: a session begins, and the page shows what comes next.
pub(super) async fn signed_in(
    state: &State,
    parts: &Parts,
    mut page: Page<'_>,
    user: &users::User,
    way: Way,
) -> Result<Response, Unfit> {
    let auth_time = way.auth_time.map(|time| time.min(page.now));
    let begun = session::begin(state, parts, page.ongoing.browser, user, auth_time, page.now)?;
    let interaction = &mut page.ongoing.interaction;
    interaction.signed_in = Some(begun.id);
    interaction.said = None;
    let changes = [vec![page.ongoing.kept()], way.changes, begun.changes].concat();
    let peer = parts.extensions.get::<Connection>().map(Connection::peer);
    let mut entry = Entry::new(Event::UserSignedIn, page.now).at("sign-in", peer).subject(user.subject());
    entry.client = page.client.as_ref().map(|client| client.id().into());
    if write_noted(state, changes, &entry, page.now).await?.is_err() {
        return Ok(page.ongoing.again(state, Vec::new(), page.now).await?);
    }
    let mut response = page.ongoing.again(state, Vec::new(), page.now).await?;
    for cookie in begun.cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The code of a device. Whoever tries is signed in, and cannot try many (RFC 8628 section 5.1).
async fn code(state: &State, mut page: Page<'_>, present: &Present, form: &Form) -> Result<Response, Unfit> {
    let sent: String = form.get("user_code").unwrap_or_default().chars().take(device::TYPED).collect();
    let subject = present.user.subject();
    if let Err(seconds) = state.people.codes.begin(subject, From::Known("code"), page.now) {
        return say(state, page, Problem::Wait(seconds), "").await;
    }
    let Some(device) = device::find(state, &sent, page.now).await? else {
        return say(state, page, Problem::Code, "").await;
    };
    state.people.codes.take_back(subject, From::Known("code"));
    page.ongoing.interaction.said = None;
    page.ongoing.interaction.wanted = Wanted::Device { typed: sent.into(), found: Some(device) };
    again(state, page).await
}

/// The button was pressed twice: the browser shows what comes of the second press, so that is what came of the first. Nothing is
/// issued for it; and a code that was redeemed is told to nobody again.
async fn once_more(
    state: &State,
    parts: &Parts,
    page: &Page<'_>,
    decided: Decided,
    form: &Form,
) -> Result<Response, Unfit> {
    match (&page.ongoing.interaction.wanted, decided, form.get("step")) {
        (Wanted::Code { asked, .. }, Decided::Allowed, Some("allow")) => {
            let code = page.code(state, parts)?;
            match authorization_code::is_waiting(state, &code, page.now).await? {
                true => Ok(asked.sends_back(state, &code)),
                false => Ok(view::told("That is done", "You may close this page.")),
            }
        }
        (Wanted::Device { .. }, Decided::Allowed, Some("allow")) => Ok(connected()),
        (Wanted::Code { asked, .. }, Decided::Denied, Some("deny" | "leave")) => {
            Err(refusal(page, asked, Reason::LoginDenied))
        }
        (Wanted::Device { .. }, Decided::Denied, Some("deny" | "leave")) => Ok(not_connected()),
        _ => Err(Reason::LoginOver.into()),
    }
}

/// Somebody else has changed the page in between: pressed the same button, perhaps.
async fn overtaken(state: &State, parts: &Parts, decided: Decided) -> Result<Response, Unfit> {
    let page = Page::find(state, parts).await?;
    let step = match decided {
        Decided::Allowed => "step=allow",
        Decided::Denied => "step=deny",
    };
    match (page.ongoing.interaction.decided, Form::parse(step.as_bytes())) {
        (Some(before), Ok(form)) if before == decided => once_more(state, parts, &page, before, &form).await,
        _ => Err(Reason::LoginOver.into()),
    }
}

fn connected() -> Response {
    view::told("Your device is connected", "You may close this page and go back to it.")
}

fn not_connected() -> Response {
    view::told("Nothing was connected", "You may close this page.")
}

/// Where the person said no.
fn refusal(page: &Page<'_>, asked: &Asked, reason: Reason) -> Unfit {
    let unfit = asked.refuse(reason);
    let is_safe = page.client.as_ref().is_some_and(|client| client.is_vouched_for());
    if is_safe { unfit } else { unfit.on_a_page() }.of(&asked.client)
}

/// The person agrees, now or long ago.
async fn approve(state: &State, parts: &Parts, page: &Page<'_>, user: &User) -> Result<Response, Unfit> {
    let (now, decided) = (page.now, page.ongoing.decided(Decided::Allowed));
    match (&page.ongoing.interaction.wanted, &page.client) {
        (Wanted::Code { asked, pushed }, Some(client)) => {
            let mut changes = vec![decided];
            changes.extend(consent::remember(state, &user.subject, client, asked, now).await?);
            let peer = parts.extensions.get::<Connection>().map(Connection::peer);
            let approval =
                Approval { pushed: pushed.as_deref(), peer, code: page.code(state, parts)?, besides: changes };
            match asked.approve(state, user, approval, now).await? {
                Ok(response) => Ok(response),
                Err(Lost) => overtaken(state, parts, Decided::Allowed).await,
            }
        }
        (Wanted::Device { found: Some(found), .. }, _) => {
            let decision = Decision::Approved { subject: user.subject.clone(), login: user.login(None) };
            match device::settle(state, parts, found, &decision, &[decided], now).await? {
                Ok(()) => Ok(connected()),
                Err(_) => overtaken(state, parts, Decided::Allowed).await.map_err(|_| Reason::DeviceExpired.into()),
            }
        }
        (Wanted::Account, _) => {
            write(state, vec![page.ongoing.taken()], now).await?.ok();
            Ok(see(state.endpoints.account.as_str().to_owned()))
        }
        _ => Err(Reason::LoginOver.into()),
    }
}

/// The person does not agree, or must not be asked.
async fn refuse(state: &State, parts: &Parts, page: &Page<'_>, reason: Reason) -> Result<Response, Unfit> {
    let (now, decided) = (page.now, vec![page.ongoing.decided(Decided::Denied)]);
    match &page.ongoing.interaction.wanted {
        Wanted::Code { asked, .. } => {
            if write(state, decided, now).await?.is_err() {
                return overtaken(state, parts, Decided::Denied).await;
            }
            Err(refusal(page, asked, reason))
        }
        Wanted::Device { found, .. } => {
            let settled = match found {
                Some(found) => device::settle(state, parts, found, &Decision::Denied, &decided, now).await?,
                None => write(state, decided, now).await?,
            };
            match settled {
                Ok(()) => Ok(not_connected()),
                Err(_) => overtaken(state, parts, Decided::Denied).await.map_err(|_| Reason::DeviceExpired.into()),
            }
        }
        Wanted::Account => {
            write(state, vec![page.ongoing.taken()], now).await?.ok();
            Ok(view::told("You did not sign in", "You may close this page."))
        }
    }
}
