use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::desk::{Desk, Refusal};
use super::serve::described;
use super::*;

fn invocation(id: &str) -> Invocation {
    Invocation {
        id: id.to_owned(),
        deadline_ms: 1,
        arn: "arn".to_owned(),
        trace_id: None,
        client_context: None,
        event: Bytes::new(),
    }
}

fn failure() -> Failure {
    described(None, b"{\"errorType\":\"X\"}")
}

#[tokio::test]
async fn the_first_question_is_the_end_of_the_start() {
    let desk = Desk::new(1);
    assert_eq!(desk.answer("a").unwrap_err(), Refusal::State, "nothing was given yet");
    let _next = desk.next().unwrap();
    desk.started().await.unwrap();
    assert_eq!(desk.fail(failure()), Err(Refusal::State), "too late");
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let desk = Desk::new(1);
    desk.fail(failure()).unwrap();
    assert_eq!(desk.started().await.unwrap_err().error_type, "X");
}

#[test]
fn an_invocation_is_given_once_and_answered_once() {
    let desk = Desk::new(1);
    let mut next = desk.next().unwrap();
    assert!(desk.next().is_err(), "one question at a time");
    let mut answered = desk.call(invocation("a"));
    assert_eq!(next.by_now().unwrap().id, "a");
    assert_eq!(desk.next().unwrap_err(), Refusal::State, "it has one to answer");
    assert_eq!(desk.answer("b").unwrap_err(), Refusal::Id);
    assert!(!desk.is_over("a"));
    desk.answer("a").unwrap().say(Answer::Whole(Bytes::new()));
    assert!(matches!(answered.try_recv(), Ok(Answer::Whole(_))));
    assert!(desk.is_over("a"));
    assert_eq!(desk.answer("a").unwrap_err(), Refusal::State, "it was answered");
}

#[test]
fn who_has_left_is_passed_over() {
    let desk = Desk::new(1);
    drop(desk.next().unwrap());
    let gone = desk.call(invocation("gone"));
    drop(gone);
    let _waits = desk.call(invocation("waits"));
    let mut next = desk.next().unwrap();
    assert_eq!(next.by_now().unwrap().id, "waits");
    assert!(desk.is_over("gone"));
}

#[test]
fn an_invocation_waits_for_its_question() {
    let desk = Desk::new(2);
    let mut first = desk.call(invocation("a"));
    let _second = desk.call(invocation("b"));
    assert!(matches!(first.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(desk.next().unwrap().by_now().unwrap().id, "a");
    assert_eq!(desk.next().unwrap().by_now().unwrap().id, "b");
    assert!(desk.next().is_err(), "both are being worked on");
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn an_invocation_waits_for_the_extensions_too() {
    let desk = Desk::new(1);
    desk.announce(names(&["outside"])).unwrap();
    let _next = desk.next().unwrap();
    assert!(desk.fail(failure()).is_ok(), "the start is not over");
    let desk = Desk::new(1);
    desk.announce(names(&["outside"])).unwrap();
    let id = desk.register("outside", &names(&["INVOKE"])).unwrap();
    desk.registered().await;
    let mut next = desk.next().unwrap();
    let _answered = desk.call(invocation("a"));
    assert!(next.by_now().is_none());
    let mut told = desk.next_event(id).unwrap();
    desk.started().await.unwrap();
    assert_eq!(next.by_now().unwrap().id, "a");
    assert!(told.by_now().is_some());
    desk.answer("a").unwrap().say(Answer::Whole(Bytes::new()));
    let mut next = desk.next().unwrap();
    let _second = desk.call(invocation("b"));
    assert!(next.by_now().is_none(), "the extension is still at work for the first");
    let mut told = desk.next_event(id).unwrap();
    assert_eq!(next.by_now().unwrap().id, "b");
    assert!(told.by_now().is_some());
}

#[test]
fn what_is_not_read_is_given_to_the_next_and_told_once() {
    let desk = Desk::new(1);
    let id = desk.register("inside", &names(&["INVOKE"])).unwrap();
    let unread = desk.next().unwrap();
    let mut told = desk.next_event(id).unwrap();
    let _answered = desk.call(invocation("a"));
    // Its connection closes with the invocation in it.
    drop(unread);
    let mut next = desk.next().unwrap();
    assert!(told.by_now().is_some());
    assert!(next.by_now().is_none(), "the extension is at work");
    let mut told = desk.next_event(id).unwrap();
    assert_eq!(next.by_now().unwrap().id, "a");
    assert!(told.by_now().is_none(), "it knows of that one");
    desk.answer("a").unwrap().say(Answer::Whole(Bytes::new()));

    let _second = desk.call(invocation("b"));
    let mut next = desk.next().unwrap();
    assert_eq!(next.by_now().unwrap().id, "b");
    drop(told);
    assert!(
        desk.next_event(id).unwrap().by_now().is_some(),
        "that was not read either"
    );
}

#[test]
fn an_answer_that_breaks_off_is_one() {
    let desk = Desk::new(1);
    let mut next = desk.next().unwrap();
    let mut answered = desk.call(invocation("a"));
    assert_eq!(next.by_now().unwrap().id, "a");
    drop(desk.answer("a").unwrap());
    match answered.try_recv() {
        Ok(Answer::Failed(failure)) => assert_eq!(failure.error_type, TRUNCATED),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_extension_that_gives_up_ends_what_is_open_and_what_comes() {
    let desk = Desk::new(1);
    desk.announce(names(&["outside"])).unwrap();
    let id = desk.register("outside", &names(&["INVOKE"])).unwrap();
    let _told = desk.next_event(id).unwrap();
    let _next = desk.next().unwrap();
    desk.started().await.unwrap();
    let mut open = desk.call(invocation("a"));
    desk.give_up(id, "Extension.ExitError", "Own.Kind").unwrap();
    let kind = |answer: Result<Answer, _>| match answer {
        Ok(Answer::Crashed(failure)) => failure.error_type,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(open.try_recv()), "Extension.ExitError");
    assert_eq!(kind(desk.call(invocation("b")).try_recv()), "Extension.ExitError");
    assert!(desk.is_over("a") && desk.is_over("b"));
    let desk = Desk::new(1);
    desk.announce(names(&["outside"])).unwrap();
    desk.ended(Some("outside"), "exit status 1");
    desk.registered().await;
    assert_eq!(desk.started().await.unwrap_err().error_type, "Extension.Crash");
}

#[tokio::test]
async fn leave_is_taken_in_order_and_not_for_ever() {
    let desk = Desk::new(1);
    assert!(!desk.takes_leave());
    desk.announce(names(&["outside"])).unwrap();
    let id = desk.register("outside", &names(&["SHUTDOWN"])).unwrap();
    let mut told = desk.next_event(id).unwrap();
    let _next = desk.next().unwrap();
    assert!(desk.takes_leave());
    let extension = async {
        assert_eq!(desk.ending().await, Reason::Timeout);
        desk.ended(None, "signal 9");
        told.given().await.unwrap();
        desk.ended(Some("outside"), "exit status 0");
    };
    tokio::join!(desk.take_leave(Reason::Timeout), extension);
    assert_eq!(
        desk.call(invocation("a")).try_recv().unwrap_err(),
        TryRecvError::Empty,
        "its end was asked for"
    );

    let stuck = Desk::new(1);
    stuck.announce(names(&["outside"])).unwrap();
    stuck.register("outside", &names(&["SHUTDOWN"])).unwrap();
    // It comes back although nobody does anything.
    stuck.take_leave(Reason::Spindown).await;
}

#[test]
fn extensions_of_several_invocations_at_a_time_get_none() {
    let desk = Desk::new(2);
    let refused = desk.register("inside", &names(&["INVOKE"])).unwrap_err();
    assert_eq!(refused, super::extensions::Denial::Event);
    assert!(desk.register("inside", &[]).is_ok());
}

#[test]
fn a_client_context_is_one_line_of_ascii_with_the_same_meaning() {
    let json = "{\n\t\"a\": \"\u{e9}\u{1f600}\u{7f}\"}";
    let ascii = super::serve::in_ascii(json);
    assert!(ascii.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{ascii}");
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(&ascii), read(json));
}

#[test]
fn a_failure_is_read_from_whatever_there_is() {
    let kind = HeaderValue::from_static("Runtime.Bad");
    let whole = br#"{"errorMessage":"m","errorType":"T","stackTrace":["a",["b",1]]}"#;
    let said = described(Some(&kind), whole);
    assert_eq!((said.error_message.as_str(), said.error_type.as_str()), ("m", "T"));
    assert_eq!(said.stack_trace, ["a", "[\"b\",1]"]);
    assert_eq!(described(Some(&kind), b"{}").error_type, "Runtime.Bad");
    let odd = br#"{"errorMessage":7,"errorType":"T","stackTrace":null}"#;
    let said = described(Some(&kind), odd);
    assert_eq!((said.error_message.as_str(), said.error_type.as_str()), ("7", "T"));
    assert!(said.stack_trace.is_empty());
    let said = described(None, b"it broke");
    assert_eq!(
        (said.error_message.as_str(), said.error_type.as_str()),
        ("it broke", "Function.Unknown")
    );
}

proptest! {
    #[test]
    fn any_description_is_a_failure(body in prop::collection::vec(any::<u8>(), 0..200), kind in "[ -~]{0,20}") {
        let kind = HeaderValue::try_from(kind).ok();
        prop_assert!(!described(None, &body).error_type.contains('\0') || body.contains(&b'\\'));
        let _ = described(kind.as_ref(), &body);
    }

    /// Whatever is asked in whatever order: nobody gets two answers, and no more are given out than may be.
    #[test]
    fn any_order_of_requests_keeps_the_rules(steps in prop::collection::vec((0u8..4, 0u8..4), 0..60)) {
        let desk = Desk::new(2);
        let (mut asked, mut called, mut given) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (step, pick)) in steps.into_iter().enumerate() {
            match step {
                0 => asked.extend(desk.next()),
                1 => called.push(desk.call(invocation(&number.to_string()))),
                2 if !called.is_empty() => drop(called.swap_remove(usize::from(pick) % called.len())),
                _ if !given.is_empty() => {
                    let id: String = given.swap_remove(usize::from(pick) % given.len());
                    desk.answer(&id).unwrap().say(Answer::Whole(Bytes::new()));
                    prop_assert_eq!(desk.answer(&id).unwrap_err(), Refusal::State);
                }
                _ => {}
            }
            asked.retain_mut(|asked: &mut super::question::Question<'_, Invocation>| match asked.by_now() {
                Some(invocation) => {
                    given.push(invocation.id);
                    false
                }
                None => true,
            });
            prop_assert!(given.len() + asked.len() <= 2);
        }
    }
}
