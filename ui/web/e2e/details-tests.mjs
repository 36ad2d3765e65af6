// What is told of one function: on the details, in the last hours, by thread, in the baseline; and on a narrow screen.
import assert from "node:assert/strict";
import { reader } from "./explore-tests.mjs";
import { busiest } from "./flame-tests.mjs";
import { eventually } from "./harness.mjs";
import { ask, flame, stacks } from "./model.mjs";
import { quietSpan } from "./time-tests.mjs";

const iso = (ms) => new Date(ms).toISOString();

export function detailsTests({ base, page, picture, guard }) {
  const see = reader(page);
  let span;
  const open = async (rest = "") => {
    span ??= await quietSpan(base);
    await page.goto(`${base}/?t=${iso(span.from)}/${iso(span.until)}${rest}`);
    await eventually("the graph is drawn", async () => (await see.frames()) > 1);
  };
  const escaped = (name) => name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  const find = async (name) => {
    await page.locator("#search").fill(`/^${escaped(name)}$/`);
    await page.locator("#search").press("Enter");
    await eventually(`${name} is selected`, async () => (await page.locator(".details h2").textContent()) === name);
    await page.locator("#search").press("Escape");
  };

  return [
    ["the details show when a function ran in the last hours, and a click goes there", async () => {
      await open("&x=none");
      const [name] = busiest(await flame(base, span));
      await find(name);
      const strip = page.locator(".hours svg");
      await strip.waitFor();
      const until = Math.ceil(span.until / 60_000) * 60_000;
      const history = await ask(base, "functions", { name, from: String((until - 6 * 3_600_000) / 1000), until: String(until / 1000), step_ms: "300000", top: "20" });
      const row = history.functions.find((one) => one.function === name);
      const steps = row.total.filter((samples) => samples > 0).length;
      await eventually("one bar for each step it ran in", async () => (await strip.locator("rect:not(.range)").count()) === steps);
      assert.match(await strip.getAttribute("aria-label"), new RegExp(`in ${steps} of `));
      await picture("hours");
      const box = await strip.boundingBox();
      await page.mouse.click(box.x + box.width * 0.995, box.y + box.height / 2);
      await eventually("another range", () => !page.url().includes(iso(span.from).slice(0, 19)));
    }],

    ["the details split a function by thread", async () => {
      await open("&x=none");
      const [name] = busiest(await flame(base, span));
      await find(name);
      await page.locator(".threads summary").click();
      const rows = page.locator(".threads [data-thread]");
      await eventually("its threads are there", async () => (await rows.count()) > 0);
      const sums = new Map();
      for (const { self, stack } of stacks(await flame(base, span, { by: "thread" }))) {
        if (!stack.some((frame) => frame.name === name && frame.kind !== "group")) continue;
        sums.set(stack[1].name, (sums.get(stack[1].name) ?? 0) + self);
      }
      const wanted = [...sums].filter(([, samples]) => samples > 0).sort((a, b) => b[1] - a[1]).slice(0, 6);
      const shown = await rows.evaluateAll((all) => all.map((row) => [row.textContent, Number(row.dataset.thread)]));
      assert.deepEqual(shown.map(([, samples]) => samples), wanted.map(([, samples]) => samples));
      await rows.first().click();
      await eventually("only that thread", () => decodeURIComponent(page.url()).includes(`thread="${shown[0][0]}"`));
    }],

    ["selecting a frame asks for no other graph, and leaves the headline as it was", async () => {
      await open("&x=none");
      const sentence = page.locator(".headline .sentence");
      const { baseline } = await ask(base, "headline", { from: (span.from / 1000).toFixed(3), until: (span.until / 1000).toFixed(3) });
      if (baseline) await sentence.locator("[data-ratio]").waitFor();
      // Finer frames come behind the first ones.
      await page.waitForLoadState("networkidle");
      const before = await sentence.textContent();
      // A pointer on the graph asks for that of the baseline.
      const asked = [];
      const note = (request) => {
        const { pathname, searchParams } = new URL(request.url());
        if (Math.abs(Number(searchParams.get("from")) * 1000 - span.from) < 1000) asked.push(pathname.split("/").at(-1));
      };
      page.on("request", note);
      const box = await see.graph.boundingBox();
      await page.mouse.click(box.x + box.width / 3, box.y + 38);
      await eventually("a frame is selected", () => new URL(page.url()).searchParams.has("sel"));
      await page.keyboard.press("o");
      await eventually("the other orientation", () => new URL(page.url()).searchParams.has("o"));
      await page.waitForTimeout(300);
      page.off("request", note);
      assert.deepEqual(asked.filter((path) => ["flame", "headline", "timeline"].includes(path)), []);
      assert.equal(await sentence.textContent(), before);
    }],

    ["the card under the pointer tells what a frame was in the baseline", async () => {
      await open("&x=none");
      const headline = await ask(base, "headline", { from: (span.from / 1000).toFixed(3), until: (span.until / 1000).toFixed(3) });
      const box = await see.graph.boundingBox();
      await page.mouse.move(box.x + 200, box.y + 18);
      await page.mouse.move(box.x + 210, box.y + 18);
      const card = page.locator(".hovercard");
      await card.waitFor();
      if (!headline.baseline) {
        assert.equal(await card.locator("[data-before]").count(), 0);
        return;
      }
      const before = await flame(base, { from: headline.baseline.from_ms, until: headline.baseline.until_ms });
      await eventually("all samples of the baseline", async () =>
        Number(await card.locator("[data-before]").getAttribute("data-before", { timeout: 5000 }).catch(() => -1)) === before.samples);
      assert.match(await card.textContent(), /Before/);
      await picture("card");
    }],

    ["a link names the zone that times are written in", async () => {
      await open("&tz=Asia/Kolkata");
      const zone = page.locator(".statusbar .rest button");
      assert.equal(await zone.textContent(), "UTC+5:30");
      const { from } = span;
      const shown = await page.locator("h1 button").textContent();
      assert.ok(shown.includes(new Date(from + 5.5 * 3_600_000).toISOString().slice(11, 19)), `${shown} is not that zone's clock`);
      await zone.click();
      await eventually("the browser's own", () => !page.url().includes("tz="));
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      await page.locator(".statusbar .rest button").click();
      await eventually("UTC", () => /[?&]tz=UTC/.test(page.url()));
      await eventually("its clock", async () => (await page.locator("h1 button").textContent()).includes(iso(from).slice(11, 19)));
    }],

    ["on a narrow screen the details are a sheet that stops at three heights", async () => {
      await page.setViewportSize({ width: 390, height: 844 });
      try {
        await open("&x=none");
        const sheet = page.locator(".details.sheet");
        assert.equal(await sheet.count(), 0);
        await see.graph.scrollIntoViewIfNeeded();
        const graph = await see.graph.boundingBox();
        await page.mouse.click(graph.x + 60, graph.y + 50);
        await sheet.waitFor();
        const height = async () => (await sheet.boundingBox()).height;
        await eventually("it peeks", async () => Math.abs((await height()) - 124) < 2);
        const grip = page.getByRole("button", { name: "Height of the details" });
        await grip.click();
        await eventually("half of the screen", async () => Math.abs((await height()) - 422) < 2);
        await picture("narrow-sheet");
        const box = await grip.boundingBox();
        await page.mouse.move(box.x + 100, box.y + 20);
        await page.mouse.down();
        await page.mouse.move(box.x + 100, box.y - 300, { steps: 5 });
        await page.mouse.up();
        await eventually("all of it", async () => (await sheet.getAttribute("data-stop")) === "full");
        await eventually("it has come to rest", async () => Math.abs((await height()) - 760) < 2);
        await grip.focus();
        await page.keyboard.press("ArrowDown");
        await eventually("half again", async () => (await sheet.getAttribute("data-stop")) === "half");
        await page.getByRole("button", { name: "Close the details" }).click();
        await sheet.waitFor({ state: "detached" });
        const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(content <= width, `${content} px on a screen of ${width}`);
        assert.deepEqual(guard.troubles, []);
      } finally {
        await page.setViewportSize({ width: 1440, height: 900 });
      }
    }],
  ];
}
