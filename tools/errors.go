package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/nearest"
	"ollama-mcp/internal/route"
)

// explain turns any failure of a request for a model into one that its caller
// can act on.
func explain(model string, err error) *fault.Error {
	e := fault.Of(err)
	failed, ok := errors.AsType[*backend.Error](err)
	if ok && e.Code == fault.ModelNotFound && model != "" {
		e.Message = fmt.Sprintf("%s: model %q is not installed", failed.Host, model)
		if pullable.MatchString(model) {
			e.Hint = fmt.Sprintf("install it with `ollama pull %s`", model)
		}
	}
	return e
}

// ofProvider makes an explanation fit a rung that no Ollama of ours serves.
func ofProvider(e *fault.Error, rung route.Rung) {
	switch e.Code {
	case fault.ModelNotFound:
		e.Message = fmt.Sprintf("%s has no model %q", rung.Provider, rung.Model)
		e.Hint = "ask for one that it serves"
	case fault.NoHost:
		e.Hint = "try again later, or use another model"
	case fault.Unauthorized:
		e.Hint = "this server's key for " + rung.Provider + " is not accepted: ask whoever runs the server"
	case fault.ContextTooLong:
		e.Hint = "send less, or use another model"
	case fault.InvalidArgument:
		e.Hint = "change what it objects to, or use another model"
	case fault.Upstream:
		e.Hint = "try again, or use another model"
	}
	e.Message = rung.String() + ": " + e.Message
}

// explainMissing adds to a model_not_found the names of installed models, and of aliases,
// that the caller may have meant. It asks the hosts, and does without if they are slow.
func (d Deps) explainMissing(ctx context.Context, model string, e *fault.Error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	who := caller.FromContext(ctx)
	var known []string
	for _, alias := range d.settings().aliases(who, "") {
		known = append(known, strings.TrimSuffix(alias, ":latest"))
	}
	for _, host := range d.Hosts.Hosts() {
		models, err := host.Models(ctx)
		if err != nil {
			continue
		}
		for _, m := range models {
			if who.MayUse(backend.CanonicalModel(m.Name)) {
				known = append(known, strings.TrimSuffix(m.Name, ":latest"))
			}
		}
	}
	slices.Sort(known)
	const most = 5
	switch near := nearest.Names(model, known, most); {
	case len(near) > 0:
		e.Hint += "; or did you mean " + strings.Join(quoted(near), " or ") + "?"
	case len(known) > 0:
		e.Hint += "; known are " + strings.Join(quoted(known[:min(len(known), most)]), ", ")
	}
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strconv.Quote(name)
	}
	return out
}
