// Measures the page in headless Chromium, beside other flame graphs with the same profile. Usage:
//   node bench/ui.mjs [--nodes 100000] [--runs 5] [--peers FOLDER] [--url URL of a running Vesta] [--output FILE]
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch } from "../e2e/harness.mjs";
import { flameColumns, grow, levelsJson, nestedJson, speedscopeJson } from "./profiles.mjs";
import { startServer } from "./server.mjs";

const { values: options } = parseArgs({ options: {
  nodes: { type: "string", default: "100000" }, runs: { type: "string", default: "5" }, peers: { type: "string" },
  url: { type: "string" }, output: { type: "string" }, large: { type: "string", default: "1000000" },
} });
const runs = Number(options.runs);
const VIEWPORT = { width: 1600, height: 1000 };

// Pages of the browser's own interface, which load while a viewer does and whose memory is no tab's.
const OWN_PAGES = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "PreloadTopChromeWebUI", "InitialWebUI"];
const browserAlone = () => launch([`--disable-features=${OWN_PAGES}`]);
/** A browser that has just started is busy with itself. */
const SETTLED = 1500;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const round = (value, digits = 1) => Number(value.toFixed(digits));

/** Notes frames and the first picture; runs before the page's own code. */
function observe() {
  const bench = { gaps: [], done: 0, bytes: 0 };
  globalThis.bench = bench;
  let last = performance.now();
  const tick = (time) => {
    bench.gaps.push(time - last);
    last = time;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  performance.setResourceTimingBufferSize?.(2000);
  new PerformanceObserver((list) => {
    if (!bench.done && list.getEntriesByName("vesta-draw").length) requestAnimationFrame(() => (bench.done = performance.now()));
  }).observe({ type: "measure" });
  // Viewers that draw by WebGL: their first picture after the profile has come.
  for (const kind of ["drawArrays", "drawElements"]) {
    const own = WebGLRenderingContext.prototype[kind];
    WebGLRenderingContext.prototype[kind] = function (...all) {
      const profile = performance.getEntriesByType("resource").find(({ name }) => name.includes("/profile/"));
      if (!bench.done && profile?.responseEnd) requestAnimationFrame(() => (bench.done ||= performance.now()));
      return own.apply(this, all);
    };
  }
}

/** Opens a page in a browser of its own, waits for its first picture, and hands it to `work`. */
async function opened(url, work, viewport = VIEWPORT) {
  const browser = await browserAlone();
  try {
    const page = await (await browser.newContext({ viewport, deviceScaleFactor: 1 })).newPage();
    page.setDefaultTimeout(180_000);
    await page.waitForTimeout(SETTLED);
    await page.addInitScript(observe);
    await page.goto(url);
    await page.waitForFunction(() => {
      const mark = performance.getEntriesByName("bench-done")[0];
      if (mark) globalThis.bench.done = mark.startTime;
      return globalThis.bench.done > 0;
    }, undefined, { polling: 500 });
    return await work(page, browser);
  } finally {
    await browser.close();
  }
}

/** Milliseconds from the profile's last byte to the first frame that shows it. */
const firstFrame = (page) => page.evaluate(() => {
  const resources = performance.getEntriesByType("resource");
  const bytes = resources.find(({ name }) => name.includes("/profile/") || name.includes("/api/v1/flame"));
  return globalThis.bench.done - bytes.responseEnd;
});

/** Memory of the tab's process in bytes, after a collection of garbage: proportional to who shares it, and what is the process's alone and of
 * no file, which the browser itself shows as a tab's. A spare one, for the next tab, is smaller. */
async function memory(page, browser) {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  await page.waitForTimeout(500);
  await session.send("HeapProfiler.collectGarbage");
  await page.waitForTimeout(500);
  const root = await browser.newBrowserCDPSession();
  const { processInfo } = await root.send("SystemInfo.getProcessInfo");
  const kilobytes = (id, file, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${id}/${file}`, "utf8"))?.[1] ?? 0);
  const tabs = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => ({
    bytes: kilobytes(id, "smaps_rollup", "Pss") * 1024,
    own: (kilobytes(id, "status", "RssAnon") + kilobytes(id, "status", "VmSwap")) * 1024,
  }));
  return tabs.reduce((most, tab) => (tab.bytes > most.bytes ? tab : most));
}

/** Frames per second while the graph is zoomed and panned in each of them, and how long drawing took. */
const moving = (page, seconds) => page.evaluate(async (limit) => {
  const canvas = document.querySelector('canvas[aria-label="Flame graph"]');
  const box = canvas.getBoundingClientRect();
  performance.clearMeasures("vesta-draw");
  const turn = (event) => canvas.dispatchEvent(new WheelEvent("wheel", { bubbles: true, cancelable: true, clientX: box.left + box.width * 0.3, clientY: box.top + 100, ...event }));
  const frames = [];
  const visible = [];
  const start = performance.now();
  await new Promise((resolve) => {
    let step = 0;
    const tick = (time) => {
      frames.push(time);
      visible.push(Number(canvas.dataset.frames));
      const phase = step++ % 120;
      if (phase < 40) turn({ ctrlKey: true, deltaY: -12 });
      else if (phase < 80) turn({ shiftKey: true, deltaY: phase < 60 ? 40 : -40 });
      else turn({ ctrlKey: true, deltaY: 12 });
      if (time - start < limit * 1000) requestAnimationFrame(tick);
      else resolve();
    };
    requestAnimationFrame(tick);
  });
  const draws = performance.getEntriesByName("vesta-draw").map(({ duration }) => duration);
  return { fps: ((frames.length - 1) * 1000) / (frames.at(-1) - frames[0]), draws, visible };
}, seconds);

/** Opens each of these pages in turn, again and again, so that what else runs on the machine meets them all. */
async function inTurns(urls, work) {
  const results = urls.map(() => []);
  for (let i = 0; i < runs; i++) {
    for (const [at, url] of urls.entries()) {
      try {
        results[at].push(await opened(url, work));
      } catch (error) {
        results[at].push({ error: String(error.message).split("\n")[0] });
      }
    }
  }
  return results.map((all) => {
    const broken = all.find(({ error }) => error);
    return broken ?? { ms: median(all.map(({ ms }) => ms)), bytes: median(all.map(({ bytes }) => bytes)), own: median(all.map(({ own }) => own)) };
  });
}

const rows = [];
const report = (what, value, unit, limit, note = "") => {
  rows.push({ what, value, unit, limit, note });
  console.log(`${what}: ${value} ${unit}${limit ? ` (target ${limit})` : ""}${note ? `; ${note}` : ""}`);
};

async function profile(nodes, withPeers) {
  const tree = grow(nodes);
  const files = new Map([["/api/v1/flame", flameColumns(tree)]]);
  if (withPeers) {
    files.set("/profile/nested.json", nestedJson(tree));
    files.set("/profile/levels.json", levelsJson(tree));
    files.set("/profile/speedscope.json", speedscopeJson(tree));
  }
  return startServer(files, options.peers && join(options.peers, "built"));
}

async function main() {
  const nodes = Number(options.nodes);
  const server = await profile(nodes, Boolean(options.peers));
  const vesta = `${server.url}/?t=${server.range}`;
  const measured = async (page, browser) => ({ ms: await firstFrame(page), ...(await memory(page, browser)) });

  const peers = options.peers ? PEERS : [];
  const [ours, ...theirs] = await inTurns([vesta, ...peers.map(([, path]) => server.url + path)], measured);
  if (ours.error) throw new Error(ours.error);
  const empty = await emptyTab();
  report(`${nodes} nodes, bytes to first frame`, round(ours.ms), "ms", "");
  report(`${nodes} nodes, memory of the tab`, round(ours.bytes / 1e6), "MB", "", `${ownPart(ours)}; an empty tab has ${round(empty.bytes / 1e6)}, ${ownPart(empty)}`);
  comparePeers(nodes, ours, empty, peers.map(([name], i) => ({ name, ...theirs[i] })));

  const { fps, draws, visible } = await opened(vesta, (page) => moving(page, 6));
  report(`${nodes} nodes, pan and zoom`, round(fps), "frames/s", ">= 55", `${draws.length} draws, median ${round(median(draws), 2)} ms`);
  const large = await opened(vesta, (page) => moving(page, 6), { width: 2560, height: 1440 });
  report("draw at 2560 x 1440", round(median(large.draws), 2), "ms", "<= 8", `median of ${large.draws.length}, ${median(large.visible)} frames in sight; of the most ${Math.max(...large.visible)}`);
  server.close();

  const huge = await profile(Number(options.large), false);
  const opening = await opened(`${huge.url}/?t=${huge.range}`, async (page) => {
    const ms = await firstFrame(page);
    await page.waitForTimeout(500);
    const { gaps } = await page.evaluate(() => globalThis.bench);
    return { ms, gap: Math.max(...gaps) };
  });
  report(`${options.large} nodes, longest frame while opening`, round(opening.gap), "ms", "<= 200", `first frame ${round(opening.ms)} ms after the last byte`);
  const moved = await opened(`${huge.url}/?t=${huge.range}`, (page) => moving(page, 6));
  report(`${options.large} nodes, pan and zoom`, round(moved.fps), "frames/s", "", `median draw ${round(median(moved.draws), 2)} ms`);
  huge.close();

  if (options.url) await navigation(options.url.replace(/\/$/, ""));
  if (options.output) writeFileSync(options.output, JSON.stringify({ rows }, null, 1));
}

/** What a tab takes without a page. */
async function emptyTab() {
  const browser = await browserAlone();
  try {
    const page = await browser.newPage();
    await page.goto("data:text/html,<p>nothing");
    return await memory(page, browser);
  } finally {
    await browser.close();
  }
}

/** Other viewers, and where they are served with the same profile. */
const PEERS = [
  ["d3-flame-graph", "/peers/d3.html?cut=0"], ["d3-flame-graph, minFrameSize(1)", "/peers/d3.html?cut=1"],
  ["@grafana/flamegraph", "/peers/grafana.html"], ["speedscope", "/peers/speedscope/index.html#profileURL=/profile/speedscope.json"],
];

/** Memory that is of no file and nobody else's. */
const ownPart = ({ own }) => `${round(own / 1e6)} MB of them the process's own`;

function comparePeers(nodes, ours, empty, theirs) {
  for (const { name, ms, bytes, own, error } of theirs) {
    if (error) report(`  ${name}`, "-", "", "", `not measured: ${error}`);
    else report(`  ${name}`, round(ms), "ms", "", `${round(bytes / 1e6)} MB, ${ownPart({ own })}`);
  }
  const measured = theirs.filter(({ error }) => !error);
  if (measured.length === 0) return;
  const least = (of) => Math.min(...measured.map(of));
  report(`${nodes} nodes, bytes to first frame, of the fastest peer's`, round(ours.ms / least(({ ms }) => ms), 3), "x", "<= 0.2");
  for (const [what, of] of [["memory", ({ bytes }) => bytes], ["the process's own memory", ({ own }) => own]]) {
    const leanest = least(of);
    report(`${nodes} nodes, ${what}, of the leanest peer's`, round(of(ours) / leanest, 3), "x", "<= 0.5", `of what they take beyond an empty tab ${round((of(ours) - of(empty)) / (leanest - of(empty)), 3)}`);
  }
}

/** A running Vesta: from navigation to the first frame of the page and of the graph, and to another hour. */
async function navigation(url) {
  // The first day of its data: what a day of another time is copied into goes on with now.
  const { data } = await (await fetch(`${url}/api/v1/status`)).json();
  const iso = (ms) => new Date(Math.floor(ms / 1000) * 1000).toISOString();
  const end = Math.min(data.until_ms, data.from_ms + DAY);
  const paints = [];
  const graphs = [];
  const changes = [];
  for (let i = 0; i < runs; i++) {
    await opened(`${url}/?t=${iso(end - DAY)}/${iso(end)}`, async (page) => {
      const [paint, graph] = await page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN, globalThis.bench.done]);
      paints.push(paint);
      graphs.push(graph);
    });
    await opened(`${url}/?t=${iso(end - (2 + i) * HOUR)}/${iso(end - (1 + i) * HOUR)}`, async (page) => {
      await page.waitForTimeout(1500);
      changes.push(await page.evaluate(() => new Promise((resolve) => {
        performance.clearMeasures("vesta-draw");
        const before = document.querySelector("h1")?.dataset.from;
        const start = performance.now();
        dispatchEvent(new KeyboardEvent("keydown", { key: "," }));
        const seen = performance.getEntriesByType("resource").length;
        const wait = () => {
          const flame = performance.getEntriesByType("resource").slice(seen).find(({ name }) => name.includes("/api/v1/flame"));
          const draw = performance.getEntriesByName("vesta-draw").find(({ startTime }) => flame && startTime > flame.responseEnd);
          if (draw && document.querySelector("h1")?.dataset.from !== before) resolve(draw.startTime + draw.duration - start);
          else requestAnimationFrame(wait);
        };
        wait();
      })));
    });
  }
  report("navigation to first frame, 24 h", round(median(paints)), "ms", "<= 300");
  report("navigation to the graph, 24 h", round(median(graphs)), "ms", "<= 800");
  report("another hour", round(median(changes)), "ms", "<= 100");
}

/** `--build-peers`: bundles the peers that are installed in a folder. */
async function buildPeers(folder) {
  const { createRequire } = await import("node:module");
  const { cpSync } = await import("node:fs");
  const require = createRequire(join(folder, "package.json"));
  const { build } = require("esbuild");
  // A button of another product of theirs, which is not part of the graph.
  const assistant = {
    name: "assistant",
    setup(esbuild) {
      esbuild.onResolve({ filter: /^@grafana\/assistant$/ }, ({ path }) => ({ path, namespace: "none" }));
      esbuild.onLoad({ filter: /.*/, namespace: "none" }, () => ({ contents: "module.exports = new Proxy({}, { get: () => () => null });" }));
    },
  };
  const out = join(folder, "built");
  mkdirSync(out, { recursive: true });
  for (const name of ["d3", "grafana"]) {
    const source = new URL(`peers/${name}.js`, import.meta.url);
    const entry = join(folder, `${name}.js`);
    writeFileSync(entry, readFileSync(source));
    await build({ entryPoints: [entry], bundle: true, minify: true, format: "esm", outfile: join(out, `${name}.js`), logLevel: "error", plugins: [assistant],
      define: { "process.env.NODE_ENV": '"production"', global: "globalThis" }, loader: { ".svg": "dataurl", ".woff2": "dataurl", ".woff": "dataurl", ".ttf": "dataurl", ".png": "dataurl" } });
    writeFileSync(join(out, `${name}.html`), `<!doctype html><meta charset="utf-8"><div id="chart" style="height:900px"></div><script type="module" src="/peers/${name}.js"></script>`);
  }
  cpSync(join(folder, "node_modules/speedscope/dist/release"), join(out, "speedscope"), { recursive: true });
}

if (options.peers) await buildPeers(options.peers);
await main();
