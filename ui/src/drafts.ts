/** What a reviewer has typed, kept per request: a refusal, a new version or a closed dialog loses nothing. */

export interface Draft {
  code: string;
  note: string;
  /** Edited fields as typed, by name. */
  fields: Record<string, string>;
}

const drafts = new Map<string, Draft>();

export function draft(id: string): Draft {
  let found = drafts.get(id);
  if (!found) {
    found = { code: "", note: "", fields: {} };
    drafts.set(id, found);
  }
  return found;
}

/** What was typed about a version that is gone, taken along to the one in its place. */
export function carry(from: string, to: string): void {
  const typed = drafts.get(from);
  if (!typed || from === to) return;
  drafts.delete(from);
  drafts.set(to, typed);
}

export function forget(id: string): void {
  drafts.delete(id);
}
