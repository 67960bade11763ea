package tools

import (
	"fmt"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/schema"
)

// compile checks the format before a model is asked for it. It returns nil if
// any text will do.
func (f format) compile() (*schema.Format, error) {
	if f.IsZero() {
		return nil, nil
	}
	compiled, err := schema.CompileFormat(f.RawMessage)
	if err != nil {
		return nil, fault.Invalidf(`argument "format" %v`, err)
	}
	return compiled, nil
}

// readAs parses an answer and checks it against the format, which may be nil.
// Only an object can be structured content; of any other value the text is all
// that is returned.
func readAs(f *schema.Format, a *backend.Answer) (any, error) {
	if f == nil {
		return nil, nil
	}
	value, err := parseAs(f, a.Text)
	if err != nil {
		return nil, misfit(a, err)
	}
	if object, ok := value.(map[string]any); ok {
		return object, nil
	}
	return nil, nil
}

// parseAs returns the value of a text that fits the format, without the
// invisible characters that were escaped in the text.
func parseAs(f *schema.Format, text string) (any, error) {
	value, err := schema.Decode(text)
	if err != nil {
		return nil, err
	}
	value = moderation.CleanValue(value)
	return value, f.Check(value)
}

// misfit is the error of an answer that does not fit the format.
func misfit(a *backend.Answer, err error) *fault.Error {
	e := &fault.Error{
		Code: fault.Upstream, Message: "the answer does not fit the format: " + err.Error(), Retryable: true,
		Hint: "try again, ask for less, or use a simpler schema", Partial: a.Text,
	}
	switch cut := a.DoneReason == "length"; {
	case cut && isEmpty(a) && a.Thinking != "":
		e.Message = fmt.Sprintf("the model spent all its %d tokens on thinking and answered nothing", a.Tokens)
		e.Hint = "raise options.num_predict, or set think to false"
	case cut:
		e.Message = fmt.Sprintf("the answer does not fit the format, since it was cut after %d tokens", a.Tokens)
		e.Hint = "raise options.num_predict, or options.num_ctx if the context is full"
	case isEmpty(a):
		e.Message = "the answer does not fit the format: it is empty"
	}
	return e
}
