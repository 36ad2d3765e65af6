/** The panel about the selected frame. It changes on selection, never on hover. */

import { For, type JSX, Show, createMemo } from "solid-js";
import { matching, targetOf } from "../flame/transform";
import { baseName, frameLabel, kindName, sourceOf } from "../flame/names";
import { bandKey } from "../flame/paint";
import { childrenOf, frameOf } from "../flame/tree";
import { cores, count, share } from "../format/number";
import { totalsOf } from "../sandwich/halves";
import type { Explore } from "../state/explore";
import { equalityOf } from "../state/selector";
import type { ThemeState } from "../state/theme";
import { SheetHandle, createSheet } from "./sheet";
import { ByThread, LastHours } from "./splits";
import { BandMenu } from "./bandmenu";
import { FrameSwatch } from "./swatch";

const UNWOUND: Record<string, string> = {
  leaf: "the sampled instruction itself",
  kernel: "the kernel's own walk",
  frame_pointer: "the chain of frame pointers",
  prologue: "the return address before the frame was set up",
  table: "a row of the unwind table",
  synthetic: "",
};

const points = (part: number) => (part < 0.0005 ? "<0.1" : (part * 100).toFixed(1));

/** Callees shown. */
const CALLEES = 8;

export function Details(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const shown = createMemo(() => {
    const graph = explore.graph();
    if (!graph) return undefined;
    const node = explore.selectedNode();
    return { ...graph, node, frame: frameOf(graph.tree, node) };
  });
  const sheet = createSheet();
  const selected = () => explore.view().selected !== 0 && (shown()?.node ?? 0) > 0;
  return (
    <aside
      class="details" classList={{ sheet: selected() }} aria-label="Selected frame" data-stop={selected() ? sheet.stop() : undefined}
      style={{ "--sheet": sheet.height() }}
    >
      <SheetHandle sheet={sheet} close={() => explore.select(0)} />
      <Show when={shown()}>
        {(at) => {
          // A sandwich is about a function, wherever it was called from; else one place in the tree is selected.
          const everywhere = createMemo(() => {
            const { tree, node } = at();
            return explore.view().tab === "sandwich" && node > 0
              ? totalsOf(tree, matching(tree.frames, targetOf(tree.frames, tree.frame[node] as number))) : undefined;
          });
          const total = () => everywhere()?.total ?? (at().tree.total[at().node] as number);
          const self = () => everywhere()?.self ?? (at().tree.self[at().node] as number);
          const all = () => (at().tree.total[0] as number) || 1;
          // A group is known for every sample; any truncated stack may have had any frame among its callers.
          const missing = () => (group() ? 0 : 1 - at().answer.complete / (at().answer.samples || 1));
          const group = () => at().frame.kind === "group";
          const swatch = () => <FrameSwatch frame={at().frame} dark={props.theme.dark()} coloring={explore.view().coloring} ranked={explore.ranked()} />;
          const label = () => frameLabel(at().frame, `All ${explore.view().by === "process" ? "processes" : "samples"}`);
          return (
            <>
              <section>
                <h2 data-selected={at().frame.name}>{label()}</h2>
                <Show when={at().frame.kind !== "root"}>
                  <p class="where">
                    <Show when={bandKey(at().frame, explore.view().coloring, explore.view().by)} fallback={swatch()}>
                      {(owner) => <BandMenu owner={owner()} dark={props.theme.dark()} trigger={swatch()} />}
                    </Show>
                    <span>{group() ? explore.view().by : at().frame.kind === "folded" ? `folded, ${at().frame.binary}` : [baseName(at().frame.binary), kindName(at().frame.kind)].filter(Boolean).join(" · ")}</span>
                  </p>
                </Show>
                <dl class="figures-bar">
                  <Figure name="Total" samples={total()} all={all()} explore={explore} />
                  <Figure name="Self" samples={self()} all={all()} explore={explore} />
                </dl>
                <Show when={missing() > 0 && at().frame.kind !== "root" && at().frame.kind !== "truncated"}>
                  <p class="caption">Truncated stacks could add at most {points(missing())} points.</p>
                </Show>
                <div class="actions">
                  <Show when={at().node > 0}>
                    <Show when={group()} fallback={<>
                      <button type="button" class="button" onClick={() => explore.transforms.act("focus", at().node)}>Focus <kbd>F</kbd></button>
                      <button type="button" class="button" onClick={() => explore.transforms.act("hide", at().node)}>Hide <kbd>H</kbd></button>
                      <button type="button" class="button" onClick={() => explore.update({ tab: "source" })}>Source <kbd>S</kbd></button>
                    </>}>
                      <button type="button" class="button" onClick={() => explore.toggleFilter(explore.view().by, at().frame.name)}>
                        {equalityOf(explore.view().query, explore.view().by) === at().frame.name ? "Show all again" : `Only this ${explore.view().by}`}
                      </button>
                    </Show>
                    <button
                      type="button" class="button" aria-label="All that can be done with it" aria-haspopup="menu"
                      onClick={(event) => {
                        const box = event.currentTarget.getBoundingClientRect();
                        explore.setMenu({ node: at().node, x: box.left, y: box.bottom + 4 });
                      }}
                    >⋯</button>
                  </Show>
                </div>
              </section>
              <LastHours explore={explore} />
              <Calls explore={explore} />
              <ByThread explore={explore} />
              <Facts explore={explore} />
            </>
          );
        }}
      </Show>
    </aside>
  );
}

function Figure(props: { name: string; samples: number; all: number; explore: Explore }): JSX.Element {
  return (
    <>
      <dt>{props.name}</dt>
      <dd class="track" aria-hidden="true"><i style={{ width: `${(props.samples / props.all) * 100}%` }} /></dd>
      <dd class="big">{cores(props.explore.coresOf(props.samples))} cores</dd>
      <dd>{share(props.samples / props.all)}</dd>
    </>
  );
}

function Calls(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const rows = createMemo(() => {
    const tree = explore.graph()?.tree;
    if (!tree) return [];
    const node = explore.selectedNode();
    const total = (tree.total[node] as number) || 1;
    const children = childrenOf(tree, node);
    const calls = children.slice(0, CALLEES).map((child) => ({
      node: child, name: frameLabel(frameOf(tree, child), ""), part: (tree.total[child] as number) / total,
    }));
    const rest = children.slice(CALLEES).reduce((sum, child) => sum + (tree.total[child] as number), 0);
    if (rest > 0) calls.push({ node: -1, name: `${children.length - CALLEES} others`, part: rest / total });
    if ((tree.self[node] as number) > 0) calls.push({ node: -1, name: "itself", part: (tree.self[node] as number) / total });
    return calls;
  });
  const frame = () => {
    const tree = explore.graph()?.tree;
    return tree && frameOf(tree, explore.selectedNode());
  };
  const first = () => {
    const tree = explore.graph()?.tree;
    return tree && tree.count > 1 ? frameOf(tree, 1).kind : undefined;
  };
  const title = () => (frame()?.kind === "root" ? (first() === "group" ? explore.view().by : "First frames") : frame()?.kind === "group" ? "Starts in" : "Calls");
  return (
    <section>
      <h3>{title()} <span>share of {frame()?.kind === "root" ? "all" : "it"}</span></h3>
      <div class="bars">
        <For each={rows()}>
          {(row) => (
            <>
              <Show when={row.node >= 0} fallback={<span class="quiet">{row.name}</span>}>
                <button type="button" class="name" title={row.name} onClick={() => explore.select(row.node)}>{row.name}</button>
              </Show>
              <span class="track" aria-hidden="true"><i style={{ width: `${row.part * 100}%` }} /></span>
              <span class="part">{share(row.part)}</span>
            </>
          )}
        </For>
      </div>
    </section>
  );
}

/** What is known of the code itself. */
function Facts(props: { explore: Explore }): JSX.Element {
  const facts = createMemo(() => {
    const tree = props.explore.graph()?.tree;
    if (!tree) return [];
    const node = props.explore.selectedNode();
    const frame = frameOf(tree, node);
    const samples = count(tree.total[node] as number, "sample");
    if (frame.kind === "root" || frame.kind === "group") return [["Samples", samples]];
    return [
      ["Source", frame.file ? sourceOf(frame) : ""],
      ["Binary", frame.binary],
      ["Build ID", frame.buildId],
      ["Symbol", frame.systemName === frame.name ? "" : frame.systemName],
      ["Found by", UNWOUND[frame.unwound] ?? frame.unwound],
      ["Samples", samples],
    ].filter(([, value]) => value);
  });
  return (
    <section class="facts">
      <dl>
        <For each={facts()}>{([name, value]) => <><dt>{name}</dt><dd>{value}</dd></>}</For>
      </dl>
    </section>
  );
}
