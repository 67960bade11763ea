package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// A host is the Ollama that the demo talks to.
type host struct {
	env         []string // how a program is told of it; nothing where it is known
	chat, embed string   // models that can
	close       func()
}

// findHost takes the Ollama that is there, or starts one.
func findHost(ctx context.Context, out io.Writer) (*host, error) {
	client, err := api.ClientFromEnvironment()
	if err != nil {
		return nil, fmt.Errorf("OLLAMA_HOST: %w", err)
	}
	if h := existingHost(ctx, client); h != nil {
		return h, nil
	}

	fmt.Fprintln(out, "No Ollama with models answers, so here is one with tiny models of our own.")
	s, err := ollamatest.Launch(ctx, ollamatest.Options{Models: tinymodels.All})
	if err != nil {
		return nil, err
	}
	return &host{
		env:   []string{"OLLAMA_HOST=" + s.URL()},
		chat:  tinymodels.Says.Name,
		embed: tinymodels.Words.Name,
		close: func() { _ = s.Close() }, // the demo is over either way
	}, nil
}

// existingHost is nil where there is none with a model that can chat.
func existingHost(ctx context.Context, client *api.Client) *host {
	list, err := client.List(ctx)
	if err != nil {
		return nil
	}
	h := &host{close: func() {}}
	for _, m := range list.Models {
		shown, err := client.Show(ctx, &api.ShowRequest{Model: m.Model})
		if err != nil {
			continue
		}
		if h.chat == "" && slices.Contains(shown.Capabilities, model.CapabilityCompletion) {
			h.chat = m.Model
		}
		if h.embed == "" && slices.Contains(shown.Capabilities, model.CapabilityEmbedding) {
			h.embed = m.Model
		}
	}
	if h.chat == "" {
		return nil
	}
	if h.embed == "" {
		h.embed = h.chat // not what it was made for, but Ollama lets it
	}
	return h
}
