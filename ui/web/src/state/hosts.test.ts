import { expect, test } from "vitest";
import { hostsOf } from "./hosts";

test("hosts without data are told, in order, and none where all have some", () => {
  expect(hostsOf(["web-02", "db-01", "web-01"], ["web-02"])).toEqual({ known: 3, silent: ["db-01", "web-01"], missing: 2 });
  expect(hostsOf(["web-01", "web-02"], ["web-02", "web-01", "new"])).toBeUndefined();
  const many = Array.from({ length: 80 }, (_, i) => `web-${String(i).padStart(2, "0")}`);
  const found = hostsOf(many, []);
  expect([found?.known, found?.missing, found?.silent.length]).toEqual([80, 80, 50]);
});
