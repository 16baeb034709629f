// Serves web apps of Node: `(req, res)` functions, Express, Fastify, servers of node:http, and `{ fetch }`.
//
// Requests go through Node's own HTTP server. It is never told to listen: each call is a connection to it that is made of
// memory, into which the request is written as HTTP/1.1, and out of which the reply is read. So the app has the real
// IncomingMessage and ServerResponse of its Node. A reply is told to be as long as its connection, so that after its head all bytes
// are the body.

import http from 'node:http';
import { Duplex } from 'node:stream';

// A head of the gateway is shorter; the limit of Node's own server is not.
const LONGEST_HEAD = 256 * 1024;
// They belong to a connection, which there is none of here, or tell a length that the body itself tells.
const NOT_PASSED = new Set(['connection', 'content-length', 'expect', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;
const METHOD = /^[A-Z][A-Z-]*$/;

let shim;

/** What of the shim is needed here; it can't be imported, as it waits for this module. */
export function standOn(parts) {
  shim = parts;
}

// --- requests --------------------------------------------------------------------------------------------------------

/** The HTTP request in an event of payload 2.0. */
function requestOf(event, repeated = {}) {
  try {
    const { method, sourceIp } = event.requestContext.http;
    const lines = [...linesOf(event, repeated)];
    const text = event.body ?? '';
    const body = Buffer.from(text, event.isBase64Encoded ? 'base64' : 'utf8');
    const sized = Object.keys(event.headers).some((name) => name.toLowerCase() === 'content-length');
    if (body.length || sized) lines.push(['content-length', String(body.length)]);
    const first = (name) => lines.find(([key]) => key === name)?.[1];
    if (!first('host')) lines.push(['host', plain(event.requestContext.domainName ?? 'localhost')]);
    if (!METHOD.test(method)) throw new TypeError(`the method is ${JSON.stringify(method)}`);
    return {
      method,
      target: targetOf(event),
      lines,
      body,
      address: String(sourceIp ?? ''),
      scheme: first('x-forwarded-proto') === 'https' ? 'https' : 'http',
      host: first('host'),
    };
  } catch (error) {
    const message = `the function is a web app, but what it was called with is no HTTP event of version 2.0: ${error.message}`;
    throw new shim.Failure('Runtime.InvalidEvent', message);
  }
}

/** Path and query. What could end the request line, which only an event made by hand has, is escaped. */
function targetOf(event) {
  const query = event.rawQueryString ? `?${event.rawQueryString}` : '';
  const target = event.rawPath + query;
  if (!target.startsWith('/')) throw new TypeError(`the path is ${JSON.stringify(event.rawPath)}`);
  return target.replace(/[^\x21-\x7e]/gu, (character) => encodeURIComponent(character.toWellFormed?.() ?? character));
}

function* linesOf(event, repeated) {
  for (const [name, value] of Object.entries(event.headers)) {
    const key = name.toLowerCase();
    if (NOT_PASSED.has(key) || !TOKEN.test(name)) continue;
    // A caller may name a header `constructor`, which every object has.
    for (const one of Object.hasOwn(repeated, name) ? repeated[name] : [value]) yield [key, plain(one)];
  }
  if (event.cookies?.length && !('cookie' in event.headers)) yield ['cookie', plain(event.cookies.join('; '))];
}

/** One line of text: whoever calls with an event of his own could put a request of his own behind a line's end. */
function plain(text) {
  return text.replace(new RegExp(CONTROL, 'g'), ' ');
}

// --- replies ---------------------------------------------------------------------------------------------------------

/** A HEAD frame for a status and pairs of name and value, whose characters are bytes. */
function headOf(call, status, lines) {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new shim.Failure('Runtime.MarshalError', `the status is ${status} instead of a whole number from 200 to 599`);
  }
  return call.headFrame(status, lines.map(([name, value]) => [name, utf8(value)]));
}

/** Frames hold UTF-8. A value that is UTF-8 comes out as it is, and any other as the Latin-1 that it is. */
function utf8(value) {
  if (!/[\x80-\xff]/.test(value)) return value;
  const text = Buffer.from(value, 'latin1').toString('utf8');
  return text.includes('\ufffd') ? value : text;
}

// --- (req, res) ------------------------------------------------------------------------------------------------------

/** The body of a reply whose app has asked for chunks (RFC 9112 section 7.1), as Node writes them. */
class Chunks {
  constructor() {
    this.line = Buffer.alloc(0);
    // Bytes of the present chunk that are still to come, with the end of line behind it.
    this.left = 0;
    this.ended = false;
  }

  /** The pieces of the body in these bytes. What comes after the last chunk, trailers, goes nowhere. */
  take(bytes) {
    const pieces = [];
    while (bytes.length && !this.ended) {
      if (this.left) {
        const count = Math.min(this.left > 2 ? this.left - 2 : this.left, bytes.length);
        if (this.left > 2) pieces.push(bytes.subarray(0, count));
        this.left -= count;
        bytes = bytes.subarray(count);
        continue;
      }
      this.line = Buffer.concat([this.line, bytes]);
      const end = this.line.indexOf('\r\n');
      if (end < 0) break;
      const size = parseInt(this.line.toString('latin1', 0, end), 16);
      bytes = this.line.subarray(end + 2);
      this.line = Buffer.alloc(0);
      this.left = size + 2;
      this.ended = !size;
    }
    return pieces;
  }
}

/** One connection: a call that reads as a request, and writes that become its reply. */
class Connection extends Duplex {
  constructor(call, request) {
    super({ allowHalfOpen: true });
    this.call = call;
    this.head = Buffer.alloc(0);
    this.begun = false;
    this.chunks = null;
    this.failure = null;
    // What apps ask a socket for.
    this.remoteAddress = request.address;
    this.remoteFamily = request.address.includes(':') ? 'IPv6' : 'IPv4';
    this.remotePort = 0;
    this.localAddress = '127.0.0.1';
    this.localPort = 0;
    this.encrypted = request.scheme === 'https';
    const lines = request.lines.map(([name, value]) => `${name}: ${value}\r\n`);
    this.push(`${request.method} ${request.target} HTTP/1.1\r\n${lines.join('')}\r\n`);
    if (request.body.length) this.push(request.body);
  }

  setTimeout() {
    return this;
  }

  setNoDelay() {
    return this;
  }

  setKeepAlive() {
    return this;
  }

  ref() {
    return this;
  }

  unref() {
    return this;
  }

  address() {
    return { address: this.localAddress, family: 'IPv4', port: 0 };
  }

  _read() {}

  _write(chunk, _encoding, done) {
    this.take([chunk], done);
  }

  _writev(chunks, done) {
    this.take(chunks.map(({ chunk }) => chunk), done);
  }

  /** Passes on what the server wrote. Not `done` before the host has room: so the app sees how fast its reader is. */
  take(chunks, done) {
    try {
      const buffers = [];
      for (const chunk of chunks) {
        const body = this.begun ? chunk : this.beginning(chunk, buffers);
        for (const piece of this.chunks ? this.chunks.take(body) : [body]) buffers.push(...this.call.body(piece));
      }
      if (!buffers.length || this.call.transmit(buffers)) done();
      else this.call.lane.socket.once('drain', () => done());
    } catch (error) {
      this.failure = error;
      done(error);
    }
  }

  /** Takes the head apart once it is whole. Returns what of the chunk is behind it. */
  beginning(chunk, buffers) {
    this.head = this.head.length ? Buffer.concat([this.head, chunk]) : chunk;
    const end = this.head.indexOf('\r\n\r\n');
    if (end < 0) return Buffer.alloc(0);
    const [first, ...lines] = this.head.toString('latin1', 0, end).split('\r\n');
    const status = Number(first.split(' ')[1]);
    const rest = this.head.subarray(end + 4);
    this.head = Buffer.alloc(0);
    // 100 and 103 come before the reply, which may stand in the same chunk.
    if (status < 200 && status !== 101) return this.beginning(rest, buffers);
    const pairs = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
    if (pairs.some(([name, value]) => name.toLowerCase() === 'transfer-encoding' && /chunked$/i.test(value))) this.chunks = new Chunks();
    buffers.push(...headOf(this.call, status, pairs.filter(([name]) => !NOT_PASSED.has(name.toLowerCase()))));
    this.begun = true;
    return rest;
  }

  _final(done) {
    if (!this.begun) this.failure ??= new shim.Failure('Runtime.IncompleteReply', 'the connection was closed without a reply');
    if (!this.failure) this.call.finish([]);
    done();
    this.destroy();
  }

  _destroy(error, done) {
    // Nothing comes of this when the reply is complete.
    const how = this.begun ? 'in the middle of its reply' : 'without a reply';
    this.call.fail(this.failure ?? error ?? new shim.Failure('Runtime.IncompleteReply', `the app closed the connection ${how}`));
    done(error);
  }
}

/**
 * An app that has the form of a listener of 'request', or is a server that has listeners. A `gate` refuses requests by a status
 * and a text.
 */
export function served(app, gate = null) {
  let server = app;
  if (typeof app === 'function') {
    server = http.createServer({ maxHeaderSize: LONGEST_HEAD });
    server.on('request', (req, res) => {
      // As Node does for its own listeners of events, except that the failure has a caller.
      const failed = (error) => req.socket.destroy(error instanceof Error ? error : new shim.Failure(typeof error, String(error)));
      try {
        const returned = app(req, res);
        if (typeof returned?.then === 'function') returned.then(undefined, failed);
      } catch (error) {
        failed(error);
      }
    });
  }
  server.maxHeaderSize ??= LONGEST_HEAD;
  server.prependListener('request', (req, res) => {
    // With one reply only, and no chunks unless the app wants them, a reply ends with its connection.
    res.useChunkedEncodingByDefault = false;
    res.shouldKeepAlive = false;
    res.on('finish', () => req.socket.end());
  });
  // What Node's parser refuses is the caller's error, and not the function's.
  if (!server.listenerCount('clientError')) {
    server.on('clientError', (error, socket) => {
      const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
      socket.end(`HTTP/1.1 ${status}\r\n\r\n`);
    });
  }
  return (call, event) => {
    const request = requestOf(event, call.invoke.repeated);
    const refused = gate?.(request);
    if (refused) {
      const head = headOf(call, refused[0], [['content-type', 'text/plain; charset=utf-8']]);
      call.finish([...head, ...call.body(Buffer.from(`${refused[1]}\n`))]);
      return;
    }
    const connection = new Connection(call, request);
    connection.on('error', () => {});
    server.emit('connection', connection);
  };
}

// --- { fetch } -------------------------------------------------------------------------------------------------------

/** An app that makes a Response of a Request, as `fetch(request, env, context)`. */
export function fetched(app) {
  const answer = typeof app.fetch === 'function' ? app.fetch.bind(app) : app;
  return async (call, event) => {
    const asked = requestOf(event, call.invoke.repeated);
    const background = [];
    const context = { waitUntil: (work) => void background.push(work), passThroughOnException() {} };
    const response = await answer(fetchRequest(asked), process.env, context);
    if (typeof response?.status !== 'number' || typeof response.headers?.getSetCookie !== 'function') {
      throw new shim.Failure('Runtime.MarshalError', `the app returned ${describe(response)} instead of a Response`);
    }
    const lines = [...response.headers].filter(([name]) => name !== 'set-cookie' && !NOT_PASSED.has(name));
    for (const cookie of response.headers.getSetCookie()) lines.push(['set-cookie', cookie]);
    let pending = headOf(call, response.status, lines);
    if (asked.method === 'HEAD') await response.body?.cancel();
    else {
      for await (const chunk of response.body ?? []) {
        pending.push(...call.body(shim.toBytes(chunk)));
        if (!call.transmit(pending)) await call.lane.drained();
        pending = [];
      }
    }
    // The bytes are out; what ends the call is the end of what the app still does.
    if (background.length && pending.length) call.transmit(pending.splice(0));
    for (const { status, reason } of await Promise.allSettled(background)) if (status === 'rejected') shim.describe(reason);
    call.finish(pending);
  };
}

function fetchRequest({ method, scheme, host, target, lines, body }) {
  const headers = lines.map(([name, value]) => [name, Buffer.from(value).toString('latin1')]);
  // A Request of these methods can't have one.
  const sent = ['GET', 'HEAD'].includes(method) || !body.length ? undefined : body;
  try {
    return new Request(`${scheme}://${host}${target}`, { method, headers, body: sent });
  } catch (error) {
    throw new shim.Failure('Runtime.InvalidEvent', `there can be no Request of this: ${error.message}`);
  }
}

function describe(value) {
  return value === null ? 'null' : typeof value === 'object' ? `a ${value.constructor?.name ?? 'bare object'}` : typeof value;
}
