// A client of an MCP SDK, driven over stdin and stdout: one JSON object a line,
// which of them belong together the id says.
//
//   in   {"id": 1, "list": true}
//        {"id": 2, "call": "generate", "arguments": {…}}
//        {"id": 2, "cancel": true}
//        {"id": 3, "use": "getPrompt", "with": {…}}       any other method of the client
//   out  {"ready": {"version": …}}            once, when connected
//        {"id": 1, "tools": [NAME…]}          or an error
//        {"id": 2, "progress": {…}}           as often as it comes
//        {"id": 2, "result": {…}}             or an error
//        {"id": 3, "answer": {…}}             or an error
//        {"id": 2, "error": {"code": …, "message": …}}    the code of HTTP, the protocol or the SDK
//        {"trouble": "…"}                     what the SDK complains of by itself
//
// Its user agrees to whatever a tool asks if AGREES is "yes", and else declines. It leaves at
// the end of stdin.
import { createInterface } from 'node:readline';

const say = event => process.stdout.write(JSON.stringify(event) + '\n');

// user answers the questions that tools ask.
export const user = async () => process.env.AGREES === 'yes' ? { action: 'accept', content: { confirm: true } } : { action: 'decline' };

// drive connects the client. call is callTool without what the SDKs disagree on.
export async function drive(client, transport, call) {
	client.onerror = error => say({ trouble: String(error.stack ?? error) });
	await client.connect(transport);
	say({ ready: { version: client.getNegotiatedProtocolVersion?.() } });

	const inFlight = new Map();
	const begin = (id, work) => {
		const abort = new AbortController();
		inFlight.set(id, abort);
		work(abort.signal)
			.catch(error => ({ error: { code: error.status ?? error.code, message: error.message } }))
			.then(answer => say({ id, ...answer }))
			.finally(() => inFlight.delete(id));
	};
	for await (const line of createInterface({ input: process.stdin })) {
		const order = JSON.parse(line);
		const { id } = order;
		if (order.cancel) {
			inFlight.get(id)?.abort('the user has had enough');
		} else if (order.list) {
			begin(id, async () => ({ tools: (await client.listTools()).tools.map(tool => tool.name) }));
		} else if (order.use) {
			begin(id, async signal => ({ answer: await client[order.use](order.with, { signal }) }));
		} else {
			begin(id, async signal => ({
				result: await call({ name: order.call, arguments: order.arguments }, {
					signal,
					timeout: 600_000, // of the SDK, which would be a minute
					onprogress: progress => say({ id, progress }),
				}),
			}));
		}
	}
	await client.close();
}
