package tools

import (
	"context"
	"fmt"
	"slices"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

// Admit begins what a tool does for a caller who asks for it in another way than by the tool. It
// is subject to the same permissions and limits. end must be called when it is over.
func (d Deps) Admit(ctx context.Context, name string) (end func(), err error) {
	i := slices.IndexFunc(table, func(t tool) bool { return t.name == name })
	if !d.Offer.has(table[i]) {
		e := &fault.Error{Code: fault.Forbidden, Message: "this server does not offer " + name}
		if table[i].manage && !d.Offer.Manage {
			e.Hint = "its operator may allow it with --allow-manage"
		}
		return nil, e
	}
	return d.admit(ctx, table[i].about)
}

// admit begins a call of a tool if its caller, who is narrowed to what may be done with the
// tool, may call it, and now. end must be called when the call is over.
func (d Deps) admit(ctx context.Context, a about) (end func(), err error) {
	who := caller.FromContext(ctx)
	switch {
	case a.unlimited:
		return func() {}, nil
	case !who.MayCall(a.name):
		return nil, &fault.Error{
			Code: fault.Forbidden, Message: fmt.Sprintf("%q may not call this tool", who.ID),
			Hint: "use one that tools/list names, or ask the operator of this server",
		}
	case a.admin && !who.Admin:
		return nil, &fault.Error{
			Code: fault.Forbidden, Message: "only an administrator may call this tool",
			Hint: "ask the operator of this server for a key with admin: true",
		}
	}
	return d.Quota.Begin(who)
}
