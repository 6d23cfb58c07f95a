//! One request on its way: decided about, then served or answered.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Finish, ProtectBody};

/// The one box on the way of a request: the decision borrows from the request it is about, and its type has no name. It
/// costs a thousandth of the signature it checks.
type Decision = Pin<Box<dyn Future<Output = Result<(Parts, Finish), Response<String>>> + Send>>;

pin_project! {
    /// The answer to come of a [`Protect`](super::Protect) service.
    pub struct ProtectFuture<I, B>
    where
        I: Service<Request<B>>,
    {
        #[pin]
        state: State<I::Future, I, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, I, B> {
        Deciding { decision: Decision, body: Option<B>, inner: I },
        Serving { #[pin] future: F, finish: Finish },
        Answered { response: Option<Response<String>> },
    }
}

impl<I, B> ProtectFuture<I, B>
where
    I: Service<Request<B>>,
{
    pub(super) const fn deciding(decision: Decision, body: B, inner: I) -> Self {
        Self {
            state: State::Deciding {
                decision,
                body: Some(body),
                inner,
            },
        }
    }

    pub(super) const fn serving(future: I::Future, finish: Finish) -> Self {
        Self {
            state: State::Serving { future, finish },
        }
    }

    pub(super) const fn answered(response: Response<String>) -> Self {
        Self {
            state: State::Answered {
                response: Some(response),
            },
        }
    }
}

impl<I, B, R> Future for ProtectFuture<I, B>
where
    I: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ProtectBody<R>>, I::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Deciding { decision, body, inner } => match ready!(decision.as_mut().poll(cx)) {
                    Ok((parts, finish)) => {
                        let body = body.take().expect("the body is taken once, when this state ends");
                        let future = inner.call(Request::from_parts(parts, body));
                        State::Serving { future, finish }
                    }
                    Err(response) => State::Answered {
                        response: Some(response),
                    },
                },
                StateProj::Serving { future, finish } => {
                    let mut response = ready!(future.poll(cx))?;
                    finish.apply(response.headers_mut());
                    return Poll::Ready(Ok(response.map(ProtectBody::inner)));
                }
                StateProj::Answered { response } => {
                    let response = response.take().expect("a future is not polled after its end");
                    return Poll::Ready(Ok(response.map(ProtectBody::own)));
                }
            };
            state.set(next);
        }
    }
}

impl<I, B> fmt::Debug for ProtectFuture<I, B>
where
    I: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Deciding { .. } => "ProtectFuture::Deciding",
            State::Serving { .. } => "ProtectFuture::Serving",
            State::Answered { .. } => "ProtectFuture::Answered",
        })
    }
}
