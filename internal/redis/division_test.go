package redis

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestReplicaHasItsTurnOnAHostThatManyWant says how many of four slots a replica may use, which wants two.
func TestReplicaHasItsTurnOnAHostThatManyWant(t *testing.T) {
	const now = 1000
	for _, c := range []struct {
		name   string
		own    hostLease
		others []hostLease
		want   int
	}{
		{"nobody else wants any", hostLease{wants: 2, since: now}, nil, 2},
		{"one other wants all", hostLease{wants: 2, since: now}, []hostLease{{wants: 4, since: now}}, 2},
		{"two others want all", hostLease{wants: 2, since: now}, []hostLease{{wants: 4, since: 1}, {wants: 4, since: 1}}, 1},
		{"four that have none have waited longer", hostLease{wants: 2, since: now}, []hostLease{{wants: 1, since: 1}, {wants: 1, since: 1}, {wants: 1, since: 1}, {wants: 1, since: 1}}, 0},
		{"four have some", hostLease{wants: 2, since: now}, []hostLease{{1, 2, 4, 1}, {1, 2, 4, 1}, {1, 2, 4, 1}, {1, 2, 4, 1}}, 1},
		{"four have some, as this one for longer", hostLease{1, 2, 4, 1}, []hostLease{{1, 2, 4, 5}, {1, 2, 4, 5}, {1, 2, 4, 5}, {1, 2, 4, 5}}, 0},
		{"four have some, and this one for the shortest time", hostLease{1, 2, 4, 5}, []hostLease{{1, 2, 4, 1}, {1, 2, 4, 1}, {1, 2, 4, 1}, {1, 2, 4, 1}}, 1},
	} {
		state := leaseState{now: now, others: make(map[string]leases)}
		for i, l := range c.others {
			state.others[fmt.Sprint("other-", i)] = leases{"gpu": l}
		}
		if got := state.share("gpu", 4, "own", c.own); got != c.want {
			t.Errorf("%s: it may use %d, want %d", c.name, got, c.want)
		}
	}
}

// TestNoSlotIsDividedTwice has replicas divide hosts one after another, each with the leases of the others before it.
func TestNoSlotIsDividedTwice(t *testing.T) {
	fewChecks(t)
	rapid.Check(t, func(r *rapid.T) {
		const hosts, slots = 3, 4
		replicas := rapid.IntRange(1, 6).Draw(r, "replicas")
		state := leaseState{others: make(map[string]leases)}
		for range rapid.IntRange(1, 30).Draw(r, "turns") {
			state.now++
			id := fmt.Sprint("replica-", rapid.IntRange(1, replicas).Draw(r, "replica"))
			state.own = state.others[id]
			all := maps.Clone(state.others)
			delete(state.others, id)
			ask := request{id: id, waits: rapid.IntRange(0, 5).Draw(r, "waits"), spares: rapid.Bool().Draw(r, "spares")}
			ask.serving = rapid.IntRange(0, hosts).Draw(r, "serving")
			ask.ready = rapid.IntRange(0, ask.serving).Draw(r, "ready")
			for i := range hosts {
				name := fmt.Sprint("gpu-", i)
				keeps := rapid.IntRange(0, state.own[name].granted).Draw(r, "keeps")
				ask.hosts = append(ask.hosts, hostRequest{name: name, keeps: keeps, wants: rapid.IntRange(0, 2*slots).Draw(r, "wants"), slots: slots})
			}
			d := ask.divide(state)
			state.others = all
			state.others[id] = d.leases
			for i, h := range ask.hosts {
				sum := 0
				for _, l := range state.others {
					sum += l[h.name].granted
				}
				if sum > slots {
					r.Fatalf("%d slots of %s are granted, and it has %d", sum, h.name, slots)
				}
				if d.granted[i] > h.keeps && !d.takes {
					r.Fatalf("%s is granted more than it had, and is said to take nothing", id)
				}
			}
		}
	})
}

func TestLeasesAreReadAsTheyWereWritten(t *testing.T) {
	all := leases{"gpu-1": {1, 2, 4, 1764460800000}, "gpu%202": {0, 1, 8, 5}}
	ends, got, ok := decodeLeases("1764460803000" + encodeLeases(all))
	if ends != 1764460803000 || !ok || !reflect.DeepEqual(got, all) {
		t.Errorf("got %d, %+v, %v", ends, got, ok)
	}
	for _, text := range []string{"", "another program's", "5 gpu", "5 gpu 1 1 1 -1", "x gpu 1 1 1 1", "5 gpu 1 1 1 99999999999999999999"} {
		if _, got, ok := decodeLeases(text); ok {
			t.Errorf("of %q was read %+v", text, got)
		}
	}
}
