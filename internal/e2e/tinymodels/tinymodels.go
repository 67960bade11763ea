// Package tinymodels makes models of a megabyte or three, on the spot, for a real
// Ollama server to run: each says one thing that a test needs to hear.
//
// They are as small as the formats allow and the same on every machine. They
// pass through the whole of the server, from the template and the tokenizer to
// sampling, grammar and parsing, so what a test sees is what Ollama does.
package tinymodels

import (
	"fmt"
	"os"

	"github.com/ollama/ollama/fs/ggml"
)

// A Model is what Ollama needs to create one, and what it will answer.
type Model struct {
	// Name is the model's name, with no tag.
	Name string

	// Template and Parameters are what a Modelfile would state.
	Template   string
	Parameters map[string]any

	// Answer is the text of the model's answer, empty for those that give none
	// or come to no end; Thought is what it thinks before.
	Answer, Thought string

	weights func() (ggml.KV, []*ggml.Tensor)
}

// All has every model, for a server that should offer them all.
var All = []Model{Says, Loops, Stutters, JSON, ToolCall, Thinks, ThinksForever, Fills, Words}

// WriteFile writes the model's weights to a new file in the GGUF format.
func (m Model) WriteFile(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()

	kv, tensors := m.weights()
	// Ollama knows a loaded model by the hash of its file: the name inside
	// keeps two models of equal weights apart.
	kv["general.name"] = m.Name
	if err := ggml.WriteGGUF(f, kv, tensors); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// parameters are those of every model here.
func parameters() map[string]any {
	return map[string]any{
		// A second thread would only spin while it waits for the first.
		"num_thread": 1,
		// Where there is a GPU, moving a model this small there is all cost.
		"num_gpu": 0,
	}
}
