// Looks at a Vesta through a real browser. VESTA_URL names one that runs; without it, generated data is served.
// VESTA_E2E_PROCESS: a process that must be there. VESTA_E2E_DEEP: one whose stacks are deeper than the limit.
// VESTA_ARTIFACTS: where pictures go.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch, runTests, watch } from "./harness.mjs";
import { startFixture } from "./fixture-server.mjs";
import { accessTests } from "./access-tests.mjs";
import { compareTests } from "./compare-tests.mjs";
import { detailsTests } from "./details-tests.mjs";
import { exploreTests } from "./explore-tests.mjs";
import { findTests } from "./find-tests.mjs";
import { flameTests } from "./flame-tests.mjs";
import { listingTests } from "./listing-tests.mjs";
import { lookTests } from "./look-tests.mjs";
import { stateTests } from "./state-tests.mjs";
import { timeTests } from "./time-tests.mjs";
import { truthTests } from "./truth-tests.mjs";
import { viewTests } from "./view-tests.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const VIEWPORT = { width: 1440, height: 900 };
const artifacts = process.env.VESTA_ARTIFACTS || join(here, "../../../ci/artifacts");

async function main() {
  mkdirSync(artifacts, { recursive: true });
  const browser = await launch();
  const fixture = process.env.VESTA_URL ? undefined : await startFixture();
  const base = (process.env.VESTA_URL ?? fixture.url).replace(/\/$/, "");
  console.log(`looking at ${base}${fixture ? " (generated data)" : ""}`);
  let past;
  try {
    const page = await open(browser, base);
    const guard = watch(page, new URL(base).origin);
    const picture = (name) => page.screenshot({ path: join(artifacts, `page-${name}.png`) });
    const world = { base, page, guard, picture, process: process.env.VESTA_E2E_PROCESS, deep: process.env.VESTA_E2E_DEEP, fixture };
    const suites = [exploreTests, flameTests, viewTests, truthTests, stateTests, accessTests, listingTests, lookTests];
    // VESTA_E2E_ONLY: only tests whose name holds it, for work on them.
    const chosen = (of, its) => of.flatMap((suite) => suite(its)).filter(([name]) => name.includes(process.env.VESTA_E2E_ONLY ?? ""));
    let failed = await runTests(chosen(suites, world), afterFailure(world));
    // The past is long only in a world of its own: the tests above ask for all of it.
    past = fixture && (await startFixture({ hours: 26 }));
    const other = past ? await open(browser, past.url) : page;
    const olden = {
      ...world, base: past?.url ?? base, page: other, fixture: past, picture: (name) => other.screenshot({ path: join(artifacts, `page-${name}.png`) }),
      guard: past ? watch(other, new URL(past.url).origin) : guard,
    };
    failed += await runTests(chosen([timeTests, compareTests, findTests, detailsTests], olden), afterFailure(olden));
    process.exitCode = failed ? 1 : 0;
  } finally {
    await browser.close();
    fixture?.close();
    past?.close();
  }
}

/** Keeps a picture of what a test ended with, and gives the next one a page of the usual size: the test may have been about a narrow one. */
const afterFailure = ({ page, picture }) => async (name) => {
  await picture(`failed-${name.replace(/\W+/g, "-")}`);
  await page.setViewportSize(VIEWPORT);
};

/** A page of its own that may use the clipboard. */
async function open(browser, base) {
  const context = await browser.newContext({ viewport: VIEWPORT, colorScheme: "light" });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(base).origin });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  return page;
}

main().catch((error) => {
  console.error(`e2e: ${error.message}`);
  process.exitCode = 1;
});
