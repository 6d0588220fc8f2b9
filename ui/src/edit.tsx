/**
 * Editing the arguments, each in the type it has: a decimal stays the text it was, a number a number, an
 * object JSON. What comes out is the full set of arguments; the policy looks at all of them again.
 */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { draft } from "./drafts";
import { Sheet, Warning } from "./parts";
import { Plain, Value, pieces } from "./text";
import type { Detail, Json } from "./wire";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const INTEGER = /^-?\d+$/;

type Kind = "text" | "long" | "number" | "yesno" | "json";

function kindOf(value: Json): Kind {
  if (typeof value === "string") return value.length > 60 || value.includes("\n") ? "long" : "text";
  if (typeof value === "number") return "number";
  return typeof value === "boolean" ? "yesno" : "json";
}

function written(value: Json): string {
  if (typeof value === "string") return value;
  return kindOf(value) === "json" ? JSON.stringify(value, null, 2) : String(value);
}

/** The typed text as a value of the kind the argument had; throws a sentence when it is not one. */
function parsed(text: string, was: Json): Json {
  switch (kindOf(was)) {
    case "text":
    case "long":
      return text;
    case "yesno":
      return text === "true";
    case "number": {
      const trimmed = text.trim();
      if (!NUMBER.test(trimmed)) throw new Error("This is a number, written like 1200 or 12.5.");
      const value = Number(trimmed);
      if (!Number.isFinite(value) || (INTEGER.test(trimmed) && !Number.isSafeInteger(value))) {
        throw new Error("This number is too large to be carried exactly.");
      }
      return value;
    }
    case "json":
      try {
        return JSON.parse(text) as Json;
      } catch {
        throw new Error("This is not JSON. Texts stand in double quotes, and the last item has no comma after it.");
      }
  }
}

interface EditProps {
  detail: Detail;
  solo: boolean;
  open: boolean;
  busy: boolean;
  /** A field the server refused, with what it said. */
  refusedField: { path: string; words: string } | null;
  trouble: ComponentChildren;
  onClose: () => void;
  onEdit: (args: Record<string, Json>, note: string) => void;
}

export function Edit({ detail, solo, open, busy, refusedField, trouble, onClose, onEdit }: EditProps) {
  const kept = draft(detail.id);
  const prefix = useId();
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [, redraw] = useState(0);
  const order = detail.changes.map(({ field }) => field).filter((field) => field in detail.args);
  const names = [...order, ...Object.keys(detail.args).filter((name) => !order.includes(name))];
  const changed = names.filter((name) => {
    const was = written(detail.args[name] ?? null);
    return (kept.fields[name] ?? was) !== was;
  });

  const put = (name: string, text: string): void => {
    kept.fields[name] = text;
    if (errors[name]) setErrors({ ...errors, [name]: "" });
    redraw((n) => n + 1);
  };

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (busy) return;
    const args: Record<string, Json> = {};
    const wrong: Record<string, string> = {};
    for (const name of names) {
      const was = detail.args[name] ?? null;
      try {
        // An untouched argument is sent back as it came, not as it was written out.
        args[name] = changed.includes(name) ? parsed(kept.fields[name] ?? "", was) : was;
      } catch (error) {
        wrong[name] = (error as Error).message;
      }
    }
    if (changed.length === 0) wrong[""] = "Nothing is changed yet.";
    setErrors(wrong);
    const first = names.find((name) => wrong[name]);
    if (first !== undefined) document.getElementById(`${prefix}-${names.indexOf(first)}`)?.focus();
    else if (!wrong[""]) onEdit(args, kept.note.trim());
  };

  return (
    <Sheet title="Edit" open={open} onClose={onClose} wide>
      <p class="subject">
        <Plain text={detail.title} />
      </p>
      <p>
        This makes revision {detail.revision + 1}, which goes through the policy again.{" "}
        {solo ? "You will be asked to approve the new revision." : "Another person approves it."} Nothing runs from
        here.
      </p>
      {trouble}
      <form onSubmit={submit} noValidate>
        {names.map((name, index) => {
          const was = detail.args[name] ?? null;
          const refused = refusedField && refusedField.path.split(/[.[\]]/).includes(name) ? refusedField.words : "";
          return (
            <Field
              key={name}
              id={`${prefix}-${index}`}
              name={name}
              was={was}
              type={detail.changes.find(({ field }) => field === name)?.type ?? ""}
              text={kept.fields[name] ?? written(was)}
              changed={changed.includes(name)}
              error={errors[name] || refused}
              onPut={(text) => put(name, text)}
            />
          );
        })}
        <div class="field">
          <label for={`${prefix}-note`}>Note</label>
          <textarea
            id={`${prefix}-note`}
            rows={2}
            maxLength={2000}
            defaultValue={kept.note}
            onInput={(event) => {
              kept.note = event.currentTarget.value;
            }}
          />
        </div>
        {errors[""] ? (
          <p class="error" role="alert">
            {errors[""]}
          </p>
        ) : null}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" aria-disabled={busy}>
            {busy ? "Sending…" : `Make revision ${detail.revision + 1}`}
          </button>
        </div>
      </form>
    </Sheet>
  );
}

interface FieldProps {
  id: string;
  name: string;
  was: Json;
  /** The catalogue's name for its type, where there is one. */
  type: string;
  text: string;
  changed: boolean;
  error: string;
  onPut: (text: string) => void;
}

const KIND_WORDS: Record<Kind, string> = {
  text: "text",
  long: "text",
  number: "number",
  yesno: "yes or no",
  json: "JSON",
};

function Field({ id, name, was, type, text, changed, error, onPut }: FieldProps) {
  const kind = kindOf(was);
  const hint = `${id}-hint`;
  const common = { id, "aria-describedby": hint, "aria-invalid": error !== "" };
  const odd = kind !== "yesno" && pieces(text).some((piece) => piece.kind !== "plain");
  return (
    <div class="field">
      {kind === "yesno" ? (
        <label class="tick" for={id}>
          <input
            type="checkbox"
            {...common}
            checked={text === "true"}
            onChange={(event) => onPut(String(event.currentTarget.checked))}
          />
          <span>
            <Plain text={name} />
          </span>
        </label>
      ) : (
        <label for={id}>
          <Plain text={name} /> <span class="kind">{type && type !== "string" ? type : KIND_WORDS[kind]}</span>
        </label>
      )}
      {kind === "text" || kind === "number" ? (
        <input
          type="text"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          inputMode={kind === "number" || type === "decimal" ? "decimal" : undefined}
          {...common}
          value={text}
          onInput={(event) => onPut(event.currentTarget.value)}
        />
      ) : null}
      {kind === "long" || kind === "json" ? (
        <textarea
          rows={Math.min(10, text.split("\n").length + 1)}
          spellcheck={kind === "long"}
          class={kind === "json" ? "code" : ""}
          {...common}
          value={text}
          onInput={(event) => onPut(event.currentTarget.value)}
        />
      ) : null}
      <div id={hint}>
        {error ? <p class="error">{error}</p> : null}
        {changed ? (
          <p class="hint">
            Was: <Value value={was} />
          </p>
        ) : null}
        {odd ? (
          <Warning>
            Contains characters that deceive: <Plain text={text} />
          </Warning>
        ) : null}
      </div>
    </div>
  );
}
