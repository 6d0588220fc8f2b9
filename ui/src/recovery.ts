/**
 * Whether the server waits for people to agree to what its database lost: then it can be read, and changes nothing.
 *
 * Asked when somebody signs in, when something may have been missed, when a new epoch of the ledger was opened,
 * and when a change was refused because of it.
 */

import { effect, signal } from "@preact/signals";
import { api, refusal, whenStopped } from "./api";
import { onNews } from "./live";
import { me } from "./session";
import type { Recovery } from "./wire";

export const recovery = signal<Recovery | null>(null);

async function look(): Promise<void> {
  try {
    recovery.value = await api.recovery();
  } catch (error) {
    // What was known stays: the next look may be answered.
    refusal(error);
  }
}

effect(() => {
  if (me.value) void look();
  else recovery.value = null;
});
onNews((entry) => {
  if (me.value && (!entry || entry.kind === "ledger.epoch_opened")) void look();
});
whenStopped(() => void look());
