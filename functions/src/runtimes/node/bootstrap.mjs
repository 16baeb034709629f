// Runs a Node handler behind the frame protocol of the platform.
//
// Lanes are inherited stream sockets on the file descriptors 3, 4, ... (FN_LANES of them). The sockets live in the event
// loop, so timers and promises of the function run while an invocation waits. What only streams and some failures need is
// loaded when they happen.
//
// A process that is started with FN_PARKED does not know its function yet: it rehearses, says PARKED, and becomes what
// LOAD says. What is ours is compiled by the rehearsal. Node's compile cache (22.1 and later) is not used: it would have to
// be there before the handler is loaded, and the only place that a sandbox may write to begins empty. For small handlers it
// would save nothing that can be measured; a bundle of a megabyte of source takes about as long to compile as Node to start,
// and a twentieth of that from a cache. Such a cache would have to be made at the deploy and shown beside the bundle.

import { createRequire } from 'node:module';
import { unlinkSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const require = createRequire(import.meta.url);
// Loading these as ES modules would make a start longer.
const { Failure, clean, describe, flushed, framesOf } = require('./failure.cjs');
const { SERVE, load } = require('./loading.cjs');
const {
  END, ERROR, HEAD, INIT_ERROR, INVOKE, LOAD, MAX_PAYLOAD, PARKED, READY, REQUEST_BODY, REQUEST_END, RESULT,
  Lane, bodyFrames, frame, jsonFrame,
} = require('./wire.cjs');

const MAX_RESULT = 6 * 1024 * 1024;
// Calls until V8 knows what the code of a call meets.
const REHEARSALS = 8;
const STREAMING = Symbol('fn.streaming');

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

// For those who serve calls by themselves.
const TOOLS = { Failure, STREAMING, describe, toBytes };

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
  const handler = await load('rehearsal.handler', TOOLS);
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
  const handler = await load(env._HANDLER ?? '', TOOLS);
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
