package tools

import (
	"context"
	"fmt"
	"slices"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

type chatIn struct {
	Model    modelName `json:"model" jsonschema:"model to ask, by a name from list-models"`
	Messages []message `json:"messages" jsonschema:"the conversation so far, oldest first"`
	Tools    functions `json:"tools,omitempty" jsonschema:"functions the model may call: {\"type\":\"function\",\"function\":{\"name\",\"description\",\"parameters\"}}"`
	textArgs
}

type message struct {
	Role       role               `json:"role"`
	Content    string             `json:"content,omitempty"`
	Thinking   string             `json:"thinking,omitempty"`
	Images     []string           `json:"images,omitempty" jsonschema:"base64 images"`
	ToolCalls  []backend.ToolCall `json:"tool_calls,omitempty" jsonschema:"as an earlier answer held them"`
	ToolName   string             `json:"tool_name,omitempty" jsonschema:"for role tool: whose result this is"`
	ToolCallID string             `json:"tool_call_id,omitempty"`
}

func chat(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "chat", title: "Chat with a local model", hints: asksModel,
		text: "Ask a local model for the next message of a conversation. With tools the answer may be tool_calls, for you to carry out and send back as messages of role tool.",
	}, func(ctx context.Context, in chatIn, c *call) (*result, error) {
		req := backend.ChatRequest{
			Tools: []backend.Tool(in.Tools), Format: in.Format.RawMessage,
		}
		q := question{tool: "chat", model: string(in.Model), args: in.textArgs}
		if len(in.Messages) == 0 {
			return nil, fault.Invalidf("argument \"messages\" must not be empty")
		}
		for i, m := range in.Messages {
			images, err := decodeImages(fmt.Sprintf("messages[%d].images", i), m.Images)
			if err != nil {
				return nil, err
			}
			req.Messages = append(req.Messages, backend.Message{
				Role: string(m.Role), Content: m.Content, Thinking: m.Thinking, Images: images,
				ToolCalls: m.ToolCalls, ToolName: m.ToolName, ToolCallID: m.ToolCallID,
			})
			q.text += len(m.Content) + sizeOfJSON(m.ToolCalls)
			q.see += sizeOf(images)
		}
		q.text += sizeOfJSON(in.Tools)
		q.request = []any{withHashes(req.Messages), in.Tools}
		q.wording = wordingOf(req.Messages, len(in.Tools) > 0)
		q.ask = func(ctx context.Context, host backend.Backend, m manner, onPiece func(backend.Piece)) (*backend.Answer, error) {
			req := req
			req.Model, req.Options, req.KeepAlive = m.model, m.sent(), m.keepAlive
			req.Truncate, req.Think = &m.mayCut, m.think(in.Think)
			if m.fault != "" {
				req.Messages = append(slices.Clip(req.Messages),
					backend.Message{Role: "assistant", Content: m.faulty}, backend.Message{Role: "user", Content: m.complaint()})
			}
			return host.Chat(ctx, &req, onPiece)
		}
		return d.answer(ctx, c, q)
	})
}

// wordingOf is the last message of a conversation and what came before.
func wordingOf(messages []backend.Message, tools bool) wording {
	last := len(messages) - 1
	w := wording{rest: withHashes(messages[:last]), tools: tools}
	if messages[last].Role == "user" {
		w.question = messages[last].Content
	}
	for _, m := range messages {
		if m.Role != "system" {
			w.messages++
		}
		w.tools = w.tools || m.Role == "tool" || len(m.ToolCalls) > 0
	}
	return w
}
