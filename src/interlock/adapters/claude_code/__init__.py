"""Claude Code and the Claude Agent SDK: every tool call goes through the gate, by hooks in its settings.

1. Claude Code runs ``interlock hook`` before a tool (PreToolUse), where it would ask somebody
   (PermissionRequest), and after the tool (PostToolUse, PostToolUseFailure). The hook proposes the call,
   claims it where it may run, and answers; Claude Code runs the tool; the hook reports what it is told.
2. The hook fails closed. Claude Code runs a tool whose hook fails in any way but one: exit code 2. So every
   failure of ours ends with that code, a wrapper in the settings turns all others into it (`settings`), and a
   clock ends what takes too long.
3. Once: whoever answers "allow" holds the claim. The same tool call asked about again (a resumed session, two
   at a time) finds its action and does not run again; what a person approved runs for one call only.
4. A call that waits is found again by session, tool and arguments: the model repeats it under a new id, and
   attaches to the same request. A person's rejection stands for that call in that session.
5. The tool's end is known from the report that Claude Code's hook brings. Where none comes before the lease
   ends (killed, refused by its own rules afterwards), the action is in doubt.
6. Claude Code and the agent's commands are processes of one user. This protects from a misled model, not from
   code that the model was let to run: see ``docs/integrations/claude-code.md``.

The hook is started for each call: `hook` and what it imports stay small, and speak HTTP with the standard
library alone.
"""
