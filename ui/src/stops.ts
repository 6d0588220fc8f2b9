/**
 * What kill switches stop now. Asked when somebody signs in, when something may have been missed, and when the
 * ledger tells of a kill switch.
 */

import { effect, signal } from "@preact/signals";
import { api, refusal } from "./api";
import { onNews } from "./live";
import { me } from "./session";
import type { KillSwitch, KillSwitches } from "./wire";

export const stops = signal<KillSwitches | null>(null);

/** Ask again; throws a `Refusal`. */
export async function askStops(): Promise<void> {
  stops.value = await api.stops();
}

async function look(): Promise<void> {
  try {
    await askStops();
  } catch (error) {
    // What was known stays until somebody answers.
    refusal(error);
  }
}

/** What it stops, inside a sentence. */
export function scopeWords({ scope, target }: Pick<KillSwitch, "scope" | "target">): string {
  if (scope === "agent") return `the agent ${target ?? ""}`;
  if (scope === "topic") return `the topics ${target ?? ""}`;
  return "everything";
}

effect(() => {
  if (me.value) void look();
  else stops.value = null;
});
onNews((entry) => {
  if (me.value && (!entry || entry.kind.startsWith("kill."))) void look();
});
