const assert = require('node:assert');
const { InvokeWithResponseStreamCommand, LambdaClient } = require('@aws-sdk/client-lambda');

async function call(event) {
  const client = new LambdaClient({ maxAttempts: 1 });
  const Payload = JSON.stringify(event);
  const answer = await client.send(new InvokeWithResponseStreamCommand({ FunctionName: 'stream-node', Payload }));
  const [chunks, ends] = [[], []];
  for await (const message of answer.EventStream) {
    if (message.PayloadChunk) chunks.push(Buffer.from(message.PayloadChunk.Payload));
    else ends.push(message.InvokeComplete);
  }
  return [Buffer.concat(chunks).toString(), ends];
}

(async () => {
  assert.deepStrictEqual(await call({ pieces: ['one', 'two'] }), ['onetwo', [{}]]);
  const [text, [end]] = await call({ pieces: ['half'], fail: 'late' });
  assert.deepStrictEqual([text, end.ErrorCode], ['half', 'Error']);
  assert.strictEqual(JSON.parse(end.ErrorDetails).errorMessage, 'late');
})();
