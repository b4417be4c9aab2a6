// The `ws` client of npm against the built server:
//
//     NODE_PATH=where/ws/is/installed/node_modules node peers.mjs SERVER-BINARY

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, Suite, binaryArgument } from "./harness.mjs";

// Unlike `import`, this heeds NODE_PATH: nothing need be installed beside this file.
const WebSocket = createRequire(import.meta.url)("ws");

const MAX_MESSAGE_SIZE = 65536;

const binary = binaryArgument();
const suite = new Suite("clients/node", 240_000);
const features = /^features: (.*)$/m.exec(execFileSync(binary, ["--version"], { encoding: "utf8" }))[1].split(",");
const lacksAuth = features.includes("auth") ? undefined : "built without auth";
const server = await Server.start(binary);

/** A client with an inbox: messages are kept from the first on, and taken in order. */
class Client {
  #inbox = [];
  #waiting = [];

  static async open(url, { protocols = [], ...options } = {}) {
    const client = new Client();
    const socket = client.socket = new WebSocket(url, protocols, options);
    client.closed = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    client.closed.then(({ code }) => {
      const error = new Error(`closed with ${code} where a message was expected`);
      for (const waiting of client.#waiting.splice(0)) waiting.reject(error);
    });
    socket.on("message", (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const waiting = client.#waiting.shift();
      if (waiting) waiting.resolve(message); else client.#inbox.push(message);
    });
    await once(socket, "open");
    socket.on("error", () => {});  // what follows from it is seen at `closed`
    return client;
  }

  next() {
    if (this.#inbox.length > 0) return Promise.resolve(this.#inbox.shift());
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async take(count) {
    const messages = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  send(data, options) {
    this.socket.send(data, options);
  }

  /** Leaves, and answers the Close frame that came back and what was in the inbox until then. */
  async leave(code = 1000, reason = "") {
    this.socket.close(code, reason);
    const close = await this.closed;
    return { ...close, unread: this.#inbox };
  }
}

function open(count, url, options) {
  return Promise.all(Array.from({ length: count }, () => Client.open(url, options)));
}

/** Everybody leaves; nobody has heard anything but what the check took. */
async function leaveSilently(clients) {
  for (const { code, unread } of await Promise.all(clients.map((client) => client.leave()))) {
    assert.equal(code, 1000);
    assert.deepEqual(unread, []);
  }
}

/** The status of a refused opening handshake. */
async function refusal(url, options) {
  const socket = new WebSocket(url, options);
  const [request, response] = await Promise.race([
    once(socket, "unexpected-response"),
    once(socket, "open").then(() => { throw new Error(`${url} was accepted`); }),
  ]);
  request.destroy();
  return response.statusCode;
}

/** Says `count` things, as they are asked for; an answer comes when all of them were heard. */
async function sayAndHear(speaker, listeners, label, count) {
  for (let number = 0; number < count; number += 1) {
    const text = `${label} ${number}`;
    speaker.send(text);
    for (const listener of listeners) assert.equal(await listener.next(), text);
  }
}

await suite.check("text and binary reach every client in the room, the sender too", async () => {
  const clients = await open(3, server.url("kinds"));
  clients[0].send("text");
  clients[0].send(Buffer.from([0, 255, 128]));
  clients[0].send("");
  for (const client of clients) {
    assert.deepEqual(await client.take(3), ["text", Buffer.from([0, 255, 128]), ""]);
  }
  await leaveSilently(clients);
});

await suite.check("the default room is a room of its own", async () => {
  const [home, other] = [await open(2, server.url()), await open(1, server.url("other"))];
  home[0].send("at home");
  for (const client of home) assert.equal(await client.next(), "at home");
  await leaveSilently([...home, ...other]);
});

await suite.check("fragments are put together, with pings between them answered at once", async () => {
  const [speaker, listener] = await open(2, server.url("fragments"));
  const pieces = Array.from({ length: 100 }, (_, number) => `piece ${number};`);
  for (const [number, piece] of pieces.entries()) {
    const last = number === pieces.length - 1;
    speaker.send(piece, { fin: last });
    if (number % 10 === 0 && !last) {
      speaker.socket.ping(`between ${number}`);
      const [payload] = await once(speaker.socket, "pong");
      assert.equal(payload.toString(), `between ${number}`);
    }
  }
  for (const client of [speaker, listener]) assert.equal(await client.next(), pieces.join(""));
  await leaveSilently([speaker, listener]);
});

await suite.check("a text may be cut inside a character", async () => {
  const [client] = await open(1, server.url("cuts"));
  const text = "één €uro 🎺 naïve";
  const bytes = Buffer.from(text);
  for (const [at, byte] of bytes.entries()) {
    client.send(Buffer.from([byte]), { binary: false, fin: at === bytes.length - 1 });
  }
  assert.equal(await client.next(), text);
  await leaveSilently([client]);
});

await suite.check(`messages of 1 to ${MAX_MESSAGE_SIZE} bytes arrive whole`, async () => {
  const [speaker, listener] = await open(2, server.url("sizes"));
  const steps = [1, 2, 3, 4, 7, 8, 124, 125, 126, 127, 128, 1000, 4096, 65534, 65535, MAX_MESSAGE_SIZE];
  for (const size of steps) {
    const bytes = Buffer.from(Array.from({ length: size }, (_, at) => (at * 31 + size) % 256));
    speaker.send(bytes);
    for (const client of [speaker, listener]) assert.ok(bytes.equals(await client.next()), `${size} bytes`);
  }
  await leaveSilently([speaker, listener]);
});

for (const [kind, send] of [
  ["in one frame", (client, bytes) => client.send(bytes)],
  ["in fragments", (client, bytes) => {
    client.send(bytes.subarray(0, 40_000), { fin: false });
    client.send(bytes.subarray(40_000), { fin: true });
  }],
]) {
  await suite.check(`one byte more than allowed, ${kind}, is closed with 1009`, async () => {
    const [speaker, listener] = await open(2, server.url("too-big"));
    send(speaker, Buffer.alloc(MAX_MESSAGE_SIZE + 1));
    assert.equal((await speaker.closed).code, 1009);
    await sayAndHear(listener, [listener], "unharmed", 1);
    await leaveSilently([listener]);
  });
}

await suite.check("text of many alphabets, up to the last byte allowed", async () => {
  const [speaker, listener] = await open(2, server.url("alphabets"));
  const texts = ["Grüße, Jürgen", "Ελληνικά", "Кириллица", "日本語のテキスト", "👩‍👩‍👧‍👦🎺", "\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}",
                 "€".repeat(Math.floor(MAX_MESSAGE_SIZE / 3)) + "x"];
  for (const text of texts) {
    speaker.send(text);
    for (const client of [speaker, listener]) assert.equal(await client.next(), text);
  }
  await leaveSilently([speaker, listener]);
});

await suite.check("200 clients in one room each hear every message of 5 senders, in one order", async () => {
  const clients = await open(200, server.url("crowd"));
  const [senders, each] = [5, 40];
  for (let number = 0; number < each; number += 1) {
    for (let sender = 0; sender < senders; sender += 1) clients[sender].send(`${sender}:${number}`);
  }
  const heard = await Promise.all(clients.map((client) => client.take(senders * each)));
  for (let sender = 0; sender < senders; sender += 1) {
    assert.deepEqual(heard[0].filter((text) => text.startsWith(`${sender}:`)),
                     Array.from({ length: each }, (_, number) => `${sender}:${number}`));
  }
  for (const other of heard) assert.deepEqual(other, heard[0]);
  await leaveSilently(clients);
});

await suite.check("20 rooms at once keep what is theirs", async () => {
  const rooms = await Promise.all(Array.from({ length: 20 }, (_, room) => open(3, server.url(`room-${room}`))));
  const each = 20;
  for (let number = 0; number < each; number += 1) {
    for (const [room, clients] of rooms.entries()) clients[number % 3].send(`${room}:${number}`);
  }
  await Promise.all(rooms.map(async (clients, room) => {
    // Three senders: the order among them is the server's to choose.
    const expected = Array.from({ length: each }, (_, number) => `${room}:${number}`).sort();
    for (const client of clients) assert.deepEqual((await client.take(each)).sort(), expected);
    await leaveSilently(clients);
  }));
});

for (const [how, goodbye] of [
  ["with 1000", async (client) => assert.equal((await client.leave(1000)).code, 1000)],
  ["with 4000 and a reason", async (client) => assert.equal((await client.leave(4000, "done here")).code, 4000)],
  ["without a word", async (client) => { client.socket.terminate(); await client.closed; }],
  ["by a reset", async (client) => { client.socket._socket.resetAndDestroy(); await client.closed; }],
  ["in the middle of a message", async (client) => {
    client.send("never finished", { fin: false });
    client.socket.terminate();
    await client.closed;
  }],
]) {
  await suite.check(`a client leaves ${how}; the others hear everything`, async () => {
    const [leaver, speaker, listener] = await open(3, server.url("departures"));
    await sayAndHear(speaker, [leaver, speaker, listener], "before", 10);
    const [, heard] = await Promise.all([goodbye(leaver), (async () => {
      for (let number = 0; number < 50; number += 1) speaker.send(`during ${number}`);
      return await Promise.all([speaker.take(50), listener.take(50)]);
    })()]);
    const expected = Array.from({ length: 50 }, (_, number) => `during ${number}`);
    assert.deepEqual(heard, [expected, expected]);
    await sayAndHear(speaker, [speaker, listener], "after", 10);
    await leaveSilently([speaker, listener]);
  });
}

await suite.check("a ping is answered with its payload", async () => {
  const [client] = await open(1, server.url("pings"));
  for (const payload of ["", "a", "p".repeat(125)]) {
    client.socket.ping(payload);
    const [answer] = await once(client.socket, "pong");
    assert.equal(answer.toString(), payload);
  }
  await leaveSilently([client]);
});

await suite.check("an offered compression is declined", async () => {
  const client = await Client.open(server.url("plain"), { perMessageDeflate: true });
  assert.equal(client.socket.extensions, "");
  await sayAndHear(client, [client], "x".repeat(5000), 1);
  await leaveSilently([client]);
});

await suite.check("the server's own origin may connect, and a client without one", async () => {
  const same = await Client.open(server.url("origins"), { origin: `http://${server.host}` });
  const none = await Client.open(server.url("origins"));
  await sayAndHear(same, [same, none], "both", 1);
  await leaveSilently([same, none]);
});

await suite.check("another origin is refused with 403", async () => {
  assert.equal(await refusal(server.url(), { origin: "https://elsewhere.example" }), 403);
  assert.equal(await refusal(server.url(), { origin: "null" }), 403);
});

await suite.check("an unknown path is refused with 404", async () => {
  assert.equal(await refusal(`ws://${server.host}/nowhere`), 404);
  assert.equal(await refusal(`ws://${server.host}/wsx`), 404);
});

await suite.check("/healthz answers ok, / the page, and /ws asks for an upgrade with 426", async () => {
  const health = await fetch(`http://${server.host}/healthz`);
  assert.equal(health.status, 200);
  assert.equal((await health.text()).trim(), "ok");
  const page = await fetch(`http://${server.host}/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type"), /^text\/html/);
  assert.match(page.headers.get("content-security-policy"), /default-src 'none'/);
  assert.match(await page.text(), /<title>fanfare<\/title>/);
  const upgrade = await fetch(`http://${server.host}/ws`);
  assert.equal(upgrade.status, 426);
  assert.equal(upgrade.headers.get("sec-websocket-version"), "13");
  await upgrade.text();
});

await suite.check("of the subprotocols offered, the server's favourite is chosen, or none", async () => {
  const choosy = await Server.start(binary, { flags: ["--subprotocol", "second", "--subprotocol", "first"] });
  const both = await Client.open(choosy.url(), { protocols: ["first", "second"] });
  assert.equal(both.socket.protocol, "second");
  // None in common: the server goes on without one, and this client then fails the connection.
  await assert.rejects(Client.open(choosy.url(), { protocols: ["third"] }), /no subprotocol/);
  await leaveSilently([both]);
  await choosy.stop();
});

await suite.check("with --no-echo the others hear a message and its sender does not", async () => {
  const silent = await Server.start(binary, { flags: ["--no-echo"] });
  const [one, two] = await open(2, silent.url());
  one.send("from one");
  assert.equal(await two.next(), "from one");
  two.send("from two");
  assert.equal(await one.next(), "from two");
  await leaveSilently([one, two]);
  await silent.stop();
});

await suite.checkUnless(lacksAuth, "tickets minted as README shows, in Node and in shell, let in who listens alone", async () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const program = (language) =>
    new RegExp(`<!-- ticket: ${language} -->\\n\`\`\`\\w+\\n(.*?)\`\`\``, "s").exec(readme)[1];
  const folder = mkdtempSync(join(tmpdir(), "fanfare-"));
  try {
    writeFileSync(join(folder, "ticket.key"), `${randomBytes(48).toString("base64")}\n`);
    const guarded = await Server.start(binary, { flags: ["--ticket-key", join(folder, "ticket.key")] });
    const room = guarded.url("news/today");
    for (const command of [
      [process.execPath, "--input-type=module", "--eval", program("node")], ["sh", "-c", program("shell")],
    ]) {
      const printed = execFileSync(command[0], command.slice(1), { cwd: folder, encoding: "utf8" });
      const ticket = printed.trimEnd();
      const listener = await Client.open(room, { protocols: ["bearer", ticket] });
      assert.equal(listener.socket.protocol, "bearer");
      const other = await Client.open(room, { headers: { Authorization: `Bearer ${ticket}` } });
      other.send("a listener speaks");
      assert.deepEqual(await other.closed, { code: 1008, reason: "publishing is not allowed here" });
      await leaveSilently([listener]);
      assert.equal(await refusal(room), 401);
      assert.equal(await refusal(room, { protocols: ["bearer", ticket.replace("subscribe", "both")] }), 401);
      assert.equal(await refusal(guarded.url("news"), { protocols: ["bearer", ticket] }), 403);
    }
    await guarded.stop();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

await suite.checkUnless(lacksAuth, "who is not let in can be told by a Close", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-"));
  try {
    writeFileSync(join(folder, "ticket.key"), "k".repeat(32));
    const flags = ["--ticket-key", join(folder, "ticket.key"), "--reject-with", "close"];
    const guarded = await Server.start(binary, { flags });
    const reasons = { nonsense: "the credential is not valid, or has expired", "": "a credential is required" };
    for (const [token, reason] of Object.entries(reasons)) {
      const client = await Client.open(guarded.url(), { protocols: token ? ["bearer", token] : [] });
      assert.deepEqual(await client.closed, { code: 1008, reason });
    }
    await guarded.stop();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

await suite.check("a SIGTERM closes every client with 1001 and ends the server with 0", async () => {
  const clients = (await Promise.all([open(50, server.url()), open(50, server.url("last"))])).flat();
  const ended = server.stop("SIGTERM");
  for (const client of clients) assert.equal((await client.closed).code, 1001);
  assert.deepEqual(await ended, { code: 0, signal: null });
});

suite.finish();
