package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/route"
)

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
	mark   int // order in which they were passed over; 0 for never
}

type plainShare struct {
	used             time.Duration
	waiting, running int
}

func (q *plainQueue) share(t *ticket) *plainShare {
	key := fmt.Sprint(t.priority, t.caller)
	s := q.shares[key]
	if s == nil {
		s = new(plainShare)
		q.shares[key] = s
	}
	if s.waiting == 0 && s.running == 0 {
		s.used = max(s.used, q.clock[t.priority])
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
		if o.priority == t.priority && o.group == t.group {
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

// plainSlot suits groups by a table.
type plainSlot struct {
	suit  [models]suit
	later [models]time.Time // groups that wait since a time before are deferred
	comes [models]bool      // to another host
}

func (s *plainSlot) suits(k groupKey) suit { return s.suit[k.model.model[0]-'0'] }
func (s *plainSlot) defers(k groupKey, since time.Time) bool {
	return since.Before(s.later[k.model.model[0]-'0'])
}
func (s *plainSlot) isComing(k groupKey) bool { return s.comes[k.model.model[0]-'0'] }

// holder suits the groups of one model best.
type holder struct{ model string }

func (h holder) suits(k groupKey) suit {
	if k.model.model == h.model {
		return warm
	}
	return cold
}

func (holder) defers(groupKey, time.Time) bool { return false }
func (holder) isComing(groupKey) bool          { return false }

// before is the fair order of two calls that are the first of their callers.
func (q *plainQueue) before(a, b *plainTicket) bool {
	x, y := q.share(a.ticket).used, q.share(b.ticket).used
	return x < y || x == y && a.number < b.number
}

// isFirst reports whether no other of the caller's in the same group goes before.
func (q *plainQueue) isFirst(t *plainTicket) bool {
	for _, o := range q.waiting {
		if o.priority == t.priority && o.caller == t.caller && o.group == t.group && o.number < t.number {
			return false
		}
	}
	return true
}

func (q *plainQueue) pick(now time.Time, s slot) *ticket {
	order := []route.Priority{route.Interactive, route.Batch}
	if q.run >= batchTurn-1 {
		order = []route.Priority{route.Batch, route.Interactive}
	}
	for _, class := range order {
		if t := q.pickOf(class, now, s); t != nil {
			return t.ticket
		}
	}
	return nil
}

func (q *plainQueue) pickOf(class route.Priority, now time.Time, s slot) *plainTicket {
	var overdue, fair, ready, near *plainTicket
	better := func(best **plainTicket, t *plainTicket) {
		if *best == nil || q.before(t, *best) {
			*best = t
		}
	}
	for _, t := range q.waiting {
		suit := s.suits(t.group)
		if t.priority != class || suit == never {
			continue
		}
		if t.mark > 0 && now.Sub(t.since) >= q.cap && !s.isComing(t.group) && (overdue == nil || t.mark < overdue.mark) {
			overdue = t
		}
		if !q.isFirst(t) {
			continue
		}
		better(&fair, t)
		if s.defers(t.group, t.began) {
			continue
		}
		better(&ready, t)
		if suit == warm {
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
		if o.priority == route.Batch {
			batch++
		}
	}
	switch {
	case t.priority == route.Batch:
		q.run = 0
	case batch > 0:
		q.run++
	}
	s := q.share(t)
	s.running++
	callers, left := map[string]bool{t.caller: true}, false
	for _, o := range q.waiting {
		if o.priority == t.priority {
			callers[o.caller], left = true, true
		}
	}
	q.clock[t.priority] = max(q.clock[t.priority], s.used) + expected/time.Duration(len(callers))
	q.charge(t, expected)
	if !left {
		q.clock[t.priority] = q.latest[t.priority]
	}
}

func (q *plainQueue) charge(t *ticket, d time.Duration) {
	s := q.shares[fmt.Sprint(t.priority, t.caller)]
	s.used += d
	q.latest[t.priority] = max(q.latest[t.priority], s.used)
}

// Whatever comes, goes and leaves, the queue gives turns as one does that looks
// at every call each time, and nobody who could be served is passed over for longer than the cap.
func TestQueueAgreesWithAPlainList(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const hosts = 3
		limit := 10 * time.Second
		q := &queue{maxPassedOver: limit}
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
				group:    groupKey{model: modelKey{model: string(rune('0' + draw(models, "model")))}},
				priority: route.Priority(draw(2, "priority")), caller: string(rune('a' + draw(4, "caller"))), bytes: 1,
			}
			again := draw(4, "again") == 0
			q.push(now, t, again)
			plain.push(now, t, again, number)
			waiting = append(waiting, t)
		}
		change := func() {
			for h := range table {
				for m := range models {
					table[h].suit[m] = suit(draw(int(warm)+1, "suit"))
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
					q.remove(t)
					plain.remove(t)
				}
			},
			"slot comes free": func(*rapid.T) {
				slot := &table[draw(hosts, "host")]
				got := q.pick(now, slot)
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
					if t.priority == got.priority && t.passed != nil && slot.suits(t.group) != never && !slot.isComing(t.group) &&
						now.Sub(t.since) >= limit && !(got.passed != nil && !got.since.After(t.since)) {
						r.Fatalf("a call was passed over for %v", now.Sub(t.since))
					}
				}
				expected := time.Duration(1+draw(5, "expected")) * time.Second
				q.start(got, expected)
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
				q.done(t, held)
				s := plain.shares[fmt.Sprint(t.priority, t.caller)]
				s.running--
				plain.charge(t, held-charged)
			},
			"": func(r *rapid.T) {
				if q.waiting != len(waiting) || q.bytes != int64(len(waiting)) {
					r.Fatalf("%d waiting of %d bytes, want %d", q.waiting, q.bytes, len(waiting))
				}
				if n := q.classes[0].passed.Len() + q.classes[1].passed.Len(); n > len(waiting) {
					r.Fatalf("%d passed over of %d waiting", n, len(waiting))
				}
			},
		})
	})
}

func TestBatchWorkGetsEveryTenthTurnAndAllThatNobodyElseWants(t *testing.T) {
	q := &queue{maxPassedOver: time.Second}
	for range 100 {
		q.push(time.Time{}, &ticket{priority: route.Interactive}, false)
		q.push(time.Time{}, &ticket{priority: route.Batch}, false)
	}
	var turns []route.Priority
	for q.waiting > 0 {
		next := q.pick(time.Time{}, holder{})
		q.start(next, time.Second)
		turns = append(turns, next.priority)
	}
	batch := 0
	for i, class := range turns[:100] {
		if class == route.Batch {
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
	q := &queue{maxPassedOver: time.Second}
	for range 10 {
		q.push(time.Time{}, &ticket{caller: "stays"}, false)
	}
	served := 0
	for i := range 100 { // two new ones come for each that goes
		q.push(time.Time{}, &ticket{caller: fmt.Sprint("passes ", 2*i)}, false)
		q.push(time.Time{}, &ticket{caller: fmt.Sprint("passes ", 2*i+1)}, false)
		next := q.pick(time.Time{}, holder{})
		q.start(next, time.Second)
		q.done(next, time.Second)
		if next.caller == "stays" {
			served++
		}
	}
	if served < 2 {
		t.Errorf("one who stays got %d of 100 turns", served)
	}
}

func TestCallersWhoLeftAreForgotten(t *testing.T) {
	q := &queue{maxPassedOver: time.Second}
	for i := range 10_000 {
		visitor := &ticket{caller: fmt.Sprint(i)}
		q.start(visitor, time.Second)
		q.done(visitor, time.Second)
	}
	if n := len(q.classes[route.Interactive].shares); n > 4*fewShares {
		t.Errorf("%d callers are remembered of whom none is there", n)
	}
}

func BenchmarkTurnWithTenThousandWaiting(b *testing.B) {
	q := &queue{maxPassedOver: 10 * time.Second}
	random := rand.New(rand.NewPCG(1, 1))
	push := func() {
		q.push(time.Time{}, &ticket{
			group:  groupKey{model: modelKey{model: fmt.Sprint("model-", random.IntN(20))}},
			caller: fmt.Sprint("caller-", random.IntN(200)),
		}, false)
	}
	for range 10_000 {
		push()
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		next := q.pick(now, holder{"model-3"})
		q.start(next, time.Second)
		q.done(next, time.Second)
		next.number = 0
		q.push(now, next, false)
		now = now.Add(100 * time.Millisecond)
	}
}
