package server

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

func (o *Options) check() error {
	switch {
	case o.Name == "":
		return errors.New("option Name is missing")
	case o.MaxMessage < 0:
		return fmt.Errorf("option MaxMessage is %d, less than 0", o.MaxMessage)
	case o.MaxHeld < 2*o.MaxMessage: // of which one caller gets half
		return fmt.Errorf("option MaxHeld is %d, less than twice MaxMessage, which is %d", o.MaxHeld, o.MaxMessage)
	case o.MaxAnswers < 0:
		return fmt.Errorf("option MaxAnswers is %d, less than 0", o.MaxAnswers)
	case o.MaxInFlight < 0:
		return fmt.Errorf("option MaxInFlight is %d, less than 0", o.MaxInFlight)
	case o.Drain < 0:
		return fmt.Errorf("option Drain is %v, less than 0", o.Drain)
	}
	return cmp.Or(
		checkEach("tool", "name", o.Tools, func(t mcpserver.ServerTool) (string, bool) { return t.Tool.Name, t.Handler != nil }),
		checkHeaders(o.Tools),
		checkEach("resource", "URI", o.Resources, func(r mcpserver.ServerResource) (string, bool) { return r.Resource.URI, r.Handler != nil }),
		checkEach("resource template", "URI template", o.ResourceTemplates, func(r mcpserver.ServerResourceTemplate) (string, bool) {
			if r.Template.URITemplate == nil {
				return "", false
			}
			return r.Template.URITemplate.Raw(), r.Handler != nil
		}),
		checkEach("prompt", "name", o.Prompts, func(p mcpserver.ServerPrompt) (string, bool) { return p.Prompt.Name, p.Handler != nil }),
	)
}

// checkEach checks that all of a kind have a key of their own and a handler, of
// which look tells.
func checkEach[T any](kind, key string, all []T, look func(T) (key string, handled bool)) error {
	seen := make(map[string]bool)
	for i, one := range all {
		value, handled := look(one)
		switch {
		case value == "":
			return fmt.Errorf("%s %d has no %s", kind, i, key)
		case seen[value]:
			return fmt.Errorf("there are two %ss called %q", kind, value)
		case !handled:
			return fmt.Errorf("%s %q has no handler", kind, value)
		}
		seen[value] = true
	}
	return nil
}

// checkHeaders checks what tools say of the headers that mirror their arguments.
func checkHeaders(tools []mcpserver.ServerTool) error {
	for _, tool := range tools {
		if err := mcp.ValidateParamHeaderAnnotations(&tool.Tool); err != nil {
			return fmt.Errorf("tool %q: %w", tool.Tool.Name, err)
		}
	}
	return nil
}
