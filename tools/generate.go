package tools

import (
	"context"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

type generateIn struct {
	Model  modelName `json:"model" jsonschema:"name from list-models"`
	Prompt string    `json:"prompt" jsonschema:"text to answer or continue"`
	System string    `json:"system,omitempty" jsonschema:"instructions for the model"`
	Suffix string    `json:"suffix,omitempty" jsonschema:"text after the gap"`
	Raw    bool      `json:"raw,omitempty" jsonschema:"unlisted: send the prompt as it is, without the model's template"`
	Images []string  `json:"images,omitempty" jsonschema:"base64"`
	fileArgs
	outputArgs
	logprobArgs
	progressArgs
	textArgs
}

func generate(d Deps, a about) mcpserver.ServerTool {
	a.hints = d.writesFiles(a.hints)
	return define(d, a, func(ctx context.Context, in generateIn, c *call) (*result, error) {
		images, err := decodeImages("images", in.Images)
		if err != nil {
			return nil, err
		}
		p, err := d.prepare(ctx, in.fileArgs, in.outputArgs)
		defer p.held.Give()
		if err != nil {
			return nil, err
		}
		if len(in.Files) > 0 && (in.Raw || in.Suffix != "") {
			return nil, fault.Invalidf(`argument "files" cannot be combined with raw or suffix: put the text into the prompt`)
		}
		req := in.request(ctx, c, inference.Generate, in.Model)
		req.Prompt, req.System, req.Suffix, req.Raw, req.Images = p.text+in.Prompt, in.System, in.Suffix, in.Raw, append(images, p.images...)
		in.ask(&req)
		c.tells.Store(in.ProgressText)
		return d.do(ctx, req, p)
	})
}
