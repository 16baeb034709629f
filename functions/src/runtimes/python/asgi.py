"""Serves an ASGI app (version 3 of the specification, HTTP only) without a server.

One event loop serves all lanes, so that what the app leaves running goes on between calls and calls at the same time share
what the app has opened at its start. A lane is read while the loop waits for that, because the host has a whole call at
hand when it begins to write one; it is written to only as far as it takes bytes, because a caller may be slow.

    lifespan.startup -> READY -> call, call, ... -> the host closes the lane -> lifespan.shutdown

The startup runs in each instance and not in a template, whose forks would share the sockets that it opens.
"""

import asyncio
import time

import _socket

requests = beside("request")

CLOSING = 5.0


class Asgi(shim.App):
    """An ASGI app."""

    def __init__(self, app, gate=None):
        self.app = app
        # Refuses requests by a status and a text.
        self.gate = gate or refuse_websockets

    def servers(self, lanes):
        return [Crew(self.app, self.gate, lanes)]


def refuse_websockets(request):
    if not request.header("sec-websocket-key"):
        return None
    shim.tell("[ERROR] a caller asked for a websocket, which functions can't serve: answered 501\n")
    return 501, "websockets are not served here"


class Crew:
    """The event loop and all lanes. Made when the app has started."""

    def __init__(self, app, gate, lanes):
        self.app = app
        self.gate = gate
        self.lanes = [shim.Server(lane, None, len(lanes) == 1) for lane in lanes]
        for server in self.lanes:
            server.socket = _socket.socket(fileno=server.lane.fd)
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.lifespan = Lifespan(app)
        self.loop.run_until_complete(self.lifespan.start())

    def serve(self):
        """Returns when the host has closed the first lane."""
        self.loop.run_until_complete(self.work())

    async def work(self):
        first, *others = [self.loop.create_task(self.attend(server)) for server in self.lanes]
        # One that fails has no one to tell, and must not look as if it waited for calls.
        for other in others:
            other.add_done_callback(lambda task: task.cancelled() or task.exception() and shim.leave(71))
        await first
        await self.lifespan.stop()

    async def attend(self, server):
        while True:
            if not server.lane.buffer:
                await self.readable(server.lane.fd)
            call = server.next_call()
            if call is None:
                return
            if not server.logging_adopted:
                server.logging_adopted = shim.adopt_logging()
            # Of its own task, because a call must not see the context variables of the one before.
            await self.loop.create_task(Exchange(self, call).run())

    async def readable(self, fd):
        ready = self.loop.create_future()
        self.loop.add_reader(fd, settle, ready)
        try:
            await ready
        finally:
            self.loop.remove_reader(fd)

    async def writable(self, fd):
        ready = self.loop.create_future()
        self.loop.add_writer(fd, settle, ready)
        try:
            await ready
        finally:
            self.loop.remove_writer(fd)


def settle(future, value=None):
    if not future.done():
        future.set_result(value)


class Exchange:
    """One call: what the app is given, and what it has said so far."""

    def __init__(self, crew, call):
        self.crew = crew
        self.call = call
        self.status = None
        self.lines = []
        self.begun = False
        self.complete = asyncio.Event()
        self.asked = False
        self.held = []
        self.sending = asyncio.Lock()
        self.socket = call.server.socket

    async def run(self):
        call = self.call
        call.started = time.perf_counter_ns()
        call.pid = shim.os.getpid()
        try:
            self.request = requests.Request(call)
            refused = self.crew.gate(self.request)
            if refused:
                headers = [(b"content-type", b"text/plain; charset=utf-8")]
                await self.send({"type": "http.response.start", "status": refused[0], "headers": headers})
                await self.send({"type": "http.response.body", "body": refused[1].encode() + b"\n"})
            else:
                await self.crew.app(self.scope(), self.receive, self.send)
            call.only_once()
            if not self.complete.is_set():
                how = "in the middle of its reply" if self.status else "without a reply"
                raise shim.Failure("Runtime.IncompleteReply", f"the app returned {how}")
        except BaseException as error:
            # A framework may raise again what it has answered with a page of status 500.
            if not self.complete.is_set() or isinstance(error, SystemExit):
                await self.drain()
                call.fail(error)
                return
            shim.describe(error)
        shim.flush()
        self.held += call.end()
        await self.drain()

    def scope(self):
        request = self.request
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": {"2.0": "2", "3.0": "3"}.get(request.version, request.version),
            "method": request.method,
            "scheme": request.scheme,
            # With what stands before it, as servers that are told their root path have it.
            "path": (request.base() + request.path()).decode("utf-8", "replace"),
            "raw_path": request.raw_base + request.raw_path,
            "query_string": request.query,
            "root_path": request.base().decode("utf-8", "replace"),
            "headers": [(name.encode("latin-1"), value) for name, value in request.lines],
            "client": (request.source_ip, 0),
            "server": (request.host, int(request.port)),
        }
        if self.crew.lifespan.state is not None:
            scope["state"] = self.crew.lifespan.state.copy()
        return scope

    async def receive(self):
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.request.body, "more_body": False}
        await self.complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        kind = message["type"]
        if kind == "http.response.start" and self.status is None:
            self.status = requests.final(message["status"])
            self.lines = requests.reply_lines(message.get("headers") or ())
        elif kind == "http.response.body" and self.status is not None and not self.complete.is_set():
            self.give(message.get("body") or b"")
            if message.get("more_body"):
                await self.drain()
            else:
                self.complete.set()
                # The app mostly returns in this very turn of the loop; then its last bytes go out with the end.
                self.crew.loop.call_soon(self.hurry)
        else:
            raise RuntimeError(f"the app sent {kind!r}, which may not come now")

    def give(self, data):
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise shim.Failure("Runtime.MarshalError", f"the app sent a body of {type(data).__name__} where ASGI wants bytes")
        if not self.begun:
            self.begun = True
            self.held += self.call.head_frame(self.status, self.lines)
        # What is not bytes may have elements that are longer than a byte, and change before it is sent.
        self.held += shim.wire.body_frames(self.call.seq, bytes(data))

    def hurry(self):
        if self.held:
            self.crew.loop.create_task(self.drain())

    async def drain(self):
        """Sends what is held, and waits as long as the host takes nothing. What an app that gives up waiting leaves in the
        middle of a frame stays held: the next frame has to come behind the rest of it."""
        async with self.sending:
            while self.held:
                try:
                    written = self.socket.sendmsg(self.held[:1000], (), _socket.MSG_DONTWAIT)
                except BlockingIOError:
                    await self.crew.writable(self.call.lane.fd)
                    continue
                while self.held and written >= len(self.held[0]):
                    written -= len(self.held.pop(0))
                if written:
                    self.held[0] = memoryview(self.held[0])[written:]


class Lifespan:
    """The app's start and end. An app that knows none raises, and is served without."""

    def __init__(self, app):
        self.app = app
        self.state = {}
        self.events = asyncio.Queue()

    async def start(self):
        loop = asyncio.get_running_loop()
        self.started, self.stopped = loop.create_future(), loop.create_future()
        self.events.put_nowait({"type": "lifespan.startup"})
        self.task = loop.create_task(self.run())
        failed = await self.started
        if failed is not None:
            raise failed

    async def stop(self):
        """Within bounds: the process is about to be killed."""
        if self.state is not None and not self.task.done():
            self.events.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait([self.stopped], timeout=CLOSING)

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.events.get, self.send)
        except BaseException as error:
            if isinstance(error, SystemExit):
                error = shim.Failure("Runtime.ExitError", f"the app called exit({error.code!r}) while it started")
                settle(self.started, error)
            elif self.started.done() and not self.failed():
                shim.describe(error)
            else:
                self.state = None
        finally:
            settle(self.started)
            settle(self.stopped)

    def failed(self):
        return self.started.result() is not None

    async def send(self, message):
        kind, text = message["type"], message.get("message", "")
        if kind == "lifespan.startup.complete":
            settle(self.started)
        elif kind == "lifespan.startup.failed":
            # Frameworks put a whole traceback here, whose last line says it.
            shim.tell(text + "\n")
            last = text.strip().rpartition("\n")[2] or "it did not say why"
            settle(self.started, shim.Failure("Runtime.StartupFailed", f"the app did not start: {last}"))
        elif kind == "lifespan.shutdown.complete":
            settle(self.stopped)
        elif kind == "lifespan.shutdown.failed":
            shim.tell(f"[ERROR] the app did not shut down: {text}\n")
            settle(self.stopped)
        else:
            raise RuntimeError(f"the app sent {kind!r} as an answer to its lifespan")
