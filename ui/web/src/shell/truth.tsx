/** The drawer that says how complete the view is, what was lost, and what watching costs. */

import { For, type JSX, Show, createEffect, createMemo, onCleanup, onMount } from "solid-js";
import { tokens } from "../color/tokens";
import { reasonName } from "../flame/names";
import type { Frame } from "../flame/tree";
import { bytes, cores, count, share, thousands } from "../format/number";
import { hourMinute } from "../format/time";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { type Truth, truthOf } from "../state/truth";
import { createSize, prepared } from "./canvas";
import { Icon } from "./icons";
import { FrameSwatch } from "./swatch";

const TRUNCATED: Frame = {
  kind: "truncated", name: "", binary: "", systemName: "", file: "", line: 0, buildId: "", unwound: "",
};

export function TruthDrawer(props: { explore: Explore; theme: ThemeState; own: () => number | undefined }): JSX.Element {
  const { explore } = props;
  let closer!: HTMLButtonElement;
  const truth = createMemo(() => {
    const answer = explore.graph()?.answer;
    return answer && answer.samples > 0 ? truthOf(answer) : undefined;
  });
  const close = () => explore.update({ truth: false }, true);
  onMount(() => closer.focus());
  return (
    <aside
      class="drawer" aria-label="Truth: how complete is this view"
      onKeyDown={(event) => event.key === "Escape" && close()}
    >
      <header>
        <h2>How true is this view?</h2>
        <button ref={closer} type="button" class="button ghost" aria-label="Close" onClick={close}><Icon name="close" /></button>
      </header>
      <Show when={truth()} fallback={<p class="lead">No samples in view.</p>}>
        {(found) => (
          <>
            <Lead truth={found()} />
            <Reasons truth={found()} dark={props.theme.dark()} point={explore.setPointedReason} />
            <Show when={explore.series()}><OverTime explore={explore} theme={props.theme} /></Show>
            <section>
              <h3>Samples</h3>
              <dl class="pairs">
                <dt>In this view</dt><dd>{thousands(found().samples)}</dd>
                <dt>Lost in this range</dt><dd>{thousands(found().lost)}</dd>
                <For each={found().losses}>
                  {(loss) => <><dt class="deeper">{reasonName(loss.code)}</dt><dd>{thousands(loss.samples)}</dd></>}
                </For>
                <Show when={explore.graph()!.answer.pruned > 0}>
                  <dt>In frames too narrow to send</dt><dd>{thousands(explore.graph()!.answer.pruned)}</dd>
                </Show>
              </dl>
            </section>
          </>
        )}
      </Show>
      <Cost explore={explore} own={props.own} />
    </aside>
  );
}

function Lead(props: { truth: Truth }): JSX.Element {
  const lost = () => (props.truth.lost === 0 ? "and no sample was lost" : `and ${count(props.truth.lost, "sample")} ${props.truth.lost === 1 ? "was" : "were"} lost`);
  const points = () => ((1 - props.truth.share) * 100).toFixed(1);
  return (
    <p class="lead">
      {share(props.truth.share)} of stacks are complete, {lost()}.
      <small>
        <Show when={props.truth.reasons.length > 0} fallback="Every stack in view was walked to its proven end.">
          Callers missing from truncated stacks could add at most {points()} points to any frame.
        </Show>
      </small>
    </p>
  );
}

/** Pointing at a reason marks its stacks in the graph. */
function Reasons(props: { truth: Truth; dark: boolean; point: (code: string) => void }): JSX.Element {
  onCleanup(() => props.point(""));
  return (
    <section>
      <h3>Stacks by completeness <span>{count(props.truth.samples, "sample")}</span></h3>
      <div class="meter large" aria-hidden="true"><i style={{ width: `${props.truth.share * 100}%` }} /></div>
      <table>
        <tbody>
          <tr>
            <td><i class="good" aria-hidden="true" /></td>
            <th scope="row">Complete</th>
            <td>{thousands(props.truth.complete)}</td>
            <td><b>{share(props.truth.share)}</b></td>
          </tr>
          <For each={props.truth.reasons}>
            {(reason) => (
              <tr data-reason={reason.code} onPointerEnter={() => props.point(reason.code)} onPointerLeave={() => props.point("")}>
                <td><FrameSwatch frame={TRUNCATED} dark={props.dark} /></td>
                <th scope="row">{reasonName(reason.code)}</th>
                <td>{thousands(reason.samples)}</td>
                <td><b>{share(reason.share)}</b></td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </section>
  );
}

/** Share of incomplete stacks in each bucket of the time line. */
function OverTime(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const shares = createMemo(() => {
    const lines = props.explore.series()!;
    return Array.from(lines.samples, (samples, i) => (samples > 0 ? 1 - (lines.complete[i] ?? 0) / samples : undefined));
  });
  const most = () => Math.max(0.001, ...shares().map((value) => value ?? 0));
  createEffect(() => {
    const context = prepared(canvas, size());
    if (!context) return;
    const { width, height } = size();
    const colors = tokens(props.theme.dark());
    context.clearRect(0, 0, width, height);
    context.fillStyle = props.theme.dark() ? "#b58f47" : "#c49a4a";
    const step = width / shares().length;
    shares().forEach((value, i) => {
      if (!value) return;
      const h = (value / most()) * (height - 2);
      context.fillRect(i * step, height - 1 - h, Math.max(step, 0.75), h);
    });
    context.fillStyle = colors.line2;
    context.fillRect(0, height - 1, width, 1);
  });
  const window = () => props.explore.window();
  return (
    <section>
      <h3>Over time <span>share of stacks truncated, at most {share(most())}</span></h3>
      <div class="spark" ref={host}><canvas ref={canvas} aria-hidden="true" /></div>
      <p class="ends"><span>{hourMinute(window().from)}</span><span>{hourMinute(window().until)}</span></p>
    </section>
  );
}

function Cost(props: { explore: Explore; own: () => number | undefined }): JSX.Element {
  return (
    <Show when={props.explore.status()}>
      {(status) => (
        <section>
          <h3>Cost of watching</h3>
          <dl class="pairs">
            <Show when={status().agent}>
              {(agent) => (
                <>
                  <dt>Vesta, CPU</dt><dd>{cores(props.own() ?? 0)} cores</dd>
                  <dt>Memory</dt><dd>{bytes(agent().rss_bytes)}</dd>
                  <Show when={agent().bpf_ns_per_sample != null}>
                    <dt>In the kernel, per sample</dt><dd>{thousands(agent().bpf_ns_per_sample!)} ns</dd>
                  </Show>
                  <dt>Samples since the start</dt>
                  <dd>{thousands(agent().samples_stored)} of {thousands(agent().samples_taken)}</dd>
                </>
              )}
            </Show>
            <dt>On disk, {count(status().data.segments, "segment")}</dt><dd>{bytes(status().data.bytes)}</dd>
            <For each={status().data.skipped}>
              {(file) => <><dt class="deeper">Not readable: {file.path}</dt><dd>{file.reason}</dd></>}
            </For>
          </dl>
        </section>
      )}
    </Show>
  );
}
