/** The consequence, before everything else: how much, how far, whether it can be taken back, what may go wrong. */

import { TierMark, UndoMark } from "./parts";
import { Plain } from "./text";
import type { Item } from "./wire";
import { moneyWords } from "./words";

interface ImpactProps {
  detail: Item & { worst_case: string | null };
  small?: boolean;
}

export function Impact({ detail, small }: ImpactProps) {
  const { money, rows, people } = detail;
  const lead = money
    ? { label: "Money", words: moneyWords(money), unit: money.currency }
    : rows !== null
      ? { label: "Rows", words: rows.toLocaleString("en-US"), unit: rows === 1 ? "row" : "rows" }
      : people !== null
        ? { label: "People", words: people.toLocaleString("en-US"), unit: people === 1 ? "person" : "people" }
        : null;
  return (
    <dl class={`impact ${detail.reversible ? "" : "irreversible"} ${small ? "small" : ""}`}>
      {lead ? (
        <div class="amount">
          <dt>{lead.label}</dt>
          <dd>
            <span class="figure">{lead.words}</span> <span class="unit">{lead.unit}</span>
          </dd>
        </div>
      ) : null}
      <div class={lead ? "worst" : "worst alone"}>
        <dt>If it goes wrong</dt>
        <dd>{detail.worst_case ? <Plain text={detail.worst_case} /> : "The catalogue does not say."}</dd>
      </div>
      <div class="cell">
        <dt>Undo</dt>
        <dd>
          <UndoMark item={detail} />
          {detail.undo ? <span class="how"> {detail.undo}</span> : null}
        </dd>
      </div>
      <div class="cell">
        <dt>Tier</dt>
        <dd>
          <TierMark item={detail} bare />
        </dd>
      </div>
      {rows !== null && lead?.label !== "Rows" ? (
        <div class="cell">
          <dt>Rows</dt>
          <dd>{rows.toLocaleString("en-US")}</dd>
        </div>
      ) : null}
      {people !== null && lead?.label !== "People" ? (
        <div class="cell">
          <dt>People</dt>
          <dd>{people.toLocaleString("en-US")}</dd>
        </div>
      ) : null}
    </dl>
  );
}
