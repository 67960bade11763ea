package fleet

import "context"

// Learn asks a host for its lists at once, tells the pool, and returns when that is done, after
// 2 s at the latest: for when its models have just been changed. A host that does not answer is
// left as it was known.
func (f *Fleet) Learn(ctx context.Context, host string) {
	f.mu.Lock()
	var m *member
	for t := range f.tasks {
		if one, isHost := t.(*member); isHost && one.name == host {
			m = one
		}
	}
	f.mu.Unlock()
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	models, err := m.list(ctx)
	if err != nil {
		return
	}
	facts := Facts{Up: true}
	if loaded, err := m.loaded(ctx); err == nil {
		facts.Loaded = loaded
	}
	m.report(facts, models)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publish(false)
	f.tell()
}
