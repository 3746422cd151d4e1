// The server's side of a WebSocket (RFC 6455), as far as this example needs it: short text messages, ping, close.
// A real gateway takes a library; this one is to run without installing any.
"use strict";

const { createHash } = require("node:crypto");

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const [TEXT, CLOSE, PING, PONG] = [1, 8, 9, 10];

class Session {
  constructor(request, socket, head) {
    this.socket = socket;
    this.waiting = head;
    this.onmessage = () => {};
    this.onclose = () => {};
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.on("data", (data) => this.#read(data));
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.onclose());
  }

  send(text) {
    this.#write(TEXT, Buffer.from(text));
  }

  close(code, reason) {
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
    payload.writeUInt16BE(code);
    payload.write(reason, 2);
    this.#write(CLOSE, payload);
    this.socket.end();
  }

  #write(opcode, payload) {
    const long = payload.length > 125;
    const head = Buffer.alloc(long ? 4 : 2);
    head[0] = 0x80 | opcode;
    head[1] = long ? 126 : payload.length;
    if (long) head.writeUInt16BE(payload.length, 2);
    this.socket.write(Buffer.concat([head, payload]));
  }

  #read(data) {
    this.waiting = Buffer.concat([this.waiting, data]);
    for (let frame; (frame = this.#take()); ) {
      if (frame.opcode === TEXT) this.onmessage(frame.payload.toString());
      else if (frame.opcode === PING) this.#write(PONG, frame.payload);
      else if (frame.opcode === CLOSE) this.socket.end();
    }
  }

  // Takes one whole frame of a client's, which is masked, from what has arrived; null while there is none.
  #take() {
    const data = this.waiting;
    if (data.length < 2) return null;
    let [length, at] = [data[1] & 0x7f, 2];
    if (length === 126 && data.length >= 4) [length, at] = [data.readUInt16BE(2), 4];
    else if (length > 125) return length === 126 ? null : this.socket.destroy(new Error("a message too long")) && null;
    if (data.length < at + 4 + length) return null;
    const mask = data.subarray(at, at + 4);
    const payload = Buffer.from(data.subarray(at + 4, at + 4 + length)).map((byte, index) => byte ^ mask[index % 4]);
    this.waiting = data.subarray(at + 4 + length);
    return { opcode: data[0] & 0x0f, payload };
  }
}

module.exports = { Session };
