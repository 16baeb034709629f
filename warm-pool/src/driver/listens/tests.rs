use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::driver::launcher::{Ending, Exit, Later, Stream, Usage};

const ENOUGH: Duration = Duration::from_secs(60);

/// What is heard of the calls of listen.
enum News {
    /// Nobody hears of them.
    Untold,
    /// So many are told, one after the other.
    Calls(u32),
}

/// A process that accepts connections from a certain try on.
struct Starting {
    news: News,
    told: AtomicU32,
    tries: AtomicU32,
    /// How many tries are refused, and how.
    refused: u32,
    kind: io::ErrorKind,
    /// It ends when it was tried so often.
    ends_at: Option<u32>,
}

fn starting(news: News, refused: u32) -> Starting {
    Starting {
        news,
        told: AtomicU32::new(0),
        tries: AtomicU32::new(0),
        refused,
        kind: io::ErrorKind::ConnectionRefused,
        ends_at: None,
    }
}

impl Starting {
    async fn wait(&self, within: Duration) -> (Result<(), StartFailure>, u32) {
        let outcome = listens(self, &Door::Port(8080), within).await;
        (outcome, self.tries.load(Ordering::SeqCst))
    }
}

impl Confined for Starting {
    fn kill(&self) {}

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(std::future::poll_fn(|_| {
            // Looked at whenever anything happens, first of all.
            let tries = self.tries.load(Ordering::SeqCst);
            match self.ends_at {
                Some(at) if tries >= at => std::task::Poll::Ready(Ending {
                    exit: Exit::Code(3),
                    oom_kills: 0,
                    pids_hits: 0,
                }),
                _ => std::task::Poll::Pending,
            }
        }))
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn listens(&self) -> Later<'_, io::Result<()>> {
        Box::pin(async {
            match self.news {
                News::Untold => Err(io::ErrorKind::Unsupported.into()),
                News::Calls(calls) if self.told.fetch_add(1, Ordering::SeqCst) < calls => Ok(()),
                News::Calls(_) => std::future::pending().await,
            }
        })
    }

    fn connect<'a>(&'a self, _door: &'a Door) -> Later<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            if self.tries.fetch_add(1, Ordering::SeqCst) < self.refused {
                return Err(self.kind.into());
            }
            Ok(Box::new(tokio::io::duplex(1).0) as Box<dyn Stream>)
        })
    }
}

#[tokio::test]
async fn who_was_quick_is_found_without_news() {
    let body = starting(News::Calls(1), 0);
    let (outcome, tries) = body.wait(ENOUGH).await;
    outcome.unwrap();
    assert_eq!((tries, body.told.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn who_was_not_is_tried_when_it_listens() {
    let body = starting(News::Calls(1), 1);
    let (outcome, tries) = body.wait(ENOUGH).await;
    outcome.unwrap();
    assert_eq!(tries, 2);
}

#[tokio::test]
async fn a_call_that_is_not_made_yet_or_an_alias_that_is_missing_is_tried_again_without_news() {
    for kind in [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::NotFound,
        io::ErrorKind::WouldBlock,
    ] {
        let body = Starting {
            kind,
            ..starting(News::Calls(1), 5)
        };
        let (outcome, tries) = body.wait(ENOUGH).await;
        outcome.unwrap();
        assert_eq!(tries, 6);
    }
}

#[tokio::test]
async fn another_socket_is_not_readiness() {
    let body = starting(News::Calls(1), u32::MAX);
    let (outcome, _tries) = body.wait(Duration::from_millis(30)).await;
    assert!(matches!(outcome, Err(StartFailure::NotListening { .. })), "{outcome:?}");
    // Each further one is tried at once.
    let body = starting(News::Calls(3), 3);
    let (outcome, tries) = body.wait(ENOUGH).await;
    outcome.unwrap();
    assert_eq!(tries, 4);
}

#[tokio::test]
async fn a_loop_of_calls_is_tried_no_more_often_than_one_that_nobody_hears() {
    let body = starting(News::Calls(u32::MAX), u32::MAX);
    let (outcome, tries) = body.wait(Duration::from_millis(300)).await;
    assert!(matches!(outcome, Err(StartFailure::NotListening { .. })), "{outcome:?}");
    // The first, those of the news, and those of pauses that grow to 300 ms together.
    assert!(tries <= 1 + MOST_NEWS + 14, "{tries}");
}

#[tokio::test]
async fn where_nobody_hears_it_is_tried_from_the_start() {
    let body = starting(News::Untold, 4);
    let (outcome, tries) = body.wait(ENOUGH).await;
    outcome.unwrap();
    assert_eq!(tries, 5);
}

#[tokio::test]
async fn what_listens_without_news_is_found_too() {
    let body = starting(News::Calls(0), 1);
    let (outcome, tries) = body.wait(ENOUGH).await;
    outcome.unwrap();
    assert_eq!(tries, 2);
}

#[tokio::test]
async fn an_end_is_the_cause_and_another_error_is_final() {
    let body = Starting {
        ends_at: Some(2),
        ..starting(News::Calls(1), u32::MAX)
    };
    let (outcome, _tries) = body.wait(ENOUGH).await;
    assert!(
        matches!(outcome, Err(StartFailure::Died(Fate::Exited(3)))),
        "{outcome:?}"
    );
    let body = Starting {
        kind: io::ErrorKind::PermissionDenied,
        ..starting(News::Calls(1), u32::MAX)
    };
    let (outcome, tries) = body.wait(ENOUGH).await;
    assert!(matches!(outcome, Err(StartFailure::Sandbox(_))), "{outcome:?}");
    assert_eq!(tries, 1);
}
