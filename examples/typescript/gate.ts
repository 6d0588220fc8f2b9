// A gate over HTTP, on the client that `npm run generate` makes of the server's own description.
//
// 1. Nothing is decided here. What runs is what the server answers a claim with, not what was proposed.
// 2. The claim's token is made up here, before the first claim: asked for again with it, it is the same claim.
// 3. Directly before the effect the claim is renewed: the server's word that it still holds and that nothing
//    was stopped. Without that word nothing runs.
// 4. What became of it is "succeeded" where the function returned. Where it threw, nobody knows: "in_doubt".

import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./interlock.d.ts";

export type Action = components["schemas"]["Action"];
export type Problem = components["schemas"]["Problem"];
export type Server = Client<paths>;

export function connect(url: string, key: string): Server {
  return createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${key}` } });
}

/** A refusal of the server's: `kind` is its name, as docs/errors.md lists them. */
export class Refused extends Error {
  readonly kind: string;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.title}. ${problem.detail}`);
    this.kind = problem.type.replace("urn:interlock:problem:", "");
    this.problem = problem;
  }
}

/** What was answered. Throws `Refused`. */
export function answered<T>(reply: { data?: T; error?: Problem }): T {
  if (reply.error !== undefined) throw new Refused(reply.error);
  return reply.data as T;
}

/** Propose a call for a function of this program's. `callId` names the call: again, it is the same action. */
export async function propose(
  server: Server,
  topic: string,
  args: Record<string, unknown>,
  callId: string,
): Promise<Action> {
  return answered(await server.POST("/v1/actions", { body: { topic, args, call_id: callId, tags: [] } }));
}

/** The action, once nobody is asked any more. */
export async function decided(server: Server, action: Action): Promise<Action> {
  let seen = action;
  while (seen.state === "held") {
    const params = { path: { action_id: seen.id }, query: { wait: 20, seen: "held" } };
    seen = answered(await server.GET("/v1/actions/{action_id}", { params }));
  }
  return seen;
}

/** Run an action that was allowed or approved, once. */
export async function run<T>(
  server: Server,
  action: Action,
  effect: (args: Record<string, unknown>, idempotencyKey: string) => Promise<T>,
): Promise<T> {
  const params = { path: { action_id: action.id } };
  const token = crypto.randomUUID();
  const claim = answered(
    await server.POST("/v1/actions/{action_id}/claim", { params, body: { claim: token } }),
  );
  const held = { claim: token, epoch: claim.epoch };
  const renew = () => server.POST("/v1/actions/{action_id}/renew", { params, body: held });
  const report = (outcome: "succeeded" | "in_doubt", note: string, result: unknown) =>
    server.POST("/v1/actions/{action_id}/outcome", { params, body: { ...held, outcome, note, result } });

  answered(await renew());
  const lease = setInterval(() => void renew().catch(() => undefined), 5_000);
  try {
    const result = await effect(claim.args, claim.key);
    answered(await report("succeeded", "It returned.", result));
    return result;
  } catch (error) {
    if (!(error instanceof Refused)) await report("in_doubt", `It threw: ${error}`.slice(0, 400), null);
    throw error;
  } finally {
    clearInterval(lease);
  }
}
