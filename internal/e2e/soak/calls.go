package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/e2e/tinymodels"
)

// A call is a request to a tool, and what its answer has to be.
type call struct {
	kind string
	tool string
	args map[string]any

	// limit is the time that the program has.
	limit time.Duration

	// cancel is when the caller leaves; zero if it stays.
	cancel time.Duration

	// right returns an error if an answer is not that to this call, as that of another call
	// would not be. Nil if the call has to fail.
	right func(*result) error

	// codes are the errors that the call may end with besides those of a host in trouble.
	codes []string

	// revocable says that the key of the caller is revoked now and then.
	revocable bool
}

func (c call) params() map[string]any {
	c.args["timeout_seconds"] = c.limit.Seconds()
	return map[string]any{"name": c.tool, "arguments": c.args}
}

// inTrouble are the errors that any call may end with while hosts are in trouble.
var inTrouble = []string{"no_host", "overloaded", "queue_timeout", "timeout", "upstream", "model_not_found", "rate_limited"}

// A kind makes calls. Its weight is how many of a hundred are of it.
type kind struct {
	name   string
	weight int
	make   func(*rand.Rand) call
}

// kinds need the vectors that texts must get.
func kinds(vectors map[string][]float64) []kind {
	return []kind{
		{"short", 26, short},
		{"counted", 20, func(r *rand.Rand) call { return counted(r, 2+r.IntN(100)) }},
		{"long", 4, func(r *rand.Rand) call { return counted(r, 1000+r.IntN(1000)) }},
		{"cancelled", 10, cancelled},
		{"out of time", 5, outOfTime},
		{"oversized", 3, oversized},
		{"with an image", 4, withImage},
		{"with tools", 8, withTools},
		{"with a format", 6, withFormat},
		{"embed", 8, func(r *rand.Rand) call { return embed(r, vectors) }},
		{"of a provider", 4, ofProvider},
		{"mistaken", 2, mistaken},
	}
}

// draw draws a call by the weights.
func draw(r *rand.Rand, kinds []kind) call {
	n := r.IntN(100)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			c := k.make(r)
			c.kind = k.name
			return c
		}
	}
	panic("the weights do not add up to 100")
}

// answered is the text of a call, and the number of tokens of its prompt. An answer that was cut by
// its time limit has the beginning of the text, and a note that says so.
func answered(text string, tokensIn int) func(*result) error {
	return func(r *result) error {
		cut := len(r.Content) > 1 && r.Meta.Served.TokensIn == 0 // which is not known then, even if all of the text had come
		if got := textOf(r); cut && got != "" && strings.HasPrefix(text, got) {
			return nil
		}
		if got := textOf(r); got != text {
			return fmt.Errorf("the text is %.200q, want %.200q", got, text)
		}
		if got := r.Meta.Served.TokensIn; got != tokensIn {
			return fmt.Errorf("the prompt had %d tokens, want %d", got, tokensIn)
		}
		return nil
	}
}

func textOf(r *result) string {
	if len(r.Content) == 0 {
		return ""
	}
	return r.Content[0].Text
}

// around is the number of tokens around those of a prompt.
const around = 3

// short is told from others by the length of its prompt.
func short(r *rand.Rand) call { return shortOf(r.IntN(1500), "x") }

// shortOf is a short call whose prompt has a beginning and so many bytes more.
func shortOf(n int, beginning string) call {
	prompt := beginning + strings.Repeat("x", n)
	return call{
		tool: "chat", limit: 20 * time.Second, right: answered(tinymodels.Says.Answer, len(prompt)+around),
		args: map[string]any{"model": "tiny-says", "messages": []any{map[string]any{"role": "user", "content": prompt}}},
	}
}

// ofProvider is short, but for the provider that has a budget. Its answer is whole as soon as it says why
// it ended, and tells the tokens after that: a connection that is cut between the two costs the number.
func ofProvider(r *rand.Rand) call {
	c := short(r)
	c.args["model"] = provider + "/tiny-says"
	usual := c.right
	c.right = func(r *result) error {
		if r.Meta.Served.TokensIn == 0 && textOf(r) == tinymodels.Says.Answer {
			return nil
		}
		return usual(r)
	}
	return c
}

// counted is told from others by the length of its prompt and of its answer.
func counted(r *rand.Rand, tokens int) call {
	n := 1 + r.IntN(1500)
	text := strings.Repeat(" tick tock", tokens/2)
	if tokens%2 == 1 {
		text += " tick"
	}
	return call{
		tool: "generate", limit: 30 * time.Second,
		args:  map[string]any{"model": "tiny-loops", "prompt": strings.Repeat("x", n), "options": map[string]any{"num_predict": tokens}},
		right: answered(text, n+around),
	}
}

// endless is a call that the model would never end.
func endless(r *rand.Rand) call {
	return call{
		tool: "generate", limit: 20 * time.Second,
		args: map[string]any{"model": "tiny-loops", "prompt": strings.Repeat("x", 1+r.IntN(1500)), "options": map[string]any{"num_predict": 1 << 20}},
		right: func(res *result) error {
			if text := textOf(res); !strings.HasPrefix(text, " tick") || len(res.Content) < 2 {
				return fmt.Errorf("the text is %.100q…, with %d more blocks, want what had come and a note", text, len(res.Content)-1)
			}
			return nil
		},
	}
}

func cancelled(r *rand.Rand) call {
	c := endless(r)
	c.cancel = time.Duration(1+r.IntN(1500)) * time.Millisecond
	return c
}

func outOfTime(r *rand.Rand) call {
	c := endless(r)
	c.limit = time.Duration(1+r.IntN(2)) * time.Second
	c.codes = []string{"timeout", "queue_timeout"} // if nothing has come by then
	return c
}

// oversized is larger than the largest message that the program takes.
func oversized(*rand.Rand) call {
	return call{
		tool: "generate", limit: 20 * time.Second, codes: []string{"too large"},
		args: map[string]any{"model": "tiny-says", "prompt": strings.Repeat("x", 1<<20+1<<19)},
	}
}

// onePixel is a PNG.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// withImage is refused: none of the models sees.
func withImage(r *rand.Rand) call {
	return call{
		tool: "generate", limit: 20 * time.Second, codes: []string{"invalid_argument"},
		args: map[string]any{"model": "tiny-says", "prompt": strings.Repeat("x", 1+r.IntN(1500)), "images": []string{onePixel}},
	}
}

func withTools(r *rand.Rand) call {
	weather := map[string]any{"type": "function", "function": map[string]any{
		"name": "get_weather", "description": "d", "parameters": map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
	}}
	return call{
		tool: "chat", limit: 20 * time.Second,
		args: map[string]any{
			"model": "tiny-toolcall", "tools": []any{weather},
			"messages": []any{map[string]any{"role": "user", "content": strings.Repeat("x", 1+r.IntN(1500))}},
		},
		right: func(res *result) error {
			if !strings.Contains(textOf(res), "Oslo") || res.StructuredContent["tool_calls"] == nil {
				return fmt.Errorf("got %.200q, want a tool call", textOf(res))
			}
			return nil
		},
	}
}

func withFormat(r *rand.Rand) call {
	return call{
		tool: "generate", limit: 20 * time.Second,
		args: map[string]any{"model": "tiny-json", "prompt": strings.Repeat("x", 1+r.IntN(1500)), "format": map[string]any{
			"type": "object", "properties": map[string]any{"answer": map[string]any{"type": "integer"}}, "required": []string{"answer"},
		}},
		right: func(res *result) error {
			if res.StructuredContent["answer"] != 42.0 {
				return fmt.Errorf("got %.200q, structured %v", textOf(res), res.StructuredContent)
			}
			return nil
		},
	}
}

// embed is told from others by its vectors.
func embed(r *rand.Rand, vectors map[string][]float64) call {
	texts := make([]string, 1+r.IntN(4))
	for i := range texts {
		texts[i] = embedTexts[r.IntN(len(embedTexts))]
	}
	return call{
		tool: "embed", limit: 20 * time.Second, args: map[string]any{"model": "tiny-words", "input": texts},
		right: func(res *result) error {
			got, ok := res.StructuredContent["vectors"].([]any)
			if !ok || len(got) != len(texts) {
				return fmt.Errorf("%d vectors, want %d", len(got), len(texts))
			}
			for i, text := range texts {
				if near := cosine(got[i], vectors[text]); near < 0.999 {
					return fmt.Errorf("the vector of %q is that of something else (%.3f)", text, near)
				}
			}
			return nil
		},
	}
}

var embedTexts = []string{"bread", "water", "a house by the sea", "the moon", "rivers", "zinc", "quartz", "jumpers", "violin", "fog", "maps", "ink", "the clock", "owl"}

func cosine(a any, b []float64) float64 {
	values, _ := a.([]any)
	if len(values) != len(b) {
		return 0
	}
	var ab, aa, bb float64
	for i := range b {
		x, _ := values[i].(float64)
		ab, aa, bb = ab+x*b[i], aa+x*x, bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

func mistaken(*rand.Rand) call {
	return call{
		tool: "generate", limit: 20 * time.Second, codes: []string{"invalid_argument"},
		args: map[string]any{"model": "tiny-says", "prompt": 7},
	}
}

// An outcome is how a call ended: "ok", "cancelled", "revoked", or the code of its error.
type outcome string

const (
	ok         outcome = "ok"
	byCaller   outcome = "cancelled"
	keyRevoked outcome = "revoked"
)

// judge returns how a call ended, and an error if it must not have ended so.
func (c call) judge(r response, err error) (outcome, error) {
	if err != nil || r.Error != nil {
		return c.judgeError(r, err)
	}
	switch {
	case r.Result == nil:
		return "nothing", errors.New("an answer with neither a result nor an error")
	case !r.Result.IsError && c.right == nil:
		return ok, fmt.Errorf("it succeeded with %.200q", textOf(r.Result))
	case !r.Result.IsError:
		return ok, c.right(r.Result)
	}
	code, _ := r.Result.StructuredContent["code"].(string)
	text := textOf(r.Result)
	switch {
	case code == "" || strings.Contains(text, "\n"):
		return outcome(code), fmt.Errorf("no code, or more than a line: %q", text)
	case !allowed(code, c.codes, inTrouble):
		return outcome(code), fmt.Errorf("%s: %s", code, text)
	}
	return outcome(code), nil
}

func allowed(code string, lists ...[]string) bool {
	return slices.Contains(slices.Concat(lists...), code)
}

// judgeError judges what is no result of a tool.
func (c call) judgeError(r response, err error) (outcome, error) {
	status, isStatus := errors.AsType[*errStatus](err)
	switch {
	case err == nil && strings.Contains(r.Error.Message, "larger than"), isStatus && status.status == 413:
		if allowed("too large", c.codes) {
			return "too large", nil
		}
		return "too large", errors.New("refused for its size")
	case err == nil && strings.Contains(r.Error.Message, "no longer valid"), isStatus && strings.Contains(status.body, "no longer valid"):
		return keyRevoked, nil // while it was under way; it is judged by who revokes keys
	case err == nil:
		return "protocol error", fmt.Errorf("%d: %s", r.Error.Code, r.Error.Message)
	case isStatus && (status.status == 401 || status.status == 404):
		return keyRevoked, nil // likewise
	case isStatus && (status.status == 503 || status.status == 429):
		return "busy", nil
	}
	return "no answer", err
}
