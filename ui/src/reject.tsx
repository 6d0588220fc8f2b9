/** Rejecting: always possible, always with a reason. */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { draft } from "./drafts";
import { Sheet } from "./parts";
import { Plain } from "./text";
import { REASONS } from "./words";

interface RejectProps {
  id: string;
  title: string;
  open: boolean;
  busy: boolean;
  trouble: ComponentChildren;
  onClose: () => void;
  onReject: (code: string, note: string) => void;
}

export function Reject({ id, title, open, busy, trouble, onClose, onReject }: RejectProps) {
  const kept = draft(id);
  const [missing, setMissing] = useState<"code" | "note" | null>(null);
  const code = useId();
  const note = useId();

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (busy) return;
    const lacks = !kept.code ? "code" : kept.code === "other" && !kept.note.trim() ? "note" : null;
    setMissing(lacks);
    if (lacks) document.getElementById(lacks === "code" ? code : note)?.focus();
    else onReject(kept.code, kept.note.trim());
  };

  return (
    <Sheet title="Reject" open={open} onClose={onClose}>
      <p class="subject">
        <Plain text={title} />
      </p>
      {trouble}
      <form onSubmit={submit} noValidate>
        <div class="field">
          <label for={code}>Reason</label>
          <select
            id={code}
            defaultValue={kept.code}
            aria-required="true"
            aria-invalid={missing === "code"}
            aria-describedby={missing === "code" ? `${code}-error` : undefined}
            onChange={(event) => {
              kept.code = event.currentTarget.value;
              setMissing(null);
            }}
          >
            <option value="">Choose a reason</option>
            {REASONS.map(([value, words]) => (
              <option key={value} value={value} selected={kept.code === value}>
                {words}
              </option>
            ))}
          </select>
          {missing === "code" ? (
            <p class="error" id={`${code}-error`}>
              Choose the reason that fits best.
            </p>
          ) : null}
        </div>
        <div class="field">
          <label for={note}>Note</label>
          <textarea
            id={note}
            rows={3}
            maxLength={2000}
            defaultValue={kept.note}
            aria-invalid={missing === "note"}
            aria-describedby={`${note}-hint`}
            onInput={(event) => {
              kept.note = event.currentTarget.value;
            }}
          />
          <p class={missing === "note" ? "error" : "hint"} id={`${note}-hint`}>
            {missing === "note"
              ? "Say what the reason is: you chose another one than those listed."
              : "What should have been different? The agent receives it, and it is kept with the decision."}
          </p>
        </div>
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" aria-disabled={busy}>
            {busy ? "Sending…" : "Reject"}
          </button>
        </div>
      </form>
    </Sheet>
  );
}
