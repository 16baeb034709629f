//! `fn dev`: a function that follows its files.

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::program::Background;
use tests::{Server, Source, poll};

fn handler(answer: &str) -> String {
    format!("print(\"{answer} is loaded\")\n\ndef handler(event, context):\n    return \"{answer}\"\n")
}

/// The documents that it has printed so far.
fn said(dev: &Background) -> Vec<Value> {
    let log = dev.log();
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn live(dev: &mut Background, revision: u64) -> Value {
    poll::until("a live revision", async || {
        assert_eq!(dev.ended(), None, "{}", dev.log());
        said(dev)
            .into_iter()
            .find(|line| line["event"] == "live" && line["function"]["revision"] == revision)
    })
    .await
}

async fn answers(server: &Server, function: &str, expected: &str) {
    let text = server.call(function).await.good().text();
    assert_eq!(text.trim_matches('"'), expected);
}

#[tokio::test]
async fn a_save_is_live_at_the_same_url_and_what_it_prints_is_seen() {
    let server = Server::start().await;
    let source = Source::python(&handler("first"));
    let log = server.place().ours("dev.log");
    let path = source.path().to_str().expect("a path of the test is text").to_owned();
    let mut dev = server.fn_background(["dev", &path, "--name", "followed"], &log);
    let first = live(&mut dev, 1).await;
    answers(&server, "followed", "first").await;

    let source = source.file("handler.py", handler("second"));
    let second = live(&mut dev, 2).await;
    assert_eq!(first["function"]["url"], second["function"]["url"]);
    answers(&server, "followed", "second").await;
    poll::until("what the second one prints", async || {
        let printed = said(&dev);
        let texts = printed.iter().filter_map(|line| line["record"]["text"].as_str());
        texts.collect::<String>().contains("second is loaded").then_some(())
    })
    .await;

    // What is not packed is no change, and the same bytes again are none.
    let source = source
        .file("__pycache__/handler.pyc", "x")
        .file("handler.py", handler("second"))
        .file("handler.py", handler("third"));
    live(&mut dev, 3).await;
    answers(&server, "followed", "third").await;
    drop(source);

    dev.signal(Signal::SIGINT);
    assert_eq!(dev.end().await, Some(0), "{}", dev.log());
    answers(&server, "followed", "third").await;
}

#[tokio::test]
async fn saves_in_a_row_end_in_the_last_one() {
    const SAVES: usize = 25;
    let server = Server::start().await;
    let source = Source::python("import part\n\ndef handler(event, context):\n    return f'{part.NUMBER} {0}'\n")
        .file("part.py", "NUMBER = 0\n");
    let log = server.place().ours("dev.log");
    let path = source.path().to_str().expect("a path of the test is text").to_owned();
    let mut dev = server.fn_background(["dev", &path, "--name", "saved"], &log);
    live(&mut dev, 1).await;
    // As editors do: a new file in the place of the old one, or the old one written anew.
    for n in 1..=SAVES {
        let handler = format!("import part\n\ndef handler(event, context):\n    return f'{{part.NUMBER}} {n}'\n");
        std::fs::write(source.path().join(".handler.py.new"), handler).expect("the directory can be written to");
        std::fs::rename(source.path().join(".handler.py.new"), source.path().join("handler.py"))
            .expect("the file can be put in its place");
        std::fs::write(source.path().join("part.py"), format!("NUMBER = {n}\n")).expect("the file can be written");
        if n % 5 == 0 {
            // The next one may come in the middle of a deploy. What answers may be half a save: a file that was emptied and not yet written.
            server.call("saved").await;
        }
    }
    let last = format!("{SAVES} {SAVES}");
    poll::until("the last save", async || {
        let reply = server.call("saved").await;
        (reply.status == 200 && reply.text().trim_matches('"') == last).then_some(())
    })
    .await;
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.end().await, Some(0), "{}", dev.log());
    answers(&server, "saved", &last).await;
}

#[tokio::test]
async fn a_save_that_can_not_be_deployed_is_told_and_the_one_before_stays() {
    let server = Server::start().await;
    let source = Source::python(&handler("good"));
    let log = server.place().ours("dev.log");
    let path = source.path().to_str().expect("a path of the test is text").to_owned();
    let mut dev = server.fn_background(["dev", &path, "--name", "broken"], &log);
    live(&mut dev, 1).await;

    let source = source.file("fn.toml", "memroy = \"64MiB\"\n");
    poll::until("the mistake", async || dev.log().contains("memroy").then_some(())).await;
    assert_eq!(dev.ended(), None);
    answers(&server, "broken", "good").await;

    // A handler that can't be loaded goes live, and says why.
    let source = source.file("fn.toml", "").file(
        "handler.py",
        "import nothing_like_it\n\ndef handler(event, context):\n    pass\n",
    );
    live(&mut dev, 2).await;
    poll::until("why it can't be loaded", async || {
        dev.log().contains("nothing_like_it").then_some(())
    })
    .await;
    let _source = source.file("handler.py", handler("mended"));
    live(&mut dev, 3).await;
    answers(&server, "broken", "mended").await;
}

#[tokio::test]
async fn what_can_not_be_followed_is_refused() {
    let server = Server::start().await;
    server
        .fn_command(["dev", "/nowhere/at/all"])
        .await
        .refused("can't be watched");
    let source = Source::empty().file("readme.txt", "no handler");
    let path = source.path().to_str().expect("a path of the test is text");
    server.fn_command(["dev", path]).await.refused("handler");
}
