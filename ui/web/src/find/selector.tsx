/** The selector field: the language of the command line, with what the server has on offer. */

import { For, type JSX, Show, createEffect, createMemo, createResource, createSignal, on } from "solid-js";
import { fetchLabels, fetchValues } from "../api/client";
import { GROUPINGS } from "../api/types";
import { count } from "../format/number";
import { Icon } from "../shell/icons";
import { Menu } from "../shell/menu";
import type { Explore } from "../state/explore";
import { type Offer, type Place, offersFor, placeAt, written } from "./complete";

export function SelectorField(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const [draft, setDraft] = createSignal(explore.view().query);
  const [place, setPlace] = createSignal<Place>();
  const [marked, setMarked] = createSignal(-1);
  let input!: HTMLInputElement;
  createEffect(on(createMemo(() => explore.view().query), (query) => setDraft(query)));
  const refusal = () => (explore.failure()?.selector ? explore.failure()?.error : undefined);

  const range = () => ({ query: "", ...explore.range() });
  const [labels] = createResource(() => place()?.kind === "label", async () => {
    try {
      return (await fetchLabels(range())).labels;
    } catch {
      return [...GROUPINGS];
    }
  });
  const asked = createMemo(() => {
    const at = place();
    return at?.kind === "value" ? at.label : undefined;
  });
  const [values] = createResource(asked, async (label) => {
    try {
      return (await fetchValues(label, range())).values.map(({ value, samples }) => ({ value, note: count(samples, "sample") }));
    } catch {
      // A label this server does not know has no values.
      return [];
    }
  });
  const offers = createMemo((): Offer[] => {
    const at = place();
    return at ? offersFor(at, labels.latest ?? [], at.kind === "value" ? (values() ?? []) : []) : [];
  });
  createEffect(on(offers, () => setMarked(-1)));

  const look = () => setPlace(placeAt(input.value, input.selectionStart ?? input.value.length));
  const take = (offer: Offer) => {
    const at = place();
    if (!at) return;
    const next = written(draft(), at, offer);
    setDraft(next.text);
    input.value = next.text;
    input.focus();
    input.setSelectionRange(next.cursor, next.cursor);
    look();
  };
  const apply = () => {
    setPlace(undefined);
    explore.setFailure(undefined);
    explore.update({ query: draft().trim() });
  };
  const onKey = (event: KeyboardEvent) => {
    const all = offers();
    if (event.key === "Escape") {
      if (place() && all.length > 0) setPlace(undefined);
      else {
        setDraft(explore.view().query);
        input.blur();
      }
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && all.length > 0) {
      setMarked((marked() + (event.key === "ArrowDown" ? 1 : all.length) + (marked() < 0 && event.key === "ArrowUp" ? 0 : 0)) % all.length);
    } else if ((event.key === "Tab" || event.key === "Enter") && all[marked()]) {
      take(all[marked()]!);
    } else {
      return;
    }
    event.preventDefault();
  };
  return (
    <form
      class="selector" role="search"
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <Icon name="filter" />
      <input
        ref={input} id="selector" class="mono" type="text" spellcheck={false} autocomplete="off" autocapitalize="off"
        role="combobox" aria-expanded={offers().length > 0} aria-controls="selector-offers" aria-autocomplete="list"
        aria-activedescendant={marked() >= 0 ? `offer-${marked()}` : undefined}
        aria-label="Selector" aria-invalid={refusal() !== undefined} aria-describedby="selector-error"
        placeholder={'All samples, or e.g. process="redis-server"'}
        value={draft()}
        onInput={(event) => {
          setDraft(event.currentTarget.value);
          look();
        }}
        onFocus={look} onClick={look} onBlur={() => setPlace(undefined)} onKeyDown={onKey}
        onKeyUp={(event) => /^(Arrow(Left|Right)|Home|End)$/.test(event.key) && look()}
      />
      <Show when={explore.view().query} fallback={<kbd>Q</kbd>}>
        <button type="button" class="clear" aria-label="Clear selector" onClick={() => explore.update({ query: "" })}>
          <Icon name="close" />
        </button>
      </Show>
      <Show when={offers().length > 0}>
        <ul class="panel offers" id="selector-offers" role="listbox" aria-label="What can stand here">
          <For each={offers()}>
            {(offer, i) => (
              <li
                id={`offer-${i()}`} role="option" class="item" aria-selected={marked() === i()} title={offer.text}
                onPointerDown={(event) => {
                  event.preventDefault();
                  take(offer);
                }}
              >
                <span class="mono">{offer.text}</span> <span class="quiet">{offer.note}</span>
              </li>
            )}
          </For>
        </ul>
      </Show>
      <div id="selector-error" role="alert">
        <Show when={refusal()}>
          {(error) => (
            <div class="refusal">
              <strong>{error().message}</strong>
              <Show when={error().detail}><pre class="mono">{error().detail}</pre></Show>
            </div>
          )}
        </Show>
      </div>
    </form>
  );
}

/** By any label that samples in view have. */
export function GroupBy(props: { explore: Explore }): JSX.Element {
  const by = () => props.explore.view().by;
  const [asked, setAsked] = createSignal(false);
  const [labels] = createResource(asked, async () => {
    try {
      return (await fetchLabels({ query: "", ...props.explore.range() })).labels;
    } catch {
      return [];
    }
  });
  const all = () => [...new Set([...GROUPINGS, ...(labels() ?? [])])];
  return (
    <Menu label={`Group by ${by()}`} trigger={<><span class="quiet">Group by</span> {by()} <Icon name="chevron" /></>}>
      {(close) => {
        setAsked(true);
        return (
          <For each={all()}>
            {(label) => (
              <button
                type="button" class="item" aria-pressed={by() === label}
                onClick={() => {
                  props.explore.update({ by: label, zoom: 0, selected: 0 });
                  close();
                }}
              >
                {label}
              </button>
            )}
          </For>
        );
      }}
    </Menu>
  );
}
