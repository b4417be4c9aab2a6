// The demo page in Chromium, served by the built server. Keeps two screenshots.
//
//     NODE_PATH=where/playwright-core/is/installed/node_modules node run.mjs SERVER-BINARY [SCREENSHOT-DIRECTORY]
//
// CHROMIUM names the browser; the default is Debian's.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { Server, Suite, binaryArgument, within } from "../clients/harness.mjs";

// Unlike `import`, this heeds NODE_PATH: nothing need be installed beside this file.
const { chromium } = createRequire(import.meta.url)("playwright-core");

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const DEADLINE = 15_000;
// The page waits up to 0.5 s · 2^n before attempt n: this covers the first six, whatever they draw.
const RECONNECT_DEADLINE = 40_000;

const binary = binaryArgument();
const screenshots = process.argv[3] ?? "target/browser";
mkdirSync(screenshots, { recursive: true });
if (!existsSync(CHROMIUM)) {
  console.error(`there is no ${CHROMIUM}: install the package chromium, or name the browser in CHROMIUM`);
  process.exit(2);
}

const suite = new Suite("browser", 180_000);

/** A port to come back to after a restart. */
async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

const port = await freePort();
let server = await Server.start(binary, { port });
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 1024, height: 768 } });
context.setDefaultTimeout(DEADLINE);

/** Everything that the browser complained about, of any page. */
const complaints = [];

async function visit(hash = "") {
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  await page.goto(`http://${server.host}/${hash}`);
  return page;
}

/** The page's text at `selector` comes to fulfil `expected`: a part of it, or a pattern. */
async function shows(page, selector, expected, timeout = DEADLINE) {
  await page.locator(selector).filter({ hasText: expected }).waitFor({ state: "visible", timeout });
}

const open = (page, timeout) => shows(page, "#state", /^open$/, timeout);

async function say(page, text) {
  await page.fill("#message", text);
  await page.press("#message", "Enter");
}

const heard = (page) => page.locator("#messages li span").allTextContents();

/** All of `pages` hear each of `texts`, said by the pages in turn, and in that order. */
async function converse(pages, texts) {
  const before = await Promise.all(pages.map(async (page) => (await heard(page)).length));
  for (const [at, text] of texts.entries()) {
    await say(pages[at % pages.length], text);
    for (const [number, page] of pages.entries()) {
      await page.locator("#messages li span").nth(before[number] + at).waitFor();
    }
  }
  for (const [number, page] of pages.entries()) assert.deepEqual((await heard(page)).slice(before[number]), texts);
}

let one, two;

await suite.check("the page connects by itself and says so", async () => {
  [one, two] = [await visit(), await visit()];
  await Promise.all([open(one), open(two)]);
  assert.equal(await one.textContent("#connect"), "Disconnect");
  assert.equal(await one.isEnabled("#send"), true);
});

await suite.check("two pages hear each other and themselves", () => converse([one, two], ["from one", "from two"]));

await suite.check("HTML in a message is shown as text", async () => {
  const text = `<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> &amp;`;
  await converse([one, two], [text]);
  assert.equal(await two.locator("#messages li span *").count(), 0);
});

await suite.check("a binary message is shown by its size", async () => {
  await one.evaluate(() => socket.send(new Uint8Array(300)));
  for (const page of [one, two]) await shows(page, "#messages li:last-child span", /^binary, 300 bytes$/);
});

await suite.check("a long list forgets its oldest entries", async () => {
  const page = await visit("#long");
  await open(page);
  await page.evaluate(() => {
    for (let number = 1; number <= 600; number += 1) socket.send(`entry ${number}`);
  });
  await shows(page, "#messages li:last-child span", /^entry 600$/);
  const entries = await heard(page);
  assert.equal(entries.length, 500);
  assert.equal(entries[0], "entry 101");
  await page.close();
});

await suite.check("rooms are apart, and an address leads to its room", async () => {
  const link = `#${encodeURIComponent("é room/1")}`;
  const three = await visit(link);
  await open(three);
  assert.equal(await three.inputValue("#room"), "é room/1");
  const four = await visit();
  await open(four);
  await four.fill("#room", "é room/1");
  await four.press("#room", "Enter");
  await four.waitForURL((url) => url.hash === link);
  await open(four);
  await converse([three, four], ["only here", "and here"]);
  await converse([one, two], ["only there", "and there"]);
  assert.deepEqual(await heard(three), ["only here", "and here"]);
  await Promise.all([three.close(), four.close()]);
});

await suite.check("a user who disconnects stays away until connecting again", async () => {
  await two.click("#connect");
  await shows(two, "#state", /^closed$/);
  await shows(two, "#close", "Closed with 1000 (normal closure)");
  assert.equal(await two.isEnabled("#send"), false);
  await one.fill("#message", "said in absence");
  await one.click("#send");
  await shows(one, "#messages li:last-child span", "said in absence");
  assert.equal(await two.textContent("#state"), "closed");
  await two.click("#connect");
  await open(two);
  await converse([one, two], ["back", "again"]);
  assert.ok(!(await heard(two)).includes("said in absence"));
});

await suite.check("screenshots of a desktop and of a phone", async () => {
  await converse([one, two], ["Good morning!", "Good morning to you, too.", "¡Buenos días! Καλημέρα! 👋",
                              "A message that is long enough to need more than one line on a small screen. ".repeat(3)]);
  await one.screenshot({ path: join(screenshots, "demo.png") });
  await one.setViewportSize({ width: 390, height: 844 });
  // Nothing sticks out of a phone's screen.
  const [inner, outer] = await one.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inner <= outer, `the page is ${inner} pixels wide on a screen of ${outer}`);
  await one.emulateMedia({ colorScheme: "dark" });
  await one.screenshot({ path: join(screenshots, "demo-phone.png") });
  await one.setViewportSize({ width: 1024, height: 768 });
});

await suite.check("until here the browser had nothing to complain about", async () => {
  assert.deepEqual(complaints, []);
});

await suite.check("a lost server is noticed, and both pages try again", async () => {
  await server.stop("SIGKILL");
  for (const page of [one, two]) {
    await shows(page, "#close", "Closed with 1006 (connection lost without a closing handshake)");
    await shows(page, "#state", /^(reconnecting|connecting)$/);
    assert.equal(await page.isEnabled("#send"), false);
  }
});

await suite.check("when the server is back, so are both pages, by themselves", async () => {
  server = await Server.start(binary, { port });
  await Promise.all([open(one, RECONNECT_DEADLINE), open(two, RECONNECT_DEADLINE)]);
  await converse([one, two], ["after the restart", "heard again"]);
}, RECONNECT_DEADLINE + DEADLINE);

await suite.check("a server that shuts down is shown with 1001", async () => {
  const ended = server.stop("SIGTERM");
  for (const page of [one, two]) await shows(page, "#close", "Closed with 1001 (going away");
  assert.deepEqual(await ended, { code: 0, signal: null });
});

await within(DEADLINE, "the browser ends", browser.close()).catch((error) => console.error(error.message));
suite.finish();
