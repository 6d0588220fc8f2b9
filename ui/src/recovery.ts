/**
 * Whether the server waits for people to agree to what its database lost: then it can be read, and changes nothing.
 *
 * 1. It is asked when somebody signs in, when something may have been missed, and when a change was refused
 *    because of it.
 * 2. While it is so, it is asked again and again: the entry that ends it is heard a moment before it is over.
 */

import { effect, signal } from "@preact/signals";
import { api, refusal, whenStopped } from "./api";
import { onNews } from "./live";
import { me } from "./session";
import type { Recovery } from "./wire";

const AGAIN_MS = 3_000;

export const recovery = signal<Recovery | null>(null);

let again: ReturnType<typeof setTimeout> | undefined;

async function look(): Promise<void> {
  try {
    recovery.value = await api.recovery();
  } catch (error) {
    // What was known stays until somebody answers.
    refusal(error);
  }
  clearTimeout(again);
  if (me.peek() && recovery.peek()?.required) again = setTimeout(() => void look(), AGAIN_MS);
}

effect(() => {
  if (me.value) void look();
  else recovery.value = null;
});
onNews((entry) => {
  if (me.value && !entry) void look();
});
whenStopped(() => void look());
