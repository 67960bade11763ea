package inference

import (
	"sync"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/lru"
)

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

// count estimates how many tokens a text has.
func (r ratio) count(bytes int) int { return int(float64(bytes) / r.mean) }

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
