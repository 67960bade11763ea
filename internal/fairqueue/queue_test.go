package fairqueue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type ticket = Ticket[string, int]

// plainQueue is the queue again, with a list that is searched from end to end.
type plainQueue struct {
	cap     time.Duration
	waiting []*plainTicket // in the order of arrival
	shares  map[string]*plainShare
	clock   [2]time.Duration
	latest  [2]time.Duration
	run     int
	marks   int
}

type plainTicket struct {
	*ticket
	number int       // lower goes first where shares are equal
	began  time.Time // when the first call of its group came, of those without a gap
	since  time.Time
	mark   int // order in which they were passed over; 0 for Never
}

type plainShare struct {
	used             time.Duration
	waiting, running int
}

func (q *plainQueue) share(t *ticket) *plainShare {
	key := fmt.Sprint(t.Class, t.Caller)
	s := q.shares[key]
	if s == nil {
		s = new(plainShare)
		q.shares[key] = s
	}
	if s.waiting == 0 && s.running == 0 {
		s.used = max(s.used, q.clock[t.Class])
	}
	return s
}

func (q *plainQueue) push(now time.Time, t *ticket, again bool, number int) {
	q.share(t).waiting++
	if again {
		number = -number
	}
	p := &plainTicket{ticket: t, number: number, began: now}
	for _, o := range q.waiting {
		if o.Class == t.Class && o.Key == t.Key {
			p.began = o.began
		}
	}
	q.waiting = append(q.waiting, p)
}

func (q *plainQueue) remove(t *ticket) {
	for i, p := range q.waiting {
		if p.ticket == t {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			q.share(t).waiting--
			return
		}
	}
}

// models is how many models the calls are for.
const models = 4

// plainSlot fits groups by a table.
type plainSlot struct {
	fit   [models]Fit
	later [models]time.Time // groups that wait since a time before are deferred
	comes [models]bool      // to another host
}

func (s *plainSlot) Fit(k string) Fit { return s.fit[k[0]-'0'] }
func (s *plainSlot) Defers(k string, since time.Time) bool {
	return since.Before(s.later[k[0]-'0'])
}
func (s *plainSlot) IsComing(k string) bool { return s.comes[k[0]-'0'] }

// holder fits the groups of one model best.
type holder struct{ model string }

func (h holder) Fit(k string) Fit {
	if k == h.model {
		return Warm
	}
	return Cold
}

func (holder) Defers(string, time.Time) bool { return false }
func (holder) IsComing(string) bool          { return false }

// before is the fair order of two calls that are the first of their callers.
func (q *plainQueue) before(a, b *plainTicket) bool {
	x, y := q.share(a.ticket).used, q.share(b.ticket).used
	return x < y || x == y && a.number < b.number
}

// isFirst reports whether no other of the caller's in the same group goes before.
func (q *plainQueue) isFirst(t *plainTicket) bool {
	for _, o := range q.waiting {
		if o.Class == t.Class && o.Caller == t.Caller && o.Key == t.Key && o.number < t.number {
			return false
		}
	}
	return true
}

func (q *plainQueue) pick(now time.Time, s Slot[string]) *ticket {
	order := []Class{Interactive, Batch}
	if q.run >= batchTurn-1 {
		order = []Class{Batch, Interactive}
	}
	for _, class := range order {
		if t := q.pickOf(class, now, s); t != nil {
			return t.ticket
		}
	}
	return nil
}

func (q *plainQueue) pickOf(class Class, now time.Time, s Slot[string]) *plainTicket {
	var overdue, fair, ready, near *plainTicket
	better := func(best **plainTicket, t *plainTicket) {
		if *best == nil || q.before(t, *best) {
			*best = t
		}
	}
	for _, t := range q.waiting {
		fit := s.Fit(t.Key)
		if t.Class != class || fit == Never {
			continue
		}
		if t.mark > 0 && now.Sub(t.since) >= q.cap && !s.IsComing(t.Key) && (overdue == nil || t.mark < overdue.mark) {
			overdue = t
		}
		if !q.isFirst(t) {
			continue
		}
		better(&fair, t)
		if s.Defers(t.Key, t.began) {
			continue
		}
		better(&ready, t)
		if fit == Warm {
			better(&near, t)
		}
	}
	if overdue != nil {
		return overdue
	}
	chosen := ready
	if near != nil {
		chosen = near
	}
	if fair != nil && fair != chosen && fair.mark == 0 {
		q.marks++
		fair.mark, fair.since = q.marks, now
	}
	return chosen
}

func (q *plainQueue) start(t *ticket, expected time.Duration) {
	q.remove(t)
	batch := 0
	for _, o := range q.waiting {
		if o.Class == Batch {
			batch++
		}
	}
	switch {
	case t.Class == Batch:
		q.run = 0
	case batch > 0:
		q.run++
	}
	s := q.share(t)
	s.running++
	q.clock[t.Class] = max(q.clock[t.Class], s.used)
	q.charge(t, expected)
	if len(q.callers(t.Class)) == 0 {
		q.clock[t.Class] = max(q.clock[t.Class], q.latest[t.Class]-expected)
	}
}

// callers are those who wait in a class.
func (q *plainQueue) callers(class Class) map[string]bool {
	all := make(map[string]bool)
	for _, o := range q.waiting {
		if o.Class == class {
			all[o.Caller] = true
		}
	}
	return all
}

func (q *plainQueue) done(t *ticket, held, charged time.Duration) {
	q.shares[fmt.Sprint(t.Class, t.Caller)].running--
	q.charge(t, held-charged)
	if callers := q.callers(t.Class); len(callers) == 0 {
		q.clock[t.Class] = q.latest[t.Class]
	} else {
		callers[t.Caller] = true
		clock := q.clock[t.Class]
		q.clock[t.Class] = min(clock+held/time.Duration(len(callers)), max(clock, q.latest[t.Class]))
	}
}

func (q *plainQueue) charge(t *ticket, d time.Duration) {
	s := q.shares[fmt.Sprint(t.Class, t.Caller)]
	s.used += d
	q.latest[t.Class] = max(q.latest[t.Class], s.used)
}

// Whatever comes, goes and leaves, the queue gives turns as one does that looks
// at every call each time, and nobody who could be served is passed over for longer than the cap.
func TestQueueAgreesWithAPlainList(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const hosts = 3
		limit := 10 * time.Second
		q := New[string, int](limit)
		plain := &plainQueue{cap: limit, shares: map[string]*plainShare{}}
		now := time.Unix(0, 0)
		var waiting, running []*ticket
		var table [hosts]plainSlot
		number := 0
		draw := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(r, label) }
		take := func(from *[]*ticket) *ticket {
			if len(*from) == 0 {
				return nil
			}
			i := draw(len(*from), "which")
			t := (*from)[i]
			*from = append((*from)[:i], (*from)[i+1:]...)
			return t
		}
		arrive := func() {
			number++
			t := &ticket{
				Key:   string(rune('0' + draw(models, "model"))),
				Class: Class(draw(2, "priority")), Caller: string(rune('a' + draw(4, "caller"))), Size: 1,
			}
			again := draw(4, "again") == 0
			q.Push(now, t, again)
			plain.push(now, t, again, number)
			waiting = append(waiting, t)
		}
		change := func() {
			for h := range table {
				for m := range models {
					table[h].fit[m] = Fit(draw(int(Warm)+1, "fit"))
					table[h].comes[m] = draw(4, "comes") == 0
					table[h].later[m] = time.Time{}
					if draw(2, "later") == 0 {
						table[h].later[m] = now.Add(-time.Duration(draw(20, "seconds")) * time.Second)
					}
				}
			}
		}
		change()
		r.Repeat(map[string]func(*rapid.T){
			"time passes":  func(*rapid.T) { now = now.Add(time.Duration(draw(8, "seconds")) * time.Second) },
			"hosts change": func(*rapid.T) { change() },
			"one arrives":  func(*rapid.T) { arrive() },
			"a burst arrives": func(*rapid.T) {
				for range 5 {
					arrive()
				}
			},
			"leaves": func(*rapid.T) {
				if t := take(&waiting); t != nil {
					q.Remove(t)
					plain.remove(t)
				}
			},
			"slot comes free": func(*rapid.T) {
				slot := &table[draw(hosts, "host")]
				got := q.Pick(now, slot)
				want := plain.pick(now, slot)
				if got != want {
					r.Fatalf("picked %+v, want %+v", got, want)
				}
				if got == nil {
					return
				}
				for i, t := range waiting {
					if t == got {
						waiting = append(waiting[:i], waiting[i+1:]...)
						break
					}
				}
				for _, t := range waiting {
					if t.Class == got.Class && t.passed != nil && slot.Fit(t.Key) != Never && !slot.IsComing(t.Key) &&
						now.Sub(t.since) >= limit && !(got.passed != nil && !got.since.After(t.since)) {
						r.Fatalf("a call was passed over for %v", now.Sub(t.since))
					}
				}
				expected := time.Duration(1+draw(5, "expected")) * time.Second
				q.Start(got, expected)
				plain.start(got, expected)
				running = append(running, got)
			},
			"call ends": func(*rapid.T) {
				t := take(&running)
				if t == nil {
					return
				}
				held := time.Duration(draw(20, "held")) * time.Second
				charged := t.charged
				q.Done(t, held)
				plain.done(t, held, charged)
			},
			"": func(r *rapid.T) {
				if q.waiting != len(waiting) || q.size != int64(len(waiting)) {
					r.Fatalf("%d waiting of %d bytes, want %d", q.waiting, q.size, len(waiting))
				}
				passed := 0
				for i := range q.classes {
					for _, g := range q.classes[i].groups {
						passed += g.passed.Len()
					}
				}
				if passed > len(waiting) {
					r.Fatalf("%d passed over of %d waiting", passed, len(waiting))
				}
			},
		})
	})
}

func TestBatchWorkGetsEveryTenthTurnAndAllThatNobodyElseWants(t *testing.T) {
	q := New[string, int](time.Second)
	for range 100 {
		q.Push(time.Time{}, &ticket{Class: Interactive}, false)
		q.Push(time.Time{}, &ticket{Class: Batch}, false)
	}
	var turns []Class
	for q.waiting > 0 {
		next := q.Pick(time.Time{}, holder{})
		q.Start(next, time.Second)
		turns = append(turns, next.Class)
	}
	batch := 0
	for i, class := range turns[:100] {
		if class == Batch {
			batch++
			if (i+1)%batchTurn != 0 {
				t.Errorf("turn %d was for batch work", i+1)
			}
		}
	}
	if batch != 10 {
		t.Errorf("%d of 100 turns were for batch work, want 10", batch)
	}
}

func TestCallersWhoComeOnceDoNotStarveOneWhoStays(t *testing.T) {
	q := New[string, int](time.Second)
	for range 10 {
		q.Push(time.Time{}, &ticket{Caller: "stays"}, false)
	}
	served := 0
	for i := range 100 { // two new ones come for each that goes
		q.Push(time.Time{}, &ticket{Caller: fmt.Sprint("passes ", 2*i)}, false)
		q.Push(time.Time{}, &ticket{Caller: fmt.Sprint("passes ", 2*i+1)}, false)
		next := q.Pick(time.Time{}, holder{})
		q.Start(next, time.Second)
		q.Done(next, time.Second)
		if next.Caller == "stays" {
			served++
		}
	}
	if served < 2 {
		t.Errorf("one who stays got %d of 100 turns", served)
	}
}

// TestCallerWhoAsksNowAndThenWaitsForNoMoreThanTheCallUnderWay has one caller keep many calls in
// the queue while another asks one by one, for no longer than the first, on one slot.
func TestCallerWhoAsksNowAndThenWaitsForNoMoreThanTheCallUnderWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New[string, int](time.Second)
		seconds := func(least, most int, label string) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, label)) * time.Second
		}
		// While a call of the one is served, the other may ask.
		serve := func(next *ticket, least, most int) {
			q.Start(next, seconds(1, 20, "expected"))
			asks := next.Caller == "floods" && q.classes[Interactive].callers == 1 && rapid.Bool().Draw(t, "asks")
			if asks {
				q.Push(time.Time{}, &ticket{Caller: "asks"}, false)
			}
			q.Done(next, seconds(least, most, "held"))
			if asks && q.Pick(time.Time{}, holder{}).Caller != "asks" {
				t.Fatal("the next turn is not that of the caller who asks now and then")
			}
		}
		q.Push(time.Time{}, &ticket{Caller: "floods"}, false)
		first := q.Pick(time.Time{}, holder{})
		q.Start(first, seconds(1, 20, "expected"))
		for range 40 {
			q.Push(time.Time{}, &ticket{Caller: "floods"}, false)
		}
		q.Done(first, seconds(5, 20, "held"))
		for q.Len() > 2 {
			next := q.Pick(time.Time{}, holder{})
			if next.Caller == "asks" {
				serve(next, 0, 5)
			} else {
				serve(next, 5, 20)
			}
		}
	})
}

func TestCallersWhoLeftAreForgotten(t *testing.T) {
	q := New[string, int](time.Second)
	for i := range 10_000 {
		visitor := &ticket{Caller: fmt.Sprint(i)}
		q.Start(visitor, time.Second)
		q.Done(visitor, time.Second)
	}
	if n := len(q.classes[Interactive].shares); n > 4*fewShares {
		t.Errorf("%d callers are remembered of whom none is there", n)
	}
}

func BenchmarkTurnWithTenThousandWaiting(b *testing.B) {
	q := New[string, int](10 * time.Second)
	random := rand.New(rand.NewPCG(1, 1))
	push := func() {
		q.Push(time.Time{}, &ticket{
			Key:    fmt.Sprint("model-", random.IntN(20)),
			Caller: fmt.Sprint("caller-", random.IntN(200)),
		}, false)
	}
	for range 10_000 {
		push()
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		next := q.Pick(now, holder{"model-3"})
		q.Start(next, time.Second)
		q.Done(next, time.Second)
		next.number = 0
		q.Push(now, next, false)
		now = now.Add(100 * time.Millisecond)
	}
}
