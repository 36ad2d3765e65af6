/** Folding start-up frames: what every stack of a process begins with before its own code runs. */

import { binaryKey } from "../color/bands";
import type { Frame, FrameTable } from "./frames";
import { rebuilt } from "./rebuild";
import type { FlameTree } from "./tree";

/** Entry points of C libraries, languages and their runtimes, by name. Nothing that does a program's own work. */
const ENTRY = new RegExp(
  `^(?:${[
    // libc, the loader, POSIX threads
    "_start|__libc_start_main.*|__libc_start_call_main|__libc_start_main_impl|main|start_thread|thread_start|(?:__)?clone3?|__clone_internal",
    // CPython
    "Py_(?:Main|BytesMain|RunMain)|pymain_\\w+|_?PyRun_\\w+|run_mod|run_eval_code_obj|PyEval_EvalCode|pythread_wrapper|thread_run",
    // Node, V8
    "node::(?:Start|LoadEnvironment|SpinEventLoop\\w*|NodeMainInstance::Run).*|uv_run|v8::Function::Call|Builtins_JSEntry(?:Trampoline)?",
    // JVM
    "thread_native_entry.*|(?:Java)?Thread::(?:call_run|run|thread_main_inner).*|JavaCalls::call\\w*.*|JavaMain|ThreadJavaMain|call_stub",
    // Go
    "runtime\\.(?:goexit|main|mstart\\w*|rt0_go)(?:\\.abi0)?|main\\.main",
    // Rust
    "std::rt::lang_start.*|std::sys::.*::thread_start|std::sys_common::backtrace::__rust_(?:begin|end)_short_backtrace.*" +
      "|std::sys::backtrace::__rust_(?:begin|end)_short_backtrace.*|core::ops::function::FnOnce::call_once.*" +
      "|<alloc::boxed::Box<.*> as core::ops::function::FnOnce<.*>>::call_once|std::thread::.*::spawn_unchecked_.*|std::panicking::(?:try|catch_unwind).*|std::panic::catch_unwind.*",
    // C++ threads
    "execute_native_thread_routine|std::thread::_State_impl<.*",
    // The kernel's way into user code and into its threads
    "ret_from_fork(?:_asm)?|kthread|worker_thread|secondary_startup.*|start_secondary|cpu_startup_entry",
  ].join("|")})$`,
);

/** Code without a name that only starts programs: threads and `main` are entered through it. */
const UNNAMED = /^\[[^\]]*\+0x[0-9a-f]+\]$/;
const LOADERS: ReadonlySet<string> = new Set(["libc", "ld-linux-x86", "ld-linux-aarch", "libpthread"]);

/** A frame that itself burns more than this share of what it holds does its own work, whatever its name. */
const OWN_WORK = 0.01;
/** Fewer frames are no shorter folded. */
const FEWEST = 2;

function isEntry(frames: FrameTable, i: number): boolean {
  const kind = frames.kind(i);
  if (kind !== "native" && kind !== "inlined" && kind !== "kernel") return false;
  const name = frames.name(i);
  return ENTRY.test(name) || (UNNAMED.test(name) && LOADERS.has(binaryKey(frames.binary(i))));
}

/** `of`: the group's name, which gives the frame its colour. */
const foldedFrame = (count: number, of: string): Frame => ({
  kind: "folded", name: `${count} start-up frames`, systemName: "", file: "", line: 0, binary: of, buildId: "", unwound: "",
});

/** Tells start-up frames apart, and remembers of each function what was found. */
function createCheck({ frames, frame, self, total }: FlameTree): (node: number) => boolean {
  const entry = new Int8Array(frames.length);
  return (node) => {
    const i = frame[node] as number;
    if ((self[node] as number) > (total[node] as number) * OWN_WORK) return false;
    if (entry[i] === 0) entry[i] = isEntry(frames, i) ? 1 : -1;
    return entry[i] === 1;
  };
}

/** Whether there is anything to fold: two start-up frames below a group. It looks at these rows alone. */
export function startsUp(tree: FlameTree): boolean {
  const { frames, frame, end, count } = tree;
  const startsOne = createCheck(tree);
  for (let group = 1; group < count; group = end[group] as number) {
    if (frames.kind(frame[group] as number) !== "group") continue;
    for (let first = group + 1; first < (end[group] as number); first = end[first] as number) {
      if (!startsOne(first)) continue;
      for (let second = first + 1; second < (end[first] as number); second = end[second] as number) if (startsOne(second)) return true;
    }
  }
  return false;
}

/** The tree with the start-up frames below each group in one frame, told apart by their number. */
export function foldStartup(tree: FlameTree): FlameTree {
  if (!startsUp(tree)) return tree;
  const { frames, frame, parent, count } = tree;
  const startsOne = createCheck(tree);
  // How many start-up frames lead to a node, itself included; 0 where it is none.
  const run = new Uint16Array(count);
  // The group that a run began in, and the frame that stands for it.
  const group = new Int32Array(count);
  const stand = new Uint32Array(count);
  const made: Frame[] = [];
  const known = new Map<string, number>();
  for (let node = 1; node < count; node++) {
    const above = parent[node] as number;
    const first = frames.kind(frame[above] as number) === "group";
    if (!first && run[above] === 0) continue;
    if (!startsOne(node)) continue;
    const length = (run[node] = (run[above] as number) + 1);
    group[node] = first ? above : (group[above] as number);
    if (length < FEWEST) continue;
    const of = frame[group[node] as number] as number;
    const key = `${of} ${length}`;
    let at = known.get(key);
    if (at === undefined) known.set(key, (at = frames.length + made.push(foldedFrame(length, frames.name(of))) - 1));
    stand[node] = at;
  }
  // The places of the groups in the new tree.
  const placed = new Int32Array(count);
  return rebuilt(tree, frames.with(made), (node, above, growth) => {
    if (node === 0) return 0;
    const inGroup = placed[group[node] as number] as number;
    const to = stand[node] ? growth.child(inGroup, stand[node] as number) : growth.child(above, frame[node] as number);
    placed[node] = to;
    return to;
  });
}
