/**
 * The requests that wait for a person, as the inbox and the decision page share them.
 *
 * 1. The order is the server's. New requests never move the list under the reader: they are counted, and a
 *    press shows them.
 * 2. A request that was settled elsewhere leaves at once, and a line says so.
 * 3. What is shown is what a GET returned; events only say when to look, also while one is on its way.
 */

import { signal } from "@preact/signals";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { onNews } from "./live";
import { announce } from "./parts";
import { me } from "./session";
import type { Action, ApprovalPage, Entry, Item } from "./wire";

export const held = signal<Item[] | null>(null);
export const summary = signal<Omit<ApprovalPage, "items" | "next"> | null>(null);
export const more = signal<string | null>(null);
export const fresh = signal<string[]>([]);
export const inDoubt = signal<Action[]>([]);
/** What left the list while it was on screen, newest first. */
export const left = signal<{ item: Item; words: string } | null>(null);
/** How it was settled is not known yet: the list was read before the entry that says so was heard. */
const SETTLED = "Settled elsewhere";
export const queueTrouble = signal<Refusal | null>(null);
export const selected = signal<string | null>(null);

/** Settled by this tab: they leave without a line about "elsewhere". */
const mine = new Set<string>();
let pages = 1;

interface Reading {
  items: Item[];
  last: ApprovalPage;
}

async function read(): Promise<Reading> {
  let last = await api.approvals("held");
  const items = [...last.items];
  for (let page = 1; page < pages && last.next; page += 1) {
    const rest = await api.approvals("held", last.next);
    items.push(...rest.items);
    last = { ...last, next: rest.next };
  }
  return { items, last };
}

function take({ items, last }: Reading): void {
  const { counts, more: beyond, next_deadline, order } = last;
  summary.value = { counts, more: beyond, next_deadline, order };
  more.value = last.next;
  queueTrouble.value = null;
  if (!items.some((item) => item.id === selected.value)) selected.value = items[0]?.id ?? null;
}

/** Looks take turns, so that an older answer never overwrites a newer one. */
let turn: Promise<void> = Promise.resolve();
let asked = false;

function inTurn(look: () => Promise<void>): Promise<void> {
  turn = turn.then(look);
  return turn;
}

/** Show what is there now, new requests included. */
export function showAll(): Promise<void> {
  asked = true;
  return inTurn(everything);
}

async function everything(): Promise<void> {
  try {
    const [reading, doubtful] = await Promise.all([read(), api.inDoubt()]);
    held.value = reading.items;
    fresh.value = [];
    inDoubt.value = doubtful.items;
    take(reading);
  } catch (error) {
    queueTrouble.value = refusal(error);
  }
}

export async function showMore(): Promise<void> {
  pages += 1;
  await showAll();
}

function drop(item: Item, words: string): void {
  const list = held.value ?? [];
  const place = list.findIndex(({ id }) => id === item.id);
  held.value = list.filter(({ id }) => id !== item.id);
  if (selected.value === item.id) selected.value = (held.value[place] ?? held.value[place - 1])?.id ?? null;
  if (mine.has(item.id)) return;
  left.value = { item, words };
  announce(`${words}: ${item.title}. It has left the list.`);
}

/** Called by the decision page: this tab settled the request. */
export function settledHere(id: string): void {
  mine.add(id);
  const item = held.value?.find((one) => one.id === id);
  if (item) drop(item, "");
}

/** Look again without moving anything: leavers leave, changes show, newcomers are counted. */
async function lookAgain(): Promise<void> {
  const shown = held.value;
  if (!shown) return everything();
  try {
    const [reading, doubtful] = await Promise.all([read(), api.inDoubt()]);
    const now = new Map(reading.items.map((item) => [item.id, item]));
    // With further pages unread, a missing request may only have moved down: events say if it was settled.
    if (reading.last.next === null) {
      for (const item of shown) if (!now.has(item.id)) drop(item, SETTLED);
    }
    held.value = (held.value ?? []).map((item) => now.get(item.id) ?? item);
    const known = new Set(shown.map(({ id }) => id));
    const arrived = reading.items.filter(({ id }) => !known.has(id)).map(({ id }) => id);
    if (arrived.length > fresh.value.length) {
      announce(arrived.length === 1 ? "One new request." : `${arrived.length} new requests.`);
    }
    fresh.value = arrived;
    inDoubt.value = doubtful.items;
    take({ items: [...(held.value ?? [])], last: reading.last });
  } catch (error) {
    queueTrouble.value = refusal(error);
  }
}

const CALM_MS = 400;
let waiting: ReturnType<typeof setTimeout> | undefined;

const ANSWERS: Record<string, string> = {
  approve: "Approved elsewhere",
  reject: "Rejected elsewhere",
  edit: "Edited elsewhere",
};
const ENDS: Record<string, string> = {
  "action.expired": "Expired, not run",
  "action.withdrawn": "Withdrawn by the agent",
  "action.revoked": "Revoked elsewhere",
  "action.stale": "Held anew, the policy changed",
  "action.in_doubt": "In doubt, part of the record was lost",
};

/** What ended a request, by the entry that says so: an answer names the request, an end may name the action only. */
function endedBy(entry: Entry, item: Item): string | null {
  if (entry.kind === "approval.decided") return entry.approval === item.id ? (ANSWERS[entry.state ?? ""] ?? null) : null;
  return entry.action === item.action_id ? (ENDS[entry.kind] ?? null) : null;
}

function concerns(entry: Entry): boolean {
  if (entry.kind.startsWith("kill.")) return true;
  return entry.approval !== null || entry.kind in ENDS || entry.state === "in_doubt" || inDoubt.value.length > 0;
}

onNews((entry) => {
  if (!me.value || !asked) return;
  if (entry) {
    for (const item of held.value ?? []) {
      const words = endedBy(entry, item);
      if (words) drop(item, words);
    }
    const gone = left.value;
    const known = gone?.words === SETTLED ? endedBy(entry, gone.item) : null;
    if (gone && known) left.value = { item: gone.item, words: known };
    if (!concerns(entry)) return;
  }
  // A burst of entries is one look.
  waiting ??= setTimeout(() => {
    waiting = undefined;
    void inTurn(lookAgain);
  }, CALM_MS);
});
