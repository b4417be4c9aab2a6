// The same job on Bun.serve, which embeds a current fork of uWebSockets on plain epoll, in its best
// configuration: its own publish and subscribe ("topics"), fed with all that was heard in a turn of
// the loop at its end, which takes fewer writes than to publish at once; no compression, no timeout
// of the idle, and a bound on what a slow client may owe that is never met.
//
// bun server.mjs --port N [--echo]

const TOPIC = 'all';

const echo = process.argv.includes('--echo');
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
if (!process.argv.includes('--port') || !Number.isInteger(port)) {
  console.error('usage: server.mjs --port N [--echo]');
  process.exit(2);
}

let heard = [];

function publish() {
  const all = heard;
  heard = [];
  for (const data of all) server.publish(TOPIC, data);
}

const server = Bun.serve({
  port,
  hostname: '127.0.0.1',
  fetch(request, server) {
    if (server.upgrade(request)) return undefined;
    return new Response('a WebSocket is served here', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 16 * 1024 * 1024,
    backpressureLimit: 1024 * 1024 * 1024,
    closeOnBackpressureLimit: false,
    idleTimeout: 0,
    publishToSelf: true,
    open(client) {
      if (!echo) client.subscribe(TOPIC);
    },
    // Text comes as a string, binary as a Buffer; each goes out as it came.
    message(client, data) {
      if (echo) {
        client.send(data);
        return;
      }
      if (heard.length === 0) setImmediate(publish);
      heard.push(data);
    },
  },
});
console.log(`listening 127.0.0.1:${server.port}`);
