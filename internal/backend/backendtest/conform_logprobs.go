package backendtest

import (
	"context"
	"testing"

	"ollama-mcp/internal/backend"
)

// logprobsAreTold checks that a host is asked for logprobs, and that what it tells comes back.
func logprobsAreTold(t *testing.T, host *Host, b backend.Backend) {
	want := backend.Logprob{TokenLogprob: backend.TokenLogprob{Token: "yes", Logprob: -0.5}, TopLogprobs: []backend.TokenLogprob{{Token: "yes", Logprob: -0.5}, {Token: "no", Logprob: -1.5}}}
	host.AnswerWith(func(Call) Reply { return Reply{Text: "yes", Logprobs: []backend.Logprob{want, want}} })
	for _, wanted := range []bool{true, false} {
		n := 0
		if wanted {
			n = 2
		}
		for way, ask := range map[string]func() (*backend.Answer, error){
			"chat": func() (*backend.Answer, error) {
				return b.Chat(context.Background(), &backend.ChatRequest{Model: Tiny, Messages: []backend.Message{{Role: "user", Content: "?"}}, Logprobs: wanted, TopLogprobs: n}, nil)
			},
			"generate": func() (*backend.Answer, error) {
				return b.Generate(context.Background(), &backend.GenerateRequest{Model: Tiny, Prompt: "?", Logprobs: wanted, TopLogprobs: n}, nil)
			},
		} {
			got, err := ask()
			if err != nil {
				t.Fatalf("%s: %v", way, err)
			}
			if len(got.Logprobs) != n || n > 0 && (got.Logprobs[1].Token != "yes" || got.Logprobs[1].Logprob != -0.5 || len(got.Logprobs[1].TopLogprobs) != 2 || got.Logprobs[0].TopLogprobs[1].Token != "no") {
				t.Errorf("%s: logprobs %+v, wanted %t", way, got.Logprobs, wanted)
			}
			if got.Text != "yes" {
				t.Errorf("%s: the text is %q", way, got.Text)
			}
		}
	}
}
