// Says what the export that _HANDLER names is: a handler, an app of node:http, or one that fetches.
//
// An explicit `signature` decides. Without one:
//
//     has a method `fetch`                                          { fetch }
//     an app of Express or Connect, an instance of Fastify,
//     a server of node:http that has a listener                     (req, res)
//     a function of (req, res) or (request, response), ...          (req, res)
//     the default export, a function of (req) or (request) alone    { fetch }
//     any other function                                            handler

const REQUEST = /^_*(req|request)$/i;
const REPLY = /^_*(res|resp|response|rep|reply)$/i;

/** What serves the calls of an app, as a function of invocation and event; null for a handler, which is to be called itself. */
export async function choose(found, byDefault, signature, shim) {
  const chosen = signature === 'auto' ? guess(found, byDefault, shim) : signature;
  if (chosen === 'event' && typeof found === 'function') return null;
  if (chosen !== 'http' && chosen !== 'fetch') {
    throw new shim.Failure('Runtime.InvalidSignature', `signature ${JSON.stringify(chosen)} does not fit what the function exports`);
  }
  const web = await import('./web.mjs');
  web.standOn(shim);
  if (chosen === 'fetch') {
    if (typeof found === 'function' || typeof found.fetch === 'function') return web.fetched(found);
    throw new shim.Failure('Runtime.HandlerNotFound', 'signature is "fetch", but what the function exports has no fetch');
  }
  return web.served(await listener(found, shim));
}

function guess(found, byDefault, shim) {
  if (typeof found.fetch === 'function') return 'fetch';
  if (isListened(found) || isFastify(found)) return 'http';
  if (typeof found !== 'function') return 'nothing';
  if (found[shim.STREAMING]) return 'event';
  if (typeof found.use === 'function' && typeof found.handle === 'function') return 'http';
  const [first = '', second = ''] = parameters(found);
  if (!REQUEST.test(first)) return 'event';
  if (REPLY.test(second)) return 'http';
  return byDefault && !second ? 'fetch' : 'event';
}

/** The function that node:http would call, or the server that calls it. */
async function listener(found, shim) {
  if (typeof found === 'function' || isListened(found)) return found;
  if (isFastify(found)) {
    await found.ready();
    return found.routing;
  }
  throw new shim.Failure('Runtime.HandlerNotFound', 'signature is "http", but what the function exports takes no requests');
}

function isFastify(found) {
  return typeof found.routing === 'function' && typeof found.ready === 'function';
}

function isListened(found) {
  return typeof found.listenerCount === 'function' && typeof found.emit === 'function' && found.listenerCount('request') > 0;
}

/** The names of the parameters, as they stand in the source. */
function parameters(found) {
  const text = Function.prototype.toString.call(found);
  const list = /^(?:async\b)?\s*(?:function\b)?[\s*]*[\w$]*\s*\(([^)]*)\)/.exec(text)?.[1] ?? /^(?:async\b)?\s*([\w$]+)\s*=>/.exec(text)?.[1] ?? '';
  return list.split(',').map((one) => /[\w$]+/.exec(one)?.[0] ?? '');
}
