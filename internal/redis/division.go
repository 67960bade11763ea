package redis

import (
	"fmt"
	"strconv"
	"strings"
)

// hostLease is what a replica has of a host.
type hostLease struct {
	granted int
	wants   int   // what its calls have, and what those that wait would have
	slots   int   // of the host, as far as the replica knows
	since   int64 // when it was granted the first of them, or gave back the last, in ms of the server's clock
}

// leases are those of a replica, by the name of the host. One that is neither granted nor wants anything is left out.
type leases map[string]hostLease

// leaseState is what was read of the leases.
type leaseState struct {
	now    int64 // ms of the server's clock
	takes  string
	lacks  bool              // another replica lacks slots
	own    leases            // as they were written last
	others map[string]leases // by replica
	gone   []string          // replicas whose leases have ended
}

// request is what a replica asks for.
type request struct {
	id      string
	waits   int  // calls that wait
	ready   int  // how many of the hosts serve these without loading a model; they come first
	serving int  // how many of the hosts serve these at all; they come first too
	spares  bool // slots for calls to come are wanted
	hosts   []hostRequest
}

// hostRequest is what a replica asks for of a host.
type hostRequest struct {
	name  string // has no blanks
	keeps int    // slots that it has and uses
	wants int
	slots int // of the host, as far as it knows
}

// division is what a replica gets.
type division struct {
	granted []int // slots that it has, of each host of the request
	may     []int // how many of them it may use, which can be fewer
	spare   int   // how many of them are for calls to come
	takes   bool  // they are more than it had
	lacks   bool  // some calls that wait have none
	leases  leases
}

// divide grants slots of hosts to a replica: those that its calls have;
// one for each call that waits, where the slot is free and nobody's share; and, if few are in use and no
// other replica lacks any, some for calls to come. The shares of a host count where more are wanted than
// it has: see share.
func (r request) divide(state leaseState) (d division) {
	type sums struct{ taken, wanted, used, slots int }
	others := make(map[string]sums, len(r.hosts))
	for _, all := range state.others {
		for name, l := range all {
			o := others[name]
			o.taken, o.wanted, o.used, o.slots = o.taken+l.granted, o.wanted+l.wants, o.used+min(l.granted, l.wants), max(o.slots, l.slots)
			others[name] = o
		}
	}
	since := func(name string, has bool) int64 {
		if was, ok := state.own[name]; ok && (was.granted > 0) == has {
			return was.since
		}
		return state.now
	}
	idle, size := 0, 0
	free := make([]int, len(r.hosts))
	for i, h := range r.hosts {
		o := others[h.name]
		slots := max(h.slots, o.slots)
		free[i] = slots - o.taken - h.keeps
		may := max(0, slots-o.wanted)
		if may < h.wants && (h.keeps > 0 || free[i] > 0) {
			may = state.share(h.name, slots, r.id, hostLease{granted: h.keeps, wants: h.wants, since: since(h.name, h.keeps > 0)})
		}
		d.granted, d.may = append(d.granted, h.keeps), append(d.may, may)
		idle, size = idle+max(0, slots-h.keeps-o.used), size+slots
	}
	give := func(from, to, some int) (left int) {
		for given := true; some > 0 && given; {
			given = false
			for i := from; i < to && some > 0; i++ {
				if d.granted[i] < d.may[i] && free[i] > 0 {
					d.granted[i], free[i], some, given = d.granted[i]+1, free[i]-1, some-1, true
					d.takes = true
				}
			}
		}
		return some
	}
	switch left := give(r.ready, r.serving, give(0, r.ready, r.waits)); {
	case left > 0:
		d.lacks = true
	case r.spares && !state.lacks:
		if len(state.others) > 0 {
			idle -= (size + 9) / 10
		}
		d.spare = max(0, idle/(len(state.others)+1))
		d.spare -= give(0, len(r.hosts), d.spare)
	}
	d.leases = make(leases)
	for i, h := range r.hosts {
		if d.granted[i] > 0 || h.wants > 0 {
			d.leases[h.name] = hostLease{
				granted: d.granted[i], wants: h.wants, slots: h.slots, since: since(h.name, d.granted[i] > 0),
			}
		}
	}
	return d
}

// share returns how many slots of a host a replica may use, of which more are wanted than there are. They go round
// the replicas that want one, first those that have none, the one that has waited longest before the others, and
// then those that have had some for the shortest time.
func (state leaseState) share(host string, slots int, id string, own hostLease) (may int) {
	turns, before := make([]int, own.wants), make([]int, own.wants) // in each round: of the others, and of those that come first
	for other, all := range state.others {
		l := all[host]
		first := l.comesBefore(own) || !own.comesBefore(l) && other < id
		for round := range min(own.wants, l.wants) {
			turns[round]++
			if first {
				before[round]++
			}
		}
	}
	for given := 0; may < own.wants && given+before[may] < slots; may++ {
		given += turns[may] + 1
	}
	return may
}

// comesBefore reports whether one replica has its turn on a host before another.
func (l hostLease) comesBefore(other hostLease) bool {
	switch has, otherHas := l.granted > 0, other.granted > 0; {
	case has != otherHas:
		return otherHas
	case has:
		return l.since > other.since
	}
	return l.since < other.since
}

// encodeLeases writes leases as the server keeps them, after the time when they end: " HOST GRANTED WANTS SLOTS SINCE" for
// each host.
func encodeLeases(all leases) string {
	var text strings.Builder
	for name, l := range all {
		fmt.Fprintf(&text, " %s %d %d %d %d", name, l.granted, l.wants, l.slots, l.since)
	}
	return text.String()
}

// decodeLeases reads what encodeLeases has written, with the time before it when they end. It is not ok if that makes no
// sense.
func decodeLeases(record string) (ends int64, all leases, ok bool) {
	words := strings.Fields(record)
	if len(words)%5 != 1 {
		return 0, nil, false
	}
	ok = true
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		ok = ok && err == nil && n >= 0
		return n
	}
	ends, all = number(words[0]), make(leases, len(words)/5)
	for words = words[1:]; len(words) > 0; words = words[5:] {
		all[words[0]] = hostLease{granted: int(number(words[1])), wants: int(number(words[2])), slots: int(number(words[3])), since: number(words[4])}
	}
	return ends, all, ok
}
