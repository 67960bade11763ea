package fleet

import (
	"fmt"
	"net/netip"
)

// group is a spec and the hosts that it stands for.
type group struct {
	fleet *Fleet
	spec  Spec   // the fleet's mutex guards its slots and weight
	name  string // to look up; "" if the spec is one host
	// members are the hosts by address; the address of a host that is not looked up is the
	// zero Addr. The fleet's mutex guards them.
	members map[netip.Addr]*member
}

// Set says which hosts there are from now on. It may be called at any time: a host whose
// spec is the same as before is left alone, one that has only other slots or another weight is
// resized, hosts that are new or have changed otherwise are added to the pool, and the others
// are removed from it. If Set returns an error, which names
// the host, nothing has changed. Hosts behind a name in DNS join when Watch has looked up
// the name, except for those that a spec with the same name has found already.
func (f *Fleet) Set(specs []Spec) error {
	if err := check(specs); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	groups := make(map[string]*group)
	for _, s := range specs {
		g := f.groups[s.Name]
		if g == nil || g.spec.sized(s) != s {
			var err error
			if g, err = f.newGroup(s); err != nil {
				f.abandon(groups)
				return fmt.Errorf("host %s: %w", s.Name, err)
			}
		}
		groups[s.Name] = g
	}
	f.exchange(specs, groups)
	return nil
}

// newGroup opens the hosts that a spec is known to stand for.
func (f *Fleet) newGroup(s Spec) (*group, error) {
	name, err := s.dnsName()
	if err != nil {
		return nil, err
	}
	g := &group{fleet: f, spec: s, name: name, members: map[netip.Addr]*member{}}
	if err := g.open(netip.Addr{}); err != nil {
		return nil, err
	}
	if name == "" {
		return g, nil
	}
	g.closeAll() // it was opened only so that mistakes in the spec are found now
	if old := f.groups[s.Name]; old != nil && old.name == name {
		for addr := range old.members {
			if err := g.open(addr); err != nil {
				g.closeAll()
				return nil, err
			}
		}
	}
	return g, nil
}

// open opens the host at an address.
func (g *group) open(addr netip.Addr) error {
	s := g.spec.at(addr)
	host, err := g.fleet.opts.Open(s, addr)
	if err != nil {
		return err
	}
	g.members[addr] = &member{Host: host, fleet: g.fleet, name: s.Name, slots: s.Slots, weight: s.Weight}
	return nil
}

// resize gives the hosts of the group the slots and the weight of a spec that is otherwise the same.
func (g *group) resize(s Spec) {
	if g.spec == s {
		return
	}
	g.spec = s
	for _, m := range g.members {
		m.slots, m.weight = s.Slots, s.Weight
		g.fleet.opts.Pool.Resize(m.Host, s.Slots, s.Weight)
	}
}

// closeAll closes hosts that the pool has not been told about.
func (g *group) closeAll() {
	for _, m := range g.members {
		m.Close()
	}
	clear(g.members)
}

// abandon closes what was opened for a Set that failed.
func (f *Fleet) abandon(groups map[string]*group) {
	for name, g := range groups {
		if f.groups[name] != g {
			g.closeAll()
		}
	}
}

// exchange replaces the groups. New hosts are added before old ones are removed, so that
// there is always a host for a call.
func (f *Fleet) exchange(specs []Spec, groups map[string]*group) {
	gone := make(map[string]*member) // by name
	for name, was := range f.groups {
		if groups[name] != was {
			delete(f.tasks, was)
			for _, m := range was.members {
				gone[m.name] = m
			}
		}
	}
	for _, s := range specs {
		g := groups[s.Name]
		if f.groups[s.Name] == g {
			g.resize(s)
			continue
		}
		if g.name != "" {
			f.tasks[g] = false
		}
		for _, m := range g.members {
			f.add(m, gone[m.name])
			delete(gone, m.name)
		}
	}
	for _, m := range gone {
		f.remove(m)
	}
	f.groups = groups
	f.publish(true)
	f.tell()
}

// add gives a host to the pool, where it replaces old, if that is not nil, and to Watch to
// poll.
func (f *Fleet) add(m, old *member) {
	f.tasks[m] = false
	if old != nil {
		old.leave() // or the new host would get the news of the old one
	}
	replaced := f.opts.Pool.Add(m.Host, m.slots, m.weight)
	if old != nil {
		f.retire(old, replaced)
	}
}

// remove takes a host from the pool.
func (f *Fleet) remove(m *member) {
	m.leave()
	f.retire(m, f.opts.Pool.Remove(m.name))
}

// retire has Watch stop polling a host, and close it when it is drained.
func (f *Fleet) retire(m *member, drained <-chan struct{}) {
	delete(f.tasks, m)
	f.tasks[&drain{member: m, drained: drained}] = true
}

// tell wakes all goroutines that wait for a change.
func (f *Fleet) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}
