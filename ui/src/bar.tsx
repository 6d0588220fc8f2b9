/** The bar that decides: a status, Reject, Approve, More. */

import type { RefObject } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { QUIET_MS, quietFor } from "./keys";
import { announce } from "./parts";
import { recovery } from "./recovery";
import { me } from "./session";
import type { Detail } from "./wire";

interface BarProps {
  shown: Detail;
  changed: boolean;
  busy: boolean;
  approve: RefObject<HTMLButtonElement | null>;
  onApprove: () => void;
  onOpen: (what: "reject" | "edit" | "respond") => void;
  onShowCurrent: () => void;
}

export function Bar({ shown, changed, busy, approve, onApprove, onOpen, onShowCurrent }: BarProps) {
  const [quiet, setQuiet] = useState(true);
  const [hint, setHint] = useState("");
  const status = useId();

  useEffect(() => {
    const timer = setTimeout(() => setQuiet(false), quietFor() || QUIET_MS);
    return () => clearTimeout(timer);
  }, []);

  const question = shown.action.executor === "question";
  const recovering = recovery.value?.required === true;
  const blocked = recovering
    ? "Nothing can be changed until the ledger is recovered."
    : changed
      ? "This changed. Show the current version first."
      : !(question ? shown.can.respond : shown.can.approve)
        ? (shown.can.why_not ?? "You may not approve this.")
        : null;
  const words = busy
    ? "Sending…"
    : (blocked ??
      (question
        ? "The agent reads your answer; nothing runs by it."
        : hint ||
          (me.value?.solo ? "Approving runs exactly this, once. Marked solo." : "Approving runs exactly this, once.")));

  const press = (): void => {
    if (busy || quiet) return;
    if (blocked) announce(blocked);
    else if (question) onOpen("respond");
    else onApprove();
  };
  const notEnter = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || question) return;
    event.preventDefault();
    setHint("Press Space to approve; Enter does not.");
  };

  return (
    <div class="bar" role="group" aria-label="Decision">
      <p class={blocked ? "status blocked" : "status"} id={status} role="status">
        {words}
      </p>
      <div class="bar-buttons">
        {changed ? (
          <button type="button" onClick={onShowCurrent}>
            Show current
          </button>
        ) : null}
        {shown.can.reject && !changed && !recovering ? (
          <button type="button" class="reject" onClick={() => onOpen("reject")}>
            Reject
          </button>
        ) : null}
        <button
          type="button"
          class={quiet && !blocked ? "approve primary arming" : "approve primary"}
          ref={approve}
          aria-disabled={blocked !== null || quiet || busy}
          aria-describedby={status}
          onClick={press}
          onKeyDown={notEnter}
        >
          {question ? "Answer" : "Approve"}
        </button>
        {shown.can.edit && !changed && !recovering ? <More onEdit={() => onOpen("edit")} /> : null}
      </div>
    </div>
  );
}

function More({ onEdit }: { onEdit: () => void }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const toggle = useRef<HTMLButtonElement>(null);
  const list = useId();

  useEffect(() => {
    if (!open) return;
    const away = (event: PointerEvent): void => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      setOpen(false);
      toggle.current?.focus();
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("keydown", escape);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("keydown", escape);
    };
  }, [open]);

  return (
    <div class="more" ref={box}>
      <button type="button" ref={toggle} aria-expanded={open} aria-controls={list} onClick={() => setOpen(!open)}>
        More
      </button>
      <div class="more-list" id={list} hidden={!open}>
        <button
          type="button"
          onClick={() => {
            setOpen(false);
            onEdit();
          }}
        >
          Edit the arguments
        </button>
      </div>
    </div>
  );
}
