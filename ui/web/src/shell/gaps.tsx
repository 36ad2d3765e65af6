/** Complete stacks, and the others by reason: what happened, what helps, and the binaries behind it. */

import { For, type JSX, Show, createSignal, onCleanup } from "solid-js";
import type { Behind, Incomplete, Truth } from "../api/types";
import type { Frame } from "../flame/tree";
import { count, share, thousands } from "../format/number";
import type { Explore } from "../state/explore";
import { behindName, behindPlaces, completeShare, isShown, parts, shownReason } from "../state/truth";
import { FrameSwatch } from "./swatch";

const TRUNCATED: Frame = {
  kind: "truncated", name: "", binary: "", systemName: "", file: "", line: 0, buildId: "", unwound: "",
};

/** Binaries shown of a reason before somebody asks for all. */
const FIRST = 4;
/** Where the drawer covers the graph. */
const narrow = matchMedia("(max-width: 719px)");

export function Gaps(props: { explore: Explore; truth: Truth; dark: boolean }): JSX.Element {
  onCleanup(() => props.explore.setPointedReason(""));
  return (
    <section class="gaps">
      <h3>Stacks by completeness <span>{count(props.truth.samples, "sample")}</span></h3>
      <div class="meter large" aria-hidden="true"><i style={{ width: `${completeShare(props.truth) * 100}%` }} /></div>
      <p class="gap-line">
        <i class="good" aria-hidden="true" />
        <span>Complete</span>
        <span>{thousands(props.truth.complete)}</span>
        <b>{share(completeShare(props.truth))}</b>
      </p>
      <For each={props.truth.reasons}>
        {(reason) => <Gap explore={props.explore} reason={reason} all={props.truth.samples} dark={props.dark} />}
      </For>
    </section>
  );
}

/** One reason. Pointing at it marks its stacks in the graph; a click leaves only them. */
function Gap(props: { explore: Explore; reason: Incomplete; all: number; dark: boolean }): JSX.Element {
  const [every, setEvery] = createSignal(false);
  const shown = () => (every() ? props.reason.binaries : props.reason.binaries.slice(0, FIRST));
  const hidden = () => props.reason.binaries.length - shown().length;
  const narrowed = () => shownReason(props.explore.view().query) !== undefined;
  const point = (code: string) => props.explore.setPointedReason(narrowed() ? "" : code);
  const toggle = (behind?: Behind) => {
    point("");
    props.explore.toggleGap(props.reason.reason, behind);
    if (narrow.matches) props.explore.update({ truth: false }, true);
  };
  return (
    <article
      class="gap" data-reason={props.reason.reason} data-samples={props.reason.samples}
      onPointerEnter={() => point(props.reason.reason)} onPointerLeave={() => point("")}
      onFocusIn={() => point(props.reason.reason)} onFocusOut={() => point("")}
    >
      <button
        type="button" class="gap-line" aria-pressed={isShown(props.explore.view(), props.reason.reason)}
        title="Show only these stacks" onClick={() => toggle()}
      >
        <FrameSwatch frame={TRUNCATED} dark={props.dark} />
        <span>{props.reason.title}</span>
        <span>{thousands(props.reason.samples)}</span>
        <b>{share(props.reason.samples / (props.all || 1))}</b>
      </button>
      <Show when={props.reason.text}>
        <p class="gap-text"><Words text={`${props.reason.text} ${props.reason.advice}`} /></p>
      </Show>
      <ul class="behind" aria-label={`Binaries behind: ${props.reason.title}`}>
        <For each={shown()}>
          {(behind) => (
            <li>
              <button
                type="button" title={behind.binary || undefined}
                data-binary={behind.binary} data-kind={behind.kind} data-samples={behind.samples}
                aria-pressed={isShown(props.explore.view(), props.reason.reason, behind)} onClick={() => toggle(behind)}
              >
                <span>{behindName(behind)}</span>
                <span>{thousands(behind.samples)}</span>
                <span>{share(behind.samples / (props.all || 1))}</span>
                <Show when={behindPlaces(behind)}>{(places) => <small>{places()}</small>}</Show>
              </button>
            </li>
          )}
        </For>
      </ul>
      <Show when={hidden() > 0}>
        <button type="button" class="link more" onClick={() => setEvery(true)}>{hidden()} more</button>
      </Show>
      <Show when={hidden() === 0 && props.reason.other.binaries > 0}>
        <p class="more">
          {count(props.reason.other.samples, "sample")} in {thousands(props.reason.other.binaries)} more
          {props.reason.other.binaries === 1 ? " binary" : " binaries"}
        </p>
      </Show>
    </article>
  );
}

/** A text whose `code` stands out. */
function Words(props: { text: string }): JSX.Element {
  return (
    <For each={parts(props.text)}>
      {(part) => <Show when={part.code} fallback={part.text}><code>{part.text}</code></Show>}
    </For>
  );
}
