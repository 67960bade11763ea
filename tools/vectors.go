package tools

import (
	"context"
	"crypto/rand"
	"fmt"
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
	// vectorsFor is how long a client has to read embeddings.
	vectorsFor = 15 * time.Minute
	// vectorsBytes bounds all that is kept; the oldest make room.
	vectorsBytes = 256 << 20
)

// Vectors keeps embeddings that are too large for a result, for their caller to
// read as a resource. The zero value is ready. An address cannot be guessed, and
// to another tenant than its own it is unknown.
type Vectors struct {
	mu    sync.Mutex
	kept  []keptVectors // oldest first, all with the same time to live
	bytes int
}

type keptVectors struct {
	uri     string
	tenant  string
	doc     []byte
	expires time.Time
}

func (v *Vectors) keep(tenant string, doc []byte) (uri string, expires time.Time, err error) {
	if len(doc) > vectorsBytes {
		return "", time.Time{}, fault.Invalidf("%d MB of vectors are too large to keep: embed fewer texts in a call", len(doc)>>20)
	}
	entry := keptVectors{vectorsURI + strings.ToLower(rand.Text()), tenant, doc, time.Now().Add(vectorsFor)}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop(vectorsBytes - len(doc))
	v.kept = append(v.kept, entry)
	v.bytes += len(doc)
	return entry.uri, entry.expires, nil
}

func (v *Vectors) read(tenant, uri string) ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop(vectorsBytes)
	for _, entry := range v.kept {
		if entry.uri == uri && entry.tenant == tenant {
			return entry.doc, true
		}
	}
	return nil, false
}

// drop forgets what has expired, and the oldest until no more than limit bytes are kept.
func (v *Vectors) drop(limit int) {
	now := time.Now()
	for len(v.kept) > 0 && (v.bytes > limit || !now.Before(v.kept[0].expires)) {
		v.bytes -= len(v.kept[0].doc)
		v.kept = v.kept[1:]
	}
}

// embeddings is the resource that results of embed link to.
func embeddings(d Deps) mcpserver.ServerResourceTemplate {
	return mcpserver.ServerResourceTemplate{
		Template: mcp.NewResourceTemplate(vectorsURI+"{id}", "embeddings",
			mcp.WithTemplateDescription("Vectors that were too large for the result of embed"),
			mcp.WithTemplateMIMEType("application/json")),
		Handler: func(ctx context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			doc, ok := d.Vectors.read(caller.FromContext(ctx).Tenant, req.Params.URI)
			if !ok {
				return nil, fmt.Errorf("%w: %s is unknown or has expired; call embed again", mcpserver.ErrResourceNotFound, req.Params.URI)
			}
			return []mcp.ResourceContents{mcp.TextResourceContents{
				URI: req.Params.URI, MIMEType: "application/json", Text: string(doc),
			}}, nil
		},
	}
}
