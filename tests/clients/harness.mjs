// What the tests in Node share: the server as a child process, and a list of checks.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const STARTUP_DEADLINE = 10_000;

/** `promise`, or an error that says what did not happen in time. */
export async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms: ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** A server on loopback. It ends with this process, whatever becomes of that. */
export class Server {
  static async start(binary, { port = 0, flags = [] } = {}) {
    const server = new Server();
    // Settings of whoever runs the tests are not the server's.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => name !== "RUST_LOG" && !name.startsWith("FANFARE_")),
    );
    const child = spawn(binary, ["--listen", `127.0.0.1:${port}`, ...flags],
                        { env, stdio: ["ignore", "ignore", "pipe"] });
    server.child = child;
    running.add(child);
    server.ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        running.delete(child);
        resolve({ code, signal });
      });
    });
    const log = [];
    const listening = new Promise((resolve, reject) => {
      child.once("error", reject);
      server.ended.then(() => reject(new Error(`the server ended at start:\n${log.join("\n")}`)));
      createInterface({ input: child.stderr }).on("line", (line) => {
        if (log.length < 100) log.push(line);
        const found = /listening on http:\/\/([^/\s]+)\//.exec(line);
        if (found) resolve(found[1]);
      });
    });
    server.host = await within(STARTUP_DEADLINE, "the server listens", listening);
    return server;
  }

  get port() {
    return Number(this.host.split(":").at(-1));
  }

  url(room) {
    return `ws://${this.host}/ws${room ? `/${room}` : ""}`;
  }

  /** Sends the signal and answers how the server ended. */
  async stop(signal = "SIGKILL") {
    this.child.kill(signal);
    return await within(STARTUP_DEADLINE, `the server ends by ${signal}`, this.ended);
  }
}

/** Checks that run one after another and print a line each. */
export class Suite {
  constructor(name, deadline) {
    this.name = name;
    this.passed = 0;
    this.failed = 0;
    this.skipped = 0;
    setTimeout(() => {
      console.log(`FAIL  all of it within ${deadline} ms`);
      this.failed += 1;
      this.finish();
    }, deadline);
  }

  async check(what, body, deadline = 30_000) {
    try {
      await within(deadline, what, body());
      this.passed += 1;
      console.log(`ok    ${what}`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAIL  ${what}\n      ${(error.stack ?? String(error)).replaceAll("\n", "\n      ")}`);
    }
  }

  /** A check that does not apply for a reason, if there is one. */
  async checkUnless(reason, what, body) {
    if (reason === undefined) return await this.check(what, body);
    this.skipped += 1;
    console.log(`skip  ${what}: ${reason}`);
  }

  finish() {
    const skipped = this.skipped > 0 ? `, ${this.skipped} skipped` : "";
    console.log(`${this.name}: ${this.passed} passed, ${this.failed} failed${skipped}`);
    process.exit(this.failed === 0 && this.passed > 0 ? 0 : 1);
  }
}

/** The server binary named on the command line. */
export function binaryArgument() {
  const [binary] = process.argv.slice(2);
  if (!binary) {
    console.error(`usage: node ${process.argv[1]} SERVER-BINARY`);
    process.exit(2);
  }
  return binary;
}
