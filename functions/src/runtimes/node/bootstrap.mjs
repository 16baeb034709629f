// Runs a Node handler behind the frame protocol of the platform.
//
// Lanes are inherited stream sockets on the file descriptors 3, 4, ... (FN_LANES of them); the frames are described
// where the host decodes them. The sockets live in the event loop, so timers and promises of the function run while an
// invocation waits. What only errors or streams need is loaded when they happen.
//
// A process that is started with FN_PARKED does not know its function yet: it rehearses, says PARKED, and becomes what
// LOAD says. What is ours is compiled by the rehearsal. Node's compile cache (22.1 and later) is not used: it would have to
// be there before the handler is loaded, and the only place that a sandbox may write to begins empty. For small handlers it
// would save nothing that can be measured; a bundle of a megabyte of source takes about as long to compile as Node to start,
// and a twentieth of that from a cache. Such a cache would have to be made at the deploy and shown beside the bundle.

import { createRequire } from 'node:module';
import { existsSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const require = createRequire(import.meta.url);

const HEADER = 12;
const MAX_PAYLOAD = 1 << 20;
const MAX_RESULT = 6 * 1024 * 1024;
const [INVOKE, REQUEST_BODY, REQUEST_END, LOAD] = [0x01, 0x02, 0x03, 0x05];
const [READY, INIT_ERROR, RESULT, HEAD] = [0x81, 0x82, 0x83, 0x84];
const [BODY, END, ERROR, PARKED] = [0x85, 0x86, 0x87, 0x88];
// Calls until V8 knows what the code of a call meets.
const REHEARSALS = 8;
const STREAMING = Symbol('fn.streaming');
const SERVE = Symbol('fn.serve');
// How a function begins whose first parameter is a request. Only such a one is looked at more closely, in choice.mjs.
const TAKES_REQUEST = /^(?:async\b)?\s*(?:function\b)?[\s*]*[\w$]*\s*\(?\s*_*req/i;

let started = process.hrtime.bigint();
const bootId = randomHex();
const env = process.env;

function randomHex() {
  // Loading node:crypto costs more than the rest of this file.
  const { openSync, readSync, closeSync } = require('node:fs');
  const bytes = Buffer.alloc(16);
  const fd = openSync('/dev/urandom', 'r');
  readSync(fd, bytes);
  closeSync(fd);
  return bytes.toString('hex');
}

function micros(since) {
  return Number((process.hrtime.bigint() - since) / 1000n);
}

/** A failure that the platform words itself. */
class Failure extends Error {
  constructor(kind, message, trace = []) {
    super(message);
    this.kind = kind;
    this.trace = trace;
  }
}

// --- frames ----------------------------------------------------------------------------------------------------------

function frame(kind, seq, payload) {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(payload ? payload.length : 0, 0);
  header.writeUInt32LE(seq, 4);
  header[8] = kind;
  return payload ? [header, payload] : [header];
}

function jsonFrame(kind, seq, value) {
  return frame(kind, seq, Buffer.from(JSON.stringify(value)));
}

function bodyFrames(seq, data) {
  const buffers = [];
  for (let at = 0; at < data.length; at += MAX_PAYLOAD) {
    buffers.push(...frame(BODY, seq, data.subarray(at, at + MAX_PAYLOAD)));
  }
  return buffers;
}

/** One socket to the host. Hands whole frames to `onFrame`. */
class Lane {
  constructor(socket) {
    this.chunks = [];
    this.have = 0;
    this.header = null;
    this.onFrame = null;
    this.socket = socket;
  }

  /** The lane that was inherited as this descriptor. */
  static inherited(fd) {
    const lane = new Lane(new net.Socket({ fd, readable: true, writable: true }));
    // When the host has closed the lane there is no one left to answer.
    lane.socket.on('end', () => process.exit(0));
    lane.socket.on('error', () => process.exit(71));
    lane.socket.on('close', () => process.exit(71));
    return lane;
  }

  /** From now on frames go to `onFrame`. Those that came before the first one have waited in the socket. */
  open(onFrame) {
    if (!this.onFrame) this.socket.on('data', (chunk) => this.receive(chunk));
    this.onFrame = onFrame;
  }

  receive(chunk) {
    this.chunks.push(chunk);
    this.have += chunk.length;
    for (;;) {
      const size = this.header ? this.header.size : HEADER;
      if (this.have < size) return;
      const bytes = this.take(size);
      if (!this.header) {
        this.header = { size: bytes.readUInt32LE(0), seq: bytes.readUInt32LE(4), kind: bytes[8] };
        continue;
      }
      const { kind, seq } = this.header;
      this.header = null;
      this.onFrame(kind, seq, bytes);
    }
  }

  take(size) {
    const all = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.have);
    const rest = all.subarray(size);
    this.have = rest.length;
    this.chunks = rest.length ? [rest] : [];
    return all.subarray(0, size);
  }

  /** Writes the buffers with one system call when the socket takes them. False: wait for `drained` before the next. */
  send(buffers, done) {
    const last = buffers.length - 1;
    if (last > 0) this.socket.cork();
    let more = true;
    buffers.forEach((buffer, at) => {
      more = this.socket.write(buffer, at === last ? done : undefined);
    });
    if (last > 0) this.socket.uncork();
    return more;
  }

  drained() {
    return new Promise((resolve) => this.socket.once('drain', resolve));
  }
}

// --- what handlers see -----------------------------------------------------------------------------------------------

function contextOf(invoke) {
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    invokedFunctionArn: invoke.arn,
    awsRequestId: invoke.request_id,
    identity: undefined,
    clientContext: invoke.client_context ? JSON.parse(invoke.client_context) : undefined,
    getRemainingTimeInMillis: () => Math.max(0, invoke.deadline_ms - Date.now()),
  };
}

const metadata = new WeakMap();

globalThis.awslambda = {
  /** Marks `handler(event, responseStream, context)` as one that writes its reply itself. */
  streamifyResponse(handler) {
    handler[STREAMING] = true;
    return handler;
  },
  HttpResponseStream: {
    /** Gives the stream its status, headers and cookies; must come before the first write. */
    from(stream, prelude) {
      metadata.set(stream, prelude);
      return stream;
    },
  },
};

// --- failures --------------------------------------------------------------------------------------------------------

function clean(text, limit = 65536) {
  const whole = String(text).replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
  return whole.length <= limit ? whole : `${whole.slice(0, limit).replace(/[\ud800-\udbff]$/, '')}...`;
}

function isOurs(line) {
  return line.includes(import.meta.url) || line.includes('(node:internal/') || line.includes('at node:internal/');
}

function framesOf(error) {
  const stack = typeof error.stack === 'string' ? error.stack : '';
  return stack.split('\n').filter((line) => /^\s+at /.test(line) && !isOurs(line));
}

/** The chain of causes, for the log only. */
function causesOf(error) {
  const lines = [];
  for (let cause = error?.cause; cause instanceof Error && lines.length < 64; cause = cause.cause) {
    lines.push(`caused by ${cause.name}: ${cause.message}`, ...framesOf(cause));
  }
  return lines;
}

/** Anything thrown, as the content of an ERROR frame; also written to the log. */
function describe(error) {
  let [kind, message, trace, causes] = ['Error', '', [], []];
  try {
    if (error instanceof Failure) {
      [kind, message, trace] = [error.kind, error.message, error.trace];
    } else if (error instanceof Error || (error && typeof error === 'object' && 'message' in error)) {
      [kind, message, trace] = [error.name || error.constructor?.name || 'Error', error.message, framesOf(error)];
    } else {
      [kind, message] = [typeof error, error];
    }
    [kind, message, causes] = [clean(kind, 256), clean(message), causesOf(error)];
  } catch {
    // Whatever it has may be a getter that throws, or be no text.
    [kind, message] = [typeof kind === 'string' ? kind : 'Error', 'the error has no text'];
  }
  process.stderr.write([`[ERROR] ${kind}: ${message}`, ...trace, ...causes, ''].join('\n'));
  return {
    errorMessage: message,
    errorType: kind,
    stackTrace: trace.slice(0, 64).map((line) => clean(line, 1024)),
  };
}

/** Calls back when everything that was printed is in the log. A pipe takes it at once unless it is full. */
function flushed(then) {
  const waiting = [process.stdout, process.stderr].filter((stream) => stream.writableLength > 0 && !stream.destroyed);
  if (!waiting.length) return then();
  let left = waiting.length;
  for (const stream of waiting) {
    stream.write('', () => {
      left -= 1;
      if (!left) then();
    });
  }
}

// --- loading ---------------------------------------------------------------------------------------------------------

/** Where "dir/file.function" lies: the last dot parts file and function, unless only the first one gives a file. */
function locate(spec) {
  const slash = spec.lastIndexOf('/') + 1;
  const dots = [spec.lastIndexOf('.'), spec.indexOf('.', slash)].filter((dot) => dot > slash && dot < spec.length - 1);
  if (!dots.length) {
    const message = `handler ${JSON.stringify(spec)} does not have the form "file.function"`;
    throw new Failure('Runtime.MalformedHandlerName', message);
  }
  for (const dot of dots) {
    const base = path.resolve(process.cwd(), spec.slice(0, dot));
    const file = ['.mjs', '.js', '.cjs'].map((ending) => base + ending).find((candidate) => existsSync(candidate));
    if (file) return { file, exported: spec.slice(dot + 1) };
  }
  const name = spec.slice(0, dots[0]);
  const message = `the function has neither ${name}.mjs nor ${name}.js nor ${name}.cjs`;
  throw new Failure('Runtime.ImportModuleError', message);
}

async function load(spec) {
  const { file, exported } = locate(spec);
  let loaded;
  try {
    loaded = await loadFile(file);
  } catch (error) {
    throw explain(error, file);
  }
  let found = resolveExport(loaded, exported);
  const byDefault = exported === 'default' || (found === undefined && exported === 'handler');
  if (byDefault) {
    const whole = loaded?.default ?? loaded;
    if (typeof whole === 'function' || isApp(whole)) found = whole;
  }
  const signature = env.FN_SIGNATURE ?? 'auto';
  if (found === undefined || signature === 'cloudevent' || (signature === 'auto' && env.FUNCTION_SIGNATURE_TYPE)) {
    const isThere = Object.keys(require.cache).some((one) => one.includes('/@google-cloud/functions-framework/'));
    if (isThere || found !== undefined) {
      const { registered } = await import('./framework.mjs');
      const kind = signature === 'auto' ? env.FUNCTION_SIGNATURE_TYPE : signature;
      const serve = await registered(file, exported, found, kind, { Failure, STREAMING, describe, toBytes });
      if (serve) return { [SERVE]: serve };
    }
  }
  if (typeof found === 'function' && (signature === 'event' || (signature === 'auto' && !byDefault && isPlain(found)))) return found;
  if (typeof found !== 'function' && !isApp(found)) throw missingExport(loaded, exported, file, found);
  const { choose } = await import('./choice.mjs');
  const serve = await choose(found, byDefault, signature, { Failure, STREAMING, describe, toBytes });
  return serve ? { [SERVE]: serve } : found;
}

/** Whether nothing marks this function as one that is called with a request. */
function isPlain(found) {
  return found.use === undefined && found.fetch === undefined && !TAKES_REQUEST.test(Function.prototype.toString.call(found));
}

/** Whether this object is one of those that choice.mjs knows. */
function isApp(found) {
  return [found?.fetch, found?.routing, found?.listenerCount].some((method) => typeof method === 'function');
}

async function loadFile(file) {
  if (!file.endsWith('.mjs')) {
    try {
      return require(file);
    } catch (error) {
      if (error?.code !== 'ERR_REQUIRE_ESM' && error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    }
  }
  return import(require('node:url').pathToFileURL(file));
}

function resolveExport(loaded, exported) {
  const walk = (from) => exported.split('.').reduce((value, key) => value?.[key], from);
  return walk(loaded) ?? walk(loaded?.default);
}

function missingExport(loaded, exported, file, found) {
  const name = path.basename(file);
  if (found !== undefined) {
    return new Failure('Runtime.HandlerNotFound', `${exported} in ${name} is a ${typeof found}, not a function`);
  }
  const names = Object.keys(loaded ?? {}).slice(0, 10);
  const offered = names.length ? `it exports ${names.join(', ')}` : 'it exports nothing';
  return new Failure('Runtime.HandlerNotFound', `${name} does not export ${JSON.stringify(exported)}; ${offered}`);
}

function explain(error, file) {
  const code = error?.code;
  if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') {
    const wanted = /Cannot find (?:module|package) '([^']*)'/.exec(error.message)?.[1] ?? 'a module';
    const message = `${path.basename(file)} needs ${JSON.stringify(wanted)}, which the function does not have; is it in package.json?`;
    return new Failure('Runtime.ImportModuleError', message, framesOf(error));
  }
  if (error instanceof SyntaxError) {
    const place = placeOf(error.stack) ?? checked(file);
    const hint = /import statement outside a module|Unexpected token 'export'/.test(error.message)
      ? '; an ES module is named .mjs or has "type": "module" in its package.json'
      : '';
    const at = place ? ` (${path.basename(place.file)}, line ${place.line})` : ` (${path.basename(file)})`;
    return new Failure('Runtime.UserCodeSyntaxError', `${error.message}${at}${hint}`, place?.lines ?? []);
  }
  return error;
}

/** Finds "file:line" and the offending line where Node puts them: in front of the stack. */
function placeOf(text) {
  const lines = String(text ?? '').split('\n');
  const match = /^(?:file:\/\/)?(\/.*):(\d+)$/.exec(lines[0]);
  if (!match) return null;
  const end = lines.findIndex((line, at) => at > 0 && /^\w*Error\b/.test(line));
  return { file: match[1], line: match[2], lines: lines.slice(0, end < 0 ? 3 : end).filter((line) => line.trim()) };
}

/** Node keeps the place of a syntax error in an ES module to itself and only prints it, so a second Node prints it. */
function checked(file) {
  const { spawnSync } = require('node:child_process');
  const result = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5000 });
  return placeOf(result.stderr);
}

// --- invocations -----------------------------------------------------------------------------------------------------

function marshal(value) {
  try {
    // What JSON can't express at the top, such as undefined, is null, as in Lambda.
    let text = JSON.stringify(value) ?? 'null';
    // JSON.stringify writes half a surrogate pair as an escape that most readers refuse, and writes no other of these.
    if (text.includes('\\ud')) text = text.replace(/(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g, '$1\ufffd');
    return Buffer.from(text);
  } catch (error) {
    throw new Failure('Runtime.MarshalError', `the result can't be written as JSON: ${error?.message}`, framesOf(error ?? {}));
  }
}

function isStream(body) {
  return (
    body !== null &&
    typeof body === 'object' &&
    (body instanceof Uint8Array ||
      typeof body[Symbol.asyncIterator] === 'function' ||
      typeof body.getReader === 'function' ||
      (typeof body.next === 'function' && typeof body[Symbol.iterator] === 'function'))
  );
}

async function* chunksOf(body) {
  if (body instanceof Uint8Array) {
    yield body;
  } else if (typeof body.getReader === 'function' && typeof body[Symbol.asyncIterator] !== 'function') {
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } else {
    yield* body;
  }
}

function toBytes(chunk) {
  if (typeof chunk === 'string') return Buffer.from(chunk);
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new Failure('Runtime.MarshalError', `a body that streams yielded ${typeof chunk} instead of a string or bytes`);
}

/** One call, from INVOKE to END or ERROR. */
class Invocation {
  constructor(server, seq, invoke) {
    this.server = server;
    this.lane = server.lane;
    this.seq = seq;
    this.invoke = invoke;
    this.parts = [];
    this.over = false;
    this.headSent = false;
  }

  async run(handler) {
    this.started = process.hrtime.bigint();
    try {
      const event = JSON.parse(Buffer.concat(this.parts).toString());
      this.parts = null;
      if (handler[SERVE]) {
        await handler[SERVE](this, event);
        return;
      }
      const context = contextOf(this.invoke);
      if (handler[STREAMING]) {
        await this.streamified(handler, event, context);
        return;
      }
      const result = await this.result(handler, event, context);
      if (result && typeof result === 'object' && isStream(result.body)) {
        await this.stream(result);
      } else {
        this.answer(result);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** A handler answers by its promise, by its callback, or, when it takes no callback, by what it returns. */
  result(handler, event, context) {
    return new Promise((resolve, reject) => {
      const callback = (error, value) => (error === null || error === undefined ? resolve(value) : reject(error));
      const returned = handler(event, context, callback);
      if (typeof returned?.then === 'function') {
        returned.then(resolve, reject);
      } else if (handler.length < 3) {
        resolve(returned);
      }
    });
  }

  answer(result) {
    const data = marshal(result);
    if (data.length > MAX_RESULT) {
      const message = `the result has ${data.length} bytes, more than ${MAX_RESULT}; return a stream as body`;
      throw new Failure('Function.ResponseSizeTooLarge', message);
    }
    this.finish([...jsonFrame(RESULT, this.seq, { boot_id: bootId }), ...bodyFrames(this.seq, data)]);
  }

  /** `bare`: the handler gave no head, only bytes. */
  head(result, bare = false) {
    if (result.isBase64Encoded) {
      throw new Failure('Runtime.MarshalError', "a body that streams can't be base64: send bytes instead");
    }
    const status = Number(result.statusCode ?? 200);
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      const given = clean(result.statusCode, 40);
      throw new Failure('Runtime.MarshalError', `statusCode is ${given} instead of a whole number from 200 to 599`);
    }
    const [headers, cookies] = [result.headers ?? {}, result.cookies ?? []];
    if (typeof headers !== 'object' || !Array.isArray(cookies)) {
      throw new Failure('Runtime.MarshalError', 'headers is not an object or cookies is not a list');
    }
    const lines = Object.entries(headers).filter(([, value]) => value !== null && value !== undefined);
    const texts = lines.map(([key, value]) => [clean(key), clean(value)]);
    return this.headFrame(status, texts, cookies.map((cookie) => clean(cookie)), bare);
  }

  /** The HEAD for a status and header lines, which are pairs. */
  headFrame(status, headers, cookies = [], bare = false) {
    const buffers = jsonFrame(HEAD, this.seq, { boot_id: bootId, status, headers, cookies, bare });
    if (buffers[1].length > MAX_PAYLOAD) {
      throw new Failure('Runtime.MarshalError', 'the headers of the reply are over 1 MiB');
    }
    return buffers;
  }

  body(bytes) {
    return bodyFrames(this.seq, bytes);
  }

  async stream(result) {
    // The head waits for the first chunk, so that a stream that fails at once is still a clean error.
    let pending = this.head(result);
    for await (const chunk of chunksOf(result.body)) {
      pending.push(...bodyFrames(this.seq, toBytes(chunk)));
      if (pending.length && !this.transmit(pending)) await this.lane.drained();
      pending = [];
    }
    this.finish(pending);
  }

  transmit(buffers) {
    return this.over || this.lane.send(buffers);
  }

  async streamified(handler, event, context) {
    const { Writable } = require('node:stream');
    let head = null;
    const withHead = (buffers) => {
      if (head) return buffers;
      const given = metadata.get(stream);
      head = this.head({ headers: { 'content-type': stream.contentType }, ...given }, given === undefined);
      return [...head, ...buffers];
    };
    const stream = new Writable({
      decodeStrings: true,
      write: (chunk, _encoding, done) => {
        try {
          if (this.transmit(withHead(bodyFrames(this.seq, chunk)))) done();
          else this.lane.socket.once('drain', () => done());
        } catch (error) {
          done(error);
        }
      },
    });
    stream.contentType = 'application/octet-stream';
    stream.setContentType = (type) => {
      stream.contentType = type;
    };
    const finished = new Promise((resolve, reject) => {
      stream.on('finish', resolve);
      stream.on('error', reject);
      stream.on('close', () => (stream.writableFinished ? resolve() : reject(new Error('the reply stream was destroyed'))));
    });
    // The handler's own failure is the better story when both fail.
    finished.catch(() => {});
    await handler(event, stream, context);
    await finished;
    this.finish(withHead([]));
  }

  finish(buffers) {
    if (this.over) return;
    this.over = true;
    this.server.current = null;
    const last = jsonFrame(END, this.seq, { handler_us: micros(this.started) });
    flushed(() => this.lane.send([...buffers, ...last]));
  }

  fail(error, done) {
    if (this.over) return done?.();
    this.over = true;
    this.server.current = null;
    const content = { boot_id: bootId, ...describe(error) };
    flushed(() => this.lane.send(jsonFrame(ERROR, this.seq, content), done));
  }
}

/** Serves the invocations of one lane, one after the other. */
class Server {
  constructor(lane, handler, alone) {
    this.lane = lane;
    this.handler = handler;
    this.alone = alone;
    this.current = null;
    this.arriving = null;
  }

  receive(kind, seq, payload) {
    if (kind === INVOKE) {
      this.arriving = new Invocation(this, seq, JSON.parse(payload.toString()));
    } else if (kind === REQUEST_BODY && this.arriving) {
      this.arriving.parts.push(payload);
    } else if (kind === REQUEST_END && this.arriving) {
      const call = this.arriving;
      this.arriving = null;
      this.current = call;
      // One variable for the process can't tell the traces of concurrent calls apart.
      if (this.alone) {
        if (call.invoke.trace_id) env._X_AMZN_TRACE_ID = call.invoke.trace_id;
        else delete env._X_AMZN_TRACE_ID;
      }
      call.run(this.handler);
    } else {
      process.exit(70); // The host never does this; without agreement on the frames there is nothing left to say.
    }
  }
}

// --- parked ----------------------------------------------------------------------------------------------------------

/** Makes the environment `wanted`, a list of names and values. */
function adopt(wanted) {
  const names = new Set(wanted.map(([name]) => name));
  for (const name of Object.keys(env)) if (!names.has(name)) delete env[name];
  // What stays is not written again: Node looks for the time zone whenever TZ is set or deleted.
  for (const [name, value] of wanted) if (env[name] !== value) env[name] = value;
}

/**
 * Does what a start and a call do, with a function of ours and a socket to ourselves, so that their code is compiled and
 * their lazy parts are loaded before a call waits for them. Leaves nothing behind but that.
 */
async function rehearse() {
  const [before, cwd] = [Object.entries(env), process.cwd()];
  process.chdir(path.dirname(require('node:url').fileURLToPath(import.meta.url)));
  adopt([...before, ['FN_REHEARSAL', '1']]);
  const handler = await load('rehearsal.handler');
  adopt(before);
  process.chdir(cwd);

  const place = `/tmp/.rehearsal-${bootId}`;
  const host = net.createServer();
  await new Promise((done, failed) => host.on('error', failed).listen(place, done));
  const [lane, peer] = await new Promise((done, failed) => {
    const socket = net.connect(place);
    socket.on('error', failed);
    host.on('connection', (connected) => done([new Lane(socket), new Lane(connected)]));
  });
  unlinkSync(place);
  const server = new Server(lane, handler, true);
  lane.open((...received) => server.receive(...received));
  const event = JSON.stringify({
    version: '2.0',
    rawPath: '/',
    headers: { accept: '*/*' },
    queryStringParameters: { name: 'rehearsal' },
    requestContext: { http: { method: 'GET', path: '/' } },
    isBase64Encoded: false,
  });
  for (let seq = 1; seq <= REHEARSALS; seq += 1) {
    const ended = new Promise((done) => peer.open((kind) => kind >= END && done()));
    const call = jsonFrame(INVOKE, seq, { request_id: 'rehearsal', deadline_ms: Date.now(), arn: 'arn' });
    peer.send([...call, ...frame(REQUEST_BODY, seq, Buffer.from(event)), ...frame(REQUEST_END, seq)]);
    await ended;
  }
  const closed = new Promise((done) => host.close(done));
  lane.socket.destroy();
  peer.socket.destroy();
  await closed;
}

/** Waits until the host says what function this is. */
async function parked(lane) {
  try {
    await rehearse();
  } catch (error) {
    // The first call takes longer then, which is all.
    process.stderr.write(`[WARN] the rehearsal failed: ${error?.message}\n`);
  }
  const { env: wanted, cwd } = await new Promise((loaded) => {
    lane.open((kind, _seq, payload) => (kind === LOAD ? loaded(JSON.parse(payload.toString())) : process.exit(70)));
    lane.send(frame(PARKED, 0));
  });
  started = process.hrtime.bigint();
  adopt(wanted);
  process.chdir(cwd);
}

// --- start -----------------------------------------------------------------------------------------------------------

const lanes = [];
for (let number = 0; number < Number(env.FN_LANES ?? 1); number += 1) lanes.push(Lane.inherited(3 + number));

let servers = [];

/** An error that no handler's promise carries ends the process, because the function's state is unknown after it. */
function uncaught(failure) {
  const calls = servers.map((server) => server.current).filter(Boolean);
  if (!calls.length) {
    describe(failure);
    return flushed(() => process.exit(1));
  }
  let left = calls.length;
  for (const call of calls) {
    call.fail(failure, () => {
      left -= 1;
      if (!left) process.exit(1);
    });
  }
}

function unhandled(reason) {
  // A function that listens itself has decided what a rejection means.
  if (process.listenerCount('unhandledRejection') > 1) return;
  const isError = reason instanceof Error;
  const message = isError ? `${reason.name}: ${reason.message}` : clean(reason);
  uncaught(new Failure('Runtime.UnhandledPromiseRejection', message, isError ? framesOf(reason) : []));
}

if (env.FN_PARKED) await parked(lanes[0]);

try {
  const handler = await load(env._HANDLER ?? '');
  process.on('uncaughtException', uncaught);
  process.on('unhandledRejection', unhandled);
  servers = lanes.map((lane) => new Server(lane, handler, lanes.length === 1));
  const ready = { boot_id: bootId, runtime: `node${process.versions.node}`, init_us: micros(started) };
  flushed(() => lanes[0].send(jsonFrame(READY, 0, ready)));
  for (const server of servers) server.lane.open((...received) => server.receive(...received));
} catch (error) {
  const failure = describe(error);
  flushed(() => lanes[0].send(jsonFrame(INIT_ERROR, 0, failure), () => process.exit(1)));
}
