//! Nobody keeps a worker to himself: after so much of one connection the others are heard.

use core::task::{Context, Poll, ready};

use tokio::task::coop::poll_proceed;

/// Steps of the 128 that a task has in one turn, for a request or a piece of a body: it has had its share before the HTTP library
/// thinks so, which after 16 of them would go to the end of the queue at once, without a look at what the system has to say.
const STEPS: usize = 8;

/// How many tasks have their turn before the system is asked what has come. Asking costs as much as a quarter of a request, and with
/// hundreds of connections most of what it says has to wait for its turn anyway. Tasks that have had their share do not count: they
/// go on after the next time it is asked.
pub(crate) const TURNS: u32 = 255;

/// Takes a step for the next request or piece of a body. Pending once the task has had its share: it is woken when others were
/// heard.
pub(crate) fn take(cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..STEPS {
        ready!(poll_proceed(cx)).made_progress();
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::future::poll_fn;
    use std::rc::Rc;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::spawn_local;

    use super::*;

    /// Every task that can go on has a turn, and of them this one has most to do: it goes to the end of the queue again and again,
    /// and counts its turns and what it did in the longest.
    async fn greedy(turns: Rc<Cell<u32>>, most: Rc<Cell<usize>>) {
        poll_fn(|cx| {
            turns.set(turns.get() + 1);
            let mut done = 0;
            while take(cx).is_ready() {
                done += 1;
            }
            most.set(most.get().max(done));
            Poll::<()>::Pending
        })
        .await;
    }

    #[test]
    fn a_share_is_less_than_the_library_takes() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(TURNS)
            .build_local(Default::default());
        let (turns, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        runtime.unwrap().block_on(async {
            spawn_local(greedy(Rc::clone(&turns), Rc::clone(&most)));
            while turns.get() < 100 {
                tokio::task::yield_now().await;
            }
        });
        assert!((1..=16).contains(&most.get()), "{}", most.get());
    }

    // By the runtime's own rules it would have 255 turns first.
    #[test]
    fn whoever_comes_is_heard_after_one_share() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(TURNS)
            .build_local(Default::default());
        let (turns, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            spawn_local(greedy(Rc::clone(&turns), most));
            for _ in 0..20 {
                let before = turns.get();
                let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let _: (TcpStream, _) = listener.accept().await.unwrap();
                assert!(turns.get() - before <= 2, "{} turns", turns.get() - before);
            }
        });
    }
}
