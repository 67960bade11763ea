package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/prompts"
	"ollama-mcp/internal/schema"
)

// This file is what clients may read and complete beside calling tools. Most resources are what
// a tool answers, and are read by calling it: so permissions, limits and the log are those of
// the tool.

// view is a resource that a tool answers. With an argument, it is a template.
type view struct {
	uri, argument     string // the argument follows the URI
	name, title, text string
	tool              string
	takes             map[string]any // arguments of the tool beside that one
}

var views = []view{
	{uri: "ollama://models", name: "models", title: "Models", text: "The installed models, as list-models answers", tool: "list-models"},
	{uri: "ollama://models/", argument: "model", name: "model", title: "Model", text: "One model, as show-model answers", tool: "show-model"},
	{uri: "ollama://status", name: "status", title: "Status", text: "Hosts, queue and cache, as status answers", tool: "status"},
	{uri: "ollama://jobs/", argument: "id", name: "job", title: "Job", text: "The state of a job, or its result", tool: jobTool, takes: map[string]any{"wait_seconds": 0.0}},
}

// variable is the name of the argument in the template of the URI.
func (v view) variable() string {
	if v.argument == "model" {
		return "name"
	}
	return v.argument
}

// template is the URI with a place for the argument. Names of models have / and : in them.
func (v view) template() string { return v.uri + "{+" + v.variable() + "}" }

// Reads are the resources of the tools that All has made.
func Reads(d Deps, tools []mcpserver.ServerTool) (all []mcpserver.ServerResource, templates []mcpserver.ServerResourceTemplate) {
	made := make(map[string]mcpserver.ToolHandlerFunc)
	for i, row := range d.Offer.rows() {
		made[row.name] = tools[i].Handler
	}
	d.spelling = d.Offer.spelling()
	for _, v := range views {
		call := made[v.tool]
		switch {
		case call == nil:
		case v.argument == "":
			all = append(all, mcpserver.ServerResource{
				Resource: mcp.NewResource(v.uri, v.name, mcp.WithResourceTitle(v.title), mcp.WithResourceDescription(d.spell(v.text)), mcp.WithMIMEType("application/json")),
				Handler:  v.read(call),
			})
		default:
			templates = append(templates, mcpserver.ServerResourceTemplate{
				Template: mcp.NewResourceTemplate(v.template(), v.name, mcp.WithTemplateTitle(v.title), mcp.WithTemplateDescription(d.spell(v.text)), mcp.WithTemplateMIMEType("application/json")),
				Handler:  mcpserver.ResourceTemplateHandlerFunc(v.read(call)),
			})
		}
	}
	return all, append(templates, Resources(d)...)
}

// read answers with what the tool does.
func (v view) read(call mcpserver.ToolHandlerFunc) mcpserver.ResourceHandlerFunc {
	return func(ctx context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		args := map[string]any{}
		maps.Copy(args, v.takes)
		if v.argument != "" {
			value, err := url.PathUnescape(strings.TrimPrefix(req.Params.URI, v.uri))
			if err != nil || value == "" {
				return nil, fmt.Errorf("%w: %.200q names nothing", mcpserver.ErrResourceNotFound, req.Params.URI)
			}
			args[v.argument] = value
		}
		var c mcp.CallToolRequest
		c.Header, c.Params.Name, c.Params.Arguments = req.Header, v.tool, args
		res, err := call(ctx, c)
		if err != nil {
			return nil, err
		}
		if res.IsError {
			return nil, unread(req.Params.URI, res)
		}
		text := mcp.TextResourceContents{URI: req.Params.URI, MIMEType: "text/plain"}
		if block, ok := res.Content[0].(mcp.TextContent); ok { // each of our results begins with one
			text.Text = block.Text
		}
		if res.StructuredContent != nil {
			text.MIMEType = "application/json"
		}
		return []mcp.ResourceContents{text}, nil
	}
}

// unread is the error of a resource whose tool has failed.
func unread(uri string, res *mcp.CallToolResult) error {
	e := new(fault.Error) // of a job it is JSON already
	if err := json.Unmarshal(schema.MustMarshal(res.StructuredContent), e); err != nil {
		return err
	}
	if (e.Code == fault.NotFound || e.Code == fault.ModelNotFound) && !e.Retryable {
		return fmt.Errorf("%w: %s: %s", mcpserver.ErrResourceNotFound, uri, e.Message)
	}
	return e
}

// Prompts are those that the offered tools are enough for.
func Prompts(d Deps) (all []mcpserver.ServerPrompt) {
	d.spelling = d.Offer.spelling()
	for _, p := range prompts.All {
		if !d.Offer.offers(p.Tool) {
			continue
		}
		options := []mcp.PromptOption{mcp.WithPromptTitle(p.Title), mcp.WithPromptDescription(d.spell(p.Text))}
		for _, a := range p.Arguments {
			about := []mcp.ArgumentOption{mcp.ArgumentDescription(d.spell(a.Text))}
			if a.Required {
				about = append(about, mcp.RequiredArgument())
			}
			options = append(options, mcp.WithArgument(a.Name, about...))
		}
		all = append(all, mcpserver.ServerPrompt{
			Prompt: mcp.NewPrompt(p.Name, options...),
			Handler: func(ctx context.Context, req mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				who := caller.FromContext(ctx)
				if !MayCall(who, p.Tool) {
					return nil, &fault.Error{
						Code: fault.Forbidden, Message: fmt.Sprintf("%q may not call %s, which this prompt needs", who.ID, d.spell(p.Tool)),
						Hint: "ask the operator of this server",
					}
				}
				var text string
				err := d.observed(ctx, "prompts/get", req.Header, func() error {
					end, err := d.Quota.Begin(who)
					if err != nil {
						return err
					}
					defer end()
					text, err = p.Write(req.Params.Arguments, func(tool string) bool { return d.Offer.offers(tool) && MayCall(who, tool) })
					return err
				})
				if err != nil {
					return nil, err
				}
				return mcp.NewGetPromptResult(p.Text, []mcp.PromptMessage{mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent(d.spell(text)))}), nil
			},
		})
	}
	return all
}

// observed has the log and the metrics know of a request that calls no tool, by its method.
func (d Deps) observed(ctx context.Context, method string, header http.Header, handle func() error) error {
	trace, parent := TraceOf(header)
	c := d.Engine.Begin(inference.CallInfo{
		Trace: trace, Parent: parent, RequestID: header.Get("X-Request-Id"), Tool: method,
		Caller: caller.FromContext(ctx), Began: caller.Arrival(ctx),
	})
	err := handle()
	c.End(err)
	return err
}

// Completions complete the arguments of prompts and resources: names of models, and ids of jobs.
// A caller is offered what it may use. Where nothing can be offered, that is no error.
type Completions struct{ Deps Deps }

const (
	maxCompletions    = 100 // of one answer, by the protocol
	completionTimeout = 2 * time.Second
)

// CompletePromptArgument completes names of models.
func (c Completions) CompletePromptArgument(ctx context.Context, _ string, a mcp.CompleteArgument, _ mcp.CompleteContext) (*mcp.Completion, error) {
	switch a.Name {
	case prompts.Model:
		return completion("", a.Value, c.models(ctx)), nil
	case prompts.Models: // the last of a list
		at := strings.LastIndexByte(a.Value, ',') + 1
		begun := a.Value[at:]
		word := strings.TrimLeft(begun, " ")
		return completion(a.Value[:len(a.Value)-len(word)], word, c.models(ctx)), nil
	}
	return new(mcp.Completion), nil
}

// CompleteResourceArgument completes names of models and ids of jobs.
func (c Completions) CompleteResourceArgument(ctx context.Context, uri string, a mcp.CompleteArgument, _ mcp.CompleteContext) (*mcp.Completion, error) {
	switch {
	case strings.HasPrefix(uri, "ollama://models/"):
		return completion("", a.Value, c.models(ctx)), nil
	case strings.HasPrefix(uri, "ollama://jobs/") && MayCall(caller.FromContext(ctx), jobTool) && c.Deps.Jobs != nil:
		var ids []string
		all, _ := c.Deps.Jobs.List(sessionOf(ctx).JobOwner())
		for _, job := range all {
			ids = append(ids, job.Info().ID)
		}
		return completion("", a.Value, ids), nil
	}
	return new(mcp.Completion), nil
}

// models are the names of the models that the caller may use.
func (c Completions) models(ctx context.Context) (names []string) {
	who := caller.FromContext(ctx)
	if !c.Deps.Offer.offers("list-models") || !MayCall(who, "list-models") {
		return nil
	}
	end, err := c.Deps.Quota.Begin(who)
	if err != nil {
		return nil
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	all, err := c.Deps.Engine.List(ctx, who, inference.Filter{})
	if err != nil {
		return nil
	}
	for _, on := range all.Hosts {
		for _, m := range on.Models {
			names = append(names, strings.TrimSuffix(backend.CanonicalModel(m.Name), ":latest"))
		}
	}
	for _, alias := range all.Aliases {
		names = append(names, alias.Name)
	}
	return names
}

// completion is the values that begin with what was typed, and then those that contain it, each
// behind what was there before.
func completion(before, typed string, values []string) *mcp.Completion {
	typed = strings.ToLower(typed)
	rank := func(value string) int { return strings.Index(strings.ToLower(value), typed) }
	found := slices.DeleteFunc(slices.Clone(values), func(value string) bool { return rank(value) < 0 })
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(min(rank(a), 1), min(rank(b), 1)), cmp.Compare(a, b))
	})
	found = slices.Compact(found)
	c := &mcp.Completion{Total: len(found), HasMore: len(found) > maxCompletions}
	for _, value := range found[:min(len(found), maxCompletions)] {
		c.Values = append(c.Values, before+value)
	}
	return c
}
