//! What is written for OpenFaaS.

use tests::{Server, Source};

#[tokio::test]
async fn a_template_of_the_http_mode_is_an_http_function() {
    let server = Server::start().await;
    let app = "
from http.server import BaseHTTPRequestHandler, HTTPServer

class Index(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'the watchdog is not missed at ' + self.path.encode())

# As its template has it: the port is its own.
HTTPServer(('0.0.0.0', 5000), Index).serve_forever()
";
    let toml = "[env]\nmode = \"http\"\nfprocess = \"python3 index.py\"\nupstream_url = \"http://127.0.0.1:5000\"\n";
    let source = Source::empty().file("index.py", app).file("fn.toml", toml);
    server.deploy("template", &source, &[]).await;
    let reply = server
        .client()
        .get(&format!("{}/a", server.function("template")))
        .await
        .unwrap();
    assert_eq!(reply.good().text(), "the watchdog is not missed at /a");
    let elsewhere = toml.replace("127.0.0.1", "10.0.0.1");
    let source = Source::empty().file("index.py", app).file("fn.toml", elsewhere);
    let said = server.try_deploy("elsewhere", source.path(), &[]).await;
    assert!(
        said.code != Some(0) && said.all().contains("http_upstream_url"),
        "{}",
        said.all()
    );
}

#[tokio::test]
async fn a_classic_function_finds_its_request_and_says_its_type() {
    let server = Server::start().await;
    let script = "echo \"$Http_Method|$Http_Path|$Http_Query|$Http_Content_Length|$Http_Host|$Http_X_Own|$Http_Content_Type\"; echo err >&2; cat";
    let toml = "[env]\ncontent_type = \"text/x-own\"\ncombine_output = \"true\"\n";
    server
        .deploy("classic", &Source::shell(script).file("fn.toml", toml), &[])
        .await;
    let url = format!("{}/a%20b?q=1", server.function("classic"));
    let headers = [("x-own", "mine"), ("content-type", "text/plain")];
    let reply = server.client().post_with(&url, &headers, "body").await.unwrap().good();
    assert_eq!(reply.header("content-type"), "text/x-own");
    let expected = format!("POST|/a%20b|q=1|4|{}|mine|text/plain\nerr\nbody", server.address());
    assert_eq!(reply.text(), expected);
    server
        .deploy(
            "blind",
            &Source::shell("env | grep -ci '^http_'; true").file("fn.toml", "[env]\ncgi_headers = \"false\"\n"),
            &[],
        )
        .await;
    assert_eq!(server.post("blind", "x").await.good().text(), "0\n");
}
