package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
)

// What a batch may have.
const (
	MaxInputs     = 10_000
	MaxInputBytes = 10 << 20 // of one input
)

// Input is what a prompt is asked about.
type Input struct {
	Name   string            // says which input it is, for messages
	Text   string            // the whole of it
	Fields map[string]string // of an object, by name; nil for a text
	Image  []byte            // nil for a text
}

// Inputs are read when they are needed, so that their number takes little memory. Errors are
// *fault.Error.
type Inputs interface {
	Len() int
	// Name says which input it is: its place, or its file.
	Name(i int) string
	// Read asks take for the memory that an input takes which is not in memory yet.
	Read(ctx context.Context, i int, take func(bytes int64) error) (Input, error)
}

// Values are inputs that are given as JSON: texts, or objects with fields.
type Values []json.RawMessage

// Len implements Inputs.
func (v Values) Len() int { return len(v) }

// Name implements Inputs.
func (v Values) Name(i int) string { return fmt.Sprintf("inputs[%d]", i) }

// Read implements Inputs.
func (v Values) Read(_ context.Context, i int, _ func(int64) error) (Input, error) {
	if len(v[i]) > MaxInputBytes {
		return Input{}, tooLarge(v.Name(i), len(v[i]))
	}
	return parseInput(v.Name(i), v[i])
}

func tooLarge(name string, size int) *fault.Error {
	return fault.Invalidf("%s has %d bytes, and an input may have %d: split it", name, size, MaxInputBytes)
}

// Lines are inputs that are the lines of text files. Those of files that end in .jsonl or
// .ndjson are JSON.
type Lines struct{ *files.Lines }

// Read implements Inputs.
func (l Lines) Read(_ context.Context, i int, take func(int64) error) (Input, error) {
	if err := take(int64(l.Size(i))); err != nil {
		return Input{}, err
	}
	text, err := l.Lines.Read(i)
	if err != nil {
		return Input{}, err
	}
	name := l.Name(i)
	switch strings.ToLower(path.Ext(l.File(i))) {
	case ".jsonl", ".ndjson":
	default:
		return Input{Name: name, Text: text}, nil
	}
	raw := json.RawMessage(strings.TrimSpace(text))
	if !json.Valid(raw) {
		return Input{}, fault.Invalidf("%s is not JSON, as each line of such a file must be", name)
	}
	return parseInput(name, raw)
}

// Files are inputs that are whole files, texts or images, with their path in the field name.
type Files struct{ *files.List }

// Read implements Inputs.
func (f Files) Read(ctx context.Context, i int, take func(int64) error) (Input, error) {
	got, err := f.List.Read(ctx, i, MaxInputBytes, take)
	if err != nil {
		return Input{}, err
	}
	return Input{Name: got.Name, Text: got.Text, Image: got.Image, Fields: map[string]string{"name": got.Name}}, nil
}
