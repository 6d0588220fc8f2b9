"""LangChain and LangGraph: a gate at the tool, and a pause of the graph while a person decides.

1. `gated` puts a gate around one tool; `GateMiddleware` around every tool of an agent, those included that
   appear while it runs. Both stand at the tool itself: what is proposed are the arguments that would run,
   after every middleware and after the tool's own schema has read them; what runs are the approved ones, read
   by that schema once more. Arguments that a graph injects (state, store, runtime) are no part of the action.
2. A held call is an ``interrupt()``. What a resume value says is never looked at: whenever the graph goes on,
   the gate is asked by the action's id, and a call that still waits interrupts again.
3. A call is named by thread, message and tool call. A node that is executed again, a second resume and a
   replayed checkpoint find the same action; the claim runs it once, and the others get its result.
4. Where a graph keeps no thread nothing can pause: the model is told, and the same call attaches to what
   waits. Code that calls a gated tool by itself, without a tool call, gets the exception.
5. Each proposal keeps its thread as the agent's checkpoint: `go_on` finds the thread that waits for an
   action, from any process that has the graph and the gate.
6. A refusal is a tool message with status ``error``. What is nobody's answer (the gate cannot be reached,
   somebody else runs it just now, a kill switch is on) is raised and ends the run; nothing was written to
   the thread, so the run can go on from there.
7. What a tool raises reaches the framework as without a gate; the action is then in doubt, unless the tool
   only reads or raises `NoEffect`. A tool that interrupts in the middle of its work cannot be gated.
"""

try:
    from interlock.adapters.langchain.middleware import GateMiddleware
    from interlock.adapters.langchain.resuming import go_on, go_on_async
    from interlock.adapters.langchain.tools import GatedTool, gated, question_tool
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("langchain", "langchain_core", "langgraph"):
        raise
    raise ImportError("LangChain is not installed here: pip install 'interlock[langchain]'") from error

__all__ = ["GateMiddleware", "GatedTool", "gated", "go_on", "go_on_async", "question_tool"]
