package pool

// memory is what a host is believed to hold in memory, by model.
type memory map[string]resident

// resident is a model in memory.
type resident struct {
	others string // runner options that it was loaded with but num_ctx, as in modelKey
	numCtx int    // tokens of context; 0 if not known
	chosen bool   // by the host, since the options left it open
	seen   bool   // by a check, which tells of the options only the context
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
	return key.numCtx == r.numCtx
}

// hold notes a model that a call has shown to be in memory, loaded for it or before.
func (m memory) hold(key modelKey) {
	r := resident{others: key.others, numCtx: key.numCtx, chosen: key.numCtx == 0}
	if m.holds(key) { // then its context is what it was
		r.numCtx, r.chosen = m[key.model].numCtx, r.chosen || m[key.model].chosen
	}
	m[key.model] = r
}

// saw is the memory that a check found. It tells less than our own calls do, so
// what they have shown is kept where it does not contradict.
func (m memory) saw(loaded []Loaded) memory {
	found := make(memory, len(loaded))
	for _, l := range loaded {
		r := resident{numCtx: l.NumCtx, seen: true}
		if own, ok := m[l.Model]; ok && !own.seen && (own.numCtx == 0 || own.numCtx == l.NumCtx) {
			r = own
			r.numCtx = l.NumCtx
		}
		found[l.Model] = r
	}
	return found
}
