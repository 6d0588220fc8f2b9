/**
 * News from the server, through one connection for all tabs.
 *
 * 1. Browsers allow six HTTP/1.1 connections to a host: one stream a tab would hang the seventh. The tab that
 *    holds the Web Lock listens and passes on what it hears; when it goes, the next one takes over.
 * 2. An event is only a hint to look again. What a page shows always comes from a GET.
 * 3. The state is said in words. A tab that hears nothing from the listening one for half a minute does not
 *    call itself live.
 * 4. Where Web Locks do not exist (plain HTTP on another host) every tab listens for itself.
 */

import { computed, effect, signal } from "@preact/signals";
import { clock } from "./clock";
import { checkSession, me } from "./session";
import type { Entry } from "./wire";

type Message =
  | { kind: "entry"; entry: Entry }
  | { kind: "state"; connected: boolean; at: number }
  | { kind: "again" }
  | { kind: "ask" };

const BEAT_MS = 10_000;
const SILENT_MS = 30_000;
const RETRY_MS = 4_000;

const connected = signal(false);
/** When this browser last knew that it was up to date. */
const heardAt = signal<number | null>(null);

export const liveWords = computed(() => {
  if (connected.value) return "Live";
  return heardAt.value === null ? "Connecting" : `Reconnecting, last update ${clock(heardAt.value)}`;
});
export const isLive = computed(() => connected.value);

/** `null` means: something may have been missed, look at everything again. */
type Listener = (entry: Entry | null) => void;
const listeners = new Set<Listener>();

export function onNews(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(entry: Entry | null): void {
  for (const listener of [...listeners]) listener(entry);
}

const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("interlock-news") : null;

function post(message: Message): void {
  channel?.postMessage(message);
}

let source: EventSource | null = null;
let lastBeat = 0;

function setConnected(now: boolean): void {
  connected.value = now;
  if (now) heardAt.value = Date.now();
}

function listen(): void {
  source = new EventSource("/v1/events");
  source.onopen = () => {
    const missed = heardAt.value !== null;
    setConnected(true);
    post({ kind: "state", connected: true, at: Date.now() });
    if (missed) {
      tell(null);
      post({ kind: "again" });
    }
  };
  source.addEventListener("entry", (event) => {
    heardAt.value = Date.now();
    const entry = JSON.parse((event as MessageEvent<string>).data) as Entry;
    tell(entry);
    post({ kind: "entry", entry });
  });
  source.onerror = () => {
    setConnected(false);
    post({ kind: "state", connected: false, at: heardAt.value ?? Date.now() });
    // The browser retries a dropped stream by itself, but gives up on an HTTP error.
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => {
        void checkSession().then(() => {
          if (me.value && holding && !source) listen();
        });
      }, RETRY_MS);
    }
  };
}

let holding = false;

function hold(): Promise<never> {
  holding = true;
  listen();
  setInterval(() => {
    if (connected.value) {
      heardAt.value = Date.now();
      post({ kind: "state", connected: true, at: Date.now() });
    }
  }, BEAT_MS);
  return new Promise<never>(() => undefined);
}

if (channel) {
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (data.kind === "ask") {
      if (holding) post({ kind: "state", connected: connected.value, at: heardAt.value ?? Date.now() });
      return;
    }
    if (holding) return;
    lastBeat = Date.now();
    if (data.kind === "entry") {
      heardAt.value = Date.now();
      tell(data.entry);
    } else if (data.kind === "again") {
      tell(null);
    } else {
      connected.value = data.connected;
      heardAt.value = data.at;
    }
  };
}

setInterval(() => {
  if (!holding && connected.value && Date.now() - lastBeat > SILENT_MS) connected.value = false;
}, BEAT_MS);

document.addEventListener("visibilitychange", () => {
  // A tab that slept looks again when it is looked at.
  if (document.visibilityState === "visible" && me.value) tell(null);
});

let started = false;

effect(() => {
  if (!me.value) {
    source?.close();
    source = null;
    connected.value = false;
    return;
  }
  if (!started) {
    started = true;
    if (navigator.locks && channel) {
      void navigator.locks.request("interlock-news", hold);
      post({ kind: "ask" });
    } else {
      void hold();
    }
  } else if (holding && !source) {
    listen();
  }
});
