package pool_test

import (
	"context"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// charging is a host that notes to whom it charges the memory of its answers.
type charging struct {
	backend.Backend
	to []string
}

func (c *charging) note(ctx context.Context) { c.to = append(c.to, caller.FromContext(ctx).ID) }

func (c *charging) Name() string { return "charging" }

func (c *charging) Generate(ctx context.Context, _ *backend.GenerateRequest, _ func(backend.Piece)) (*backend.Answer, error) {
	c.note(ctx)
	return new(backend.Answer), nil
}

func (c *charging) Chat(ctx context.Context, _ *backend.ChatRequest, _ func(backend.Piece)) (*backend.Answer, error) {
	c.note(ctx)
	return new(backend.Answer), nil
}

func (c *charging) Embed(ctx context.Context, _ *backend.EmbedRequest) (*backend.EmbedResponse, error) {
	c.note(ctx)
	return new(backend.EmbedResponse), nil
}

func TestHostKnowsToWhomAnAnswerIsCharged(t *testing.T) {
	host := new(charging)
	p, err := pool.New(pool.Options{Hosts: []backend.Backend{host}})
	if err != nil {
		t.Fatal(err)
	}
	err = p.With(t.Context(), route.Need{Caller: "alice"}, func(ctx context.Context, l *pool.Lease) error {
		if _, err := l.Host.Generate(ctx, new(backend.GenerateRequest), nil); err != nil {
			return err
		}
		if _, err := l.Host.Chat(ctx, new(backend.ChatRequest), nil); err != nil {
			return err
		}
		_, err := l.Host.Embed(ctx, new(backend.EmbedRequest))
		return err
	})
	if err != nil || len(host.to) != 3 {
		t.Fatalf("got %v after %d requests", err, len(host.to))
	}
	for _, to := range host.to {
		if to != "alice" {
			t.Errorf("the answers are charged to %q", host.to)
		}
	}
}
