//! Function URLs: the event that a handler gets, byte by byte from a raw connection, and the reply that its answer becomes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::{Reply, Server, Source, raw};

/// Answers with its event, or with what the event's body asks for.
const HANDLER: &str = "
import json

def handler(event, context):
    asked = json.loads(event['body']) if event['rawPath'] == '/answer' else None
    return asked if asked is not None else {'statusCode': 200, 'body': json.dumps(event)}
";

async fn start() -> Server {
    let server = Server::start().await;
    server.deploy("url", &Source::python(HANDLER), &[]).await;
    server
}

/// Sends a request to the function's own host.
async fn send(server: &Server, head: &str, body: &[u8]) -> Reply {
    let port = server.address().rsplit(':').next().expect("an address has a port");
    let length = body.len();
    let head = format!("{head}\r\nHost: url.localhost:{port}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    raw::exchange(server.address(), &[head.as_bytes(), body].concat()).await
}

async fn answer(server: &Server, asked: &Value) -> Reply {
    let head = "POST /answer HTTP/1.1\r\nContent-Type: application/json";
    send(server, head, asked.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_request_is_an_event_of_payload_2() {
    let server = start().await;
    let head = "PUT /a%20b/../c?x=1&x=2&y=%41+b&z HTTP/1.1\r\nCookie: a=1; b=2\r\nCookie: c=3\r\nX-Two: 1\r\nx-two: 2\r\nUser-Agent: me\r\nContent-Type: text/plain";
    let event = send(&server, head, "é".as_bytes()).await.good().json();
    assert_eq!(
        [
            &event["version"],
            &event["routeKey"],
            &event["rawPath"],
            &event["rawQueryString"]
        ],
        ["2.0", "$default", "/a%20b/../c", "x=1&x=2&y=%41+b&z"]
    );
    assert_eq!(event["cookies"], json!(["a=1", "b=2", "c=3"]));
    assert_eq!(event["headers"]["x-two"], "1,2");
    assert_eq!(
        event["queryStringParameters"],
        json!({ "x": "1,2", "y": "A b", "z": "" })
    );
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!("é"), &json!(false))
    );
    let context = &event["requestContext"];
    assert_eq!(
        (&context["stage"], &context["routeKey"]),
        (&json!("$default"), &json!("$default"))
    );
    assert_eq!(
        (&context["domainName"], &context["domainPrefix"]),
        (&json!("url.localhost"), &json!("url"))
    );
    let wanted = json!({ "method": "PUT", "path": "/a%20b/../c", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "me" });
    assert_eq!(context["http"], wanted);
    assert!(context["timeEpoch"].is_u64() && context["time"].is_string() && context["requestId"].is_string());

    let bytes = [0, 159, 255];
    let binary = send(
        &server,
        "POST / HTTP/1.1\r\nContent-Type: application/octet-stream",
        &bytes,
    )
    .await;
    let event = binary.good().json();
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!(STANDARD.encode(bytes)), &json!(true))
    );
    let event = send(&server, "GET / HTTP/1.1", b"").await.good().json();
    assert!(event.get("body").is_none() && event.get("cookies").is_none(), "{event}");
}

#[tokio::test]
async fn an_answer_is_a_reply_by_the_rules_of_function_urls() {
    let server = start().await;
    for value in [json!("text"), json!([1, 2]), json!({ "message": "hi" }), json!(7)] {
        let reply = answer(&server, &value).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        assert_eq!(reply.json(), value);
    }
    let asked = json!({
        "statusCode": 201,
        "headers": { "Content-Type": "text/plain", "x-number": 5 },
        "cookies": ["a=1; Path=/", "b=2"],
        "body": STANDARD.encode([0, 159, 255]),
        "isBase64Encoded": true,
    });
    let reply = answer(&server, &asked).await;
    assert_eq!((reply.status, &*reply.body), (201, &[0, 159, 255][..]));
    assert_eq!(
        (reply.header("content-type"), reply.header("x-number")),
        ("text/plain", "5")
    );
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
    for wrong in [json!({ "statusCode": "no" }), json!({ "statusCode": 200, "body": {} })] {
        assert_eq!(answer(&server, &wrong).await.error(502), "bad_reply", "{wrong}");
    }
}

#[tokio::test]
async fn rules_for_pages_of_other_origins_stand_in_the_manifest() {
    let server = Server::start().await;
    let rules = "[cors]\nallow_origins = [\"https://a.example\"]\nallow_methods = [\"*\"]\nallow_credentials = true\nmax_age = \"10m\"\n";
    let source = Source::python("def handler(event, context):\n    raise ValueError('it fails')\n");
    server.deploy("url", &source.file("fn.toml", rules), &[]).await;
    let head = "OPTIONS / HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: DELETE";
    let reply = send(&server, head, b"").await;
    assert_eq!((reply.status, reply.text()), (200, String::new()));
    for (name, value) in [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-methods", "DELETE"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    // A page must be able to read what went wrong.
    let failed = send(&server, "GET / HTTP/1.1\r\nOrigin: https://a.example", b"").await;
    assert_eq!(failed.header("access-control-allow-origin"), "https://a.example");
    assert_eq!(failed.error(502), "function_error");
    let source = Source::python("def handler(event, context):\n    return 1\n");
    let wrong = source.file("fn.toml", "[cors]\nallow_origins = [\"*\"]\nallow_credentials = true\n");
    server
        .try_deploy("wrong", wrong.path(), &[])
        .await
        .refused("name the origins");
}
