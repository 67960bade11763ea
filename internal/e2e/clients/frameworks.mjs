// An agent of a framework: frameworks.mjs FRAMEWORK TRANSPORT TARGET MODEL-API. It reads
// lines of JSON from stdin, one prompt at a time, and writes lines:
//
//   in   "a prompt"               that the agent is to act on
//        {"abort": true}          ends the run for the prompt
//   out  {"ready": true}          once, when connected
//        {"progress": "…"}        what a tool reports to a framework that shows progress
//        {"text": "…"}            what the agent says in the end
//        {"error": "…"}           why its run failed
//
// The model behind MODEL-API decides which tools to call; see frameworks_test.go.
import { createInterface } from 'node:readline';

const [framework, transport, target, modelAPI] = process.argv.slice(2);
const url = path => new URL(target + path);
const env = process.env;

// byTransport picks the entry of the transport; one that is a function is called.
const byTransport = choices => choices[transport]();

const frameworks = {
	async langchain() {
		const { MultiServerMCPClient } = await import('@langchain/mcp-adapters');
		const { createReactAgent } = await import('@langchain/langgraph/prebuilt');
		const { ChatOpenAI } = await import('@langchain/openai');
		const client = new MultiServerMCPClient({
			onProgress: progress => say({ progress: progress.message }),
			mcpServers: {
				ollama: byTransport({
					stdio: () => ({ transport: 'stdio', command: target, args: [], env }),
					http: () => ({ transport: 'http', url: url('/mcp').href }),
					sse: () => ({ transport: 'sse', url: url('/sse').href }),
				}),
			},
		});
		const llm = new ChatOpenAI({ model: 'recorder', apiKey: 'none', configuration: { baseURL: modelAPI + '/v1' } });
		const agent = createReactAgent({ llm, tools: await client.getTools() });
		return {
			run: async (prompt, signal) =>
				(await agent.invoke({ messages: [{ role: 'user', content: prompt }] }, { signal })).messages.at(-1).content,
			close: () => client.close(),
		};
	},

	async 'ai-sdk'() {
		const { createMCPClient } = await import('@ai-sdk/mcp');
		const { Experimental_StdioMCPTransport: Stdio } = await import('@ai-sdk/mcp/mcp-stdio');
		const { generateText, stepCountIs } = await import('ai');
		const client = await createMCPClient({
			transport: byTransport({
				stdio: () => new Stdio({ command: target, env }),
				http: () => ({ type: 'http', url: url('/mcp').href }),
				sse: () => ({ type: 'sse', url: url('/sse').href }),
			}),
		});
		const [model, tools] = [await aiModel(), await client.tools()];
		return {
			run: async (prompt, abortSignal) => (await generateText({ model, tools, prompt, abortSignal, stopWhen: stepCountIs(3) })).text,
			close: () => client.close(),
		};
	},

	'openai-agents': () => openAIAgents('OpenAIChatCompletionsModel'),
	'openai-agents-responses': () => openAIAgents('OpenAIResponsesModel'),

	async mastra() {
		const { MCPClient } = await import('@mastra/mcp');
		const { Agent } = await import('@mastra/core/agent');
		const client = new MCPClient({
			servers: {
				ollama: byTransport({
					stdio: () => ({ command: target, args: [], env, enableProgressTracking: true }),
					http: () => ({ url: url('/mcp'), enableProgressTracking: true }),
				}),
			},
		});
		await client.progress.onUpdate('ollama', progress => say({ progress: progress.message }));
		const agent = new Agent({
			id: 'agent', name: 'agent', instructions: 'Call tools.', model: await aiModel(), tools: await client.listTools(),
		});
		return {
			run: async (prompt, abortSignal) => (await agent.generate(prompt, { maxSteps: 3, abortSignal })).text,
			close: () => client.disconnect(),
		};
	},

	async genai() {
		const { GoogleGenAI, mcpToTool } = await import('@google/genai');
		const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
		const { SSEClientTransport } = await import('@modelcontextprotocol/sdk/client/sse.js');
		const { StdioClientTransport } = await import('@modelcontextprotocol/sdk/client/stdio.js');
		const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
		const client = new Client({ name: 'e2e', version: '1' });
		await client.connect(byTransport({
			stdio: () => new StdioClientTransport({ command: target, env }),
			http: () => new StreamableHTTPClientTransport(url('/mcp')),
			sse: () => new SSEClientTransport(url('/sse')),
		}));
		const ai = new GoogleGenAI({ apiKey: 'none', httpOptions: { baseUrl: modelAPI } });
		// The framework passes neither on, but the client is ours.
		const callTool = client.callTool.bind(client);
		let signal;
		client.callTool = (params, schema, options) =>
			callTool(params, schema, { ...options, signal, onprogress: progress => say({ progress: progress.message }) });
		return {
			run: async (prompt, abortSignal) => {
				signal = abortSignal;
				const config = { tools: [mcpToTool(client)], abortSignal };
				return (await ai.models.generateContent({ model: 'recorder', contents: prompt, config })).text;
			},
			close: () => client.close(),
		};
	},
};

// openAIAgents makes an agent whose model is asked through one of OpenAI's two APIs.
async function openAIAgents(api) {
	const { Agent, MCPServerSSE, MCPServerStdio, MCPServerStreamableHttp, run, setTracingDisabled, ...models } = await import('@openai/agents');
	const { default: OpenAI } = await import('openai');
	setTracingDisabled(true);
	const server = byTransport({
		stdio: () => new MCPServerStdio({ name: 'ollama', command: target, args: [], env }),
		http: () => new MCPServerStreamableHttp({ name: 'ollama', url: url('/mcp').href }),
		sse: () => new MCPServerSSE({ name: 'ollama', url: url('/sse').href }),
	});
	await server.connect();
	const model = new models[api](new OpenAI({ apiKey: 'none', baseURL: modelAPI + '/v1' }), 'recorder');
	const agent = new Agent({ name: 'agent', model, mcpServers: [server] });
	return {
		run: async (prompt, signal) => (await run(agent, prompt, { signal })).finalOutput,
		close: () => server.close(),
	};
}

async function aiModel() {
	const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible');
	return createOpenAICompatible({ name: 'recorder', apiKey: 'none', baseURL: modelAPI + '/v1' })('recorder');
}

const say = event => process.stdout.write(JSON.stringify(event) + '\n');

const agent = await frameworks[framework]();
say({ ready: true });
let abort;
for await (const line of createInterface({ input: process.stdin })) {
	const order = JSON.parse(line);
	if (order.abort) {
		abort.abort();
		continue;
	}
	abort = new AbortController();
	agent.run(order, abort.signal).then(text => say({ text: String(text) }), error => say({ error: String(error.stack ?? error) }));
}
await agent.close();
process.exit(0);
