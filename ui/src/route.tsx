/** Which page is shown. The address bar is the only state; Back and Forward work; links are real links. */

import { computed, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";

const place = signal({ path: location.pathname, query: location.search });

export const route = computed(() => {
  const { path, query } = place.value;
  const decision = /^\/a\/((?:apr|act)_[A-Za-z0-9_-]+)$/.exec(path);
  if (decision?.[1]) return { page: "decision" as const, id: decision[1] };
  if (path === "/stop") return { page: "stop" as const };
  if (path === "/tools") return { page: "tools" as const };
  if (path === "/sign-in") return { page: "sign-in" as const };
  if (path === "/") {
    const resolved = new URLSearchParams(query).get("show") === "resolved";
    return { page: "inbox" as const, show: resolved ? ("resolved" as const) : ("held" as const) };
  }
  return { page: "lost" as const };
});

function look(): void {
  place.value = { path: location.pathname, query: location.search };
}

addEventListener("popstate", look);

export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  look();
  if (!replace) scrollTo(0, 0);
}

interface LinkProps {
  to: string;
  class?: string;
  label?: string;
  current?: boolean;
  onFocus?: () => void;
  children: ComponentChildren;
}

export function Link({ to, label, current, children, ...rest }: LinkProps) {
  const follow = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={to} onClick={follow} aria-label={label} aria-current={current ? "page" : undefined} {...rest}>
      {children}
    </a>
  );
}
