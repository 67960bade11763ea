// The TypeScript SDK v2: typescript-v2.mjs TRANSPORT TARGET MODE. The mode is
// legacy, or auto for the latest protocol that the server knows. See drive.mjs.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { drive, user } from './drive.mjs';

const transports = {
	stdio: program => new StdioClientTransport({ command: program, env: process.env, stderr: 'inherit' }),
	http: url => new StreamableHTTPClientTransport(new URL(url + '/mcp')),
	sse: url => new SSEClientTransport(new URL(url + '/sse')),
};

const [transport, target, mode] = process.argv.slice(2);
const client = new Client({ name: 'e2e', version: '1' }, { versionNegotiation: { mode }, capabilities: { elicitation: {} } });
client.setRequestHandler('elicitation/create', user);
await drive(client, transports[transport](target), (params, options) => client.callTool(params, options));
