"""Runs a Python handler behind the frame protocol of the platform.

Lanes are inherited stream sockets on the file descriptors 3, 4, ... (FN_LANES of them); the frames are described where
the host decodes them. This file imports as little as it can, because every import is paid by each cold start, and it
never imports threading or logging for itself, because their hooks slow down a fork. What only errors or unusual results
need is imported when they happen.
"""

import os
import sys
import time

STARTED = time.monotonic_ns()

import json  # noqa: E402  (its import belongs to the measured start)

# What of a handler says that it is an app, see choice.py.
APP_NAMES = ("app", "application")
ENVIRON_NAMES = ("environ", "env")
ANY_NUMBER = 0x04 | 0x08

HEADER = 12
MAX_PAYLOAD = 1 << 20
MAX_RESULT = 6 * 1024 * 1024
READ_SIZE = 1 << 16

INVOKE, REQUEST_BODY, REQUEST_END, CANCEL = 1, 2, 3, 4
READY, INIT_ERROR, RESULT, HEAD, BODY, END, ERROR = 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87

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


# --- frames ---------------------------------------------------------------------------------------------------------


def frame(kind, seq, payload=b""):
    """A frame as buffers to write."""
    header = len(payload).to_bytes(4, "little") + seq.to_bytes(4, "little") + bytes((kind, 0, 0, 0))
    return [header, payload] if payload else [header]


def body_frames(seq, data):
    """BODY frames for bytes of any length."""
    if len(data) <= MAX_PAYLOAD:
        return frame(BODY, seq, data) if data else []
    view, buffers = memoryview(data), []
    for start in range(0, len(data), MAX_PAYLOAD):
        buffers += frame(BODY, seq, view[start : start + MAX_PAYLOAD])
    return buffers


def dumps(value):
    return json.dumps(value).encode()


class Lane:
    """One socket to the host."""

    def __init__(self, fd):
        self.fd = fd
        self.buffer = b""
        os.set_inheritable(fd, False)

    def take(self, size):
        """Exactly size bytes; None when the host has closed the lane."""
        have = len(self.buffer)
        if have < size and size >= READ_SIZE:
            return self.take_large(size)
        while have < size:
            more = os.read(self.fd, READ_SIZE)
            if not more:
                return None
            self.buffer = self.buffer + more if have else more
            have = len(self.buffer)
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def take_large(self, size):
        """Reads straight into one buffer, so that a body of megabytes is not copied at every read."""
        taken = bytearray(size)
        view = memoryview(taken)
        have = len(self.buffer)
        view[:have], self.buffer = self.buffer, b""
        while have < size:
            count = os.readv(self.fd, [view[have:]])
            if not count:
                return None
            have += count
        return taken

    def receive(self):
        """The next frame as (kind, seq, payload); None when the host has closed the lane."""
        header = self.take(HEADER)
        if header is None:
            return None
        size = int.from_bytes(header[0:4], "little")
        payload = self.take(size) if size else b""
        if payload is None:
            return None
        return header[8], int.from_bytes(header[4:8], "little"), payload

    def send(self, buffers):
        """Writes everything; one system call when the socket takes it."""
        buffers = [memoryview(buffer) for buffer in buffers]
        while buffers:
            # IOV_MAX is 1024; a reply has far fewer buffers unless its body is over half a gigabyte.
            written = os.writev(self.fd, buffers[:1000])
            while buffers and written >= len(buffers[0]):
                written -= len(buffers.pop(0))
            if written:
                buffers[0] = buffers[0][written:]


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
    data = dumps(content)
    return frame(kind, seq, data if len(data) <= MAX_PAYLOAD else dumps({**content, "stackTrace": []}))


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


# --- loading --------------------------------------------------------------------------------------------------------


def module_name(spec):
    """The module of what _HANDLER names."""
    return spec.rpartition(".")[0].replace("/", ".")


def load(spec):
    """What _HANDLER names: a function of event and context, or an App."""
    module, name = module_name(spec), spec.rpartition(".")[2]
    if not name or not module.strip("."):
        raise Failure("Runtime.MalformedHandlerName", f'handler {spec!r} does not have the form "module.function"')
    signature = os.environ.get("FN_SIGNATURE", "auto")
    if signature in ("auto", "http", "cloudevent"):
        source = source_of(module)
        if signature != "auto" or is_framework(source, name):
            return beside("framework").load(module, name, source, signature)
    loaded = imported(module, lambda: __import__(module) and sys.modules[module])
    handler = getattr(loaded, name, None)
    if handler is None:
        raise missing_function(loaded, name)
    if not callable(handler):
        raise Failure("Runtime.HandlerNotFound", f"{name} in {module} is a {type(handler).__name__}, not a function")
    if signature == "event" or (signature == "auto" and is_plain(handler, name)):
        return handler
    return beside("choice").choose(handler, name, signature)


def source_of(module):
    """The file of a module of the function; None for a module that comes from elsewhere."""
    place = module.replace(".", "/")
    return next((file for file in (place + ".py", place + "/__init__.py") if os.path.isfile(file)), None)


def is_framework(source, name):
    """Whether the function is one of the Functions Framework, see framework.py."""
    if source is None:
        return False
    if "FUNCTION_SIGNATURE_TYPE" in os.environ:
        return True
    with open(source, encoding="utf-8", errors="replace") as file:
        text = file.read()
    return ("functions_framework" in text or "request" in text) and beside("framework").is_meant(text, name)


def imported(module, act):
    """What act returns, which imports the module. Its failures get the platform's words."""
    try:
        return act()
    except ModuleNotFoundError as error:
        raise missing_module(error, module) from None
    except SyntaxError as error:
        raise syntax_error(error) from None
    except SystemExit as error:
        raise Failure("Runtime.ExitError", f"{module} called exit({error.code!r}) while it was imported") from None


def is_plain(handler, name):
    """Whether this is a function of two parameters that nothing marks as those of WSGI. All else is looked at more closely."""
    code = getattr(handler, "__code__", None)
    if code is None or code.co_argcount != 2 or code.co_flags & ANY_NUMBER or name in APP_NAMES:
        return False
    return code.co_varnames[0] not in ENVIRON_NAMES and not code.co_varnames[1].startswith("start_resp")


def missing_module(error, module):
    wanted = error.name or ""
    if wanted and (module == wanted or module.startswith(wanted + ".")):
        place = module.replace(".", "/")
        message = f"there is no module {module!r}: the function has neither {place}.py nor {place}/__init__.py"
        return Failure("Runtime.ImportModuleError", message)
    import traceback

    stack = [entry for entry in traceback.extract_tb(error.__traceback__) if not is_ours(entry.filename)]
    message = f"{module} needs the module {wanted!r}, which the function does not have; is it in requirements.txt?"
    return Failure("Runtime.ImportModuleError", message, traceback.format_list(stack))


def syntax_error(error):
    import traceback

    where = os.path.basename(error.filename or "?")
    message = f"{error.msg} ({where}, line {error.lineno})"
    return Failure("Runtime.UserCodeSyntaxError", message, traceback.format_exception_only(type(error), error))


def missing_function(module, name):
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    offered = "it has " + ", ".join(functions[:10]) if functions else "it defines no function"
    return Failure("Runtime.HandlerNotFound", f"{module.__name__} has no function {name!r}; {offered}")


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
        return frame(END, self.seq, b'{"handler_us":%d}' % elapsed)

    def boot(self):
        return b'{"boot_id":"%s"}' % Boot.id.encode()

    def answer(self, result):
        data = marshal(result)
        if len(data) > MAX_RESULT:
            message = f"the result has {len(data)} bytes, more than {MAX_RESULT}; return a generator as body to stream it"
            raise Failure("Function.ResponseSizeTooLarge", message)
        flush()
        self.lane.send(frame(RESULT, self.seq, self.boot()) + body_frames(self.seq, data) + self.end())

    def stream(self, result):
        head = self.head(result)
        chunks = self.server.iterate(result["body"])
        # The head waits for the first chunk, so that a generator that fails at once is still a clean error.
        pending = head + body_frames(self.seq, next(chunks, b""))
        for chunk in chunks:
            self.lane.send(pending)
            pending = body_frames(self.seq, chunk)
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
        data = dumps({"boot_id": Boot.id, "status": status, "headers": lines, "cookies": cookies})
        if len(data) > MAX_PAYLOAD:
            raise Failure("Runtime.MarshalError", "the headers of the reply are over 1 MiB")
        return frame(HEAD, self.seq, data)

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
        self.lane.send(failure_frame(ERROR, self.seq, content))
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
        if kind != INVOKE:
            leave(70)  # The host never does this; without agreement on the frames there is nothing left to say.
        invoke = json.loads(payload)
        parts = []
        while True:
            received = self.lane.receive()
            if received is None:
                return None
            kind, _, payload = received
            if kind == REQUEST_BODY:
                parts.append(payload)
            elif kind == REQUEST_END:
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


# --- rehearsal ------------------------------------------------------------------------------------------------------

EVENT = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/",
    "rawQueryString": "a=1&b=2",
    "headers": {"accept": "*/*", "content-type": "application/json", "host": "localhost", "user-agent": "rehearsal"},
    "queryStringParameters": {"a": "1", "b": "2"},
    "requestContext": {
        "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
        "requestId": "rehearsal",
        "time": "01/Jan/1970:00:00:00 +0000",
        "timeEpoch": 0,
    },
    "body": '{"name": "rehearsal"}',
    "isBase64Encoded": False,
}


def rehearse(times):
    """Runs whole invocations of a handler of ours, so that the memory they touch is there when a call comes. The function's
    own handler is never called with an invented event."""
    import _socket

    ours, theirs = _socket.socketpair()
    server = Server(Lane(theirs.fileno()), lambda event, context: {"statusCode": 200, "body": event["body"]}, True)
    invoke = dumps({"request_id": "rehearsal", "deadline_ms": 0, "arn": "arn", "trace_id": "trace"})
    call = b"".join(frame(INVOKE, 1, invoke) + frame(REQUEST_BODY, 1, dumps(EVENT)) + frame(REQUEST_END, 1))
    for _ in range(times):
        ours.send(call)
        server.next_call().run()
        ours.recv(READ_SIZE)
    os.environ.pop("_X_AMZN_TRACE_ID", None)
    ours.close()
    theirs.close()


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
    Lane(3).send(failure_frame(INIT_ERROR, 0, failure))
    leave(1)


def announce(handler, began):
    """Says that the handler is loaded, which began at a time of the monotonic clock. Returns the lanes' servers. Raises when
    the handler is an app that does not start."""
    Boot.renew()
    lanes = [Lane(3 + number) for number in range(lane_count())]
    if isinstance(handler, App):
        servers = handler.servers(lanes)
    else:
        servers = [Server(lane, handler, len(lanes) == 1) for lane in lanes]
    flush()
    runtime = "python" + ".".join(map(str, sys.version_info[:3]))
    init_us = (time.monotonic_ns() - began) // 1000
    ready = b'{"boot_id":"%s","runtime":"%s","init_us":%d}' % (Boot.id.encode(), runtime.encode(), init_us)
    lanes[0].send(frame(READY, 0, ready))
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
        servers = announce(load(os.environ.get("_HANDLER", "")), STARTED)
    except BaseException as error:
        refuse(error)
    serve(servers)


if __name__ == "__main__":
    main()
