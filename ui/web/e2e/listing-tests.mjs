// The pages that are lists: what ran, and which BPF programs are loaded.
import assert from "node:assert/strict";
import { eventually } from "./harness.mjs";
import { reader } from "./explore-tests.mjs";
import { ask } from "./model.mjs";

export function listingTests({ base, page, picture }) {
  const see = reader(page);
  return [
    ["the inventory has every program with its CPU time, and leads to its flame graph", async () => {
      await page.goto(base);
      await page.getByRole("link", { name: "Inventory" }).click();
      assert.match(page.url(), /\/inventory/);
      const rows = page.locator('.listing tr[data-program="true"]');
      await eventually("programs are listed", async () => (await rows.count()) > 0);
      const { values } = await ask(base, "labels/exe/values", { from: "0", until: String(Date.now() / 1000) });
      const known = values.map(({ value }) => value).filter(Boolean);
      const listed = await rows.evaluateAll((all) => all.map((row) => row.dataset.path));
      assert.ok(listed.length > 0 && listed.every((path) => known.includes(path)), `${listed} are not all of ${known}`);
      const { values: hosts } = await ask(base, "labels/host/values", { from: "0", until: String(Date.now() / 1000) });
      const shown = await rows.locator("[data-hosts]").evaluateAll((all) => all.map((cell) => cell.title.split("\n")).flat().filter(Boolean));
      assert.ok(shown.length > 0 && shown.every((name) => hosts.some(({ value }) => value === name)), `${shown} are not all of the hosts`);
      await picture("inventory");
      const first = listed[0];
      await page.getByLabel("Filter").fill(first);
      await eventually("only what matches", async () => (await page.locator(".listing tbody tr").evaluateAll((all) => all.map((row) => row.dataset.path))).every((path) => path.includes(first)));
      await rows.first().getByRole("button").click();
      await eventually("its flame graph", async () => (await see.frames()) > 1);
      assert.ok(decodeURIComponent(page.url()).includes(`q=exe="${first}"`), page.url());
      await page.goBack();
      await page.locator(".listing h1", { hasText: "Inventory" }).waitFor();
    }],

    ["the audit lists BPF programs, and marks Vesta's own", async () => {
      await page.goto(base);
      const { programs } = await ask(base, "programs");
      await page.getByRole("link", { name: "Audit" }).click();
      assert.match(page.url(), /\/audit/);
      if (programs === null) {
        await page.getByText("No agent runs in this process").waitFor();
        return;
      }
      await eventually("all are listed", async () => (await page.locator(".listing tbody tr").count()) >= programs.length);
      const own = page.locator('.listing tr[data-own="true"]');
      assert.equal(await own.count(), programs.filter((program) => program.own).length);
      assert.ok((await own.count()) > 0, "Vesta's own program is there");
      await eventually("its cost is measured", async () => /\d %/.test(await own.first().textContent()));
      // Kept when windows close: the first one only begins to count.
      const { past, ran } = await eventually("the store has what Vesta's own programs cost", async () => {
        const { data, host } = await ask(base, "status");
        const past = await ask(base, "programs/history", { from: String(data.from_ms / 1000), until: String(data.until_ms / 1000 + 60), step_ms: "60000" });
        const ran = past.programs.filter((program) => program.host === host && programs.some(({ tag, name, own }) => own && tag === program.tag && name === program.name));
        return ran.length > 0 && { past, ran };
      });
      await page.reload();
      for (const { tag, name } of ran) {
        const row = page.locator(".listing tr[data-own='true']").filter({ hasText: tag }).filter({ hasText: name });
        await eventually(`${name} over time`, async () => (await row.first().locator("rect").count()) > 0);
      }
      const gone = past.programs.filter((program) => program.tag && !programs.some(({ tag, name }) => tag === program.tag && name === program.name));
      for (const { tag, name } of gone) {
        const row = page.locator(`.listing tr[data-gone="${tag}"]`).filter({ hasText: name });
        await eventually(`${name} is told of, though it is gone`, async () => (await row.count()) > 0);
        assert.equal(await row.locator("i").count(), 0, "names are text");
      }
      await picture("audit");
      await page.getByRole("link", { name: "Explore" }).click();
      await eventually("back at the graph", async () => (await see.frames()) > 1);
    }],

    ["the inventory and the audit are saved in this browser, and found again", async () => {
      for (const [name, path] of [["Inventory", "/inventory"], ["Audit", "/audit"]]) {
        await page.goto(base);
        await page.getByRole("link", { name, exact: true }).click();
        await page.locator(".listing h1", { hasText: name }).waitFor();
        await page.keyboard.press("p");
        await page.locator("#pin-note").fill(`my ${name}`);
        await page.getByRole("button", { name: "Save this view" }).click();
        await page.goto(base);
        await eventually("the graph is drawn", async () => (await see.frames()) > 1);
        await page.keyboard.press("p");
        await page.getByRole("link", { name: `my ${name}` }).click();
        await page.locator(".listing h1", { hasText: name }).waitFor();
        assert.equal(new URL(page.url()).pathname, path);
        await page.keyboard.press("p");
        await page.getByRole("button", { name: `Forget my ${name}` }).click();
        await page.reload();
        await page.keyboard.press("p");
        await page.locator("#pin-note").waitFor();
        assert.equal(await page.getByRole("link", { name: `my ${name}` }).count(), 0, "it is forgotten");
        await page.keyboard.press("Escape");
      }
    }],
  ];
}
