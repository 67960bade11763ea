package tools

import (
	"context"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/manage"
)

// This file has the tools that change which models are installed or in memory.

// managedOut is what became of a model on each host.
type managedOut struct {
	Model   string        `json:"model"`
	Results []managedHost `json:"results" jsonschema:"unlisted: one for each host"`
	noted
}

type managedHost struct {
	Host  string       `json:"host"`
	Done  bool         `json:"done" jsonschema:"false if it failed on this host"`
	Note  string       `json:"note,omitempty"`
	Error *fault.Error `json:"error,omitempty" jsonschema:"why it failed"`
}

// managed makes a result of the outcome on each host. An error is about the model from.
func (d Deps) managed(ctx context.Context, model, from string, outcomes []manage.Outcome, err error) (*result, error) {
	if err != nil {
		return nil, d.suggest(ctx, from, err)
	}
	out := &managedOut{Model: model}
	r := &result{data: out}
	failed := 0
	for _, o := range outcomes {
		one := managedHost{Host: o.Host, Done: o.Err == nil, Note: o.Note}
		if o.Err != nil {
			failed++
			one.Error = fault.Of(o.Err)
			one.Error.Message, one.Error.Hint = d.spell(one.Error.Message), d.spell(one.Error.Hint)
		}
		out.Results = append(out.Results, one)
	}
	if failed > 0 {
		r.notes = append(r.notes, fmt.Sprintf("It failed on %d of %d hosts.", failed, len(outcomes)))
	}
	return r, nil
}

// suggest is the error of work on a model, with the names that the caller may have meant if
// there is none of that name.
func (d Deps) suggest(ctx context.Context, model string, err error) error {
	e := fault.Of(err)
	d.Engine.Suggest(ctx, caller.FromContext(ctx), model, e)
	return e
}

// mayManage refuses models that a caller may not use.
func mayManage(who caller.Caller, models ...string) error {
	for _, model := range models {
		if model == "" {
			continue
		}
		if err := inference.MayUse(who, model); err != nil {
			return err
		}
	}
	return nil
}

type loadIn struct {
	Model     modelName  `json:"model" jsonschema:"name from list-models"`
	KeepAlive *keepAlive `json:"keep_alive,omitempty" jsonschema:"time in memory: 5m, -1 = for ever"`
	Host      string     `json:"host,omitempty" jsonschema:"default: all that have it"`
}

func loadModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in loadIn, _ *call) (*result, error) {
		if err := mayManage(caller.FromContext(ctx), string(in.Model)); err != nil {
			return nil, err
		}
		if in.KeepAlive != nil && in.KeepAlive.Duration.Duration == 0 {
			return nil, fault.Invalidf(`argument "keep_alive" is 0, with which the model would not stay in memory: call unload-model to take it out`)
		}
		outcomes, err := d.Manage.Load(ctx, string(in.Model), in.Host, in.KeepAlive.value())
		return d.managed(ctx, string(in.Model), string(in.Model), outcomes, err)
	})
}

type unloadIn struct {
	Model modelName `json:"model" jsonschema:"name from list-running"`
	Host  string    `json:"host,omitempty" jsonschema:"default: all that have it"`
}

func unloadModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in unloadIn, _ *call) (*result, error) {
		if err := mayManage(caller.FromContext(ctx), string(in.Model)); err != nil {
			return nil, err
		}
		outcomes, err := d.Manage.Unload(ctx, string(in.Model), in.Host)
		return d.managed(ctx, string(in.Model), string(in.Model), outcomes, err)
	})
}

type pullIn struct {
	Model modelName `json:"model" jsonschema:"such as qwen3:8b"`
	Host  string    `json:"host,omitempty" jsonschema:"default: all that have it, else all"`
}

func pullModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in pullIn, c *call) (*result, error) {
		if err := mayManage(caller.FromContext(ctx), string(in.Model)); err != nil {
			return nil, err
		}
		outcomes, err := d.Manage.Pull(ctx, string(in.Model), in.Host, c.follows())
		return d.managed(ctx, string(in.Model), string(in.Model), outcomes, err)
	})
}

// follows has the call's progress be that of work on models.
func (c *call) follows() *manage.Progress {
	p := new(manage.Progress)
	c.reports(func() jobs.Progress {
		line, done, of, rest := p.Now()
		return jobs.Progress{Message: line, Done: int(done), Of: int(of), Expected: rest.Round(time.Second)}
	})
	return p
}

type copyIn struct {
	Source      modelName `json:"source" jsonschema:"name from list-models"`
	Destination modelName `json:"destination" jsonschema:"new name"`
	Overwrite   bool      `json:"overwrite,omitempty" jsonschema:"replace destination"`
	Host        string    `json:"host,omitempty" jsonschema:"default: all that have it"`
}

func copyModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in copyIn, _ *call) (*result, error) {
		if err := mayManage(caller.FromContext(ctx), string(in.Source), string(in.Destination)); err != nil {
			return nil, err
		}
		outcomes, err := d.Manage.Copy(ctx, string(in.Source), string(in.Destination), in.Host, in.Overwrite)
		return d.managed(ctx, string(in.Destination), string(in.Source), outcomes, err)
	})
}

type deleteIn struct {
	Model   modelName `json:"model" jsonschema:"name from list-models"`
	Host    string    `json:"host,omitempty" jsonschema:"default: all that have it"`
	Confirm bool      `json:"confirm,omitempty" jsonschema:"true if the user has agreed"`
}

// question is the id under which a tool asks whether to go on.
const question = "confirm"

func deleteModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in deleteIn, _ *call) (*result, error) {
		model := string(in.Model)
		if err := mayManage(caller.FromContext(ctx), model); err != nil {
			return nil, err
		}
		hosts, err := d.Manage.Holders(ctx, model, in.Host) // before anybody is asked about it
		if err != nil {
			return nil, d.suggest(ctx, model, err)
		}
		if !in.Confirm {
			if ask, err := agreed(ctx, fmt.Sprintf("Delete the model %s from %s?", model, fault.List(hosts, 3))); ask != nil || err != nil {
				return ask, err
			}
		}
		outcomes, err := d.Manage.Delete(ctx, model, in.Host)
		return d.managed(ctx, model, model, outcomes, err)
	})
}

// agreed asks the user of the client, and returns what to answer until the user has said yes.
func agreed(ctx context.Context, message string) (ask *result, err error) {
	client, ok := mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithClientInfo)
	if !ok || client.GetClientCapabilities().Elicitation == nil {
		return nil, &fault.Error{
			Code: fault.InvalidArgument, Message: "this needs the user's consent, for which the client cannot ask",
			Hint: "ask the user, and call again with confirm: true",
		}
	}
	answers, _ := ctx.Value(answersKey{}).(mcp.InputResponses)
	answer := mcpserver.ElicitationResponse(answers, question)
	if answer == nil {
		form := mcp.ElicitationParams{Message: message, RequestedSchema: map[string]any{
			"type":       "object",
			"properties": map[string]any{question: map[string]any{"type": "boolean", "title": "Delete it", "default": true}},
			"required":   []string{question},
		}}
		return &result{whole: mcpserver.NewInputRequestBuilder("").Elicit(question, form).ToolResult()}, nil
	}
	content, _ := answer.Content.(map[string]any)
	if answer.Action != mcp.ElicitationResponseActionAccept || content[question] == false {
		return nil, &fault.Error{Code: fault.Cancelled, Message: "the user has not agreed, so nothing was changed"}
	}
	return nil, nil
}

// answersKey is the key in the context of a call for what the client has answered to the
// questions of the tool.
type answersKey struct{}

type createIn struct {
	Model      modelName      `json:"model" jsonschema:"new name"`
	From       string         `json:"from,omitempty" jsonschema:"installed model to start from"`
	File       string         `json:"file,omitempty" jsonschema:"GGUF file to start from"`
	System     string         `json:"system,omitempty" jsonschema:"its instructions"`
	Template   string         `json:"template,omitempty" jsonschema:"unlisted: template of prompts, in the form of Go"`
	Parameters map[string]any `json:"parameters,omitempty" jsonschema:"such as temperature, num_ctx, stop"`
	Messages   []madeMessage  `json:"messages,omitempty" jsonschema:"unlisted: messages that each conversation begins with"`
	Quantize   string         `json:"quantize,omitempty" jsonschema:"such as q4_K_M"`
	Overwrite  bool           `json:"overwrite,omitempty" jsonschema:"replace model"`
	Host       string         `json:"host,omitempty" jsonschema:"default: all with the model in from, or all"`
}

// madeMessage is a message that belongs to a model.
type madeMessage struct {
	Role    role   `json:"role"`
	Content string `json:"content"`
}

func createModel(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in createIn, c *call) (*result, error) {
		if err := mayManage(caller.FromContext(ctx), string(in.Model), in.From); err != nil {
			return nil, err
		}
		b := manage.Blueprint{
			Name: string(in.Model), From: in.From, FileName: in.File, Overwrite: in.Overwrite,
			System: in.System, Template: in.Template, Quantize: in.Quantize, Parameters: in.Parameters,
		}
		for _, m := range in.Messages {
			b.Messages = append(b.Messages, backend.ModelMessage{Role: string(m.Role), Content: m.Content})
		}
		if in.File != "" {
			dirs, err := d.dirs(ctx)
			if err != nil {
				return nil, err
			}
			f, info, err := dirs.Open("file", in.File)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			b.File, b.Size = f, info.Size()
		}
		outcomes, err := d.Manage.Create(ctx, b, in.Host, c.follows())
		return d.managed(ctx, string(in.Model), in.From, outcomes, err)
	})
}
