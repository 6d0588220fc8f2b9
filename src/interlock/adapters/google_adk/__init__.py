"""Google ADK: a gate at every tool of a runner, and a pause of the session while a person decides.

1. `GatePlugin` stands in the runner, so that it meets every tool of every agent there, those included that
   appear while it runs and those of agents that run as tools. It puts the gate at the tool's own `run_async`,
   inside of every callback: what is proposed are the arguments that would run, and what runs are the approved
   ones. `gated` does the same to one tool, for code that calls it by itself.
2. A held call is a request for confirmation, as ADK knows it. Its answer carries no approval: whenever a call
   goes on, the gate is asked by the action's id. A yes to what still waits is refused before anything is
   written; a no is taken at its word and withdraws what has not run.
3. A call is named by session, invocation and function call. Whatever repeats it (a second resume, a resumed
   invocation, a process that took over) finds the same action; the claim runs it once, and the others wait
   for its result.
4. Inside an agent that runs as a tool nothing can pause, since it ends with the call: its model is told, and
   the same call attaches to what waits.
5. Each proposal keeps its place as the agent's checkpoint: `go_on` finds the session that waits for an action
   from any process that has the runner and the gate.
6. A refusal is the call's response, with `error`. ADK cancels the other calls of a turn when one raises, so
   no answer of the gate is raised; what the tool raises reaches the framework as without a gate.
7. With `sessions=True` what the user says and tools give back is recorded (`recording.py`).
8. What changes only which agent speaks next (transfer, the end of a loop or a task) is no tool: it passes, if
   it is ADK's own. Tools that the model's provider runs, code executors and live runs are refused.
"""

try:
    from interlock.adapters.google_adk.plugin import GatePlugin
    from interlock.adapters.google_adk.resuming import go_on
    from interlock.adapters.google_adk.tools import gated, question_tool
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "google":
        raise
    raise ImportError("Google ADK is not installed here: pip install 'interlock[google-adk]'") from error

__all__ = ["GatePlugin", "gated", "go_on", "question_tool"]
