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

/** Collects what must not happen on a page: errors, violations of the policy, requests to elsewhere. */
export function watch(page, origin) {
  const troubles = [];
  // A test that provokes a refusal says so first.
  const expected = new Set();
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
