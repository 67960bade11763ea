package pool

import "cmp"

// memory is what a host is believed to hold in memory, by model.
type memory map[string]resident

// resident is a model in memory.
type resident struct {
	others string // runner options that it was loaded with but num_ctx, as in modelKey
	numCtx int    // tokens of context; 0 if not known
	asked  int    // tokens that it was loaded for, where the model can take no more than numCtx; else 0
	chosen bool   // by the host, since the options left it open
	seen   bool   // by a check, which tells of the options only the context
	told   bool   // numCtx is what a check has told since the model was loaded
}

// option is the num_ctx that the model was loaded with; 0 if not known. Only with the
// same is it not loaded anew.
func (r resident) option() int { return cmp.Or(r.asked, r.numCtx) }

// mayHave reports whether a model that a call has loaded may have a context that a check
// found. What is less than asked is all that it can take if a check never told more;
// else others have loaded it anew.
func (r resident) mayHave(numCtx int) bool {
	return r.numCtx == 0 || r.numCtx == numCtx || !r.told && numCtx > 0 && numCtx < r.numCtx
}

// holds reports whether a call would be served without loading.
func (m memory) holds(key modelKey) bool {
	r, ok := m[key.model]
	switch {
	case !ok || !r.seen && r.others != key.others:
		return false
	case key.numCtx == 0:
		return r.seen || r.chosen
	}
	return key.numCtx == r.option()
}

// chosenContext is the context that a call's model is loaded with because nobody has asked
// for any, and that serves the call; 0 if there is none, or it is not known. Such a model is
// loaded anew for that same number if it cannot take what the host gives others: Ollama
// compares what was asked.
func (m memory) chosenContext(key modelKey) int {
	if r := m[key.model]; r.chosen && m.holds(key) {
		return r.numCtx
	}
	return 0
}

// hold notes a model that a call has shown to be in memory, loaded for it or before.
func (m memory) hold(key modelKey) {
	r := resident{others: key.others, numCtx: key.numCtx, chosen: key.numCtx == 0}
	if m.holds(key) { // then its context is what it was
		own := m[key.model]
		r.numCtx, r.asked, r.told, r.chosen = own.numCtx, own.asked, own.told, r.chosen || own.chosen
	}
	m[key.model] = r
}

// saw is the memory that a check found. It tells less than our own calls do, so
// what they have shown is kept where it does not contradict.
func (m memory) saw(loaded []Loaded) memory {
	found := make(memory, len(loaded))
	for _, l := range loaded {
		r := resident{numCtx: l.NumCtx, seen: true, told: true}
		if own, ok := m[l.Model]; ok && !own.seen && own.mayHave(l.NumCtx) {
			r = own
			if l.NumCtx < own.numCtx {
				r.asked = own.numCtx
			}
			r.numCtx, r.told = l.NumCtx, true
		}
		found[l.Model] = r
	}
	return found
}
