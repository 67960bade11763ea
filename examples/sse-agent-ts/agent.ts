// About the smallest agent that uses an ollama-mcp over SSE, the transport of clients
// from before 2025-03-26: it lists the tools, asks a model, shows progress, and prints
// the answer.
//
//   node agent.ts "Why is the sky blue?"
//   OLLAMA_MCP_KEY=… node agent.ts --url https://models.example.com/sse --model qwen3:8b "Why is the sky blue?"
//
// The answer goes to standard output, all else to standard error. Ctrl-C cancels the
// call, and with it the work of Ollama. A server that wants a key gets the one in
// OLLAMA_MCP_KEY.
import { parseArgs } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';

type Block = { type: string; text?: string };
type Result = { isError?: boolean; content: Block[]; structuredContent?: { models?: { name: string }[] } };

const { values: options, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		url: { type: 'string', default: 'http://127.0.0.1:8383/sse' },
		model: { type: 'string' }, // the first that can chat if left out
	},
});
const question = positionals.join(' ') || 'Say hello in one sentence.';
const key = process.env.OLLAMA_MCP_KEY;

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort('interrupted'));

const client = new Client({ name: 'sse-agent-ts', version: '1' });
try {
	await client.connect(new SSEClientTransport(new URL(options.url), {
		requestInit: { headers: key ? { Authorization: `Bearer ${key}` } : {} },
	}));
	for (const tool of (await client.listTools()).tools) {
		console.error(`${tool.name}: ${tool.description}`);
	}
	const [answer, ...notes] = (await call('chat', {
		model: options.model ?? await firstModel(),
		messages: [{ role: 'user', content: question }],
	})).content;
	console.log(answer.text);
	for (const note of notes) {
		console.error(note.text);
	}
} catch (error) {
	console.error('sse-agent-ts:', (error as Error).message);
	process.exitCode = 1;
} finally {
	await client.close();
}

// firstModel is a model that can chat.
async function firstModel(): Promise<string> {
	const { structuredContent } = await call('list-models', { capability: 'completion' });
	const model = structuredContent?.models?.[0];
	if (!model) {
		throw new Error('no model that can chat is installed; try `ollama pull llama3.2`');
	}
	return model.name;
}

// call calls a tool and shows progress, which also holds off the SDK's limit of a minute.
// That the tool failed is an error, in words that say what to do about it.
async function call(name: string, args: Record<string, unknown>): Promise<Result> {
	const result = await client.callTool({ name, arguments: args }, undefined, {
		signal: interrupt.signal,
		onprogress: progress => console.error(progress.message),
		resetTimeoutOnProgress: true,
	}) as Result;
	if (result.isError) {
		throw new Error(result.content[0]?.text);
	}
	return result;
}
