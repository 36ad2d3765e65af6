// Who cannot see or use a pointer, who asked for other colours, and names that want to be more than names.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { eventually } from "./harness.mjs";
import { reader } from "./explore-tests.mjs";
import { opener } from "./flame-tests.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function accessTests({ base, page, guard, picture, fixture }) {
  const see = reader(page);
  // Of more data the page never has all frames, which `open` waits for.
  const { open } = opener(base, page, 60_000);
  /** Serious and critical findings of axe, as text. */
  const findings = async () => {
    // Through the protocol, so that the page's policy stays as strict as it is.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join(" | ")}`);
  };
  const tabs = ["flame", "top", "sandwich", "tree", "lanes", "source"];

  return [
    ...["light", "dark"].map((scheme) => [`axe finds nothing serious in any view, ${scheme}`, async () => {
      await page.emulateMedia({ colorScheme: scheme });
      try {
        for (const tab of tabs) {
          await open(`&tab=${tab}`);
          await page.waitForTimeout(300);
          assert.deepEqual(await findings(), [], tab);
        }
        await open("&truth");
        await page.locator(".drawer .lead").waitFor();
        assert.deepEqual(await findings(), [], "truth");
        await page.keyboard.press("?");
        await page.getByRole("dialog").waitFor();
        assert.deepEqual(await findings(), [], "keys");
        await page.keyboard.press("Escape");
        await open();
        await see.graph.press("ArrowDown");
        await see.graph.press("Shift+F10");
        await page.getByRole("menu").waitFor();
        assert.deepEqual(await findings(), [], "menu");
      } finally {
        await page.emulateMedia({ colorScheme: "light" });
      }
    }]),

    ["the frames around the selected one are a tree for those who hear the page", async () => {
      await open();
      await see.graph.focus();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowDown");
      const tree = page.getByRole("tree", { name: /Callers of the selected frame/ });
      await eventually("three levels", async () => (await tree.locator('[aria-selected="true"]').getAttribute("aria-level")) === "3");
      assert.match(await tree.locator('[aria-selected="true"]').textContent(), / percent$/);
      assert.match(await page.locator("#focused-frame").textContent(), / percent, .* cores, child 1 of \d+, depth 2$/);
    }],

    ["forced colours, more contrast and less motion are followed", async () => {
      await open();
      const pixels = () => see.graph.evaluate((canvas) => canvas.toDataURL());
      const before = await pixels();
      await page.emulateMedia({ contrast: "more" });
      await eventually("outlines and darker textures", async () => (await pixels()) !== before);
      await picture("contrast");
      await page.emulateMedia({ contrast: "no-preference", forcedColors: "active" });
      await page.waitForTimeout(200);
      const colors = await see.graph.evaluate((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let hued = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 0 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 24) hued++;
        return hued;
      });
      assert.ok(colors < 200, `${colors} coloured pixels`);
      const swatches = await page.locator(".legend tr[data-value] .swatch").evaluateAll((all) => all.map((one) => getComputedStyle(one).backgroundColor));
      assert.ok(new Set(swatches).size > 1, `the legend's colours are those of the time line: ${swatches}`);
      await picture("forced-colors");
      await page.emulateMedia({ forcedColors: "none", reducedMotion: "reduce" });
      await see.graph.press("ArrowDown");
      const whole = await see.attribute("view");
      await see.graph.press("ArrowDown");
      await see.graph.press("ArrowDown");
      await see.graph.press("Enter");
      await eventually("the zoom is there at once", async () => (await see.attribute("view")) !== whole, 2000);
      await page.emulateMedia({ reducedMotion: "no-preference" });
    }],

    ["hostile names are text in every view", async () => {
      // Only the generated data has them.
      if (!fixture) return;
      await open('&q=process%3D"<img src%3Dx onerror%3Dalert(1)>"&x=none');
      let alerted = false;
      page.once("dialog", (dialog) => {
        alerted = true;
        void dialog.dismiss();
      });
      await eventually("the graph is drawn", async () => (await see.frames()) > 5);
      await picture("hostile");
      for (const tab of ["2", "4", "3", "5", "6"]) {
        await page.keyboard.press(tab);
        await page.waitForTimeout(200);
        assert.equal(await page.locator("main img, main script, .view b b").count(), 0);
      }
      await page.keyboard.press("2");
      await page.getByRole("button", { name: "Total", exact: true }).click();
      for (const name of ["<script>alert(2)</script>", "rtl \u202egnp.exe", "\"quotes'&amp;;=~@"]) {
        await eventually(`${name} as text`, async () => (await page.locator(".top").textContent()).includes(name));
      }
      const long = page.locator("tr[data-function^='long_x'] button");
      await long.click();
      await page.keyboard.press("1");
      await see.graph.focus();
      await page.keyboard.press("Shift+F");
      await eventually("a long name stands in the URL as its hash", () => /focus:~[0-9a-f]+/.test(decodeURIComponent(page.url())));
      assert.ok(page.url().length < 2000);
      const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= width, `${content} px`);
      await eventually("only it is left", async () => (await page.locator(".chip").count()) === 1);
      assert.ok(!alerted);
    }],

    ["no errors so far", async () => assert.deepEqual(guard.troubles, [])],
  ];
}
