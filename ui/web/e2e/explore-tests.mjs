// What a user does: select time, zoom, search, filter. Every total is held against the API's own answer.
import assert from "node:assert/strict";
import { eventually } from "./harness.mjs";
import { ask, byFunction, flame, matching, percent, spanOf, stacks } from "./model.mjs";

/** What the page shows, by roles and data attributes. */
export function reader(page) {
  const graph = page.locator('canvas[aria-label="Flame graph"]');
  const timeline = page.locator("canvas[aria-label^='Time line']");
  return {
    graph,
    timeline,
    samples: async () => Number(await page.locator("[data-samples].sentence").getAttribute("data-samples", { timeout: 15_000 })),
    frames: async () => Number(await graph.getAttribute("data-frames")),
    attribute: (name) => graph.getAttribute(`data-${name}`),
    legend: () => page.locator(".legend tr[data-value]").evaluateAll((rows) => rows.map((row) => row.dataset.value)),
    /** The largest of its values; the time line may come after the graph. */
    largest: () => page.locator(".legend tr[data-value]").first().getAttribute("data-value"),
  };
}

export function exploreTests({ base, page, picture, process: wanted }) {
  const see = reader(page);
  /** The span of all data so far, from the first sample on: the first window may begin half a minute before it. It stays the
   * same for the whole run. */
  let all;
  const allTime = async () => {
    if (all) return all;
    const { data } = await ask(base, "status");
    const span = { from: Math.floor(data.from_ms / 1000), until: Math.floor(data.until_ms / 1000) };
    const { from_ms, step_ms, groups, other } = await ask(base, "timeline", { ...span, step_ms: 1000 });
    const first = [...groups, other].map(({ samples }) => samples.findIndex((samples) => samples > 0)).filter((at) => at >= 0);
    assert.ok(first.length > 0, "there are samples");
    all = { from: from_ms + Math.min(...first) * step_ms, until: span.until * 1000 };
    return all;
  };
  const link = ({ from, until }, rest = "") => {
    const iso = (ms) => new Date(ms).toISOString();
    return `${base}/?t=${iso(from)}/${iso(until)}${rest}`;
  };
  const open = async (rest = "") => {
    await page.goto(link(await allTime(), rest));
    await eventually("the graph is drawn", async () => (await see.frames()) > 1);
  };
  const totals = async (samples) => eventually(`${samples} samples in the headline`, async () => (await see.samples()) === samples);
  const dragAt = async (x0, x1) => {
    const box = await see.timeline.boundingBox();
    const y = box.y + box.height / 2;
    await page.mouse.move(box.x + x0, y);
    await page.mouse.down();
    await page.mouse.move(box.x + (x0 + x1) / 2, y, { steps: 4 });
    await page.mouse.move(box.x + x1, y, { steps: 4 });
    await page.mouse.up();
  };
  const place = async (share) =>
    Number(await see.timeline.getAttribute("data-left")) + share * Number(await see.timeline.getAttribute("data-width"));

  return [
    ["the page opens live, with the processes of this machine", async () => {
      await page.goto(base);
      await eventually("the graph is drawn", async () => (await see.frames()) > 1, 60_000);
      assert.equal(await page.getByRole("button", { name: /^Live/ }).getAttribute("aria-pressed"), "true");
      const name = wanted ?? (await ask(base, "labels/process/values")).values[0].value;
      await eventually(`${name} in the legend`, async () => (await see.legend()).includes(name), 30_000);
      await picture("light");
    }],

    ["live mode follows now, and a gesture pauses it", async () => {
      const edge = async () => Number(await see.timeline.getAttribute("data-until"));
      const before = await edge();
      await eventually("the right edge moves", async () => (await edge()) >= before + 2000);
      await see.graph.focus();
      await page.keyboard.press("ArrowDown");
      await page.getByRole("button", { name: /^Paused at \d\d:\d\d:\d\d/ }).waitFor();
      const { from, until } = spanOf(page.url());
      assert.ok(until - from >= 900_000 && until - from <= 902_000, `15 minutes, not ${until - from} ms`);
      await page.keyboard.press("l");
      await page.getByRole("button", { name: /^Live/, pressed: true }).waitFor();
    }],

    ["live mode asks no faster than the page changes, and takes nothing back", async () => {
      // Pausing and going live may have followed each other so fast that the second one waits for the end of the burst, and takes back
      // what the first one asks meanwhile.
      await page.waitForTimeout(200);
      const asked = { timeline: 0, flame: 0 };
      const cancelled = [];
      // What was asked before may still be taken back.
      const since = new Set();
      const count = (request) => {
        since.add(request);
        const path = new URL(request.url()).pathname.replace("/api/v1/", "");
        if (path in asked) asked[path]++;
      };
      const failed = (request) => since.has(request) && cancelled.push(`${request.failure()?.errorText} ${request.url()}`);
      page.on("request", count);
      page.on("requestfailed", failed);
      const start = performance.now();
      // Going live is a request of its own each.
      await eventually("both are asked for again", () => asked.timeline >= 2 && asked.flame >= 2, 60_000);
      await page.waitForTimeout(5000);
      const seconds = (performance.now() - start) / 1000;
      page.off("request", count);
      page.off("requestfailed", failed);
      // One each second, and what asked last may be just over the edge.
      assert.ok(asked.timeline <= Math.ceil(seconds) + 2, `${asked.timeline} time lines in ${seconds} s`);
      assert.ok(asked.flame <= seconds / 2 + 2, `${asked.flame} graphs in ${seconds} s`);
      assert.deepEqual(cancelled, []);
    }],

    ["a copied link has absolute times", async () => {
      await page.keyboard.press("y");
      const copied = await eventually("a link in the clipboard", () => page.evaluate(() => navigator.clipboard.readText()));
      const { from, until } = spanOf(copied);
      assert.ok(Math.abs(until - from - 900_000) <= 1000, copied);
      assert.ok(!new URL(page.url()).searchParams.has("t"), "the page itself stays live");
    }],

    ["dragging on the time line selects a range, and every total follows", async () => {
      await open();
      const whole = await see.samples();
      assert.equal(whole, (await flame(base, await allTime())).samples);
      await dragAt(await place(0.3), await place(0.7));
      await eventually("the URL has the range", () => page.url().includes("&w="));
      const span = spanOf(page.url());
      const { from, until } = await allTime();
      assert.ok(span.from > from && span.until < until && span.until > span.from, JSON.stringify(span));
      const answer = await flame(base, span);
      assert.ok(answer.samples > 0 && answer.samples < whole, `${answer.samples} of ${whole}`);
      await totals(answer.samples);
      assert.equal(Number(await page.locator(".statusbar [data-complete]").getAttribute("data-complete")), answer.complete);
      assert.equal(Number(await page.locator("h1").getAttribute("data-from")), span.from);
    }],

    ["the edges of a range resize it, its inside moves it, and back undoes both", async () => {
      const first = spanOf(page.url());
      await dragAt(await place(0.7), await place(0.85));
      const wider = await eventually("a later end", () => {
        const span = spanOf(page.url());
        return span.until > first.until && span.from === first.from && span;
      });
      await totals((await flame(base, wider)).samples);
      await dragAt(await place(0.5), await place(0.4));
      const moved = await eventually("an earlier range", () => {
        const span = spanOf(page.url());
        return span.from < wider.from && span.until - span.from === wider.until - wider.from && span;
      });
      await totals((await flame(base, moved)).samples);
      await page.goBack();
      await page.goBack();
      await eventually("the first range is back", () => spanOf(page.url()).until === first.until);
      await totals((await flame(base, first)).samples);
    }],

    ["while an edge is dragged the graph follows it, and is that of the range again where it is put back", async () => {
      const span = spanOf(page.url());
      const { samples } = await flame(base, span);
      await totals(samples);
      const box = await see.timeline.boundingBox();
      const y = box.y + box.height / 2;
      const [edge, inside] = [box.x + await place(0.7), box.x + await place(0.5)];
      await page.mouse.move(edge, y);
      await page.mouse.down();
      await page.mouse.move(inside, y, { steps: 6 });
      await eventually("fewer samples", async () => (await see.samples()) < samples);
      assert.deepEqual(spanOf(page.url()), span, "nothing is chosen yet");
      await page.mouse.move(edge, y, { steps: 3 });
      await page.mouse.up();
      const back = spanOf(page.url());
      assert.ok(Math.abs(back.until - span.until) <= 2000, `${back.until - span.until} ms`);
      await totals((await flame(base, back)).samples);
    }],

    ["a frame is zoomed by keys and by pointer, and the path says where", async () => {
      await open();
      await see.graph.focus();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowDown");
      const focused = await eventually("a frame has the focus", () => see.attribute("focus"));
      await page.keyboard.press("Enter");
      await eventually("it is zoomed", async () => (await see.attribute("zoom")) === focused);
      assert.equal(await page.locator(".crumbs [aria-current]").textContent(), focused);
      assert.match(page.url(), /[?&]z=[0-9a-f]+/);
      assert.match(await page.locator("#focused-frame").textContent(), / percent, .* cores, child 1 of \d+, depth 2$/);
      await page.keyboard.press("Escape");
      await eventually("it is zoomed out", async () => (await page.locator(".crumbs [aria-current]").count()) === 0);

      const box = await see.graph.boundingBox();
      await page.mouse.move(box.x + 60, box.y + 38);
      const hovered = await eventually("a frame is under the pointer", () => see.attribute("hover"));
      await page.locator(".hovercard").getByText("Total").waitFor();
      await page.mouse.click(box.x + 60, box.y + 38);
      await eventually("it is zoomed", async () => (await see.attribute("zoom")) === hovered);
      assert.equal(await page.locator(".details h2").textContent(), hovered);
    }],

    ["a link leads back to the zoomed frame", async () => {
      const zoomed = await see.attribute("zoom");
      await page.goto("about:blank");
      await page.goBack();
      await eventually("the same frame is zoomed", async () => (await see.attribute("zoom")) === zoomed);
    }],

    ["search counts every sample once, whatever it finds", async () => {
      // Start-up frames in sight: the API's tree has them.
      await open("&x=none");
      const answer = await flame(base, await allTime());
      const found = page.locator("#search-result");
      const widest = stacks(answer).filter(({ stack }) => stack.at(-1).kind !== "root" && stack.at(-1).kind !== "group")
        .sort((a, b) => b.self - a.self)[0].stack.at(-1).name;
      const searches = [
        [widest, ({ name, binary }) => `${name}\n${binary}`.toLowerCase().includes(widest.toLowerCase())],
        ["/^[m_]/", ({ name, binary }) => /^[m_]/i.test(name) || /^[m_]/i.test(binary)],
      ];
      for (const [text, test] of searches) {
        await page.keyboard.press("/");
        await page.locator("#search").fill(text);
        const share = percent(matching(answer, test), answer.samples);
        await eventually(`${text} matches ${share}`, async () => (await found.textContent()) === share);
      }
      assert.match(page.url(), /[?&]s=/);
      await page.locator("#search").fill("/(/");
      await eventually("a broken expression says so", async () => /not valid/.test(await found.textContent()));
      await page.locator("#search").press("Escape");
      await eventually("the search is gone", () => !/[?&]s=/.test(page.url()));
    }],

    ["a row of the legend filters by its process, and opens again", async () => {
      await open();
      const whole = await see.samples();
      const name = wanted ?? (await see.largest());
      const row = page.locator(`.legend tr[data-value="${name}"] button`);
      await row.click();
      await eventually("the selector is in the URL", () => decodeURIComponent(page.url()).includes(`q=process="${name}"`));
      const answer = await flame(base, await allTime(), { query: `process="${name}"` });
      await totals(answer.samples);
      assert.ok(answer.samples < whole);
      await eventually("only it is left", async () => (await see.legend()).join() === name);
      assert.equal(await page.locator("#selector").inputValue(), `process="${name}"`);
      await row.click();
      await totals(whole);
    }],

    ["the top table is the graph's own numbers, sorted", async () => {
      await page.goto(link(await allTime(), "&tab=top&x=none"));
      await page.locator("tr[data-function]").first().waitFor();
      const answer = await flame(base, await allTime());
      const rows = byFunction(answer);
      for (const key of ["self", "total"]) {
        if (key === "total") await page.getByRole("button", { name: "Total", exact: true }).click();
        const most = Math.max(...rows.map((row) => row[key]));
        const shares = await page.locator(`tbody td:nth-child(${key === "self" ? 1 : 2}) .part`).allTextContents();
        assert.equal(shares[0], percent(most, answer.samples));
        const shown = await page.locator("tr[data-function]").first().getAttribute("data-function");
        assert.ok(rows.some((row) => row.name === shown && row[key] === most), `${shown} is no function with ${most} samples`);
      }
    }],
  ];
}
