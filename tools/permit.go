package tools

import (
	"context"
	"fmt"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

// admit begins a call of a tool if its caller may call it, and now. end must be
// called when the call is over.
func (d Deps) admit(ctx context.Context, tool string) (end func(), err error) {
	who := caller.FromContext(ctx)
	if !who.MayCall(tool) {
		return nil, &fault.Error{
			Code: fault.Forbidden, Message: fmt.Sprintf("%q may not call this tool", who.ID),
			Hint: "use one that tools/list names, or ask whoever runs this server",
		}
	}
	return d.quota.Begin(who)
}

// permit refuses what is no model's name, a model that the caller may not use, and a host
// that there is not.
func (d Deps) permit(ctx context.Context, model string, args modelArgs) error {
	if err := checkName("model", model); err != nil {
		return err
	}
	if _, err := named(d.Hosts.Hosts(), args.Host); err != nil {
		return err
	}
	return mayUse(caller.FromContext(ctx), model)
}

func mayUse(who caller.Caller, model string) error {
	if who.MayUse(backend.CanonicalModel(model)) {
		return nil
	}
	return &fault.Error{
		Code: fault.Forbidden, Message: fmt.Sprintf("%q may not use the model %q", who.ID, model),
		Hint: "use one that list-models names",
	}
}
