/** The desktop inbox's right side: enough to know what waits, and deliberately no way to decide it. */

import { useEffect, useState } from "preact/hooks";
import { api, refusal } from "./api";
import { Changes } from "./changes";
import { Due } from "./clock";
import { Impact } from "./impact";
import { Link } from "./route";
import { Plain } from "./text";
import type { Detail } from "./wire";

const WIDE = matchMedia("(min-width: 68rem)");
/** Moving through the list with a key should not ask for every row on the way. */
const PAUSE_MS = 120;

export function Preview({ id }: { id: string | null }) {
  const [detail, setDetail] = useState<Detail | null>(null);
  const [words, setWords] = useState("");
  const [wide, setWide] = useState(WIDE.matches);

  useEffect(() => {
    const follow = (): void => setWide(WIDE.matches);
    WIDE.addEventListener("change", follow);
    return () => WIDE.removeEventListener("change", follow);
  }, []);

  useEffect(() => {
    if (!id || !wide) return;
    let stale = false;
    setWords("");
    const timer = setTimeout(() => {
      api.approval(id).then(
        (found) => {
          if (!stale) setDetail(found);
        },
        (error: unknown) => {
          if (!stale) setWords(refusal(error).message);
        },
      );
    }, PAUSE_MS);
    return () => {
      stale = true;
      clearTimeout(timer);
    };
  }, [id, wide]);

  if (!wide || !id) return null;
  if (detail?.id !== id) {
    return (
      <aside class="preview" aria-label="Preview">
        <p class="quiet-words">{words || "…"}</p>
      </aside>
    );
  }
  return (
    <aside class="preview" aria-label="Preview">
      <div class="preview-head">
        <p class="eyebrow">Preview</p>
        <Link to={`/a/${detail.id}`} class="button">
          Open to decide
        </Link>
      </div>
      <h2>
        <Plain text={detail.title} />
      </h2>
      <p>
        <Due at={detail.due_at} item={detail} />
      </p>
      <Impact detail={detail} small />
      <p class="held-because">
        <b>Held because</b> {detail.why.reason}
      </p>
      <Changes changes={detail.changes} id="preview-change" />
    </aside>
  );
}
