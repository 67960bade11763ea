package tools

import (
	"context"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
)

type generateIn struct {
	Model  modelName `json:"model" jsonschema:"model to ask, by a name from list-models"`
	Prompt string    `json:"prompt" jsonschema:"text to answer or to continue"`
	System string    `json:"system,omitempty" jsonschema:"instructions for the model"`
	Suffix string    `json:"suffix,omitempty" jsonschema:"text after the gap, for models that can insert"`
	Raw    bool      `json:"raw,omitempty" jsonschema:"send the prompt as it is, without the model's template"`
	Images []string  `json:"images,omitempty" jsonschema:"base64 images, for models with vision"`
	textArgs
}

func generate(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "generate", title: "Generate text with a local model", hints: asksModel,
		text: "Ask a local model to answer or continue one prompt. For a conversation use chat.",
	}, func(ctx context.Context, in generateIn, c *call) (*result, error) {
		images, err := decodeImages("images", in.Images)
		if err != nil {
			return nil, err
		}
		req := backend.GenerateRequest{
			Prompt: in.Prompt, System: in.System, Suffix: in.Suffix, Raw: in.Raw, Images: images, Format: in.Format.RawMessage,
		}
		return d.answer(ctx, c, question{
			tool: "generate", model: string(in.Model), args: in.textArgs,
			request: []any{in.Prompt, in.System, in.Suffix, in.Raw, hashes(images)},
			wording: wording{question: plainly(in), rest: []any{in.System}, messages: 1},
			text:    len(in.Prompt) + len(in.System) + len(in.Suffix), see: sizeOf(images),
			ask: func(ctx context.Context, host backend.Backend, m manner, onPiece func(backend.Piece)) (*backend.Answer, error) {
				req := req
				req.Model, req.Options, req.KeepAlive = m.model, m.sent(), m.keepAlive
				req.Truncate, req.Think = &m.mayCut, m.think(in.Think)
				if m.fault != "" {
					req.Prompt += "\n\n" + m.faulty + "\n\n" + m.complaint()
				}
				return host.Generate(ctx, &req, onPiece)
			},
		})
	})
}

// plainly is the prompt of a call that asks nothing but that; "" of another.
func plainly(in generateIn) string {
	if in.Raw || in.Suffix != "" {
		return ""
	}
	return in.Prompt
}
