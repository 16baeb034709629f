"""Serves a WSGI app (PEP 3333) without a server.

Status and headers go out with the first bytes that the app gives, as the PEP demands, and each further chunk at once; where
the app tells the length of its reply, the last chunk goes together with the end.
"""

import io
import sys

requests = beside("request")


class Wsgi(shim.App):
    """A WSGI app."""

    def __init__(self, app, gate=None):
        self.app = app
        # Refuses requests by a status and a text.
        self.gate = gate
        self.threads = shim.lane_count() > 1

    def answer(self, call):
        request = requests.Request(call)
        reply = Reply(call)
        refused = self.gate and self.gate(request)
        if refused:
            reply.start_response(str(refused[0]), [("content-type", "text/plain; charset=utf-8")])
            reply.give(refused[1].encode() + b"\n")
            reply.end()
            return
        chunks = self.app(self.environ(request), reply.start_response)
        call.only_once()
        if chunks is None:
            raise shim.Failure("Runtime.MarshalError", "the app returned None instead of an iterable of bytes")
        try:
            for chunk in chunks:
                reply.give(chunk)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        reply.end()

    def environ(self, request):
        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": request.base().decode("latin-1"),
            "PATH_INFO": request.path().decode("latin-1"),
            "QUERY_STRING": request.query.decode("latin-1"),
            "REQUEST_URI": (request.raw_base + request.raw_path + (b"?" + request.query if request.query else b"")).decode("latin-1"),
            "SERVER_NAME": request.host,
            "SERVER_PORT": request.port,
            "SERVER_PROTOCOL": "HTTP/" + request.version,
            "REMOTE_ADDR": request.source_ip,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.scheme,
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": self.threads,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        environ["RAW_URI"] = environ["REQUEST_URI"]
        for name, value in request.lines:
            # `x_user` and `x-user` would be one variable, so that a caller could set what a proxy sets.
            if "_" in name:
                continue
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = "HTTP_" + key
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
        return environ


class Reply:
    """What the app has said so far."""

    def __init__(self, call):
        self.call = call
        self.status = None
        self.lines = []
        self.begun = False
        self.held = []
        self.left = None

    def start_response(self, status, headers, exc_info=None):
        if exc_info is not None:
            try:
                if self.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called a second time, without exc_info")
        code = status[:3]
        self.status = requests.final(int(code) if code.isdecimal() and status[3:4] in ("", " ") else status)
        self.lines = requests.reply_lines(headers)
        lengths = [value for name, value in self.lines if name.lower() == "content-length"]
        self.left = int(lengths[0]) if lengths and lengths[0].isdecimal() else None
        return self.give

    def give(self, data):
        """Takes a chunk; also the write() that start_response returns."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise shim.Failure("Runtime.MarshalError", f"the app gave {type(data).__name__} where WSGI wants bytes")
        # What is not bytes may have elements that are longer than a byte, and change before it is sent.
        data = bytes(data)
        if not data:
            return
        buffers = self.begin() + shim.wire.body_frames(self.call.seq, data)
        if self.left is not None:
            self.left -= len(data)
            if self.left <= 0:
                self.held += buffers
                return
        self.call.lane.send(self.held + buffers)
        self.held = []

    def begin(self):
        if self.status is None:
            raise AssertionError("the app gave its reply without having called start_response")
        if self.begun:
            return []
        self.begun = True
        return self.call.head_frame(self.status, self.lines)

    def end(self):
        buffers = self.held + self.begin()
        shim.flush()
        self.call.only_once()
        self.call.lane.send(buffers + self.call.end())
