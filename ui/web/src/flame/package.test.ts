import { expect, test } from "vitest";
import type { Frame } from "./frames";
import { packageOf } from "./package";

const of = (frame: Partial<Frame>) =>
  packageOf({ kind: "native", name: "", systemName: "", file: "", line: 0, binary: "", buildId: "", unwound: "", ...frame });

test("scripts belong to their folder, classes to their package", () => {
  expect(of({ kind: "interpreted", name: "redact", file: "/app/reports/privacy.py" })).toBe("reports");
  expect(of({ kind: "jit", name: "com.shop.Cart.add" })).toBe("com.shop");
  expect(of({ kind: "jit", name: "anonymous", binary: "tool.js" })).toBe("tool");
});

test("Go and Rust say it in their names", () => {
  expect(of({ name: "net/http.(*conn).serve" })).toBe("net/http");
  expect(of({ name: "github.com/prometheus/common/model.Time" })).toBe("github.com/prometheus/common/model");
  expect(of({ name: "runtime.mallocgc" })).toBe("runtime");
  expect(of({ name: "<tokio::task::Task as core::Future>::poll", systemName: "_RNvXs" })).toBe("tokio");
  expect(of({ kind: "inlined", name: "core::ptr::read", systemName: "_ZN4core3ptr4read17h0123456789abcdefE" })).toBe("core");
});

test("plain C and C++ have none, whatever their names hold", () => {
  for (const name of ["memcpy", "foo.part.0", "std::vector<int>::push_back", "do_read.constprop.0", "[libc.so.6+0x1]"]) {
    expect(of({ name })).toBe("");
  }
  expect(of({ kind: "kernel", name: "tcp_sendmsg" })).toBe("");
});
