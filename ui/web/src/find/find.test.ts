import { beforeEach, expect, test, vi } from "vitest";
import { nameQuery } from "./complete";
import { keepViews, savedViews } from "./saved";

let kept: Record<string, string>;
beforeEach(() => {
  kept = {};
  vi.stubGlobal("localStorage", { getItem: (key: string) => kept[key] ?? null, setItem: (key: string, value: string) => (kept[key] = value) });
});

test("a name is searched for as it is typed, and an expression between slashes", () => {
  expect(nameQuery("std::vec<T>")).toBe("~(?i)std::vec<T>");
  expect(nameQuery(" a.b(c) ")).toBe("~(?i)a\\.b\\(c\\)");
  expect(nameQuery("/^ngx_(a|b)/")).toBe("~^ngx_(a|b)");
});

test("views are kept, and what is none of ours is not taken", () => {
  expect(savedViews()).toEqual([]);
  const views = [{ name: "<b>night</b>", url: "/?t=now-1h" }, { name: "week", url: "/compare?base=week" }, { name: "ran", url: "/inventory?q=x" }, { name: "bpf", url: "/audit" }];
  expect(keepViews(views)).toBe(true);
  expect(savedViews()).toEqual(views);
  for (const broken of ["{", "{}", '[{"name":1,"url":"/"}]', '[{"name":"x","url":"javascript:alert(1)"}]', '[{"name":"x","url":"//evil.example/"}]', '[{"name":"x","url":"/auditor"}]', '[{"name":"x","url":"/api/v1/query"}]', "[null]"]) {
    kept["vesta.views"] = broken;
    expect(savedViews()).toEqual([]);
  }
});
