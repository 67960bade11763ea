// Runs a piece of code for agents, which it reads from stdin, and prints what came of it: the
// result of a call, the text of an agent, or else the names of the tools. The code finds the
// names that it uses but does not make: snippet.mjs MODEL-API MODEL.
import { text as readAll } from 'node:stream/consumers';
import { createMCPClient } from '@ai-sdk/mcp';
import { Experimental_StdioMCPTransport as StdioMCPTransport } from '@ai-sdk/mcp/mcp-stdio';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { mcpToTool } from '@google/genai';
import { createReactAgent } from '@langchain/langgraph/prebuilt';
import { MultiServerMCPClient } from '@langchain/mcp-adapters';
import { ChatOpenAI } from '@langchain/openai';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { Agent, MCPServerStdio } from '@openai/agents';
import { generateText, stepCountIs } from 'ai';

const [modelAPI, name] = process.argv.slice(2);
const withoutTools = ({ tools, tool_choice, ...body }) => body; // which the small models of the tests do not take
const given = {
	Agent, Client, MCPServerStdio, MultiServerMCPClient, StdioClientTransport, StdioMCPTransport,
	createMCPClient, createReactAgent, generateText, mcpToTool, stepCountIs,
	signal: new AbortController().signal,
	llm: new ChatOpenAI({ model: name, apiKey: 'none', configuration: { baseURL: modelAPI } }),
	model: createOpenAICompatible({ name: 'ollama', apiKey: 'none', baseURL: modelAPI, transformRequestBody: withoutTools })(name),
};
const report = `
const connected = typeof server === 'undefined' ? client : server;
const said = typeof result !== 'undefined' ? result.content[0].text
	: typeof text !== 'undefined' ? text
	: await (connected.getTools ?? connected.listTools).call(connected).then(all => (all.tools ?? all).map(tool => tool.name).join(' '));
await connected.close();
return said;`;
const code = await readAll(process.stdin);
const Code = (async () => {}).constructor;
console.log(await new Code(...Object.keys(given), code + report)(...Object.values(given)));
process.exit(0);
