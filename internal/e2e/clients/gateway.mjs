// Programs that speak Ollama's API or OpenAI's: gateway.mjs ADDRESS. Each does what its users do
// with it, and one line of JSON says what each has got: {"name of the program": {…}}. An error is
// a result too. gateway_test.go compares what they get from Ollama and from the program before it.
const [address] = process.argv.slice(2);
const key = 'none';
const user = content => [{ role: 'user', content }];
const weather = {
	type: 'function',
	function: { name: 'get_weather', description: 'the weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
};
const outcome = async act => {
	try {
		return await act();
	} catch (e) {
		return { failed: e.message, status: e.status ?? e.status_code ?? e.statusCode };
	}
};
const joined = async (stream, text) => {
	const all = { pieces: 0, text: '' };
	for await (const piece of stream) {
		const part = text(piece);
		if (part) {
			all.pieces++;
			all.text += part;
		}
	}
	return all;
};

const programs = {
	async ollama() {
		const { Ollama } = await import('ollama');
		const client = new Ollama({ host: address });
		const fixed = { temperature: 0, seed: 1 };
		return {
			models: (await client.list()).models.map(m => [m.name, m.size, m.digest, m.details]).sort(), // by name: Ollama has no order within a second
			show: await client.show({ model: 'tiny-says' }),
			chat: await client.chat({ model: 'tiny-says', messages: user('hi') }),
			options: await client.chat({ model: 'tiny-loops', messages: user('hi'), options: { ...fixed, num_predict: 7 } }),
			stream: await joined(await client.chat({ model: 'tiny-loops', messages: user('hi'), stream: true, options: { ...fixed, num_predict: 9 } }), p => p.message.content),
			generate: await client.generate({ model: 'tiny-says', prompt: 'hi', system: 'be brief', keep_alive: '5m' }),
			generateStream: await joined(await client.generate({ model: 'tiny-says', prompt: 'hello', stream: true }), p => p.response),
			load: await client.generate({ model: 'tiny-says', prompt: '' }),
			format: await client.chat({ model: 'tiny-json', messages: user('hi'), format: 'json', options: fixed }),
			tools: await client.chat({ model: 'tiny-toolcall', messages: user('hi'), tools: [weather], options: fixed }),
			think: await client.chat({ model: 'tiny-thinks', messages: user('hi'), think: true, options: fixed }),
			thinkStream: await joined(await client.chat({ model: 'tiny-thinks', messages: user('hey'), think: true, stream: true, options: fixed }), p => p.message.thinking),
			fill: await client.generate({ model: 'tiny-fills', prompt: 'a', suffix: 'b', options: fixed }),
			logprobs: (await client.chat({ model: 'tiny-says', messages: user('hi'), logprobs: true, top_logprobs: 2, options: fixed })).logprobs,
			embed: await client.embed({ model: 'tiny-words', input: ['bread', 'what is the docker container'] }),
			missing: await outcome(() => client.chat({ model: 'absent', messages: user('hi') })),
			noEmbedding: (await outcome(() => client.embed({ model: 'absent', input: 'x' }))).status,
		};
	},

	async openai() {
		const { default: OpenAI } = await import('openai');
		const client = new OpenAI({ baseURL: address + '/v1', apiKey: key, maxRetries: 0 });
		const fixed = { temperature: 0, top_p: 1, seed: 1 };
		const usage = async stream => {
			let last;
			for await (const chunk of stream) last = chunk;
			return last;
		};
		return {
			models: (await client.models.list()).data.map(m => [m.id, m.object, m.owned_by]).sort(),
			chat: await client.chat.completions.create({ model: 'tiny-says', messages: user('hi'), ...fixed }),
			parts: await client.chat.completions.create({ model: 'tiny-says', messages: user([{ type: 'text', text: 'hi' }]), ...fixed }),
			cut: await client.chat.completions.create({ model: 'tiny-loops', messages: user('hi'), max_tokens: 6, ...fixed }),
			stream: await joined(await client.chat.completions.create({ model: 'tiny-loops', messages: user('hi'), max_tokens: 8, stream: true, ...fixed }), p => p.choices[0]?.delta.content),
			usage: await usage(await client.chat.completions.create({ model: 'tiny-says', messages: user('hi'), stream: true, stream_options: { include_usage: true }, ...fixed })),
			tools: await client.chat.completions.create({ model: 'tiny-toolcall', messages: user('hi'), tools: [weather], ...fixed }),
			toolStream: (await client.chat.completions.stream({ model: 'tiny-toolcall', messages: user('hi'), tools: [weather], ...fixed }).finalMessage()).tool_calls,
			json: await client.chat.completions.create({ model: 'tiny-json', messages: user('hi'), response_format: { type: 'json_object' }, ...fixed }),
			completion: await client.completions.create({ model: 'tiny-says', prompt: 'hi', ...fixed }),
			completionStream: await joined(await client.completions.create({ model: 'tiny-says', prompt: 'hey', stream: true, ...fixed }), p => p.choices[0]?.text),
			embeddings: await client.embeddings.create({ model: 'tiny-words', input: ['a river', 'a mountain'] }), // nothing that is cached by now, which takes no tokens
			floats: await client.embeddings.create({ model: 'tiny-words', input: 'a valley', encoding_format: 'float' }),
			missing: await outcome(() => client.chat.completions.create({ model: 'absent', messages: user('hi') })),
		};
	},

	async langchain() {
		const { ChatOllama, OllamaEmbeddings } = await import('@langchain/ollama');
		const { ChatOpenAI, OpenAIEmbeddings } = await import('@langchain/openai');
		const native = new ChatOllama({ model: 'tiny-says', baseUrl: address, temperature: 0, maxRetries: 0 });
		const loops = new ChatOllama({ model: 'tiny-loops', baseUrl: address, temperature: 0, numPredict: 9, maxRetries: 0 });
		const caller = new ChatOllama({ model: 'tiny-toolcall', baseUrl: address, temperature: 0, maxRetries: 0 }).bindTools([weather]);
		const openAI = options => new ChatOpenAI({ apiKey: key, temperature: 0, maxRetries: 0, configuration: { baseURL: address + '/v1' }, ...options });
		return {
			invoke: (await native.invoke('hi')).content,
			stream: await joined(await loops.stream('hi'), p => p.content),
			calls: (await caller.invoke('hi')).tool_calls.map(c => [c.name, c.args]),
			embed: await new OllamaEmbeddings({ model: 'tiny-words', baseUrl: address }).embedDocuments(['bread', 'butter']),
			openAI: (await openAI({ model: 'tiny-says' }).invoke('hi')).content,
			openAIStream: await joined(await openAI({ model: 'tiny-loops', maxTokens: 9 }).stream('hi'), p => p.content),
			openAICalls: (await openAI({ model: 'tiny-toolcall' }).bindTools([weather]).invoke('hi')).tool_calls.map(c => [c.name, c.args]),
			openAIEmbed: await new OpenAIEmbeddings({ model: 'tiny-words', apiKey: key, configuration: { baseURL: address + '/v1' } }).embedQuery('bread'),
			missing: await outcome(() => new ChatOllama({ model: 'absent', baseUrl: address, maxRetries: 0 }).invoke('hi')),
		};
	},

	async 'ai-sdk'() {
		const { createOpenAI } = await import('@ai-sdk/openai');
		const { generateText, streamText, embedMany, tool, jsonSchema } = await import('ai');
		const provider = createOpenAI({ baseURL: address + '/v1', apiKey: key });
		const tools = { get_weather: tool({ description: 'the weather', inputSchema: jsonSchema(weather.function.parameters) }) };
		const settings = { temperature: 0, seed: 1, maxRetries: 0 };
		const text = await generateText({ model: provider.chat('tiny-says'), prompt: 'hi', ...settings });
		const stream = streamText({ model: provider.chat('tiny-loops'), prompt: 'hi', maxOutputTokens: 9, ...settings });
		const calls = await generateText({ model: provider.chat('tiny-toolcall'), prompt: 'hi', tools, ...settings });
		const vectors = await embedMany({ model: provider.embedding('tiny-words'), values: ['bread', 'butter'], maxRetries: 0 });
		return {
			text: [text.text, text.finishReason, text.usage.inputTokens, text.usage.outputTokens],
			stream: await joined(stream.textStream, p => p),
			calls: calls.toolCalls.map(c => [c.toolName, c.input]),
			embed: vectors.embeddings,
			missing: await outcome(() => generateText({ model: provider.chat('absent'), prompt: 'hi', ...settings })),
		};
	},
};

const results = {};
for (const [name, run] of Object.entries(programs)) {
	results[name] = await outcome(run);
}
console.log(JSON.stringify(results));
process.exit(0); // some keep their connections open
