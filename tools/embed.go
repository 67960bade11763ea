package tools

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

type embedIn struct {
	Model      modelName `json:"model" jsonschema:"embedding model, by a name from list-models"`
	Input      texts     `json:"input" jsonschema:"text or texts; their vectors come in this order"`
	Dimensions count     `json:"dimensions,omitempty" jsonschema:"length of the vectors, for models that can shorten them"`
	Output     output    `json:"output,omitempty" jsonschema:"where the vectors go; auto (default) returns few inline and many as a resource"`
	modelArgs
}

// output is where vectors go: "inline", "resource" or "auto", which is "".
type output string

type embedOut struct {
	Model      string      `json:"model"`
	Count      int         `json:"count"`
	Dimensions int         `json:"dimensions"`
	Vectors    [][]float32 `json:"vectors,omitempty" jsonschema:"one per input; absent if they are in the resource"`
	Resource   string      `json:"resource,omitempty" jsonschema:"URI to read the vectors from as JSON"`
	ExpiresAt  string      `json:"expires_at,omitempty" jsonschema:"when the resource is gone"`
}

// embedBatch is how many texts a host is sent at once. More save nothing, since
// it takes them one by one, and one bad text fails them all.
const embedBatch = 32

func embed(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "embed", title: "Embed texts with a local model", hints: hints{readOnly: true, idempotent: true},
		text:   "Turn texts into vectors that can be compared for meaning.",
		output: reflect.TypeFor[embedOut](),
	}, func(ctx context.Context, in embedIn, c *call) (*result, error) {
		if err := d.permit(ctx, string(in.Model), in.modelArgs); err != nil {
			return nil, err
		}
		ctx, cancel := withLimit(ctx, in.timeout(d.Timeout))
		defer cancel()
		e := &embedding{in: in, who: caller.FromContext(ctx), vectors: make([][]float32, len(in.Input)), served: served{
			Trace: c.trace, Requested: string(in.Model), Model: string(in.Model), Source: "local",
		}}
		if err := d.embedAll(ctx, c, e); err != nil {
			return nil, d.explainEmbed(ctx, e, err)
		}
		return d.present(ctx, e)
	})
}

// embedding is the work of one call of embed.
type embedding struct {
	in      embedIn
	who     caller.Caller
	vectors [][]float32 // one per input; nil while there is none
	sent    options     // with the requests to the host at hand
	pinned  string      // which options of the caller's were overridden; "" if none
	waited  bool        // for a slot
	cut     map[int]bool
	keys    []cache.Key   // by which the vectors are kept; nil if they are not
	kept    int           // vectors that were kept from earlier calls
	load    time.Duration // spent by hosts to load the model
	served  served
}

func (d Deps) embedAll(ctx context.Context, c *call, e *embedding) error {
	began := time.Now()
	e.keys = d.recallVectors(ctx, e)
	defer e.share()
	for batch := range slices.Chunk(e.missing(), embedBatch) {
		bytes := 0
		for _, i := range batch {
			bytes += len(e.in.Input[i])
		}
		need := d.need(e.who, c.progress, string(e.in.Model), e.in.modelArgs, bytes)
		need.OnWait = func(standing func() route.Standing) {
			e.waited = true
			c.progress.Queued(standing)
		}
		asked := time.Now()
		err := d.Hosts.With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
			e.lent(lease, asked)
			c.progress.Working(fmt.Sprintf("embedding, %d of %d done on %s", e.done(), len(e.in.Input), lease.Host.Name()))
			return d.embedBatch(ctx, lease.Host, e, batch)
		})
		if err != nil {
			return err
		}
		d.keepVectors(e, batch)
	}
	if e.kept == len(e.in.Input) {
		e.served.Source = "cache"
	}
	e.served.Total, e.served.Load = time.Since(began).Milliseconds(), new(e.load.Milliseconds())
	return nil
}

// missing are the inputs that have no vector, and of equal ones the first.
func (e *embedding) missing() (all []int) {
	seen := make(map[string]bool)
	for i, text := range e.in.Input {
		if e.vectors[i] == nil && !seen[text] {
			seen[text] = true
			all = append(all, i)
		}
	}
	return all
}

// share gives inputs the vector of an equal one.
func (e *embedding) share() {
	first := make(map[string]int)
	for i, text := range e.in.Input {
		if e.vectors[i] != nil {
			first[text] = i
		}
	}
	for i, text := range e.in.Input {
		from, ok := first[text]
		if e.vectors[i] == nil && ok {
			e.vectors[i] = e.vectors[from]
			if e.cut[from] {
				e.cut[i] = true
			}
		}
	}
}

// done is how many inputs have a vector.
func (e *embedding) done() (n int) {
	for _, v := range e.vectors {
		if v != nil {
			n++
		}
	}
	return n
}

// lent takes in what a lease says about a part of the call, which was asked for then.
func (e *embedding) lent(lease *pool.Lease, asked time.Time) {
	e.sent = leased(e.in.Options, lease)
	e.served.Host = lease.Host.Name()
	e.served.Queue += time.Since(asked).Milliseconds()
	if lease.Attempt > 1 {
		e.served.Retries++
	}
	if e.served.Overridden = lease.Overridden; len(lease.Overridden) > 0 {
		e.pinned = overridden(lease)
	}
}

// embedBatch embeds some of the inputs. If the host refuses them, it tries them one by
// one, to find and name the bad one. Like a prompt, a text that is too long is cut
// only when the host is asked to, so that the caller can be told.
func (d Deps) embedBatch(ctx context.Context, host backend.Backend, e *embedding, batch []int) error {
	err := d.askVectors(ctx, host, e, batch, false)
	tooLong := errors.Is(err, backend.TooLong)
	refused := tooLong || errors.Is(err, backend.Request)
	if tooLong && len(batch) == 1 {
		err = d.tooLongToEmbed(ctx, host, e, batch[0], err)
	}
	switch {
	case refused && len(batch) > 1:
		for i := range batch {
			if err := d.embedBatch(ctx, host, e, batch[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	case tooLong && d.mayCut(e.in.modelArgs):
		if e.cut == nil {
			e.cut = make(map[int]bool)
		}
		e.cut[batch[0]] = true
		return d.askVectors(ctx, host, e, batch, true)
	case refused && len(e.in.Input) > 1:
		return fmt.Errorf("input[%d]: %w", batch[0], err)
	}
	return err
}

// tooLongToEmbed tells what is known of an input that a host has refused for its length.
func (d Deps) tooLongToEmbed(ctx context.Context, host backend.Backend, e *embedding, input int, err error) *promptTooLong {
	w := work{host, route.Rung{Model: backend.CanonicalModel(string(e.in.Model))}, manner{options: e.sent}}
	long := d.tooLong(ctx, w, e.in.Options, len(e.in.Input[input]), err)
	long.ofEmbed = true
	return long
}

func (d Deps) askVectors(ctx context.Context, host backend.Backend, e *embedding, batch []int, truncate bool) error {
	texts := make([]string, len(batch))
	for at, i := range batch {
		texts[at] = e.in.Input[i]
	}
	got, err := host.Embed(ctx, &backend.EmbedRequest{
		Model: string(e.in.Model), Input: texts, Truncate: &truncate, Dimensions: int(e.in.Dimensions),
		Options: e.sent, KeepAlive: d.keepAlive(string(e.in.Model), e.in.modelArgs),
	})
	if err != nil {
		return err
	}
	for at, i := range batch {
		e.vectors[i] = got.Embeddings[at]
	}
	e.served.TokensIn += got.PromptEvalCount
	e.load += got.LoadDuration
	return nil
}

// present returns vectors in the result, or keeps them for the client to read:
// large ones would overflow what a host hands to its model.
func (d Deps) present(ctx context.Context, e *embedding) (*result, error) {
	out := embedOut{Model: string(e.in.Model), Count: len(e.vectors), Vectors: e.vectors}
	if len(e.vectors) > 0 {
		out.Dimensions = len(e.vectors[0])
	}
	r := &result{data: out, served: &e.served}
	if e.pinned != "" {
		r.notes = append(r.notes, e.pinned)
	}
	if len(e.cut) > 0 {
		var names []string
		for _, i := range slices.Sorted(maps.Keys(e.cut)) {
			names = append(names, fmt.Sprintf("input[%d]", i))
		}
		r.notes = append(r.notes, "Longer than the model's context, so only their beginning was embedded: "+strings.Join(names, ", ")+".")
	}
	if want := int(e.in.Dimensions); want != 0 && want != out.Dimensions {
		r.notes = append(r.notes, fmt.Sprintf("The model gives vectors of %d dimensions, not %d.", out.Dimensions, want))
	}
	if e.in.Output == "inline" {
		return r, nil
	}
	doc := mustMarshal(out)
	if e.in.Output != "resource" && len(doc) <= d.InlineBytes {
		return r, nil
	}
	uri, expires, err := d.Vectors.keep(caller.FromContext(ctx).Tenant, doc)
	if err != nil {
		return nil, err
	}
	out.Vectors, out.Resource, out.ExpiresAt = nil, uri, expires.UTC().Format(time.RFC3339)
	link := mcp.NewResourceLink(uri, "embeddings", fmt.Sprintf("%d vectors of %d dimensions", out.Count, out.Dimensions), "application/json")
	link.Size = new(int64(len(doc)))
	r.data, r.link = out, &link
	return r, nil
}
