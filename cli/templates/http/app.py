"""A server of its own: it listens on $PORT, answers several calls at a time, and keeps what it needs between them."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = urlsplit(self.path)
        name = parse_qs(asked.query).get("name", ["world"])[0]
        print("saying hello to", name, flush=True)
        body = json.dumps({"message": f"Hello, {name}!", "path": asked.path}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", int(os.environ["PORT"])), Hello).serve_forever()
