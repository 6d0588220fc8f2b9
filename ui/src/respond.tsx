/** Answering an agent's question: one of its options, or words where it has none. Nothing runs by it. */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { draft } from "./drafts";
import { Sheet } from "./parts";
import { Plain } from "./text";
import type { Detail } from "./wire";

interface RespondProps {
  detail: Detail;
  open: boolean;
  busy: boolean;
  trouble: ComponentChildren;
  onClose: () => void;
  onRespond: (response: string, note: string) => void;
}

const RESPONSE = "response";

export function Respond({ detail, open, busy, trouble, onClose, onRespond }: RespondProps) {
  const kept = draft(detail.id);
  const [missing, setMissing] = useState(false);
  const field = useId();
  const note = useId();
  const given = detail.args["options"];
  const options = Array.isArray(given) ? given.filter((one): one is string => typeof one === "string") : [];

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (busy) return;
    const response = kept.fields[RESPONSE] ?? "";
    setMissing(!response.trim());
    if (response.trim()) onRespond(options.length ? response : response.trim(), kept.note.trim());
    else document.getElementById(options.length ? `${field}-0` : field)?.focus();
  };
  const type = (value: string): void => {
    kept.fields[RESPONSE] = value;
    setMissing(false);
  };

  return (
    <Sheet title="Answer" open={open} onClose={onClose}>
      <p class="subject">
        <Plain text={detail.title} />
      </p>
      {trouble}
      <form onSubmit={submit} noValidate>
        {options.length ? (
          <fieldset class="choices" aria-describedby={missing ? `${field}-error` : undefined}>
            <legend>Answer</legend>
            {options.map((option, place) => (
              <label key={option} class="tick">
                <input
                  type="radio"
                  id={`${field}-${place}`}
                  name={field}
                  value={option}
                  defaultChecked={kept.fields[RESPONSE] === option}
                  onChange={() => type(option)}
                />
                <Plain text={option} />
              </label>
            ))}
          </fieldset>
        ) : (
          <div class="field">
            <label for={field}>Answer</label>
            <textarea
              id={field}
              rows={4}
              maxLength={4000}
              defaultValue={kept.fields[RESPONSE] ?? ""}
              aria-required="true"
              aria-invalid={missing}
              aria-describedby={missing ? `${field}-error` : undefined}
              onInput={(event) => type(event.currentTarget.value)}
            />
          </div>
        )}
        {missing ? (
          <p class="error" id={`${field}-error`}>
            {options.length ? "Choose an answer." : "Write an answer."}
          </p>
        ) : null}
        <div class="field">
          <label for={note}>Note</label>
          <textarea
            id={note}
            rows={2}
            maxLength={2000}
            defaultValue={kept.note}
            aria-describedby={`${note}-hint`}
            onInput={(event) => {
              kept.note = event.currentTarget.value;
            }}
          />
          <p class="hint" id={`${note}-hint`}>
            The agent receives both, and they are kept with the decision.
          </p>
        </div>
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" aria-disabled={busy}>
            {busy ? "Sending…" : "Answer"}
          </button>
        </div>
      </form>
    </Sheet>
  );
}
