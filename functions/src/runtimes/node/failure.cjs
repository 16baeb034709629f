// What went wrong, in the words of the platform.

'use strict';

const OURS = `${__dirname}/`;

/** A failure that the platform words itself. */
class Failure extends Error {
  constructor(kind, message, trace = []) {
    super(message);
    this.kind = kind;
    this.trace = trace;
  }
}

function clean(text, limit = 65536) {
  const whole = String(text).replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
  return whole.length <= limit ? whole : `${whole.slice(0, limit).replace(/[\ud800-\udbff]$/, '')}...`;
}

function isOurs(line) {
  return line.includes(OURS) || line.includes('(node:internal/') || line.includes('at node:internal/');
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

module.exports = { Failure, clean, describe, flushed, framesOf };
