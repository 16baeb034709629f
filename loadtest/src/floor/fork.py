# Times os.fork to the first byte of the child, and prints the samples as one line of JSON.
import json
import os
import socket
import sys
import time


def once():
    ours, theirs = socket.socketpair()
    started = time.perf_counter_ns()
    pid = os.fork()
    if pid == 0:
        theirs.send(b"1")
        os._exit(0)
    ours.recv(1)
    took = time.perf_counter_ns() - started
    os.waitpid(pid, 0)
    ours.close()
    theirs.close()
    return took / 1000


with open("/proc/self/statm") as statm:
    resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
samples = [once() for _ in range(int(sys.argv[1]))]
note = "%.0f MB resident" % (resident / 1e6)
print(json.dumps({"floor": "F_fork", "unit": "us", "samples": samples, "note": note}))
