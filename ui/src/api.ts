/**
 * The one place that talks to the server.
 *
 * 1. Every call either returns the typed body or throws a `Refusal` that holds a sentence for a person and
 *    what to do next. A call that never got an answer throws one with `unreached` set: whether the server
 *    heard it is then unknown, and the words say so.
 * 2. Mutations carry `X-Interlock-Console` with the proof of this session, which no other origin knows.
 * 3. A 401 on any call ends the session in this tab; what was typed stays where it was.
 * 4. The server's clock is the clock: its `Date` header corrects every countdown.
 */

import { signal } from "@preact/signals";
import type {
  Action,
  ApprovalPage,
  DecisionBody,
  Detail,
  Engaged,
  KillSwitches,
  Me,
  Page,
  Plan,
  ProblemDocument,
  Recovery,
  Standing,
  StopBody,
  Tools,
} from "./wire";

/** What to add to this machine's clock to get the server's, in milliseconds. */
export const clockSkewMs = signal(0);

let onSignedOut: () => void = () => undefined;

/** Called once at start: what happens when the server no longer knows this session. */
export function whenSignedOut(react: () => void): void {
  onSignedOut = react;
}

let onStopped: () => void = () => undefined;

/** Called once at start: what happens when a change is refused because the record has to be recovered first. */
export function whenStopped(react: () => void): void {
  onStopped = react;
}

export class Refusal extends Error {
  readonly slug: string;
  readonly status: number;
  readonly fix: string;
  readonly document: ProblemDocument | null;

  constructor(message: string, options: { fix?: string; status?: number; document?: ProblemDocument } = {}) {
    super(message);
    this.document = options.document ?? null;
    this.status = options.status ?? 0;
    this.fix = options.fix ?? "";
    this.slug = this.document?.type.replace("urn:interlock:problem:", "") ?? "";
  }

  /** True when no answer came back, so that nobody here knows whether the request arrived. */
  get unreached(): boolean {
    return this.status === 0;
  }
}

const WAIT_MS = 20_000;
const PROOF = "interlock.proof";

/** What this origin was told when it signed in. Unlike the cookie, no other port of this host gets to see it. */
function proof(): string {
  return localStorage.getItem(PROOF) ?? "";
}

async function call<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  const request: RequestInit = {
    method,
    headers,
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(WAIT_MS),
  };
  if (method === "POST") {
    headers["X-Interlock-Console"] = path === "/v1/sign-in" ? "1" : proof();
    headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body ?? {});
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, request);
    text = await response.text();
  } catch {
    throw new Refusal("The server did not answer.", {
      fix:
        method === "GET"
          ? "It is asked again as soon as it can be reached."
          : "Your text is kept. Try again: an answer is recorded once, however often it is sent.",
    });
  }
  const date = Date.parse(response.headers.get("Date") ?? "");
  // The header has whole seconds: smaller differences are its rounding, not the clock's.
  if (!Number.isNaN(date)) clockSkewMs.value = Math.abs(date - Date.now()) > 2_000 ? date - Date.now() : 0;
  let value: unknown = null;
  if (text !== "") {
    try {
      value = JSON.parse(text);
    } catch {
      throw new Refusal("The server's answer could not be read.", {
        status: response.status,
        fix: "Reload the page. If it stays, look at the server's log.",
      });
    }
  }
  if (response.ok) return value as T;
  if (response.status === 401) onSignedOut();
  const problem = value as ProblemDocument | null;
  const refused = new Refusal(problem?.detail ?? problem?.title ?? `The server answered ${response.status}.`, {
    status: response.status,
    fix: problem?.fix ?? "",
    ...(problem?.type ? { document: problem } : {}),
  });
  if (refused.slug === "recovery-required") onStopped();
  throw refused;
}

const id = encodeURIComponent;

export const api = {
  me: () => call<Me>("GET", "/v1/me"),
  signIn: async (token: string): Promise<Me> => {
    const { proof: told, ...me } = await call<Me & { proof: string }>("POST", "/v1/sign-in", { token });
    localStorage.setItem(PROOF, told);
    return me;
  },
  signOut: () => call<null>("POST", "/v1/sign-out"),
  approvals: (state: "held" | "resolved", cursor?: string | null) =>
    call<ApprovalPage>("GET", `/v1/approvals?state=${state}${cursor ? `&cursor=${id(cursor)}` : ""}`),
  approval: (approval: string) => call<Detail>("GET", `/v1/approvals/${id(approval)}`),
  decide: (approval: string, body: DecisionBody) =>
    call<Detail>("POST", `/v1/approvals/${id(approval)}/decisions`, body),
  action: (action: string) => call<Action>("GET", `/v1/actions/${id(action)}`),
  rollbackPlan: (action: string) => call<Plan>("GET", `/v1/actions/${id(action)}/rollback`),
  rollback: (action: string) =>
    call<{ rollback: Action; action: Action }>("POST", `/v1/actions/${id(action)}/rollback`),
  inDoubt: () => call<Page<Action>>("GET", "/v1/actions?state=in_doubt"),
  reconcile: (action: string, outcome: "succeeded" | "failed", note: string) =>
    call<unknown>("POST", `/v1/actions/${id(action)}/reconcile`, { outcome, note }),
  stops: () => call<KillSwitches>("GET", "/v1/kill-switches"),
  stop: (body: StopBody) => call<Engaged>("POST", "/v1/kill-switches", body),
  rearm: (kill: string, reason: string) =>
    call<Standing & { lifted: boolean }>("POST", `/v1/kill-switches/${id(kill)}/rearm`, { reason }),
  tools: () => call<Tools>("GET", "/v1/tools"),
  acceptTools: (tools: Record<string, string>) => call<{ accepted: string[] }>("POST", "/v1/tools/accept", { tools }),
  recovery: () => call<Recovery>("GET", "/v1/recovery"),
};

/** A thrown value as a `Refusal`; anything else is a fault of ours and is thrown on. */
export function refusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  throw error;
}
