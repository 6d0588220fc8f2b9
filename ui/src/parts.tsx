/** The pieces both pages are made of: marks, banners, dialogs, a spoken line. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Refusal } from "./api";
import type { Item } from "./wire";

/** One polite line for screen readers. */
const spoken = signal("");

export function announce(words: string): void {
  spoken.value = "";
  setTimeout(() => {
    spoken.value = words;
  }, 60);
}

export function Spoken() {
  return (
    <p class="unseen-line" role="status" aria-live="polite">
      {spoken}
    </p>
  );
}

/**
 * Tier as number, word and shape: circle, half circle, triangle, filled octagon; a dashed circle for none.
 * `bare` where a label beside it already says "Tier".
 */
export function TierMark({ item, bare }: { item: Pick<Item, "tier" | "tier_words">; bare?: boolean }) {
  const { tier } = item;
  return (
    <span class={`tier tier-${tier ?? "none"}`}>
      <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
        {tier === 1 ? <circle cx="8" cy="8" r="5.4" class="stroke" /> : null}
        {tier === 2 ? (
          <>
            <circle cx="8" cy="8" r="5.4" class="stroke" />
            <path d="M8 2.6a5.4 5.4 0 0 1 0 10.8z" class="solid" />
          </>
        ) : null}
        {tier === 3 ? <path d="M8 2.6 14 13H2z" class="stroke" /> : null}
        {tier === 4 ? <path d="M5.4 1.6h5.2l3.8 3.8v5.2l-3.8 3.8H5.4l-3.8-3.8V5.4z" class="solid" /> : null}
        {tier === null ? <circle cx="8" cy="8" r="5.4" class="stroke dashed" /> : null}
      </svg>
      <span>{tier === null ? `${bare ? "None" : "No tier"}: outside the catalogue` : `${bare ? "" : "Tier "}${tier}, ${item.tier_words}`}</span>
    </span>
  );
}

/** Can it be undone: a turning arrow, or the same arrow struck through. */
export function UndoMark({ item }: { item: Pick<Item, "reversible"> }) {
  return (
    <span class={item.reversible ? "undo" : "undo never"}>
      <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
        <path d="M3 6.5h6.2a3.6 3.6 0 0 1 0 7.2H6M3 6.5l3-3M3 6.5l3 3" class="stroke" />
        {item.reversible ? null : <path d="M2.2 14.2 13.8 1.8" class="stroke strike" />}
      </svg>
      <span>{item.reversible ? "Can be undone" : "Cannot be undone"}</span>
    </span>
  );
}

const STATE_SHAPES: Record<string, string> = {
  approved: "M2.8 8.6 6.2 12l7-8",
  succeeded: "M2.8 8.6 6.2 12l7-8",
  rejected: "M3.5 3.5l9 9m0-9-9 9",
  denied: "M3.5 3.5l9 9m0-9-9 9",
  failed: "M3.5 3.5l9 9m0-9-9 9",
  expired: "M4 2h8M4 14h8M5 2c0 4 6 8 6 12M11 2c0 4-6 8-6 12",
  superseded: "M2.5 5.5h8.5m-3-3 3 3-3 3M13.5 11H5m3-3-3 3 3 3",
  withdrawn: "M13 8H3m4.5-4.5L3 8l4.5 4.5",
  revoked: "M13 8H3m4.5-4.5L3 8l4.5 4.5",
  rolled_back: "M3 6.5h6.2a3.6 3.6 0 0 1 0 7.2H6M3 6.5l3-3M3 6.5l3 3",
  executing: "M8 2v4m0 4v4M2 8h4m4 0h4",
  in_doubt: "M5.6 6a2.5 2.5 0 1 1 3.6 2.2c-.8.5-1.2.9-1.2 1.9M8 13v.2",
};

export function StateShape({ state }: { state: string }) {
  return (
    <svg class={`glyph state-${state}`} viewBox="0 0 16 16" aria-hidden="true">
      <path d={STATE_SHAPES[state] ?? "M3 8h10"} class="stroke bold" />
    </svg>
  );
}

export function Warning({ children }: { children: ComponentChildren }) {
  return (
    <span class="warning">
      <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
        <path d="M8 1.8 15 14H1z" class="stroke" />
        <path d="M8 6.2v3.6M8 11.8v.4" class="stroke" />
      </svg>
      <span>{children}</span>
    </span>
  );
}

interface BannerProps {
  title: string;
  tone?: "note" | "alarm";
  children?: ComponentChildren;
}

export function Banner({ title, tone = "note", children }: BannerProps) {
  return (
    <div class={`banner ${tone}`} role={tone === "alarm" ? "alert" : "status"}>
      <strong>{title}</strong>
      {children}
    </div>
  );
}

/** In place of what somebody had destroyed: what it was, and what is left of it. */
export function Erased() {
  return (
    <Banner title="Erased">
      <p>
        What was proposed, its result and what people wrote about it were destroyed on purpose. What is left is below:
        states, times, the rule, and the hashes in the ledger.
      </p>
    </Banner>
  );
}

/** What was refused or not reached, and what to do. */
export function Trouble({ refused, retry }: { refused: Refusal; retry?: (() => void) | undefined }) {
  const title = refused.unreached ? "The server cannot be reached" : (refused.document?.title ?? "That did not work");
  return (
    <Banner title={title} tone="alarm">
      <p>
        {refused.message} {refused.fix}
      </p>
      {retry ? (
        <p>
          <button type="button" onClick={retry}>
            Try again
          </button>
        </p>
      ) : null}
    </Banner>
  );
}

interface SheetProps {
  title: string;
  open: boolean;
  wide?: boolean;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog. Escape closes it, the focus returns to where it was, and what was typed is not lost. */
export function Sheet({ title, open, wide, onClose, children }: SheetProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const element = dialog.current;
    if (!element) return;
    if (open && !element.open) element.showModal();
    if (!open && element.open) element.close();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby={id} class={wide ? "sheet wide" : "sheet"} onClose={onClose}>
      {open ? (
        <div class="sheet-body">
          <h2 id={id}>{title}</h2>
          {children}
        </div>
      ) : null}
    </dialog>
  );
}

/** An identifier with a button that copies it. */
export function Copyable({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      announce(`The ${what} is copied.`);
      setTimeout(() => setCopied(false), 2_000);
    } catch {
      announce(`The browser did not allow copying. Select the ${what} and copy it by hand.`);
    }
  };
  return (
    <span class="copyable">
      <code>{text}</code>
      <button type="button" class="quiet" aria-label={`Copy the ${what}`} onClick={() => void copy()}>
        {copied ? "Copied" : "Copy"}
      </button>
    </span>
  );
}
