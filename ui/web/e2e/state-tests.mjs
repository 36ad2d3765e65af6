// What the page does when things are not as they should be: refusals, failures, slowness, nothing to show.
import assert from "node:assert/strict";
import { eventually, instead as answerInstead } from "./harness.mjs";
import { reader } from "./explore-tests.mjs";
import { ask } from "./model.mjs";

export function stateTests({ base, page, guard }) {
  const see = reader(page);
  const open = async (rest = "") => {
    await page.goto(`${base}/${rest}`);
    await eventually("the graph is drawn", async () => (await see.frames()) > 1);
  };
  const select = async (selector) => {
    await page.locator("#selector").fill(selector);
    await page.locator("#selector").press("Enter");
  };
  const instead = (path, answer, work) => answerInstead(page, `**/api/v1/${path}*`, answer, work);

  return [
    ["a selector that is refused says where, and the last view stays", async () => {
      await open();
      guard.expect(400);
      await page.keyboard.press("q");
      await select('process=redis"');
      await page.locator("#selector-error pre").getByText("^").waitFor();
      assert.ok((await see.frames()) > 1);
      assert.ok((await see.samples()) > 0);
    }],

    ["a selector without samples names what has some", async () => {
      await select('process="no such process"');
      await page.getByText("No samples match").waitFor();
      await page.locator(".headline p .link").first().click();
      await eventually("there are samples again", async () => (await see.frames()) > 1);
      assert.ok((await see.samples()) > 0);
    }],

    ["a long state is kept by the server, and its short link leads back to it, here and elsewhere", async () => {
      await open();
      const { takes_marks } = await ask(base, "status");
      const long = `/${Array.from({ length: 300 }, (_, i) => `name_${i}`).join("|")}/`;
      await page.locator("#search").fill(long);
      await eventually("a short address", () => /\?p=[0-9A-Z]{26}$/.test(page.url()));
      assert.ok(takes_marks && page.url().length < 100);
      const short = page.url();
      const opened = await page.context().newPage();
      await opened.goto(short);
      await eventually("the same search elsewhere", async () => (await opened.locator("#search").inputValue()) === long);
      assert.equal(opened.url(), short);
      await opened.close();
      await page.reload();
      await eventually("the same search after a reload", async () => (await page.locator("#search").inputValue()) === long);
      await page.keyboard.press("y");
      await eventually("the link is copied", async () => (await page.evaluate(() => navigator.clipboard.readText())).includes("?p="));
      await page.keyboard.press("2");
      await eventually("the next view has a link of its own", () => /\?p=/.test(page.url()) && page.url() !== short);
      await page.goBack();
      await eventually("and the one before is a step back", async () => (await page.locator("#tab-flame").getAttribute("aria-selected")) === "true");
      await page.locator("#search").fill("main");
      await eventually("what is short stands in the address itself", () => page.url().includes("s=main"));
    }],

    ["a link that leads nowhere says so", async () => {
      guard.expect(404);
      await page.goto(`${base}/?p=01ARZ3NDEKTSV4RRFFQ69G5FAV`);
      await page.locator(".headline .failure", { hasText: "leads to nothing" }).waitFor();
      await page.locator(".headline").getByRole("button", { name: "Show the last minutes" }).click();
      await eventually("the page begins anew", async () => (await see.frames()) > 1 && (await page.locator(".headline .sentence").count()) === 1);
    }],

    ["a failure is said in place of the sentence, the last view stays, and a retry mends it", async () => {
      await open();
      guard.expect(500);
      const broken = { status: 500, json: { error: "The data directory cannot be read", detail: "input/output error" } };
      let refused = 0;
      const refuse = async (route) => {
        await route.fulfill(broken);
        // A live page goes on asking; a paused one asks once, for more nodes.
        if (!route.request().url().includes("max_nodes=10000")) refused++;
      };
      await instead("flame", refuse, async () => {
        await page.getByText("The data directory cannot be read: input/output error.").waitFor();
        assert.ok((await see.frames()) > 1);
        await see.graph.focus();
        await page.keyboard.press("ArrowDown");
        await page.getByRole("button", { name: /^Paused/ }).waitFor();
        await eventually("the paused view is refused, too", () => refused > 0);
      });
      await page.getByRole("button", { name: "Retry" }).click();
      await eventually("the sentence is back", async () => (await page.locator(".sentence").count()) === 1);
    }],

    ["what takes long is said, and an answer that is out of date is thrown away", async () => {
      await open();
      const name = await see.largest();
      let held = 0;
      const slow = async (route) => {
        const first = held++ === 0;
        if (first) await new Promise((resolve) => setTimeout(resolve, 2500));
        await route.continue().catch(() => {}); // cancelled meanwhile
      };
      await instead("flame", slow, async () => {
        await page.keyboard.press("l");
        await eventually("the loading line shows", async () => (await page.locator(".loading.on").count()) === 1);
        await select(`process="${name}"`);
        await eventually("the newer answer is shown", async () =>
          (await page.locator(".bars .name").allTextContents()).join() === name);
        await page.waitForTimeout(3000);
        assert.equal((await page.locator(".bars .name").allTextContents()).join(), name);
        assert.equal(await page.locator(".loading.on").count(), 0);
      });
    }],

    ["a change of the sampling frequency is an event on the axis", async () => {
      const changed = async (route) => {
        const timeline = await (await route.fetch()).json();
        const middle = timeline.from_ms + Math.floor(timeline.complete.length / 2) * timeline.step_ms;
        timeline.rates = [{ time_ms: timeline.from_ms, period_ns: 20_408_163 }, { time_ms: middle, period_ns: 10_101_010 }];
        await route.fulfill({ json: timeline });
      };
      await instead("timeline", changed, async () => {
        await open();
        const event = page.locator('.event[data-event="rate"]').first();
        await event.waitFor();
        assert.equal(await event.getAttribute("data-text"), "49 → 99 Hz");
        assert.match(await event.getAttribute("aria-label"), /^Sampling frequency: 49 → 99 Hz, \d\d:\d\d:\d\d$/);
      });
    }],

    ["an agent that falls behind is not taken for an idle machine", async () => {
      const late = async (route) => {
        const status = await (await route.fetch()).json();
        status.data.until_ms = status.now_ms - 95_000;
        await route.fulfill({ json: status });
      };
      await instead("status", late, async () => {
        await open();
        await page.locator(".statusbar").getByText("newest data is 1 min 35 s old").waitFor();
      });
    }],

    ["a host that has gone silent is told, and leads to what there is of it", async () => {
      const answer = (route) => {
        const { searchParams } = new URL(route.request().url());
        const isDay = Number(searchParams.get("until")) - Number(searchParams.get("from")) > 80_000;
        const hosts = isDay ? ["web-01", "web-02", "web-03"] : ["web-01", "web-03"];
        return route.fulfill({ json: { values: hosts.map((value) => ({ value, samples: 7 })), truncated: false } });
      };
      await instead("labels/host/values", answer, async () => {
        await open();
        const told = page.getByRole("button", { name: "Hosts without data in this range" });
        await told.waitFor();
        assert.equal(await told.textContent(), "2 of 3 hosts have data here");
        await told.click();
        const { y, height } = await page.locator(".statusbar .panel").boundingBox();
        assert.ok(y > 0 && y + height < 900, `${y} to ${y + height}`);
        assert.deepEqual(await page.locator(".statusbar .panel .item").allTextContents(), ["web-02"]);
        await page.locator(".statusbar .panel").getByRole("button", { name: "web-02" }).click();
        await eventually("only that host", () => decodeURIComponent(page.url()).includes('host="web-02"'));
      });
      let asked = 0;
      const all = (route) => {
        asked++;
        return route.fulfill({ json: { values: ["web-01", "web-02"].map((value) => ({ value, samples: 7 })), truncated: false } });
      };
      await instead("labels/host/values", all, async () => {
        await open();
        await eventually("hosts of the day and of the range are asked for", () => asked >= 2);
        await page.waitForTimeout(200);
        assert.equal(await page.getByRole("button", { name: "Hosts without data in this range" }).count(), 0);
      });
    }],

    ["before the first sample the page says since when it collects", async () => {
      const nothing = async (route) => {
        const status = await (await route.fetch()).json();
        status.data = { ...status.data, from_ms: null, until_ms: null };
        await route.fulfill({ json: status });
      };
      await instead("status", nothing, async () => {
        await page.goto(base);
        await page.getByText(/^Collecting since \d\d:\d\d:\d\d$/).waitFor();
      });
    }],
  ];
}
