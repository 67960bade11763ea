package fleet

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

var errNoAddress = errors.New("no address behind the name")

// run looks the name of a group up again and again: at once, and from the second
// time on only while there are calls.
func (g *group) run(ctx context.Context) {
	failing := false
	for {
		addrs, err := g.lookup(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing { // said once, until it works again
			g.fleet.opts.Log.Warn("cannot look hosts up; those known stay", "host", g.spec.Name, "err", err)
		}
		failing = err != nil
		g.found(addrs)
		wait := g.fleet.opts.LookupEvery
		if failing {
			wait = min(wait, pollEvery)
		}
		if !sleep(ctx, around(wait)) || !g.fleet.use.wait(ctx) {
			return
		}
	}
}

// close does nothing: the hosts of a group are tasks of their own.
func (g *group) close() {}

func (g *group) lookup(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	addrs, err := g.fleet.opts.Resolve(ctx, g.name)
	if err != nil {
		return nil, err
	}
	if addrs = oneFamily(addrs); len(addrs) == 0 {
		return nil, errNoAddress
	}
	return addrs, nil
}

// oneFamily is the addresses of IPv4 or of IPv6, whichever are more: a machine
// that has both would be taken for two hosts.
func oneFamily(addrs []netip.Addr) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, addr := range addrs {
		if addr = addr.Unmap(); addr.Is4() {
			v4 = append(v4, addr)
		} else if addr.IsValid() {
			v6 = append(v6, addr)
		}
	}
	if len(v6) > len(v4) {
		return v6
	}
	return v4
}

// found makes the hosts at these addresses those of the group. If there are none,
// as when the lookup failed, the hosts known stay: a name server in trouble is no
// reason to stop calling hosts that work.
func (g *group) found(addrs []netip.Addr) {
	f := g.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, wanted := f.tasks[g]; !wanted {
		return
	}
	for _, addr := range addrs {
		if g.members[addr] == nil {
			g.join(addr)
		}
	}
	for addr, m := range g.members {
		if len(addrs) > 0 && !slices.Contains(addrs, addr) {
			f.opts.Log.Info("host has gone", "host", m.name)
			delete(g.members, addr)
			f.remove(m)
		}
	}
	f.tasks[g] = true
	f.tell()
}

// join adds the host at an address. One that cannot be opened is tried again
// after the next lookup.
func (g *group) join(addr netip.Addr) {
	log := g.fleet.opts.Log.With("host", g.spec.at(addr).Name)
	if err := g.open(addr); err != nil {
		log.Warn("cannot use host", "err", err)
		return
	}
	log.Info("host found")
	g.fleet.add(g.members[addr], nil)
}
