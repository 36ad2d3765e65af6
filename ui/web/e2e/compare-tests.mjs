// Comparisons: two ranges, two selectors, two files. Figures are held against the API's answers.
import assert from "node:assert/strict";
import { eventually, held } from "./harness.mjs";
import { ask, flame } from "./model.mjs";
import { quietSpan } from "./time-tests.mjs";

const iso = (ms) => new Date(ms).toISOString();

export function compareTests({ base, page, guard, picture, fixture }) {
  const graph = page.locator("canvas[aria-label='Differential flame graph']");
  const rows = page.locator(".growth tr[data-function]");
  const samples = (letter) => page.locator(`[data-side=${letter}]`).getAttribute("data-samples");
  const drawn = () => eventually("the graph is drawn", async () => Number(await graph.getAttribute("data-frames")) > 1);
  let span;
  /** Two halves of a range: there is data for both on any machine. */
  const halves = async () => {
    span ??= await quietSpan(base);
    const middle = Math.round((span.from + span.until) / 2000) * 1000;
    return [{ from: span.from, until: middle }, { from: middle, until: span.until }];
  };
  const range = ({ from, until }) => `${iso(from)}/${iso(until)}`;

  return [
    ["C compares the range in view with its baseline, and back", async () => {
      span ??= await quietSpan(base);
      await page.goto(`${base}/?t=${range(span)}`);
      await page.locator(".headline .sentence").waitFor();
      await page.keyboard.press("c");
      await eventually("the path is its own", () => new URL(page.url()).pathname === "/compare");
      await eventually("both sides are counted", async () => (await samples("b")) !== null);
      assert.equal(Number(await samples("b")), (await flame(base, span)).samples);
      const day = 86_400_000;
      assert.equal(Number(await samples("a")), (await flame(base, { from: span.from - day, until: span.until - day })).samples);
      if (fixture) await drawn();
      else await page.getByRole("heading", { name: "Nobody was watching in A" }).waitFor();
      await picture("compare");
      await page.keyboard.press("c");
      await eventually("back", () => new URL(page.url()).pathname === "/");
      await page.locator(".headline .sentence").waitFor();
    }],

    ["a side that nobody watched is said, and nothing is made of it", async () => {
      const { data } = span;
      const before = { from: data.from_ms - 7_200_000, until: data.from_ms - 3_600_000 };
      await page.goto(`${base}/compare?a=${range(before)}&b=${range(span)}`);
      await page.getByRole("heading", { name: "Nobody was watching in A" }).waitFor();
      assert.equal(await page.locator('.growth tr[data-real="true"]').count(), 0);
    }],

    ["two ranges are one graph, and a table of functions by sure change", async () => {
      const [a, b] = await halves();
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(b)}`);
      await drawn();
      assert.equal(Number(await samples("a")), (await flame(base, a)).samples);
      assert.equal(Number(await samples("b")), (await flame(base, b)).samples);
      const real = await rows.evaluateAll((found) => found.map((row) => row.dataset.real === "true"));
      assert.ok(real.length > 5);
      assert.deepEqual(real, [...real].sort((x, y) => Number(y) - Number(x)), "what is real comes first");
      for (const [i, side] of [a, b].entries()) {
        const { complete } = await flame(base, side);
        await eventually(`how complete ${"AB"[i]} is`, async () => Number(await page.locator(".statusbar [data-complete]").nth(i).getAttribute("data-complete")) === complete);
      }
      const dots = await page.locator(".growth .dot.open").count();
      assert.equal(dots, real.filter((one) => !one).length, "noise has open dots");
      assert.match(await page.locator(".growth .caption").textContent(), /Corrected for .* functions compared/);
    }],

    ["a range beside itself is all noise", async () => {
      const [a] = await halves();
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(a)}`);
      await drawn();
      assert.equal(await page.locator("h1").textContent(), "A and B use the same");
      assert.equal(await page.locator('.growth tr[data-real="true"]').count(), 0);
      assert.match(await page.locator(".headline .sentence").textContent(), /No function grew beyond chance/);
    }],

    ["nothing is said of sides that are being read, and what is wrong with a file stays said", async () => {
      const [a, b] = await halves();
      const failure = page.locator(".headline .failure", { hasText: "not" });
      await held(page, "**/api/v1/diff*", async (shut, letGo) => {
        shut();
        await page.goto(`${base}/compare?a=${range(a)}&b=${range(b)}`);
        await page.getByText("Reading both sides").waitFor();
        assert.equal(await page.locator("h1").textContent(), "A and B");
        assert.doesNotMatch(await page.locator("main").textContent(), /0 cores|0 functions/);
        for (const status of [400, 500]) guard.expect(status);
        await page.getByLabel("File for side A").setInputFiles({ name: "picture.png", mimeType: "image/png", buffer: Buffer.from("\x89PNG\r\n\x1a\n", "latin1") });
        await failure.waitFor();
        letGo();
        await drawn();
      });
      assert.equal(await failure.count(), 1);
      await page.getByLabel("File for side A").setInputFiles({ name: "right.folded", mimeType: "text/plain", buffer: Buffer.from("app;main 5\n") });
      await eventually("a right file is a side", async () => Number(await samples("a")) === 5);
      assert.equal(await page.locator(".headline .failure").count(), 0);
    }],

    ["two selectors are compared, and refused where they are wrong", async () => {
      const [a] = await halves();
      const [first, second] = (await ask(base, "labels/process/values", { from: a.from / 1000, until: a.until / 1000 })).values;
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(a)}`);
      await drawn();
      for (const [letter, { value }] of [["A", first], ["B", second]]) {
        const field = page.getByLabel(`Selector of side ${letter}`);
        await field.fill(`process="${value}"`);
        await field.press("Enter");
      }
      const count = async ({ value }) => (await flame(base, a, { query: `process="${value}"` })).samples;
      await eventually("their samples", async () => Number(await samples("a")) === (await count(first)) && Number(await samples("b")) === (await count(second)));
      guard.expect(400);
      const field = page.getByLabel("Selector of side B");
      await field.fill("process=");
      await field.press("Enter");
      await page.locator(".headline .failure").waitFor();
      await page.goBack();
      await page.locator(".headline .sentence").waitFor();
    }],

    ["frames are zoomed, searched and found by keys, and widths follow the side that is chosen", async () => {
      const [a, b] = await halves();
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(b)}`);
      await drawn();
      await graph.focus();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowDown");
      const focused = await eventually("a frame has the focus", () => graph.getAttribute("data-focus"));
      await page.keyboard.press("Enter");
      await eventually("it is zoomed", async () => (await graph.getAttribute("data-zoom")) === focused);
      assert.match(await page.locator("#focused-frame").textContent(), /, A .*, B .*, depth 2$/);
      await page.keyboard.press("Escape");
      await eventually("it is zoomed out", async () => (await graph.getAttribute("data-zoom")) !== focused);
      const image = () => graph.evaluate((canvas) => canvas.toDataURL());
      const byB = await image();
      await page.getByRole("button", { name: /^Width / }).click();
      await page.getByRole("button", { name: "A", exact: true }).click();
      assert.match(page.url(), /[?&]width=a/);
      await eventually("other widths", async () => (await image()) !== byB);
      await page.getByRole("button", { name: /^Width / }).click();
      await page.getByRole("button", { name: "Shares, by all samples" }).click();
      assert.match(page.url(), /[?&]norm=total/);
      assert.equal(await page.locator("h1").textContent(), "A and B, as shares of all samples");
      const name = await rows.first().getAttribute("data-function");
      await rows.first().getByRole("button").click();
      assert.equal(await page.locator("#search").inputValue(), name);
      await eventually("its share", async () => /%/.test(await page.locator("#search-result").textContent()));
    }],

    ["tabs: functions, callers and callees, and the call tree of both sides", async () => {
      const [a, b] = await halves();
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(b)}`);
      await drawn();
      await page.getByRole("tab", { name: "Top" }).click();
      assert.match(page.url(), /[?&]tab=top/);
      const top = page.locator(".difftop tr[data-function]");
      await top.first().waitFor();
      const name = await top.first().getAttribute("data-function");
      const figures = await top.first().locator("td").allTextContents();
      assert.match(figures[3], /^\S+ → \S+$/);
      await top.first().locator("td.name").click();
      await page.keyboard.press("3");
      const half = (label) => page.locator(`canvas[aria-label="${label}"]`);
      await half("Callers of the function, the function at the bottom").waitFor();
      await half("What the function calls").waitFor();
      // So low that it is out of sight, unless it is scrolled to.
      const usual = page.viewportSize();
      await page.setViewportSize({ ...usual, height: 420 });
      await page.getByRole("tab", { name: "Sandwich" }).press("ArrowRight");
      const selected = page.locator('.difftree [role="row"][aria-selected="true"]');
      await eventually("it is selected in the call tree, too", async () => (await selected.getAttribute("data-name")) === name);
      const [row, body] = [await selected.boundingBox(), await page.locator(".difftree .body").boundingBox()];
      assert.ok(row.y >= body.y - 1 && row.y + row.height <= body.y + body.height + 1, `a row at ${row.y} of ${JSON.stringify(body)}`);
      await page.setViewportSize(usual);
      await page.locator('.difftree [role="treegrid"]').focus();
      await page.keyboard.press("Home");
      await eventually("the root is selected", async () => (await selected.getAttribute("aria-level")) === "1");
      await page.getByRole("tab", { name: "Flame graph" }).click();
      await drawn();
    }],

    ["two files of another profiler are compared in memory, and nothing is kept", async () => {
      const before = (await ask(base, "status")).data.segments;
      const [a, b] = await halves();
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(b)}`);
      await drawn();
      const file = (name, text) => ({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
      const common = "app;main;serve 900\napp;main;log 300\n";
      await page.getByLabel("File for side A").setInputFiles(file("before.folded", common));
      await page.getByLabel("File for side B").setInputFiles(file("after.folded", `${common}app;main;<script>alert(1)</script> 800\n`));
      await eventually("both files", async () => Number(await samples("a")) === 1200 && Number(await samples("b")) === 2000);
      const grown = page.locator('.growth tr[data-real="true"]').first();
      await eventually("what is new leads the table", async () => (await grown.getAttribute("data-function")) === "<script>alert(1)</script>");
      assert.match(await page.locator(".headline .sentence").textContent(), /<script>.*which is new/);
      assert.match(decodeURIComponent(page.url()), /a=file:before\.folded&b=file:after\.folded/);
      if (fixture) assert.equal((await ask(base, "status")).data.segments, before);
      const long = `begin_${"x".repeat(10_000)}_end`;
      await page.getByLabel("File for side B").setInputFiles(file("long.folded", `${common}app;main;${long};\u202ebackwards 700\n`));
      await eventually("the long name's callee", async () => (await page.locator('.growth tr[data-real="true"]').first().getAttribute("data-function")) === "\u202ebackwards");
      await graph.focus();
      for (const key of ["ArrowDown", "ArrowDown", "ArrowDown"]) await page.keyboard.press(key);
      const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= width, `${content} px on a screen of ${width}`);
      await page.getByLabel("File for side B").setInputFiles(file("after.folded", common));
      await eventually("the other file again", () => decodeURIComponent(page.url()).includes("b=file:after.folded"));
      await page.reload();
      await page.getByText("Choose the file before.folded again").waitFor();
    }],

    ["a file that is dropped anywhere is compared with what is in view", async () => {
      await page.goto(`${base}/?t=${range(span)}`);
      await page.locator(".headline .sentence").waitFor();
      const data = await page.evaluateHandle(() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["app;main;dropped 77\n"], "dropped.folded"));
        return transfer;
      });
      await page.locator(".timeline").dispatchEvent("dragover", { dataTransfer: data });
      await page.getByText("Drop a profile to compare it").waitFor();
      await page.locator(".timeline").dispatchEvent("drop", { dataTransfer: data });
      await eventually("it is side B", async () => Number(await samples("b")) === 77);
      assert.equal(new URL(page.url()).pathname, "/compare");
      assert.match(decodeURIComponent(page.url()), /b=file:dropped\.folded/);
    }],

    ["a comparison fits a narrow screen, and is drawn in the dark", async () => {
      const [a, b] = await halves();
      await page.setViewportSize({ width: 390, height: 844 });
      await page.goto(`${base}/compare?a=${range(a)}&b=${range(b)}`);
      await drawn();
      const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= width, `${content} px on a screen of ${width}`);
      await picture("compare-narrow");
      await page.setViewportSize({ width: 1440, height: 900 });
      await page.emulateMedia({ colorScheme: "dark" });
      await drawn();
      await picture("compare-dark");
      await page.emulateMedia({ colorScheme: "light" });
      assert.deepEqual(guard.troubles, []);
    }],
  ];
}
