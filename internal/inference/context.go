package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/lru"
	"ollama-mcp/internal/pixels"
)

// This file is about prompts, how many tokens they have, and the context of models.

// promptTooLong is a prompt that does not fit the model's context, and what is known of
// the two.
type promptTooLong struct {
	err     *backend.Error // of class backend.TooLong, of the host or in its place
	prompt  int            // tokens of the prompt, estimated
	context int            // tokens of the context that the model is loaded with; 0 if not known
	wanted  int            // num_ctx that the caller asked for; 0 for none
	most    int            // tokens of the largest context that the model can have; 0 if not known
	ofEmbed bool           // the end is cut where that is allowed, and not the beginning
}

func (e *promptTooLong) Error() string {
	if e.context == 0 {
		return e.err.Error()
	}
	return fmt.Sprintf("%s: %v: the prompt has about %s, and the context %d", e.err.Host, e.err.Class, fault.Count(e.prompt, "token"), e.context)
}

func (e *promptTooLong) Unwrap() error { return e.err }

// Fault implements fault.Explainer.
func (e *promptTooLong) Fault() *fault.Error {
	part := "the oldest part"
	if e.ofEmbed {
		part = "its end"
	}
	return &fault.Error{
		Code: fault.ContextTooLong, Message: e.Error(),
		Hint: fmt.Sprintf("%s, or set truncate to true to have %s cut", e.remedy(), part),
	}
}

// remedy says what would make the prompt fit. A larger context is one only where the
// model can have it, and the prompt would fit.
func (e *promptTooLong) remedy() string {
	switch {
	case e.most == 0:
		return "send less, or raise options.num_ctx"
	case e.context >= e.most || e.prompt > e.most:
		return fmt.Sprintf("send less, since the model takes no more than %s", fault.Count(e.most, "token"))
	case e.context > 0 && e.wanted > e.context: // and did not get it
		return fmt.Sprintf("send less, since this server has the model run with num_ctx %d for all callers", e.context)
	}
	return fmt.Sprintf("send less, or raise options.num_ctx, which may be up to %d", e.most)
}

// sizes are a prompt of so many bytes and the context, as far as they are known without
// asking the host.
func (e *Engine) sizes(a *attempt, wanted map[string]any, bytes int) *promptTooLong {
	return &promptTooLong{
		err:    &backend.Error{Host: a.host.Name(), Class: backend.TooLong},
		prompt: e.tokens.of(a.rung.String()).count(bytes), wanted: wholeNumber(wanted["num_ctx"]),
		context: cmp.Or(a.params.context, wholeNumber(a.params.options["num_ctx"])),
	}
}

// tooLong tells what is known of a prompt that a host has refused for its length.
func (e *Engine) tooLong(ctx context.Context, a *attempt, r *Common, bytes int, err error) *promptTooLong {
	long := e.sizes(a, r.Options, bytes)
	if refused, ok := errors.AsType[*backend.Error](err); ok {
		long.err = refused
		long.prompt, long.context = cmp.Or(refused.Prompt, long.prompt), cmp.Or(refused.Context, long.context)
	}
	if a.rung.Provider != "" {
		return long
	}
	if about, err := e.detail(ctx, a.host, a.rung.Model); err == nil {
		long.most = about.Context
	}
	if long.context == 0 {
		long.context = loadedContext(ctx, a.host, a.rung.Model)
	}
	if long.most > 0 { // Ollama gives no more, whatever it is asked for
		long.context = min(long.context, long.most)
	}
	return long
}

const (
	// clearly is by how much an estimate has to exceed the context to be believed.
	clearly = 1.5
	// large is a prompt, in bytes, that costs a host more than a request about its model.
	large = 64 << 10
)

// checkSize refuses a prompt that is far beyond the context that the model is loaded with,
// or can have: the host would only refuse it, and perhaps load the model for that. A host
// that is too old to refuse would cut it.
func (c *climb) checkSize(ctx context.Context, a *attempt) error {
	if a.rung.Provider != "" || c.mayTruncate(&c.Common) {
		return nil
	}
	long, least := c.sizes(a, c.Options, c.text), float64(c.tokens.of(a.rung.String()).leastCount(c.text))
	isBeyond := func() bool { return long.context > 0 && least > clearly*float64(long.context) }
	if a.params.context > 0 && isBeyond() && loadedContext(ctx, a.host, a.rung.Model) != a.params.context {
		long.context = 0 // it is not what it was at the last check
	}
	if c.text >= large || isBeyond() {
		about, err := c.detail(ctx, a.host, a.rung.Model)
		if err == nil && about.Context > 0 {
			long.most = about.Context
			long.context = min(cmp.Or(long.context, long.most), long.most)
		}
	}
	if !isBeyond() {
		return nil
	}
	return long
}

// clamped says that the context which a host was asked for is more than the model can
// have, which the host does not say itself; "" if it is not.
func (c *climb) clamped(ctx context.Context, a *attempt) string {
	wanted := wholeNumber(c.Options["num_ctx"])
	if wanted == 0 || a.rung.Provider != "" {
		return ""
	}
	about, err := c.detail(ctx, a.host, a.rung.Model)
	if err != nil || about.Context == 0 || wanted <= about.Context {
		return ""
	}
	return fmt.Sprintf("num_ctx %d is more than the model can have: it was given %d.", wanted, about.Context)
}

// checkVision refuses images for a model without vision: Ollama would drop them without a
// word, and the model invent what it cannot see.
func (c *climb) checkVision(ctx context.Context, host backend.Backend, model string) error {
	about, err := c.detail(ctx, host, model)
	if err != nil {
		return err
	}
	if about.isNotFor("vision") {
		return backend.LacksCapability("the model cannot see images", "vision")
	}
	return nil
}

// loadedContext is the context that a host has a model loaded with; 0 if the host does not
// tell, as while it loads another.
func loadedContext(ctx context.Context, host backend.Backend, model string) int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	running, err := host.Running(ctx)
	if err != nil {
		return 0
	}
	for _, r := range running {
		if backend.CanonicalModel(r.Name) == model {
			return r.ContextLength
		}
	}
	return 0
}

// Bounds of images, in pixels. A host makes at least four bytes of each pixel, and an image of
// some kilobytes can have more pixels than the host has memory for.
const (
	maxPixels    = 64_000_000    // of one image
	maxAllPixels = 4 * maxPixels // of all images of a request
)

// checkImages refuses images that have too many pixels. Only the head of each is read. An image
// of a form that is not known here, or whose head is broken, is left to the host, which decodes
// the same forms and refuses it.
func checkImages(r *Request) error {
	left := int64(maxAllPixels)
	check := func(at string, images []backend.ImageData) error {
		for i, data := range images {
			width, height, ok := pixels.Dimensions(data)
			if !ok {
				continue
			}
			size := int64(width) * int64(height)
			if left -= size; size > maxPixels {
				return tooManyPixels("argument \"%s[%d]\" is an image of %d × %d pixels, more than %d million", at, i, width, height, maxPixels/1_000_000)
			}
			if left < 0 {
				return tooManyPixels("the images up to argument \"%s[%d]\" have more than %d million pixels together", at, i, maxAllPixels/1_000_000)
			}
		}
		return nil
	}
	if err := check("images", r.Images); err != nil {
		return err
	}
	for i, m := range r.Messages {
		if err := check(fmt.Sprintf("messages[%d].images", i), m.Images); err != nil {
			return err
		}
	}
	return nil
}

func tooManyPixels(format string, args ...any) *fault.Error {
	e := fault.Invalidf(format, args...)
	e.Hint = "scale it down: models see images in much less detail"
	return e
}

// tokenCounts learns from answers how many bytes of text a token stands for, model by
// model: there is no tokenizer here.
type tokenCounts struct {
	mu  sync.Mutex // guards all
	all lru.Map[string, ratio]
}

// ratio is in bytes per token.
type ratio struct {
	mean float64 // of recent prompts
	most float64 // of any prompt
}

const (
	// bytesPerToken is what a token stands for in English text, roughly. It is assumed
	// of a model until more is known.
	bytesPerToken = 4
	// mostPerToken is what hardly any text exceeds.
	mostPerToken = 3 * bytesPerToken

	enoughToLearn = 2048 // bytes of a prompt, of which the template is a small part then
	learnedWeight = 0.2  // of the newest prompt in the mean
	maxRatios     = 1000 // models that are remembered; providers may have any number
)

// learn takes in how many tokens the host counted in a prompt that it read completely. A
// count that no text explains is ignored: it leaves out what the host had in its own cache.
func (t *tokenCounts) learn(model string, bytes, counted int) {
	if bytes < enoughToLearn || counted < 1 || bytes > counted*mostPerToken {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name, sample := backend.CanonicalModel(model), float64(bytes)/float64(counted)
	r, known := t.all.Get(name)
	if !known {
		r = ratio{sample, sample}
	}
	t.all.Set(name, ratio{r.mean + learnedWeight*(sample-r.mean), max(r.most, sample)}, maxRatios)
}

// of is what is known of a model.
func (t *tokenCounts) of(model string) ratio {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, known := t.all.Get(backend.CanonicalModel(model)); known {
		return r
	}
	return ratio{bytesPerToken, bytesPerToken}
}

// count estimates how many tokens a text has: at least one, unless it is empty.
func (r ratio) count(bytes int) int { return int(math.Ceil(float64(bytes) / r.mean)) }

// leastCount estimates from below how many tokens a text has. It goes by the prompt with
// the longest tokens, and never by one in a script with short ones, for the next may be in
// English.
func (r ratio) leastCount(bytes int) int {
	return int(float64(bytes) / max(r.most, bytesPerToken))
}

// looksCut tells from the size of a prompt and the tokens that were read of it whether
// the host cut it after all, as servers do that are too old to be told not to.
func (r ratio) looksCut(bytes, counted int) bool {
	return counted > 0 && bytes > 4096 && float64(bytes)/float64(counted) > 3*max(r.mean, bytesPerToken)
}

// wholeNumber is an option's value, from JSON or from YAML; 0 if it is no number.
func wholeNumber(value any) int {
	switch n := value.(type) {
	case float64:
		return int(n)
	case int:
		return n
	}
	return 0
}
