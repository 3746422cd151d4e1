// The sidecar as a Node.js program sees it: HTTP over its Unix socket. Needs nothing but Node.js.
"use strict";

const http = require("node:http");
const { setTimeout: pause } = require("node:timers/promises");

const LONGEST_PAUSE = 2000; // ms

class Sidecar {
  constructor(socketPath) {
    this.socketPath = socketPath;
    this.agent = new http.Agent({ keepAlive: true });
    this.ontrouble = (trouble) => {}; // told once why the sidecar can't be asked, and null when it can again
    this.trouble = null;
  }

  #note(trouble) {
    if (trouble !== this.trouble) this.ontrouble(trouble);
    this.trouble = trouble;
  }

  // Answers {status, document}. Rejects when the sidecar can't be reached.
  async call(method, path, document) {
    const response = await this.#send(method, path, document, { agent: this.agent, timeout: 3000 });
    let body = "";
    for await (const chunk of response.setEncoding("utf8")) body += chunk;
    return { status: response.statusCode, document: body ? JSON.parse(body) : null };
  }

  // Calls handler(name, data) for each event of a stream, for ever; connects again when it breaks, from where it was.
  async follow(method, path, handler, ended = () => {}) {
    let last = null;
    for (let failures = 0; ; failures++) {
      try {
        const response = await this.#send(method, path, undefined, {
          agent: false,
          headers: last ? { "Last-Event-ID": last } : {},
        });
        this.#note(null);
        if (response.statusCode !== 200) response.resume();
        else
          for await (const { name, data, id } of events(response)) {
            failures = 0;
            last = id ?? last;
            handler(name, data);
          }
      } catch (error) {
        this.#note(`no sidecar at ${this.socketPath} (${error.code ?? error.message})`); // it is asked again below
      }
      ended();
      // Full jitter, so that all gateways of a host don't return in step.
      await pause(Math.random() * Math.min(LONGEST_PAUSE, 100 * 2 ** Math.min(failures, 10)));
    }
  }

  #send(method, path, document, options) {
    return new Promise((resolve, reject) => {
      const body = document === undefined ? undefined : JSON.stringify(document);
      const headers = { ...options.headers, ...(body && { "Content-Type": "application/json" }) };
      const request = http.request({ socketPath: this.socketPath, method, path, ...options, headers }, resolve);
      request.on("error", reject);
      request.on("timeout", () => request.destroy(new Error("no answer from the sidecar")));
      request.end(body);
    });
  }
}

// Yields the events of a text/event-stream: https://html.spec.whatwg.org/multipage/server-sent-events.html
async function* events(response) {
  let waiting = "";
  for await (const chunk of response.setEncoding("utf8")) {
    const parts = (waiting + chunk).split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const fields = Object.fromEntries(
        part
          .split("\n")
          .filter((line) => !line.startsWith(":"))
          .map((line) => line.split(/: (.*)/s, 2)),
      );
      if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data), id: fields.id };
    }
  }
}

module.exports = { Sidecar };
