// The other views of the same selection: sandwich, call tree, lanes, source, tables by other rows.
import assert from "node:assert/strict";
import { eventually } from "./harness.mjs";
import { busiest, opener } from "./flame-tests.mjs";
import { ask, flame, percent, stacks } from "./model.mjs";

export function viewTests({ base, page, picture }) {
  const { span, open } = opener(base, page);
  const params = async (more = {}) => {
    const { from, until } = await span();
    return { from: (from / 1000).toFixed(3), until: (until / 1000).toFixed(3), ...more };
  };
  const selected = () => page.locator(".details h2").getAttribute("data-selected");
  let answer;
  let name;
  let samples;

  return [
    ["the sandwich has callers above and callees below, of the same samples", async () => {
      await open("&tab=top&x=none");
      answer = await flame(base, await span());
      [name, samples] = busiest(answer);
      await page.getByRole("button", { name: "Total", exact: true }).click();
      await page.locator(`tr[data-function="${CSS_escape(name)}"] button`).first().click();
      await page.keyboard.press("w");
      const callers = page.locator('canvas[aria-label^="Callers of"]');
      const callees = page.locator('canvas[aria-label="What the function calls"]');
      for (const half of [callers, callees]) {
        await eventually("both halves count the function's samples", async () => Number(await half.getAttribute("data-samples")) === samples);
      }
      const share = await page.locator(".figures-bar dd").nth(2).textContent();
      assert.equal(share, percent(samples, answer.samples), "the details tell of the function, not of one place of it");
      await picture("sandwich");
      const box = await callers.boundingBox();
      await page.mouse.move(box.x + 60, box.y + box.height - 30);
      const caller = await eventually("a caller is under the pointer", () => callers.getAttribute("data-hover"));
      await page.mouse.click(box.x + 60, box.y + box.height - 30);
      await eventually("it is in the middle now", async () => (await page.locator(".details h2").textContent()) === caller);
    }],

    ["the call tree is walked, opened and closed by keys, with the tree's own numbers", async () => {
      await open("&x=none");
      await page.keyboard.press("4");
      const grid = page.getByRole("treegrid");
      await grid.focus();
      await page.keyboard.press("Home");
      const rows = () => grid.locator('.body [role="row"]').count();
      await eventually("rows are there", async () => (await rows()) > 2);
      const first = grid.locator('.body [role="row"]').first();
      assert.match(await first.textContent(), /100\.0/);
      await page.keyboard.press("ArrowLeft");
      await eventually("the root is closed", async () => (await rows()) === 1);
      assert.equal(await first.getAttribute("aria-expanded"), "false");
      await page.keyboard.press("ArrowRight");
      const groups = stacks(answer).filter(({ stack }) => stack.length === 2).length;
      await eventually("its groups are there", async () => Number(await grid.getAttribute("aria-rowcount")) >= groups + 2);
      await page.keyboard.press("ArrowRight");
      await eventually("the widest group is selected", async () => (await grid.locator('[aria-selected="true"]').getAttribute("aria-level")) === "2");
      const group = await grid.locator('[aria-selected="true"]').getAttribute("data-name");
      const total = stacks(answer).filter(({ stack }) => stack[1]?.name === group).reduce((sum, { self }) => sum + self, 0);
      assert.ok((await grid.locator('[aria-selected="true"]').textContent()).includes(percent(total, answer.samples)));
      await page.keyboard.press("*");
      await eventually("the heaviest way is open", async () => Number(await grid.getAttribute("aria-rowcount")) > groups + 2);
      assert.equal(await selected(), group, "what is selected in one view is selected in all");
      await picture("tree");
    }],

    ["the call tree is of the selection in view, whatever was in view before", async () => {
      await open("&tab=tree&x=none");
      const grid = page.getByRole("treegrid");
      const text = () => grid.locator('.body [role="row"]').allTextContents();
      await eventually("rows are there", async () => (await grid.locator('.body [role="row"]').count()) > 2);
      const whole = await text();
      const { values } = await ask(base, "labels/process/values", await params());
      const one = values.reduce((a, b) => (b.samples > a.samples ? b : a));
      await page.locator("#selector").fill(`process="${one.value}"`);
      await page.locator("#selector").press("Enter");
      await eventually("its samples", async () => Number(await page.locator(".sentence").getAttribute("data-samples")) === one.samples);
      await page.locator('.sentence[data-pruned="0"]').waitFor({ timeout: 5000 }).catch(() => {});
      const narrowed = await text();
      assert.notDeepEqual(narrowed, whole);
      await page.reload();
      // Which opens what is heaviest now: there may be more of them.
      let fresh = [];
      const same = async () => {
        fresh = await text();
        return narrowed.every((row) => fresh.includes(row));
      };
      await eventually("the same rows on a page that knows no other", same, 10_000)
        .catch(() => assert.deepEqual(fresh, narrowed));
    }],

    ["lanes add up to all samples, by thread and by CPU", async () => {
      await open("&tab=lanes");
      const whole = (await flame(base, await span())).samples;
      const shown = async () => (await page.locator("tr[data-lane]").evaluateAll((rows) => rows.map((row) => Number(row.dataset.total)))).reduce((a, b) => a + b, 0);
      const lanes = await ask(base, "lanes", await params({ by: "thread", top: 100 }));
      await eventually("threads", async () => (await shown()) + lanes.other.total === whole);
      await picture("lanes");
      await page.getByRole("button", { name: "CPUs" }).click();
      await eventually("CPUs", async () => (await page.locator("tr[data-lane]").count()) > 0 && (await shown()) === whole);
      assert.match(page.url(), /[?&]lanes=cpu/);
      await page.getByRole("button", { name: "Threads" }).click();
      const button = page.locator("tr[data-lane] button").first();
      const tid = await page.locator("tr[data-lane]").first().getAttribute("data-lane");
      await button.click();
      await eventually("only that thread", () => decodeURIComponent(page.url()).includes(`q=tid="${tid}"`));
    }],

    ["the source view has the samples of each line, and the text where it may be read", async () => {
      await open("&tab=top&x=none");
      const files = new Map();
      const { frames, strings } = answer;
      frames.file.forEach((file, i) => {
        if (file && !/^\[/.test(strings[frames.function[i]])) files.set(strings[frames.function[i]], strings[file]);
      });
      // The script of the generated data may be read; of a real machine any file is as good.
      const chosen = [...files].find(([, file]) => file === "reports/privacy.py") ?? [...files].at(0);
      if (!chosen) return;
      const [fn, file] = chosen;
      await page.locator("#search").fill(fn);
      await page.locator(`tr[data-function="${CSS_escape(fn)}"] button`).first().click();
      await page.keyboard.press("Escape");
      await page.locator("#search").evaluate((field) => field.blur());
      await page.keyboard.press("s");
      await page.locator(".source header b").getByText(file).waitFor();
      const source = await ask(base, "source", await params({ file }));
      const lines = page.locator(".source tr[data-line]");
      await eventually("lines are there", async () => (await lines.count()) >= source.lines.length);
      const totals = await lines.evaluateAll((rows) => rows.map((row) => [Number(row.dataset.line), Number(row.dataset.total)]));
      assert.deepEqual(totals.filter(([, total]) => total > 0), source.lines.map(({ line, total }) => [line, total]));
      if (source.text) assert.ok((await page.locator(".source").textContent()).includes(source.text.split("\n").find((line) => line.trim())));
      else await page.locator(".source header").getByText(source.reason.slice(0, 20)).waitFor();
      await picture("source");
    }],

    ["the table's rows are functions, files, binaries or packages", async () => {
      await open("&tab=top&x=none");
      await page.getByRole("button", { name: "Binary", exact: true }).first().click();
      await eventually("the URL says it", () => /[?&]rows=binary/.test(page.url()));
      const self = new Map();
      for (const { self: own, stack } of stacks(answer)) {
        const leaf = stack.at(-1);
        if (leaf.kind === "root" || leaf.kind === "group" || leaf.kind === "truncated") continue;
        self.set(leaf.binary, (self.get(leaf.binary) ?? 0) + own);
      }
      const [binary, most] = [...self].filter(([path]) => path).sort((a, b) => b[1] - a[1])[0];
      const row = page.locator(`tr[data-function="${CSS_escape(binary)}"]`);
      await row.waitFor();
      assert.equal(await row.locator("td .part").first().textContent(), percent(most, answer.samples));
    }],
  ];
}

/** A string within quotes of a selector. */
const CSS_escape = (text) => text.replace(/["\\]/g, "\\$&");
