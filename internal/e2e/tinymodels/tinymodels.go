// Package tinymodels generates models of one to three megabytes for a real Ollama server.
// Each gives one fixed answer that tests need.
//
// They are as small as their formats allow, and the same on every machine. A request passes
// through all of the server, from template and tokenizer to sampling, grammar and parsing,
// so tests see what Ollama really does.
package tinymodels

import (
	"fmt"
	"os"
	"strings"

	"github.com/ollama/ollama/fs/ggml"
)

// A Model is what Ollama needs to create a model, and the answer that the model gives.
type Model struct {
	// Name is the model's name, with no tag.
	Name string

	// Template and Parameters are what a Modelfile would state.
	Template   string
	Parameters map[string]any

	// ChatTemplate is stored in the model's file, for an engine that renders chats itself.
	ChatTemplate string

	// Answer is the text of the model's answer, empty if it gives none or never ends.
	// Thought is its thinking before the answer.
	Answer, Thought string

	weights func() (ggml.KV, []*ggml.Tensor)
	paths   []path // what it says; none for a model that embeds
}

// All has every model, for a server that should offer them all.
var All = []Model{Says, Loops, Stutters, JSON, ToolCall, Thinks, ThinksForever, Fills, Words}

// Native is the same model with its chat template in its file and none in a Modelfile, as
// most models come today. Since version 0.30 Ollama leaves it to the engine to render the
// chats of such a model, and to tell thoughts and tool calls from text.
func (m Model) Native() Model {
	m.Name += nativeSuffix
	// Ollama looks in it for words that show what the model can do, and replaces one that
	// resembles a template of its own.
	m.ChatTemplate = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>{# " + strings.Repeat("-", 200) + " #}"
	for word, in := range map[string]string{".Tools": "{{ tools }}", ".Thinking": "<think></think>"} {
		if strings.Contains(m.Template, word) {
			m.ChatTemplate = in + m.ChatTemplate
		}
	}
	m.Template = ""
	return m
}

const nativeSuffix = "-native"

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
	if m.ChatTemplate != "" {
		kv["tokenizer.chat_template"] = m.ChatTemplate
	}
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
