/** The drawer that says how complete the view is, what was lost, and what watching costs. */

import { For, type JSX, Show, createEffect, createMemo, onMount } from "solid-js";
import type { Truth } from "../api/types";
import { tokens } from "../color/tokens";
import { bytes, cores, count, share, thousands } from "../format/number";
import { hourMinute } from "../format/time";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { behindName, completeShare, largestGap, shownReason, wholeQuery } from "../state/truth";
import { createSize, prepared } from "./canvas";
import { Gaps } from "./gaps";
import { Icon } from "./icons";

export function TruthDrawer(props: { explore: Explore; theme: ThemeState; own: () => number | undefined }): JSX.Element {
  const { explore } = props;
  let closer!: HTMLButtonElement;
  const close = () => explore.update({ truth: false }, true);
  const narrowed = () => shownReason(explore.view().query);
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
      <Show when={explore.truth()} fallback={<p class="lead quiet">Counting stacks…</p>}>
        {(truth) => (
          <Show when={truth().samples > 0} fallback={<p class="lead">No samples in view.</p>}>
            <Lead truth={truth()} />
            <Show when={narrowed()}>{(reason) => <Narrowed explore={explore} truth={truth()} reason={reason()} />}</Show>
            <Gaps explore={explore} truth={truth()} dark={props.theme.dark()} />
            <Show when={!narrowed() && explore.series()}><OverTime explore={explore} theme={props.theme} /></Show>
            <Samples explore={explore} truth={truth()} />
          </Show>
        )}
      </Show>
      <Cost explore={explore} own={props.own} />
    </aside>
  );
}

const lostOf = (truth: Truth) => truth.losses.reduce((sum, { samples }) => sum + samples, 0);

function Lead(props: { truth: Truth }): JSX.Element {
  const lost = () => {
    const samples = lostOf(props.truth);
    return samples === 0 ? "and no sample was lost" : `and ${count(samples, "sample")} ${samples === 1 ? "was" : "were"} lost`;
  };
  const points = () => {
    const missing = (1 - completeShare(props.truth)) * 100;
    return missing < 0.05 ? "<0.1" : missing.toFixed(1);
  };
  return (
    <p class="lead">
      {share(completeShare(props.truth))} of stacks are complete, {lost()}.
      <small>
        <Show when={largestGap(props.truth)} fallback="Every stack in view was walked to its proven end.">
          {(gap) => (
            <>
              Callers missing from truncated stacks could add at most {points()} points to any frame. The largest gap:{" "}
              <b>{behindName(gap().behind)}</b>, {gap().reason.title.toLowerCase()}.
            </>
          )}
        </Show>
      </small>
    </p>
  );
}

/** Says that the graph holds less than what the drawer tells of. */
function Narrowed(props: { explore: Explore; truth: Truth; reason: string }): JSX.Element {
  const title = () => props.truth.reasons.find(({ reason }) => reason === props.reason)?.title ?? props.reason;
  const showAll = () => props.explore.update({ query: wholeQuery(props.explore.view().query), search: "", zoom: 0, selected: 0 });
  return (
    <p class="narrowed" role="status">
      The graph shows only the stacks of “{title()}”. <button type="button" class="link" onClick={showAll}>Show all</button>
    </p>
  );
}

function Samples(props: { explore: Explore; truth: Truth }): JSX.Element {
  const pruned = () => props.explore.graph()?.answer.pruned ?? 0;
  return (
    <section>
      <h3>Samples</h3>
      <dl class="pairs">
        <dt>In this view</dt><dd>{thousands(props.truth.samples)}</dd>
        <dt>Lost in this range</dt><dd>{thousands(lostOf(props.truth))}</dd>
        <For each={props.truth.losses}>
          {(loss) => <><dt class="deeper" title={`${loss.text} ${loss.advice}`}>{loss.title}</dt><dd>{thousands(loss.samples)}</dd></>}
        </For>
        <Show when={pruned() > 0}>
          <dt>In frames too narrow to send</dt><dd>{thousands(pruned())}</dd>
        </Show>
      </dl>
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
