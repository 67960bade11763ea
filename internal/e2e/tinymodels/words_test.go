package tinymodels_test

import (
	"testing"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/tinymodels"
)

func TestWordsPutsTextsThatShareWordsNearEachOther(t *testing.T) {
	for _, test := range []struct {
		text, near, far string
	}{
		{"what is a docker container?", "explain docker container image please", "how do I bake sourdough bread"},
		{"The cat sat on the mat", "a cat sat on a mat", "stock prices fell sharply today"},
		{"How do I reset my password?", "Resetting a forgotten password", "Opening hours of the library"},
	} {
		vectors := embed(t, test.text, test.near, test.far)
		near, far := cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])
		if near < 0.35 || far > 0.2 {
			t.Errorf("%q: %.2f to %q, want 0.35 or more; %.2f to %q, want 0.2 or less", test.text, near, test.near, far, test.far)
		}
	}
}

func TestWordsIgnoresOrderAndCapitals(t *testing.T) {
	vectors := embed(t, "Rust memory safety", "memory safety rust")
	if got := cosine(vectors[0], vectors[1]); got < 0.999 {
		t.Errorf("got %.4f, want 1", got)
	}
}

func embed(t *testing.T, texts ...string) [][]float32 {
	t.Helper()
	got, err := server.Client().Embed(t.Context(), &api.EmbedRequest{Model: tinymodels.Words.Name, Input: texts})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Embeddings) != len(texts) {
		t.Fatalf("got %d vectors, want %d", len(got.Embeddings), len(texts))
	}
	return got.Embeddings
}

// cosine needs no norms: Ollama's vectors have length one.
func cosine(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
