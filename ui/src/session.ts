/** Who is signed in here, if anybody. `undefined` means: not asked yet. */

import { signal } from "@preact/signals";
import { api, refusal, whenSignedOut } from "./api";
import type { Refusal } from "./api";
import type { Me } from "./wire";

export const me = signal<Me | null | undefined>(undefined);
export const sessionTrouble = signal<Refusal | null>(null);

whenSignedOut(() => {
  me.value = null;
});

export async function restoreSession(): Promise<void> {
  try {
    me.value = await api.me();
    sessionTrouble.value = null;
  } catch (error) {
    const refused = refusal(error);
    if (refused.status !== 401) sessionTrouble.value = refused;
  }
}

/** Ask whether this session still stands. An unreachable server is no answer: nothing changes then. */
export async function checkSession(): Promise<void> {
  try {
    me.value = await api.me();
    sessionTrouble.value = null;
  } catch (error) {
    // A 401 has ended the session already; the header tells about anything else.
    refusal(error);
  }
}

export async function signOut(): Promise<void> {
  try {
    await api.signOut();
    me.value = null;
  } catch (error) {
    sessionTrouble.value = refusal(error);
  }
}

document.addEventListener("visibilitychange", () => {
  // Signed in meanwhile in another tab: this one goes on where it was, with what was typed.
  if (document.visibilityState === "visible" && me.value === null) void checkSession();
});
