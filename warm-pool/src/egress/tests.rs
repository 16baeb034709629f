use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::{Ends, Refusal, connect, pass};
use super::*;
use crate::driver::launcher::Later;

/// Answers each question with the next of its answers, the last one for good.
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Scripted {
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect());
        Scripted {
            answers: answers.collect(),
            asked: AtomicUsize::new(0),
        }
    }
}

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, destination: &'a Destination) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let port = destination.port().get();
        let answer = self.answers[at].iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        Box::pin(async { Ok(answer) })
    }
}

/// A name server that is not there.
struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _: &'a Destination) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(io::Error::other("no answer")) })
    }
}

fn loopback() -> Vec<Cidr> {
    vec!["127.0.0.1".parse().unwrap()]
}

async fn listening() -> (TcpListener, Destination) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("db.example:{port}").parse().unwrap())
}

async fn refusal(resolver: &dyn Resolve, to: &Destination, allowed: &[Cidr]) -> Refusal {
    connect(to, resolver, &Semaphore::new(1), allowed).await.unwrap_err()
}

#[tokio::test]
async fn what_was_judged_is_what_is_connected_to() {
    let (listener, to) = listening().await;
    // The second answer would be another one: a name whose owner lets it point elsewhere between two questions.
    let rebinding = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let stream = connect(&to, &rebinding, &Semaphore::new(1), &loopback()).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    assert_eq!(rebinding.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_whatever_listens_there() {
    let (listener, to) = listening().await;
    for answer in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "::1",
        "0.0.0.0",
        "fe80::1",
    ] {
        let refused = refusal(&Scripted::new(&[&[answer]]), &to, &[]).await;
        assert!(
            matches!(refused, Refusal::Refused(ip) if ip == answer.parse::<IpAddr>().unwrap()),
            "{refused}"
        );
        assert_eq!(refused.outcome(), Connection::Refused);
    }
    // Of several, those that are fine are used and the others never.
    let mixed = Scripted::new(&[&["127.0.0.2", "10.0.0.1", "127.0.0.1"]]);
    let stream = connect(&to, &mixed, &Semaphore::new(1), &loopback()).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
}

#[tokio::test]
async fn what_can_not_be_reached_says_why() {
    let (listener, to) = listening().await;
    drop(listener);
    let outcome = async |resolver: &dyn Resolve| refusal(resolver, &to, &loopback()).await.outcome();
    assert_eq!(
        outcome(&Scripted::new(&[&["127.0.0.1"]])).await,
        Connection::Unreachable
    );
    assert_eq!(outcome(&Scripted::new(&[&[]])).await, Connection::Unresolved);
    assert_eq!(outcome(&Silent).await, Connection::Unresolved);
}

#[tokio::test]
async fn names_of_this_machine_are_this_machine() {
    let to: Destination = "fn-test.localhost:80".parse().unwrap();
    let addresses = SystemResolver::default().resolve(&to).await.unwrap();
    assert!(addresses.iter().all(|address| address.ip().is_loopback()) && addresses.len() == 2);
}

/// Two ends, and what stands between them.
async fn between() -> (TcpStream, TcpStream, tokio::task::JoinHandle<(u64, u64)>) {
    let (a, _) = listening().await;
    let inner = TcpStream::connect(a.local_addr().unwrap()).await.unwrap();
    let (inside, _) = a.accept().await.unwrap();
    let outside = TcpStream::connect(a.local_addr().unwrap()).await.unwrap();
    let (outer, _) = a.accept().await.unwrap();
    let passing = tokio::spawn(async move {
        let counter = |name| prometheus::IntCounter::new(name, "bytes").unwrap();
        let (sent, received) = (counter("sent"), counter("received"));
        pass(Ends { inside, outside }, &sent, &received).await;
        (sent.get(), received.get())
    });
    (inner, outer, passing)
}

#[tokio::test]
async fn who_is_done_is_still_answered_and_bytes_are_counted_by_direction() {
    let (mut inner, mut outer, passing) = between().await;
    inner.write_all(b"question").await.unwrap();
    inner.shutdown().await.unwrap();
    let mut heard = String::new();
    outer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    let long = vec![b'x'; 1 << 20];
    let (answered, heard) = tokio::join!(
        async {
            outer.write_all(&long).await.unwrap();
            drop(outer);
        },
        async {
            let mut heard = Vec::new();
            inner.read_to_end(&mut heard).await.unwrap();
            heard
        }
    );
    let () = answered;
    assert_eq!(heard.len(), long.len());
    assert_eq!(passing.await.unwrap(), (8, 1 << 20));
}

#[tokio::test]
async fn a_side_that_breaks_is_a_break_on_the_other() {
    let (mut inner, outer, passing) = between().await;
    outer.set_zero_linger().unwrap();
    drop(outer);
    let error = inner.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    passing.await.unwrap();
}

fn revision(to: &Destination) -> Revision {
    let name: FunctionName = "caller".parse().unwrap();
    let detected = functions::detect::Detected {
        runtime: functions::Runtime::Stdio,
        handler: "run.sh".into(),
    };
    let toml = format!("[network]\nallow = [\"{to}\"]");
    Revision {
        settings: functions::Manifest::from_toml(&toml)
            .unwrap()
            .resolve(&name, &detected)
            .unwrap(),
        name,
        number: functions::RevisionNumber::FIRST,
        bundle: functions::Digest::of(b"bundle"),
        created: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// A door that leads to `to`, and where to knock.
async fn door(egress: &Egress, to: &Destination) -> (Outlets, SocketAddr) {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = inside.local_addr().unwrap();
    let inside = OwnedFd::from(inside.into_std().unwrap());
    (egress.open(&revision(to), vec![inside]).unwrap(), at)
}

fn count(egress: &Egress, outcome: &str) -> u64 {
    let families = egress.gather();
    let family = families
        .iter()
        .find(|family| family.name() == crate::metrics::EGRESS_CONNECTIONS)
        .unwrap();
    let of = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == outcome);
    family.get_metric().iter().find(of).unwrap().get_counter().get_value() as u64
}

#[tokio::test]
async fn a_door_leads_outward_and_ends_with_its_instance() {
    let (listener, to) = listening().await;
    let egress = Egress::with_resolver(&loopback(), Arc::new(Scripted::new(&[&["127.0.0.1"]])));
    let (outlets, at) = door(&egress, &to).await;
    let mut inner = TcpStream::connect(at).await.unwrap();
    let (mut outer, _) = listener.accept().await.unwrap();
    inner.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    outer.read_exact(&mut heard).await.unwrap();
    assert_eq!((&heard, count(&egress, "connected")), (b"hello", 1));
    drop(outlets);
    assert!(matches!(outer.read(&mut heard).await, Ok(0) | Err(_)));
    assert!(matches!(inner.read(&mut heard).await, Ok(0) | Err(_)));
    egress.forget(&"caller".parse().unwrap());
    assert!(egress.gather().iter().all(|family| family.get_metric().is_empty()));
}

#[tokio::test]
async fn a_door_that_leads_nowhere_resets_and_one_too_many_is_told_so() {
    let (listener, to) = listening().await;
    let egress = Egress::with_resolver(&[], Arc::new(Scripted::new(&[&["127.0.0.1"]])));
    let (_outlets, at) = door(&egress, &to).await;
    let mut inner = TcpStream::connect(at).await.unwrap();
    assert!(inner.read(&mut [0; 1]).await.is_err());
    assert_eq!((count(&egress, "refused"), count(&egress, "connected")), (1, 0));

    let egress = Egress::with_resolver(&loopback(), Arc::new(Scripted::new(&[&["127.0.0.1"]])));
    let (_outlets, at) = door(&egress, &to).await;
    let mut held = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        held.push((TcpStream::connect(at).await.unwrap(), listener.accept().await.unwrap()));
    }
    let mut inner = TcpStream::connect(at).await.unwrap();
    assert!(inner.read(&mut [0; 1]).await.is_err());
    assert_eq!(count(&egress, "full"), 1);
}

#[tokio::test]
async fn another_number_of_listeners_is_no_start() {
    let (_, to) = listening().await;
    assert!(Egress::new(&[]).open(&revision(&to), Vec::new()).is_err());
}
