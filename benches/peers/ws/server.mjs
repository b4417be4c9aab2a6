// The same job on ws for Node.js, in its best configuration: no compression, as is its default on a
// server; the native add-ons `bufferutil` (the masks) and `utf-8-validate`, as its documentation
// recommends; messages stay the Buffers they came as; what is said in a turn of the loop is written
// to each client at once, by cork and uncork of the client's socket.
//
// node server.mjs --port N [--echo]

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const MAX_PAYLOAD = 16 * 1024 * 1024;

const echo = process.argv.includes('--echo');
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
if (!process.argv.includes('--port') || !Number.isInteger(port)) {
  console.error('usage: server.mjs --port N [--echo]');
  process.exit(2);
}

const http = createServer();
const server = new WebSocketServer({
  server: http, perMessageDeflate: false, maxPayload: MAX_PAYLOAD, clientTracking: false,
});
const sockets = new Map();
// Those whose sockets are corked until the end of this turn.
let corked = [];

function cork(socket) {
  if (corked.length === 0) setImmediate(uncork);
  socket.cork();
  corked.push(socket);
}

function uncork() {
  const all = corked;
  corked = [];
  for (const socket of all) socket.uncork();
}

server.on('connection', (client, request) => {
  const { socket } = request;
  sockets.set(client, socket);
  client.on('error', () => client.terminate());
  client.on('close', () => sockets.delete(client));
  client.on('message', (data, binary) => {
    if (echo) {
      if (socket.writableCorked === 0) cork(socket);
      client.send(data, { binary });
      return;
    }
    if (corked.length === 0) for (const each of sockets.values()) cork(each);
    for (const each of sockets.keys()) each.send(data, { binary });
  });
});

http.listen({ port, host: '127.0.0.1', backlog: 65535 }, () => {
  console.log(`listening 127.0.0.1:${http.address().port}`);
});
