//! How a server ends, by request and by force, and how the next one finds what it left.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tests::{Place, Server, Source, cgroups, poll, processes};

/// Tells by a process with this word that a slow call has begun.
fn slow(marker: &str) -> Source {
    Source::python_body(&format!(
        "    if 'slow' in query:\n        \
         subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n        time.sleep(2)\n    \
         return {{'done': True}}"
    ))
}

async fn begun(marker: &str) {
    poll::until("the begin of the slow call", async || {
        (!processes::marked(marker).is_empty()).then_some(())
    })
    .await;
}

async fn nothing_is_left(family: &BTreeSet<processes::Process>, roots: &[PathBuf]) {
    poll::until("the end of every process of the server", async || {
        processes::left(family).is_empty().then_some(())
    })
    .await;
    poll::until("the end of every cgroup of a function", async || {
        cgroups::of_functions(roots).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_asked_to_end_finishes_its_calls() {
    let server = Server::start().await;
    let roots = server.cgroup_roots().to_vec();
    let marker = processes::marker("drain");
    server.deploy("lifecycle-drain", &slow(&marker), &[]).await;
    server.call("lifecycle-drain").await.good();
    let url = format!("{}?slow=1", server.function("lifecycle-drain"));
    let client = server.client().clone();
    let running = tokio::spawn(async move { client.get(&url).await });
    begun(&marker).await;
    let family = processes::family(server.pid());
    server.signal(Signal::SIGTERM);
    let reply = running
        .await
        .expect("the caller does not panic")
        .expect("the running call is answered");
    assert_eq!(reply.good().json()["done"], true);
    let (code, place) = server.end().await;
    assert_eq!(code, Some(0), "a server that was asked to end ends well");
    nothing_is_left(&family, &roots).await;
    assert!(!place.admin_socket().exists(), "the admin socket is removed");
}

#[tokio::test]
async fn a_draining_server_takes_no_new_calls() {
    let server = Server::start().await;
    let marker = processes::marker("refuse");
    server.deploy("lifecycle-refuse", &slow(&marker), &[]).await;
    let url = format!("{}?slow=1", server.function("lifecycle-refuse"));
    let client = server.client().clone();
    let running = tokio::spawn(async move { client.get(&url).await });
    begun(&marker).await;
    // One connection was opened before, so that a closed listener is not what answers.
    let mut open = tests::raw::Raw::connect(server.address()).await;
    server.signal(Signal::SIGTERM);
    poll::until("a refusal", async || {
        match tests::client::Client::tcp()
            .get(&server.function("lifecycle-refuse"))
            .await
        {
            Ok(reply) => (reply.status == 503).then_some(()),
            Err(error) => error.is_connect().then_some(()),
        }
    })
    .await;
    open.send(b"").await;
    running
        .await
        .expect("the caller does not panic")
        .expect("the running call is answered")
        .good();
    assert_eq!(server.end().await.0, Some(0));
}

#[tokio::test]
async fn a_killed_server_leaves_no_orphan_and_the_next_one_recovers() {
    let place = Place::new();
    let server = Server::start_in(place, &[]).await;
    let roots = server.cgroup_roots().to_vec();
    let marker = processes::marker("kill");
    let revision = server.deploy("lifecycle-kill", &slow(&marker), &[]).await;
    let url = format!("{}?slow=1", server.function("lifecycle-kill"));
    let client = server.client().clone();
    let running = tokio::spawn(async move { client.get(&url).await });
    begun(&marker).await;
    let family = processes::family(server.pid());
    assert!(family.len() >= 3, "a server with an instance has a family: {family:?}");
    server.signal(Signal::SIGKILL);
    let (code, place) = server.end().await;
    assert_eq!(code, None, "a signal ended it");
    let _ = running.await.expect("the caller does not panic");
    poll::until("the end of every process of the killed server", async || {
        (processes::left(&family).is_empty() && processes::marked(&marker).is_empty()).then_some(())
    })
    .await;

    let server = Server::start_in(place, &[]).await;
    let reply = server.call("lifecycle-kill").await;
    reply.is_cold();
    assert_eq!(reply.revision(), revision, "what was deployed is still there");
    let family = processes::family(server.pid());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().await.0, Some(0));
    nothing_is_left(&family, &roots).await;
}

#[tokio::test]
async fn a_killed_spawner_is_replaced() {
    let server = Server::start().await;
    server
        .deploy("lifecycle-spawner", &Source::python_body("    return 'ok'"), &[])
        .await;
    let before = server.call("lifecycle-spawner").await.good();
    let family = processes::family(server.pid());
    for process in family.iter().filter(|process| process.pid != server.pid()) {
        // It may have gone with the one before it: the spawner is the first pid of its namespace.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    let after = poll::until("a call that is answered again", async || {
        let reply = server.call("lifecycle-spawner").await;
        if reply.status != 200 {
            assert!([502, 503].contains(&reply.status), "a typed error: {}", reply.text());
            return None;
        }
        Some(reply)
    })
    .await;
    after.is_cold();
    assert_ne!(after.instance(), before.instance());
}
