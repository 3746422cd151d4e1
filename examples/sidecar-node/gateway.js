// A WebSocket gateway in Node.js that is a node of a clusterd fleet through its sidecar alone:
//
//     node gateway.js NODE SIDECAR_SOCKET
//
// Clients connect to ws://HOST:PORT/USER, and are sent on to the node that owns the user. It counts its sessions,
// closes those that a drain asks for, and stands for election to the work that one gateway of the fleet does.
"use strict";

const http = require("node:http");
const { Sidecar } = require("./sidecar.js");
const { Session } = require("./websocket.js");

const GOING_AWAY = 1012; // "service restart": the client connects again, and is sent elsewhere

const [node, socketPath] = process.argv.slice(2);
if (!socketPath) {
  console.error("usage: node gateway.js NODE SIDECAR_SOCKET (where `clusterd run --control unix:SIDECAR_SOCKET` listens)");
  process.exit(2);
}
const sidecar = new Sidecar(socketPath);
sidecar.ontrouble = (trouble) => say(trouble === null ? "reached its sidecar" : `${trouble}; trying again`);
const sessions = new Set();

// --- Sessions, each on the node that owns its user ---

const server = http.createServer((_, response) => response.writeHead(426, { Upgrade: "websocket" }).end());

server.on("upgrade", async (request, socket, head) => {
  socket.on("error", () => socket.destroy());
  const user = userOf(request.url);
  if (user === null) return socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  const owner = await ownerOf(user);
  if (socket.destroyed) return;
  if (owner === null) socket.end("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
  else if (!owner.here)
    socket.end(
      `HTTP/1.1 307 Temporary Redirect\r\nLocation: http://${owner.address}${request.url}\r\nContent-Length: 0\r\n\r\n`,
    );
  else open(new Session(request, socket, head), user);
});

function userOf(path) {
  try {
    return decodeURIComponent(path.slice(1));
  } catch {
    return null; // a % that stands for nothing
  }
}

async function ownerOf(user) {
  try {
    const { status, document } = await sidecar.call("GET", `/v1/route?key=${encodeURIComponent(user)}`);
    return status === 200 ? document.owner : null;
  } catch {
    return null;
  }
}

function open(session, user) {
  sessions.add(session);
  session.onmessage = (text) => session.send(`${node} to ${user}: ${text}`);
  session.onclose = () => sessions.delete(session) && count();
  count();
}

// --- Counting them: whenever the number changes, and now and then, should the sidecar have been restarted ---

let counting = false;

async function count() {
  if (counting) return;
  counting = true;
  let told;
  do {
    told = sessions.size;
    await sidecar.call("PUT", "/v1/self/stats", { sessions: told }).catch(() => {});
  } while (told !== sessions.size);
  counting = false;
}

// --- Drains: the sidecar says how many sessions to close, and when ---

function drained(name, eviction) {
  if (name !== "evict") return;
  const closing = [...sessions].slice(0, eviction.close ?? sessions.size);
  for (const session of closing) {
    sessions.delete(session);
    session.close(GOING_AWAY, eviction.reason);
  }
  say(`closed ${closing.length} sessions, ${sessions.size} left: ${eviction.reason}`);
  count();
}

// --- Work that one gateway of the fleet does: it ends by our own clock, should no word come any more ---

let leader = null;

function contested(name, term) {
  if (name === "elected" || name === "term") {
    if (leader === null) say(`leads, with fence ${term.fence}`);
    leader ??= { fence: term.fence, rounds: 0 };
    leader.until = performance.now() + term.valid_seconds * 1000;
  } else if (name === "lost" || name === "failed" || name === "end") deposed();
}

function deposed() {
  if (leader !== null) say("leads no more");
  leader = null;
}

function work() {
  if (leader !== null && performance.now() >= leader.until) deposed();
  if (leader !== null && ++leader.rounds === 1) say(`did round 1 of its work, fenced by ${leader.fence}`);
}

function say(text) {
  console.log(`${node} ${text}`);
}

server.listen(0, "127.0.0.1", () => {
  say(`listens at 127.0.0.1:${server.address().port}`);
  setInterval(count, 1000);
  setInterval(work, 100);
  sidecar.follow("GET", "/v1/self/evictions", drained);
  sidecar.follow("POST", "/v1/leader/rebalancer", contested, deposed);
});
