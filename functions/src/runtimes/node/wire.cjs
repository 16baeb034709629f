// The wire: frames to and from the host, and the sockets that carry them.
//
// The frames are described where the host decodes them.

'use strict';

const net = require('node:net');

const HEADER = 12;
const MAX_PAYLOAD = 1 << 20;
const [INVOKE, REQUEST_BODY, REQUEST_END, LOAD] = [0x01, 0x02, 0x03, 0x05];
const [READY, INIT_ERROR, RESULT, HEAD] = [0x81, 0x82, 0x83, 0x84];
const [BODY, END, ERROR, PARKED] = [0x85, 0x86, 0x87, 0x88];

function frame(kind, seq, payload) {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(payload ? payload.length : 0, 0);
  header.writeUInt32LE(seq, 4);
  header[8] = kind;
  return payload ? [header, payload] : [header];
}

function jsonFrame(kind, seq, value) {
  return frame(kind, seq, Buffer.from(JSON.stringify(value)));
}

function bodyFrames(seq, data) {
  const buffers = [];
  for (let at = 0; at < data.length; at += MAX_PAYLOAD) {
    buffers.push(...frame(BODY, seq, data.subarray(at, at + MAX_PAYLOAD)));
  }
  return buffers;
}

/** One socket to the host. Hands whole frames to `onFrame`. */
class Lane {
  constructor(socket) {
    this.chunks = [];
    this.have = 0;
    this.header = null;
    this.onFrame = null;
    this.socket = socket;
  }

  /** The lane that was inherited as this descriptor. */
  static inherited(fd) {
    const lane = new Lane(new net.Socket({ fd, readable: true, writable: true }));
    // When the host has closed the lane there is no one left to answer.
    lane.socket.on('end', () => process.exit(0));
    lane.socket.on('error', () => process.exit(71));
    lane.socket.on('close', () => process.exit(71));
    return lane;
  }

  /** From now on frames go to `onFrame`. Those that came before the first one have waited in the socket. */
  open(onFrame) {
    if (!this.onFrame) this.socket.on('data', (chunk) => this.receive(chunk));
    this.onFrame = onFrame;
  }

  receive(chunk) {
    this.chunks.push(chunk);
    this.have += chunk.length;
    for (;;) {
      const size = this.header ? this.header.size : HEADER;
      if (this.have < size) return;
      const bytes = this.take(size);
      if (!this.header) {
        this.header = { size: bytes.readUInt32LE(0), seq: bytes.readUInt32LE(4), kind: bytes[8] };
        continue;
      }
      const { kind, seq } = this.header;
      this.header = null;
      this.onFrame(kind, seq, bytes);
    }
  }

  take(size) {
    const all = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.have);
    const rest = all.subarray(size);
    this.have = rest.length;
    this.chunks = rest.length ? [rest] : [];
    return all.subarray(0, size);
  }

  /** Writes the buffers with one system call when the socket takes them. False: wait for `drained` before the next. */
  send(buffers, done) {
    const last = buffers.length - 1;
    if (last > 0) this.socket.cork();
    let more = true;
    buffers.forEach((buffer, at) => {
      more = this.socket.write(buffer, at === last ? done : undefined);
    });
    if (last > 0) this.socket.uncork();
    return more;
  }

  drained() {
    return new Promise((resolve) => this.socket.once('drain', resolve));
  }
}

module.exports = { BODY, END, ERROR, HEAD, INIT_ERROR, INVOKE, LOAD, Lane, MAX_PAYLOAD, PARKED, READY, REQUEST_BODY, REQUEST_END, RESULT, bodyFrames, frame, jsonFrame };
