import { describe, expect, test } from "vitest";
import { KERNEL_BAND, bandOf, binaryKey, fnv1a, palette, stepOf, useBands } from "./bands";
import { contrast, fromHex, toHex } from "./oklch";

test("the hash is FNV-1a of 32 bits", () => {
  // Published test vectors of the algorithm.
  expect(fnv1a("")).toBe(0x811c9dc5);
  expect(fnv1a("a")).toBe(0xe40c292c);
  expect(fnv1a("foobar")).toBe(0xbf9cf968);
  // "ä" is the bytes c3 a4.
  expect(fnv1a("aä")).toBe(Math.imul(Math.imul(0xe40c292c ^ 0xc3, 0x01000193) ^ 0xa4, 0x01000193) >>> 0);
});

test("a binary's key leaves out its folder, version and suffix", () => {
  expect(
    ["/usr/lib/libssl.so.3", "/usr/bin/python3.11", "/lib/libc-2.36.so", "/opt/app (deleted)", "redis-server",
      "/usr/lib/_json.cpython-311-x86_64-linux-gnu.so", "7"].map(binaryKey),
  ).toEqual(["libssl", "python", "libc", "app", "redis-server", "_json", "7"]);
});

test("scripts of one folder share a key", () => {
  expect(["reports/privacy.py", "/app/reports/__main__.py", "tool.js"].map(binaryKey)).toEqual(["reports", "reports", "tool"]);
});

test("a band does not depend on folder or version", () => {
  expect(bandOf("/opt/a/libfoo.so.1")).toBe(bandOf("/usr/lib/libfoo.so.2.3"));
  expect(bandOf("/opt/a/libfoo.so.1")).toBe(fnv1a("libfoo") % 8);
});

test("the kernel has a band of its own", () => {
  expect(bandOf("[kernel]")).toBe(KERNEL_BAND);
  expect(bandOf("[kernel.kallsyms]")).toBe(KERNEL_BAND);
});

test("a band that was chosen holds for all versions of a binary, and never for the kernel", () => {
  const [libc, other] = [bandOf("/lib/libc.so.6"), (bandOf("/lib/libc.so.6") + 3) % 8];
  useBands(new Map([["libc", other], ["kernel", 0]]));
  expect(["/lib/libc.so.6", "/usr/lib/libc-2.36.so", "[kernel]"].map(bandOf)).toEqual([other, other, KERNEL_BAND]);
  useBands(new Map());
  expect(bandOf("/lib/libc.so.6")).toBe(libc);
});

test("values of other labels have bands of their own, and are grey beyond the ranked ones, unless a user chose for them", () => {
  const hosts = Array.from({ length: 8 }, (_, i) => `web-0${i}`);
  const colors = palette(false, false, new Set(hosts));
  expect(new Set(hosts.map(colors.group)).size).toBe(8);
  expect(hosts.map(palette(false, false, new Set([...hosts].reverse())).group)).toEqual(hosts.map(colors.group));
  expect([colors.group("web-08"), colors.area("web-08")]).toEqual([colors.other, colors.other]);
  useBands(new Map([["web-08", 3], ["web-01", 3]]));
  const own = palette(false, false, new Set(hosts));
  expect(own.group("web-08")).toBe(own.group("web-01"));
  expect(own.group("web-08")).not.toBe(own.other);
  expect(hosts.filter((host) => host !== "web-01").map(own.group)).not.toContain(own.group("web-01"));
  useBands(new Map());
});

test("steps stay within two of the band's tone", () => {
  const steps = new Set(Array.from({ length: 200 }, (_, i) => stepOf(`f${i}`)));
  expect([...steps].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2]);
});

test("a colour survives the way into OKLCH and back", () => {
  for (const hex of ["#000000", "#ffffff", "#b8420f", "#a4cef6", "#2d4c3a"]) expect(toHex(fromHex(hex))).toBe(hex);
});

describe.each([["light", false], ["dark", true]] as const)("%s", (_, dark) => {
  const colors = palette(dark);
  const names = ["redis-server", "libc", "node", "libz", "nginx", "libssl", "python3", "postgres", "[kernel]"];

  test("text reads on every frame, tint and group row", () => {
    for (let band = 0; band <= KERNEL_BAND; band++) {
      for (let step = -2; step <= 2; step++) {
        expect(contrast(colors.frame(band, step), colors.ink)).toBeGreaterThanOrEqual(4.5);
      }
      expect(contrast(colors.inlined(band), colors.ink)).toBeGreaterThanOrEqual(4.5);
    }
    for (const name of names) expect(contrast(colors.group(name), colors.ink), name).toBeGreaterThanOrEqual(4.5);
    for (const fill of [colors.root, colors.truncated, colors.other]) {
      expect(contrast(fill, colors.ink)).toBeGreaterThanOrEqual(4.5);
    }
  });

  test("the steps of a band are five colours", () => {
    expect(new Set([-2, -1, 0, 1, 2].map((step) => colors.frame(6, step))).size).toBe(5);
  });
});
