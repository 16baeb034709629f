# Times os.fork of this process, and prints the samples as one line of JSON.
# Arguments: the floor's name, how many samples, the pause before each in microseconds, `first` (to the child's first byte)
# or `call` (until the child has answered a call), and the modules to import before.
import importlib
import json
import os
import socket
import sys
import time

EVENT = json.dumps({
    "version": "2.0",
    "rawPath": "/",
    "rawQueryString": "",
    "headers": {"host": "127.0.0.1:8080", "accept": "*/*"},
    "requestContext": {"http": {"method": "GET", "path": "/", "sourceIp": "127.0.0.1"}, "requestId": "0" * 36},
    "isBase64Encoded": False,
}).encode()


def handler(event, context):
    return {"message": "Hello, world!"}


def answer(connection):
    event = json.loads(connection.recv(65536))
    connection.send(json.dumps(handler(event, None)).encode())


def once(call):
    ours, theirs = socket.socketpair()
    started = time.perf_counter_ns()
    if call:
        ours.send(EVENT)
    pid = os.fork()
    if pid == 0:
        if call:
            answer(theirs)
        else:
            theirs.send(b"1")
        os._exit(0)
    ours.recv(65536)
    took = time.perf_counter_ns() - started
    os.waitpid(pid, 0)
    ours.close()
    theirs.close()
    return took / 1000


name, count, pause, kind, *modules = sys.argv[1:]
for module in modules:
    importlib.import_module(module)
samples = []
for _ in range(int(count)):
    if int(pause):
        time.sleep(int(pause) / 1e6)
    samples.append(once(kind == "call"))
with open("/proc/self/statm") as statm:
    resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
note = "%.0f MB resident" % (resident / 1e6)
print(json.dumps({"floor": name, "unit": "us", "samples": samples, "note": note}))
