/**
 * `/`: what waits for a person, and (`/?show=resolved`) what became of the rest.
 *
 * 1. Nothing is decided here: a row opens the decision page, and the preview has no buttons that decide.
 * 2. The amount and what cannot be undone are what the eye meets first in a row.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { Due, When } from "./clock";
import { contentChanged, useKeys } from "./keys";
import { StateShape, TierMark, Trouble, UndoMark, Warning } from "./parts";
import { Preview } from "./preview";
import { fresh, held, inDoubt, left, more, queueTrouble, selected, showAll, showMore, summary } from "./queue";
import { Link, go } from "./route";
import { Plain } from "./text";
import type { ApprovalPage, Item } from "./wire";
import { RESOLVED_STATES, atLeast, count, moneyWords, reach, reasonWords, requestMeaning, stateWords } from "./words";

export function Inbox({ show }: { show: "held" | "resolved" }) {
  useEffect(() => {
    document.title = show === "held" ? "Needs review · Interlock" : "Resolved · Interlock";
    contentChanged();
  }, [show]);
  return show === "held" ? <NeedsReview /> : <Resolved />;
}

function Tabs({ show, page }: { show: "held" | "resolved"; page: Omit<ApprovalPage, "items" | "next"> | null }) {
  const waiting = page?.counts.held;
  return (
    <nav class="tabs" aria-label="Requests">
      <Link to="/" current={show === "held"}>
        Needs review
        {page && waiting !== undefined ? <span class="count">{atLeast(waiting, page.more.includes("held"))}</span> : ""}
      </Link>
      <Link to="/?show=resolved" current={show === "resolved"}>
        Resolved
      </Link>
    </nav>
  );
}

function NeedsReview() {
  const list = useRef<HTMLOListElement>(null);
  const items = held.value;

  useEffect(() => {
    void showAll();
    return () => {
      left.value = null;
    };
  }, []);

  const step = (by: number): void => {
    const all = held.value ?? [];
    const links = list.current?.querySelectorAll<HTMLAnchorElement>("a.title");
    const inside = list.current?.contains(document.activeElement) ?? false;
    const at = all.findIndex(({ id }) => id === selected.value);
    const to = inside ? Math.min(all.length - 1, Math.max(0, at + by)) : Math.max(0, at);
    links?.[to]?.focus();
  };
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    Enter: () => {
      const on = document.activeElement;
      if (on instanceof HTMLElement && on.matches("a, button, summary")) return on.click();
      if (selected.value) go(`/a/${selected.value}`);
    },
  });

  const showNew = async (): Promise<void> => {
    await showAll();
    contentChanged();
    list.current?.querySelector<HTMLElement>("a.title")?.focus();
  };

  return (
    <main class="inbox">
      <header class="page-head">
        <h1>Needs review</h1>
        <Tabs show="held" page={summary.value} />
      </header>
      {queueTrouble.value ? <Trouble refused={queueTrouble.value} retry={() => void showAll()} /> : null}
      <InDoubt />
      <div class="over-list">
        {summary.value?.next_deadline ? (
          <p class="next-deadline">
            <Due at={summary.value.next_deadline} start="Next deadline" />
          </p>
        ) : null}
        {fresh.value.length > 0 ? (
          <button type="button" class="news" onClick={() => void showNew()}>
            {fresh.value.length} new
          </button>
        ) : null}
        {left.value ? (
          <p class="left-line">
            <StateShape state="withdrawn" />
            <span>
              {left.value.words}:{" "}
              <Link to={`/a/${left.value.item.id}`}>
                <Plain text={left.value.item.title} />
              </Link>
            </span>
          </p>
        ) : null}
      </div>
      {items === null ? (
        <p class="empty">{queueTrouble.value ? "" : "Asking the server…"}</p>
      ) : items.length === 0 ? (
        <div class="empty">
          <h2>Nothing waits for you</h2>
          <p>A new request appears here as soon as the policy holds an action. You need not reload.</p>
        </div>
      ) : (
        <div class="list-and-preview">
          <div>
            <ol class="rows" ref={list}>
              {items.map((item) => (
                <Row key={item.id} item={item} />
              ))}
            </ol>
            {more.value ? (
              <button type="button" class="more-rows" onClick={() => void showMore()}>
                Show more
              </button>
            ) : null}
            {summary.value?.order ? <p class="why-order">Why this order: {lowerFirst(summary.value.order)}</p> : null}
          </div>
          <Preview id={selected.value} />
        </div>
      )}
    </main>
  );
}

function lowerFirst(sentence: string): string {
  return /^[A-Z][a-z]/.test(sentence) ? sentence.charAt(0).toLowerCase() + sentence.slice(1) : sentence;
}

/** The largest thing about a request: the amount, else how many rows or people it reaches. */
function Lead({ item }: { item: Item }) {
  if (item.money) return <span class="lead">{moneyWords(item.money)}</span>;
  if (item.rows !== null) return <span class="lead">{count(item.rows, "row", "rows")}</span>;
  if (item.people !== null) return <span class="lead">{count(item.people, "person", "people")}</span>;
  return null;
}

function Row({ item }: { item: Item }) {
  const select = (): void => {
    selected.value = item.id;
  };
  return (
    <li
      class={`row ${item.reversible ? "" : "irreversible"} ${selected.value === item.id ? "selected" : ""}`}
      onClick={select}
    >
      <h2>
        <Link to={`/a/${item.id}`} class="title" onFocus={select}>
          <Plain text={item.title} />
        </Link>
      </h2>
      {item.state === "tampered" ? (
        // Nothing else that the record says is worth reading.
        <Warning>{item.reason} Look at the server's log before you trust anything here.</Warning>
      ) : (
        <>
          <Lead item={item} />
          <p class="facts">
            <TierMark item={item} />
            <UndoMark item={item} />
            <Due at={item.due_at} item={item} />
          </p>
          <p class="meta">
            <span>
              <Plain text={item.agent} />
            </span>
            <span>for {item.owner}</span>
            {(item.money ? reach(item) : item.rows !== null ? reach(item).slice(1) : []).map((words) => (
              <span key={words}>{words}</span>
            ))}
            {item.revision > 1 ? <span>revision {item.revision}</span> : null}
          </p>
        </>
      )}
    </li>
  );
}

/** Actions that started and whose effect nobody knows: they come before everything else. */
function InDoubt() {
  if (inDoubt.value.length === 0) return null;
  return (
    <section class="in-doubt" aria-labelledby="in-doubt">
      <h2 id="in-doubt">
        <StateShape state="in_doubt" />
        In doubt: {count(inDoubt.value.length, "action", "actions")} to settle
      </h2>
      <p>They ran, or may have, and nobody knows yet with what effect. Nothing is repeated until a person has looked.</p>
      <ul>
        {inDoubt.value.map((action) => (
          <li key={action.id}>
            <Link to={`/a/${action.id}`}>
              <Plain text={action.title} />
            </Link>
            <span class="meta"> {action.agent}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Resolved() {
  const [page, setPage] = useState<ApprovalPage | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);

  const load = async (cursor: string | null): Promise<void> => {
    try {
      const next = await api.approvals("resolved", cursor);
      setPage((before) => (cursor && before ? { ...next, items: [...before.items, ...next.items] } : next));
      setRefused(null);
    } catch (error) {
      setRefused(refusal(error));
    }
  };
  useEffect(() => void load(null), []);

  const counts = RESOLVED_STATES.flatMap((state) => {
    const n = page?.counts[state] ?? 0;
    return n > 0 ? [{ state, words: atLeast(n, page?.more.includes(state) ?? false) }] : [];
  });
  return (
    <main class="inbox">
      <header class="page-head">
        <h1>Resolved</h1>
        <Tabs show="resolved" page={page} />
      </header>
      {refused ? <Trouble refused={refused} retry={() => void load(null)} /> : null}
      {counts.length > 0 ? (
        <ul class="counts" aria-label="How requests ended">
          {counts.map(({ state, words }) => (
            <li key={state}>
              <StateShape state={state} />
              <b>{words}</b> {stateWords(state).toLowerCase()}
            </li>
          ))}
        </ul>
      ) : null}
      {page === null ? (
        <p class="empty">{refused ? "" : "Asking the server…"}</p>
      ) : page.items.length === 0 ? (
        <div class="empty">
          <h2>Nothing has been resolved yet</h2>
        </div>
      ) : (
        <ol class="rows">
          {page.items.map((item) => (
            <ResolvedRow key={item.id} item={item} />
          ))}
        </ol>
      )}
      {page?.next ? (
        <button type="button" class="more-rows" onClick={() => void load(page.next)}>
          Show more
        </button>
      ) : null}
    </main>
  );
}

function ResolvedRow({ item }: { item: Item }) {
  const { decided } = item;
  return (
    <li class="row resolved">
      <h2>
        <Link to={`/a/${item.id}`} class="title">
          <Plain text={item.title} />
        </Link>
      </h2>
      <Lead item={item} />
      <p class="facts">
        <span class={`state state-${item.state}`}>
          <StateShape state={item.state} />
          <span>{stateWords(item.state)}</span>
        </span>
        {decided ? (
          <span>
            {decided.by ? `by ${decided.by}, ` : ""}
            <When at={decided.at} />
            {decided.solo ? ", solo" : ""}
          </span>
        ) : null}
        {decided?.reason_code ? <span>{reasonWords(decided.reason_code)}</span> : null}
        {decided && item.state !== "in_doubt" ? null : <span>{requestMeaning(item.state)}</span>}
      </p>
      <p class="meta">
        <span>
          <Plain text={item.agent} />
        </span>
        <span>for {item.owner}</span>
        <TierMark item={item} />
      </p>
    </li>
  );
}
