"""Runs a Python handler behind the frame protocol of the platform.

Lanes are inherited stream sockets on the file descriptors 3, 4, ... (FN_LANES of them), see wire.py; what _HANDLER names is
found by loading.py. This file imports as little as it can, because every import is paid by each cold start, and it
never imports threading or logging for itself, because their hooks slow down a fork. What only errors or unusual results
need is imported when they happen.
"""

import os
import sys
import time

STARTED = time.monotonic_ns()

import json  # noqa: E402  (its import belongs to the measured start)

MAX_RESULT = 6 * 1024 * 1024

HOME = os.path.dirname(os.path.abspath(__file__)) + "/"
THIS = sys.modules[__name__]


def beside(name):
    """A file of ours that lies beside this one, as a module that knows this one as `shim`. It takes no name among the
    modules, because all names belong to the function."""
    module = type(sys)(name)
    module.__file__, module.shim, module.beside = HOME + name + ".py", THIS, beside
    with open(module.__file__, encoding="utf-8") as source:
        exec(compile(source.read(), module.__file__, "exec"), module.__dict__)
    return module


wire = beside("wire")


class Boot:
    """The identity of this process. A fork must call renew() in the child before it serves."""

    id = ""

    @classmethod
    def renew(cls):
        cls.id = os.urandom(16).hex()


class Failure(Exception):
    """A failure that the platform words itself: a Runtime.* type, a message, and the frames that explain it."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


# --- what handlers see ----------------------------------------------------------------------------------------------


class Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class ClientContext:
    """What the caller of an invocation says about itself, with the names that Lambda gives the parts."""

    def __init__(self, text):
        told = json.loads(text)
        client = told.get("client")
        self.client = Client(client) if isinstance(client, dict) else None
        self.custom = told.get("custom")
        self.env = told.get("env")


class Client:
    def __init__(self, told):
        for name in ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"):
            setattr(self, name, told.get(name))


class Context:
    """The second argument of a handler, with the names that Lambda gives it."""

    function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
    memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
    log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
    client_context = None

    def __init__(self, invoke):
        self.aws_request_id = invoke["request_id"]
        self.invoked_function_arn = invoke["arn"]
        self.identity = Identity()
        if invoke.get("client_context"):
            self.client_context = ClientContext(invoke["client_context"])
        self._deadline_ms = invoke["deadline_ms"]

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - time.time_ns() // 1_000_000)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return f"Context(aws_request_id={self.aws_request_id!r}, function_name={self.function_name!r})"


# --- failures -------------------------------------------------------------------------------------------------------


def clean(text, limit=65536):
    """Text that can travel as UTF-8, cut to a size that fits a frame."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[:limit] + "..."


def is_ours(filename):
    return filename.startswith(HOME) or filename.startswith("<frozen ")


def describe(error):
    """An exception as the content of an ERROR frame; its traceback, causes included, goes to the log."""
    if isinstance(error, Failure):
        kind, message, trace = error.kind, str(error), error.trace
        tell(f"[ERROR] {kind}: {message}\n" + "".join(trace))
    else:
        import traceback

        kind = type(error).__name__
        try:
            message = str(error)
        except Exception:
            message = "<the exception has no text>"
        seen = traceback.TracebackException(type(error), error, error.__traceback__)
        strip_ours(seen)
        trace = seen.stack.format()
        tell(f"[ERROR] {kind}: {message}\n" + "".join(seen.format()))
    return {
        "errorMessage": clean(message),
        "errorType": clean(kind, 256),
        "stackTrace": [clean(line, 4096) for line in trace[-64:]],
    }


def strip_ours(seen):
    """Removes frames of this file and of the import system from a traceback and from its causes."""
    import traceback

    while seen is not None:
        seen.stack = traceback.StackSummary.from_list([entry for entry in seen.stack if not is_ours(entry.filename)])
        seen = seen.__cause__ or seen.__context__


def tell(text):
    """Writes to the log, also when the function has closed its standard error or put something else in its place."""
    for write in (lambda: sys.stderr.write(text), lambda: os.write(2, text.encode("utf-8", "replace"))):
        try:
            write()
            return
        except Exception:
            pass


def failure_frame(kind, seq, content):
    """The frame of a failure, without the trace if that has more text than fits."""
    data = wire.dumps(content)
    return wire.frame(kind, seq, data if len(data) <= wire.MAX_PAYLOAD else wire.dumps({**content, "stackTrace": []}))


def flush():
    """Puts what was printed into the log before the host is told that the call is over."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass  # Closed or replaced by the function; then there is nothing to flush.


def leave(status):
    """Ends the process at once, whatever threads the function left behind."""
    flush()
    os._exit(status)


loading = beside("loading")


def adopt_logging():
    """Gives the root logger a handler once the function uses logging, because Lambda's root logger has one."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "getLogger"):
        return False
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("[%(levelname)s] %(name)s: %(message)s"))
        root.addHandler(handler)
    return True


# --- invocations ----------------------------------------------------------------------------------------------------


def marshal(value):
    # NaN and Infinity are not JSON: the caller could not read them.
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise Failure("Runtime.MarshalError", f"the result can't be written as JSON: {error}") from error


def is_stream(body):
    if body is None or isinstance(body, (str, dict, list, tuple, int, float)):
        return False
    return isinstance(body, (bytes, bytearray, memoryview)) or any(
        hasattr(body, name) for name in ("__next__", "__anext__", "__iter__", "__aiter__")
    )


class Invocation:
    """One call, from INVOKE to END or ERROR."""

    def __init__(self, server, seq, invoke, data):
        self.server = server
        self.lane = server.lane
        self.seq = seq
        self.invoke = invoke
        self.data = data

    def event(self):
        """What the function is called with."""
        try:
            return json.loads(self.data.decode())
        except (ValueError, RecursionError) as error:
            raise Failure("Runtime.UnmarshalError", f"the event can't be read: {error}") from None

    def run(self):
        self.started = time.perf_counter_ns()
        self.pid = os.getpid()
        try:
            if self.server.app is not None:
                self.server.app.answer(self)
                return
            result = self.server.finish(self.server.handler(self.event(), Context(self.invoke)))
            self.only_once()
            if isinstance(result, dict) and is_stream(result.get("body")):
                self.stream(result)
            else:
                self.answer(result)
        except BaseException as error:
            self.fail(error)

    def only_once(self):
        """Ends a process that the handler forked and that came back as well: only the first may answer."""
        if os.getpid() != self.pid:
            os._exit(0)

    def end(self):
        elapsed = (time.perf_counter_ns() - self.started) // 1000
        return wire.frame(wire.END, self.seq, b'{"handler_us":%d}' % elapsed)

    def boot(self):
        return b'{"boot_id":"%s"}' % Boot.id.encode()

    def answer(self, result):
        data = marshal(result)
        if len(data) > MAX_RESULT:
            message = f"the result has {len(data)} bytes, more than {MAX_RESULT}; return a generator as body to stream it"
            raise Failure("Function.ResponseSizeTooLarge", message)
        flush()
        self.lane.send(wire.frame(wire.RESULT, self.seq, self.boot()) + wire.body_frames(self.seq, data) + self.end())

    def stream(self, result):
        head = self.head(result)
        chunks = self.server.iterate(result["body"])
        # The head waits for the first chunk, so that a generator that fails at once is still a clean error.
        pending = head + wire.body_frames(self.seq, next(chunks, b""))
        for chunk in chunks:
            self.lane.send(pending)
            pending = wire.body_frames(self.seq, chunk)
        flush()
        self.lane.send(pending + self.end())

    def head(self, result):
        if result.get("isBase64Encoded"):
            raise Failure("Runtime.MarshalError", "a body that streams can't be base64: yield bytes instead")
        status, headers = result.get("statusCode", 200), result.get("headers") or {}
        if isinstance(status, str) and status.isdecimal():
            status = int(status)
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
            raise Failure("Runtime.MarshalError", f"statusCode is {status!r:.40} instead of a whole number from 200 to 599")
        cookies = result.get("cookies") or []
        if not isinstance(headers, dict) or not isinstance(cookies, (list, tuple)):
            raise Failure("Runtime.MarshalError", "headers is not a dict or cookies is not a list")
        lines = [[clean(str(key)), clean(header_value(value))] for key, value in headers.items() if value is not None]
        return self.head_frame(int(status), lines, [clean(str(cookie)) for cookie in cookies])

    def head_frame(self, status, lines, cookies=()):
        """The HEAD for a status and header lines, which are pairs."""
        data = wire.dumps({"boot_id": Boot.id, "status": status, "headers": lines, "cookies": cookies})
        if len(data) > wire.MAX_PAYLOAD:
            raise Failure("Runtime.MarshalError", "the headers of the reply are over 1 MiB")
        return wire.frame(wire.HEAD, self.seq, data)

    def fail(self, error):
        """Says what went wrong; ends the process if that was a wish to end it."""
        if os.getpid() != self.pid:
            os._exit(1)
        exit_status = None
        if isinstance(error, SystemExit):
            exit_status = status_of(error)
            error = Failure("Runtime.ExitError", f"the handler called exit({error.code!r})")
        content = {"boot_id": Boot.id}
        content.update(describe(error))
        flush()
        self.lane.send(failure_frame(wire.ERROR, self.seq, content))
        if exit_status is not None:
            leave(exit_status)


def header_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def status_of(error):
    """What the interpreter would exit with."""
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def to_bytes(chunk):
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, (bytearray, memoryview)):
        # Its owner may fill it anew before it is sent.
        return bytes(chunk)
    raise Failure("Runtime.MarshalError", f"a body that streams yielded {type(chunk).__name__} instead of str or bytes")


class App:
    """What the function has instead of a handler. The kinds of it lie beside this file and are loaded when one is there."""

    def servers(self, lanes):
        """What serves the lanes: each has a serve() for a thread of its own. Raises when the app does not start."""
        return [Server(lane, self, len(lanes) == 1) for lane in lanes]

    def answer(self, call):
        """Answers an invocation with HEAD, BODY and END, or raises."""
        raise NotImplementedError


class Server:
    """Serves the invocations of one lane, one after the other."""

    def __init__(self, lane, handler, alone):
        self.lane = lane
        self.handler = handler
        self.app = handler if isinstance(handler, App) else None
        self.alone = alone
        self.loop = None
        self.logging_adopted = adopt_logging()

    def serve(self):
        """Returns when the host has closed the lane."""
        while True:
            call = self.next_call()
            if call is None:
                return
            if not self.logging_adopted:
                self.logging_adopted = adopt_logging()
            call.run()

    def next_call(self):
        received = self.lane.receive()
        if received is None:
            return None
        kind, seq, payload = received
        if kind != wire.INVOKE:
            leave(70)  # The host never does this; without agreement on the frames there is nothing left to say.
        invoke = json.loads(payload)
        parts = []
        while True:
            received = self.lane.receive()
            if received is None:
                return None
            kind, _, payload = received
            if kind == wire.REQUEST_BODY:
                parts.append(payload)
            elif kind == wire.REQUEST_END:
                break
            else:
                leave(70)
        if self.alone:
            # One variable for the process can't tell the traces of concurrent calls apart.
            if "trace_id" in invoke:
                os.environ["_X_AMZN_TRACE_ID"] = invoke["trace_id"]
            else:
                os.environ.pop("_X_AMZN_TRACE_ID", None)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return Invocation(self, seq, invoke, data)

    def finish(self, result):
        """The result itself, or what it becomes when awaited."""
        return self.run_async(result) if hasattr(result, "__await__") else result

    def run_async(self, awaitable):
        import asyncio

        async def wait():
            return await awaitable

        if self.loop is None:
            # One loop for all calls, so that clients which the function keeps stay usable.
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(wait())

    def iterate(self, body):
        """Chunks of a streamed body as bytes."""
        if isinstance(body, (bytes, bytearray, memoryview)):
            yield bytes(body)
            return
        if hasattr(body, "__anext__") or hasattr(body, "__aiter__"):
            chunks = body.__aiter__()
            while True:
                try:
                    chunk = self.run_async(chunks.__anext__())
                except StopAsyncIteration:
                    return
                yield to_bytes(chunk)
        for chunk in body:
            yield to_bytes(chunk)


# --- start ----------------------------------------------------------------------------------------------------------


def prepare():
    """What has to be so before the function's own code is loaded."""
    # Python puts the directory of its first file first; a function's own modules must be found there instead.
    root = os.getcwd()
    sys.path[0:1] = [] if root in sys.path[1:] else [root]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)


def lane_count():
    return int(os.environ.get("FN_LANES", "1"))


def refuse(error):
    """Says why the function can't be loaded, and ends."""
    failure = describe(error)
    flush()
    wire.Lane(3).send(failure_frame(wire.INIT_ERROR, 0, failure))
    leave(1)


def announce(handler, began):
    """Says that the handler is loaded, which began at a time of the monotonic clock. Returns the lanes' servers. Raises when
    the handler is an app that does not start."""
    Boot.renew()
    lanes = [wire.Lane(3 + number) for number in range(lane_count())]
    if isinstance(handler, App):
        servers = handler.servers(lanes)
    else:
        servers = [Server(lane, handler, len(lanes) == 1) for lane in lanes]
    flush()
    runtime = "python" + ".".join(map(str, sys.version_info[:3]))
    init_us = (time.monotonic_ns() - began) // 1000
    ready = b'{"boot_id":"%s","runtime":"%s","init_us":%d}' % (Boot.id.encode(), runtime.encode(), init_us)
    lanes[0].send(wire.frame(wire.READY, 0, ready))
    return servers


def serve(servers):
    """Serves all lanes until the host closes the first, and ends."""
    if len(servers) > 1:
        import threading

        for server in servers[1:]:
            threading.Thread(target=attend, args=(server,), daemon=True).start()
    attend(servers[0])
    leave(0)


def attend(server):
    try:
        server.serve()
    except (OSError, EOFError):
        leave(71)  # The lane is gone, by the host or by the function; there is no one to tell.


def main():
    prepare()
    try:
        servers = announce(loading.load(os.environ.get("_HANDLER", "")), STARTED)
    except BaseException as error:
        refuse(error)
    serve(servers)


if __name__ == "__main__":
    main()
