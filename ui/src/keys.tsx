/**
 * Single keys.
 *
 * 1. They are off in fields, in dialogs, with a modifier, and for half a second after the content changed:
 *    a key meant for what was there must not reach what is there now.
 * 2. They can be switched off for this browser (WCAG 2.1.4).
 * 3. None of them decides. Shift+A only moves the focus to Approve.
 */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Sheet } from "./parts";

export const QUIET_MS = 500;

const STORED = "interlock-single-keys";
export const keysOn = signal(localStorage.getItem(STORED) !== "off");
export const helpOpen = signal(false);

let changedAt = 0;

/** Called whenever the page shows something else than before. */
export function contentChanged(): void {
  changedAt = performance.now();
}

export function quietFor(): number {
  return Math.max(0, QUIET_MS - (performance.now() - changedAt));
}

type Bindings = Record<string, () => void>;
const layers: { current: Bindings }[] = [];

function typing(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  if (!keysOn.value || typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "?") {
    helpOpen.value = true;
    event.preventDefault();
    return;
  }
  if (quietFor() > 0) return;
  const name = event.shiftKey && event.key.length === 1 ? `Shift+${event.key.toUpperCase()}` : event.key;
  const bound = layers.findLast((layer) => name in layer.current)?.current[name];
  if (!bound) return;
  event.preventDefault();
  bound();
});

/** Binds keys while the component is on screen. */
export function useKeys(bindings: Bindings): void {
  const layer = useRef(bindings);
  layer.current = bindings;
  useEffect(() => {
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  }, []);
}

const HELP: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
  [
    "Inbox",
    [
      ["j", "Next request"],
      ["k", "Previous request"],
      ["Enter", "Open it"],
    ],
  ],
  [
    "Decision",
    [
      ["n", "Next request"],
      ["p", "Previous request"],
      ["d", "Go to the change"],
      ["r", "Reject, with a reason"],
      ["Shift + A", "Move to Approve; Space presses it"],
    ],
  ],
  ["Everywhere", [["?", "This help"]]],
];

export function Help() {
  const toggle = (event: Event): void => {
    keysOn.value = (event.currentTarget as HTMLInputElement).checked;
    localStorage.setItem(STORED, keysOn.value ? "on" : "off");
  };
  return (
    <Sheet title="Keys" open={helpOpen.value} onClose={() => (helpOpen.value = false)}>
      <div class="keys">
        {HELP.map(([place, keys]) => (
          <section key={place}>
            <h3>{place}</h3>
            <dl>
              {keys.map(([key, what]) => (
                <div key={key}>
                  <dt>
                    <kbd>{key}</kbd>
                  </dt>
                  <dd>{what}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <label class="tick">
        <input type="checkbox" checked={keysOn.value} onChange={toggle} />
        <span>Single keys are on in this browser</span>
      </label>
      <div class="buttons">
        <button type="button" onClick={() => (helpOpen.value = false)}>
          Close
        </button>
      </div>
    </Sheet>
  );
}
