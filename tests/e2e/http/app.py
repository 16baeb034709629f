import base64, hashlib, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

at_a_time = {"now": 0, "most": 0}
lock = threading.Lock()
gate = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, text, *args):
        print("log", text % args, flush=True)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        match url.path:
            case "/echo":
                self.reply(200, self.body(), [("Content-Type", self.headers.get("Content-Type", "none"))])
            case "/head":
                text = self.command + " " + self.path + "\n"
                text += "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items())
                self.reply(200, text.encode(), [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Keep-Alive", "timeout=5"), ("X-Fn-Start", "forged")])
            case "/env":
                self.reply(200, "\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())).encode())
            case "/many":
                self.reply(200, b"", [(f"x-h-{n}", str(n)) for n in range(int(query["n"][0]))])
            case "/status":
                self.reply(int(query["s"][0]))
            case "/pid":
                self.reply(200, str(os.getpid()).encode())
            case "/together":
                with lock:
                    at_a_time["now"] += 1
                    at_a_time["most"] = max(at_a_time["most"], at_a_time["now"])
                    if at_a_time["now"] == int(query["n"][0]):
                        gate.set()
                gate.wait(20)
                with lock:
                    at_a_time["now"] -= 1
                self.reply(200, str(at_a_time["most"]).encode())
            case "/events":
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.chunk(b"data: first\n\n")
                gate.wait(20)
                self.chunk(b"data: second\n\n")
                self.wfile.write(b"0\r\n\r\n")
            case "/trailers":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Trailer", "x-sum")
                self.end_headers()
                self.chunk(b"body")
                self.wfile.write(b"0\r\nx-sum: 4\r\nx-unnamed: 1\r\n\r\n")
            case "/open":
                gate.set()
                self.reply(200, b"opened")
            case "/sleep":
                time.sleep(60)
            case "/hang-up":
                self.close_connection = True
                self.connection.close()
            case "/nonsense":
                self.wfile.write(b"this is no HTTP\r\n\r\n")
                self.close_connection = True
            case "/short":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"too little")
                self.close_connection = True
            case "/early":
                self.reply(413, b"no need for it")
                self.wfile.flush()
                self.body()
            case "/refuse":
                # Little enough to be sent at once: what is unsent when it closes is lost.
                self.reply(413, b"too much" * 1000, [("Connection", "close")])
                self.close_connection = True
            case "/said":
                self.send_response(200)
                self.send_header("Content-Length", "9000000")
                self.end_headers()
                self.wfile.write(b"x" * int(query["n"][0]))
                self.close_connection = True
            case "/exit":
                os._exit(3)
            case "/socket":
                accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
                self.end_headers()
                self.frames()
            case "/unasked":
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.end_headers()
                self.close_connection = True
            case _:
                self.reply(404, b"not here")

    def frames(self):
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 0xF == 8:
                print("the socket ended", "without a word" if len(head) < 2 else "", flush=True)
                return
            length = head[1] & 0x7F
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes([head[0], len(data)]) + data)
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


print("listening on", os.environ["PORT"], flush=True)
Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
