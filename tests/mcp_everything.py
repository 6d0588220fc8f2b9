"""The MCP server that the protocol's conformance suite asks for, over stdio: tools, prompts, resources."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}
NAMES = (
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "test_tool_with_progress",
)


def text(said: str) -> types.TextContent:
    return types.TextContent(type="text", text=said)


def embedded(uri: str, said: str) -> types.EmbeddedResource:
    held = types.TextResourceContents(uri=uri, mime_type="text/plain", text=said)
    return types.EmbeddedResource(type="resource", resource=held)


IMAGE = types.ImageContent(type="image", data=PIXEL, mime_type="image/png")


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    tools = [
        types.Tool(name=name, description=f"For {name}.", input_schema={"type": "object"}) for name in NAMES
    ]
    schema = types.Tool(name="json_schema_2020_12_tool", description="For schemas.", input_schema=SCHEMA)
    return types.ListToolsResult(tools=[*tools, schema])


async def call_tool(ctx: Any, params: Any) -> types.CallToolResult:
    content: dict[str, list[Any]] = {
        "test_simple_text": [text("This is a simple text response for testing.")],
        "test_image_content": [IMAGE],
        "test_audio_content": [types.AudioContent(type="audio", data=SOUND, mime_type="audio/wav")],
        "test_embedded_resource": [
            embedded("test://embedded-resource", "This is an embedded resource content.")
        ],
        "test_multiple_content_types": [
            text("Multiple content types test:"),
            IMAGE,
            embedded("test://mixed-content-resource", '{"test":"data","value":123}'),
        ],
        "test_tool_with_progress": [text("done")],
    }
    if params.name == "test_error_handling":
        said = "This tool intentionally returns an error for testing"
        return types.CallToolResult(content=[text(said)], is_error=True)
    if params.name == "test_tool_with_progress":
        for step in (0, 50, 100):
            await ctx.session.report_progress(step, 100, f"step {step}")
            await asyncio.sleep(0.05)
    return types.CallToolResult(content=content[params.name])


async def list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    kinds = {"static-text": "text/plain", "static-binary": "image/png"}
    return types.ListResourcesResult(
        resources=[
            types.Resource(name=name, uri=f"test://{name}", description=f"A {name}.", mime_type=kind)
            for name, kind in kinds.items()
        ]
    )


async def list_templates(ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(name="template", uri_template="test://template/{id}/data")
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(ctx: Any, params: Any) -> types.ReadResourceResult:
    uri = str(params.uri)
    if uri == "test://static-binary":
        found: Any = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PIXEL)
    elif uri.startswith("test://template/"):
        said = f'{{"id":"{uri.split("/")[3]}","templateTest":true}}'
        found = types.TextResourceContents(uri=uri, mime_type="application/json", text=said)
    else:
        said = "This is the content of the static text resource."
        found = types.TextResourceContents(uri=uri, mime_type="text/plain", text=said)
    return types.ReadResourceResult(contents=[found])


PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
}


async def list_prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(
        prompts=[
            types.Prompt(
                name=name,
                description=f"For {name}.",
                arguments=[types.PromptArgument(name=each, description=each, required=True) for each in args],
            )
            for name, args in PROMPTS.items()
        ]
    )


async def get_prompt(ctx: Any, params: Any) -> types.GetPromptResult:
    args = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            content: list[Any] = [text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            content = [text(f"Prompt with arguments: arg1='{args.get('arg1')}', arg2='{args.get('arg2')}'")]
        case "test_prompt_with_embedded_resource":
            said = "Embedded resource content for testing."
            content = [embedded(str(args.get("resourceUri")), said), text("Please process it.")]
        case "test_prompt_with_image":
            content = [IMAGE, text("Please analyze the image above.")]
        case _:
            raise MCPError(code=types.INVALID_PARAMS, message="unknown prompt")
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=each) for each in content]
    )


async def complete(ctx: Any, params: Any) -> types.CompleteResult:
    return types.CompleteResult(
        completion=types.Completion(values=["paris", "park"], total=2, has_more=False)
    )


server = Server(
    "everything",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read_resource,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_completion=complete,
)


async def main() -> None:
    async with stdio_server() as (read, send):
        await server.run(read, send, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
