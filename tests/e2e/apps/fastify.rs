//! Fastify, whose instance is exported as it is.

use tests::{Server, Source, packages};

const APP: &str = r#"
'use strict';

const app = require('fastify')({ bodyLimit: 6 * 1024 * 1024 });
const { Readable } = require('node:stream');

app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body));

app.post('/echo', async (request, reply) => {
  reply.type('application/octet-stream');
  return request.body ?? Buffer.alloc(0);
});

app.get('/items/:id', async (request, reply) => {
  const cookies = Object.fromEntries((request.headers.cookie ?? '').split('; ').filter(Boolean).map((one) => one.split('=')));
  reply.header('set-cookie', ['one=1', 'two=2']);
  return {
    id: request.params.id,
    q: [request.query.q].flat(),
    headers: Object.keys(request.headers).filter((name) => name.startsWith('x-header-')).length,
    cookies,
    ip: request.ip,
    host: request.host,
  };
});

app.get('/flow', async (request, reply) => {
  reply.type('text/plain');
  return Readable.from(['0\n', '1\n', '2\n', '3\n', '4\n']);
});

app.get('/slow', (request, reply) => {
  reply.type('text/event-stream');
  const ticks = new Readable({ read() {} });
  ticks.push('tick\n');
  return reply.send(ticks);
});

app.get('/fail', async () => {
  throw new Error('an error of the app');
});

module.exports = app;
"#;

#[tokio::test]
async fn fastify_runs_without_a_server() {
    let packages = packages::npm(&["fastify@5.12.8"]).await;
    let server = Server::start().await;
    let source = Source::empty().tree(&packages).file("index.js", APP);
    server.deploy("fastify", &source, &["--set", "concurrency=4"]).await;
    super::drive(&server, "fastify").await;
    let seen = super::get(&server, "fastify", "/items/x").await.good().json();
    assert_eq!(
        (&seen["ip"], &seen["host"]),
        (&"127.0.0.1".into(), &server.address().into())
    );
    super::flows(&server, "fastify").await;
}
