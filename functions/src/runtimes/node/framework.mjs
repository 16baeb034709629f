// Functions of the Functions Framework, which is asked for the server that it would start.

import { createRequire } from 'node:module';
import path from 'node:path';

import { served, standOn } from './web.mjs';

const NAME = '@google-cloud/functions-framework';

/**
 * What serves the calls of the function that is registered as `name`, or of `exported` when it is called as `kind` says; null
 * when there is none. The framework's own register comes before what a file exports.
 */
export async function registered(file, name, exported, kind, shim) {
  standOn(shim);
  const need = createRequire(file);
  let framework;
  try {
    framework = { ...need(NAME), ...need(`${NAME}/testing`) };
  } catch (error) {
    if (error?.code !== 'MODULE_NOT_FOUND') throw error;
    const message = `the function is to be called by ${NAME}, which it does not have; is it in package.json?`;
    throw new shim.Failure('Runtime.ImportModuleError', message);
  }
  if (!framework.getFunction(name)) {
    if (exported === undefined) return null;
    const register = { http: framework.http, cloudevent: framework.cloudEvent }[kind];
    if (!register) {
      throw new shim.Failure('Runtime.InvalidSignature', `functions of the type ${JSON.stringify(kind)} are not served here`);
    }
    register(name, exported);
  }
  return served(framework.getTestServer(name), kindOf(need, name) === 'cloudevent' ? fault : null);
}

/** How the function is registered. The framework tells it to its own files only. */
function kindOf(need, name) {
  const register = need(path.join(path.dirname(need.resolve(NAME)), 'function_registry.js'));
  return register.getRegisteredFunction(name)?.signatureType;
}

/**
 * Status and text of the refusal of a request that holds no proper CloudEvent, after the HTTP protocol binding of CloudEvents
 * 1.0; null for one in binary or structured mode. The framework would call the function with anything.
 */
function fault({ method, lines, body }) {
  if (method !== 'POST') return null;
  const headers = Object.fromEntries(lines);
  const type = (headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
  if (type.startsWith('application/cloudevents-batch')) {
    return [415, 'a batch of CloudEvents is not taken: send one event in each request'];
  }
  let event = Object.fromEntries(lines.filter(([name]) => name.startsWith('ce-')).map(([name, value]) => [name.slice(3), value]));
  if (type.startsWith('application/cloudevents')) {
    if (type !== 'application/cloudevents+json') return [415, 'of structured CloudEvents only application/cloudevents+json is taken'];
    event = parsed(body);
    if (!event) return [400, 'the CloudEvent is not a JSON object'];
  } else if (!Object.keys(event).length) {
    // The framework makes CloudEvents of the events that came before them.
    const old = type === 'application/json' && parsed(body);
    return old?.context || old?.eventId || old?.message ? null : [400, 'the request holds no CloudEvent'];
  }
  for (const name of ['specversion', 'id', 'source', 'type']) {
    if (typeof event[name] !== 'string' || !event[name]) return [400, `the CloudEvent has no ${name}`];
  }
  return ['1.0', '0.3'].includes(event.specversion) ? null : [400, 'the specversion of the CloudEvent is neither 1.0 nor 0.3'];
}

function parsed(body) {
  try {
    const value = JSON.parse(body.toString());
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
