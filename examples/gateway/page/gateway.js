// A client of the gateway for browsers: comes back by itself, hands each message over once. PROTOCOL.md has the rules.
const MOST_BYTES = 64 * 1024;
const FATAL = [1002, 1003, 1007, 1009, 4400, 4401, 4409];

export class GatewayClient extends EventTarget {
  #url; #user; #token; #socket = null; #cursors = new Map(); #known = new Map(); #unanswered = new Map();
  #remember = 4000; #failures = 0; #hints = []; #within = 0; #rooms = new Set(); #closed = false;
  #prefix = crypto.getRandomValues(new Uint32Array(2)).join("-"); #count = 0;

  constructor(url, user, token = "") {
    super();
    [this.#url, this.#user, this.#token] = [url, user, token];
    // A page's script gets to listen before anything happens.
    queueMicrotask(() => this.#connect(url));
  }

  // Resolves with the message's number in its stream once it is stored; rejects only if it never will be.
  async send(to, body) {
    if (new TextEncoder().encode(JSON.stringify(body)).length > MOST_BYTES) throw new Error(`it has more than ${MOST_BYTES} bytes`);
    const id = `${this.#prefix}-${++this.#count}`;
    return new Promise((resolve, reject) => {
      this.#unanswered.set(id, { frame: { t: "send", id, to, body }, resolve, reject });
      this.#say(this.#unanswered.get(id).frame);
    });
  }

  // From now on; or from a place: ["", 0] is the oldest message that is kept.
  join(room, after = null) {
    this.#rooms.add(room);
    if (after && !this.#cursors.has(`room:${room}`)) this.#cursors.set(`room:${room}`, after);
    this.#say({ t: "join", room, after: this.#cursors.get(`room:${room}`) ?? null });
  }
  leave(room) { this.#rooms.delete(room); this.#cursors.delete(`room:${room}`); this.#say({ t: "leave", room }); }
  who(of) { this.#say({ t: "who", of }); }
  close() { this.#closed = true; this.#socket?.close(); }

  #connect(url) {
    // The name is for a router, that takes the user to where their mailbox is.
    const socket = this.#socket = new WebSocket(`${url}?user=${encodeURIComponent(this.#user)}`);
    const late = setTimeout(() => socket.close(), 5000);
    socket.onopen = () => {
      this.#say({ t: "hello", user: this.#user, token: this.#token, resume: Object.fromEntries(this.#cursors) });
    };
    socket.onmessage = (event) => { clearTimeout(late); this.#hear(JSON.parse(event.data)); };
    socket.onclose = (event) => { clearTimeout(late); this.#comeBack(event); };
  }

  #comeBack(event) {
    const over = this.#closed || FATAL.includes(event.code);
    this.#tell("down", { code: event.code, reason: event.reason, over });
    if (over) return;
    // Who is sent elsewhere comes in a random part of the time that it was told; else full jitter up to 3 s.
    const hint = this.#hints.shift();
    const bound = this.#within ? this.#within * 1000 : Math.min(3000, 100 * 2 ** this.#failures++);
    if (!hint) this.#within = 0;
    setTimeout(() => this.#connect(hint ?? this.#url), Math.random() * bound);
  }

  #hear(message) {
    switch (message.t) {
      case "welcome": return this.#welcome(message);
      case "msg": return this.#take(message);
      case "ok": return this.#settle(message.id, ({ resolve }) => resolve(message.n));
      case "no":
        if (message.retry) return setTimeout(() => this.#again(message.id), 200);
        return this.#settle(message.id, ({ reject }) => reject(new Error(message.why)));
      case "joined":
        if (!this.#cursors.has(`room:${message.room}`)) this.#cursors.set(`room:${message.room}`, [message.e, message.n]);
        return this.#tell("joined", message);
      case "bye": [this.#hints, this.#within] = [message.to, message.within]; return;
      default: this.#tell(message.t, message);
    }
  }

  #welcome(message) {
    [this.#failures, this.#hints, this.#within, this.#remember] = [0, [], 0, message.remember];
    for (const room of this.#rooms) if (!this.#cursors.has(`room:${room}`)) this.#say({ t: "join", room });
    for (const { frame } of this.#unanswered.values()) this.#say(frame);
    this.#tell("up", message);
  }

  #take(message) {
    const known = this.#known.get(message.on) ?? new Set();
    this.#known.set(message.on, known);
    if (!known.has(message.id)) {
      known.add(message.id);
      if (known.size > this.#remember) known.delete(known.values().next().value);
      const mine = message.id.startsWith(`${this.#user}/${this.#prefix}-`);
      this.#tell("message", { ...message, mine });
    }
    this.#cursors.set(message.on, [message.e, message.n]);
    if (message.on === `user:${this.#user}`) this.#say({ t: "ack", e: message.e, n: message.n });
  }

  #settle(id, end) {
    const waiting = this.#unanswered.get(id);
    if (this.#unanswered.delete(id)) end(waiting);
  }

  #again(id) { if (this.#unanswered.has(id)) this.#say(this.#unanswered.get(id).frame); }
  #say(frame) { if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame)); }
  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
