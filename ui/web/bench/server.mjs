// Serves the page, an API that answers at once, and the peers with the same profile.
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".wasm": "application/wasm" };
const SPAN = 900_000;

function folder(path) {
  const names = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(names.map((entry) => [join(entry.parentPath ?? entry.path, entry.name).slice(path.length), join(entry.parentPath ?? entry.path, entry.name)]));
}

const timeline = (until) => ({
  from_ms: until - SPAN, until_ms: until, step_ms: 5000, period_ns: 10_101_010, by: "process",
  groups: [{ value: "process-0", total: 18_000, samples: Array(180).fill(100) }], other: { groups: 0, total: 0, samples: Array(180).fill(0) },
  complete: Array(180).fill(100), lost: Array(180).fill(0), skipped: [],
});

/** Starts it; `files` are prepared answers by path, `peers` a folder of built peers, if any. */
export function startServer(files, peers) {
  const page = folder(dist);
  const theirs = peers ? folder(peers) : new Map();
  const now = 1_750_000_000_000;
  const status = { version: "bench", host: "bench", now_ms: now, started_ms: now - SPAN, frequency_hz: 99, event: "cpu-clock", window_ms: 10_000, cpus: 8,
    data: { from_ms: now - SPAN, until_ms: now, segments: 1, bytes: 1, skipped: [] }, agent: null };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://bench");
    const send = (body, type = "application/json") => {
      response.writeHead(200, { "content-type": type });
      response.end(body);
    };
    // Columns are no text: called JSON, the browser's tools would decode them as such while the page waits.
    if (files.has(pathname)) return send(files.get(pathname), pathname.endsWith(".json") ? "application/json" : "application/vnd.vesta.flame");
    if (pathname === "/api/v1/status") return send(JSON.stringify(status));
    if (pathname === "/api/v1/timeline") return send(JSON.stringify(timeline(now)));
    if (pathname.startsWith("/api/")) return send("{}");
    const file = pathname.startsWith("/peers/") ? theirs.get(pathname.slice("/peers".length)) : page.get(pathname === "/" ? "/index.html" : pathname);
    if (file) return send(readFileSync(file), TYPES[extname(file)] ?? "application/octet-stream");
    response.writeHead(404);
    response.end();
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({
    url: `http://127.0.0.1:${server.address().port}`, range: `${new Date(now - SPAN).toISOString()}/${new Date(now).toISOString()}`, close: () => server.close(),
  })));
}
