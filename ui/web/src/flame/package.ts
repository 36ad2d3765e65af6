/** The package a function belongs to, as far as its names tell. */

import type { FrameOrigin } from "./frames";

const SCRIPT = /\.(py|js|mjs|cjs|ts|rb|php|pl|lua)$/;
/** `com.shop.Cart.add`: lower case packages, then a class. */
const JVM = /^((?:[a-z_][\w$]*\.)+)[A-Z]/;
/** `net/http.(*conn).serve`, `main.main`: Go's packages; only where a path or a receiver makes it sure. */
const GO = /^((?:[\w.~-]+\/)*[\w~-]+)\.(?:\(\*?\w+\)\.|\w)/;
const GO_SURE = /\/[\w~-]+\.|\.\(\*?\w+\)\.|^(?:runtime|main|sync|syscall|reflect)\./;
/** Suffixes that compilers put behind the names of C functions. */
const CLONES = /\.(?:part|isra|constprop|cold|lto_priv|llvm)\b/;
/** Symbols of Rust, in its new and its old mangling. */
const RUST = /^_R|17h[0-9a-f]{16}E/;
const CRATE = /^<*(?:&(?:mut )?|\[)*(?:dyn )?([a-z_]\w*)::/;

/** A package's name; empty where nothing tells it. */
export function packageOf(frame: FrameOrigin): string {
  const { kind } = frame;
  if (kind === "interpreted" || kind === "jit") {
    const script = [frame.file, frame.binary].find((path) => SCRIPT.test(path));
    if (script) return script.split("/").at(-2) || script.replace(SCRIPT, "");
    return JVM.exec(frame.name)?.[1]?.slice(0, -1) ?? "";
  }
  if (kind !== "native" && kind !== "inlined") return "";
  const { name } = frame;
  if (RUST.test(frame.systemName)) return CRATE.exec(name)?.[1] ?? "";
  if (GO_SURE.test(name) && !CLONES.test(name) && !name.includes("::")) return GO.exec(name)?.[1] ?? "";
  return "";
}
