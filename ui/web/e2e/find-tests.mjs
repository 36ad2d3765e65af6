// Finding and sharing: completion, groups, functions over time, pins, saved views, other viewers.
import assert from "node:assert/strict";
import { reader } from "./explore-tests.mjs";
import { eventually } from "./harness.mjs";
import { ask, flame, spanOf } from "./model.mjs";
import { quietSpan } from "./time-tests.mjs";

const iso = (ms) => new Date(ms).toISOString();

export function findTests({ base, page, guard }) {
  const see = reader(page);
  let span;
  const open = async (rest = "") => {
    span ??= await quietSpan(base);
    await page.goto(`${base}/?t=${iso(span.from)}/${iso(span.until)}${rest}`);
    await eventually("the graph is drawn", async () => (await see.frames()) > 1);
  };
  const offers = page.locator("#selector-offers [role=option]");

  return [
    ["the selector completes labels and values by keys, and selects", async () => {
      await open();
      await page.keyboard.press("q");
      await page.keyboard.type("pro");
      await eventually("a label is offered", async () => (await offers.first().textContent())?.startsWith("process"));
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Tab");
      await eventually("operators are offered", async () => (await offers.first().textContent())?.startsWith("="));
      await page.keyboard.type("=");
      const { values } = await ask(base, "labels/process/values", { from: span.from / 1000, until: span.until / 1000 });
      await eventually("values are offered, most samples first", async () => (await offers.first().textContent())?.startsWith(values[0].value));
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Enter");
      assert.equal(await page.locator("#selector").inputValue(), `process="${values[0].value}"`);
      await page.keyboard.press("Enter");
      await eventually("its samples", async () => (await see.samples()) === values[0].samples);
    }],

    ["an offer is taken by pointer, and Escape leaves them", async () => {
      await open();
      await page.locator("#selector").click();
      await offers.filter({ hasText: /^\s*host/ }).click();
      assert.equal(await page.locator("#selector").inputValue(), "host");
      await page.keyboard.press("Escape");
      await page.locator("#selector-offers").waitFor({ state: "detached" });
      await page.keyboard.press("Escape");
      assert.equal(await page.locator("#selector").inputValue(), "");
    }],

    ["samples are grouped by any label that the server knows", async () => {
      await open();
      const { labels } = await ask(base, "labels", { from: span.from / 1000, until: span.until / 1000 });
      await page.getByRole("button", { name: "Group by" }).click();
      for (const label of labels) await page.locator(".panel").getByRole("button", { name: label, exact: true }).waitFor();
      await page.locator(".panel").getByRole("button", { name: "exe", exact: true }).click();
      assert.match(page.url(), /[?&]by=exe/);
      const { values } = await ask(base, "labels/exe/values", { from: span.from / 1000, until: span.until / 1000 });
      await eventually("its values in the legend", async () => (await see.legend()).includes(values[0].value));
    }],

    ["a function is found over all of history, and leads to when it ran", async () => {
      await open();
      const answer = await flame(base, span);
      const name = answer.strings[answer.frames.function[answer.nodes.frame.findLast((frame) => answer.kinds[answer.frames.kind[frame]] === "native")]];
      await page.keyboard.press("g");
      const dialog = page.getByRole("dialog");
      await page.locator("#function-search").fill(`/^${name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}$/`);
      await page.keyboard.press("Enter");
      const row = dialog.locator("li").filter({ has: page.locator(`b:text-is(${JSON.stringify(name)})`) }).first();
      await row.waitFor();
      await row.getByRole("button", { name: /^last/ }).click();
      await dialog.waitFor({ state: "detached" });
      assert.equal(await page.locator("#search").inputValue(), name);
      await eventually("it has samples there", async () => {
        const share = await page.locator("#search-result").textContent();
        return /%/.test(share) && !share.startsWith("0\u202f");
      });
      await page.keyboard.press("g");
      await page.locator("#function-search").fill("no such function anywhere");
      await page.keyboard.press("Enter");
      await dialog.getByText("No function of this name was ever sampled.").waitFor();
      await page.keyboard.press("Escape");
    }],

    ["a range is pinned with a note, is a baseline, and is unpinned", async () => {
      await open();
      const pins = async () => (await ask(base, "pins")).pins;
      await page.keyboard.press("p");
      await page.locator("#pin-note").fill("the <b>incident</b>");
      await page.getByRole("button", { name: "Pin this range" }).click();
      const made = await eventually("the pin is kept", async () => (await pins()).find(({ note }) => note === "the <b>incident</b>"));
      assert.deepEqual([made.from_ms, made.until_ms], [span.from, span.until]);
      const row = page.locator(`[data-pin="${made.id}"]`);
      await row.getByRole("button", { name: "as baseline" }).click();
      assert.equal(new URL(page.url()).searchParams.get("base"), `pin:${made.id}`);
      await eventually("it is compared with itself", async () => /as the pinned range/.test(await page.locator(".headline .sentence").textContent()));
      await row.getByRole("button", { name: /^Unpin/ }).click();
      await eventually("it is gone", async () => !(await pins()).some(({ id }) => id === made.id));
      await page.keyboard.press("Escape");
    }],

    ["a view is saved in this browser, and found again", async () => {
      await open("&by=thread&s=main");
      await page.keyboard.press("p");
      await page.locator("#pin-note").fill("threads of main");
      await page.keyboard.press("Enter");
      await page.goto(base);
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      await page.keyboard.press("p");
      await page.getByRole("link", { name: "threads of main" }).click();
      await eventually("the same view", async () => (await see.frames()) > 1 && /by=thread&s=main/.test(page.url()));
      assert.deepEqual(spanOf(page.url()), { from: span.from, until: span.until });
      await page.keyboard.press("p");
      await page.getByRole("button", { name: "Forget threads of main" }).click();
      await eventually("it is forgotten", async () => (await page.getByRole("link", { name: "threads of main" }).count()) === 0);
      await page.keyboard.press("Escape");
    }],

    ["other viewers open what this address exports, where they may", async () => {
      await open();
      const { origins } = await ask(base, "status");
      await page.getByRole("button", { name: "Export" }).click();
      for (const [origin, name, format] of [["https://profiler.firefox.com", "Firefox Profiler", "firefox"], ["https://www.speedscope.app", "speedscope", "speedscope"]]) {
        const link = page.locator(`.panel a[href^="${origin}"]`);
        if (!origins.includes(origin)) {
          assert.equal(await link.count(), 0, name);
          assert.match(await page.locator(".panel code").textContent(), new RegExp(origin));
          continue;
        }
        const address = decodeURIComponent(/(?:from-url\/|profileURL=)(.*)$/.exec(await link.getAttribute("href"))[1]);
        assert.ok(address.startsWith(`${base}/api/v1/query?`), address);
        assert.equal(new URL(address).searchParams.get("format"), format);
      }
      await page.keyboard.press("Escape");
      assert.deepEqual(guard.troubles, []);
    }],
  ];
}
