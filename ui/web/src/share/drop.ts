/** Files that are dropped anywhere on the page are compared. */

import { createSignal, onCleanup, onMount } from "solid-js";
import type { Explore } from "../state/explore";

/** Takes dropped files to the comparison; call it inside a root, once. */
export function createDrop(explore: Explore) {
  const [over, setOver] = createSignal(false);
  const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const onOver = (event: DragEvent) => {
    if (!holdsFiles(event)) return;
    // Else the browser leaves the page for the file.
    event.preventDefault();
    setOver(true);
  };
  const onLeave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
  const onDrop = (event: DragEvent) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    setOver(false);
    explore.setDropped([...(event.dataTransfer?.files ?? [])].slice(0, 2));
    if (explore.view().page !== "compare") explore.update({ page: "compare", zoom: 0, selected: 0, search: "" });
  };
  onMount(() => {
    addEventListener("dragover", onOver);
    addEventListener("dragleave", onLeave);
    addEventListener("drop", onDrop);
  });
  onCleanup(() => {
    removeEventListener("dragover", onOver);
    removeEventListener("dragleave", onLeave);
    removeEventListener("drop", onDrop);
  });
  return over;
}
