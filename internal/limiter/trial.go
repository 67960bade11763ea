package limiter

// decide ends a round.
func (l *Limiter) decide(got speed) {
	got = l.first.and(got)
	switch {
	case !l.trial:
		l.settle(got)
	case !l.pays(got):
		l.first, l.trial, l.found, l.down = speed{}, false, true, !l.down
		l.pause = min(max(1, 2*l.pause), mostPause)
		l.rest = l.pause
		l.move(l.base.limit, noBetter)
		return
	case !l.doubles() && got.rounds == 1:
		l.first = got // by chance, perhaps
		return
	default:
		l.first, l.trial, l.pause = speed{}, false, l.pause/2
		l.adopt(got)
	}
	if l.rest > 0 {
		l.rest--
		return
	}
	l.try()
}

// adopt makes the limit on trial the one that others are measured by. What is usual is what
// was seen at it, or the next trial would be measured by one and its base by another.
func (l *Limiter) adopt(got speed) {
	l.usual.first *= got.slowness
	l.usual.per *= got.slowness
	l.base = speed{got.limit, 1, got.rounds}
}

// settle takes in a round between trials.
func (l *Limiter) settle(got speed) {
	if got.rate() < slower*l.base.rate() {
		l.forget()
		l.found, l.down = false, true
	}
	l.base = l.base.and(got)
}

// pays reports whether the limit on trial is better than the one before. Fewer calls at
// once are better if the host does nearly as much: the others wait where they can be
// seen, ordered and sent elsewhere. Of brief calls more are better if it does.
func (l *Limiter) pays(got speed) bool {
	atBest := float64(got.limit)/float64(l.base.limit) - 1 // below 0 for fewer calls
	share, lean := more, lenient
	switch {
	case l.doubles():
		share = double
	case l.down:
		share, lean = fewer, -lenient
	}
	long := min(1, l.took.Seconds()/brief.Seconds()) // 1 for calls that are not brief
	return got.rate()/l.base.rate()-1 >= long*share*atBest-(1-long)*lean
}

// doubles reports whether the limit doubles with the present trial, or the next: as long
// as none has failed the best may be far.
func (l *Limiter) doubles() bool { return !l.found && !l.down }

// try begins a trial.
func (l *Limiter) try() {
	for range 2 {
		to, why := above(l.limit), tryMore
		switch {
		case l.doubles():
			to = 2 * l.limit
		case l.down:
			to, why = below(l.limit), tryFewer
		}
		if l.move(to, why) {
			l.trial = true
			return
		}
		l.down = !l.down
	}
}

// move sets the limit as near to a number as the bounds allow.
func (l *Limiter) move(to int, why cause) (moved bool) {
	to = min(max(to, l.opts.Min), l.opts.Max)
	if to == l.limit {
		return false
	}
	l.why = change{from: l.limit, to: to, cause: why}
	l.skip = max(l.limit, to)
	l.limit, l.refused = to, refused{}
	return true
}

// forget starts measuring anew, at the present limit.
func (l *Limiter) forget() {
	l.round.n, l.skip = 0, 0
	l.base, l.first, l.trial, l.down = speed{}, speed{}, false, false
	l.pause, l.rest = 0, 0
}
