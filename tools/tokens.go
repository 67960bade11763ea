package tools

import (
	"sync"

	"ollama-mcp/internal/backend"
)

// tokens learns from answers how many bytes of text a token stands for, model by
// model: there is no tokenizer here.
type tokens struct {
	mu  sync.Mutex       // guards all
	all map[string]ratio // by canonical name
}

// ratio is in bytes per token.
type ratio struct {
	mean float64 // of late
	most float64 // of any prompt
}

const (
	// bytesPerToken is what a token stands for in English text, roughly. It is what a
	// model is believed to have until more is known.
	bytesPerToken = 4
	// mostPerToken is what hardly any text exceeds.
	mostPerToken = 3 * bytesPerToken

	enoughToLearn = 2048 // bytes of a prompt, of which the template is a small part then
	learnedWeight = 0.2  // of the newest prompt in the mean
	mostRatios    = 1000 // models that are remembered
)

// learn takes in what a prompt was counted as that was read as a whole. A count that
// no text explains is ignored: it leaves out what the host remembered.
func (t *tokens) learn(model string, bytes, counted int) {
	if bytes < enoughToLearn || counted < 1 || bytes > counted*mostPerToken {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name, sample := backend.CanonicalModel(model), float64(bytes)/float64(counted)
	r, known := t.all[name]
	if !known {
		r = ratio{sample, sample}
		if t.all == nil || len(t.all) >= mostRatios {
			t.all = make(map[string]ratio) // providers may have any number of models
		}
	}
	t.all[name] = ratio{r.mean + learnedWeight*(sample-r.mean), max(r.most, sample)}
}

// of is what is known of a model.
func (t *tokens) of(model string) ratio {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, known := t.all[backend.CanonicalModel(model)]; known {
		return r
	}
	return ratio{bytesPerToken, bytesPerToken}
}

// count is about how many tokens a text has.
func (r ratio) count(bytes int) int { return int(float64(bytes) / r.mean) }

// leastCount is what a text has at least, nearly. It goes by the prompt with the
// longest tokens, and never by one in a script with short ones, for the next may be in
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
