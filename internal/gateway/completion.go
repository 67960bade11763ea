package gateway

import (
	"encoding/json"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/inference"
)

// This file has the answers of OpenAI's API for requests for text, written as Ollama writes them.

// completionHead is what all parts of an answer begin with.
type completionHead struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"` // seconds since 1970
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
}

// head begins an answer.
func (x *exchange) head(object, model string) completionHead {
	id := "cmpl-"
	if object == "chat.completion" {
		id = "chatcmpl-"
	}
	return completionHead{id + x.call.Trace, object, now().Unix(), model, "fp_ollama"}
}

// usageOut are the tokens of an answer.
type usageOut struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

func usageOf(r *inference.Response) usageOut {
	return usageOut{r.Metrics.PromptTokens, r.Metrics.Tokens, r.Metrics.PromptTokens + r.Metrics.Tokens}
}

// openAIReason is why an answer has ended.
func openAIReason(r *inference.Response) *string {
	reason := ollamaReason(r)
	switch backend.EndReason(r.Served.DoneReason).End() {
	case backend.EndFiltered:
		reason = "content_filter"
	case backend.EndNoAnswer:
		reason = "stop"
	}
	if r.CallsTools && reason == "stop" {
		reason = "tool_calls"
	}
	return &reason
}

type logprobsOut struct {
	Content []backend.Logprob `json:"content"`
}

func logprobsOf(all []backend.Logprob) *logprobsOut {
	if len(all) == 0 {
		return nil
	}
	return &logprobsOut{all}
}

// callOut is a tool call. Its arguments are a text that holds JSON.
type callOut struct {
	ID       string `json:"id"`
	Index    int    `json:"index"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

func callsOut(calls []backend.ToolCall) []callOut {
	all := make([]callOut, len(calls))
	for i, c := range calls {
		arguments := c.Function.Arguments
		if len(arguments) == 0 {
			arguments = json.RawMessage("{}")
		}
		all[i].ID, all[i].Index, all[i].Type = c.ID, i, "function"
		all[i].Function.Name, all[i].Function.Arguments = c.Function.Name, string(arguments)
	}
	return all
}

// completionChat writes answers of /v1/chat/completions.
type completionChat struct {
	completionHead
	usage bool // the stream ends with the usage
	begun bool // the stream
	calls int  // that were sent
}

type chatChoice struct {
	Index   int `json:"index"`
	Message struct {
		Role      string    `json:"role"`
		Content   string    `json:"content"`
		Reasoning string    `json:"reasoning,omitempty"`
		ToolCalls []callOut `json:"tool_calls,omitempty"`
	} `json:"message"`
	FinishReason *string      `json:"finish_reason"`
	Logprobs     *logprobsOut `json:"logprobs,omitempty"`
}

func (c *completionChat) whole(r *inference.Response) any {
	choice := chatChoice{FinishReason: openAIReason(r), Logprobs: logprobsOf(r.Logprobs)}
	m := &choice.Message
	m.Role, m.Content, m.Reasoning, m.ToolCalls = "assistant", r.Text, r.Thinking, callsOut(r.ToolCalls())
	return struct {
		completionHead
		Choices []chatChoice `json:"choices"`
		Usage   usageOut     `json:"usage"`
	}{c.completionHead, []chatChoice{choice}, usageOf(r)}
}

type delta struct {
	Role      string    `json:"role,omitempty"`
	Content   *string   `json:"content,omitempty"`
	Reasoning string    `json:"reasoning,omitempty"`
	ToolCalls []callOut `json:"tool_calls,omitempty"`
}

type chunkChoice struct {
	Index        int          `json:"index"`
	Delta        delta        `json:"delta"`
	FinishReason *string      `json:"finish_reason"`
	Logprobs     *logprobsOut `json:"logprobs,omitempty"`
}

type chatChunk struct {
	completionHead
	Choices []chunkChoice `json:"choices"`
	Usage   *usageOut     `json:"usage,omitempty"`
	again
}

func (c *completionChat) chunk(choices ...chunkChoice) chatChunk {
	head := c.completionHead
	head.Object = "chat.completion.chunk"
	return chatChunk{completionHead: head, Choices: append([]chunkChoice{}, choices...)}
}

// role is the role in the first chunk of a stream.
func (c *completionChat) role() string {
	if c.begun {
		return ""
	}
	c.begun = true
	return "assistant"
}

// piece sends thoughts in a chunk of their own.
func (c *completionChat) piece(p inference.Piece) (chunks []any) {
	calls := callsOut(p.ToolCalls)
	for i := range calls {
		calls[i].Index += c.calls
	}
	c.calls += len(calls)
	logprobs := logprobsOf(p.Logprobs)
	if p.Thinking != "" && (p.Text != "" || len(calls) > 0) {
		first := c.chunk(chunkChoice{Delta: delta{Role: c.role(), Reasoning: p.Thinking}, Logprobs: logprobs})
		first.Again, p.Again = p.Again, false
		chunks, p.Thinking, logprobs = append(chunks, first), "", nil
	}
	last := c.chunk(chunkChoice{Delta: delta{Role: c.role(), Content: &p.Text, Reasoning: p.Thinking, ToolCalls: calls}, Logprobs: logprobs})
	last.Again = p.Again
	return append(chunks, last)
}

func (c *completionChat) like() any { return c.chunk(chunkChoice{Delta: delta{Content: &markText}}) }

func (c *completionChat) end(r *inference.Response) (chunks []any) {
	if !c.begun {
		chunks = c.piece(inference.Piece{})
	}
	chunks = append(chunks, c.chunk(chunkChoice{FinishReason: openAIReason(r)}))
	if c.usage {
		last := c.chunk()
		last.Usage = new(usageOf(r))
		chunks = append(chunks, last)
	}
	return chunks
}

func (c *completionChat) failed(status int, code, text string) any {
	return openAIError(status, code, text)
}

// completionText writes answers of /v1/completions.
type completionText struct {
	completionHead
	usage bool // chunks have it
}

type textChoice struct {
	Text         string       `json:"text"`
	Index        int          `json:"index"`
	FinishReason *string      `json:"finish_reason"`
	Logprobs     *logprobsOut `json:"logprobs,omitempty"`
}

type textChunk struct {
	completionHead
	Choices []textChoice `json:"choices"`
	Usage   *usageOut    `json:"usage,omitempty"`
	again
}

func (c *completionText) whole(r *inference.Response) any {
	return textChunk{
		completionHead: c.completionHead, Usage: new(usageOf(r)),
		Choices: []textChoice{{Text: r.Text, FinishReason: openAIReason(r), Logprobs: logprobsOf(r.Logprobs)}},
	}
}

func (c *completionText) chunk(choices ...textChoice) textChunk {
	chunk := textChunk{completionHead: c.completionHead, Choices: append([]textChoice{}, choices...)}
	if c.usage {
		chunk.Usage = new(usageOut)
	}
	return chunk
}

func (c *completionText) piece(p inference.Piece) []any {
	chunk := c.chunk(textChoice{Text: p.Text, Logprobs: logprobsOf(p.Logprobs)})
	chunk.Again = p.Again
	return []any{chunk}
}

func (c *completionText) like() any { return c.chunk(textChoice{Text: markText}) }

func (c *completionText) end(r *inference.Response) []any {
	chunks := []any{c.chunk(textChoice{FinishReason: openAIReason(r)})}
	if c.usage {
		last := c.chunk()
		last.Usage = new(usageOf(r))
		chunks = append(chunks, last)
	}
	return chunks
}

func (c *completionText) failed(status int, code, text string) any {
	return openAIError(status, code, text)
}
