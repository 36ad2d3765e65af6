// How the page looks and what it never does: themes, narrow screens, policy, foreign requests.
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { eventually } from "./harness.mjs";
import { reader } from "./explore-tests.mjs";
import { ask } from "./model.mjs";

export function lookTests({ base, page, guard, picture }) {
  const see = reader(page);
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const choose = async (theme) => {
    await page.getByRole("button", { name: "Theme" }).click();
    await page.getByRole("button", { name: theme, exact: true }).click();
  };

  const drawn = () => eventually("the graph is drawn", async () => (await see.frames()) > 1);
  let span;
  /** The second half of what there is: a range before it has data, too. */
  const fixedSpan = async () => {
    if (span) return span;
    const { data } = await ask(base, "status");
    const until = Math.floor(data.until_ms / 1000);
    return (span = { from: Math.ceil((data.from_ms / 1000 + until) / 2), until });
  };
  const fixedUrl = async (rest = "") => {
    const { from, until } = await fixedSpan();
    return `${base}/?t=${new Date(from * 1000).toISOString()}/${new Date(until * 1000).toISOString()}${rest}`;
  };

  return [
    ["the theme is chosen, and kept", async () => {
      await page.goto(base);
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      assert.equal(await background(), "rgb(250, 249, 247)");
      await choose("Dark");
      assert.equal(await background(), "rgb(20, 19, 17)");
      await page.reload();
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      assert.equal(await background(), "rgb(20, 19, 17)");
      await picture("dark");
      await choose("As the system");
      assert.equal(await background(), "rgb(250, 249, 247)");
    }],

    ["a process gets another colour, which stays in this browser until it is given back", async () => {
      await page.goto(await fixedUrl());
      await drawn();
      // The first group's row, left of its name.
      const pixel = () => see.graph.evaluate((canvas) => {
        const ratio = canvas.width / canvas.clientWidth;
        // By way of a canvas of its own: a large one that is read often becomes slow to draw on, as the browser warns.
        const one = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
        one.drawImage(canvas, -Math.round(19 * ratio), -Math.round(38 * ratio));
        return [...one.getImageData(0, 0, 1, 1).data].join(" ");
      });
      const before = await pixel();
      const box = await see.graph.boundingBox();
      await page.mouse.click(box.x + 60, box.y + 38);
      const menu = page.locator(".details button.band");
      await menu.waitFor();
      const owner = /^Colour of (.+)$/.exec(await menu.getAttribute("aria-label"))[1];
      const choose = async (name) => {
        await page.getByRole("button", { name: `Colour of ${owner}` }).click();
        await page.locator(".details .panel").getByRole("button", { name, exact: true }).click();
      };
      const painted = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      await choose("rose");
      await painted();
      const rose = await pixel();
      await choose("green");
      await painted();
      const green = await pixel();
      assert.notEqual(green, rose);
      await picture("recoloured");
      await page.reload();
      await drawn();
      assert.equal(await pixel(), green, "kept");
      await choose("as everybody has it");
      await eventually("the first colour", async () => (await pixel()) === before);
    }],

    ["of another label's values those with most CPU have a colour each", async () => {
      await page.goto(await fixedUrl("&by=thread"));
      await drawn();
      const colors = await eventually("a legend", async () => {
        const all = await page.locator(".legend tr[data-value] .swatch").evaluateAll((found) => found.map((swatch) => getComputedStyle(swatch).backgroundColor));
        return all.length > 1 && all;
      });
      assert.equal(new Set(colors).size, colors.length, colors.join(", "));
    }],

    ["another range's graph comes as the one before goes, unless motion is unwanted", async () => {
      await page.goto(await fixedUrl());
      await drawn();
      const fades = () => page.evaluate(() => globalThis.fades);
      const watchFades = () => page.evaluate(() => {
        globalThis.fades = 0;
        new MutationObserver((changes) => {
          for (const { addedNodes } of changes) for (const node of addedNodes) if (node.className === "fading") globalThis.fades++;
        }).observe(document.querySelector(".flame"), { childList: true });
      });
      await watchFades();
      const shift = async () => {
        const here = page.url();
        await page.locator("body").click({ position: { x: 5, y: 5 } });
        await page.keyboard.press(",");
        await eventually("another range", () => page.url() !== here);
      };
      await shift();
      await eventually("it fades", async () => (await fades()) === 1);
      await eventually("nothing is left of it", async () => (await page.locator(".fading").count()) === 0);
      await page.emulateMedia({ reducedMotion: "reduce" });
      try {
        const here = await see.samples();
        await page.keyboard.press(".");
        await eventually("other samples", async () => (await see.samples()) !== here);
        assert.equal(await fades(), 1);
      } finally {
        await page.emulateMedia({ reducedMotion: null });
      }
    }],

    ["the key map opens and closes", async () => {
      await page.keyboard.press("?");
      await page.getByRole("dialog").getByText("Search frames").waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
    }],

    ["exports carry the range and the selector in view", async () => {
      await page.getByRole("button", { name: "Export" }).click();
      const links = await page.locator('.panel a[href*="format="]').evaluateAll((found) => found.map((a) => a.href));
      assert.deepEqual(links.map((href) => new URL(href).searchParams.get("format")), ["pprof", "folded", "svg", "json", "firefox", "speedscope", "perf-script"]);
      const folded = await (await fetch(links[1])).text();
      assert.match(folded, /^.+ \d+$/m);
      await page.keyboard.press("Escape");
    }],

    ["the bar has room for a selector, the sentence for words, a menu for its last item on every screen", async () => {
      await page.goto(await fixedUrl());
      await page.locator(".headline .sentence").waitFor();
      for (const width of [1440, 1100, 1024, 900, 720]) {
        await page.setViewportSize({ width, height: 900 });
        const field = await page.locator("#selector").boundingBox();
        assert.ok(field.width >= 120, `${field.width} px for the selector on a screen of ${width}`);
        const sentence = await page.locator(".headline .sentence").boundingBox();
        assert.ok(sentence.width >= 200, `${sentence.width} px for the sentence on a screen of ${width}`);
        const [content, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(content <= screen, `${content} px on a screen of ${screen}`);
      }
      await page.setViewportSize({ width: 1440, height: 450 });
      await page.getByRole("button", { name: "Export" }).click();
      const last = page.locator(".panel a", { hasText: "perf script" });
      await last.scrollIntoViewIfNeeded();
      const { y, height } = await last.boundingBox();
      assert.ok(y + height <= 450, `the last export ends at ${y + height} of 450 px`);
      await page.keyboard.press("Escape");
      await page.setViewportSize({ width: 1440, height: 900 });
    }],

    ["a narrow screen scrolls in one direction only", async () => {
      await page.setViewportSize({ width: 390, height: 844 });
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= width, `${content} px on a screen of ${width}`);
      const small = await page.locator("button:visible, a:visible, input:visible").evaluateAll((found) =>
        // One that was drawn anew since it was found, as marks on the axis are when the width changes, is not in the page.
        found.filter((element) => element.isConnected && Math.round(element.getBoundingClientRect().height) < 24 && !element.closest(".skip"))
          .map((element) => element.outerHTML.slice(0, 80)));
      assert.deepEqual(small, []);
      await picture("narrow");
      for (const [name, path] of [["Inventory", "/inventory"], ["Explore", "/"]]) {
        await page.getByRole("button", { name: "Views and help" }).click();
        await page.locator(".panel").getByRole("link", { name }).click();
        await eventually(`${name} is open`, () => new URL(page.url()).pathname === path);
        const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide <= screen, `${name}: ${wide} px on a screen of ${screen}`);
      }
      await page.setViewportSize({ width: 1440, height: 900 });
    }],

    ["the page runs under a strict policy, without errors and without another host", async () => {
      const response = await page.goto(base);
      const policy = response.headers()["content-security-policy"] ?? "";
      assert.match(policy, /^default-src 'self'/);
      assert.doesNotMatch(policy, /unsafe/);
      // The application is as high as the window, scripts or not.
      assert.match(await response.text(), /<noscript>[^]+id="app"/, "without scripts the page says so in sight");
      await eventually("the graph is drawn", async () => (await see.frames()) > 1);
      const fonts = await page.evaluate(async () => {
        await document.fonts.ready;
        return [...document.fonts].filter((font) => font.status === "loaded").map((font) => font.family.replaceAll('"', ""));
      });
      assert.ok(fonts.includes("Inter"), `fonts loaded: ${fonts}`);
      assert.deepEqual(guard.troubles, []);
    }],

    ["script, styles and fonts keep their budgets", async () => {
      const urls = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => entry.name));
      const kilobytes = { js: 0, css: 0, woff2: 0 };
      for (const url of new Set(urls)) {
        const kind = /\.(js|css|woff2)$/.exec(url)?.[1];
        if (kind) kilobytes[kind] += gzipSync(Buffer.from(await (await fetch(url)).arrayBuffer())).length / 1000;
      }
      assert.ok(kilobytes.js > 0 && kilobytes.js <= 120, `script: ${kilobytes.js} kB`);
      assert.ok(kilobytes.css > 0 && kilobytes.css <= 14, `styles: ${kilobytes.css} kB`);
      assert.ok(kilobytes.woff2 > 0 && kilobytes.woff2 <= 90, `fonts: ${kilobytes.woff2} kB`);
    }],
  ];
}
