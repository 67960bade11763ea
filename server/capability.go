package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// checkDeclared checks that a client has declared that it can be asked something. A
// capability within another is named with a dot, as in "elicitation.url".
func checkDeclared(client mcp.ClientCapabilities, q mcp.InputRequest) error {
	missing := func(name string) error { return mcp.MissingRequiredClientCapabilityError{Capability: name} }
	switch q.Method {
	case mcp.MethodElicitationCreate:
		can := client.Elicitation
		byURL := q.Elicitation != nil && q.Elicitation.Mode == mcp.ElicitationModeURL
		switch {
		case can == nil:
			return missing("elicitation")
		case byURL && can.URL == nil:
			return missing("elicitation.url")
		case !byURL && can.Form == nil && can.URL != nil: // naming neither means forms
			return missing("elicitation.form")
		}
	case mcp.MethodSamplingCreateMessage:
		can := client.Sampling
		withTools := q.Sampling != nil && (q.Sampling.Tools != nil || q.Sampling.ToolChoice != nil)
		switch {
		case can == nil:
			return missing("sampling")
		case withTools && can.Tools == nil:
			return missing("sampling.tools")
		}
	case mcp.MethodListRoots:
		if client.Roots == nil {
			return missing("roots")
		}
	}
	return nil
}

// declaring is around the handler of every tool. It refuses to ask a client for what
// that has not declared, and notes what a client would have had to declare: mcp-go
// makes an internal error of that, as of all that goes wrong in a tool.
func declaring(handle mcpserver.ToolHandlerFunc) mcpserver.ToolHandlerFunc {
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		result, err := handle(ctx, call)
		r, ok := mcpserver.ClientSessionFromContext(ctx).(*request)
		if !ok {
			return result, err
		}
		if err == nil && result.NeedsInput() {
			err = checkAllDeclared(r.declared(ctx), result.InputRequests)
		}
		if missing, ok := errors.AsType[mcp.MissingRequiredClientCapabilityError](err); ok {
			r.lacks = missing.Capability
		}
		return result, err
	}
}

// checkAllDeclared always complains of the same one.
func checkAllDeclared(client mcp.ClientCapabilities, questions mcp.InputRequests) error {
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		if err := checkDeclared(client, questions[name]); err != nil {
			return err
		}
	}
	return nil
}

// declared is what the client has declared that it can: since 2026-07-28 with each
// request, and before once for all of them.
func (r *request) declared(ctx context.Context) mcp.ClientCapabilities {
	if info := mcpserver.RequestProtocolInfoFromContext(ctx); info != nil && info.ClientCapabilities != nil {
		return *info.ClientCapabilities
	}
	return r.GetClientCapabilities()
}

// nameCapability makes an error say which capability the client lacks, in the shape
// in which it would have declared it.
func nameCapability(e *mcp.JSONRPCErrorDetails, name string) {
	outer, inner, nested := strings.Cut(name, ".")
	shape := map[string]any{}
	if nested {
		shape[inner] = struct{}{}
	}
	e.Code = mcp.MISSING_REQUIRED_CLIENT_CAPABILITY
	e.Data = map[string]any{"requiredCapabilities": map[string]any{outer: shape}}
}
