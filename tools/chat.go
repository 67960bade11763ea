package tools

import (
	"context"
	"fmt"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/inference"
)

type chatIn struct {
	Model    modelName `json:"model" jsonschema:"name from list-models"`
	Messages []message `json:"messages" jsonschema:"oldest first"`
	Tools    functions `json:"tools,omitempty" jsonschema:"functions for the model: {type: function, function: {name, description, parameters}}"`
	fileArgs
	outputArgs
	logprobArgs
	progressArgs
	textArgs
}

type message struct {
	Role       role               `json:"role" jsonschema:"who says it"`
	Content    string             `json:"content,omitempty" jsonschema:"the text"`
	Thinking   string             `json:"thinking,omitempty"`
	Images     []string           `json:"images,omitempty" jsonschema:"base64"`
	ToolCalls  []backend.ToolCall `json:"tool_calls,omitempty" jsonschema:"as in the answer"`
	ToolName   string             `json:"tool_name,omitempty" jsonschema:"for role tool"`
	ToolCallID string             `json:"tool_call_id,omitempty"`
}

func chat(d Deps, a about) mcpserver.ServerTool {
	a.hints = d.writesFiles(a.hints)
	return define(d, a, func(ctx context.Context, in chatIn, c *call) (*result, error) {
		p, err := d.prepare(ctx, in.fileArgs, in.outputArgs)
		defer p.held.Give()
		if err != nil {
			return nil, err
		}
		req := in.request(ctx, c, inference.Chat, in.Model)
		req.Tools = []backend.Tool(in.Tools)
		for i, m := range in.Messages {
			images, err := decodeImages(fmt.Sprintf("messages[%d].images", i), m.Images)
			if err != nil {
				return nil, err
			}
			req.Messages = append(req.Messages, backend.Message{
				Role: string(m.Role), Content: m.Content, Thinking: m.Thinking, Images: images,
				ToolCalls: m.ToolCalls, ToolName: m.ToolName, ToolCallID: m.ToolCallID,
			})
		}
		if last := len(req.Messages) - 1; last >= 0 {
			req.Messages[last].Content = p.text + req.Messages[last].Content
			req.Messages[last].Images = append(req.Messages[last].Images, p.images...)
		}
		in.ask(&req)
		c.tells.Store(in.ProgressText)
		return d.do(ctx, req, p)
	})
}
