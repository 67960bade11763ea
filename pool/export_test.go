package pool

// Remembered is how many models a pool and its first host remember.
func Remembered(p *Pool) (ofPool, ofHost int) {
	return len(p.models.byName), len(p.hosts[0].models.byName)
}

// Remembers reports whether a pool and its first host remember a model.
func Remembers(p *Pool, model string) bool {
	return p.models.get(model) != nil && p.hosts[0].models.get(model) != nil
}
