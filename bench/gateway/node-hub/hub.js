// A message hub in Node.js with `ws`: the gateway's peer in the benches. `node hub.js PORT`
'use strict';

const { WebSocketServer, WebSocket } = require('ws');

const streams = new Map();

function stream(name) {
  let found = streams.get(name);
  if (!found) streams.set(name, (found = { n: 0, members: new Set(), unacked: new Map() }));
  return found;
}

function publish(from, frame) {
  const to = stream(frame.to);
  const n = ++to.n;
  const id = `${from}/${frame.id}`;
  const text = JSON.stringify({ t: 'msg', on: frame.to, e: '1', n, id, from, at: Date.now(), body: frame.body });
  if (frame.to.startsWith('user:')) to.unacked.set(n, text);
  const data = Buffer.from(text);
  for (const member of to.members) {
    if (member.readyState === WebSocket.OPEN) member.send(data, { binary: false });
  }
  return n;
}

function ack(mailbox, upTo) {
  for (const n of mailbox.unacked.keys()) {
    if (n > upTo) break;
    mailbox.unacked.delete(n);
  }
}

const say = (socket, frame) => socket.send(JSON.stringify(frame));

function handle(socket, frame) {
  switch (frame.t) {
    case 'hello':
      socket.user = frame.user;
      stream(`user:${socket.user}`).members.add(socket);
      say(socket, { t: 'welcome', node: 'node', user: socket.user, session: '1', remember: 2000 });
      break;
    case 'join': {
      const room = stream(`room:${frame.room}`);
      room.members.add(socket);
      socket.rooms.push(room);
      say(socket, { t: 'joined', room: frame.room, e: '1', n: room.n });
      break;
    }
    case 'send':
      say(socket, { t: 'ok', id: frame.id, n: publish(socket.user, frame) });
      break;
    case 'ack':
      ack(stream(`user:${socket.user}`), frame.n);
      break;
  }
}

const server = new WebSocketServer({
  host: '127.0.0.1', port: Number(process.argv[2]), path: '/ws', perMessageDeflate: false, backlog: 4096,
});

server.on('connection', (socket) => {
  socket.rooms = [];
  socket.on('message', (data) => handle(socket, JSON.parse(data)));
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const room of socket.rooms) room.members.delete(socket);
    stream(`user:${socket.user}`).members.delete(socket);
  });
});
