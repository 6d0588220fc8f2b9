/** What is on screen is no longer what is pending: said in place, with the difference and one way on. */

import { DifferenceTable } from "./changes";
import { Banner } from "./parts";
import type { Detail, Difference, Json } from "./wire";
import { stateWords } from "./words";

export interface Newer {
  /** Where the current version is; another id when a new revision replaced this one. */
  id: string;
  title: string;
  words: string;
  /** Null when it was settled, so that there is nothing left to compare. */
  difference: Difference[] | null;
}

export const CHANGED = "This changed";

function asText(value: Json | undefined): string {
  return JSON.stringify(value) ?? "";
}

/** The fields whose proposed value differs between two versions. */
function difference(shown: Detail, now: Detail): Difference[] {
  const names = new Set([...Object.keys(shown.args), ...Object.keys(now.args)]);
  const rows: Difference[] = [];
  for (const field of names) {
    const before = shown.args[field];
    const after = now.args[field];
    if (asText(before) === asText(after)) continue;
    rows.push({ field, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) });
  }
  return rows;
}

/** What to say about the newest version when another is on screen; null when they are the same to a reviewer. */
export function newerThan(shown: Detail, now: Detail): Newer | null {
  if (now.state === "held") {
    if (now.review_hash === shown.review_hash) return null;
    const words =
      now.revision === shown.revision
        ? "It still waits for a decision."
        : `${now.edited_by ?? "Somebody"} edited it; revision ${now.revision} waits now.`;
    return { id: now.id, title: CHANGED, words, difference: difference(shown, now) };
  }
  const by = now.decided?.by ? ` by ${now.decided.by}` : "";
  const edited = now.revision === shown.revision ? "" : `Edited to revision ${now.revision}, then `;
  const words = `${edited}${edited ? stateWords(now.state).toLowerCase() : stateWords(now.state)}${by}.`;
  return { id: now.id, title: "Settled elsewhere", words, difference: null };
}

export function Changed({ newer, onShow }: { newer: Newer; onShow: () => void }) {
  return (
    <Banner title={newer.title} tone="alarm">
      <p>
        {newer.words} The page still shows what you were shown before; no answer to that is accepted any more.
      </p>
      {newer.difference ? <DifferenceTable difference={newer.difference} /> : null}
      <p>
        <button type="button" onClick={onShow}>
          Show the current version
        </button>
      </p>
    </Banner>
  );
}
