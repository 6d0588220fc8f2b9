"""OpenAI Agents SDK: a gate at the tool, and a pause of the run while a person decides.

1. `gated` puts a gate around one function tool; `gated_agent` around every tool that an agent has in a
   turn, those of its MCP servers included. What is proposed are the arguments that would run, read by the
   function's own schema where there is one; what runs are the approved ones, and the tool sees no others.
2. `Runs` starts runs that can pause: a held call is an interruption of the run, whose state is kept under a
   name of its own. The proposal's checkpoint holds that name, so that `Runs.go_on` finds the run that waits
   for an action, from any process that has the agent and the gate.
3. To approve in the framework means here: ask the gate again. `Runs.go_on` does so for every call that no
   person has to decide any more, however it ended; the gate is asked by the call's name when the tool is
   reached, and says what became of it. A state that says ``approved`` by itself lets nothing run.
4. A call is named by its run and the framework's id of the call. A state that is resumed twice finds the same
   actions; the claim runs each once, and the other resume waits for its result.
5. Outside `Runs` nothing can pause: the model is told, and the identical call attaches to what waits.
6. A refusal is the tool's result, in words. What is nobody's answer (the gate cannot be reached, a kill
   switch is on) is raised and ends the run; what was kept of the run stays, and it can go on from there.
7. A failure of the tool is worded as the tool's own ``failure_error_function`` does, and says whether it may
   have taken effect; the action is then in doubt, unless the tool only reads or raises `NoEffect`.
8. With ``sessions=True`` a run is a session of the gate: what it begins with is the user's turn, and what a
   gated tool answers is recorded before the model reads it. What cannot be recorded ends the run.
"""

try:
    from interlock.adapters.openai_agents.agent import GatedAgent, gated_agent
    from interlock.adapters.openai_agents.runs import Runs
    from interlock.adapters.openai_agents.tools import GatedTool, gated, question_tool
    from interlock.adapters.saved import SavedRuns
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("agents", "openai"):
        raise
    raise ImportError(
        "The OpenAI Agents SDK is not installed here: pip install 'interlock[openai-agents]'"
    ) from error

__all__ = ["GatedAgent", "GatedTool", "Runs", "SavedRuns", "gated", "gated_agent", "question_tool"]
