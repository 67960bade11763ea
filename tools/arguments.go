package tools

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/nearest"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/schema"
)

// modelArgs are the arguments of every tool that uses a model. Those that callers seldom need
// are not listed: each would cost every host some tokens on each request.
type modelArgs struct {
	Options        options    `json:"options,omitzero" jsonschema:"Ollama's: temperature, seed, stop, num_predict, num_ctx …"`
	KeepAlive      *keepAlive `json:"keep_alive,omitempty" jsonschema:"unlisted: how long the model stays in memory, such as 5m; 0 = not, -1 = for ever"`
	Truncate       *bool      `json:"truncate,omitempty" jsonschema:"unlisted: true: cut input that exceeds the context, with a note; false: refuse it"`
	TimeoutSeconds period     `json:"timeout_seconds,omitempty" jsonschema:"unlisted: return what there is after this time"`
	Priority       priority   `json:"priority,omitempty" jsonschema:"unlisted: batch lets interactive calls go first"`
	Host           string     `json:"host,omitempty" jsonschema:"only this host"`
	Cache          policy     `json:"cache,omitempty" jsonschema:"of answers"`
	LocalOnly      bool       `json:"local_only,omitempty" jsonschema:"use no cloud"`
}

// textArgs are the arguments of tools whose answer is text.
type textArgs struct {
	Format        format              `json:"format,omitzero" jsonschema:"JSON schema of the answer, or \"json\""`
	Think         *backend.ThinkValue `json:"think,omitempty" jsonschema:"true, false, low, medium, high or max"`
	Fallback      fallbacks           `json:"fallback_models,omitempty" jsonschema:"unlisted: models to try in order if this one cannot answer"`
	MinSimilarity similarity          `json:"min_similarity,omitempty" jsonschema:"unlisted: lowest similarity at which the cached answer to a paraphrase may be reused; 1 = exact match only"`
	modelArgs
}

// progressArgs are the arguments of tools that make one text.
type progressArgs struct {
	ProgressText bool `json:"progress_text,omitempty" jsonschema:"unlisted: progress messages carry the end of the answer so far"`
}

// The types of arguments whose schema is not what their Go type suggests; see
// typeSchemas for the schemas.
type (
	modelName  string
	role       string
	period     float64 // seconds
	count      int     // at least 1
	policy     string  // cache.Policy
	similarity float64
	priority   string         // "interactive", which is "", or "batch"
	options    map[string]any // as Ollama spells them
	format     struct{ json.RawMessage }
	keepAlive  struct{ backend.Duration }
	texts      []string
	fallbacks  []string
	functions  []backend.Tool
)

// UnmarshalJSON takes the forms of OpenAI's APIs too, whose types are none of JSON Schema.
func (f *format) UnmarshalJSON(raw []byte) error {
	if bytes.Contains(raw, []byte(`"json_`)) {
		var other struct {
			Type   string
			Schema json.RawMessage                  // as in the API of responses
			Within struct{ Schema json.RawMessage } `json:"json_schema"`
		}
		switch err := json.Unmarshal(raw, &other); {
		case err != nil:
		case other.Type == "json_object":
			raw = []byte(`"json"`)
		case other.Type == "json_schema" && other.Within.Schema != nil:
			raw = other.Within.Schema
		case other.Type == "json_schema" && other.Schema != nil:
			raw = other.Schema
		}
	}
	return f.RawMessage.UnmarshalJSON(raw)
}

// IsZero reports that no format is wanted.
func (f format) IsZero() bool { return len(f.RawMessage) == 0 }

// UnmarshalJSON takes what Ollama takes, and "-1" and "300" in quotes too.
func (k *keepAlive) UnmarshalJSON(raw []byte) error {
	if s := strings.Trim(string(raw), `"`); json.Valid([]byte(s)) {
		raw = []byte(s) // a number of seconds
	}
	if err := k.Duration.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf(`argument "keep_alive" must be a time such as "5m", or seconds, not %s`, raw)
	}
	return nil
}

// UnmarshalJSON refuses numbers that Ollama would wrap around, and names that are nearly those
// of an option. An option that is null is left out.
func (o *options) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, (*map[string]any)(o)); err != nil {
		return err
	}
	var wrong refusals
	for _, name := range backend.UnknownOptions(*o) {
		if others := schema.OtherNames[name]; len(others) == 1 && strings.HasPrefix(others[0], "options.") {
			wrong.add("options."+name, "unknown argument %q; use %q instead", others[0])
		} else if near := nearest.Names(name, backend.OptionNames(), 1); len(near) > 0 {
			wrong.add("options."+name, "unknown argument %q; did you mean %q?", near[0])
		}
	}
	maps.DeleteFunc(*o, func(_ string, value any) bool { return value == nil })
	for _, name := range slices.Sorted(maps.Keys(*o)) {
		if n, ok := (*o)[name].(float64); ok && math.Abs(n) > math.MaxInt32 {
			wrong.add("options."+name, "argument %q must be at most %d", math.MaxInt32)
		}
	}
	return wrong.error()
}

// refusals are what is wrong with the parts of an argument.
type refusals []schema.ArgumentFault

// add adds a fault whose message begins with the path of the part.
func (r *refusals) add(path, format string, args ...any) {
	*r = append(*r, schema.ArgumentFault{Argument: path, Message: fmt.Sprintf(format, append([]any{path}, args...)...)})
}

func (r refusals) error() error {
	if r == nil {
		return nil
	}
	return &schema.ArgumentsError{Faults: r}
}

// value is what the request to the host holds; nil where the caller said nothing.
func (k *keepAlive) value() *backend.Duration {
	if k == nil {
		return nil
	}
	return &k.Duration
}

// UnmarshalJSON names each function that is no such thing.
func (f *functions) UnmarshalJSON(raw []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	*f = make(functions, len(all))
	var wrong refusals
	for i := range all {
		err := json.Unmarshal(all[i], &(*f)[i])
		at := fmt.Sprintf("tools[%d]", i)
		if mistake, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			wrong.add(strings.TrimSuffix(at+"."+mistake.Field, "."), "argument %q cannot be a %s", mistake.Value)
		} else if err != nil {
			wrong.add(at, "argument %q cannot be read: %v", err)
		}
	}
	return wrong.error()
}

// UnmarshalJSON takes one text or a list of them.
func (t *texts) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		*t = texts{""}
		return json.Unmarshal(raw, &(*t)[0])
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

// timeout is how long the call may take; 0 leaves it to the engine.
func (a modelArgs) timeout() time.Duration {
	if a.TimeoutSeconds == 0 {
		return 0
	}
	return max(seconds(float64(a.TimeoutSeconds)), 1) // 0 would be no limit
}

// seconds is a time, a year at most.
func seconds(n float64) time.Duration {
	const most = 365 * 24 * time.Hour
	return time.Duration(min(n, most.Seconds()) * float64(time.Second))
}

// common is what requests of every kind hold, for a call.
func (a modelArgs) common(ctx context.Context, c *call, model modelName) inference.Common {
	r := inference.Common{
		Model: string(model), Options: a.Options, KeepAlive: a.KeepAlive.value(), Truncate: a.Truncate, Timeout: a.timeout(),
		Host: a.Host, Cache: cache.Policy(a.Cache), LocalOnly: a.LocalOnly, Caller: caller.FromContext(ctx), Call: c.Call,
	}
	if a.Priority == "batch" {
		r.Priority = route.Batch
	}
	return r
}

// request is a request for text, for a call.
func (a textArgs) request(ctx context.Context, c *call, kind inference.Kind, model modelName) inference.Request {
	return inference.Request{
		Common: a.common(ctx, c, model), Kind: kind,
		Format: a.Format.RawMessage, Think: a.Think, Fallback: a.Fallback, MinSimilarity: float64(a.MinSimilarity),
	}
}

// decodeImages reads base64 images, with or without a data: URL around them,
// and refuses what is no image. at is the argument's path, for the message.
func decodeImages(at string, encoded []string) ([]backend.ImageData, error) {
	var images []backend.ImageData
	for i, text := range encoded {
		if strings.HasPrefix(text, "data:") {
			_, text, _ = strings.Cut(text, ",")
		}
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fault.Invalidf("argument \"%s[%d]\" is not base64: send the image's bytes in base64, not a path or a URL", at, i)
		}
		if kind := http.DetectContentType(data); !strings.HasPrefix(kind, "image/") {
			return nil, fault.Invalidf("argument \"%s[%d]\" is not an image but %s: send a PNG, JPEG or WebP", at, i, kind)
		}
		images = append(images, data)
	}
	return images, nil
}
