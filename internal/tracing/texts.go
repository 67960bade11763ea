package tracing

import (
	"encoding/json"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"ollama-mcp/internal/inference"
)

const (
	maxAttribute = 1 << 10  // bytes of an attribute
	maxText      = 16 << 10 // bytes of one with the text of prompts or answers
)

// clean is a text that fits into an attribute. OTLP takes only UTF-8: one bad byte would cost a
// whole batch of spans.
func clean(text string) string { return cut(text, maxAttribute) }

func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

// message and part are the form that the conventions have for prompts and answers.
type message struct {
	Role   string `json:"role"`
	Parts  []part `json:"parts"`
	Finish string `json:"finish_reason,omitempty"`
}

type part struct {
	Type    string `json:"type"`
	Content string `json:"content"`
}

func textPart(text string) []part { return []part{{"text", text}} }

// textAttributes are the texts of a call, without images.
func textAttributes(a *inference.Asked) (attrs []attribute.KeyValue) {
	var in, out []message
	if q := a.Request; q != nil {
		if q.System != "" {
			attrs = append(attrs, jsonAttribute(attrInstructions, textPart(q.System)))
		}
		if q.Kind == inference.Generate {
			in = append(in, message{Role: "user", Parts: textPart(q.Prompt)})
		}
		for _, m := range q.Messages {
			in = append(in, message{Role: m.Role, Parts: textPart(m.Content)})
		}
	}
	for _, text := range a.Texts {
		in = append(in, message{Role: "user", Parts: textPart(text)})
	}
	switch {
	case a.Response != nil:
		var parts []part
		if a.Response.Thinking != "" {
			parts = append(parts, part{"reasoning", a.Response.Thinking})
		}
		out = append(out, message{Role: "assistant", Parts: append(parts, textPart(a.Response.Text)...), Finish: a.Response.Served.DoneReason})
	case a.Partial != "":
		out = append(out, message{Role: "assistant", Parts: textPart(a.Partial), Finish: "error"})
	}
	if in != nil {
		attrs = append(attrs, jsonAttribute(attrInput, in))
	}
	if out != nil {
		attrs = append(attrs, jsonAttribute(attrOutput, out))
	}
	return attrs
}

// jsonAttribute is a value as JSON, of which the end is missing if it is long.
func jsonAttribute(key string, value any) attribute.KeyValue {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // it consists of texts
	}
	return attribute.String(key, cut(string(raw), maxText))
}
