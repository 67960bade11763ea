package inference_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

// A program asks the models of one host, and has equal requests answered from a cache.
func ExampleEngine_Do() {
	server := backendtest.New("gpu-1").Answer("Paris.") // in place of a real Ollama
	url, err := server.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	host, err := ollama.New(ollama.Options{Name: "gpu-1", URL: url})
	if err != nil {
		log.Fatal(err)
	}
	defer host.Close()
	hosts, err := pool.New(pool.Options{Hosts: []backend.Backend{host}, Slots: 2})
	if err != nil {
		log.Fatal(err)
	}
	engine, err := inference.New(inference.Options{Hosts: hosts, Timeout: time.Minute, Cache: cache.Options{Size: 1 << 20, TTL: time.Hour}})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	for range 2 {
		resp, err := engine.Do(context.Background(), inference.Request{
			Common: inference.Common{Model: "tiny"},
			Prompt: "What is the capital of France?",
		})
		if err != nil {
			log.Fatal(err) // a *fault.Error: it has a code, and a hint at the next step
		}
		fmt.Println(resp.Text, "from", resp.Served.Host, "by way of", resp.Served.Source)
	}
	// Output:
	// Paris. from gpu-1 by way of local
	// Paris. from gpu-1 by way of cache
}
