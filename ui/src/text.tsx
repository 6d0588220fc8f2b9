/**
 * Text that somebody else wrote, made safe to look at.
 *
 * 1. Control, bidirectional and invisible characters are written out as U+202E, in a mark of their own. The
 *    server warns about them; this is the second pair of eyes, on every string an agent could have chosen.
 * 2. Letters of another script inside a Latin word are underlined and named in a tooltip.
 * 3. Every string is isolated, so that its direction cannot rearrange what stands around it.
 *
 * Source: Unicode TR36 and TR39; "Trojan Source" (Boucher and Anderson, 2021).
 */

import type { Json } from "./wire";

const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}\p{Zs}\p{Default_Ignorable_Code_Point}\u2800]/u;
const SEEN = " \n\t";
const WORD = /([\p{L}\p{M}\p{N}]+)/u;
const LATIN = /\p{Script=Latin}/u;
const IMITATES_LATIN = /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}]/u;
const SCRIPTS: readonly (readonly [RegExp, string])[] = [
  [/\p{Script=Cyrillic}/u, "Cyrillic"],
  [/\p{Script=Greek}/u, "Greek"],
  [/\p{Script=Armenian}/u, "Armenian"],
  [/\p{Script=Cherokee}/u, "Cherokee"],
];

export function codePoint(letter: string): string {
  return `U+${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}

interface Piece {
  text: string;
  kind: "plain" | "unseen" | "alike";
  differs: boolean;
}

/** The part of a text, counted in characters, that another version of it does not have. */
type Range = readonly [start: number, end: number];

/**
 * The text in runs of what can be trusted to look like itself, and single letters that cannot. Words are
 * judged whole: a range that cuts through one does not hide the company a letter keeps.
 */
export function pieces(text: string, differing: Range = [0, 0]): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const part of text.split(WORD)) {
    const mixed = LATIN.test(part) && IMITATES_LATIN.test(part);
    for (const letter of part) {
      const differs = at >= differing[0] && at < differing[1];
      at += 1;
      const kind =
        !SEEN.includes(letter) && UNSEEN.test(letter)
          ? "unseen"
          : mixed && IMITATES_LATIN.test(letter)
            ? "alike"
            : "plain";
      const last = found.at(-1);
      if (kind === "plain" && last?.kind === "plain" && last.differs === differs) last.text += letter;
      else found.push({ text: letter, kind, differs });
    }
  }
  return found;
}

function Shown({ piece }: { piece: Piece }) {
  if (piece.kind === "plain") return <>{piece.text}</>;
  const point = codePoint(piece.text);
  if (piece.kind === "unseen") {
    return (
      <mark class="unseen" title="A character that cannot be seen">
        {point}
      </mark>
    );
  }
  const script = SCRIPTS.find(([test]) => test.test(piece.text))?.[1] ?? "other";
  return (
    <mark class="alike" title={`${script} letter ${point}, not the Latin one it resembles`}>
      {piece.text}
    </mark>
  );
}

export function Plain({ text, differing }: { text: string; differing?: Range }) {
  return (
    <bdi>
      {pieces(text, differing).map((piece, index) =>
        piece.differs ? (
          <em key={index} class="differs">
            <Shown piece={piece} />
          </em>
        ) : (
          <Shown key={index} piece={piece} />
        ),
      )}
    </bdi>
  );
}

/** Where two strings differ: what they share at the start and at the end is left out. */
function differingFrom(text: string, against: Json | undefined): Range {
  if (typeof against !== "string" || against === "" || against === text) return [0, 0];
  const a = [...text];
  const b = [...against];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const range: Range = [start, a.length - end];
  // With nothing in common there is nothing to point at.
  return range[0] === 0 && range[1] === a.length ? [0, 0] : range;
}

/** A JSON value for a person: strings without quotes, the differing part of a changed string marked. */
export function Value({ value, against }: { value: Json; against?: Json | undefined }) {
  if (typeof value === "string") {
    if (value === "") return <i class="none">empty text</i>;
    return (
      <span class="value">
        <Plain text={value} differing={differingFrom(value, against)} />
      </span>
    );
  }
  if (value === null) return <i class="none">nothing (null)</i>;
  if (typeof value === "object") {
    if (Object.keys(value).length === 0) return <i class="none">{Array.isArray(value) ? "empty list" : "empty object"}</i>;
    return <Raw value={value} />;
  }
  return <span class="value">{typeof value === "boolean" ? (value ? "yes (true)" : "no (false)") : String(value)}</span>;
}

/** A JSON value as it is, indented. Scrollable regions are focusable so that the keyboard can scroll them. */
export function Raw({ value, label }: { value: Json; label?: string }) {
  return (
    <pre class="raw" tabIndex={label ? 0 : undefined} role={label ? "region" : undefined} aria-label={label}>
      <Plain text={JSON.stringify(value, null, 2)} />
    </pre>
  );
}
