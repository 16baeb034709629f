// A small JSON API about version numbers.

import semver from 'semver';

const routes = [
  ['GET', /^\/$/, () => ({ routes: routes.map(([method, path]) => `${method} ${path.source}`) })],
  ['GET', /^\/versions\/([^/]+)$/, (_request, version) => describe(version)],
  ['GET', /^\/versions\/([^/]+)\/satisfies\/([^/]+)$/, (_request, version, range) => ({
    version: valid(version),
    range,
    satisfies: semver.satisfies(version, range),
  })],
  ['POST', /^\/sort$/, ({ body }) => {
    if (!Array.isArray(body)) throw new Refusal(400, 'send a JSON list of versions');
    return { sorted: semver.sort(body.map(valid)) };
  }],
];

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function valid(version) {
  const parsed = semver.valid(version);
  if (!parsed) throw new Refusal(422, `${JSON.stringify(version)} is not a version`);
  return parsed;
}

function describe(version) {
  const { major, minor, patch, prerelease } = semver.parse(valid(version));
  return { version, major, minor, patch, prerelease, next: semver.inc(version, 'patch') };
}

function bodyOf(event) {
  if (!event.body) return undefined;
  const text = event.isBase64Encoded ? Buffer.from(event.body, 'base64').toString() : event.body;
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, 'the body is not JSON');
  }
}

function answer(statusCode, value, headers = {}) {
  return { statusCode, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

export const handler = async (event) => {
  const { method, path } = event.requestContext.http;
  const matching = routes.filter(([, pattern]) => pattern.test(path));
  const route = matching.find(([allowed]) => allowed === method);
  if (!matching.length) return answer(404, { error: `there is nothing at ${path}` });
  if (!route) return answer(405, { error: `${method} is not allowed` }, { allow: matching.map(([m]) => m).join(', ') });
  try {
    const [, pattern, action] = route;
    const parts = pattern.exec(path).slice(1).map(decodeURIComponent);
    return answer(200, action({ body: bodyOf(event) }, ...parts));
  } catch (error) {
    if (error instanceof Refusal) return answer(error.status, { error: error.message });
    if (error instanceof URIError) return answer(400, { error: 'the path is not encoded well' });
    throw error;
  }
};
