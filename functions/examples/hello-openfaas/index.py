"""What an OpenFaaS template puts around a handler: a server on the port that it chose itself."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import handler


class Index(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = handler.handle(body.decode()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST


ThreadingHTTPServer(("127.0.0.1", 5000), Index).serve_forever()
