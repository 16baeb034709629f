//! Express, an app of `(req, res)`.

use tests::{Server, Source, packages};

const APP: &str = r#"
import express from 'express';

const app = express();

app.post('/echo', express.raw({ type: () => true, limit: '6mb' }), (req, res) => {
  res.type('application/octet-stream').send(req.body ?? Buffer.alloc(0));
});

app.get('/items/:id', (req, res) => {
  const names = Object.keys(req.headers);
  const cookies = Object.fromEntries((req.headers.cookie ?? '').split('; ').filter(Boolean).map((one) => one.split('=')));
  res.cookie('one', '1').cookie('two', '2');
  res.json({
    id: req.params.id,
    q: [req.query.q].flat(),
    headers: names.filter((name) => name.startsWith('x-header-')).length,
    cookies,
    twice: req.headersDistinct['x-twice'],
    ip: req.ip,
    hostname: req.hostname,
    protocol: req.protocol,
  });
});

app.get('/flow', async (req, res) => {
  res.type('text/plain');
  for (let number = 0; number < 5; number += 1) {
    res.write(`${number}\n`);
    await new Promise((next) => setImmediate(next));
  }
  res.end();
});

app.get('/slow', (req, res) => {
  res.writeHead(200, { 'content-type': 'text/event-stream', connection: 'keep-alive' });
  res.write('tick\n');
});

app.get('/fail', async () => {
  throw new Error('an error of the app');
});

export default app;
"#;

#[tokio::test]
async fn express_runs_without_a_server() {
    let packages = packages::npm(&["express@5.3.0"]).await;
    let server = Server::start().await;
    let source = Source::empty().tree(&packages).file("index.mjs", APP);
    server.deploy("express", &source, &[]).await;
    super::drive(&server, "express").await;
    let seen = super::ask(&server, "express", "GET", "/items/x", super::many_headers(), Vec::new())
        .await
        .good()
        .json();
    assert_eq!(seen["twice"], serde_json::json!(["1", "2, 3"]));
    for (key, value) in [("ip", "127.0.0.1"), ("hostname", "127.0.0.1"), ("protocol", "http")] {
        assert_eq!(seen[key], value, "{key}");
    }
    super::flows(&server, "express").await;
}
