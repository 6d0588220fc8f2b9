/**
 * The server's JSON, as types. Names are the wire's names; a field that can be absent is optional, one that
 * can be empty is `null`. Money is text and stays text: it never passes through a JavaScript number.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export type ApprovalState =
  | "held"
  | "approved"
  | "rejected"
  /** A question, answered. */
  | "answered"
  | "expired"
  | "superseded"
  | "withdrawn"
  | "stale"
  | "revoked"
  /** A new epoch of the ledger was opened while the request was open: what it is about may have run. */
  | "in_doubt"
  /** Nobody answered in time, and the lane let it run. */
  | "unanswered"
  /** The record does not carry the server's mark: it is listed so that somebody looks, and nothing can be done. */
  | "tampered";

export type ActionState =
  | ApprovalState
  | "denied"
  | "allowed"
  | "executing"
  | "succeeded"
  | "failed"
  | "rolled_back";

export interface Me {
  person: { id: string; name: string; roles: string[] };
  solo: boolean;
  policy: { name: string; snapshot: string; mode: "enforce" | "observe" } | null;
}

export interface Money {
  amount: string;
  currency: string;
}

export interface Decided {
  decision: string;
  by: string | null;
  at: string;
  solo: boolean;
  reason_code: string | null;
  note: string | null;
  /** To a question. */
  response?: string | null;
}

export interface Item {
  id: string;
  state: ApprovalState;
  action_id: string;
  revision: number;
  topic: string;
  agent: string;
  title: string;
  tier: 1 | 2 | 3 | 4 | null;
  tier_words: string;
  owner: string;
  requested_at: string;
  due_at: string;
  /** The kill switch that covers it: nobody approves it, and its deadlines wait. */
  frozen: { kill: string; since: string } | null;
  /** When somebody else is asked too, where the lane escalates before the request ends. */
  escalates_at: string | null;
  /** Who is asked then and afterwards, in order. */
  escalates_to: string[];
  /** What the deadline does, as the rest of a sentence: "expires, not run". */
  then: string;
  money: Money | null;
  rows: number | null;
  people: number | null;
  reversible: boolean;
  undo: string | null;
  reason: string;
  decided: Decided | null;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface ApprovalPage extends Page<Item> {
  counts: Partial<Record<ApprovalState, number>>;
  /** The states of which there are more than `counts` says. */
  more: ApprovalState[];
  next_deadline: string | null;
  /** Why the list is in this order, one sentence. */
  order: string;
}

export interface Change {
  field: string;
  role: string | null;
  type: string;
  /** Absent when nobody knows what was there. */
  before?: Json;
  after?: Json;
  change: "added" | "removed" | "changed" | "same" | "proposed";
  warnings: string[];
}

export interface Action {
  id: string;
  revision: number;
  state: ActionState;
  topic: string;
  agent: string;
  title: string;
  tier: 1 | 2 | 3 | 4 | null;
  /** Whether what was proposed was destroyed on purpose: then the title says so and nothing else of it is left. */
  erased: boolean;
  executor: "http" | "sql" | "mcp" | "caller" | "permitted" | "question";
  /** The host that redeems a permit to run it; null for every other executor, and where it was erased. */
  executor_name: string | null;
  /** The latest request about it, where it needed one. */
  approval: { id: string } | null;
  /** The action that this one takes back, by its id. */
  undoes: string | null;
  /** The latest action that takes this one back, or was to. */
  rollback: { id: string; state: ActionState } | null;
  outcome: { state: string; at: string; note: string | null } | null;
  result: Json;
  user_message: string | null;
}

export interface World {
  state: "unread" | "read" | "absent" | "unavailable";
  read_at: string | null;
  reason: string | null;
  cursor_moved: boolean;
  /** What changed stands first; `now` or `before` is absent where it was not there. */
  fields: { field: string; now?: string; before?: string; changed: boolean }[];
}

/** What a rollback would propose, and what the policy says to it now. */
export interface Plan {
  action: string;
  title: string;
  undo: {
    topic: string;
    args: Record<string, Json>;
    title: string;
    worst_case: string | null;
    decision: string;
    reason: string;
    owner: string | null;
  };
  until: string | null;
}

export interface Detail extends Item {
  /** As of an action; arguments, changes, money and words are empty then. */
  erased: boolean;
  review_hash: string;
  worst_case: string | null;
  why: {
    rule: string;
    reason: string;
    triggers: string[];
    handoff: string | null;
    informed: string[];
    overridden: string[];
    policy: string;
    missing: string[];
  };
  constraints: Record<string, Json>;
  constraint_words: string[];
  changes: Change[];
  args: Record<string, Json>;
  reasoning: string;
  alternatives: string[];
  context: { session: string | null; principal: string | null; parent_action: string | null; agent: string };
  can: { approve: boolean; reject: boolean; edit: boolean; respond: boolean; why_not: string | null };
  /** Why it is decided once more; null where it was not decided before. */
  again: { because: "policy" | "probe" | "world"; was: string; words: string } | null;
  /** What was read of what it rests on; null where nothing is to be read. */
  world: World | null;
  /** Of a rollback: what it takes back, who asked for it, and until when it may start. */
  takes_back: { action: string; title: string; asked_by: string | null; until: string | null } | null;
  superseded_by: string | null;
  supersedes: string | null;
  edited_by: string | null;
  editor_is_you: boolean;
  action: Action;
  /** `index` is null where it stands beyond what is counted; `more` where there are more than `of`. */
  position: {
    index: number | null;
    of: number;
    more: boolean;
    previous: string | null;
    next: string | null;
  } | null;
}

/** One field of the difference between what was shown and what is pending now. */
export interface Difference {
  field: string;
  before?: Json;
  after?: Json;
}

export interface DecisionBody {
  decision: "approve" | "reject" | "edit" | "respond";
  expected_hash: string;
  reason_code?: string;
  note?: string;
  response?: string;
  args?: Record<string, Json>;
}

/** A ledger entry as the event stream tells it; `state` is a decision or an outcome, where it has one. */
export interface Entry {
  index: number;
  kind: string;
  action: string | null;
  approval: string | null;
  state: string | null;
  at: string;
}

/** Whether the server waits for people to agree to what its database lost. Nothing can be changed until then. */
export interface Recovery {
  required: boolean;
  /** One sentence, where it is required. */
  why?: string;
}

export type Scope = "all" | "agent" | "topic";

export interface KillSwitch {
  id: string;
  scope: Scope;
  /** The agent's name, or the pattern of topics; null where everything is stopped. */
  target: string | null;
  reason: string;
  /** A person's id, or who else engaged it. */
  by: string;
  drill: boolean;
  engaged_at: string;
  rearmed_at: string | null;
}

interface Named {
  id: string;
  name: string;
}

/** A kill switch that is on: who agreed to lift it, of how many that have to. */
export interface Standing extends KillSwitch {
  agreed: Named[];
  needed: number;
}

export interface KillSwitches {
  engaged: Standing[];
  /** Who may stop, and lift. */
  may: Named[];
  lifted: KillSwitch[];
}

export interface StopBody {
  scope: Scope;
  target: string | null;
  reason: string;
  drill: boolean;
}

/** What a server says of a tool: of each topic what was seen last. */
export interface Tool {
  server: string;
  tool: string;
  topic: string;
  hash: string;
  standing: "new" | "changed" | "accepted";
  definition: Record<string, Json>;
  seen_at: string;
  /** What somebody accepted; its definition where that is known and another. */
  accepted: { hash: string; by: string; at: string; definition: Record<string, Json> | null } | null;
}

export interface Tools {
  tools: Tool[];
  /** Who may accept. */
  may: Named[];
}

/** What stopping answered; `stop_us` for a drill, in microseconds. */
export interface Engaged extends KillSwitch {
  running: string[];
  stop_us?: number;
}

/** RFC 9457, with the members Interlock adds. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail?: string;
  fix?: string;
  path?: string;
  current?: { approval: string; review_hash: string };
  difference?: Difference[];
}
