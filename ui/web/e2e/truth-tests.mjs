// The truth drawer: its figures are the flame tree's own, and a binary behind a gap leads to its stacks.
import assert from "node:assert/strict";
import { eventually } from "./harness.mjs";
import { reader } from "./explore-tests.mjs";
import { ask, flame, gaps, matching, percent } from "./model.mjs";

/** Every node: what a pruned tree leaves out could be a gap. */
const WHOLE = { max_nodes: 1_000_000 };

export function truthTests({ base, page, picture, deep, fixture }) {
  const see = reader(page);
  const drawer = page.locator(".drawer");
  const statusbar = page.locator(".statusbar .truth-button");
  let span;
  /** Each reason with its binaries, as the drawer shows them. */
  const shown = () =>
    drawer.locator("[data-reason]").evaluateAll((found) => found.map((gap) => ({
      reason: gap.dataset.reason, samples: Number(gap.dataset.samples),
      binaries: [...gap.querySelectorAll("[data-binary]")].map(({ dataset }) => ({ ...dataset, samples: Number(dataset.samples) })),
      rest: gap.querySelector(".more")?.textContent ?? "",
    })));
  const bySamples = (a, b) => b - a;

  return [
    ["the share of complete stacks opens the truth drawer, with the counts of the tree itself", async () => {
      const { data } = await ask(base, "status");
      span = { from: Math.floor(data.from_ms / 1000) * 1000, until: Math.floor(data.until_ms / 1000) * 1000 };
      const iso = (ms) => new Date(ms).toISOString();
      await page.goto(`${base}/?t=${iso(span.from)}/${iso(span.until)}`);
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      const answer = await flame(base, span, WHOLE);
      const expected = gaps(answer);
      await statusbar.click();
      await drawer.getByText("How true is this view?").waitFor();
      const lead = percent(answer.complete, answer.samples);
      await eventually(`the lead starts with ${lead}`, async () => (await drawer.locator(".lead").textContent()).startsWith(lead));
      const more = drawer.getByRole("button", { name: /^\d+ more$/ });
      while ((await more.count()) > 0) await more.first().click();
      const reasons = await shown();
      assert.deepEqual(Object.fromEntries(reasons.map(({ reason, samples }) => [reason, samples])), answer.incomplete);
      assert.ok(reasons.length > 0 || !(deep || fixture), "there are incomplete stacks");
      for (const { reason, samples, binaries, rest } of reasons) {
        const behind = expected.get(reason);
        const most = [...behind.values()].sort(bySamples).slice(0, binaries.length);
        assert.deepEqual(binaries.map((file) => file.samples), most, `${reason}: the first ${binaries.length}`);
        for (const { kind, binary, samples: count } of binaries) {
          assert.equal(count, behind.get(`${kind} ${binary}`), `${reason}: ${kind} ${binary}`);
        }
        const left = samples - most.reduce((sum, count) => sum + count, 0);
        assert.equal(Number(/^(.*) samples? in/.exec(rest.trim())?.[1].replace(/\D/g, "") ?? 0), left, `${reason}: the rest`);
      }
      if (deep) {
        const limit = reasons.find(({ reason }) => reason === "depth_limit");
        assert.ok(limit?.binaries.some(({ binary }) => binary.endsWith(`/${deep}`)), `${deep} in ${JSON.stringify(reasons)}`);
      }
      await picture("truth");
    }],

    ["pointing at a reason marks its stacks in the graph", async () => {
      const first = drawer.locator("[data-reason]").first();
      if ((await first.count()) === 0) return;
      const image = () => see.graph.evaluate((canvas) => canvas.toDataURL());
      const comes = (probe) => eventually("a picture", probe, 5_000).then(() => true, () => false);
      // Again if finer frames have come meanwhile: then it is another picture.
      await eventually("its stacks stand out, and all are back", async () => {
        await drawer.locator("h2").hover();
        const plain = await image();
        await first.locator(".gap-line").hover();
        if (!(await comes(async () => (await image()) !== plain))) return false;
        await drawer.locator("h2").hover();
        return comes(async () => (await image()) === plain);
      });
    }],

    ["a binary behind a gap leads to its stacks, by keys, and back", async () => {
      const first = drawer.locator("[data-reason]").first();
      if ((await first.count()) === 0) return;
      const whole = await see.samples();
      const [{ reason, samples, binaries: [{ binary }] }] = await shown();
      const button = first.locator("[data-binary]").first();
      const lead = await drawer.locator(".lead").textContent();
      await button.press("Enter");
      await eventually("only its stacks are in the graph", async () => (await see.samples()) === samples);
      assert.equal(new URL(page.url()).searchParams.get("q"), `status="${reason}"`);
      assert.equal(await button.getAttribute("aria-pressed"), "true");
      const searched = new URL(page.url()).searchParams.get("s");
      if (binary) assert.equal(searched, binary);
      const answer = await flame(base, span, { query: `status="${reason}"`, ...WHOLE });
      const has = (text) => text.toLowerCase().includes(searched.toLowerCase());
      const marked = percent(matching(answer, (frame) => has(frame.name) || has(frame.binary)), answer.samples);
      await eventually(`${marked} is marked`, async () => (await page.locator("#search-result").textContent()) === marked);
      // The drawer goes on telling of everything.
      assert.equal(await drawer.locator(".lead").textContent(), lead);
      await drawer.locator(".narrowed").getByRole("button", { name: "Show all" }).press("Enter");
      await eventually("all stacks are back", async () => (await see.samples()) === whole);
      assert.equal(await button.getAttribute("aria-pressed"), "false");
      await page.goBack();
      await eventually("back leads to its stacks again", async () => (await see.samples()) === samples);
    }],

    ["where every stack is complete the drawer says so", async () => {
      // Not by `status="…"`: that is the drawer's own filter, which it does not count as part of the question.
      await page.locator("#selector").fill('status=~"complete"');
      await page.locator("#selector").press("Enter");
      await drawer.getByText("Every stack in view was walked to its proven end.").waitFor();
      assert.equal(await drawer.locator("[data-reason]").count(), 0);
      assert.match(await drawer.locator(".lead").textContent(), /^100\.0\u202f% of stacks are complete/);
      await drawer.getByRole("button", { name: "Close" }).press("Escape");
      await drawer.waitFor({ state: "detached" });
    }],

    ["on a narrow screen the drawer is the whole screen, and gives way to what it shows", async () => {
      await page.setViewportSize({ width: 390, height: 844 });
      await page.locator("#selector").fill("");
      await page.locator("#selector").press("Enter");
      await statusbar.click();
      await drawer.locator(".lead").waitFor();
      const overflow = await drawer.evaluate((element) => element.scrollWidth - element.clientWidth);
      assert.ok(overflow <= 0, `${overflow} px too wide`);
      const gap = drawer.locator("[data-reason] .gap-line").first();
      await eventually("the counts are there", async () => (await drawer.locator(".gap-line").count()) > 0);
      await picture("truth-narrow");
      if ((await gap.count()) > 0) {
        await gap.click();
        await drawer.waitFor({ state: "detached" });
        assert.match(decodeURIComponent(page.url()), /q=status="/);
      }
      await page.setViewportSize({ width: 1440, height: 900 });
    }],
  ];
}
