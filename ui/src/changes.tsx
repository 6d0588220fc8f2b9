/**
 * The change, field by field, in the server's order: riskiest first.
 *
 * On a narrow screen each field becomes a block; the roles are written out because a table that is laid out
 * as blocks loses its own.
 */

import type { ComponentChildren } from "preact";
import { Warning } from "./parts";
import { Plain, Value } from "./text";
import type { Change, Difference } from "./wire";

const WORDS: Record<Change["change"], string> = {
  added: "Added",
  removed: "Removed",
  changed: "Changed",
  same: "Same",
  proposed: "Proposed",
};

export function Cell({ label, kind, children }: { label: string; kind?: string; children: ComponentChildren }) {
  return (
    <td role="cell" class={kind} data-label={label}>
      {children}
    </td>
  );
}

export function Head({ labels }: { labels: readonly string[] }) {
  return (
    <thead role="rowgroup">
      <tr role="row">
        {labels.map((label) => (
          <th key={label} role="columnheader" scope="col">
            {label}
          </th>
        ))}
      </tr>
    </thead>
  );
}

export function Changes({ changes, id }: { changes: Change[]; id: string }) {
  if (changes.length === 0) return <p class="quiet-words">It takes no arguments.</p>;
  const known = changes.some((change) => change.before !== undefined);
  return (
    <table class={known ? "change" : "change proposed"} role="table" aria-labelledby={id}>
      <caption id={id} class="unseen-line">
        {known ? "Fields with their values before and after" : "Fields with the proposed values"}
      </caption>
      <Head labels={known ? ["Field", "Before", "After", "What happens"] : ["Field", "Proposed"]} />
      <tbody role="rowgroup">
        {changes.map((change) => (
          <tr key={change.field} role="row" class={`is-${change.change}`}>
            <th role="rowheader" scope="row">
              <Plain text={change.field} />
              {change.role && change.role !== change.field ? <span class="role">{change.role}</span> : null}
            </th>
            {known ? (
              <Cell label="Before" kind="before">
                {change.before === undefined ? (
                  <i class="none">{change.change === "added" ? "not there" : "not known"}</i>
                ) : (
                  <Value value={change.before} against={change.after} />
                )}
              </Cell>
            ) : null}
            <Cell label={known ? "After" : "Proposed"} kind="after">
              {change.after === undefined ? (
                <i class="none">removed</i>
              ) : (
                <Value value={change.after} against={change.before} />
              )}
              {change.warnings.map((warning) => (
                <Warning key={warning}>{warning}</Warning>
              ))}
            </Cell>
            {known ? (
              <Cell label="What happens" kind="word">
                {WORDS[change.change]}
              </Cell>
            ) : null}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What is pending now against what was on screen. */
export function DifferenceTable({ difference }: { difference: Difference[] }) {
  if (difference.length === 0) {
    return <p>The arguments are the same. What stands around them changed: policy, limits, context or deadline.</p>;
  }
  return (
    <table class="change" role="table" aria-label="The difference">
      <Head labels={["Field", "You were shown", "It is now"]} />
      <tbody role="rowgroup">
        {difference.map((row) => (
          <tr key={row.field} role="row">
            <th role="rowheader" scope="row">
              <Plain text={row.field} />
            </th>
            <Cell label="You were shown" kind="before">
              {row.before === undefined ? <i class="none">not there</i> : <Value value={row.before} against={row.after} />}
            </Cell>
            <Cell label="It is now" kind="after">
              {row.after === undefined ? <i class="none">removed</i> : <Value value={row.after} against={row.before} />}
            </Cell>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
