package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/cache"
)

// Documents that a caller reads later, such as the vectors of embed, are records under keys that
// have their address. They belong to no era, since they are no answers to anybody else.

func (c *Client) keyOfDocument(uri string) string { return c.keyOfLimit("document", uri) }

// PutDocument implements tools.SharedDocuments. A document that makes too large a record stays on
// its replica.
func (c *Client) PutDocument(ctx context.Context, tenant, uri string, data []byte, ttl time.Duration) {
	if !c.usable.Load() {
		return
	}
	key := c.keyOfDocument(uri)
	record, err := c.sealer.encode(key, header{Scope: cache.Scope{Tenant: tenant}}, data)
	if err != nil {
		return
	}
	results, ok := c.do(ctx, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("SET").Keys(key).Args(rueidis.BinaryString(record), "PX", milliseconds(ttl)).Build()}
	})
	if ok {
		if err := refusal(results[0]); err != nil {
			c.noteWrite(err)
		}
	}
}

// Document implements tools.SharedDocuments.
func (c *Client) Document(ctx context.Context, tenant, uri string) (data []byte, ok bool) {
	key := c.keyOfDocument(uri)
	results, ok := c.do(ctx, func(b rueidis.Builder) rueidis.Commands { return rueidis.Commands{getRecord(b, key)} })
	if !ok {
		return nil, false
	}
	h, data, ok := c.decodeRecord(key, results[0])
	if !ok || h.Scope.Tenant != tenant { // whoever asks has guessed the address, or was given it
		return nil, false
	}
	return data, true
}
