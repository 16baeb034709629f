"""The HTTP request in an event of payload 2.0, as apps need it: header lines, and a body of bytes."""

import binascii
import re

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# They belong to a connection, which there is none of here, or tell a length that the body itself tells.
NOT_PASSED = ("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")


class Request:
    """What was asked. Header names are lower case; values are bytes, as they came."""

    def __init__(self, call):
        event, repeated = call.event(), call.invoke.get("repeated", {})
        # What stands before the path, for the caller.
        self.raw_base = bytes_of(call.invoke.get("base_path", ""))
        try:
            http, headers = event["requestContext"]["http"], event["headers"]
            self.method, self.source_ip = str(http["method"]), str(http.get("sourceIp") or "")
            self.version = str(http.get("protocol") or "HTTP/1.1").rpartition("/")[2]
            self.raw_path, self.query = bytes_of(event["rawPath"]), bytes_of(event.get("rawQueryString") or "")
            self.lines = list(lines(headers, event, repeated))
        except (AttributeError, KeyError, TypeError) as error:
            message = f"the function is a web app, but what it was called with is no HTTP event of version 2.0: {error!r}"
            raise shim.Failure("Runtime.InvalidEvent", message) from None
        self.body = body(event)
        if self.body or any(name.lower() == "content-length" for name in headers):
            self.lines.append(("content-length", b"%d" % len(self.body)))
        self.scheme = "https" if self.header("x-forwarded-proto") == b"https" else "http"
        host = self.header("host") or bytes_of(event["requestContext"].get("domainName") or "localhost")
        self.host, _, port = host.decode("latin-1").rpartition(":")
        if not port.isdecimal():
            self.host = host.decode("latin-1")
            port = (self.header("x-forwarded-port") or b"").decode("latin-1")
        self.port = port if port.isdecimal() else "80"

    def header(self, wanted):
        """The value of the first line of that name, None without one."""
        return next((value for name, value in self.lines if name == wanted), None)

    def path(self):
        """The path without its escapes: any bytes."""
        return unescaped(self.raw_path)

    def base(self):
        """What stands before it, in the same way."""
        return unescaped(self.raw_base)


def unescaped(raw):
    first, *rest = raw.split(b"%")
    parts = [first]
    for part in rest:
        try:
            # Of nothing it makes nothing, and a lone sign would be lost.
            parts += [binascii.a2b_hex(part[:2] or b"%"), part[2:]]
        except ValueError:
            parts += [b"%", part]
    return b"".join(parts)


def lines(headers, event, repeated):
    for name, value in headers.items():
        key = name.lower()
        if key in NOT_PASSED or not TOKEN.fullmatch(name):
            continue
        for one in repeated.get(name) or (value,):
            # Only who calls the function with an event of his own can send these; in a request line they would split it.
            yield key, bytes_of(CONTROL.sub(" ", one))
    if event.get("cookies") and not any(name.lower() == "cookie" for name in headers):
        yield "cookie", bytes_of(CONTROL.sub(" ", "; ".join(event["cookies"])))


def body(event):
    text = event.get("body")
    if not text:
        return b""
    try:
        return binascii.a2b_base64(text) if event.get("isBase64Encoded") else bytes_of(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise shim.Failure("Runtime.InvalidEvent", f"the body of the event can't be read: {error}") from None


def bytes_of(text):
    return text.encode("utf-8", "replace")


# --- replies --------------------------------------------------------------------------------------------------------


def reply_lines(headers):
    """Header lines of an app, as pairs of bytes or of Latin-1 text, checked and as text that becomes the same bytes."""
    checked = []
    for name, value in headers:
        name, value = latin(name), latin(value)
        if not TOKEN.fullmatch(name):
            raise shim.Failure("Runtime.MarshalError", f"the header name {name!r:.60} is not allowed in HTTP")
        if CONTROL.search(value):
            raise shim.Failure("Runtime.MarshalError", f"the value of the header {name:.40} holds a control character")
        checked.append([name, value if value.isascii() else utf8(value)])
    return checked


def latin(text):
    return text.decode("latin-1") if isinstance(text, bytes) else text


def utf8(value):
    """Frames hold UTF-8. A value that is UTF-8 comes out as it is, and any other as the Latin-1 that it is."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def final(status):
    """A status that ends an exchange."""
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise shim.Failure("Runtime.MarshalError", f"the status is {status!r:.40} instead of a whole number from 200 to 599")
    return int(status)
