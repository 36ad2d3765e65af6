import { afterEach, expect, test, vi } from "vitest";
import { ApiError, Latest, apiUrl, fetchTruth, selectionParams } from "./client";

afterEach(() => vi.unstubAllGlobals());
const answer = (status: number, body: string) =>
  vi.stubGlobal("fetch", vi.fn(async () => new Response(body, { status })));
const at = { query: "", from: 1000, until: 2500 };

test("empty parameters are left out, and times are seconds", () => {
  expect(apiUrl("flame", { ...selectionParams(at), by: "process" })).toBe(
    "/api/v1/flame?from=1.000&until=2.500&by=process",
  );
  expect(apiUrl("status", {})).toBe("/api/v1/status");
});

test("one rectangle is a part of each second, several are parts of time", () => {
  const one = { from: 1000, until: 2000, low: 0, high: 500 };
  expect(selectionParams({ ...at, parts: [one] })).toMatchObject({ offset_from_ms: 0, offset_until_ms: 500 });
  expect(selectionParams({ ...at, parts: [{ ...one, high: 1000 }] })).toEqual(selectionParams(at));
  const several = apiUrl("flame", selectionParams({ ...at, parts: [one, { ...one, low: 20 }] }));
  expect(new URL(several, "http://x").searchParams.getAll("part")).toEqual(["1000,2000,0,500", "1000,2000,20,500"]);
});

test("a refusal carries the server's words", async () => {
  answer(400, '{"error":"unknown label","detail":"proces=\\"x\\"\\n^"}');
  const error = await fetchTruth(at).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ message: "unknown label", status: 400, detail: 'proces="x"\n^' });
});

test("an answer that is no JSON is an error, not a crash", async () => {
  answer(502, "<html>");
  await expect(fetchTruth(at)).rejects.toMatchObject({ message: "The server answered 502" });
  answer(200, "<html>");
  await expect(fetchTruth(at)).rejects.toMatchObject({ message: "The server's answer is not JSON" });
});

test("a server that answers others is asked again, for a while", async () => {
  vi.useFakeTimers();
  try {
    const busy = () => new Response('{"error":"8 queries are running already"}', { status: 503, headers: { "retry-after": "1" } });
    const ask = vi.fn(async () => busy());
    vi.stubGlobal("fetch", ask);
    ask.mockImplementationOnce(async () => busy()).mockImplementationOnce(async () => new Response('{"samples":7}'));
    const found = fetchTruth(at);
    await vi.advanceTimersByTimeAsync(999);
    expect(ask).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(await found).toEqual({ samples: 7 });
    const refused = fetchTruth(at).catch((reason: unknown) => reason);
    await vi.runAllTimersAsync();
    expect(await refused).toMatchObject({ message: "8 queries are running already", status: 503 });
    // Nobody waits any more.
    ask.mockClear();
    const latest = new Latest();
    const dropped = latest.run((signal) => fetchTruth(at, signal));
    await vi.advanceTimersByTimeAsync(10);
    latest.cancel();
    expect(await dropped).toBeUndefined();
    await vi.runAllTimersAsync();
    expect(ask).toHaveBeenCalledTimes(1);
  } finally {
    vi.useRealTimers();
  }
});

test("no answer at all is said", async () => {
  vi.stubGlobal("fetch", vi.fn(async () => Promise.reject(new TypeError("refused"))));
  await expect(fetchTruth(at)).rejects.toMatchObject({ message: "The server does not answer", status: 0 });
});

test("a new request cancels the one before", async () => {
  const latest = new Latest();
  let release = () => {};
  const first = latest.run(() => new Promise<string>((resolve) => (release = () => resolve("old"))));
  const second = latest.run(async () => "new");
  release();
  expect(await first).toBeUndefined();
  expect(await second).toBe("new");
  expect(latest.busy).toBe(false);
});

test("an error of a cancelled request is not reported", async () => {
  const latest = new Latest();
  const first = latest.run((signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("x")))));
  await latest.run(async () => 1);
  expect(await first).toBeUndefined();
});
