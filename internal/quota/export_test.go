package quota

// Known is how many callers are remembered.
func (q *Quota) Known() int { return len(q.accounts) }
