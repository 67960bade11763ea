// Package caller describes on whose behalf a request is made, and what that caller may do.
//
// The server stores the caller of a request in its context; queue, cache, limits and logs read
// it there. Package auth finds out who the caller is.
package caller

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Caller is who a request comes from. The zero Caller is the user of this machine, without any
// restriction.
type Caller struct {
	// ID is what logs, the fair share of the queue and limits go by: the name of a key,
	// the subject of a token, or, where neither is needed, the address of the client.
	// It is "" for the client of stdio.
	ID string
	// Tenant is what may share things kept for later: answers in the cache and
	// handles of results. It is the ID of an authenticated caller, and "" for all
	// others.
	Tenant string

	// Tools that may be called, and models, by their canonical names, that may be
	// used; nil for all. A name that ends in * stands for all that begin so.
	Tools, Models []string

	// Dirs and WriteDirs are the only directories that may be read and written, of those that
	// the server allows at all; nil for all of them.
	Dirs, WriteDirs []string

	// Grants are what each of several permissions allows, such as the scopes of a token; nil if
	// there is one permission. Tools, Models and Admin then hold what they allow together, but a
	// call must be allowed by one of them as a whole: see For.
	Grants []Grant

	LocalOnly bool // requests are never sent to a cloud provider
	ExactOnly bool // no cached answers to similar prompts
	Admin     bool // may use administrative tools

	Limits Limits

	// Valid reports whether the credentials that the caller came with are still good; nil means
	// that they are for as long as the program runs. It may be called concurrently.
	Valid func() bool

	// Expires is when the credentials that the caller came with expire; the zero Time for never.
	// Streams end then, since their client has to open them again with new ones. Calls that have
	// begun go on: their own time limit bounds them.
	Expires time.Time
}

// IsRevoked reports whether the credentials that the caller came with are no longer good.
func (c Caller) IsRevoked() bool { return c.Valid != nil && !c.Valid() }

// ErrRevoked is the cause with which work ends whose caller's credentials are no longer good.
var ErrRevoked = fmt.Errorf("the key, token or certificate is no longer valid: %w", context.Canceled)

// Grant is a permission to call tools with models. The fields mean the same as in Caller.
type Grant struct {
	Tools, Models []string // nil for all
	Admin         bool
}

// For returns the caller as it may act in a call of a tool: with the models and rights of those
// of its Grants that allow the tool. Otherwise a token that may use one tool with one model and
// another tool with another model could use either tool with either model.
func (c Caller) For(tool string) Caller {
	if c.Grants == nil {
		return c
	}
	c.Models, c.Admin = []string{}, false
	for _, g := range c.Grants {
		if g.Tools == nil || Matches(g.Tools, tool) {
			c.Models, c.Admin = Union(c.Models, g.Models), c.Admin || g.Admin
		}
	}
	return c
}

// Union returns what either of two lists allows, of which nil stands for everything. It is nil
// for no other reason, as slices.Concat would be of two empty lists.
func Union(a, b []string) []string {
	if a == nil || b == nil {
		return nil
	}
	return append(slices.Clip(a), b...)
}

// Limits bound what a caller may use. Zero fields set no limit.
type Limits struct {
	PerSecond float64 // calls of tools begun per second
	Burst     int     // calls that may begin at once after a pause; 0 means PerSecond, rounded up
	InFlight  int     // calls at once
	Body      int64   // bytes of a message

	CallsPerDay, TokensPerDay int // that models are asked for in a day, in UTC
}

// CallsAtOnce is how many calls may begin at once after a pause: Burst, or else PerSecond, rounded up.
func (l Limits) CallsAtOnce() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return int(math.Ceil(l.PerSecond))
}

// MayCall reports whether the caller may call a tool, whose name may be written with - or _.
func (c Caller) MayCall(tool string) bool { return c.Tools == nil || Matches(c.Tools, tool) }

// MayUse reports whether the caller may use a model, given by its canonical name.
func (c Caller) MayUse(model string) bool { return c.Models == nil || matches(c.Models, model) }

// Matches reports whether one of the patterns is the name of a tool, or its beginning with *
// behind it. In both, - and _ are one: clients write names either way.
func Matches(patterns []string, tool string) bool {
	same := func(name string) string { return strings.ReplaceAll(name, "_", "-") }
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return matches([]string{same(pattern)}, same(tool))
	})
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return pattern == name || open && strings.HasPrefix(name, prefix)
	})
}

type key struct{}

// NewContext is ctx with a caller.
func NewContext(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// FromContext is the caller of a request, and the zero Caller where there is none.
func FromContext(ctx context.Context) Caller {
	c, _ := ctx.Value(key{}).(Caller)
	return c
}

type arrivalKey struct{}

// WithArrival is ctx with the time at which a request began to arrive.
func WithArrival(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, arrivalKey{}, at)
}

// Arrival is the time at which a request began to arrive, from which its time limit runs; now
// where that is not known.
func Arrival(ctx context.Context) time.Time {
	if at, ok := ctx.Value(arrivalKey{}).(time.Time); ok {
		return at
	}
	return time.Now()
}

// Denied is the error for a request that must be refused, because it has no valid credentials.
type Denied struct {
	// Code is the error code of RFC 6750, section 3.1: "invalid_request",
	// "invalid_token", "insufficient_scope", or "" where no credentials came at all.
	Code string
	// Message says in one line what is wrong, and never repeats a credential.
	Message string
	// Scope is what a token would have to be good for; "" if that is not the matter.
	Scope string
}

func (d *Denied) Error() string { return d.Message }
