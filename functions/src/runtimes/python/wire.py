"""The frames in which the host and this process talk, described where the host decodes them, and the lanes that carry them."""

import json
import os

HEADER = 12
MAX_PAYLOAD = 1 << 20
READ_SIZE = 1 << 16

INVOKE, REQUEST_BODY, REQUEST_END, CANCEL = 1, 2, 3, 4
READY, INIT_ERROR, RESULT, HEAD, BODY, END, ERROR = 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87


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
