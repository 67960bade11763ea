package tools

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

const (
	// documentTTL is how long a client has to read embeddings.
	documentTTL = 15 * time.Minute
	// maxDocumentBytes and maxDocuments bound what is kept.
	maxDocumentBytes = 256 << 20
	maxDocuments     = 4096
	// documentPart is which part of what is kept one document may take. Its answer counts in
	// the memory for answers, of which its caller has a share.
	documentPart = 4
)

// Documents keeps what is too large for a result, for its caller to read as a resource. The
// zero value is ready for use. An address cannot be guessed, and it is unknown to other tenants
// than its own. When space is needed, the oldest documents of the caller that has the most make
// room, so that no caller pushes out those of others.
type Documents struct {
	// Max is how many bytes are kept; 0 means 256 MiB. One document may take a quarter. It must
	// not change once the first is kept.
	Max int
	// Shared has other processes find documents of one page too; nil for none. Nor must it change.
	Shared SharedDocuments

	mu    sync.Mutex
	kept  []*document // oldest first
	bytes int
}

// SharedDocuments are documents that other processes find too, unless they are too large for that. Its
// methods return within a short time.
type SharedDocuments interface {
	// PutDocument keeps a document of a tenant under its address for a time.
	PutDocument(ctx context.Context, tenant, uri string, data []byte, ttl time.Duration)
	// Document returns a document of a tenant.
	Document(ctx context.Context, tenant, uri string) (data []byte, ok bool)
}

// document is what a resource holds.
type document struct {
	kind documentKind
	data []byte
	ends []int         // of the pages in data; nil for a single page, whose address has no number
	ttl  time.Duration // 0 means documentTTL

	uri     string
	owner   string // caller.Caller.ID
	tenant  string
	expires time.Time // by the wall clock, which goes on while a laptop sleeps
	expiry  *time.Timer
}

// documentKind is what clients are told of a kind of documents.
type documentKind struct {
	uri, suffix  string // around the name
	name, text   string
	mime, remedy string
}

var (
	vectorsKind = documentKind{
		uri: "ollama://embeddings/", name: "embeddings", text: "Vectors that were too large for the result of embed",
		mime: "application/json", remedy: "call embed again",
	}
	logprobsKind = documentKind{
		uri: "ollama://logprobs/", name: "logprobs", text: "Logprobs of the tokens of an answer",
		mime: "application/json", remedy: "call the tool again",
	}
	resultsKind = documentKind{
		uri: "ollama://maps/", suffix: "/{page}", name: "map results", text: "All results of map, in pages of JSON lines",
		mime: "application/jsonl", remedy: "call map again: what is done costs nothing",
	}
)

// largest is how many bytes a document may have.
func (v *Documents) largest() int { return v.most() / documentPart }

// most is how many bytes are kept.
func (v *Documents) most() int { return cmp.Or(v.Max, maxDocumentBytes) }

// keep stores a document for its caller. It reports whether it can: it may be too large.
func (v *Documents) keep(ctx context.Context, who caller.Caller, d *document) bool {
	data := d.data // which is gone when the document has to make room
	if !v.store(who, d) {
		return false
	}
	if v.Shared != nil && d.ends == nil {
		v.Shared.PutDocument(ctx, d.tenant, d.uri, data, d.ttl)
	}
	return true
}

// store keeps a document in memory.
func (v *Documents) store(who caller.Caller, d *document) bool {
	if len(d.data) > v.largest() {
		return false
	}
	d.ttl = cmp.Or(d.ttl, documentTTL)
	d.uri, d.owner, d.tenant = d.kind.uri+strings.ToLower(rand.Text()), who.ID, who.Tenant
	d.expires = time.Now().Round(0).Add(d.ttl)
	v.mu.Lock()
	defer v.mu.Unlock()
	d.expiry = time.AfterFunc(d.ttl, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if i := slices.Index(v.kept, d); i >= 0 {
			v.drop(i)
		}
	})
	v.kept = append(v.kept, d)
	v.bytes += len(d.data)
	for v.bytes > v.most() {
		v.drop(v.oldestOfLargest(func(k *document) int { return len(k.data) }))
	}
	for len(v.kept) > maxDocuments {
		v.drop(v.oldestOfLargest(func(*document) int { return 1 }))
	}
	return true
}

// page is what an address stands for: the document, or a page of it.
func (d *document) page(uri string) (data []byte, ok bool) {
	if d.ends == nil {
		return d.data, uri == d.uri
	}
	number, found := strings.CutPrefix(uri, d.uri+"/")
	n, err := strconv.Atoi(number)
	if !found || err != nil || n < 1 || n > len(d.ends) {
		return nil, false
	}
	from := 0
	if n > 1 {
		from = d.ends[n-2]
	}
	return d.data[from:d.ends[n-1]], true
}

// read returns a document of a tenant, or a page of one.
func (v *Documents) read(ctx context.Context, tenant, uri string) ([]byte, bool) {
	data, ok := v.own(tenant, uri)
	if !ok && v.Shared != nil {
		return v.Shared.Document(ctx, tenant, uri)
	}
	return data, ok
}

// own returns what is in memory.
func (v *Documents) own(tenant, uri string) ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.kept {
		if data, ok := d.page(uri); ok && d.tenant == tenant && time.Now().Before(d.expires) {
			return data, true
		}
	}
	return nil, false
}

// drop forgets the entry at an index. mu is held.
func (v *Documents) drop(i int) {
	k := v.kept[i]
	v.bytes -= len(k.data)
	k.data = nil // the runtime may hold the stopped timer, and thus the entry, for long
	k.expiry.Stop()
	v.kept = slices.Delete(v.kept, i, i+1)
}

// oldestOfLargest is the index of the oldest entry of the caller that has the most, by what is
// measured of each entry. mu is held.
func (v *Documents) oldestOfLargest(measure func(*document) int) int {
	of := make(map[string]int)
	for _, k := range v.kept {
		of[k.owner] += measure(k)
	}
	most := slices.Max(slices.Collect(maps.Values(of)))
	return slices.IndexFunc(v.kept, func(k *document) bool { return of[k.owner] == most })
}

// notFound is the error of a resource that is not there, or not any more.
type notFound struct{ uri, remedy string }

func (e notFound) Error() string {
	return fmt.Sprintf("%v: %s is unknown or has expired; %s", mcpserver.ErrResourceNotFound, e.uri, e.remedy)
}

// Unwrap makes errors.Is see what the protocol library looks for.
func (notFound) Unwrap() error { return mcpserver.ErrResourceNotFound }

// Fault implements fault.Explainer, for the log.
func (e notFound) Fault() *fault.Error {
	return &fault.Error{Code: fault.NotFound, Message: e.uri + " is unknown or has expired", Hint: e.remedy}
}

// resource lets clients read documents of a kind.
func resource(d Deps, kind documentKind) mcpserver.ServerResourceTemplate {
	return mcpserver.ServerResourceTemplate{
		Template: mcp.NewResourceTemplate(kind.uri+"{id}"+kind.suffix, kind.name,
			mcp.WithTemplateDescription(kind.text), mcp.WithTemplateMIMEType(kind.mime)),
		Handler: func(ctx context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			who := caller.FromContext(ctx)
			var data []byte
			err := d.observed(ctx, "resources/read", req.Header, func() error {
				end, err := d.Quota.Begin(who)
				if err != nil {
					return err
				}
				context.AfterFunc(ctx, end) // the request ends when the client has taken the answer
				var ok bool
				if data, ok = d.Documents.read(ctx, who.Tenant, req.Params.URI); !ok {
					return notFound{req.Params.URI, kind.remedy}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			return []mcp.ResourceContents{mcp.TextResourceContents{
				URI: req.Params.URI, MIMEType: kind.mime, Text: string(data),
			}}, nil
		},
	}
}
