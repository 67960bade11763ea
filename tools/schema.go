package tools

import (
	"math"
	"reflect"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/batch"
	"ollama-mcp/internal/schema"
)

// typeSchemas describe the types whose JSON is not what their Go type suggests. Where several
// kinds of value are allowed, clients are shown the last.
var typeSchemas = schema.Overrides{
	reflect.TypeFor[modelName]():    nonEmpty(),
	reflect.TypeFor[role]():         {Type: "string", Enum: []any{"system", "user", "assistant", "tool"}},
	reflect.TypeFor[texts]():        anyOf(nonEmpty(), &schema.Document{Type: "array", Items: nonEmpty(), MinItems: new(1)}),
	reflect.TypeFor[paths]():        {Type: "array", Items: nonEmpty(), MaxItems: new(100)},
	reflect.TypeFor[inputs]():       {Type: "array", Items: anyOf(&schema.Document{Type: "object"}, &schema.Document{Type: "number"}, &schema.Document{Type: "string"}), MinItems: new(1), MaxItems: new(batch.MaxInputs)},
	reflect.TypeFor[documents]():    {Type: "array", Items: &schema.Document{Type: "string"}, MaxItems: new(5000)},
	reflect.TypeFor[labels]():       {Type: "array", Items: &schema.Document{Type: "string"}, MaxItems: new(1000)},
	reflect.TypeFor[alternatives](): {Type: "integer", Minimum: new(0.0), Maximum: new(float64(backend.MostLogprobs))},
	reflect.TypeFor[fallbacks]():    {Type: "array", Items: &schema.Document{Type: "string"}, MaxItems: new(mostFallbacks)},
	reflect.TypeFor[format]():       anyOf(&schema.Document{Type: "string", Enum: []any{"json"}}, &schema.Document{Type: "object"}),
	reflect.TypeFor[keepAlive]():    anyOf(&schema.Document{Type: "number"}, nonEmpty()),
	reflect.TypeFor[period]():       {Type: "number", ExclusiveMinimum: new(0.0)},
	reflect.TypeFor[waitSeconds]():  {Type: "number", Minimum: new(0.0)},
	reflect.TypeFor[jobAction]():    {Type: "string", Enum: []any{"result", "cancel", "list"}},
	reflect.TypeFor[options]():      optionsSchema(),
	reflect.TypeFor[output]():       {Type: "string", Enum: []any{"inline", "resource", "auto"}},
	reflect.TypeFor[encoding]():     {Type: "string", Enum: []any{"float", "base64"}},
	reflect.TypeFor[vector]():       anyOf(&schema.Document{Type: "null"}, &schema.Document{Type: "array", Items: &schema.Document{Type: "number"}}, &schema.Document{Type: "string"}),
	reflect.TypeFor[policy]():       {Type: "string", Enum: []any{"auto", "off", "refresh"}},
	reflect.TypeFor[offset]():       {Type: "integer", Minimum: new(0.0), Maximum: new(float64(batch.MaxInputs))},
	reflect.TypeFor[similarity]():   {Type: "number", Minimum: new(0.0), Maximum: new(1.0)},
	reflect.TypeFor[priority]():     {Type: "string", Enum: []any{"interactive", "batch"}},
	reflect.TypeFor[usageDays]():    {Type: "integer", Minimum: new(1.0), Maximum: new(400.0)},
	// Newer hosts may list others than these.
	reflect.TypeFor[capability](): {Type: "string", Examples: []any{"completion", "embedding", "thinking", "tools", "vision", "audio"}},
	reflect.TypeFor[backend.ThinkValue](): anyOf(&schema.Document{Type: "boolean"},
		&schema.Document{Type: "string", Enum: []any{"low", "medium", "high", "max"}}),
	reflect.TypeFor[count]():            {Type: "integer", Minimum: new(1.0), Maximum: new(float64(math.MaxInt32))},
	reflect.TypeFor[backend.ToolCall](): withFunction("arguments"),
	reflect.TypeFor[backend.Tool]():     withFunction("parameters"),
}

// mostFallbacks is the number of models that may stand in for one.
const mostFallbacks = 32

// optionsSchema describes the options that this program knows. A host that is newer may have
// others, so they are left to it; see options.UnmarshalJSON for those that are typing errors.
func optionsSchema() *schema.Document {
	s, err := schema.Derive(reflect.TypeFor[backend.Options](), nil)
	if err != nil {
		panic(err) // a type of a pinned library
	}
	s.Required, s.AdditionalProperties = nil, nil
	for _, name := range []string{"num_ctx", "num_batch"} {
		s.Properties[name].Minimum = new(1.0) // 0 makes Ollama's runner crash
	}
	const mostThreads = 512 // GGML_MAX_N_THREADS; with more the runner hangs or crashes
	s.Properties["num_thread"].Maximum = new(float64(mostThreads))
	return s
}

// withFunction describes an object that holds a function by its name, and an
// object that belongs to it.
func withFunction(object string) *schema.Document {
	return &schema.Document{
		Type:     "object",
		Required: []string{"function"},
		Properties: map[string]*schema.Document{"function": {
			Type:     "object",
			Required: []string{"name"},
			Properties: map[string]*schema.Document{
				"name": {Type: "string"},
				object: {Type: "object"},
			},
		}},
	}
}

func anyOf(choices ...*schema.Document) *schema.Document {
	return &schema.Document{AnyOf: choices}
}

func nonEmpty() *schema.Document { return &schema.Document{Type: "string", MinLength: new(1)} }
