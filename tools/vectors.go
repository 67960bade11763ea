package tools

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

const (
	vectorsURI = "ollama://embeddings/"
	// vectorsTTL is how long a client has to read embeddings.
	vectorsTTL = 15 * time.Minute
	// maxVectors and maxVectorsKept bound what is kept, in bytes and in documents.
	maxVectors     = 256 << 20
	maxVectorsKept = 4096
	// documentPart is which part of what is kept one document may take. Its answer counts in
	// the memory for answers, of which its caller has a share.
	documentPart = 4
)

// Vectors keeps embeddings that are too large for a result, for their caller to read as a
// resource. The zero value is ready for use. An address cannot be guessed, and it is
// unknown to other tenants than its own. When space is needed, the oldest embeddings of
// the caller that has the most make room, so that no caller pushes out those of others.
type Vectors struct {
	// Max is how many bytes are kept; 0 means 256 MiB. One document may take a quarter. It must
	// not change once the first is kept.
	Max int

	mu    sync.Mutex
	kept  []*keptVectors // oldest first
	bytes int
}

type keptVectors struct {
	uri     string
	owner   string // caller.Caller.ID
	tenant  string
	doc     []byte
	expires time.Time // by the wall clock, which goes on while a laptop sleeps
	expiry  *time.Timer
}

// keep stores a document for its caller.
func (v *Vectors) keep(who caller.Caller, doc []byte) (uri string, expires time.Time, err error) {
	most := cmp.Or(v.Max, maxVectors)
	if len(doc) > most/documentPart {
		return "", time.Time{}, fault.Invalidf("%d MB of vectors are too large to keep: embed fewer texts in a call", len(doc)>>20)
	}
	entry := &keptVectors{
		uri: vectorsURI + strings.ToLower(rand.Text()), owner: who.ID, tenant: who.Tenant,
		doc: doc, expires: time.Now().Round(0).Add(vectorsTTL),
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	entry.expiry = time.AfterFunc(vectorsTTL, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if i := slices.Index(v.kept, entry); i >= 0 {
			v.drop(i)
		}
	})
	v.kept = append(v.kept, entry)
	v.bytes += len(doc)
	for v.bytes > most {
		v.drop(v.oldestOfLargest(func(k *keptVectors) int { return len(k.doc) }))
	}
	for len(v.kept) > maxVectorsKept {
		v.drop(v.oldestOfLargest(func(*keptVectors) int { return 1 }))
	}
	return entry.uri, entry.expires, nil
}

// read returns a document of a tenant.
func (v *Vectors) read(tenant, uri string) ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.kept, func(k *keptVectors) bool { return k.uri == uri && k.tenant == tenant })
	if i < 0 || time.Now().After(v.kept[i].expires) {
		return nil, false
	}
	return v.kept[i].doc, true
}

// drop forgets the entry at an index. mu is held.
func (v *Vectors) drop(i int) {
	k := v.kept[i]
	v.bytes -= len(k.doc)
	k.doc = nil // the runtime may hold the stopped timer, and thus the entry, for long
	k.expiry.Stop()
	v.kept = slices.Delete(v.kept, i, i+1)
}

// oldestOfLargest is the index of the oldest entry of the caller that has the most, by what is
// measured of each entry. mu is held.
func (v *Vectors) oldestOfLargest(measure func(*keptVectors) int) int {
	of := make(map[string]int)
	for _, k := range v.kept {
		of[k.owner] += measure(k)
	}
	most := slices.Max(slices.Collect(maps.Values(of)))
	return slices.IndexFunc(v.kept, func(k *keptVectors) bool { return of[k.owner] == most })
}

// embeddings is the resource that results of embed link to.
func embeddings(d Deps) mcpserver.ServerResourceTemplate {
	return mcpserver.ServerResourceTemplate{
		Template: mcp.NewResourceTemplate(vectorsURI+"{id}", "embeddings",
			mcp.WithTemplateDescription("Vectors that were too large for the result of embed"),
			mcp.WithTemplateMIMEType("application/json")),
		Handler: func(ctx context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			who := caller.FromContext(ctx)
			end, err := d.Quota.Begin(who)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, end) // the request ends when the client has taken the answer
			doc, ok := d.Vectors.read(who.Tenant, req.Params.URI)
			if !ok {
				return nil, fmt.Errorf("%w: %s is unknown or has expired; call embed again", mcpserver.ErrResourceNotFound, req.Params.URI)
			}
			return []mcp.ResourceContents{mcp.TextResourceContents{
				URI: req.Params.URI, MIMEType: "application/json", Text: string(doc),
			}}, nil
		},
	}
}
