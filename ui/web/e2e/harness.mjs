// What the browser tests stand on: the browser, a list of named tests, and assertions that say what they saw.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Debian's Chromium, or the one VESTA_CHROMIUM names; `more` are further flags. */
export async function launch(more = []) {
  const executablePath = process.env.VESTA_CHROMIUM || "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    throw new Error(`there is no Chromium at ${executablePath}: type \`cargo xtask setup\` to install it`);
  }
  return chromium.launch({ executablePath, args: [...FLAGS, ...more] });
}

/** Runs tests one after the other; a failure does not stop the next. Returns how many failed. */
export async function runTests(tests, onFailure) {
  let failed = 0;
  for (const [name, test] of tests) {
    const start = performance.now();
    try {
      await test();
      console.log(`ok    ${name} (${Math.round(performance.now() - start)} ms)`);
    } catch (error) {
      failed++;
      console.log(`FAIL  ${name}\n${String(error?.stack ?? error).replace(/^/gm, "      ")}`);
      await onFailure(name).catch(() => {});
    }
  }
  console.log(`${tests.length - failed} passed, ${failed} failed`);
  return failed;
}

/** Waits until `probe` returns something true, and returns it. */
export async function eventually(what, probe, limit = 60_000) {
  const deadline = performance.now() + limit;
  let last;
  for (;;) {
    last = await probe();
    if (last) return last;
    if (performance.now() > deadline) assert.fail(`${what}: not within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Answers what `pattern` matches in the server's place until `work` is done or has failed. A question may get past a route
 * that was set just before it: what depends on a certain one opens its page in `work`.
 */
export async function instead(page, pattern, answer, work) {
  const running = new Set();
  let over = false;
  // An answer that is still being made when its route goes away would be given to nobody, which is an error.
  const handler = (route) => {
    if (over) return route.continue();
    const done = Promise.resolve(answer(route)).finally(() => running.delete(done));
    running.add(done);
    return done;
  };
  await page.route(pattern, handler);
  try {
    await work();
  } finally {
    over = true;
    await Promise.allSettled(running);
    await page.unroute(pattern, handler);
  }
}

/** Holds what matches `pattern` from `shut()` to `open()`, and no longer than `work`, which is given both. */
export async function held(page, pattern, work) {
  let open = () => {};
  let passed = Promise.resolve();
  const shut = () => (passed = new Promise((resolve) => (open = resolve)));
  const wait = async (route) => {
    await passed;
    await route.continue().catch(() => {}); // cancelled meanwhile
  };
  await instead(page, pattern, wait, () => work(shut, () => open()).finally(() => open()));
}

/** Collects what must not happen on a page: errors, violations of the policy, requests to elsewhere. */
export function watch(page, origin) {
  const troubles = [];
  // A test that provokes a refusal says so first. A server that is busy is asked again, by the page itself.
  const expected = new Set([503]);
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const path = new URL(message.location().url || origin, origin).pathname;
    const status = Number(/with a status of (\d+)/.exec(message.text())?.[1]);
    if (expected.has(status) && path.startsWith("/api/")) return;
    troubles.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) troubles.push(`request to ${request.url()}`);
  });
  return { troubles, expect: (status) => expected.add(status) };
}
