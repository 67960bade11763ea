package pool

// Remembered is how many models a pool and its first host remember.
func Remembered(p *Pool) (ofPool, ofHost int) { return p.models.Len(), p.hosts[0].models.Len() }

// Remembers reports whether a pool and its first host remember a model.
func Remembers(p *Pool, model string) bool {
	return known(&p.models, model) != nil && known(&p.hosts[0].models, model) != nil
}
