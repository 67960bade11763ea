// The TypeScript SDK v1, which most MCP hosts embed; it knows the protocol before
// 2026-07-28: typescript-v1.mjs TRANSPORT TARGET. See drive.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { drive, user } from './drive.mjs';

const transports = {
	stdio: program => new StdioClientTransport({ command: program, env: process.env, stderr: 'inherit' }),
	http: url => new StreamableHTTPClientTransport(new URL(url + '/mcp')),
	sse: url => new SSEClientTransport(new URL(url + '/sse')),
};

const [transport, target] = process.argv.slice(2);
const client = new Client({ name: 'e2e', version: '1' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, user);
await drive(client, transports[transport](target), (params, options) => client.callTool(params, undefined, options));
