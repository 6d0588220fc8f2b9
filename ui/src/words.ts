/** What states, reasons and amounts are called on screen. One word for one thing, everywhere. */

import type { Action, ActionState, ApprovalState, Item, Money } from "./wire";

export const REASONS: readonly (readonly [code: string, words: string])[] = [
  ["wrong_target", "Wrong target: not this customer, account or system"],
  ["wrong_amount", "Wrong amount"],
  ["not_authorised", "Nobody authorised this"],
  ["insufficient_context", "Not enough context to decide"],
  ["suspicious", "Suspicious: it may have been manipulated"],
  ["policy", "Against policy"],
  ["duplicate", "Duplicate: already done or requested"],
  ["other", "Another reason, in the note"],
];

export function reasonWords(code: string): string {
  return REASONS.find(([known]) => known === code)?.[1] ?? code;
}

const ANSWERS: Record<string, string> = { approve: "Approved", reject: "Rejected", edit: "Edited", respond: "Answered" };

/** What a person answered, as the start of "Approved by Ana". */
export function answerWords(decision: string): string {
  return ANSWERS[decision] ?? "Decided";
}

export const RESOLVED_STATES: readonly Exclude<ApprovalState, "held" | "tampered">[] = [
  "approved",
  "rejected",
  "answered",
  "expired",
  "superseded",
  "withdrawn",
  "revoked",
  "stale",
  "unanswered",
  "in_doubt",
];

const STATE_WORDS: Record<ActionState, string> = {
  denied: "Denied",
  allowed: "Allowed",
  held: "Held",
  approved: "Approved",
  executing: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  in_doubt: "In doubt",
  rejected: "Rejected",
  answered: "Answered",
  superseded: "Superseded",
  expired: "Expired",
  withdrawn: "Withdrawn",
  revoked: "Revoked",
  stale: "Stale",
  unanswered: "Unanswered",
  rolled_back: "Rolled back",
  tampered: "Tampered with",
};

export function stateWords(state: string): string {
  return (STATE_WORDS as Record<string, string>)[state] ?? state;
}

/** What a state means for the world outside, one sentence. */
const MEANING: Record<ActionState, string> = {
  denied: "The policy refused it. It did not run.",
  allowed: "The policy let it run without a person.",
  held: "It waits for a person. Nothing has run.",
  approved: "Approved. It has not run yet.",
  executing: "It is running now.",
  succeeded: "It ran once and took effect.",
  failed: "It ran and did not take effect.",
  in_doubt: "Nobody knows yet whether it took effect.",
  rejected: "It was rejected and did not run.",
  answered: "A person answered. Nothing runs by it.",
  superseded: "It was edited. The new revision is a request of its own; this one did not run.",
  expired: "Nobody decided in time. It did not run.",
  withdrawn: "The agent took it back. It did not run.",
  revoked: "The approval was taken back before it ran.",
  rolled_back: "It ran, took effect, and was taken back by another action.",
  stale: "The policy or the target changed. It did not run.",
  unanswered: "Nobody answered in time, and its lane let it run.",
  tampered: "Its record was changed from outside. Nothing about it can run.",
};

export function meaning(state: string): string {
  return (MEANING as Record<string, string>)[state] ?? `Its state is ${state}.`;
}

/** Of a request in a list, which does not know what became of its action later. */
export function requestMeaning(state: string): string {
  return state === "in_doubt" ? "Part of the record was lost while it was open. It may have run." : meaning(state);
}

const RUNS: Record<Action["executor"], string> = {
  http: "from Interlock",
  sql: "from Interlock, in a database",
  mcp: "from Interlock, by a tool of an MCP server",
  caller: "in the agent's own process",
  permitted: "on another host, under a permit",
  question: "nowhere: it is a question",
};

/** Where it runs. */
export function runsWords({ executor, executor_name }: Pick<Action, "executor" | "executor_name">): string {
  if (executor === "permitted" && executor_name) return `on ${executor_name}, under a permit`;
  return (RUNS as Record<string, string>)[executor] ?? executor;
}

/**
 * What has become of it, one or two sentences: the meaning of its state, and who runs it where that is still to come.
 * A host may hold a permit to run it without asking, so "it has not run" is never said of what a host runs.
 */
export function standing(action: Pick<Action, "executor" | "executor_name">, state: string): string {
  const open = state === "approved" || state === "allowed";
  if (open && action.executor === "permitted") {
    const host = action.executor_name ?? "Another host";
    const by = state === "approved" ? "Approved." : meaning(state);
    return `${by} ${host} runs it under a permit, and has not reported a run.`;
  }
  if (state === "approved" && action.executor === "caller") {
    return `${meaning(state)} The agent's own process runs it when it asks again.`;
  }
  return meaning(state);
}

const TRIGGERS: Record<string, string> = {
  confidence: "the agent's confidence is below the floor",
  risk_tier: "the action's tier",
  frustration: "frustration or repeated failure",
  sla: "a deadline is close",
  irreversibility: "it cannot be undone",
  anomaly: "something unusual, or a suspected injection",
};

const HANDOFFS: Record<string, string> = {
  async_review: "a review that can wait in the queue",
  approval: "an approval",
  priority_escalation: "an escalation with priority",
  mandatory_approval: "an approval that nothing waives",
  human_takeover: "a person should take over the conversation",
  session_block: "security should look at the session before it goes on",
};

export function handoffWords(handoff: string): string {
  return HANDOFFS[handoff] ?? handoff;
}

export function triggerWords(trigger: string): string {
  return TRIGGERS[trigger] ?? trigger;
}

const SIGNS: Record<string, string> = { USD: "$", EUR: "€", GBP: "£", JPY: "¥" };

/**
 * "$1,200.00", from the text of the amount and never through a float. The grouping is the title's, not the
 * browser's locale: the same amount must not read 1.200 in one place and 1,200 in another.
 */
export function moneyWords({ amount, currency }: Money): string {
  const parts = /^(-?)(\d+)(\.\d+)?$/.exec(amount);
  const grouped = parts
    ? `${parts[2]?.replace(/\B(?=(\d{3})+$)/g, ",") ?? ""}${parts[3] ?? ""}`
    : amount;
  const minus = parts?.[1] ? "−" : "";
  const sign = SIGNS[currency];
  return sign ? `${minus}${sign}${grouped}` : `${minus}${grouped} ${currency}`;
}

export function count(n: number, one: string, many: string): string {
  return `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
}

/** A number that is counted up to a limit: "12", or "1,000+" where there are more. */
export function atLeast(n: number, more: boolean): string {
  return `${n.toLocaleString("en-US")}${more ? "+" : ""}`;
}

/** How far it reaches, for a line under the title. */
export function reach(item: Item): string[] {
  const words: string[] = [];
  if (item.rows !== null) words.push(count(item.rows, "row", "rows"));
  if (item.people !== null) words.push(count(item.people, "person", "people"));
  return words;
}

export function undoWords(item: Item): string {
  return item.reversible ? "Can be undone" : "Cannot be undone";
}

/** "v1:b4e2c1…": enough of a hash to compare by eye; the whole stands in the title. */
export function shortHash(hash: string): string {
  const [version, digest] = hash.includes(":") ? hash.split(":", 2) : ["", hash];
  return `${version ? `${version}:` : ""}${(digest ?? "").slice(0, 10)}${(digest ?? "").length > 10 ? "…" : ""}`;
}
