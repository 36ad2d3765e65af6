// The flame graph under the hand: transforms, moving it, colours, pictures. Totals are held against the API's own tree.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { eventually, instead } from "./harness.mjs";
import { reader } from "./explore-tests.mjs";
import { ask, flame, percent, stacks } from "./model.mjs";

/** Opens the page on all data so far, or its last `longest` milliseconds, with the rest of a URL. */
export function opener(base, page, longest = Infinity) {
  let all;
  const span = async () => {
    const { data } = await ask(base, "status");
    const until = Math.floor(data.until_ms / 1000) * 1000;
    all ??= { from: Math.max(Math.floor(data.from_ms / 1000) * 1000, until - longest), until };
    return all;
  };
  const open = async (rest = "") => {
    const { from, until } = await span();
    await page.goto(`${base}/?t=${new Date(from).toISOString()}/${new Date(until).toISOString()}${rest}`);
    await eventually("the page has its graph", async () => (await page.locator(".sentence[data-samples]").count()) > 0);
    // The graph comes in two helpings, of which the second one has all frames, but for data of more than this machine makes.
    await page.locator('.sentence[data-pruned="0"]').waitFor({ timeout: 5000 }).catch(() => {});
  };
  return { span, open };
}

/** Code that no start-up folding hides: a frame in the middle of many stacks, by its self and total samples. */
export function busiest(answer) {
  const sums = new Map();
  for (const { self, stack } of stacks(answer)) {
    const names = new Set(stack.filter(({ kind }) => kind === "native" || kind === "kernel" || kind === "inlined").map(({ name }) => name));
    for (const name of names) sums.set(name, (sums.get(name) ?? 0) + self);
  }
  const entry = /^(_start|__libc_start.*|main|(__)?clone3?|start_thread|\[.*)$/;
  return [...sums].filter(([name]) => !entry.test(name)).sort((a, b) => b[1] - a[1])[0];
}

/** Samples whose stack has a function of this name. */
const holding = (answer, name) =>
  stacks(answer).filter(({ stack }) => stack.some((frame) => frame.kind !== "group" && frame.kind !== "root" && frame.name === name))
    .reduce((sum, { self }) => sum + self, 0);

export function flameTests({ base, page, picture, fixture }) {
  const see = reader(page);
  const { span, open } = opener(base, page);
  const chips = () => page.locator(".chip").evaluateAll((found) => found.map((chip) => chip.dataset.transform));
  const chipsAre = (...wanted) => eventually(`transforms ${wanted}`, async () => (await chips()).join() === wanted.join());
  /** Samples in the tree on screen: the root's line in the details, once nothing is selected. */
  const inView = async () => Number((await page.locator(".facts dd").last().textContent()).replace(/\D/g, ""));
  const totalIs = (samples) => eventually(`${samples} samples in the graph`, async () => {
    await see.graph.press("Home");
    return (await inView()) === samples;
  });
  const x = () => new URL(page.url()).searchParams.get("x");
  const settled = async () => {
    let last;
    await eventually("the graph stands still", async () => {
      const now = await see.attribute("view");
      const same = now === last;
      last = now;
      return same;
    });
  };
  /** Selects a function through the search, as a user would. */
  const find = async (name) => {
    await page.keyboard.press("/");
    await page.locator("#search").fill(`/^${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$/`);
    await page.locator("#search").press("Enter");
    await eventually(`${name} is selected`, async () => (await page.locator(".details h2").textContent()) === name);
    await page.locator("#search").press("Escape");
    await see.graph.focus();
  };
  let answer;
  let name;
  let samples;

  const handTest = ["a view that is moved by hand stays where it is when finer frames come", async () => {
    let helpings = 0;
    let handOver;
    const wanted = new Promise((resolve) => (handOver = resolve));
    const helping = async (route) => {
      const url = new URL(route.request().url());
      // So few that there is more to come, which then comes in the middle of what the hand does.
      if (++helpings === 1) url.searchParams.set("max_nodes", "50");
      const response = await route.fetch({ url: url.href });
      if (helpings > 1) await wanted;
      await route.fulfill({ response });
    };
    const byHand = async () => {
      await open();
      const coarse = Number(await see.attribute("nodes"));
      assert.ok(coarse <= 50, `${coarse} nodes`);
      const width = async () => {
        const [from, until] = (await see.attribute("view")).split(" ").map(Number);
        return until - from;
      };
      const box = await see.graph.boundingBox();
      await page.mouse.move(box.x + box.width / 2, box.y + 60);
      await page.keyboard.down("Control");
      let narrow = await width();
      for (const end = Date.now() + 30_000; Number(await see.attribute("nodes")) <= coarse;) {
        assert.ok(Date.now() < end, "no finer frames have come");
        await page.mouse.wheel(0, -10);
        narrow = Math.min(narrow, await width());
        if (narrow < 0.9) handOver();
      }
      await page.keyboard.up("Control");
      assert.ok(narrow < 1 && (await width()) <= narrow, `${await width()} of the width, and it was ${narrow}`);
      await eventually("the URL has the view", () => /[?&]v=0\./.test(page.url()));
    };
    await instead(page, "**/api/v1/flame?*", helping, () => byHand().finally(handOver));
  }];

  return [
    ["start-up frames are folded, and one click shows them", async () => {
      await open();
      answer = await flame(base, await span());
      [name, samples] = busiest(answer);
      await chipsAre("fold");
      const folded = Number(await see.attribute("nodes"));
      await page.locator(".chip button").click();
      await chipsAre();
      assert.equal(x(), "none");
      await eventually("all frames are there", async () => Number(await see.attribute("nodes")) === answer.nodes.parent.length);
      assert.ok(folded < answer.nodes.parent.length);
      await page.getByRole("button", { name: /^Undo/ }).click();
      await chipsAre("fold");
      await totalIs(answer.samples);
      // The worker's tree comes after the chip: what is selected before it would be looked for in another tree.
      await eventually("they are folded again", async () => Number(await see.attribute("nodes")) === folded);
    }],

    ["drop, hide and focus by keys keep exact counts, undo and redo walk through them", async () => {
      await find(name);
      await page.keyboard.press("d");
      await chipsAre("fold", "drop");
      await totalIs(answer.samples - samples);
      await page.keyboard.press("z");
      await chipsAre("fold");
      await totalIs(answer.samples);
      await page.keyboard.press("Shift+Z");
      await chipsAre("fold", "drop");
      await totalIs(answer.samples - samples);
      await page.getByRole("button", { name: /^Undo/ }).click();
      await totalIs(answer.samples);
      await find(name);
      await page.keyboard.press("h");
      await chipsAre("fold", "hide");
      await totalIs(answer.samples);
      await page.keyboard.press("z");
      await find(name);
      await page.keyboard.press("Shift+F");
      await chipsAre("fold", "focus");
      await totalIs(samples);
      assert.equal(x(), `fold:startup;focus:${name}`);
      const sentence = await page.locator(".headline .sentence").textContent();
      // What it names is in focus, and its share is of all that is selected: no more than what is in focus has of that.
      const [, share] = sentence.match(/([\d.]+)\s% in .+?\.\s/) ?? assert.fail(sentence);
      assert.ok(Number(share) <= (samples / answer.samples) * 100 + 0.05, `${sentence} ${percent(samples, answer.samples)} are in focus`);
    }],

    ["a link carries the transforms, and back undoes them", async () => {
      await page.reload();
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      await totalIs(samples);
      await chipsAre("fold", "focus");
      await open();
      await find(name);
      await page.keyboard.press("r");
      await chipsAre("fold", "collapse");
      await page.keyboard.press("m");
      await chipsAre("fold", "collapse", "merge");
      await totalIs(answer.samples);
      await page.goBack();
      await chipsAre("fold", "collapse");
      await page.goBack();
      await chipsAre("fold");
    }],

    ["inverting puts what was sampled first, and callers below", async () => {
      await see.graph.focus();
      await see.graph.press("Home");
      const before = await see.attribute("nodes");
      await page.keyboard.press("i");
      await chipsAre("fold", "invert");
      // The tree is made by another thread.
      await eventually("the graph is another one", async () => (await see.attribute("nodes")) !== before);
      await totalIs(answer.samples);
      const leaves = new Map();
      for (const { self, stack } of stacks(answer)) {
        const leaf = stack.at(-1);
        if (self) leaves.set(leaf.name, (leaves.get(leaf.name) ?? 0) + self);
      }
      await page.locator(".details h3").first().waitFor();
      await see.graph.press("ArrowDown");
      const [widest] = await page.locator(".details h2").allTextContents();
      // Functions of one name in two binaries are two frames, so the widest frame is at most the widest name.
      await eventually("a sampled function is the first row", async () => leaves.has(await page.locator(".details h2").getAttribute("data-selected")));
      assert.ok(widest);
      await picture("inverted");
      await page.keyboard.press("z");
      await chipsAre("fold");
    }],

    ["a right click has all of it in a menu, by keys, too", async () => {
      await open();
      const box = await see.graph.boundingBox();
      await page.mouse.move(box.x + 60, box.y + 8 + 20 * 3 + 8);
      const hovered = await eventually("a frame is under the pointer", () => see.attribute("hover"));
      await page.mouse.click(box.x + 60, box.y + 8 + 20 * 3 + 8, { button: "right" });
      const menu = page.getByRole("menu");
      await menu.waitFor();
      await picture("frame-menu");
      assert.ok((await menu.getAttribute("aria-label")).startsWith(hovered), hovered);
      const items = await page.getByRole("menuitem").allTextContents();
      for (const item of ["Focus", "Hide", "Collapse recursion", "Merge by name", "Drop its stacks", "Invert from here", "Callers and callees", "Source"]) {
        assert.ok(items.some((text) => text.startsWith(item)), `${item} in ${items}`);
      }
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Escape");
      await menu.waitFor({ state: "detached" });
      await see.graph.press("Shift+F10");
      await page.getByRole("menuitem", { name: "Focus on this function" }).click();
      await chipsAre("fold", "focus");
      assert.equal(await page.locator(".chip .name").last().textContent(), hovered);
      await page.locator(".chip button").last().click();
      await chipsAre("fold");
    }],

    ["the details' buttons do the same", async () => {
      await find(name);
      await page.getByRole("button", { name: /^Hide/ }).click();
      await chipsAre("fold", "hide");
      await page.keyboard.press("z");
      await find(name);
      await page.getByRole("button", { name: "All that can be done with it" }).click();
      await page.getByRole("menuitem", { name: /^Drop its stacks/ }).click();
      await totalIs(answer.samples - samples);
    }],

    // Generated data comes whole, in one helping.
    ...(fixture ? [] : [handTest]),

    ["Ctrl with the wheel zooms at the pointer, a drag pans, and the URL has it", async () => {
      await open();
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      const ends = async () => (await see.attribute("view")).split(" ").map(Number);
      const box = await see.graph.boundingBox();
      const [from, until] = await ends();
      await page.mouse.move(box.x + box.width / 2, box.y + 60);
      await page.keyboard.down("Control");
      for (let i = 0; i < 4; i++) await page.mouse.wheel(0, -100);
      await page.keyboard.up("Control");
      const closer = await eventually("the view is narrower", async () => {
        const now = await ends();
        return now[1] - now[0] < (until - from) * 0.5 && now;
      });
      const middle = (from + until) / 2;
      assert.ok(closer[0] < middle && closer[1] > middle, `${closer}`);
      await eventually("it is in the URL", () => /[?&]v=0\./.test(page.url()));
      await settled();
      const before = await ends();
      await page.mouse.down();
      await page.mouse.move(box.x + box.width / 2 - 200, box.y + 60, { steps: 5 });
      await page.mouse.up();
      const moved = await eventually("the view is further right", async () => {
        const now = await ends();
        return now[0] > before[0] && now;
      });
      const perPixel = (before[1] - before[0]) / (box.width - 28);
      assert.ok(Math.abs(moved[0] - before[0] - perPixel * 200) < perPixel * 8, `${before} to ${moved}`);
      assert.equal(await see.attribute("zoom"), await see.attribute("focus"), "a drag is no click");
      await page.waitForTimeout(400);
      const link = page.url();
      await page.goto("about:blank");
      await page.goto(link);
      await eventually("a link leads back there", async () => {
        const now = await ends().catch(() => [0, 0]);
        return Math.abs(now[0] - moved[0]) < (until - from) / 1e6;
      });
      await see.graph.press("+");
      await eventually("keys zoom, too", async () => (await ends())[1] - (await ends())[0] < moved[1] - moved[0]);
      await see.graph.press("Escape");
      await eventually("and out", async () => (await ends())[1] - (await ends())[0] === until - from);
    }],

    ["colours stand for what one chooses", async () => {
      await open();
      const sample = () => see.graph.evaluate((canvas) => canvas.toDataURL().length);
      const before = await sample();
      await page.getByRole("button", { name: "Colours" }).click();
      await page.getByRole("button", { name: "type of code" }).click();
      await eventually("the URL says it", () => /[?&]color=type/.test(page.url()));
      await eventually("the graph has other colours", async () => (await sample()) !== before);
      await picture("by-type");
    }],

    ["compact rows show more of the graph, and frames are still found where they are", async () => {
      await open();
      const height = () => page.locator(".flame").evaluate((host) => Number.parseFloat(getComputedStyle(host).getPropertyValue("--content")));
      const rows = ((await height()) - 16) / 20;
      assert.ok(rows >= 3 && Number.isInteger(rows), `${rows} rows`);
      const hovered = async (y) => {
        const box = await see.graph.boundingBox();
        await page.mouse.move(box.x + 20, box.y + y);
        return see.graph.getAttribute("data-hover");
      };
      const third = await eventually("the third row", () => hovered(8 + 2 * 20 + 10));
      await page.getByRole("button", { name: "Colours and rows" }).click();
      await page.getByRole("button", { name: "compact rows" }).click();
      await eventually("the URL says it", () => /[?&]compact(&|$)/.test(page.url()));
      await eventually("rows are lower", async () => (await height()) === rows * 16 + 16);
      await eventually("the same frame is where its row is now", async () => (await hovered(8 + 2 * 16 + 8)) === third);
      await picture("compact");
    }],

    ["what is on screen is saved in every format, with its transforms", async () => {
      await open(`&x=focus:${encodeURIComponent(name)}`);
      await totalIs(samples);
      const saved = async (item) => {
        await page.getByRole("button", { name: "Export" }).click();
        const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: item }).click()]);
        return readFileSync(await download.path());
      };
      const svg = (await saved(/^Picture ?\.svg/)).toString();
      assert.match(svg, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
      const wellFormed = await page.evaluate((text) =>
        !new DOMParser().parseFromString(text, "image/svg+xml").querySelector("parsererror"), svg);
      assert.ok(wellFormed);
      const png = await saved(/^Picture ?\.png/);
      assert.deepEqual([...png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
      assert.equal(png.readUInt32BE(16), 3200);
      const folded = (await saved(/^Folded stacks ?\.txt/)).toString().trim().split("\n");
      assert.equal(folded.reduce((sum, line) => sum + Number(/ (\d+)$/.exec(line)[1]), 0), samples);
      assert.ok(folded.every((line) => line.startsWith(`${name.replaceAll(";", ":")};`) || line.startsWith(`${name} `)));
      // What reads it is not ours: the fields of a profile.proto that hold samples and texts.
      const pprof = gunzipSync(await saved(/^pprof ?\.pb\.gz/));
      assert.ok(pprof.includes(Buffer.from(name)) && pprof.includes("nanoseconds"));
      const speedscope = JSON.parse((await saved(/^speedscope ?\.json/)).toString());
      assert.match(speedscope.$schema, /speedscope/);
      assert.ok(speedscope.shared.frames.some((frame) => frame.name === name));
    }],

    ["what is printed is the whole graph, sharp and light", async () => {
      await open();
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
      await page.emulateMedia({ media: "print", colorScheme: "light" });
      await page.locator(".printed svg").waitFor();
      assert.ok((await page.locator(".printed svg text").count()) > 5);
      assert.equal(await page.locator(".toolbar").isVisible(), false);
      assert.ok(await page.locator(".headline .range").isVisible(), "of which time it is");
      assert.ok((await see.timeline.boundingBox()).height > 100, "with its time line");
      await picture("print");
      await page.emulateMedia({ media: "screen", colorScheme: "light" });
      await page.evaluate(() => dispatchEvent(new Event("afterprint")));
      await page.locator(".printed svg").waitFor({ state: "detached" });
    }],
  ];
}
