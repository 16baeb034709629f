// How the function named by a handler is found, loaded and called: from "dir/file.function" to what takes calls.

'use strict';

const { existsSync } = require('node:fs');
const path = require('node:path');

const { Failure, framesOf } = require('./failure.cjs');

const env = process.env;
// How a function begins whose first parameter is a request. Only such a one is looked at more closely, in choice.mjs.
const TAKES_REQUEST = /^(?:async\b)?\s*(?:function\b)?[\s*]*[\w$]*\s*\(?\s*_*req/i;
/** What serves a call by itself stands below this key. */
const SERVE = Symbol('fn.serve');

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

/** The function of a handler, or an object whose SERVE takes calls. `tools` is what those need who make one. */
async function load(spec, tools) {
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
      const serve = await registered(file, exported, found, kind, tools);
      if (serve) return { [SERVE]: serve };
    }
  }
  if (typeof found === 'function' && (signature === 'event' || (signature === 'auto' && !byDefault && isPlain(found)))) return found;
  if (typeof found !== 'function' && !isApp(found)) throw missingExport(loaded, exported, file, found);
  const { choose } = await import('./choice.mjs');
  const serve = await choose(found, byDefault, signature, tools);
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

module.exports = { SERVE, load };
