//! Calls that nobody waits for: `/async-function`, and where their results go.

use nix::sys::signal::Signal;
use tests::{Listener, Place, Reply, Server, Source, poll};

const HANDLER: &str = "
import base64, json, sys, time

def handler(event, context):
    do = (event.get('queryStringParameters') or {}).get('do')
    if do == 'raise':
        raise ValueError('no such thing')
    if do == 'sleep':
        print('asleep')
        sys.stdout.flush()
        time.sleep(600)
    if do == 'quiet':
        print('ran quietly')
        return 'nobody reads this'
    seen = {'path': event['rawPath'], 'query': event['rawQueryString'], 'method': event['requestContext']['http']['method'],
            'headers': event['headers'], 'body': event.get('body')}
    return {'statusCode': 201, 'headers': {'content-type': 'application/x-own', 'x-own': 'kept', 'host': 'forged', 'x-call-id': 'forged'},
            'cookies': ['a=1', 'b=2'], 'body': base64.b64encode(json.dumps(seen).encode() + b'\\0\\xff').decode(), 'isBase64Encoded': True}
";

/// A server that may send results to a listener, with the handler deployed as `later`.
async fn with_callbacks(listener: &Listener) -> Server {
    let server = Server::start_in(Place::new(), &["--callback-host", listener.address()]).await;
    server.deploy("later", &Source::python(HANDLER), &[]).await;
    server
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let url = format!("{}/async-function/{path}", server.url());
    let reply = server.client().post_with(&url, headers, body).await;
    reply.expect("the server answers")
}

fn callback(listener: &Listener) -> String {
    format!("http://{}/done?x=1", listener.address())
}

#[tokio::test]
async fn a_call_is_accepted_and_its_result_is_sent_to_its_callback() {
    let mut listener = Listener::start(&[200]).await;
    let server = with_callbacks(&listener).await;
    let url = callback(&listener);
    let headers = [
        ("x-callback-url", url.as_str()),
        ("x-mine", "a"),
        ("content-type", "text/plain"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
    ];
    let accepted = post(&server, "later/a/b?q=%20", &headers, b"hello".to_vec()).await;
    assert_eq!((accepted.status, accepted.body.len()), (202, 0));
    let id = accepted.header("x-call-id").to_owned();
    assert_eq!(id, accepted.header("x-fn-request-id"));
    let seen = listener.next().await;
    assert_eq!(seen.line, "POST /done?x=1 HTTP/1.1");
    assert_eq!(seen.header("x-call-id"), id);
    assert_eq!(seen.header("x-function-name"), "later");
    assert_eq!(seen.header("x-function-status"), "201");
    assert!(seen.header("x-duration-seconds").parse::<f64>().unwrap() > 0.0);
    assert_eq!(seen.header("host"), listener.address());
    assert_eq!(
        (seen.header("content-type"), seen.header("x-own")),
        ("application/x-own", "kept")
    );
    assert_eq!(seen.header("x-fn-request-id"), id);
    let cookies: Vec<_> = seen.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let body = seen.body.strip_suffix(b"\0\xff").expect("binary stays as it is");
    let call: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(call["path"], "/a/b");
    assert_eq!(call["query"], "q=%20");
    assert_eq!((&call["method"], &call["body"]), (&"POST".into(), &"hello".into()));
    assert_eq!(call["headers"]["x-call-id"], id.as_str());
    assert_eq!(call["headers"]["x-start-time"], accepted.header("x-start-time"));
    assert_eq!(call["headers"]["x-mine"], "a");
    assert!(call["headers"]["upgrade"].is_null(), "nobody is there to speak it with");

    let headers = [("x-callback-url", url.as_str()), ("x-call-id", "my own")];
    let accepted = post(&server, "later?do=raise", &headers, Vec::new()).await;
    assert_eq!((accepted.status, accepted.header("x-call-id")), (202, "my own"));
    let seen = listener.next().await;
    assert_eq!(
        (seen.header("x-call-id"), seen.header("x-function-status")),
        ("my own", "502")
    );
    assert!(String::from_utf8_lossy(&seen.body).contains("function_error"));

    assert_eq!(post(&server, "later?do=quiet", &[], Vec::new()).await.status, 202);
    poll::until("a call without a callback", async || {
        let logs = server.fn_command(["logs", "later"]).await.good();
        logs.all().contains("ran quietly").then_some(())
    })
    .await;
    poll::until("all ends counted", async || {
        let metrics = server.metrics().await;
        let ended = metrics.sum("fn_background_calls_total", &[("end", "done")]) == 3.0
            && metrics.sum("fn_background_calls", &[]) == 0.0
            && metrics.sum("fn_callbacks_total", &[("end", "delivered")]) == 2.0;
        ended.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_result_is_sent_again_until_somebody_takes_it_and_goes_nowhere_else() {
    let mut listener = Listener::start(&[503, 307]).await;
    let server = with_callbacks(&listener).await;
    let url = callback(&listener);
    post(&server, "later", &[("x-callback-url", &url)], Vec::new()).await;
    let (first, second) = (listener.next().await, listener.next().await);
    assert_eq!(first.body, second.body);
    // A redirect is an answer that nobody follows.
    poll::until("a result that was refused", async || {
        let metrics = server.metrics().await;
        (metrics.sum("fn_callbacks_total", &[("end", "refused")]) == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn results_go_nowhere_unless_the_operator_said_so() {
    let listener = Listener::start(&[200]).await;
    let server = Server::start().await;
    server.deploy("later", &Source::python(HANDLER), &[]).await;
    for address in [
        callback(&listener).as_str(),
        "http://169.254.169.254/latest",
        "https://example.org/",
        "file:///etc/passwd",
        "nonsense",
        "",
    ] {
        let refused = post(&server, "later?do=quiet", &[("x-callback-url", address)], Vec::new()).await;
        assert_eq!(refused.error(400), "bad_request", "{address}");
    }
    assert_eq!(
        server
            .metrics()
            .await
            .sum("fn_invocations_total", &[("function", "later")]),
        0.0
    );
}

#[tokio::test]
async fn what_is_no_call_in_the_background_is_refused() {
    let server = Server::start().await;
    server.deploy("later", &Source::python(HANDLER), &[]).await;
    server
        .deploy(
            "small",
            &Source::python(HANDLER).file("fn.toml", "max_body = \"1KiB\"\n"),
            &[],
        )
        .await;
    let get = server
        .client()
        .get(&format!("{}/async-function/later", server.url()))
        .await
        .unwrap();
    assert_eq!(get.error(405), "method_not_allowed");
    assert_eq!(get.header("allow"), "POST");
    assert_eq!(
        post(&server, "nobody", &[], Vec::new()).await.error(404),
        "function_not_found"
    );
    assert_eq!(
        post(&server, "No", &[], Vec::new()).await.error(400),
        "invalid_function_name"
    );
    let (most, over) = (vec![b'x'; 6 << 20], vec![b'x'; (6 << 20) + 1]);
    assert_eq!(
        post(&server, "later?do=quiet", &[], over).await.error(413),
        "body_too_large"
    );
    assert_eq!(post(&server, "later?do=quiet", &[], most).await.status, 202);
    assert_eq!(
        post(&server, "small", &[], vec![b'x'; 1025]).await.error(413),
        "body_too_large"
    );
}

#[tokio::test]
async fn bodies_that_wait_leave_room_for_calls_that_somebody_waits_for() {
    let server = Server::start().await;
    server.deploy("later", &Source::python(HANDLER), &[]).await;
    // Its one instance is busy, so its calls wait.
    let narrow = Source::shell("echo asleep >&2; exec sleep 600").file("fn.toml", "queue = 0\n[scale]\nmax = 1\n");
    server.deploy("narrow", &narrow, &["--timeout", "300s"]).await;
    let (client, asleep) = (server.client().clone(), server.function("narrow"));
    let sleeper = tokio::spawn(async move { client.get(&asleep).await });
    poll::until("the one instance busy", async || {
        let logs = server.fn_command(["logs", "narrow"]).await.good();
        logs.all().contains("asleep").then_some(())
    })
    .await;
    for at in 0..42 {
        let accepted = post(&server, "narrow", &[], vec![b'x'; 6 << 20]).await;
        assert_eq!(accepted.status, 202, "number {at}: {}", accepted.text());
    }
    let full = post(&server, "narrow", &[], vec![b'x'; 6 << 20]).await;
    assert_eq!(full.error(503), "unavailable");
    assert_eq!(server.post("later?do=quiet", vec![b'x'; 6 << 20]).await.status, 200);
    sleeper.abort();
}

#[tokio::test]
async fn a_server_that_stops_names_the_calls_that_it_forgets() {
    let mut listener = Listener::start(&[200]).await;
    let server = with_callbacks(&listener).await;
    let narrow = Source::python(HANDLER).file("fn.toml", "queue = 0\n[scale]\nmax = 1\n");
    server.deploy("narrow", &narrow, &["--timeout", "300s"]).await;
    let (client, asleep) = (
        server.client().clone(),
        format!("{}?do=sleep", server.function("narrow")),
    );
    let sleeper = tokio::spawn(async move { client.get(&asleep).await });
    poll::until("the one instance busy", async || {
        let logs = server.fn_command(["logs", "narrow"]).await.good();
        logs.all().contains("asleep").then_some(())
    })
    .await;
    let url = callback(&listener);
    let accepted = post(&server, "narrow", &[("x-callback-url", &url)], Vec::new()).await;
    assert_eq!(accepted.status, 202);
    server.signal(Signal::SIGTERM);
    // Its caller is told what somebody who waits would have been.
    let seen = listener.next().await;
    assert_eq!(seen.header("x-call-id"), accepted.header("x-call-id"));
    // The last try may have been before the stop or after it.
    let status = seen.header("x-function-status");
    assert!(["429", "503"].contains(&status), "{status}");
    sleeper.abort();
    let (code, place) = server.end().await;
    assert_eq!(code, Some(0));
    let log = std::fs::read_to_string(place.log()).unwrap();
    let lost = log
        .lines()
        .find(|line| line.contains("a call in the background is lost"));
    let lost = lost.expect("the log names it");
    assert!(
        lost.contains("narrow") && lost.contains(accepted.header("x-fn-request-id")),
        "{lost}"
    );
}
