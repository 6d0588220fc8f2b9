/**
 * The page of foreign servers' tools: what each server says of them, and accepting it.
 *
 * 1. All of a definition is shown: what is not shown is where somebody would hide something. What changed
 *    stands beside what was accepted before.
 * 2. Accepting names the hashes of what stands on this screen. Where a server says something else by then, it
 *    is refused, and the page looks again.
 * 3. Whoever may not accept still sees everything, and who may.
 */

import { useEffect, useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { clock } from "./clock";
import { announce, Trouble } from "./parts";
import { me } from "./session";
import { Plain, Value } from "./text";
import { count } from "./words";
import type { Json, Tool, Tools as Listed } from "./wire";

export function Tools() {
  const [found, setFound] = useState<Listed | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const [busy, setBusy] = useState(false);

  const look = async (): Promise<void> => {
    try {
      setFound(await api.tools());
    } catch (error) {
      setRefused(refusal(error));
    }
  };
  useEffect(() => {
    document.title = "Tools · Interlock";
    void look();
  }, []);

  const accept = async (tools: Tool[]): Promise<void> => {
    if (busy) return;
    setBusy(true);
    setRefused(null);
    try {
      const done = await api.acceptTools(Object.fromEntries(tools.map((tool) => [tool.topic, tool.hash])));
      announce(`${count(done.accepted.length, "tool is", "tools are")} accepted.`);
    } catch (error) {
      setRefused(refusal(error));
    }
    await look();
    setBusy(false);
  };

  const by = (id: string): string => found?.may.find((person) => person.id === id)?.name ?? id;
  const servers = [...new Set(found?.tools.map((tool) => tool.server))];
  const may = found?.may.some((person) => person.id === me.value?.person.id) ?? false;
  return (
    <main class="stops tools">
      <div class="opening">
        <h1>Tools</h1>
        <p class="quiet-words">
          What servers behind the MCP gateway say of their tools is written for the model, by somebody else. A tool is
          called only while somebody has accepted every word of it.
        </p>
      </div>
      {refused ? <Trouble refused={refused} retry={() => void look()} /> : null}
      {found && !may ? <Nobody found={found} /> : null}
      {found && servers.length === 0 ? (
        <p>No server's tools were seen yet. They are, when a client of the gateway lists them.</p>
      ) : null}
      {servers.map((server) => (
        <Server
          key={server}
          name={server}
          tools={found?.tools.filter((tool) => tool.server === server) ?? []}
          accept={may ? accept : null}
          busy={busy}
          by={by}
        />
      ))}
      {found || refused ? null : <p class="quiet-words">Asking the server…</p>}
    </main>
  );
}

function Nobody({ found }: { found: Listed }) {
  const names = found.may.map((person) => person.name).join(", ");
  return (
    <p>
      {names ? (
        <>
          People with the role policy-admin accept tools: <Plain text={names} />.
        </>
      ) : (
        <>
          Nobody here has the role policy-admin. On the server: <code>interlock mcp accept</code>
        </>
      )}
    </p>
  );
}

interface ServerProps {
  name: string;
  tools: Tool[];
  accept: ((tools: Tool[]) => Promise<void>) | null;
  busy: boolean;
  by: (id: string) => string;
}

function Server({ name, tools, accept, busy, by }: ServerProps) {
  const open = tools.filter((tool) => tool.standing !== "accepted");
  const done = tools.filter((tool) => tool.standing === "accepted");
  return (
    <section class="block" aria-label={`Server ${name}`}>
      <h2>
        <Plain text={name} />
      </h2>
      {open.length === 0 ? <p>Everything that it offers is accepted.</p> : null}
      <ol class="switches">
        {open.map((tool) => (
          <li key={tool.topic}>
            <article class={tool.standing === "changed" ? "switch-card" : "switch-card new-tool"}>
              <h3>
                <Plain text={tool.tool} /> {tool.standing === "changed" ? "(changed)" : "(new)"}
              </h3>
              <p class="meta">
                <Plain text={tool.topic} /> · seen {clock(tool.seen_at)} · <code>{tool.hash.slice(0, 12)}</code>
              </p>
              <Said of={tool.definition} against={tool.accepted?.definition ?? undefined} />
              {tool.accepted ? (
                <details>
                  <summary>
                    <span>
                      What was accepted {clock(tool.accepted.at)} by <Plain text={by(tool.accepted.by)} />
                    </span>
                  </summary>
                  {tool.accepted.definition ? (
                    <Said of={tool.accepted.definition} />
                  ) : (
                    <p class="quiet-words">Only its hash was kept.</p>
                  )}
                </details>
              ) : null}
              {accept && open.length > 1 ? (
                <div>
                  <button type="button" aria-disabled={busy} onClick={() => void accept([tool])}>
                    Accept <Plain text={tool.tool} />
                  </button>
                </div>
              ) : null}
            </article>
          </li>
        ))}
      </ol>
      {accept && open.length > 0 ? (
        <div>
          <button type="button" class="primary" aria-disabled={busy} onClick={() => void accept(open)}>
            {open.length === 1 ? "Accept it" : `Accept these ${open.length} tools`}
          </button>
        </div>
      ) : null}
      {done.length > 0 ? (
        <details>
          <summary>{count(done.length, "tool is", "tools are")} accepted</summary>
          {done.map((tool) => (
            <article key={tool.topic} class="said-tool">
              <h3>
                <Plain text={tool.tool} />
              </h3>
              <Said of={tool.definition} />
            </article>
          ))}
        </details>
      ) : null}
    </section>
  );
}

/** A whole definition: its description as text, all the rest as it is. */
function Said({ of: definition, against }: { of: Record<string, Json>; against?: Record<string, Json> | undefined }) {
  const { description, ...rest } = definition;
  return (
    <>
      {typeof description === "string" ? (
        <p class="said">
          <Value value={description} against={against?.description} />
        </p>
      ) : null}
      <pre class="code" tabIndex={0} role="group" aria-label="The rest of the definition">
        <Plain text={JSON.stringify(typeof description === "string" ? rest : definition, null, 2)} />
      </pre>
    </>
  );
}
