"""Invocations that a template runs before it forks, and a fork that waits before its first call. Only there is this loaded."""

import os

import _socket

wire = shim.wire

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
    ours, theirs = _socket.socketpair()
    server = shim.Server(wire.Lane(theirs.fileno()), lambda event, context: {"statusCode": 200, "body": event["body"]}, True)
    invoke = wire.dumps({"request_id": "rehearsal", "deadline_ms": 0, "arn": "arn", "trace_id": "trace"})
    body = wire.frame(wire.REQUEST_BODY, 1, wire.dumps(EVENT))
    call = b"".join(wire.frame(wire.INVOKE, 1, invoke) + body + wire.frame(wire.REQUEST_END, 1))
    for _ in range(times):
        ours.send(call)
        server.next_call().run()
        ours.recv(wire.READ_SIZE)
    os.environ.pop("_X_AMZN_TRACE_ID", None)
    ours.close()
    theirs.close()
