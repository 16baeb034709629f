"""Holds as many descriptors in flight and as many pages in pipes as it may get, says so by a process with a word, and keeps them."""
import os, signal, socket, subprocess

MARKER = "@MARKER@"


def handler(event, context):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    pipes = []
    try:
        while True:
            socket.send_fds(near, [b"x"], [near.fileno()] * 200)
    except OSError:
        pass
    try:
        while True:
            reader, writer = os.pipe()
            pipes.append((reader, writer))
            os.set_blocking(writer, False)
            try:
                while True:
                    os.write(writer, bytes(65536))
            except BlockingIOError:
                pass
    except OSError:
        pass
    # Starting a process takes a few descriptors.
    for pair in pipes[-4:]:
        for one in pair:
            os.close(one)
    subprocess.Popen([MARKER, "1000"], executable="/bin/sleep")
    signal.pause()
