//! One function, called in each of the four ways: bodies of every size, many headers and repeated cookies come through whole, or are refused with the code
//! that is documented.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tests::{Listener, Place, Reply, Server, Source};

const MIB: usize = 1024 * 1024;
/// `max_body` as it is without being set.
const MOST: usize = 6 * MIB;
/// Headers of our own in each direction.
const HEADERS: usize = 90;

/// Answers with the body, the headers `x-h-*` and the cookies of the request. A result is JSON of at most 6 MiB, which a long body passes as a stream.
const PYTHON: &str = "
import base64

def handler(event, context):
    body = event.get('body', '')
    if len(body) > 1 << 20 and 'json' not in event.get('rawQueryString', ''):
        body = base64.b64decode(body) if event.get('isBase64Encoded') else body.encode()
        return {'statusCode': 200, 'headers': {'content-type': event.get('headers', {}).get('content-type', 'none')}, 'body': iter([body])}
    headers = {name: value for name, value in event.get('headers', {}).items() if name.startswith('x-h-') or name == 'content-type'}
    return {'statusCode': 200, 'headers': headers, 'cookies': event.get('cookies', []),
            'body': event.get('body', ''), 'isBase64Encoded': event.get('isBase64Encoded', False)}
";
const NODE: &str = "
import { Readable } from 'node:stream';

export const handler = async (event) => (event.body ?? '').length > 1 << 20 && !(event.rawQueryString ?? '').includes('json') ? {
  statusCode: 200,
  headers: { 'content-type': event.headers?.['content-type'] ?? 'none' },
  body: Readable.from([Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8')]),
} : ({
  statusCode: 200,
  headers: Object.fromEntries(Object.entries(event.headers ?? {}).filter(([name]) => name.startsWith('x-h-') || name === 'content-type')),
  cookies: event.cookies ?? [],
  body: event.body ?? '',
  isBase64Encoded: event.isBase64Encoded ?? false,
});
";
const HTTP: &str = "
import http.client, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Its own bound is 100, and those of the gateway come on top of the caller's.
http.client._MAXHEADERS = 200

class Echo(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('content-length', 0)))
        self.send_response(200)
        for name, value in self.headers.items():
            if name.lower().startswith('x-h-') or name.lower() == 'content-type':
                self.send_header(name, value)
            if name.lower() == 'cookie':
                self.send_header('set-cookie', value)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

ThreadingHTTPServer(('', int(os.environ['PORT'])), Echo).serve_forever()
";
/// Has no headers to answer with, so at `/head` it tells what it saw of them.
const STDIO: &str = "
case \"$Http_Path\" in
  /head) env | grep -c '^HTTP_X_H_'; echo \"$HTTP_COOKIE\" ;;
  *) exec cat ;;
esac";

/// What a function can do.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Gets an event and gives a result.
    Handler,
    /// Speaks HTTP.
    Server,
    /// Reads and writes.
    Program,
}

async fn start(listener: &Listener) -> Server {
    Server::start_in(Place::new(), &["--callback-host", listener.address()]).await
}

fn request(url: &str, host: Option<&str>, headers: &HeaderMap, body: Vec<u8>) -> reqwest::Request {
    let mut request = reqwest::Request::new(
        Method::POST,
        Url::parse(url).expect("a request can be made and is answered"),
    );
    *request.headers_mut() = headers.clone();
    if let Some(host) = host {
        request.headers_mut().insert(
            "host",
            HeaderValue::from_str(host).expect("a request can be made and is answered"),
        );
    }
    *request.body_mut() = Some(body.into());
    request
}

fn many_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for n in 0..HEADERS {
        let name = HeaderName::try_from(format!("x-h-{n}")).expect("a request can be made and is answered");
        headers.insert(
            name,
            HeaderValue::try_from(format!("value {n}, and \"more\"")).expect("a request can be made and is answered"),
        );
    }
    headers.append("cookie", HeaderValue::from_static("a=1"));
    headers.append("cookie", HeaderValue::from_static("b=2"));
    headers
}

fn typed(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(reqwest::header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

/// Text of more than one byte a character, and bytes that are no text.
fn bodies(size: usize) -> [(HeaderMap, Vec<u8>); 2] {
    let mut text: Vec<u8> = "é".bytes().cycle().take(size / 2 * 2).collect();
    text.resize(size, b'x');
    let binary = (0..size).map(|n| (n * 7 % 256) as u8 | 0x80).collect();
    [
        (typed("text/plain; charset=utf-8"), text),
        (typed("application/octet-stream"), binary),
    ]
}

/// The same of a reply by HTTP and of a callback.
fn carries(headers: &HeaderMap, what: &str) {
    for n in 0..HEADERS {
        let value = headers
            .get(format!("x-h-{n}"))
            .unwrap_or_else(|| panic!("{what}: no x-h-{n}"));
        assert_eq!(value, &format!("value {n}, and \"more\""), "{what}");
    }
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"], "{what}");
}

/// Calls by path and by Host.
async fn by_http(server: &Server, name: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> [Reply; 2] {
    let port = server
        .address()
        .rsplit_once(':')
        .expect("a request can be made and is answered")
        .1;
    let host = format!("{name}.localhost:{port}");
    let by_path = request(
        &format!("{}{path}", server.function(name)),
        None,
        headers,
        body.to_vec(),
    );
    let by_host = request(&format!("{}{path}", server.url()), Some(&host), headers, body.to_vec());
    let client = server.client();
    [
        client
            .send(by_path)
            .await
            .expect("a request can be made and is answered"),
        client
            .send(by_host)
            .await
            .expect("a request can be made and is answered"),
    ]
}

async fn invoke(server: &Server, name: &str, event: &str) -> Reply {
    let url = format!("{}/2015-03-31/functions/{name}/invocations", server.url());
    server
        .client()
        .post(&url, event.to_owned())
        .await
        .expect("a request can be made and is answered")
}

async fn judge(name: &str, kind: Kind, source: Source) {
    let mut listener = Listener::start(&[200]).await;
    let server = start(&listener).await;
    server.deploy(name, &source, &["--memory", "512MiB"]).await;

    for size in [0, 1, MOST, MOST + 1] {
        for (headers, body) in bodies(size) {
            let what = format!("{name}: {size} bytes of {headers:?}");
            for reply in by_http(&server, name, "/", &headers, &body).await {
                if size > MOST {
                    assert_eq!(reply.error(413), "body_too_large", "{what}");
                } else {
                    assert_eq!(reply.status, 200, "{what}: {}", reply.header("content-type"));
                    assert!(reply.body == body, "{what}: {} bytes came back", reply.body.len());
                }
            }
        }
    }
    heads(&server, name, kind).await;
    if kind == Kind::Handler {
        // It arrives; what does not fit is the result, which has its body inside of JSON.
        for (headers, body) in bodies(MOST) {
            for reply in by_http(&server, name, "/?json", &headers, &body).await {
                assert_eq!(reply.error(502), "function_error");
            }
        }
    }

    // Invoke counts the event, as the JSON that it is.
    let texts = [String::new(), "x".to_owned(), "é".repeat(100)];
    for text in texts {
        let event = json!({"body": text, "headers": {"x-h-0": "a"}, "cookies": ["a=1", "b=2"]}).to_string();
        let reply = invoke(&server, name, &event).await.good();
        let result = reply.json();
        match kind {
            Kind::Handler => {
                assert_eq!(result["body"], text.as_str());
                assert_eq!(result["cookies"], json!(["a=1", "b=2"]));
                assert_eq!(result["headers"], json!({"x-h-0": "a"}));
            }
            // They get the event as a body of a POST to /, and what they answer comes as a document.
            Kind::Server | Kind::Program => {
                assert_eq!(result["statusCode"], 200, "{name}: {result}");
                assert_eq!(result["body"], event.as_str(), "{name}");
            }
        }
    }
    let padded = |size: usize| format!("{{\"body\":\"{}\"}}", "x".repeat(size - 11));
    assert_eq!(padded(100).len(), 100);
    let fits = invoke(&server, name, &padded(MOST)).await;
    assert_eq!(
        (fits.status, fits.header("x-amz-function-error")),
        (200, ""),
        "{name}: {:.200}",
        fits.text()
    );
    let over = invoke(&server, name, &padded(MOST + 1)).await;
    assert_eq!((over.status, &over.json()["__type"]), (413, &Value::Null), "{name}");

    let url = format!("http://{}/", listener.address());
    let async_url = format!("{}/async-function/{name}", server.url());
    for size in [0, 1, MIB, MOST + 1] {
        for (mut headers, body) in bodies(size) {
            headers.insert(
                "x-callback-url",
                HeaderValue::from_str(&url).expect("a request can be made and is answered"),
            );
            let reply = server
                .client()
                .send(request(&async_url, None, &headers, body.clone()))
                .await
                .expect("a request can be made and is answered");
            if size > MOST {
                assert_eq!(reply.error(413), "body_too_large", "{name}");
                continue;
            }
            assert_eq!(reply.status, 202);
            let seen = listener.next().await;
            assert_eq!(seen.header("x-function-status"), "200", "{name}: {size}");
            assert!(seen.body == body, "{name}: {size} bytes in the background");
        }
    }
    if kind != Kind::Program {
        let mut headers = many_headers();
        headers.insert(
            "x-callback-url",
            HeaderValue::from_str(&url).expect("a request can be made and is answered"),
        );
        let reply = server
            .client()
            .send(request(&async_url, None, &headers, b"x".to_vec()))
            .await
            .expect("a request can be made and is answered");
        assert_eq!(reply.status, 202);
        carries(&listener.next().await.headers, name);
    }
}

/// Headers and cookies, both ways.
async fn heads(server: &Server, name: &str, kind: Kind) {
    let mut headers = many_headers();
    if kind == Kind::Program {
        for reply in by_http(server, name, "/head", &headers, b"x").await {
            assert_eq!(reply.good().text(), "90\na=1; b=2\n");
        }
    } else {
        for reply in by_http(server, name, "/", &headers, b"x").await {
            carries(&reply.good().headers, name);
        }
    }
    for n in HEADERS..100 {
        let header = HeaderName::try_from(format!("x-h-{n}")).expect("a request can be made and is answered");
        headers.insert(header, HeaderValue::from_static("x"));
    }
    for reply in by_http(server, name, "/", &headers, b"x").await {
        assert_eq!(reply.error(431), "headers_too_large");
    }
}

#[tokio::test]
async fn a_python_handler() {
    judge("four-python", Kind::Handler, Source::python(PYTHON)).await;
}

#[tokio::test]
async fn a_node_handler() {
    judge("four-node", Kind::Handler, Source::node(NODE)).await;
}

#[tokio::test]
async fn an_http_server() {
    let toml = "[http]\ncommand = [\"python3\", \"app.py\"]\n";
    let source = Source::empty().file("app.py", HTTP).file("fn.toml", toml);
    judge("four-http", Kind::Server, source).await;
}

#[tokio::test]
async fn a_program() {
    judge("four-stdio", Kind::Program, Source::shell(STDIO)).await;
}
