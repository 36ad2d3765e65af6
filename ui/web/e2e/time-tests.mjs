// Time: all of history, the baseline, events, and the sub-second heat map. Every figure is held against the API's own.
import assert from "node:assert/strict";
import { reader } from "./explore-tests.mjs";
import { eventually, held } from "./harness.mjs";
import { ask, flame, spanOf } from "./model.mjs";

const MINUTE = 60_000;
const iso = (ms) => new Date(ms).toISOString();
const seconds = (ms) => (ms / 1000).toFixed(3);

/** Some minutes that have ended; the later half of the data where there is little of it. */
export async function quietSpan(base) {
  const { data } = await ask(base, "status");
  const until = Math.floor((data.until_ms - 5000) / 1000) * 1000;
  const from = until - Math.min(12 * MINUTE, Math.floor((until - data.from_ms) / 2000) * 1000);
  return { from, until, data };
}

export function timeTests({ base, page, picture, guard, fixture }) {
  const see = reader(page);
  const overview = page.locator("canvas[aria-label^='All of history']");
  const heat = page.locator("canvas[aria-label^='Heat map']");
  const number = async (canvas, name) => Number(await canvas.getAttribute(`data-${name}`));
  let span;
  const open = async (rest = "") => {
    span ??= await quietSpan(base);
    await page.goto(`${base}/?t=${iso(span.from)}/${iso(span.until)}${rest}`);
    await eventually("the graph is drawn", async () => (await see.frames()) > 1);
  };
  const drag = async (canvas, [x0, y0], [x1, y1]) => {
    const box = await canvas.boundingBox();
    await page.mouse.move(box.x + x0, box.y + y0);
    await page.mouse.down();
    await page.mouse.move(box.x + (x0 + x1) / 2, box.y + (y0 + y1) / 2, { steps: 4 });
    await page.mouse.move(box.x + x1, box.y + y1, { steps: 4 });
    await page.mouse.up();
  };
  /** Where an instant stands on a canvas. */
  const at = async (canvas, ms) => {
    const [from, until, left, width] = await Promise.all(["from", "until", "left", "width"].map((name) => number(canvas, name)));
    return left + ((ms - from) / (until - from)) * width;
  };
  /** The middle of a cell of the heat map; rows count from the bottom. */
  const cell = async (column, row) => {
    const [left, width, top, height, columns] = await Promise.all(["left", "width", "top", "height", "columns"].map((name) => number(heat, name)));
    const { from, until } = spanOf(page.url());
    const start = Math.floor(from / 1000) * 1000;
    assert.ok(columns > column, `${columns} columns`);
    return [left + ((start + column * 1000 + 500 - from) / (until - from)) * width, top + height - ((row + 0.5) / 50) * height];
  };
  const rectangle = () => new URL(page.url().replaceAll("+", "%2B")).searchParams.get("hm");
  const annotations = async () => (await ask(base, "annotations", { from: seconds(span.from - 60 * MINUTE), until: seconds(span.until + 60 * MINUTE) })).annotations;

  return [
    ["the headline compares with yesterday as the API does, and names what explains it", async () => {
      await open();
      const headline = await ask(base, "headline", { from: seconds(span.from), until: seconds(span.until) });
      const sentence = page.locator(".headline .sentence");
      if (!headline.baseline) {
        assert.doesNotMatch(await sentence.textContent(), /yesterday/);
        return;
      }
      await eventually("the baseline is told", async () => /yesterday/.test(await sentence.textContent()));
      const ratio = Number(await page.locator(".headline [data-ratio]").getAttribute("data-ratio"));
      assert.ok(Math.abs(ratio - headline.ratio) < 1e-9, `${ratio} is not ${headline.ratio}`);
      if (!headline.cause) return;
      const cause = page.locator(".headline .cause");
      assert.equal(await cause.getAttribute("data-cause"), headline.cause.function);
      await cause.click();
      assert.equal(await page.locator("#search").inputValue(), headline.cause.function);
      await eventually("it is marked", async () => /%/.test(await page.locator("#search-result").textContent()));
    }],

    ["the baseline is chosen, and none says nothing", async () => {
      await open();
      const choose = async (name) => {
        await page.getByRole("button", { name: "Baseline", exact: true }).click();
        await page.getByRole("button", { name, exact: true }).click();
      };
      await choose("Nothing");
      await eventually("no comparison is made", async () => !/yesterday|last week/.test(await page.locator(".headline .sentence").textContent()));
      assert.match(page.url(), /[?&]base=none/);
      await choose("Last week");
      assert.match(page.url(), /[?&]base=week/);
      // Nobody watched a week ago.
      await page.waitForTimeout(500);
      assert.doesNotMatch(await page.locator(".headline .sentence").textContent(), /last week/);
      await choose("Yesterday");
      assert.ok(!page.url().includes("base="));
    }],

    ["the row of all history spans the data, and its window moves by drag, click and keys", async () => {
      await open();
      const { data } = span;
      await eventually("all of the data is in it", async () => (await number(overview, "from")) <= data.from_ms && (await number(overview, "until")) >= data.until_ms);
      const length = span.until - span.from;
      const box = await overview.boundingBox();
      const x = await at(overview, (span.from + span.until) / 2);
      const far = Math.min(200, x - (await number(overview, "left")) - 5);
      await drag(overview, [x, 10], [x - far, 10]);
      const moved = await eventually("an earlier range", () => {
        const now = spanOf(page.url());
        return now.until < span.until && now;
      });
      assert.ok(Math.abs(moved.until - moved.from - length) <= 2000, "its length stays");
      await eventually("its samples", async () => (await see.samples()) === (await flame(base, moved)).samples);
      await overview.focus();
      await page.keyboard.press("ArrowRight");
      await eventually("shifted by its length", () => Math.abs(spanOf(page.url()).from - Math.min(moved.until, span.data.until_ms - length)) <= 120_000 && spanOf(page.url()).from > moved.from);
      await page.mouse.click(box.x + (await at(overview, (span.from + span.until) / 2)), box.y + 10);
    }],

    ["the wheel zooms at the pointer, and Shift pans", async () => {
      await open();
      const box = await see.timeline.boundingBox();
      const instant = span.from + (span.until - span.from) * 0.7;
      await page.mouse.move(box.x + (await at(see.timeline, instant)), box.y + 80);
      await page.mouse.wheel(0, -300);
      const zoomed = await eventually("a shorter window", async () => {
        const now = spanOf(page.url());
        return now.until - now.from < (span.until - span.from) * 0.8 && now;
      });
      const share = (instant - zoomed.from) / (zoomed.until - zoomed.from);
      assert.ok(Math.abs(share - 0.7) < 0.02, `the instant stays under the pointer: ${share}`);
      await page.keyboard.down("Shift");
      await drag(see.timeline, [400, 80], [500, 80]);
      await page.keyboard.up("Shift");
      await eventually("an earlier window of the same length", () => {
        const now = spanOf(page.url());
        return now.from < zoomed.from && Math.abs(now.until - now.from - (zoomed.until - zoomed.from)) <= 1000;
      });
    }],

    ["a moment is annotated by key and by double click, hostile text is text, and it is taken back", async () => {
      await open();
      const before = (await annotations()).length;
      await page.keyboard.press("n");
      await page.locator("#annotation").fill("<img src=x onerror=alert(1)> \u202eRTL");
      await page.getByLabel("Deploy").check();
      await page.keyboard.press("Enter");
      // A mark's text gives way where others stand beside it.
      const event = (text) => page.locator(`.event[data-text^="${text}"]`);
      await event("<img").waitFor();
      assert.equal(await event("<img").getAttribute("data-event"), "deploy");
      assert.equal(await page.locator(".lane img").count(), 0);
      const [made] = (await annotations()).filter(({ kind }) => kind === "deploy" && true).slice(-1);
      assert.equal(made.time_ms, span.from);
      const box = await see.timeline.boundingBox();
      const instant = span.from + (span.until - span.from) / 2;
      await page.mouse.dblclick(box.x + (await at(see.timeline, instant)), box.y + 100);
      await page.locator("#annotation").fill("half way");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await event("half way").waitFor();
      assert.equal(await event("half way").getAttribute("data-event"), "note");
      const half = (await annotations()).find(({ text }) => text === "half way");
      assert.ok(Math.abs(half.time_ms - instant) < (span.until - span.from) / 500, `${half.time_ms - instant} ms off`);
      for (const text of ["half way", "<img"]) {
        await event(text).click();
        const panel = page.getByRole("group", { name: "Annotation" });
        assert.ok((await panel.locator("b").textContent()).startsWith(text));
        await panel.getByRole("button", { name: "Remove" }).click();
        await eventually(`${text} is gone`, async () => (await event(text).count()) === 0);
      }
      assert.equal((await annotations()).length, before);
    }],

    ["a right click copies the time", async () => {
      const box = await see.timeline.boundingBox();
      const instant = span.from + (span.until - span.from) / 4;
      await page.mouse.click(box.x + (await at(see.timeline, instant)), box.y + 100, { button: "right" });
      const copied = await eventually("a time in the clipboard", async () => Date.parse(await page.evaluate(() => navigator.clipboard.readText())));
      assert.ok(Math.abs(copied - instant) < (span.until - span.from) / 500);
    }],

    ["a rectangle of the heat map is the flame graph of exactly its samples", async () => {
      await open();
      await page.keyboard.press("e");
      const columns = await eventually("the map is drawn", () => number(heat, "columns"));
      const [first, last] = [Math.floor(columns * 0.2), Math.floor(columns * 0.7)];
      assert.match(page.url(), /[?&]hm(&|$)/);
      const whole = await see.samples();
      await drag(heat, await cell(first, 5), await cell(last, 24));
      await eventually("the rectangle is in the URL", () => rectangle()?.includes("@100-500"));
      const start = Math.floor(span.from / 1000) * 1000;
      const part = { from: start + first * 1000, until: start + (last + 1) * 1000 };
      const answer = await flame(base, part, { offset_from_ms: 100, offset_until_ms: 500 });
      assert.ok(answer.samples > 0 && answer.samples < whole);
      await eventually(`${answer.samples} samples`, async () => (await see.samples()) === answer.samples);
      await eventually("the reading says so", async () => Number(await page.locator("[data-rectangle]").getAttribute("data-rectangle")) === answer.samples);
      await picture("heat-map");
      const url = page.url();
      await page.goto("about:blank");
      await page.goto(url);
      await eventually("a link leads back to it", async () => (await see.samples()) === answer.samples);
      await page.getByRole("button", { name: "Whole range again" }).click();
      await eventually("all samples are back", async () => (await see.samples()) === whole);
    }],

    ["Shift and a drag add rectangles, and what lies in several counts once", async () => {
      await open();
      await page.keyboard.press("e");
      const columns = await eventually("the map is drawn", () => number(heat, "columns"));
      const whole = await see.samples();
      const [first, middle, last] = [0.15, 0.3, 0.45].map((part) => Math.floor(columns * part));
      await drag(heat, await cell(first, 5), await cell(middle, 24));
      await eventually("one rectangle", () => rectangle()?.includes("@100-500"));
      const one = await eventually("its samples", async () => (await see.samples()) < whole && see.samples());
      await page.keyboard.down("Shift");
      await drag(heat, await cell(middle - 1, 15), await cell(last, 39));
      await page.keyboard.up("Shift");
      await eventually("two rectangles", () => rectangle()?.split(",").length === 2);
      const start = Math.floor(span.from / 1000) * 1000;
      const second = (column) => start + column * 1000;
      const parts = [[second(first), second(middle + 1), 100, 500], [second(middle - 1), second(last + 1), 300, 800]];
      const hull = { from: second(first), until: second(last + 1) };
      const among = (all) => flame(base, hull, { part: all.map((part) => part.join(",")) });
      const [both, ...each] = await Promise.all([among(parts), among([parts[0]]), among([parts[1]])]);
      assert.equal(each[0].samples, one);
      assert.ok(both.samples > one && both.samples < each[0].samples + each[1].samples, "they overlap");
      await eventually(`${both.samples} samples`, async () => (await see.samples()) === both.samples);
      await page.locator(".heat-reading", { hasText: "2 rectangles" }).waitFor();
      await picture("rectangles");
      const url = page.url();
      await page.goto("about:blank");
      await page.goto(url);
      await eventually("a link leads back to them", async () => (await see.samples()) === both.samples);
      for (let step = 0; step < 3; step++) await page.goBack();
      await eventually("one step back there is one", async () => rectangle()?.split(",").length === 1 && (await see.samples()) === one);
      await heat.focus();
      await page.keyboard.press("Escape");
      await eventually("all samples are back", async () => (await see.samples()) === whole);
    }],

    ["a right click on the heat map has a second's flame graph, and a comparison of it with the range", async () => {
      await open();
      await page.keyboard.press("e");
      const columns = await eventually("the map is drawn", () => number(heat, "columns"));
      const whole = await see.samples();
      // In the middle, or behind a gap that is there.
      let column = Math.floor(columns / 2);
      const start = (at) => Math.floor(span.from / 1000) * 1000 + at * 1000;
      const of = (at) => flame(base, { from: start(at), until: start(at) + 1000 });
      while (column < columns - 2 && (await of(column)).samples === 0) column += 10;
      const second = start(column);
      const click = async () => {
        const box = await heat.boundingBox();
        const [x, y] = await cell(column, 20);
        await page.mouse.click(box.x + x, box.y + y, { button: "right" });
      };
      await click();
      await page.getByRole("menuitem", { name: "Flame graph of this second" }).click();
      const { samples } = await of(column);
      await eventually(`${samples} samples`, async () => (await see.samples()) === samples);
      await click();
      await page.getByRole("menuitem", { name: "Flame graph of the whole range" }).click();
      await eventually("all samples are back", async () => (await see.samples()) === whole);
      await click();
      await page.getByRole("menuitem", { name: "Flame graph of this part of every second" }).click();
      await eventually("a row of the map", () => rectangle()?.includes("@400-420"));
      await page.goBack();
      await click();
      await page.keyboard.press("Escape");
      assert.equal(await page.getByRole("menuitem").count(), 0);
      await click();
      await page.getByRole("menuitem", { name: "Compare with the whole range" }).click();
      await eventually("the comparison", () => new URL(page.url()).pathname === "/compare");
      const { a, b } = Object.fromEntries(new URL(page.url().replaceAll("+", "%2B")).searchParams);
      const bounds = (side) => spanOf(`${base}/?t=${side.split(";")[0].replaceAll("+", "%2B")}`);
      assert.deepEqual([bounds(a), bounds(b)], [{ from: span.from, until: span.until }, { from: second, until: second + 1000 }]);
      await page.goBack();
      await eventually("back at the graph", async () => (await see.frames()) > 1);
    }],

    ["a rectangle is selected by keys, a second by double click, and Escape takes it back", async () => {
      const whole = await see.samples();
      await heat.focus();
      for (const key of ["ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp"]) await page.keyboard.press(key);
      await page.getByRole("button", { name: "Flame graph of this rectangle" }).waitFor();
      await page.keyboard.press("Enter");
      const chosen = await eventually("a rectangle", () => rectangle());
      const [, low, high] = /@(\d+)-(\d+)$/.exec(chosen);
      assert.equal(high - low, 40, "two rows");
      const [first, second] = chosen.split("@")[0].split("/");
      const from = Date.parse(first);
      const until = Date.parse(`${first.slice(0, 11)}${second}${first.slice(19)}`);
      assert.equal(until - from, 3000, "three seconds");
      const answer = await flame(base, { from, until }, { offset_from_ms: low, offset_until_ms: high });
      if (answer.samples > 0) await eventually("its samples", async () => (await see.samples()) === answer.samples);
      await heat.focus();
      await page.keyboard.press("Escape");
      await eventually("all samples are back", async () => (await see.samples()) === whole);
      const box = await heat.boundingBox();
      const [x, y] = await cell(Math.floor((await number(heat, "columns")) / 3), 20);
      await page.mouse.dblclick(box.x + x, box.y + y);
      await eventually("a whole second", () => rectangle() && !rectangle().includes("@"));
      await page.keyboard.press("e");
      await heat.waitFor({ state: "detached" });
      await eventually("all samples are back", async () => (await see.samples()) === whole);
    }],

    ["a long range says why it has no heat map", async () => {
      const from = span.until - 45 * MINUTE;
      await page.goto(`${base}/?t=${iso(from)}/${iso(span.until)}&hm`);
      await page.getByText("A heat map is of at most 30 minutes").waitFor();
    }],

    ["what takes long is told by its size and how much of that is read, and cancelled", async () => {
      await held(page, "**/api/v1/flame*", async (shut) => {
        await open();
        shut();
        await page.keyboard.press(",");
        const reading = page.locator(".headline .reading");
        // What is held here never reached a real server, which then knows its size alone.
        await reading.getByText(fixture ? /^Reading .* of 1\.1\d?\sGB/ : /^Reading .* (?:in \d+ segments?…|of )/).waitFor();
        if (fixture) assert.ok(Math.abs((await reading.locator("progress").evaluate((bar) => bar.position)) - 12 / 31) < 1e-6);
        await reading.getByRole("button", { name: "Cancel" }).click();
        await reading.waitFor({ state: "detached" });
        assert.ok((await see.frames()) > 1, "the last picture stays");
      });
      assert.deepEqual(guard.troubles, []);
    }],

    ["the graphs before and after a range are asked for ahead, as they are when one goes there", async () => {
      // Where a range's own graph takes long, no others are asked for: a server's first answer may.
      await open();
      const { from, until } = span;
      const length = until - from;
      const about = (start) => (request) => {
        const params = new URL(request.url()).searchParams;
        return request.url().includes("/api/v1/flame?") && params.get("from") === seconds(start) && params.get("until") === seconds(start + length);
      };
      const ahead = page.waitForResponse(about(from - length));
      await open();
      const first = await ahead;
      assert.equal(spanOf(page.url()).from, from, "nobody has gone there");
      await first.finished();
      const wanted = page.waitForRequest(about(from - length));
      await page.keyboard.press(",");
      assert.equal((await wanted).url(), first.url());
      await eventually("its graph is drawn", async () => (await see.frames()) > 1);
    }],

    ["a drag that Escape ends selects nothing", async () => {
      await open();
      const before = page.url();
      const box = await see.timeline.boundingBox();
      await page.mouse.move(box.x + 300, box.y + 60);
      await page.mouse.down();
      await page.mouse.move(box.x + 500, box.y + 60, { steps: 4 });
      const drawn = Number(await page.locator("h1").getAttribute("data-until"));
      assert.ok(drawn < span.until, "a span is drawn");
      await page.keyboard.press("Escape");
      await page.mouse.up();
      await eventually("the range is what it was", async () => Number(await page.locator("h1").getAttribute("data-until")) === span.until, 5000);
      assert.equal(page.url(), before);
    }],

    ["two fingers zoom the time line, and select nothing", async () => {
      await open();
      const box = await see.timeline.boundingBox();
      const y = box.y + 60;
      const middle = box.x + Number(await see.timeline.getAttribute("data-left")) + Number(await see.timeline.getAttribute("data-width")) / 2;
      const touches = await page.context().newCDPSession(page);
      const touch = (type, ...places) => touches.send("Input.dispatchTouchEvent", { type, touchPoints: places.map((x, id) => ({ x, y, id })) });
      await touch("touchStart", middle - 50);
      await touch("touchStart", middle - 50, middle + 50);
      for (const half of [60, 80, 100]) await touch("touchMove", middle - half, middle + half);
      await touch("touchEnd");
      await touches.detach();
      const after = await eventually("a shorter window", () => {
        const zoomed = spanOf(page.url());
        return zoomed.until - zoomed.from < (span.until - span.from) * 0.6 && zoomed;
      }, 5000);
      const half = (span.until - span.from) / 2;
      assert.ok(Math.abs(after.until - after.from - half) <= 3000, `${after.until - after.from} ms of ${2 * half}`);
      assert.ok(Math.abs(after.from + after.until - span.from - span.until) <= 6000, "around what is between them");
      assert.doesNotMatch(page.url(), /[?&]w=/);
    }],

    ["a range without data leads to the nearest", async () => {
      if (!fixture) return; // A real one has no end of its own before now.
      const { data } = span;
      const from = data.from_ms - 3 * 60 * MINUTE;
      await page.goto(`${base}/?t=${iso(from)}/${iso(from + 10 * MINUTE)}`);
      await page.getByRole("button", { name: /^Nearest data/ }).click();
      await eventually("there are samples", async () => (await see.frames()) > 1);
      assert.ok(Math.abs(spanOf(page.url()).from - data.from_ms) < 20 * MINUTE);
    }],
  ];
}
