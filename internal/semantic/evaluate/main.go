// Command evaluate tells how often questions would share an answer, rightly and
// wrongly, if an embedding model of an Ollama compared them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/semantic"
)

func main() {
	model := flag.String("model", "nomic-embed-text", "embedding `model`")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: evaluate [-model NAME] FILE\n\nFILE has pairs of questions, as internal/semantic/testdata/pairs.tsv. OLLAMA_HOST says where Ollama is.")
	}
	flag.Parse()
	if err := evaluate(*model, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(1)
	}
}

func evaluate(model, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	pairs, err := semantic.ReadPairs(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	host, err := ollama.New(ollama.Options{URL: os.Getenv("OLLAMA_HOST")})
	if err != nil {
		return err
	}
	defer host.Close()
	embed := func(texts []string) ([][]float32, error) {
		got, err := host.Embed(context.Background(), &backend.EmbedRequest{Model: model, Input: texts})
		if err != nil {
			return nil, err
		}
		return got.Embeddings, nil
	}
	table, err := semantic.Evaluate(pairs, embed, []float64{0.80, 0.85, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99})
	if err != nil {
		return err
	}
	return semantic.WriteTable(os.Stdout, pairs, table)
}
