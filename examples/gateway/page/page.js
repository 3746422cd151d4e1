// The page: conversations, who is there, what is unread. Whatever comes from others is put in as text, never as markup.
import { GatewayClient } from "./gateway.js";

const MOST_LINES = 500;
const find = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const me = query.get("user") ?? sessionStorage.user ?? `guest-${Math.random().toString(36).slice(2, 7)}`;
sessionStorage.user = me;

const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const client = new GatewayClient(address, me, query.get("token") ?? "");
const conversations = new Map(); // by stream: { lines, unread, users, count }
let shown = "";

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function conversation(stream) {
  if (!conversations.has(stream)) {
    conversations.set(stream, { lines: [], unread: 0, users: [], count: 0 });
    // A room is read from the oldest message that is kept; a mailbox has no history, what was acked is gone.
    if (stream.startsWith("room:")) client.join(stream.slice(5), ["", 0]);
  }
  return conversations.get(stream);
}

function show(stream) {
  conversation(stream).unread = 0;
  shown = stream;
  find("title").textContent = stream.startsWith("room:") ? `# ${stream.slice(5)}` : `@ ${stream.slice(5)}`;
  find("log").replaceChildren(...conversation(stream).lines);
  find("log").scrollTop = find("log").scrollHeight;
  client.who(stream);
  draw();
  find("text").focus();
}

function add(stream, line, { counts = true } = {}) {
  const into = conversation(stream);
  into.lines.push(line);
  if (into.lines.length > MOST_LINES) into.lines.shift().remove();
  if (stream === shown) {
    const log = find("log"), atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    log.append(line);
    if (atEnd) log.scrollTop = log.scrollHeight; // who reads further up is left there
  }
  if (counts && (stream !== shown || document.hidden)) into.unread++;
  draw();
  return line;
}

function message(by, text, at, note) {
  const face = element("span", { className: "face", textContent: by[0], ariaHidden: "true" });
  face.style.setProperty("--hue", [...by].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
  const time = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const small = element("small", { textContent: note ? `${time} · ${note}` : time });
  return element("li", {}, face, element("span", { className: "by", textContent: by }, small),
    element("span", { className: "said", textContent: text }));
}

const note = (text) => element("li", { className: "note", textContent: text });
const textOf = (body) => typeof body === "string" ? body : typeof body?.text === "string" ? body.text : JSON.stringify(body);

function complain(text) {
  find("error").textContent = text;
  find("error").hidden = !text;
}

function state(is, text) {
  find("state").dataset.is = is;
  find("state").textContent = text;
}

function draw() {
  for (const [list, kind] of [["rooms", "room:"], ["people", "user:"]]) {
    const streams = [...conversations.keys()].filter((stream) => stream.startsWith(kind));
    const others = kind === "user:" ? present().map((user) => `user:${user}`).filter((stream) => !conversations.has(stream)) : [];
    find(list).replaceChildren(...[...streams, ...others].sort().map((stream) => element("li", {}, entry(stream))));
  }
  const unread = [...conversations.values()].reduce((sum, each) => sum + each.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${me} · clusterd gateway`;
  const { users, count } = conversations.get(shown) ?? { users: [], count: 0 };
  const more = count > users.length ? ` and ${count - users.length} more` : "";
  find("presence").textContent = shown.startsWith("room:") ? `${count} here: ${users.join(", ")}${more}`
    : count ? "is there" : "is away: gets it when they come";
}

function entry(stream) {
  const name = stream.slice(5), unread = conversations.get(stream)?.unread ?? 0;
  const mark = stream.startsWith("room:") ? "" : present().includes(name) ? "there" : "away";
  const button = element("button", { type: "button", onclick: () => show(stream) },
    element("span", { className: `name ${mark}`, textContent: name }));
  if (stream === shown) button.ariaCurrent = "true";
  if (unread) button.append(element("span", { className: "unread", textContent: unread, ariaLabel: `${unread} unread` }));
  return button;
}

function present() {
  const all = [...conversations].flatMap(([stream, { users }]) => stream.startsWith("room:") ? users : []);
  const direct = [...conversations].filter(([stream, { count }]) => stream.startsWith("user:") && count).map(([stream]) => stream.slice(5));
  return [...new Set([...all, ...direct])].filter((user) => user !== me);
}

client.addEventListener("up", ({ detail }) => {
  state("up", `connected to ${detail.node}`);
  complain("");
  for (const stream of conversations.keys()) client.who(stream);
});
client.addEventListener("down", ({ detail: { code, reason, over } }) => {
  const why = [reason, code === 1006 ? "connection lost" : code].filter(Boolean).join(", ");
  if (over) {
    state("over", "closed");
    complain(`${why}. Reload the page to come back.`);
  } else {
    state("waiting", `coming back (${why})`);
  }
});
client.addEventListener("message", ({ detail }) => {
  if (detail.mine) return; // it stands there since it was sent
  const stream = detail.on.startsWith("room:") ? detail.on : `user:${detail.from}`;
  add(stream, message(detail.from, textOf(detail.body), detail.at, `#${detail.n}`), { counts: detail.from !== me });
});
client.addEventListener("presence", ({ detail }) => {
  const stream = `room:${detail.room}`;
  for (const user of detail.came) if (user !== me) add(stream, note(`${user} came`), { counts: false });
  for (const user of detail.left) if (user !== me) add(stream, note(`${user} left`), { counts: false });
  client.who(stream);
});
client.addEventListener("here", ({ detail }) => {
  if (!conversations.has(detail.of)) return;
  Object.assign(conversations.get(detail.of), { users: [...detail.users].sort(), count: detail.count });
  draw();
});

find("compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [to, text] = [shown, find("text").value.toWellFormed()];
  find("text").value = "";
  const line = add(to, message(me, text, Date.now(), "sending"), { counts: false });
  line.classList.add("waiting");
  const small = line.querySelector("small");
  try {
    small.textContent = small.textContent.replace("sending", `#${await client.send(to, { text })}`);
    complain("");
  } catch (error) {
    small.textContent = small.textContent.replace("sending", "not sent");
    line.classList.add("failed");
    complain(`Not sent: ${error.message}`);
  }
  line.classList.remove("waiting");
});
find("open").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = find("where").value;
  find("where").value = "";
  show(name.startsWith("@") ? `user:${name.slice(1)}` : `room:${name}`);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && shown) show(shown); });

find("me").textContent = me;
show("room:lobby");
