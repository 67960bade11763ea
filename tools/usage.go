package tools

import (
	"cmp"
	"context"
	"slices"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/usage"
)

type usageIn struct {
	Days *usageDays `json:"days,omitempty" jsonschema:"1 = today; default 7"`
}

type usageDays int

type usageOut struct {
	Models []*usageRow `json:"models" jsonschema:"by source: local, cloud, cache or none"`
	Days   []*usageDay `json:"days" jsonschema:"in UTC, the latest first"`
	Budget *budgetLeft `json:"budget,omitempty" jsonschema:"your budget of today"`
	noted
}

type usageRow struct {
	Caller string `json:"caller,omitempty"`
	Model  string `json:"model"`
	Source string `json:"source"`
	usage.Counts
}

type usageDay struct {
	Day    string `json:"day"`
	Calls  int    `json:"calls"`
	Tokens int    `json:"tokens"`
}

type budgetLeft struct {
	Calls        int `json:"calls"`
	CallsPerDay  int `json:"calls_per_day,omitempty"`
	Tokens       int `json:"tokens"`
	TokensPerDay int `json:"tokens_per_day,omitempty"`
}

const defaultUsageDays = 7

func showUsage(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, in usageIn, _ *call) (*result, error) {
		who, days := caller.FromContext(ctx), defaultUsageDays
		if in.Days != nil {
			days = int(*in.Days)
		}
		rows, err := d.Usage.Rows(days, who.ID, who.Admin)
		out := usageOutOf(rows, who)
		if err != nil {
			d.Log.Warn("usage cannot be read completely", "error", err)
			out.note([]string{"Some days could not be read, and are missing; the log of the server says why."})
		}
		if l := who.Limits; l.CallsPerDay > 0 || l.TokensPerDay > 0 {
			spent := d.Usage.Spent(who.ID)
			out.Budget = &budgetLeft{spent.Calls, l.CallsPerDay, spent.Tokens, l.TokensPerDay}
		}
		return &result{data: out}, nil
	})
}

// usageOutOf adds rows up, by model and by day. A caller who sees only its own need not be named.
func usageOutOf(rows []usage.Row, who caller.Caller) *usageOut {
	models, days := make(map[usageRow]*usageRow), make(map[string]*usageDay)
	out := &usageOut{Models: []*usageRow{}, Days: []*usageDay{}}
	for _, r := range rows {
		k := usageRow{Model: r.Model, Source: r.Source}
		if who.Admin {
			k.Caller = r.Caller
		}
		if models[k] == nil {
			models[k] = &usageRow{Caller: k.Caller, Model: k.Model, Source: k.Source}
			out.Models = append(out.Models, models[k])
		}
		models[k].Add(r.Counts)
		if days[r.Day] == nil {
			days[r.Day] = &usageDay{Day: r.Day}
			out.Days = append(out.Days, days[r.Day])
		}
		days[r.Day].Calls += r.Calls
		days[r.Day].Tokens += r.TokensIn + r.TokensOut
	}
	for _, m := range models {
		m.Seconds, m.Saved = rounded(m.Seconds), rounded(m.Saved)
	}
	slices.SortFunc(out.Models, func(a, b *usageRow) int {
		return cmp.Or(
			cmp.Compare(b.TokensIn+b.TokensOut, a.TokensIn+a.TokensOut), cmp.Compare(b.Calls, a.Calls),
			cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Source, b.Source),
		)
	})
	slices.SortFunc(out.Days, func(a, b *usageDay) int { return cmp.Compare(b.Day, a.Day) })
	return out
}
