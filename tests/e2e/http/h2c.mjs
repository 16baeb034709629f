import http2 from 'node:http2';
import { Readable } from 'node:stream';

const together = [];

function answer(stream, headers) {
  const url = new URL(headers[':path'], 'http://x');
  switch (url.pathname) {
    case '/head':
      stream.respond({ ':status': 200, 'content-type': 'application/json', 'set-cookie': ['a=1', 'b=2'] });
      return stream.end(JSON.stringify(headers));
    case '/echo':
      stream.respond({ ':status': 200 });
      return stream.pipe(stream);
    case '/pid':
      stream.respond({ ':status': 200 });
      return stream.end(String(process.pid));
    case '/together': {
      together.push(stream);
      if (together.length < Number(url.searchParams.get('n'))) return;
      const sessions = new Set(together.map((one) => one.session)).size;
      for (const one of together.splice(0)) {
        one.respond({ ':status': 200 });
        one.end(String(sessions));
      }
      return;
    }
    case '/grpc': {
      const pieces = [];
      stream.on('data', (piece) => pieces.push(piece));
      stream.on('end', () => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        const trailers = { 'grpc-status': '0', 'grpc-message': 'fine', 'x-fn-start': 'forged', 'x-unnamed': '1' };
        stream.on('wantTrailers', () => stream.sendTrailers(trailers));
        stream.end(Buffer.concat(pieces));
      });
      return;
    }
    case '/refuse':
      stream.respond({ ':status': 413 });
      return stream.end('too much');
    case '/reset':
      stream.respond({ ':status': 200 });
      return stream.write('some of it', () => stream.destroy(new Error('reset')));
    case '/big':
      stream.respond({ ':status': 200 });
      console.log('big');
      return Readable.from(Array(128).fill(Buffer.alloc(64 << 10))).pipe(stream);
    case '/never':
      console.log('never');
      stream.on('close', () => console.log('left'));
      return;
    case '/leave':
      console.log('goodbye');
      return process.exit(3);
    default:
      stream.respond({ ':status': 404 });
      return stream.end('not here');
  }
}

const server = http2.createServer();
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  answer(stream, headers);
});
server.listen(Number(process.env.PORT), '127.0.0.1');
